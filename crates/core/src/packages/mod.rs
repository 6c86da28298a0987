//! Which package owns a file, and which packages there are, by the databases of a layer, an image or a
//! container.

pub mod bundled;
pub mod installed;
pub mod inventory;
pub mod owners;
mod sum;

pub(crate) use sum::has_sum;
