//! The packages of a root: what the package databases of a live container or of an image hold, and what
//! differs between two states.
//!
//! Only the databases that are named are read: those of languages may be anywhere, and a disk is not
//! searched. A path that was changed tells its database ([`database_of`]).

mod database;
mod read;
mod record;
mod tree;

pub use database::{database_of, Database, Ecosystem};
pub use record::record_of;
pub(crate) use tree::read_head;
pub use tree::{read, LiveTree, Tree, Unreadable, MAX_NAMES};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The most warnings kept of one database.
const MAX_WARNINGS: usize = 20;

/// One release of a package. Several can be installed at once: of kernels, or for two architectures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Release {
    /// Version, as the manager shows it; empty where the database has none.
    pub version: String,
    /// Architecture or platform; empty where the manager knows none.
    pub architecture: String,
    /// What tells one installation from the next of the same version, where the database says so: apk's
    /// checksum, rpm's time of installation. Else empty.
    pub stamp: String,
}

/// A package by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The name as written.
    pub name: String,
    /// What is installed of it.
    pub releases: BTreeSet<Release>,
}

/// The packages of one database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packages {
    /// By name, as names are compared.
    pub by_name: BTreeMap<String, Package>,
    /// The first records that were passed over.
    pub warnings: Vec<String>,
    /// How many further ones there were.
    pub more_warnings: u64,
}

/// The packages of several databases of one root; why not, where one cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// By database.
    pub databases: BTreeMap<Database, Result<Packages, Unreadable>>,
}

impl Inventory {
    /// Reads databases. One that is not there has no packages.
    pub fn read<'a>(tree: &dyn Tree, databases: impl IntoIterator<Item = &'a Database>) -> Self {
        let read = |database: &Database| (database.clone(), read::read_database(tree, database));
        Self { databases: databases.into_iter().map(read).collect() }
    }
}

/// A package that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageChange {
    /// What kind of package.
    pub ecosystem: Ecosystem,
    /// Its name as written.
    pub name: String,
    /// What there was; `None` for one that was added.
    pub old: Option<Release>,
    /// What there is; `None` for one that was removed.
    pub new: Option<Release>,
}

impl fmt::Display for PackageChange {
    /// `name=version`, or `name=old->new`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) if old.version != new.version => {
                write!(f, "{}={}->{}", self.name, old.version, new.version)
            }
            (Some(_), Some(one)) => write!(f, "{}={}", self.name, one.version),
            (Some(one), None) | (None, Some(one)) => write!(f, "{}={}", self.name, one.version),
            (None, None) => f.write_str(&self.name),
        }
    }
}

/// What differs between two inventories; each list is sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Packages, or further releases of them, that are new.
    pub added: Vec<PackageChange>,
    /// Packages, or releases of them, that are gone.
    pub removed: Vec<PackageChange>,
    /// Packages whose release is another one, older or newer; also the same version for another architecture.
    pub upgraded: Vec<PackageChange>,
    /// Packages that were installed anew in the release that they had.
    pub reinstalled: Vec<PackageChange>,
    /// Databases that could not be compared, and why.
    pub unknown: Vec<(Database, Unreadable)>,
}

impl Changes {
    /// Whether nothing differs, as far as it is known.
    pub fn is_empty(&self) -> bool {
        [&self.added, &self.removed, &self.upgraded, &self.reinstalled].iter().all(|list| list.is_empty())
    }
}

/// Compares two states, database by database. One that only one of the two inventories has is taken as empty
/// in the other.
pub fn changes(before: &Inventory, after: &Inventory) -> Changes {
    let mut out = Changes::default();
    let nothing = Ok(Packages::default());
    let databases: BTreeSet<&Database> = before.databases.keys().chain(after.databases.keys()).collect();
    for database in databases {
        let of = |inventory: &Inventory| inventory.databases.get(database).cloned();
        match (of(before).unwrap_or(nothing.clone()), of(after).unwrap_or(nothing.clone())) {
            (Err(why), _) | (_, Err(why)) => out.unknown.push((database.clone(), why)),
            (Ok(before), Ok(after)) => compare(database.ecosystem, &before, &after, &mut out),
        }
    }
    // A database that is seen at two places, by a link, changes once.
    for list in [&mut out.added, &mut out.removed, &mut out.upgraded, &mut out.reinstalled] {
        list.sort();
        list.dedup();
    }
    out
}

fn compare(ecosystem: Ecosystem, before: &Packages, after: &Packages, out: &mut Changes) {
    let none = BTreeSet::new();
    let keys: BTreeSet<&String> = before.by_name.keys().chain(after.by_name.keys()).collect();
    for key in keys {
        let (old, new) = (before.by_name.get(key), after.by_name.get(key));
        let releases = |package: Option<&'_ Package>| package.map_or(none.clone(), |p| p.releases.clone());
        let (had, has) = (releases(old), releases(new));
        let Some(name) = new.or(old).map(|p| p.name.clone()) else { continue };
        let mut gone: Vec<Release> = had.difference(&has).cloned().collect();
        let mut come: Vec<Release> = has.difference(&had).cloned().collect();
        let change = |old, new| PackageChange { ecosystem, name: name.clone(), old, new };
        // A new release replaces one for the same architecture, else any.
        for same in [true, false] {
            come.retain(|new| {
                let replaced = gone.iter().position(|old| !same || old.architecture == new.architecture);
                let Some(at) = replaced else { return true };
                let old = gone.remove(at);
                let list = match (&old.version, &old.architecture) == (&new.version, &new.architecture) {
                    true => &mut out.reinstalled,
                    false => &mut out.upgraded,
                };
                list.push(change(Some(old), Some(new.clone())));
                false
            });
        }
        out.added.extend(come.into_iter().map(|new| change(None, Some(new))));
        out.removed.extend(gone.into_iter().map(|old| change(Some(old), None)));
    }
}

#[cfg(test)]
#[path = "inventory_tests.rs"]
mod tests;
