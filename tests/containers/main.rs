//! Real containers of podman, containerd and Docker. All of it needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod live;
mod turns;

mod command;
mod declared;
mod deployments;
mod docker;
mod execs;
mod falco;
mod files;
mod image;
mod network;
mod packages;
mod recall;
mod scripts;
mod secrets;
mod source;
mod source_checks;
mod storage;
