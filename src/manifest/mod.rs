//! What an image holds, layer by layer, from whatever records it. Knows nothing of Falco.

pub mod cache;
pub mod digest;
pub mod disk;
pub mod docker_archive;
pub mod entry;
pub mod image;
pub mod image_config;
pub mod index;
pub mod key;
pub mod layer;
pub mod limits;
pub mod listing;
mod looked;
pub mod mtree;
pub mod mtree_writer;
pub mod oci;
pub mod tar_frames;
pub mod tar_layer;
pub mod vis;
