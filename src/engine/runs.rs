//! How often a file that is not the image's was run in a container, so that a rule can tell the first time
//! from the next.
//!
//! Invariant: bounded, what ran longest ago is forgotten first; counted once for each exec.

use super::cache::ContainerCache;
use drift_core::verdict::binary::BinaryKey;
use drift_core::verdict::origin::Origin;

/// Most files whose runs are counted, of each kind.
const MAX_FILES: usize = 8192;

/// Runs by file.
#[derive(Debug)]
pub(super) struct Runs(ContainerCache<BinaryKey, u64>);

impl Runs {
    pub(super) fn new(parts: usize) -> Self {
        Self(ContainerCache::new(MAX_FILES, parts))
    }

    /// Counts a run of a file with this origin, and gives the number of it; `None` for what the image has,
    /// and for what is not known.
    pub(super) fn count(&mut self, key: BinaryKey, origin: Origin) -> Option<u64> {
        if !origin.is_drift() && origin != Origin::ImageUnverified {
            return None;
        }
        let runs = self.0.get_or_insert(key, || 0)?;
        *runs = runs.saturating_add(1);
        Some(*runs)
    }

    /// Forgets a container, up to `most` files of it; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.0.forget(BinaryKey::container_key(container), most)
    }

    /// See [`ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.0.bytes_when_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drift_core::host::{ExeFlags, InodeId};

    #[test]
    fn runs_are_counted_by_container_and_file() {
        let mut runs = Runs::new(1);
        let key = |container, ino| {
            let inode = InodeId { ino, ..InodeId::default() };
            BinaryKey::new(container, b"/tmp/x", inode, ExeFlags::default())
        };
        assert_eq!(runs.count(key("a", 1), Origin::Added), Some(1));
        assert_eq!(runs.count(key("a", 1), Origin::Added), Some(2));
        assert_eq!(runs.count(key("a", 2), Origin::Added), Some(1), "another file at this path");
        assert_eq!(runs.count(key("b", 1), Origin::Added), Some(1), "another container");
        assert_eq!(runs.count(key("a", 1), Origin::Image), None);
        assert_eq!(runs.count(key("a", 1), Origin::Unknown), None);
        assert_eq!(runs.count(key("a", 1), Origin::Tmpfs), Some(3));
        assert_eq!(runs.forget("a", 9), 2, "the container is gone");
        assert_eq!(runs.count(key("a", 1), Origin::Added), Some(1));
        assert_eq!(runs.count(key("b", 1), Origin::Added), Some(2), "others stay");
    }

    #[test]
    fn what_ran_longest_ago_is_forgotten() {
        let mut runs = Runs::new(1);
        let key = |ino| {
            let inode = InodeId { ino, ..InodeId::default() };
            BinaryKey::new("a", b"/tmp/x", inode, ExeFlags::default())
        };
        for ino in 0..=MAX_FILES as u64 {
            assert_eq!(runs.count(key(ino), Origin::Added), Some(1));
        }
        assert_eq!(runs.0.len(), MAX_FILES);
        assert_eq!(runs.count(key(0), Origin::Added), Some(1));
    }
}
