//! Drift: what in a container is not what its image shipped.
//!
//! A Falco plugin. ARCHITECTURE.md gives the bird's-eye view; this file only wires the modules.

#![deny(unsafe_code)]

pub mod config;
pub mod engine;
pub mod event;
pub mod events;
pub mod extract;
pub mod facts;
#[expect(unsafe_code, reason = "the C interface")]
mod ffi;
pub mod ledger;
mod logging;
pub mod metrics;
pub mod plugin;
pub mod prebuilt;

pub mod source;
mod startup;
pub mod workers;
