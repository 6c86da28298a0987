//! Overlay mounts, and random trees in them.

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

/// A small generator: the tests need many different trees, the same on every run.
pub struct Random(pub u64);

impl Random {
    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// One of a few paths, so that layers meet on the same names.
    pub fn path(&mut self, root: &Path) -> PathBuf {
        let mut path = root.to_owned();
        for _ in 0..=self.below(3) {
            path.push(["a", "b", "c"][self.below(3) as usize]);
        }
        path
    }
}
