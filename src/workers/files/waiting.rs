//! Paths that wait to be looked at, the one that is due first in front.
//!
//! Invariant: one entry for each path of a container, at most [`MAX_WAITING`] in all.

use crate::facts::FileJob;
use drift_core::host::RootDir;
use drift_formats::path_key::{path_key, value_key, PathKey};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most paths waiting.
pub(super) const MAX_WAITING: usize = 16_384;
/// How long a path is left alone before it is looked at: a file that is made under one name and renamed to another is one
/// change.
pub(super) const QUIET: Duration = Duration::from_millis(500);
/// Most processes remembered as writers of one path.
const MAX_WRITERS: usize = 8;

/// What tells one waiting path from another: keyed hashes of container and path, whether a link at its end is followed.
pub(super) type Key = (u64, PathKey, bool);

fn key(job: &FileJob, follows: bool) -> Key {
    (value_key(job.container.id.as_bytes()), path_key(&job.path), follows)
}

/// A path, and what is known of it.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The latest job for it.
    pub(super) job: FileJob,
    /// Processes that may have it open.
    pub(super) writers: Vec<i64>,
    /// Held from the event on, so that a container that ends at once can still be looked at; given up while a writer
    /// has the file open, since then the container lives.
    pub(super) root: Option<Arc<RootDir>>,
    pub(super) due: Instant,
    /// Longest wait for a writer.
    pub(super) until: Instant,
    /// Next wait for a writer that cannot be watched.
    pub(super) back_off: Duration,
}

/// The list.
#[derive(Debug, Default)]
pub(super) struct WaitList {
    /// Boxed: most of a table's places are empty.
    by_key: HashMap<Key, Box<Waiting>>,
    /// At least one entry for each key. A path that was put off since is found out when its old time comes.
    order: BinaryHeap<Reverse<(Instant, Key)>>,
}

impl WaitList {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// When the first path may be due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.order.peek().map(|Reverse((at, _))| *at)
    }

    /// Whether a path waits already, by whatever call.
    pub(super) fn has(&self, job: &FileJob) -> bool {
        [false, true].iter().any(|follows| self.by_key.contains_key(&key(job, *follows)))
    }

    /// Takes a new change of a path that waits already into its entry; gives the job back if there is none.
    pub(super) fn merge(&mut self, job: FileJob, now: Instant) -> Result<(), FileJob> {
        let key = key(&job, job.follows);
        let Some(known) = self.by_key.get_mut(&key) else { return Err(job) };
        // Put off, but not for ever: a file that is written again and again is looked at in between.
        let due = (now + QUIET).min(known.until);
        if due < known.due {
            // A writer that was waited for is done.
            self.order.push(Reverse((due, key)));
        }
        known.due = due;
        if !known.writers.contains(&job.writer.pid) && known.writers.len() < MAX_WRITERS {
            known.writers.push(job.writer.pid);
        }
        let old_target = known.job.new_path.take();
        known.job = FileJob { new_path: job.new_path.clone().or(old_target), ..job };
        Ok(())
    }

    /// Adds a path; `false` if the list is full.
    pub(super) fn add(&mut self, waiting: Waiting) -> bool {
        if self.by_key.len() >= MAX_WAITING {
            return false;
        }
        let key = key(&waiting.job, waiting.job.follows);
        self.order.push(Reverse((waiting.due, key)));
        self.by_key.insert(key, Box::new(waiting));
        true
    }

    /// Takes out the first path that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Waiting> {
        loop {
            let Reverse((at, _)) = self.order.peek()?;
            if *at > now {
                return None;
            }
            let Reverse((_, key)) = self.order.pop()?;
            // Nothing waits under a key that was looked at by an earlier entry.
            let Some(due) = self.by_key.get(&key).map(|waiting| waiting.due) else { continue };
            if due <= now {
                return self.by_key.remove(&key).map(|waiting| *waiting);
            }
            self.order.push(Reverse((due, key)));
        }
    }
}
