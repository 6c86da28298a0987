//! Judging what runs: which script an interpreter was started on, and what an executable's own bytes say about it.
//!
//! Bytes in, answers out: nothing here opens a file.

pub mod elf;
mod grammar;
pub mod interpreter;
