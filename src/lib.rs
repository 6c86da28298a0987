//! Drift: what in a container is not what its image shipped.
//!
//! A Falco plugin. ARCHITECTURE.md gives the bird's-eye view; this file only wires the modules.

pub mod config;
pub mod container;
pub mod event;
pub mod host;
pub mod manifest;
