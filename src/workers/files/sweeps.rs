//! Changes of which no event says where: truncate(2) and setxattr(2) by path, fchmodat2(2). The container's
//! writable layer is looked through for files that changed at that time.
//!
//! Invariants: one sweep of a container at a time, at most a twentieth of the time; a bounded number of
//! entries.

use crate::facts::{Evidence, Said};
use crate::facts::{FileJob, Unnamed};
use drift_core::host::{FoundFile, RootDir};
use drift_core::policy::sensitive::is_sensitive;
use drift_core::scan::walk::{Item, Walk, MAX_DEPTH};
use drift_formats::entry::ImagePath;
use rustix::fs::FileType;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long after a change the layer is looked through: changes in a burst are found together.
const DELAY: Duration = Duration::from_millis(100);
/// Shortest time from one sweep of a container to the next.
const GAP: Duration = Duration::from_secs(1);
/// A sweep's share of the time: one in so many parts.
const SHARE: u32 = 20;
/// Most containers with a sweep to come, and containers remembered.
const MAX_CONTAINERS: usize = 4096;
/// Most entries looked at in one sweep.
const MAX_ENTRIES: usize = 500_000;
/// How far a file's time may be before its event's, nanoseconds: the kernel's clock for files has ticks of
/// some milliseconds. What changed earlier was changed by somebody else.
const CLOCKS: u64 = 300_000_000;

#[derive(Debug)]
struct Sweep {
    /// The last change that asked for it.
    change: Unnamed,
    /// Time of the first change, nanoseconds since the epoch.
    since: u64,
    due: Instant,
}

/// Sweeps to come.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    due: HashMap<Box<str>, Sweep>,
    /// When the next sweep of a container may begin.
    not_before: HashMap<Box<str>, Instant>,
}

impl Sweeps {
    /// Notes a change; `false` if there are too many.
    pub(super) fn add(&mut self, mut change: Unnamed, now: Instant) -> bool {
        // The engine's clock counts from the machine's start, and may be ahead of that of files by now.
        change.at = change.at.min(wall_clock());
        let id = change.container.id.clone();
        if let Some(known) = self.due.get_mut(&id) {
            known.since = known.since.min(change.at);
            known.change = change;
            return true;
        }
        if self.due.len() >= MAX_CONTAINERS {
            return false;
        }
        self.not_before.retain(|_, at| *at > now);
        let earliest = self.not_before.get(&id).copied().unwrap_or(now);
        let due = (now + DELAY).max(earliest);
        self.due.insert(id, Sweep { since: change.at, change, due });
        true
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.values().map(|sweep| sweep.due).min()
    }

    /// Does one sweep that is due. The paths that changed are the answer, and whether that is all of them.
    pub(super) fn run_one(&mut self, now: Instant) -> Option<(Vec<FileJob>, bool)> {
        let id = self.due.iter().find(|(_, sweep)| sweep.due <= now).map(|(id, _)| id.clone())?;
        let Sweep { change, since, .. } = self.due.remove(&id)?;
        let (paths, complete) = changed_since(&change, since.saturating_sub(CLOCKS));
        let took = now.elapsed();
        self.not_before.insert(id, Instant::now() + GAP.max(took * SHARE));
        let job = |path| FileJob {
            container: change.container.clone(),
            path,
            new_path: None,
            follows: false,
            said: Said { evidence: Evidence::Metadata, ..Said::default() },
            writer: Arc::clone(&change.writer),
        };
        Some((paths.into_iter().map(job).collect(), complete))
    }
}

/// Nanoseconds since the epoch.
fn wall_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether it stands for a removed file of the image (Documentation/filesystems/overlayfs.rst, "whiteouts").
fn is_whiteout(found: &FoundFile) -> bool {
    found.kind == FileType::CharacterDevice && found.rdev == (0, 0)
}

/// Regular files, links and removals of the writable layer whose change time is `since` or later; those that
/// are sensitive first.
fn changed_since(change: &Unnamed, since: u64) -> (Vec<ImagePath>, bool) {
    let upper = change.container.live.as_ref().and_then(|live| live.upper.as_deref());
    let walk = upper
        .and_then(|upper| RootDir::open(upper).ok())
        .and_then(|dir| Walk::new(dir, None, MAX_DEPTH).ok());
    let Some(walk) = walk else { return (Vec::new(), false) };
    let mut paths = Vec::new();
    let mut complete = true;
    for (seen, item) in walk.enumerate() {
        if seen >= MAX_ENTRIES {
            complete = false;
            break;
        }
        match item {
            Item::File(path, found)
                if (matches!(found.kind, FileType::RegularFile | FileType::Symlink)
                    || is_whiteout(&found))
                    && found.inode.ctime >= since =>
            {
                paths.push(path);
            }
            Item::Problem(..) => complete = false,
            _ => {}
        }
    }
    paths.sort_by_key(|path| !is_sensitive(path));
    (paths, complete)
}
