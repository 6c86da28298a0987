//! What a transaction did: databases as they are against what was told of them last.

use super::known::Known;
use super::transaction::Transaction;
use crate::events::Effect;
use drift_core::command::manager::Action;
use drift_core::container::live::Live;
use drift_core::container::registry::Container;
use drift_core::host::Host;
use drift_core::packages::bundled::{environment_of, is_bundled};
use drift_core::packages::installed;
use drift_core::packages::inventory::{
    changes, read, Changes, Database, Ecosystem, Inventory, LiveTree, PackageChange, Packages, Release, Tree,
    Unreadable,
};
use drift_formats::entry::ImagePath;
use std::collections::BTreeSet;

/// Most entries of each list of an event.
const MAX_LISTED: usize = 400;
/// Most places of languages' packages that are told.
const MAX_PLACES: usize = 8;
/// Largest record whose bytes are compared.
const MAX_RECORD: usize = 4 << 20;
/// Most bytes of all lists of an event: it has 64 KiB.
const MAX_BYTES: usize = 40 << 10;

/// Compares the databases of a transaction. `None` if there is nothing to tell. `others` are the databases
/// that other transactions in the container have touched, and that are not told yet.
pub(super) fn find(
    host: &Host,
    ended: &Transaction,
    known: &mut Known,
    watched: bool,
    others: &BTreeSet<Database>,
) -> Option<Effect> {
    let container = &ended.container;
    let (changes, roots) = compare(host, ended, known, others);
    let mut why: Vec<String> = changes.unknown.iter().map(|(_, why)| why.0.clone()).collect();
    if ended.overflow {
        why.push("more databases or packages were touched than are followed".into());
    }
    let ours = ended.announced && ended.agent.manager.is_some();
    if ours && ended.on_volume {
        why.push("on a volume".into());
    }
    if ours && ended.databases.is_empty() && !ended.touched && !watched {
        why.push("changes of files are not watched".into());
    }
    let came_with_image: Vec<_> = roots.iter().flat_map(|place| &place.bundled).collect();
    let mut news = changes.clone();
    news.added.retain(|change| !came_with_image.contains(&change));
    let mut effect = describe(&news, ended.agent.manager.is_some(), why);
    effect.bundled = came_with_image.iter().map(ToString::to_string).take(MAX_LISTED).collect();
    effect.roots =
        roots.iter().map(|place| String::from_utf8_lossy(place.root.as_bytes()).into_owned()).collect();
    // What another program opened and left as it was is no event; nor is a question that a package manager
    // was asked.
    let attempt = ended.announced;
    let suspect = ended.agent.manager.is_none() && !changes.unknown.is_empty();
    if effect.total == 0 && effect.bundled.is_empty() && !attempt && !suspect {
        return None;
    }
    if ended.agent.manager.is_some() {
        note_installed(host, container, ended, &changes);
    }
    Some(effect)
}

/// What differs, and the packages whose records were written anew.
fn compare(
    host: &Host,
    ended: &Transaction,
    known: &mut Known,
    others: &BTreeSet<Database>,
) -> (Changes, Vec<Place>) {
    let container = &ended.container;
    let unreadable = |why: &str| {
        let each = |db: &Database| (db.clone(), Unreadable(why.to_owned()));
        let unknown = ended.databases.iter().take(1).map(each).collect();
        (Changes { unknown, ..Changes::default() }, Vec::new())
    };
    let fresh = container.live.as_ref().and_then(|live: &Live| live.root(host, &[ended.agent.pid]));
    let Some(root) = fresh.as_ref().or(ended.root.as_ref()) else {
        return unreadable("the container is gone");
    };
    let Ok(image) = &container.image else { return unreadable("the image is not known") };
    let tree = LiveTree::new(root);
    let ours = || ended.databases.iter().filter(|db| ended.changed.contains(db) || !others.contains(db));
    let mut after = Inventory::read(&tree, ours());
    let mut before = Inventory::default();
    for database in ours() {
        let told = match known.get(&container.id, database) {
            Some(told) => Ok(told.clone()),
            None => match Inventory::read(image, [database]).databases.remove(database) {
                Some(read) => read,
                None => continue,
            },
        };
        before.databases.insert(database.clone(), told);
    }
    for (database, now) in &mut after.databases {
        if let (true, Some(Ok(was)), Ok(now)) =
            (others.contains(database), before.databases.get(database), now)
        {
            keep_own(ended, database, was, now);
        }
    }
    let mut changes = changes(&before, &after);
    // A package manager that writes a record anew has installed the package again. What anything else leaves
    // as it is in the image (`chown -R` on a virtual environment) was no change.
    let by_manager = ended.agent.manager.is_some();
    let counts = |database: &Database, name: &str| {
        by_manager || !ended.record_paths(database, name).all(|path| same_bytes(&tree, image, path))
    };
    changes.reinstalled.extend(rewritten(ended, &before, &after, &counts));
    changes.reinstalled.sort();
    changes.reinstalled.dedup();
    let by_image = |database: &Database, change: &PackageChange| {
        by_manager && is_bundled(&tree, image, database, change)
    };
    let places = places(&tree, &before, &after, &by_image);
    for (database, packages) in after.databases {
        if let Ok(packages) = packages {
            known.put(&container.id, &database, packages);
        }
    }
    (changes, places)
}

/// Where packages of a language have changed.
#[derive(Debug)]
struct Place {
    /// The virtual environment, or the directory of the packages.
    root: ImagePath,
    /// What came from the image's own wheels.
    bundled: Vec<PackageChange>,
}

fn places(
    tree: &dyn Tree,
    before: &Inventory,
    after: &Inventory,
    by_image: &dyn Fn(&Database, &PackageChange) -> bool,
) -> Vec<Place> {
    let of_language = |database: &Database| {
        matches!(database.ecosystem, Ecosystem::Pip | Ecosystem::Npm | Ecosystem::Gem | Ecosystem::Conda)
    };
    let here = after.databases.keys().filter(|database| of_language(database)).filter_map(|database| {
        let only = |inventory: &Inventory| Inventory {
            databases: inventory
                .databases
                .get_key_value(database)
                .map(|(k, v)| (k.clone(), v.clone()))
                .into_iter()
                .collect(),
        };
        let mut changes = changes(&only(before), &only(after));
        if changes.is_empty() {
            return None;
        }
        changes.added.retain(|change| by_image(database, change));
        let root = environment_of(tree, database).unwrap_or_else(|| database.dir.clone());
        Some(Place { root, bundled: changes.added })
    });
    here.take(MAX_PLACES).collect()
}

/// Of a database that others change at the same time, takes only those packages as changed whose own records
/// this transaction has touched. Where databases have no such records, whoever ends first is taken to have
/// done it all.
fn keep_own(ended: &Transaction, database: &Database, was: &Packages, now: &mut Packages) {
    let touched = |name: &str| ended.records.contains_key(&(database.clone(), name.to_owned()));
    if matches!(database.ecosystem, Ecosystem::Apk | Ecosystem::Rpm) {
        return;
    }
    now.by_name.retain(|name, _| touched(name));
    for (name, package) in was.by_name.iter().filter(|(name, _)| !touched(name)) {
        now.by_name.insert(name.clone(), package.clone());
    }
}

/// Packages whose own records were written, and which are there in the same release as before.
fn rewritten<'a>(
    ended: &'a Transaction,
    before: &'a Inventory,
    after: &'a Inventory,
    counts: &'a dyn Fn(&Database, &str) -> bool,
) -> impl Iterator<Item = PackageChange> + 'a {
    let of = |inventory: &'a Inventory, database: &Database, name: &str| {
        let packages: Option<&Packages> = inventory.databases.get(database)?.as_ref().ok();
        packages?.by_name.get(name)
    };
    ended.records.keys().filter(|(database, name)| counts(database, name)).filter_map(
        move |(database, name)| {
            let (was, is) = (of(before, database, name)?, of(after, database, name)?);
            let release: &Release = is.releases.first().filter(|_| was.releases == is.releases)?;
            Some(PackageChange {
                ecosystem: database.ecosystem,
                name: is.name.clone(),
                old: Some(release.clone()),
                new: Some(release.clone()),
            })
        },
    )
}

/// Whether a record has the bytes that the image has. What cannot be read has not.
fn same_bytes(tree: &dyn Tree, image: &dyn Tree, path: &ImagePath) -> bool {
    let bytes = |tree: &dyn Tree| read(tree, path, MAX_RECORD).ok().flatten();
    let now = bytes(tree);
    now.is_some() && now == bytes(image)
}

fn describe(changes: &Changes, by_manager: bool, mut why: Vec<String>) -> Effect {
    let mut room = MAX_BYTES;
    let mut cut = false;
    let mut take = |list: &mut dyn Iterator<Item = String>| {
        let mut out = Vec::new();
        for text in list {
            if out.len() >= MAX_LISTED || text.len() > room {
                cut = true;
                break;
            }
            room -= text.len();
            out.push(text);
        }
        out
    };
    let mut shown = |list: &[PackageChange]| take(&mut list.iter().map(ToString::to_string));
    let (added, upgraded) = (shown(&changes.added), shown(&changes.upgraded));
    let (removed, reinstalled) = (shown(&changes.removed), shown(&changes.reinstalled));
    let lists = [&changes.added, &changes.upgraded, &changes.removed, &changes.reinstalled];
    let all: BTreeSet<&str> = lists.iter().flat_map(|list| list.iter().map(|c| c.name.as_str())).collect();
    let names = take(&mut all.iter().map(|name| (*name).to_owned()));
    let total: usize = lists.iter().map(|list| list.len()).sum();
    if cut {
        why.push(format!("{total} packages are more than an event lists"));
    }
    // Whoever writes a record anew without being a package manager has installed nothing.
    let again = if by_manager { changes.reinstalled.len() } else { 0 };
    let action = match (
        changes.added.len() + again,
        changes.upgraded.len(),
        total - changes.reinstalled.len() + again,
    ) {
        (1.., ..) => Some(Action::Install),
        (0, 1.., _) => Some(Action::Upgrade),
        (0, 0, 1..) => Some(Action::Remove),
        _ => None,
    };
    why.truncate(3);
    let unknown = (!why.is_empty()).then(|| why.join("; "));
    let unknown = unknown.map(|why| why.chars().filter(|c| !c.is_control()).take(300).collect());
    let (bundled, roots) = Default::default();
    Effect {
        added,
        removed,
        upgraded,
        reinstalled,
        bundled,
        roots,
        names,
        total: total as u64,
        action,
        unknown,
    }
}

/// Notes whose the files are that were installed.
fn note_installed(host: &Host, container: &Container, ended: &Transaction, changes: &Changes) {
    let fresh = container.live.as_ref().and_then(|live| live.root(host, &[ended.agent.pid]));
    let Some(root) = fresh.as_ref().or(ended.root.as_ref()) else { return };
    let tree: &dyn Tree = &LiveTree::new(root);
    let now = container.installed.load_full().unwrap_or_default();
    let Ok(image) = &container.image else { return };
    let next = installed::after(&now, tree, image, &ended.databases, changes, ended.agent.pid);
    container.installed.store(Some(std::sync::Arc::new(next)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, old: Option<&str>, new: Option<&str>) -> PackageChange {
        let release = |version: &str| Release { version: version.into(), ..Release::default() };
        let (old, new) = (old.map(release), new.map(release));
        PackageChange { ecosystem: Ecosystem::Dpkg, name: name.into(), old, new }
    }

    #[test]
    fn the_action_is_what_was_done() {
        let (new, up, gone) =
            (change("a", None, Some("1")), change("a", Some("1"), Some("2")), change("b", Some("1"), None));
        // Added, upgraded, removed.
        let rows = [
            (vec![new.clone()], vec![], vec![gone.clone()], Some(Action::Install), "changed"),
            (vec![], vec![up.clone()], vec![], Some(Action::Upgrade), "changed"),
            (vec![], vec![up.clone()], vec![gone.clone()], Some(Action::Upgrade), "changed"),
            (vec![], vec![], vec![gone.clone()], Some(Action::Remove), "changed"),
            (vec![], vec![], vec![], None, "none"),
        ];
        for (added, upgraded, removed, action, shown) in rows {
            let changes = Changes { added, upgraded, removed, ..Changes::default() };
            let effect = describe(&changes, true, Vec::new());
            assert_eq!((effect.action, effect.to_string().as_str()), (action, shown));
        }
        assert_eq!(describe(&Changes::default(), true, vec!["why".into()]).to_string(), "unknown:why");
        let again = Changes { reinstalled: vec![up], ..Changes::default() };
        let action = |by_manager| describe(&again, by_manager, Vec::new()).action;
        assert_eq!((action(true), action(false)), (Some(Action::Install), None));
    }

    #[test]
    fn lists_fit_into_an_event() {
        let long = "x".repeat(150);
        let added = (0..10_000).map(|i| change(&format!("{long}{i}"), None, Some("1"))).collect();
        let effect = describe(&Changes { added, ..Changes::default() }, true, Vec::new());
        let bytes: usize = effect.added.iter().chain(&effect.names).map(String::len).sum();
        assert!(effect.added.len() > 100 && bytes <= MAX_BYTES, "{} in {bytes}", effect.added.len());
        assert_eq!(effect.changed(), 10_000);
        assert_eq!(effect.to_string(), "partial:10000 packages are more than an event lists");
    }
}
