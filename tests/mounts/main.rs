//! What mounts and overlays of the tests' own show; most of it needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod faults;
mod overlay;
mod scan;
