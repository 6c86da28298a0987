//! What was seen of late, so that it is looked at once and not each time.

use super::cache::ContainerCache;
use drift_core::verdict::binary::BinaryKey;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};

/// Times of events, nanoseconds, by container ([`BinaryKey::container_key`]) and a keyed hash of what they
/// were about. Bounded: what was asked about longest ago is forgotten first.
#[derive(Debug)]
pub(super) struct RecentlySeen {
    key: RandomState,
    seen: ContainerCache<(u64, u64), u64>,
}

impl RecentlySeen {
    /// Remembers so many, of which each container has one part in `parts`.
    pub(super) fn new(bound: usize, parts: usize) -> Self {
        Self { key: RandomState::new(), seen: ContainerCache::new(bound, parts) }
    }

    /// Whether this is to be looked at: it was not within `interval` nanoseconds before `at`.
    pub(super) fn is_new(&mut self, container: u64, what: impl Hash, at: u64, interval: u64) -> bool {
        let key = (container, self.key.hash_one(what));
        match self.seen.get(&key) {
            Some(before) if at.saturating_sub(*before) < interval => false,
            _ => {
                self.seen.put(key, at);
                true
            }
        }
    }

    /// Forgets a container, up to `most` of what was seen of it; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.seen.forget(BinaryKey::container_key(container), most)
    }

    /// See [`ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.seen.bytes_when_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_in_an_interval() {
        let mut recent = RecentlySeen::new(2, 1);
        assert!(recent.is_new(1, "a", 100, 50));
        assert!(!recent.is_new(1, "a", 149, 50));
        assert!(recent.is_new(1, "a", 150, 50));
        assert!(!recent.is_new(1, "a", 10, 50), "events of two processors may come in another order");
        assert!(recent.is_new(1, "b", 151, 50) && recent.is_new(1, "c", 151, 50));
        assert!(recent.is_new(1, "a", 152, 50), "forgotten");
    }
}
