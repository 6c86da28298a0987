//! Changes of files that were made while a package manager was at work, held until it is known what it
//! brought.
//!
//! Invariants: held by number and time; what exceeds either is decided by what is known then. Nothing is
//! lost: a change that no package accounts for is reported as any other, with the package manager as
//! circumstance.

use super::transaction::Key;
use crate::events::FileReport;
use drift_core::host::Host;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Most changes held.
pub(super) const MAX_HELD: usize = 12_288;
/// Most changes held of one transaction.
const MAX_OF_ONE: usize = 10_000;
/// Longest hold: a package manager that waits for ever must not keep alerts back.
const LONGEST: Duration = Duration::from_secs(120);
/// After the end of the process, of which no transaction is known.
const GRACE: Duration = Duration::from_millis(300);

#[derive(Debug)]
struct Waiting {
    reports: Vec<FileReport>,
    since: Instant,
    /// The package manager's process, by when it started; `None` when it had ended.
    running: Option<u64>,
}

/// The changes that are held.
#[derive(Debug, Default)]
pub(super) struct Held {
    by_key: HashMap<Key, Waiting>,
    count: usize,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Holds a change. Gives a transaction back whose changes are to be decided now, where there are too many.
    pub(super) fn add(&mut self, host: &Host, key: Key, report: FileReport, now: Instant) -> Option<Key> {
        let running = || host.running_since(key.leader());
        let of_one = self.by_key.entry(key.clone()).or_insert_with(|| Waiting {
            reports: Vec::new(),
            since: now,
            running: running(),
        });
        of_one.reports.push(report);
        self.count += 1;
        if of_one.reports.len() > MAX_OF_ONE {
            return Some(key);
        }
        // Whoever has the most makes room, not whoever comes next.
        let largest = || self.by_key.iter().max_by_key(|(_, waiting)| waiting.reports.len());
        (self.count > MAX_HELD).then(largest)?.map(|(key, _)| key.clone())
    }

    /// The transactions whose changes are to be decided now: held for too long, or of a process that has
    /// ended without a transaction (`is_open` says which have one).
    pub(super) fn due(&self, host: &Host, now: Instant, is_open: &dyn Fn(&Key) -> bool) -> Vec<Key> {
        let due = self.by_key.iter().filter(|(key, waiting)| {
            let held = now.saturating_duration_since(waiting.since);
            let gone = || waiting.running.is_none() || host.running_since(key.leader()) != waiting.running;
            held >= LONGEST || (held >= GRACE && !is_open(key) && gone())
        });
        due.map(|(key, _)| key.clone()).collect()
    }

    /// Takes the changes of a transaction out.
    pub(super) fn take(&mut self, key: &Key) -> Vec<FileReport> {
        let reports = self.by_key.remove(key).map(|waiting| waiting.reports).unwrap_or_default();
        self.count -= reports.len();
        reports
    }
}
