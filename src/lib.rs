//! Drift: what in a container is not what its image shipped.
//!
//! A Falco plugin. ARCHITECTURE.md gives the bird's-eye view; this file only wires the modules.

pub mod manifest;
pub mod packages;
pub mod verdict;
