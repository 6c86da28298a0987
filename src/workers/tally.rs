//! How much of a table each container has.

use std::collections::HashMap;

/// Entries of a table, by container. Only one worker's thread has it.
#[derive(Debug)]
pub(super) struct Tally {
    most: usize,
    entries: HashMap<Box<str>, usize>,
}

impl Tally {
    /// Of a table of `capacity` entries, of which a container may have one part in `parts`.
    pub(super) fn new(capacity: usize, parts: usize) -> Self {
        Self { most: super::worker::share_of(capacity, parts), entries: HashMap::new() }
    }

    /// Counts an entry; `false` if the container has its share already.
    pub(super) fn take(&mut self, container: &str) -> bool {
        let Some(count) = self.entries.get_mut(container) else {
            self.entries.insert(container.into(), 1);
            return true;
        };
        let fits = *count < self.most;
        *count += usize::from(fits);
        fits
    }

    /// Counts an entry no more.
    pub(super) fn give_back(&mut self, container: &str) {
        if let Some(count) = self.entries.get_mut(container) {
            *count -= 1;
            if *count == 0 {
                self.entries.remove(container);
            }
        }
    }
}
