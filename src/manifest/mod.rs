//! What an image holds, layer by layer, from whatever records it. Knows nothing of Falco.

pub mod entry;
pub mod limits;
pub mod mtree;
pub mod vis;
