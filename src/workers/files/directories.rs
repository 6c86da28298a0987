//! Directories that fill: a few reports of files, and then one that counts the rest.
//!
//! Data that programs make (databases, caches) lies in trees of many directories: of it a few files of the
//! whole container are reported, and then one report counts those of each tree.
//!
//! Invariants: bounded in directories; what gives somebody rights is always reported alone; nothing is left
//! out uncounted; what rules treat differently is counted apart, so that nothing harmless stands for the rest.

use crate::events::FileReport;
use drift_core::policy::sensitive::{is_alone, is_scratch, is_sensitive};
use drift_core::verdict::change::Change;
use drift_formats::entry::ImagePath;
use drift_formats::path_key::{path_key, value_key, PathKey};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Files of a directory, or files of data of a container, that are reported one by one.
const FIRST: u64 = 8;
/// How long more of them are only counted.
const WINDOW: Duration = Duration::from_secs(600);
/// How long data is only counted once a tree has filled.
const LONG_WINDOW: Duration = Duration::from_secs(3600);
/// How long without data a container is as if it had made none.
const FORGOTTEN: Duration = Duration::from_secs(2 * 3600);
/// Trees of data of one container; what is elsewhere counts as of `/`.
const MAX_TREES: usize = 8;
/// Most directories counted.
const MAX_DIRECTORIES: usize = 4096;

/// Container, directory, and what rules go by beside it.
type Key = (u64, PathKey, u64);

/// Files that are only counted: the last one, and how many there were.
type Rest = Option<(FileReport, u64)>;

#[derive(Debug)]
struct Directory {
    since: Instant,
    reported: u64,
    rest: Rest,
}

/// Data that a container made.
#[derive(Debug)]
struct Data {
    reported: u64,
    last: Instant,
    trees: HashMap<PathKey, Tree>,
}

#[derive(Debug)]
struct Tree {
    path: ImagePath,
    since: Instant,
    window: Duration,
    rest: Rest,
}

impl Tree {
    fn due(&self) -> Option<Instant> {
        self.rest.as_ref().map(|_| self.since + self.window)
    }
}

/// Directories in which files changed.
#[derive(Debug, Default)]
pub(super) struct Directories {
    directories: HashMap<Key, Directory>,
    data: HashMap<(u64, &'static str), Data>,
}

impl Directories {
    /// Gives a report back where it is to be sent now; else counts it.
    pub(super) fn take(&mut self, report: FileReport, now: Instant) -> Option<FileReport> {
        // What a package manager's transaction writes is held until the databases say whose it is.
        let alone = report.writer.during.is_some()
            || !report.gained.is_empty()
            || report.change == Change::Renamed
            || is_alone(&report.path)
            || report.kind == "package_db";
        let Some(dir) = report.path.parent().filter(|_| !alone) else { return Some(report) };
        let container = value_key(report.container.id.as_bytes());
        if is_data(&report) {
            return self.take_data((container, report.change.as_str()), report, &dir, now);
        }
        let key = (container, path_key(&dir), class(&report));
        if !self.directories.contains_key(&key) && self.directories.len() >= MAX_DIRECTORIES {
            return Some(report);
        }
        let known = self.directories.entry(key).or_insert(Directory { since: now, reported: 0, rest: None });
        if known.reported < FIRST {
            known.reported += 1;
            return Some(report);
        }
        count(&mut known.rest, report);
        None
    }

    fn take_data(
        &mut self,
        key: (u64, &'static str),
        report: FileReport,
        dir: &ImagePath,
        now: Instant,
    ) -> Option<FileReport> {
        if !self.data.contains_key(&key) && self.data.len() >= MAX_DIRECTORIES {
            return Some(report);
        }
        let data =
            self.data.entry(key).or_insert_with(|| Data { reported: 0, last: now, trees: HashMap::new() });
        data.last = now;
        if data.reported < FIRST {
            data.reported += 1;
            return Some(report);
        }
        let tree = tree_of(dir).unwrap_or_else(|| dir.clone());
        let is_known = data.trees.contains_key(&path_key(&tree)) || data.trees.len() < MAX_TREES;
        let path = if is_known { tree } else { ImagePath::lexical(b"/", b"/").unwrap_or(tree) };
        let tree = data.trees.entry(path_key(&path)).or_insert_with(|| Tree {
            path,
            since: now,
            window: WINDOW,
            rest: None,
        });
        count(&mut tree.rest, report);
        None
    }

    /// When the first of them is to be summed up.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let directories = self.directories.values().filter(|dir| dir.rest.is_some());
        let trees = self.data.values().flat_map(|data| data.trees.values());
        directories.map(|dir| dir.since + WINDOW).chain(trees.filter_map(Tree::due)).min()
    }

    /// One report for each directory whose time is over.
    pub(super) fn sum_up(&mut self, now: Instant) -> Vec<FileReport> {
        let mut sums = Vec::new();
        self.directories.retain(|_, dir| {
            if now < dir.since + WINDOW {
                return true;
            }
            let rest = dir.rest.take();
            sums.extend(rest.and_then(|(last, count)| Some(summary(last.path.parent()?, last, count))));
            false
        });
        for tree in self.data.values_mut().flat_map(|data| data.trees.values_mut()) {
            if tree.due().is_some_and(|due| now >= due) {
                sums.extend(tree.rest.take().map(|(last, count)| summary(tree.path.clone(), last, count)));
                (tree.since, tree.window) = (now, LONG_WINDOW);
            }
        }
        self.data.retain(|_, data| {
            now < data.last + FORGOTTEN || data.trees.values().any(|tree| tree.rest.is_some())
        });
        sums
    }
}

/// What rules go by, beside the directory: what one of these excuses does not excuse the others.
fn class(report: &FileReport) -> u64 {
    let FileReport { change, kind, explained, was, sensitive, work, .. } = report;
    let explained = explained.as_ref().map_or("", |explained| explained.kind);
    let was = was.map_or("", |was| was.as_str());
    let work = work.map(|work| work.to_string()).unwrap_or_default();
    let sensitive = if *sensitive { "1" } else { "" };
    value_key([change.as_str(), kind, explained, was, sensitive, &work].join("\0").as_bytes())
}

/// Whether it is data that nobody runs and nothing obeys, that was made, or made and removed.
fn is_data(report: &FileReport) -> bool {
    matches!(report.change, Change::Created | Change::Reverted)
        && report.kind == "other"
        && report.explained.is_none()
        && !is_sensitive(&report.path)
        && !is_scratch(&report.path)
}

/// The first two directories of a path: `/var/lib`, `/srv/cache`.
fn tree_of(dir: &ImagePath) -> Option<ImagePath> {
    let path = dir.as_bytes();
    let ends = path.iter().enumerate().skip(1).filter(|(_, b)| **b == b'/').map(|(at, _)| at);
    let end = ends.take(2).last().filter(|_| path.iter().filter(|b| **b == b'/').count() > 2);
    ImagePath::lexical(b"/", path.get(..end?)?).ok()
}

fn count(rest: &mut Rest, report: FileReport) {
    let count = rest.as_ref().map_or(0, |(_, count)| *count) + 1;
    *rest = Some((report, count));
}

fn summary(path: ImagePath, last: FileReport, count: u64) -> FileReport {
    FileReport { path, new_path: None, kind: "directory", package: None, count: Some(count), ..last }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Writer;
    use drift_core::content::Explained;
    use drift_core::verdict::origin::Origin;
    use drift_core::verdict::work::ImageWork;
    use std::sync::Arc;

    fn report(container: &str, path: &str) -> FileReport {
        FileReport {
            container: crate::workers::files::tests::container(container),
            image: None,
            path: ImagePath::lexical(b"/", path.as_bytes()).unwrap(),
            new_path: None,
            change: Change::Created,
            origin: Origin::Added,
            kind: "other",
            package: None,
            gained: Vec::new(),
            explained: None,
            was: None,
            count: None,
            sensitive: false,
            writer: Arc::new(Writer::unknown()),
            work: None,
            inode: None,
            looked_at: 0,
            proved: false,
            drifts: 1,
        }
    }

    #[test]
    fn a_directory_that_fills_is_a_few_reports_and_a_sum() {
        let mut directories = Directories::default();
        let now = Instant::now();
        let sent =
            (0..10_000).filter(|n| directories.take(report("a", &format!("/etc/c/{n}")), now).is_some());
        assert_eq!(sent.count(), 8);
        assert!(directories.take(report("b", "/etc/c/x"), now).is_some(), "another container's");
        assert!(directories.take(report("a", "/etc/d/x"), now).is_some(), "another directory's");
        let script = FileReport { kind: "script", ..report("a", "/etc/c/x") };
        assert!(directories.take(script, now).is_some(), "a program among many files");
        assert!(directories.sum_up(now).is_empty());
        let sums = directories.sum_up(directories.next_due().unwrap());
        let [sum] = &sums[..] else { panic!("{sums:?}") };
        assert_eq!((sum.path.as_bytes(), sum.count, sum.kind), (&b"/etc/c"[..], Some(9992), "directory"));
        assert!(directories.next_due().is_none());
        assert!(
            directories.take(report("a", "/etc/c/later"), now + 2 * WINDOW).is_some(),
            "from the beginning"
        );
    }

    /// Decoys that nothing alerts on, and content of the image after it.
    #[test]
    fn what_is_excused_does_not_stand_for_what_is_not() {
        let mut directories = Directories::default();
        let now = Instant::now();
        let copy = |path: &str| FileReport {
            explained: Some(Explained { kind: "copied", of: None }),
            ..report("a", path)
        };
        for n in 0..9 {
            directories.take(copy(&format!("/usr/local/bin/{n}")), now);
        }
        assert!(directories.take(copy("/usr/local/bin/x"), now).is_none());
        assert!(directories.take(report("a", "/usr/local/bin/x"), now).is_some());
        let work = FileReport { work: Some(ImageWork::Start), ..report("a", "/usr/local/bin/y") };
        assert!(directories.take(work, now).is_some());
        let program = FileReport { kind: "elf_exec", ..report("a", "/usr/local/bin/y") };
        assert!(directories.take(program, now).is_some());
    }

    /// F15: the one file that counts among thousands of decoys.
    #[test]
    fn what_gives_rights_is_never_one_of_many() {
        let mut directories = Directories::default();
        let now = Instant::now();
        for n in 0..1000 {
            directories.take(report("a", &format!("/etc/{n}")), now);
        }
        assert!(directories.take(report("a", "/etc/n"), now).is_none());
        assert!(directories.take(report("a", "/etc/passwd"), now).is_some());
        assert!(directories.take(report("a", "/etc/.ssh"), now).is_some());
        let privileged = FileReport { gained: vec!["setuid"], ..report("a", "/etc/x") };
        assert!(directories.take(privileged, now).is_some());
    }

    /// A database, a cache: many directories of one container.
    #[test]
    fn data_is_a_few_files_of_a_container_and_a_sum_of_each_tree() {
        let mut directories = Directories::default();
        let now = Instant::now();
        let mut sent = 0;
        for n in 0..5000 {
            let paths = [format!("/srv/cache/{}/{n}", n % 256), format!("/var/lib/db/base/{}/{n}", n % 5)];
            sent += paths.iter().filter(|p| directories.take(report("a", p), now).is_some()).count();
        }
        assert_eq!(sent, 8);
        let program = FileReport { kind: "elf_exec", ..report("a", "/srv/cache/1/x") };
        assert!(directories.take(program, now).is_some(), "a program among data");
        let explained = FileReport {
            explained: Some(drift_core::content::Explained { kind: "copied", of: None }),
            ..report("a", "/srv/cache/1/copy")
        };
        assert!(directories.take(explained, now).is_some());
        let due = directories.next_due().unwrap();
        assert_eq!(due, now + WINDOW);
        let sums = directories.sum_up(due);
        let mut sums: Vec<_> = sums.iter().map(|sum| (sum.path.as_bytes(), sum.count)).collect();
        sums.sort();
        assert_eq!(sums, [(&b"/srv/cache"[..], Some(4996)), (b"/var/lib", Some(4996))]);
        assert!(directories.take(report("a", "/srv/cache/2/later"), due).is_none(), "it fills on");
        assert_eq!(directories.next_due(), Some(due + LONG_WINDOW));
        assert_eq!(directories.sum_up(due + LONG_WINDOW).len(), 1);
        directories.sum_up(due + LONG_WINDOW + FORGOTTEN);
        assert!(directories.take(report("a", "/srv/cache/3/x"), due + 2 * LONG_WINDOW + FORGOTTEN).is_some());
    }

    #[test]
    fn trees_are_bounded_and_have_two_directories() {
        let dir = |path: &str| ImagePath::lexical(b"/", path.as_bytes()).unwrap();
        for (path, tree) in
            [("/a/b/c/d", Some("/a/b")), ("/a/b/c", Some("/a/b")), ("/a/b", None), ("/a", None)]
        {
            assert_eq!(tree_of(&dir(path)), tree.map(dir), "{path}");
        }
        let mut directories = Directories::default();
        let now = Instant::now();
        for n in 0..1000 {
            directories.take(report("a", &format!("/d{n}/x")), now);
        }
        let sums = directories.sum_up(now + WINDOW);
        assert_eq!(sums.len(), MAX_TREES + 1);
        assert_eq!(sums.iter().filter_map(|sum| sum.count).sum::<u64>(), 1000 - FIRST);
    }
}
