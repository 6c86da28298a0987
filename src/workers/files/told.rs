//! What was told of each path, so that one change is told once.
//!
//! Invariant: bounded; what was told longest ago is forgotten first, and would be told again.

use drift_core::host::FoundFile;
use drift_core::verdict::change::{Change, Compared};
use drift_formats::entry::ImagePath;
use drift_formats::path_key::{path_key, value_key, PathKey};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// Most paths remembered; each takes some 120 bytes.
const MAX_TOLD: usize = 16_384;

/// What tells one state of a file from the next: inode, modification time, size, mode.
type Mark = Option<(u64, u64, u64, u16)>;

#[derive(Debug)]
struct State {
    change: Change,
    gained: usize,
    mark: Mark,
    at: Instant,
    /// The path was as in the image since.
    undone: bool,
}

/// Whether a state is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To be told.
    New,
    /// No change, or one that was told.
    Known,
    /// The same change of the same path was told a short time ago: to be looked at again then.
    TooSoon(Instant),
}

/// The memory.
#[derive(Debug)]
pub(super) struct Told {
    interval: Duration,
    /// By keyed hashes of container and path: names can be as long as the workload likes.
    states: LruCache<(u64, PathKey), State>,
}

impl Told {
    /// Nothing told yet; `interval` is the least time between two reports of the same change.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, states: LruCache::new(NonZeroUsize::new(MAX_TOLD).unwrap_or(NonZeroUsize::MIN)) }
    }

    /// Notes that a file was told as created, in another report than its own.
    pub(super) fn note_created(&mut self, container: &str, path: &ImagePath, file: &FoundFile, now: Instant) {
        let state = State { change: Change::Created, gained: 0, mark: mark(file), at: now, undone: false };
        self.states.put(key(container, path), state);
    }

    /// Whether a path's state is news; if so it counts as told from now on.
    pub(super) fn judge(
        &mut self,
        container: &str,
        path: &ImagePath,
        compared: &Compared,
        now: Instant,
    ) -> Verdict {
        let key = key(container, path);
        let mark = compared.now.as_ref().and_then(mark);
        if compared.change == Change::None {
            // Undone. That it was told before still counts for the interval.
            if let Some(told) = self.states.get_mut(&key) {
                told.undone = true;
                told.gained = 0;
            }
            return Verdict::Known;
        }
        let gained = compared.gained.len();
        if let Some(told) = self.states.get(&key) {
            let same = told.change == compared.change && told.gained >= gained;
            // A file that was added stays so, whatever is written to it next.
            let known = told.mark == mark || compared.change == Change::Created;
            if same && known && !told.undone {
                return Verdict::Known;
            }
            let again = told.at + self.interval;
            if same && now < again {
                return Verdict::TooSoon(again);
            }
        }
        self.states.put(key, State { change: compared.change, gained, mark, at: now, undone: false });
        Verdict::New
    }
}

fn key(container: &str, path: &ImagePath) -> (u64, PathKey) {
    (value_key(container.as_bytes()), path_key(path))
}

fn mark(found: &FoundFile) -> Mark {
    Some((found.inode.ino, found.inode.mtime, found.size, found.mode))
}
