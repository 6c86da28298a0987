//! What was told of each database last.
//!
//! Invariant: bounded by the number of packages. What was told longest ago is forgotten first, and is
//! compared with the image again.

use drift_core::packages::inventory::{Database, Packages};
use lru::LruCache;
use std::num::NonZeroUsize;

/// Most packages remembered, of all databases together; each takes some 300 bytes.
const MAX_PACKAGES: usize = 50_000;
/// Most databases.
const MAX_DATABASES: usize = 1024;

/// The memory.
#[derive(Debug)]
pub(super) struct Known {
    databases: LruCache<(Box<str>, Database), Packages>,
    packages: usize,
}

impl Known {
    pub(super) fn new() -> Self {
        let bound = NonZeroUsize::new(MAX_DATABASES).unwrap_or(NonZeroUsize::MIN);
        Self { databases: LruCache::new(bound), packages: 0 }
    }

    /// What was told of a container's database last; `None`: nothing that is remembered.
    pub(super) fn get(&mut self, container: &str, database: &Database) -> Option<&Packages> {
        self.databases.get(&(container.into(), database.clone()))
    }

    /// Notes what is told now.
    pub(super) fn put(&mut self, container: &str, database: &Database, packages: Packages) {
        self.packages += packages.by_name.len();
        // Either the same one's, or that of the one used longest ago.
        if let Some((_, old)) = self.databases.push((container.into(), database.clone()), packages) {
            self.packages -= old.by_name.len();
        }
        while self.packages > MAX_PACKAGES {
            let Some((_, old)) = self.databases.pop_lru() else { return };
            self.packages -= old.by_name.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drift_core::packages::inventory::Package;
    use std::collections::BTreeSet;

    fn packages(n: usize) -> Packages {
        let named =
            |i: usize| (format!("p{i}"), Package { name: format!("p{i}"), releases: BTreeSet::new() });
        Packages { by_name: (0..n).map(named).collect(), ..Packages::default() }
    }

    #[test]
    fn the_number_of_packages_is_bounded() {
        let database = Database::of_systems().remove(0);
        let mut known = Known::new();
        for container in 0..10 {
            known.put(&container.to_string(), &database, packages(15_000));
            assert!(known.packages <= MAX_PACKAGES);
        }
        assert_eq!(known.databases.len(), 3);
        assert!(known.get("9", &database).is_some() && known.get("0", &database).is_none());
        known.put("9", &database, packages(2));
        assert_eq!(known.packages, 30_002, "the same database again");
    }
}
