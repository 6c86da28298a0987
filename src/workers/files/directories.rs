//! Directories that fill: a few reports of files, and then one that counts the rest.
//!
//! Invariants: bounded in directories; what gives somebody rights is always reported alone; nothing is left
//! out uncounted; what rules treat differently is counted apart, so that nothing harmless stands for the rest.

use crate::events::FileReport;
use drift_core::policy::sensitive::is_alone;
use drift_core::verdict::change::Change;
use drift_formats::entry::ImagePath;
use drift_formats::path_key::{path_key, value_key, PathKey};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Files of a directory that are reported one by one.
const FIRST: u64 = 8;
/// How long more of them are only counted.
const WINDOW: Duration = Duration::from_secs(600);
/// Most directories counted.
const MAX_DIRECTORIES: usize = 4096;

type Key = (u64, PathKey, u64);

#[derive(Debug)]
struct Directory {
    since: Instant,
    reported: u64,
    /// The last one that was only counted, and how many there were.
    rest: Option<(FileReport, u64)>,
}

/// Directories in which files changed.
#[derive(Debug, Default)]
pub(super) struct Directories(HashMap<Key, Directory>);

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
        let key = (value_key(report.container.id.as_bytes()), path_key(&dir), class(&report));
        if !self.0.contains_key(&key) && self.0.len() >= MAX_DIRECTORIES {
            return Some(report);
        }
        let known = self.0.entry(key).or_insert(Directory { since: now, reported: 0, rest: None });
        if known.reported < FIRST {
            known.reported += 1;
            return Some(report);
        }
        let count = known.rest.as_ref().map_or(0, |(_, count)| *count) + 1;
        known.rest = Some((report, count));
        None
    }

    /// When the first of them is to be summed up.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().filter(|dir| dir.rest.is_some()).map(|dir| dir.since + WINDOW).min()
    }

    /// One report for each directory whose time is over.
    pub(super) fn sum_up(&mut self, now: Instant) -> Vec<FileReport> {
        let mut sums = Vec::new();
        self.0.retain(|_, dir| {
            if now < dir.since + WINDOW {
                return true;
            }
            sums.extend(dir.rest.take().and_then(|(last, count)| summary(last, count)));
            false
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

fn summary(last: FileReport, count: u64) -> Option<FileReport> {
    let path: ImagePath = last.path.parent()?;
    Some(FileReport { path, new_path: None, kind: "directory", package: None, count: Some(count), ..last })
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
            (0..10_000).filter(|n| directories.take(report("a", &format!("/app/c/{n}")), now).is_some());
        assert_eq!(sent.count(), 8);
        assert!(directories.take(report("b", "/app/c/x"), now).is_some(), "another container's");
        assert!(directories.take(report("a", "/app/d/x"), now).is_some(), "another directory's");
        assert!(directories.sum_up(now).is_empty());
        let sums = directories.sum_up(directories.next_due().unwrap());
        let [sum] = &sums[..] else { panic!("{sums:?}") };
        assert_eq!((sum.path.as_bytes(), sum.count, sum.kind), (&b"/app/c"[..], Some(9992), "directory"));
        assert!(directories.next_due().is_none());
        assert!(
            directories.take(report("a", "/app/c/later"), now + 2 * WINDOW).is_some(),
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
}
