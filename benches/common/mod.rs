//! What the benchmarks share: a small engine, a container made of plain directories, and the report.

// Each benchmark uses a part of this, and one that cannot go on has nobody to report to but its user.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

pub mod abi;
pub mod callgrind;
pub mod event;
pub mod image;
pub mod memory;
pub mod node;
pub mod report;
