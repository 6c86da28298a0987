//! What an image holds, layer by layer, from whatever records it. Knows nothing of Falco.

pub mod cache;
pub mod disk;
pub mod entry;
pub mod image;
pub mod index;
pub mod key;
pub mod layer;
pub mod limits;
pub mod mtree;
pub mod vis;
