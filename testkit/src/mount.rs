//! Overlay mounts.

#![allow(clippy::unwrap_used)] // A failure here is a failure of the test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mount that is taken away with its owner.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts an overlay.
    pub fn overlay(at: &Path, options: &str) -> Self {
        let status = Command::new("mount").args(["-t", "overlay", "overlay", "-o", options]).arg(at).status();
        assert!(status.unwrap().success(), "mount -o {options}");
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
