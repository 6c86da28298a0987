//! What was told of each database last.
//!
//! Invariant: bounded by the number of packages. What was told longest ago is forgotten first, of containers
//! that have more than their share, and is compared with the image again.

use crate::workers::worker::share_of;
use drift_core::packages::inventory::{Database, Packages};
use lru::LruCache;
use std::collections::HashMap;
use std::num::NonZeroUsize;

/// Most packages remembered, of all databases together; each takes some 300 bytes.
pub(super) const MAX_PACKAGES: usize = 12_288;
/// Most databases.
const MAX_DATABASES: usize = 1024;

/// The memory.
#[derive(Debug)]
pub(super) struct Known {
    databases: LruCache<(Box<str>, Database), Packages>,
    packages: usize,
    /// Packages of one container that others make no room for.
    share: usize,
}

impl Known {
    pub(super) fn new(parts: usize) -> Self {
        let bound = NonZeroUsize::new(MAX_DATABASES).unwrap_or(NonZeroUsize::MIN);
        Self { databases: LruCache::new(bound), packages: 0, share: share_of(MAX_PACKAGES, parts) }
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
            let Some(old) = self.surplus().and_then(|key| self.databases.pop(&key)) else { return };
            self.packages -= old.by_name.len();
        }
    }

    /// The database told of longest ago, of a container that has more than its share.
    fn surplus(&self) -> Option<(Box<str>, Database)> {
        let mut of_container: HashMap<&str, usize> = HashMap::new();
        for ((container, _), packages) in &self.databases {
            *of_container.entry(container).or_default() += packages.by_name.len();
        }
        let is_over = |container: &str| of_container.get(container).is_some_and(|count| *count > self.share);
        let mut oldest_first = self.databases.iter().rev().map(|(key, _)| key);
        oldest_first.find(|(container, _)| is_over(container)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drift_core::packages::inventory::Package;
    use drift_formats::entry::ImagePath;
    use std::collections::BTreeSet;

    fn packages(n: usize) -> Packages {
        let named =
            |i: usize| (format!("p{i}"), Package { name: format!("p{i}"), releases: BTreeSet::new() });
        Packages { by_name: (0..n).map(named).collect(), ..Packages::default() }
    }

    #[test]
    fn the_number_of_packages_is_bounded() {
        let database = Database::of_systems().remove(0);
        let mut known = Known::new(16);
        for container in 0..10 {
            known.put(&container.to_string(), &database, packages(4000));
            assert!(known.packages <= MAX_PACKAGES);
        }
        assert_eq!(known.databases.len(), 3);
        assert!(known.get("9", &database).is_some() && known.get("0", &database).is_none());
        known.put("9", &database, packages(2));
        assert_eq!(known.packages, 8002, "the same database again");
    }

    #[test]
    fn a_container_with_more_than_its_share_makes_room() {
        let mut known = Known::new(16);
        let database = |n: usize| {
            let dir = ImagePath::lexical(b"/", format!("/d{n}").as_bytes()).unwrap();
            Database { dir, ..Database::of_systems().remove(0) }
        };
        known.put("other", &database(0), packages(700));
        (0..100).for_each(|n| known.put("hostile", &database(n), packages(1000)));
        assert!(known.get("other", &database(0)).is_some() && known.get("hostile", &database(0)).is_none());
        assert!(known.get("hostile", &database(99)).is_some() && known.packages <= MAX_PACKAGES);
    }
}
