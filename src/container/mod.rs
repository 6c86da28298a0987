//! Which container a thread belongs to, and what is mounted in it.
//!
//! Everything here is a pure parser: bytes in, values out. Reading `/proc` is the caller's business.

pub mod id;
pub mod mountinfo;
pub mod overlay;
pub mod volume;
