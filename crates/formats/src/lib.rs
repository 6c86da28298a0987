//! Parsers of what kernels, runtimes and package managers write: bytes in, values out.
//!
//! Invariants: whatever a file says, memory and work are bounded; nothing here opens a file or asks the
//! system, a database that is too large to hold is read through [`read_at::ReadAt`]; nothing here knows a
//! container.

#![forbid(unsafe_code)]

pub mod bolt;
pub mod bytes;
pub mod condition;
pub mod digest;
pub mod dns;
pub mod elf;
pub mod entry;
pub mod image_config;
pub mod limits;
pub mod mountinfo;
pub mod mtree;
pub mod mtree_writer;
pub mod overlay_options;
pub mod packages;
pub mod path_key;
pub mod ports;
pub mod python_bytecode;
pub mod read_at;
pub mod rpm;
pub mod sqlite;
pub mod tar_frames;
pub mod tar_layer;
pub mod vis;
pub mod yaml;
pub mod zip;
