//! What needs no more than what cargo builds for it: no engine, no container, no root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod columns;
mod configuration;
mod dependencies;
mod deploy;
mod docs;
mod fuzz;
mod garbage;
mod imports;
mod install;
mod interface;
mod lint;
mod network_file;
