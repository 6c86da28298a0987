//! What an image holds, layer by layer, from whatever records it.

pub mod cache;
pub mod catalog;
pub mod disk;
pub mod docker_archive;
pub mod index;
pub mod layer;
pub mod listing;
pub mod load;
mod looked;
pub mod oci;
pub mod view;
