//! Drift: what in a container is not what its image shipped.
//!
//! A Falco plugin. ARCHITECTURE.md gives the bird's-eye view; this file only wires the modules.

#![deny(unsafe_code)]

pub mod background;
pub mod condition;
pub mod config;
pub mod container;
pub mod event;
pub mod extract;
#[expect(unsafe_code, reason = "the C interface")]
mod ffi;
pub mod host;
pub mod lists;
pub mod manifest;
pub mod metrics;
pub mod network;
pub mod packages;
pub mod plugin;
pub mod prebuilt;
pub mod read_at;
pub mod report;
pub mod resolver;
pub mod scan;
pub mod source;
pub mod sqlite;
pub mod verdict;
