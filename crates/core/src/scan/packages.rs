//! The packages of a running container against those of its image.
//!
//! Invariants: the container's databases are read beneath its root and bounded, as everything in it; a
//! database that cannot be read whole is said to be unknown, never taken for removed packages.
//!
//! A disk is not searched for databases: those of the system have fixed places, those of languages are told
//! by the files that changed ([`Databases::note`]).

use crate::container::registry::Container;
use crate::host::{Host, RootDir};
use crate::image::view::{Image, Presence};
use crate::packages::inventory::{
    changes, database_of, Changes, Database, Ecosystem, Inventory, LiveTree, PackageChange, Packages, Release,
};
use crate::scan::finding::FileFinding;
use drift_formats::entry::{FileKind, ImagePath};
use rustix::fs::FileType;
use std::collections::{BTreeMap, BTreeSet};

/// Most databases that are compared of one container.
const MAX_DATABASES: usize = 256;

/// Most directories of the image that are looked into for the databases that went with them.
const MAX_LOOKED_INTO: usize = 2_000;
/// Most names of one of them.
const MAX_NAMES: usize = 10_000;

/// Most releases of one package that are named.
const MAX_RELEASES: usize = 8;

/// The databases that may have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Databases {
    all: BTreeSet<Database>,
    /// Directories of the image that are gone, or have another name: what was in them is not told one by one.
    gone: BTreeSet<ImagePath>,
    /// There are more than are compared.
    more: bool,
}

impl Databases {
    /// Those of systems, which are looked at whatever is known of files.
    pub fn of_systems() -> Self {
        Self { all: Database::of_systems().into_iter().collect(), ..Self::default() }
    }

    /// Takes in that a file is not as in the image.
    pub fn note(&mut self, finding: &FileFinding) {
        if !finding.change.is_drift() {
            return;
        }
        self.add_of(&finding.path);
        let was = finding.image_path.as_ref().unwrap_or(&finding.path);
        self.add_of(was);
        let is_gone = finding.now.is_none() || was != &finding.path;
        if is_gone && finding.kind == FileType::Directory {
            self.more |= self.gone.len() >= MAX_LOOKED_INTO;
            if !self.more {
                self.gone.insert(was.clone());
            }
        }
    }

    fn add_of(&mut self, path: &ImagePath) {
        if let Some(database) = database_of(path) {
            self.add(database);
        }
    }

    fn add(&mut self, database: Database) {
        if self.all.len() < MAX_DATABASES || self.all.contains(&database) {
            self.all.insert(database);
        } else {
            self.more = true;
        }
    }

    /// Adds the databases that the image has in directories that are gone; `false` when `keep_going` said
    /// stop.
    fn look_into(&mut self, image: &Image, keep_going: &mut dyn FnMut() -> bool) -> bool {
        let mut pending: Vec<ImagePath> = std::mem::take(&mut self.gone).into_iter().collect();
        for database in Database::of_systems() {
            if pending.iter().any(|dir| database.dir.is_within(dir.as_bytes())) {
                self.add(database);
            }
        }
        let mut looked_into = 0;
        while let Some(dir) = pending.pop() {
            looked_into += 1;
            if looked_into > MAX_LOOKED_INTO {
                self.more = true;
                break;
            }
            if !keep_going() {
                return false;
            }
            let Ok(Some(names)) = image.list(&dir, MAX_NAMES) else { continue };
            for name in names {
                let Ok(child) = dir.join(&name) else { continue };
                self.add_of(&child);
                let is_dir = matches!(image.lookup(&child), Presence::Present { entry, .. }
                    if entry.kind == FileKind::Directory);
                // A package's own files are not looked into: its record tells of it.
                if is_dir && database_of(&child).is_none() {
                    pending.push(child);
                }
            }
        }
        true
    }

    /// Whether there is none to compare.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.gone.is_empty() && !self.more
    }
}

/// What differs in these databases, and why it is not known of others. `keep_going` is asked between
/// databases; `None` when it said stop.
///
/// # Errors
/// Nothing can be compared: why.
pub fn scan(
    host: &Host,
    container: &Container,
    databases: Databases,
    keep_going: &mut dyn FnMut() -> bool,
) -> Result<Option<PackageScan>, String> {
    let live = container.live.as_ref().ok_or("the container is not running")?;
    let image = container.image.as_ref().map_err(String::clone)?;
    let root = live.root(host, &[]).ok_or("the container's files cannot be reached")?;
    compare(image, &root, databases, keep_going)
}

/// A package that is not installed as in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFinding {
    /// What kind of package.
    pub ecosystem: Ecosystem,
    /// Its name as written.
    pub name: String,
    /// Releases that are gone.
    pub old: BTreeSet<Release>,
    /// Releases that are new.
    pub new: BTreeSet<Release>,
}

impl PackageFinding {
    /// `added`, `removed` or `upgraded`: other releases than the image's, older ones too.
    pub fn change(&self) -> &'static str {
        match (self.old.is_empty(), self.new.is_empty()) {
            (true, _) => "added",
            (false, true) => "removed",
            (false, false) => "upgraded",
        }
    }

    /// The name as owners of files are named: `dpkg:jq`.
    pub fn id(&self) -> String {
        format!("{}:{}", self.ecosystem.as_str(), self.name)
    }

    /// Versions of releases, in words; a kind of machine only where it tells them apart.
    pub fn versions(releases: &BTreeSet<Release>) -> String {
        let mut words: Vec<String> = Vec::new();
        for release in releases.iter().take(MAX_RELEASES) {
            let alone = releases.iter().filter(|r| r.version == release.version).count() < 2;
            words.push(match alone || release.architecture.is_empty() {
                true => release.version.clone(),
                false => format!("{} ({})", release.version, release.architecture),
            });
        }
        words.join(", ")
    }
}

/// What a comparison of packages found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageScan {
    /// Packages that differ, by kind and name.
    pub packages: Vec<PackageFinding>,
    /// What is not known, in words.
    pub gaps: Vec<String>,
}

impl PackageScan {
    /// Puts together what changed of each package.
    fn new(changes: Changes) -> Self {
        let mut by_name: BTreeMap<(Ecosystem, String), PackageFinding> = BTreeMap::new();
        let all = changes.added.into_iter().chain(changes.removed).chain(changes.upgraded);
        for PackageChange { ecosystem, name, old, new } in all {
            let none = || PackageFinding {
                ecosystem,
                name: name.clone(),
                old: BTreeSet::new(),
                new: BTreeSet::new(),
            };
            let finding = by_name.entry((ecosystem, name.clone())).or_insert_with(none);
            finding.old.extend(old);
            finding.new.extend(new);
        }
        let unknown = changes.unknown.into_iter();
        let gaps = unknown.map(|(database, why)| format!("{} packages: {why}", database.ecosystem.as_str()));
        Self { packages: by_name.into_values().collect(), gaps: gaps.collect() }
    }
}

/// As [`scan`], for those who have both sides at hand.
///
/// # Errors
/// The root cannot be looked at.
pub fn compare(
    image: &Image,
    root: &RootDir,
    mut databases: Databases,
    keep_going: &mut dyn FnMut() -> bool,
) -> Result<Option<PackageScan>, String> {
    if !databases.look_into(image, keep_going) {
        return Ok(None);
    }
    let tree = LiveTree::new(root);
    let (mut before, mut after) = (Inventory::default(), Inventory::default());
    for database in &databases.all {
        if !keep_going() {
            return Ok(None);
        }
        let one = std::iter::once(database);
        before.databases.extend(Inventory::read(image, one.clone()).databases);
        after.databases.extend(Inventory::read(&tree, one).databases);
    }
    let mut found = PackageScan::new(changes(&before, &after));
    for (database, now) in &after.databases {
        let passed_over = |packages: Option<&Result<Packages, _>>| match packages {
            Some(Ok(packages)) => packages.warnings.len() as u64 + packages.more_warnings,
            _ => 0,
        };
        // The image's own oddities are no drift.
        let new = passed_over(Some(now)).saturating_sub(passed_over(before.databases.get(database)));
        if new > 0 {
            found.gaps.push(format!("{} packages: {new} records unreadable", database.ecosystem.as_str()));
        }
    }
    if databases.more {
        found.gaps.push(format!("more package databases changed than the {MAX_DATABASES} that are compared"));
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FoundFile;
    use crate::image::disk::XattrSpace;
    use crate::image::layer::Layer;
    use crate::scan::{Attributes, FileChange};
    use std::path::Path;
    use std::sync::Arc;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn status(packages: &[(&str, &str, &str)]) -> String {
        let one = |(name, version, machine): &(&str, &str, &str)| {
            format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: {machine}\n\n")
        };
        packages.iter().map(one).collect()
    }

    fn finding(path: &str, change: FileChange, dir: &Path) -> FileFinding {
        let found = FoundFile::of(std::fs::File::open(dir).unwrap()).unwrap();
        FileFinding {
            path: ImagePath::from_archive(path.as_bytes()).unwrap(),
            image_path: None,
            change,
            kind: found.kind,
            content: "other",
            now: (change != FileChange::Deleted).then(|| Attributes::of(&found)),
            before: None,
            gained: Vec::new(),
            covered: false,
            why: String::new(),
        }
    }

    #[test]
    fn packages_are_compared_where_files_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (image, live) = (dir.path().join("image"), dir.path().join("live"));
        let libc = [("libc6", "2.36", "amd64"), ("libc6", "2.36", "i386")];
        put(&image, "var/lib/dpkg/status", &status(&[("jq", "1.6", "amd64"), ("old", "1", "all"), libc[0]]));
        put(
            &live,
            "var/lib/dpkg/status",
            &status(&[("jq", "1.7", "amd64"), ("evil", "6", "all"), libc[0], libc[1]]),
        );
        put(
            &image,
            "usr/lib/python3/dist-packages/six-1.16.dist-info/METADATA",
            "Name: six\nVersion: 1.16\n",
        );
        put(&image, "usr/lib/python3/dist-packages/six.py", "");
        put(&live, "opt/venv/lib/site-packages/new-2.dist-info/METADATA", "Name: new\nVersion: 2\n");
        let layers = vec![Arc::new(Layer::on_disk(image.clone(), XattrSpace::User))];
        let (image, root) = (Image::new(layers), RootDir::open(&live).unwrap());
        let run = |databases: Databases| {
            let found = compare(&image, &root, databases, &mut || true).unwrap().unwrap();
            assert_eq!(found.gaps, Vec::<String>::new());
            let line = |p: &PackageFinding| {
                format!(
                    "{} {} {:?} {:?}",
                    p.change(),
                    p.id(),
                    PackageFinding::versions(&p.old),
                    PackageFinding::versions(&p.new)
                )
            };
            found.packages.iter().map(line).collect::<Vec<_>>()
        };
        let system = [
            "added dpkg:evil \"\" \"6\"",
            "upgraded dpkg:jq \"1.6\" \"1.7\"",
            "added dpkg:libc6 \"\" \"2.36\"",
            "removed dpkg:old \"1\" \"\"",
        ];
        assert_eq!(run(Databases::of_systems()), system);
        assert!(run(Databases::default()).is_empty(), "nothing is said to have changed");

        let file = live.join("var/lib/dpkg/status");
        let mut touched = Databases::default();
        touched.note(&finding("/var/lib/dpkg/status", FileChange::Touched, &file));
        assert!(touched.is_empty(), "written to, and the same");
        touched.note(&finding("/var/lib/dpkg/status", FileChange::Modified, &file));
        touched.note(&finding(
            "/opt/venv/lib/site-packages/new-2.dist-info/METADATA",
            FileChange::Created,
            &file,
        ));
        // Only the directory is told of what was in it.
        touched.note(&finding("/usr/lib/python3", FileChange::Deleted, &live));
        let all = [&system[..], &["added pip:new \"\" \"2\"", "removed pip:six \"1.16\" \"\""]].concat();
        assert_eq!(run(touched.clone()), all);
        assert_eq!(compare(&image, &root, touched, &mut || false).unwrap(), None);

        put(&live, "var/lib/dpkg/status", &status(&[("not a name\u{1b}", "1", "all")]));
        let odd = compare(&image, &root, Databases::of_systems(), &mut || true).unwrap().unwrap();
        assert_eq!(odd.gaps, ["dpkg packages: 1 records unreadable"], "nothing hides behind a name");
        std::fs::remove_file(live.join("var/lib/dpkg/status")).unwrap();

        let mut gone = Databases::default();
        gone.note(&finding("/var", FileChange::Deleted, &live));
        assert_eq!(run(gone).len(), 3, "all that the image has was removed");
    }

    #[test]
    fn a_database_that_cannot_be_read_is_unknown_and_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let (image, live) = (dir.path().join("image"), dir.path().join("live"));
        put(&image, "var/lib/dpkg/status", &status(&[("jq", "1.6", "amd64")]));
        let at = live.join("var/lib/dpkg");
        std::fs::create_dir_all(&at).unwrap();
        let layers = vec![Arc::new(Layer::on_disk(image.clone(), XattrSpace::User))];
        let (image, root) = (Image::new(layers), RootDir::open(&live).unwrap());
        let run = || compare(&image, &root, Databases::of_systems(), &mut || true).unwrap().unwrap();
        use rustix::fs::{mknodat, Mode, CWD};
        mknodat(CWD, at.join("status"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let found = run();
        assert!(found.packages.is_empty() && found.gaps[0].contains("not a regular file"), "{found:?}");
        std::fs::remove_file(at.join("status")).unwrap();
        std::fs::File::create(at.join("status")).unwrap().set_len(100 << 30).unwrap();
        let found = run();
        assert!(found.packages.is_empty() && found.gaps[0].contains("more than"), "{found:?}");
        std::fs::remove_file(at.join("status")).unwrap();
        // Out of the root: where it leads there is nothing.
        let outside = dir.path().join("image/var/lib/dpkg/status");
        std::os::unix::fs::symlink(&outside, at.join("status")).unwrap();
        assert_eq!(run().packages.len(), 1, "removed, not the same");
    }

    #[test]
    fn databases_are_bounded_and_what_is_beyond_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut many = Databases::default();
        put(dir.path(), "x", "");
        for n in 0..=MAX_DATABASES {
            let path = format!("/v{n}/site-packages/a-1.dist-info/RECORD");
            many.note(&finding(&path, FileChange::Created, &dir.path().join("x")));
        }
        let root = RootDir::open(dir.path()).unwrap();
        let found = compare(&Image::new(Vec::new()), &root, many, &mut || true).unwrap().unwrap();
        assert!(found.gaps.iter().any(|why| why.contains("more package databases")), "{:?}", found.gaps);
    }
}
