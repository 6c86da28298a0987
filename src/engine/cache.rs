//! What is remembered of containers: bounded tables, least recently used out first, from which one
//! container's entries can be taken out without looking at the others'.
//!
//! Invariants: memory is set by the bound alone, some twenty bytes an entry beside key and value; a look-up
//! or an insertion is a constant number of steps and allocates nothing but what the caller brings; in a full
//! table whoever has more than its share makes room, so that one container's flood costs no other's entries;
//! [`ContainerCache::forget`] takes out no more entries than it is told to, so that a container that ends
//! holds no event up.

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::hash::{BuildHasher, Hash};

/// Entries for which there is room from the start, so that the event thread need not wait for a large table
/// to grow.
const PREPARED: usize = 1 << 16;

/// No slot.
const NONE: u32 = u32::MAX;

/// A key that belongs to one container.
pub(super) trait OfContainer: Eq + Hash {
    /// A keyed hash of the container's id.
    fn container(&self) -> u64;
}

impl OfContainer for drift_core::verdict::binary::BinaryKey {
    fn container(&self) -> u64 {
        Self::container(self)
    }
}

impl<T: Eq + Hash> OfContainer for (u64, T) {
    fn container(&self) -> u64 {
        self.0
    }
}

/// An entry, and its neighbours in two lists: by use, and of one container.
#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    value: V,
    newer: u32,
    older: u32,
    /// Of the same container, remembered later and earlier.
    next: u32,
    previous: u32,
}

/// The entries of one container, in the order in which they were remembered.
#[derive(Debug, Clone, Copy)]
struct Own {
    newest: u32,
    oldest: u32,
    count: u32,
}

/// Such a table.
#[derive(Debug)]
pub(super) struct ContainerCache<K, V> {
    bound: usize,
    /// Most entries of one container in a full table.
    share: u32,
    hasher: DefaultHashBuilder,
    /// Without holes: the last one takes the place of one that goes.
    slots: Vec<Slot<K, V>>,
    by_key: HashTable<u32>,
    of_container: HashMap<u64, Own>,
    /// Containers that have more than their share: fewer than there are shares.
    over: Vec<u64>,
    newest: u32,
    oldest: u32,
}

impl<K: OfContainer, V> ContainerCache<K, V> {
    /// An empty table of at most `bound` entries, of which each container has one part in `parts`, and more
    /// only while there is room. Pages of it that were never used take no memory.
    pub(super) fn new(bound: usize, parts: usize) -> Self {
        let bound = bound.clamp(1, NONE as usize);
        let share = if parts <= 1 { NONE } else { u32::try_from((bound / parts).max(1)).unwrap_or(NONE) };
        Self {
            bound,
            share,
            hasher: DefaultHashBuilder::default(),
            slots: Vec::with_capacity(bound.min(PREPARED)),
            by_key: HashTable::with_capacity(bound.min(PREPARED)),
            of_container: HashMap::new(),
            over: Vec::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    fn slot(&self, at: u32) -> Option<&Slot<K, V>> {
        self.slots.get(at as usize)
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot<K, V>> {
        self.slots.get_mut(at as usize)
    }

    fn find(&self, key: &K) -> Option<u32> {
        let is_it = |at: &u32| self.slot(*at).is_some_and(|slot| slot.key == *key);
        self.by_key.find(self.hasher.hash_one(key), is_it).copied()
    }

    /// Number of entries.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether a key is remembered; that is no use of it.
    pub(super) fn contains(&self, key: &K) -> bool {
        self.find(key).is_some()
    }

    /// The value of a key; that is no use of it.
    pub(super) fn peek(&self, key: &K) -> Option<&V> {
        self.slot(self.find(key)?).map(|slot| &slot.value)
    }

    /// The value of a key, which is the one used last from now on.
    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        self.get_mut(key).map(|value| &*value)
    }

    /// As [`Self::peek`], to be changed.
    pub(super) fn peek_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key)?;
        self.slot_mut(at).map(|slot| &mut slot.value)
    }

    /// As [`Self::get`], to be changed.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key)?;
        self.use_now(at);
        self.slot_mut(at).map(|slot| &mut slot.value)
    }

    /// Makes the entry of a key the one used last; whether there is one.
    pub(super) fn touch(&mut self, key: &K) -> bool {
        // The engine asks about one event, and so of one thread, many times.
        if self.slot(self.newest).is_some_and(|slot| slot.key == *key) {
            return true;
        }
        let at = self.find(key);
        at.into_iter().for_each(|at| self.use_now(at));
        at.is_some()
    }

    /// The value used last.
    pub(super) fn newest(&self) -> Option<&V> {
        self.slot(self.newest).map(|slot| &slot.value)
    }

    /// As [`Self::newest`], to be changed.
    pub(super) fn newest_mut(&mut self) -> Option<&mut V> {
        self.slot_mut(self.newest).map(|slot| &mut slot.value)
    }

    /// The value of a key, made now if it is not remembered.
    pub(super) fn get_or_insert(&mut self, key: K, make: impl FnOnce() -> V) -> Option<&mut V> {
        let at = match self.find(&key) {
            Some(at) => {
                self.use_now(at);
                at
            }
            None => self.insert(key, make()),
        };
        self.slot_mut(at).map(|slot| &mut slot.value)
    }

    /// Remembers a value, in place of another one of the same key.
    pub(super) fn put(&mut self, key: K, value: V) {
        if let Some(known) = self.get_mut(&key) {
            *known = value;
            return;
        }
        self.insert(key, value);
    }

    /// Forgets the value of a key.
    pub(super) fn pop(&mut self, key: &K) {
        if let Some(at) = self.find(key) {
            self.remove(at);
        }
    }

    /// Forgets up to `most` entries of a container; how many those were. Fewer than `most`: there are no
    /// more.
    pub(super) fn forget(&mut self, container: u64, most: usize) -> usize {
        for done in 0..most {
            match self.of_container.get(&container).copied() {
                Some(own) => self.remove(own.newest),
                None => return done,
            }
        }
        most
    }

    /// Adds an entry that is not there.
    fn insert(&mut self, key: K, value: V) -> u32 {
        if self.slots.len() >= self.bound {
            self.remove(self.surplus(key.container()));
        }
        let at = u32::try_from(self.slots.len()).unwrap_or(NONE);
        let container = key.container();
        let own = self.of_container.entry(container).or_insert(Own { newest: NONE, oldest: at, count: 0 });
        let previous = std::mem::replace(&mut own.newest, at);
        own.count += 1;
        if own.count.checked_sub(1) == Some(self.share) {
            self.over.push(container);
        }
        if let Some(before) = self.slot_mut(previous) {
            before.next = at;
        }
        let Self { hasher, slots, by_key, .. } = self;
        let hash_of = |at: &u32| slots.get(*at as usize).map_or(0, |slot| hasher.hash_one(&slot.key));
        by_key.insert_unique(hasher.hash_one(&key), at, hash_of);
        self.slots.push(Slot { key, value, newer: NONE, older: NONE, next: NONE, previous });
        self.link_newest(at);
        at
    }

    /// The entry that makes room for one of `container` in a full table: one of those that have more than
    /// their share, itself first; else the one used longest ago.
    fn surplus(&self, container: u64) -> u32 {
        let own = |container: &u64| self.of_container.get(container);
        let has_share = own(&container).filter(|own| own.count >= self.share);
        has_share.or_else(|| self.over.last().and_then(own)).map_or(self.oldest, |own| own.oldest)
    }

    fn use_now(&mut self, at: u32) {
        if at != self.newest {
            self.unlink(at);
            self.link_newest(at);
        }
    }

    fn link_newest(&mut self, at: u32) {
        let newest = std::mem::replace(&mut self.newest, at);
        if let Some(slot) = self.slot_mut(at) {
            (slot.newer, slot.older) = (NONE, newest);
        }
        match self.slot_mut(newest) {
            Some(before) => before.newer = at,
            None => self.oldest = at,
        }
    }

    /// Takes an entry out of the list by use.
    fn unlink(&mut self, at: u32) {
        let Some((newer, older)) = self.slot(at).map(|slot| (slot.newer, slot.older)) else { return };
        match self.slot_mut(newer) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slot_mut(older) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }

    /// Takes an entry out of its container's list.
    fn unlink_from_container(&mut self, at: u32) {
        let Some(slot) = self.slot(at) else { return };
        let (next, previous, container) = (slot.next, slot.previous, slot.key.container());
        if let Some(slot) = self.slot_mut(previous) {
            slot.next = next;
        }
        if let Some(slot) = self.slot_mut(next) {
            slot.previous = previous;
        }
        let Some(own) = self.of_container.get_mut(&container) else { return };
        own.count -= 1;
        if own.count == self.share {
            self.over.retain(|over| *over != container);
        }
        if own.count == 0 {
            self.of_container.remove(&container);
            return;
        }
        if next == NONE {
            own.newest = previous;
        }
        if previous == NONE {
            own.oldest = next;
        }
    }

    fn unlink_from_keys(&mut self, at: u32) {
        let Some(hash) = self.slot(at).map(|slot| self.hasher.hash_one(&slot.key)) else { return };
        if let Ok(entry) = self.by_key.find_entry(hash, |known| *known == at) {
            entry.remove();
        }
    }

    fn remove(&mut self, at: u32) {
        if self.slot(at).is_none() {
            return;
        }
        self.unlink(at);
        self.unlink_from_container(at);
        self.unlink_from_keys(at);
        let last = u32::try_from(self.slots.len() - 1).unwrap_or(NONE);
        self.slots.swap_remove(at as usize);
        if at != last {
            self.has_moved(last, at);
        }
    }

    /// Makes everything that led to the slot `from` lead to `to`, where it is now.
    fn has_moved(&mut self, from: u32, to: u32) {
        let Some(slot) = self.slot(to) else { return };
        let (newer, older, next, previous) = (slot.newer, slot.older, slot.next, slot.previous);
        let (hash, container) = (self.hasher.hash_one(&slot.key), slot.key.container());
        if let Some(at) = self.by_key.find_mut(hash, |known| *known == from) {
            *at = to;
        }
        match self.slot_mut(newer) {
            Some(slot) => slot.older = to,
            None => self.newest = to,
        }
        match self.slot_mut(older) {
            Some(slot) => slot.newer = to,
            None => self.oldest = to,
        }
        if let Some(slot) = self.slot_mut(next) {
            slot.previous = to;
        }
        if let Some(slot) = self.slot_mut(previous) {
            slot.next = to;
        }
        let Some(own) = self.of_container.get_mut(&container) else { return };
        if next == NONE {
            own.newest = to;
        }
        if previous == NONE {
            own.oldest = to;
        }
    }

    /// Bytes of the table when it is full, beside what keys and values lead to.
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.bound * std::mem::size_of::<Slot<K, V>>() + self.by_key.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, by a list: the one used last at the end.
    #[derive(Default)]
    struct Model(Vec<((u64, u8), u32)>);

    impl Model {
        fn get(&mut self, key: (u64, u8)) -> Option<u32> {
            let entry = self.0.remove(self.0.iter().position(|(k, _)| *k == key)?);
            self.0.push(entry);
            Some(entry.1)
        }
    }

    proptest! {
        #[test]
        fn it_is_a_list_by_use(steps in prop::collection::vec((0u8..6, 0u64..4, 0u8..8), 1..300)) {
            const BOUND: usize = 9;
            let (mut table, mut model) = (ContainerCache::new(BOUND, 1), Model::default());
            for (n, (what, container, item)) in steps.into_iter().enumerate() {
                let (n, key) = (n as u32, (container, item));
                match what {
                    0..=2 => {
                        table.put(key, n);
                        model.0.retain(|(k, _)| *k != key);
                        if model.0.len() == BOUND {
                            model.0.remove(0);
                        }
                        model.0.push((key, n));
                    }
                    3 => prop_assert_eq!(table.get(&key).copied(), model.get(key)),
                    4 => {
                        let want = model.get(key);
                        if want.is_none() {
                            if model.0.len() == BOUND {
                                model.0.remove(0);
                            }
                            model.0.push((key, n));
                        }
                        prop_assert_eq!(table.get_or_insert(key, || n).copied(), Some(want.unwrap_or(n)));
                    }
                    _ => {
                        let before = model.0.len();
                        // All of them: how many go first is nobody's business but theirs.
                        model.0.retain(|(k, _)| k.0 != container);
                        prop_assert_eq!(table.forget(container, 100), before - model.0.len());
                        prop_assert_eq!(table.forget(container, 100), 0);
                    }
                }
                prop_assert_eq!(table.len(), model.0.len());
                for (key, value) in &model.0 {
                    prop_assert_eq!(table.peek(key), Some(value));
                }
            }
        }
    }

    #[test]
    fn a_container_is_forgotten_in_steps_and_others_are_left_alone() {
        let mut table = ContainerCache::new(100, 1);
        (0..30).for_each(|item| table.put((item % 3, item), ()));
        assert_eq!(table.forget(1, 4), 4);
        assert_eq!(table.forget(1, 4), 4);
        assert_eq!(table.forget(1, 4), 2, "there are no more");
        assert_eq!((table.len(), table.forget(1, 4), table.of_container.len()), (20, 0, 2));
        assert!((0..30).all(|item| table.contains(&(item % 3, item)) == (item % 3 != 1)));
    }

    #[test]
    fn who_has_more_than_its_share_makes_room() {
        let mut table = ContainerCache::new(16, 4);
        let count = |table: &ContainerCache<(u64, u32), ()>, container| {
            (0..1000).filter(|item| table.contains(&(container, *item))).count()
        };
        (0..3).for_each(|item| table.put((1, item), ()));
        (0..1000).for_each(|item| table.put((2, item), ()));
        assert_eq!((count(&table, 1), count(&table, 2)), (3, 13), "more than its share while there is room");
        assert!(table.contains(&(2, 999)) && !table.contains(&(2, 986)), "its own oldest went");
        (3..6).for_each(|item| table.put((1, item), ()));
        (0..4).for_each(|item| table.put((3, item), ()));
        assert_eq!([1, 2, 3].map(|container| count(&table, container)), [4, 8, 4]);
        (6..1000).for_each(|item| table.put((1, item), ()));
        assert_eq!([1, 2, 3].map(|container| count(&table, container)), [4, 8, 4], "at the cost of its own");
        (0..4).for_each(|item| table.put((4, item), ()));
        assert_eq!([1, 2, 3, 4].map(|container| count(&table, container)), [4, 4, 4, 4]);
        assert!(table.over.is_empty());
        assert_eq!(table.forget(1, 100), 4);
    }

    #[test]
    fn the_one_used_longest_ago_makes_room() {
        let mut table = ContainerCache::new(2, 1);
        table.put((1, 'a'), 0);
        table.put((2, 'b'), 0);
        *table.get_mut(&(1, 'a')).unwrap() += 1;
        assert!(table.peek(&(2, 'b')).is_some(), "which is no use of it");
        table.put((3, 'c'), 0);
        assert_eq!(table.peek(&(1, 'a')), Some(&1));
        assert!(!table.contains(&(2, 'b')));
        assert_eq!(table.of_container.len(), 2);
    }
}
