//! Live tests: a scenario runs in a real container, and the real engine is told of every exec while it
//! happens.
//!
//! Where no kernel probe can be loaded, a ptrace tracer takes its place: it stops each process of the
//! container at its exec, reads from `/proc` and the container's layers what the kernel probe would have
//! read, writes that as the probe's own events into a capture stream, and lets the process go on only once
//! every engine that reads the stream has answered. So the plugin's look-ups meet the file system exactly as
//! the exec left it.
//!
//! The pieces, in the order a test uses them:
//! 1. [`Image::debian`]: a three-layer Debian image made on the spot,
//! 2. [`Runtime::start`], or [`Container::podman`] and [`Container::containerd`]: it runs and waits for
//!    commands,
//! 3. [`Stream`]: one sysdig per filter, reading the events from a pipe,
//! 4. [`trace`]: runs a command in the container and hands out its [`Event`]s.
//!
//! What the facts say about layers is found without the plugin and by other means than the plugin's: see
//! [`layer`]. Everything a test starts is removed when its owner is dropped, also when the test panics.

pub mod container;
pub mod containerd;
mod docker;
pub mod event;
mod file_flags;
mod files;
pub mod fixtures;
pub mod image;
pub mod layer;
pub mod podman;
pub mod process;
pub mod scap;
pub mod session;
mod sockets;
pub mod stream;
mod tracee;
pub mod tracer;

mod run;
mod running;
mod runtime;

pub use container::Container;
pub use event::{Delay, Event, Facts, Flags, Kind};
pub use image::{Image, START};
pub use process::Process;
pub use runtime::Runtime;
pub use session::Session;
pub use stream::{Spec, Stream};
pub use tracer::trace;

use std::path::{Path, PathBuf};

/// Why live tests cannot run on this machine: one sentence naming what is missing. `None` when they can.
#[must_use]
pub fn missing(tools: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("live tests need root: they trace and run containers".to_owned());
    }
    let absent: Vec<&str> = tools.iter().copied().filter(|tool| find_program(tool).is_none()).collect();
    if absent.is_empty() {
        None
    } else {
        Some(format!("live tests need these programs in PATH, which are not there: {}", absent.join(", ")))
    }
}

/// The programs [`Container::podman`] needs, [`Image::debian`]'s included.
pub const PODMAN_TOOLS: &[&str] = &["debootstrap", "tar", "podman", "runc"];

/// The programs [`Container::containerd`] needs, [`Image::debian`]'s included.
pub const CONTAINERD_TOOLS: &[&str] =
    &["debootstrap", "tar", "containerd", "containerd-shim-runc-v2", "ctr", "runc"];

/// The programs [`Container::docker`] needs, [`Image::debian`]'s included.
pub const DOCKER_TOOLS: &[&str] =
    &["debootstrap", "tar", "bsdtar", "timeout", "umount", "dockerd", "docker", "containerd", "runc"];

/// The programs [`Image::packages`] needs beside a runtime's, and those that make packages for it.
pub const PACKAGE_TOOLS: &[&str] = &["node", "npm", "dpkg-deb", "tar", "gzip", "sha256sum"];

/// Where images and the runtimes' storage are kept between runs: `live/` in the build's target directory.
#[must_use]
pub fn state_dir() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    std::path::absolute(&target).unwrap_or(target).join("live")
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests;
