//! What users allow, from files that may change while Drift runs.

pub mod approved;
pub mod lists;
pub mod sensitive;
