//! What was seen of late, so that it is looked at once and not each time.

use lru::LruCache;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroUsize;

/// Times of events, nanoseconds, by a keyed hash of what they were about. Bounded: what was asked about longest ago is
/// forgotten first.
#[derive(Debug)]
pub(super) struct Lately {
    key: RandomState,
    seen: LruCache<u64, u64>,
}

impl Lately {
    /// Remembers so many.
    pub(super) fn new(bound: usize) -> Self {
        let bound = NonZeroUsize::new(bound).unwrap_or(NonZeroUsize::MIN);
        Self { key: RandomState::new(), seen: LruCache::new(bound) }
    }

    /// Whether this is to be looked at: it was not within `interval` nanoseconds before `at`.
    pub(super) fn is_new(&mut self, what: impl Hash, at: u64, interval: u64) -> bool {
        let key = self.key.hash_one(what);
        match self.seen.get(&key) {
            Some(before) if at.saturating_sub(*before) < interval => false,
            _ => {
                self.seen.put(key, at);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_in_an_interval() {
        let mut lately = Lately::new(2);
        assert!(lately.is_new("a", 100, 50));
        assert!(!lately.is_new("a", 149, 50));
        assert!(lately.is_new("a", 150, 50));
        assert!(!lately.is_new("a", 10, 50), "events of two processors may come in another order");
        assert!(lately.is_new("b", 151, 50) && lately.is_new("c", 151, 50));
        assert!(lately.is_new("a", 152, 50), "forgotten");
    }
}
