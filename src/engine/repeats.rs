//! What was reported a while ago and happens again: the same program or script in the same container is one
//! alert, not one for each run.
//!
//! Asked last in a rule's condition: what is asked about is taken to be reported. Invariants: the answer on
//! one event stays the same; bounded, what was asked about longest ago is forgotten first.

use super::cache::ContainerCache;
use crate::event::raw::EventKey;
use drift_core::verdict::binary::BinaryKey;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

/// Most things that are remembered.
const MAX_THINGS: usize = 2048;

/// The events that things were last reported by, by a keyed hash of the container and of the thing.
#[derive(Debug)]
pub(super) struct Repeats {
    key: RandomState,
    /// Nanoseconds in which a thing is reported once; 0: each time.
    interval: u64,
    seen: ContainerCache<(u64, u64), (EventKey, u64)>,
}

impl Repeats {
    pub(super) fn new(interval: Duration, parts: usize) -> Self {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Self { key: RandomState::new(), interval, seen: ContainerCache::new(MAX_THINGS, parts) }
    }

    /// Whether the thing was reported by another event, within the interval before this one at `at`.
    pub(super) fn is_repeated(
        &mut self,
        container: &str,
        thing: impl Hash,
        event: EventKey,
        at: u64,
    ) -> bool {
        if self.interval == 0 {
            return false;
        }
        let key = (BinaryKey::container_key(container), self.key.hash_one(thing));
        match self.seen.get(&key) {
            Some((by, _)) if *by == event => false,
            Some((_, before)) if at.saturating_sub(*before) < self.interval => true,
            _ => {
                self.seen.put(key, (event, at));
                false
            }
        }
    }

    /// Forgets a container, up to `most` things of it; how many those were.
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
    use crate::event::raw::tests::event;
    use crate::event::raw::{code, SyscallEvent};

    fn key(number: u64) -> EventKey {
        let bytes = event(code::ASYNC, 7, &[]);
        let mut event = SyscallEvent::from_bytes(&bytes).unwrap();
        event.number = number;
        event.identity()
    }

    #[test]
    fn once_in_an_interval_and_the_same_for_one_event() {
        let mut repeats = Repeats::new(Duration::from_nanos(50), 1);
        let mut ask = |container, thing, number, at| repeats.is_repeated(container, thing, key(number), at);
        assert!(!ask("a", "x", 1, 100));
        assert!(!ask("a", "x", 1, 100), "asked again by another rule, or for the output");
        assert!(ask("a", "x", 2, 149));
        assert!(ask("a", "x", 3, 10), "events of two processors may come in another order");
        assert!(!ask("a", "y", 4, 149), "another thing");
        assert!(!ask("b", "x", 5, 149), "another container");
        assert!(!ask("a", "x", 6, 150), "the interval is over");
        assert!(ask("a", "x", 7, 199));
        let mut every = Repeats::new(Duration::ZERO, 1);
        assert!(!every.is_repeated("a", "x", key(1), 1) && !every.is_repeated("a", "x", key(2), 2));
    }
}
