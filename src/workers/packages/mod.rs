//! Finds out what package managers, and whatever else writes to package databases, have done to a container's
//! packages.
//!
//! Events only say that a package manager was started, or that a path of a database may have changed. When
//! the transaction has ended, the databases decide: the container's are compared with what was told of them
//! last, at first with the image's. Invariants: one report for each transaction; transactions, paths and
//! inventories remembered are bounded; what cannot be read is said in the report and counted, never taken for
//! "nothing changed".

mod effect;
mod held;
mod known;
mod transaction;

use crate::events::{FileReport, PackageReport};
use crate::facts::{Agent, Touch};
use crate::metrics::Metrics;
use crate::workers::worker::{Inbox, Queue};
use crossbeam_channel::RecvTimeoutError;
use drift_core::command::manager::Manager;
use drift_core::container::registry::Container;
use drift_core::host::{Host, RootDir};
use drift_core::packages::inventory::Ecosystem;
use drift_core::verdict::packaged::{brought_by, is_nobodys, Subject};
use held::Held;
use known::Known;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use transaction::{Key, Transaction};

/// What an event says of packages.
#[derive(Debug, Clone)]
pub enum PackageNotice {
    /// A package manager was started to change packages.
    Started(Arc<Container>, Arc<Agent>),
    /// A path of a database may have changed.
    Touched(Touch),
    /// A file has changed while a package manager was at work.
    File(Box<FileReport>),
}

/// Most transactions at the same time; of more the oldest is told as it is.
const MAX_OPEN: usize = 1024;
/// Longest wait for notices while nothing goes on. A stop closes the queue, which ends it.
const IDLE: Duration = Duration::from_secs(10);
/// How often transactions are looked after.
const TICK: Duration = Duration::from_millis(100);
/// Longest wait of the worker that compares files for room to have a change held.
const PATIENCE: Duration = Duration::from_millis(500);
/// Most notices taken in before that.
const BATCH: usize = 8192;

/// The thread's state.
#[derive(Debug)]
pub struct Packages {
    host: Host,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    /// Set once a rule has asked about changes of files: without that, nothing tells of the databases of
    /// languages.
    files_watched: Arc<AtomicBool>,
    open: HashMap<Key, Transaction>,
    held: Held,
    /// Largest file that is read to prove whose it is, bytes.
    max: u64,
    known: Known,
}

/// Where the worker reports to.
#[derive(Clone, Copy)]
pub struct Reports<'a> {
    /// What each transaction did.
    pub packages: &'a dyn Fn(&PackageReport),
    /// Changes of files that were held meanwhile.
    pub files: &'a dyn Fn(&FileReport),
}

impl std::fmt::Debug for Reports<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reports")
    }
}

impl Packages {
    /// A worker that works until `stop`.
    pub fn new(
        host: Host,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
        files_watched: Arc<AtomicBool>,
        max: u64,
        parts: usize,
    ) -> Self {
        let (open, held) = Default::default();
        Self { host, metrics, stop, files_watched, open, held, max, known: Known::new(parts) }
    }

    /// Works until the queue closes.
    pub fn run(mut self, notices: &Inbox<PackageNotice>, report: Reports<'_>) {
        while !self.stop.load(Ordering::Relaxed) {
            match notices.recv_timeout(if self.open.is_empty() && self.held.is_empty() { IDLE } else { TICK })
            {
                Ok(notice) => {
                    self.take(notice, report);
                    for notice in notices.try_iter().take(BATCH).collect::<Vec<_>>() {
                        self.take(notice, report);
                    }
                    // Transactions end by quiet: no event wakes this thread up for each path of a burst.
                    std::thread::sleep(TICK / 2);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            let ended: Vec<Key> = self
                .open
                .iter_mut()
                .filter_map(|(key, open)| open.has_ended(&self.host, now).then(|| key.clone()))
                .collect();
            for key in ended {
                if let Some(transaction) = self.open.remove(&key) {
                    self.tell(transaction, report);
                }
            }
            for key in self.held.due(&self.host, now, &|key| self.open.contains_key(key)) {
                self.decide(&key, report);
            }
        }
    }

    /// Decides about the changes that are held of a transaction, by what is known now.
    fn decide(&mut self, key: &Key, report: Reports<'_>) {
        match self.open.remove(key) {
            Some(transaction) => self.tell(transaction, report),
            None => self.give_out(key, None, report),
        }
    }

    /// Reports the changes that were held of a transaction: what a package accounts for as such.
    fn give_out(&mut self, key: &Key, root: Option<&RootDir>, report: Reports<'_>) {
        for mut change in self.held.take(key) {
            let container = &change.container;
            let fresh = container.live.as_ref().and_then(|live| live.root(&self.host, &[change.writer.pid]));
            let installed = container.installed.load_full();
            let owner = fresh.as_ref().or(root).zip(installed).and_then(|(root, installed)| {
                let subject = Subject {
                    path: &change.path,
                    change: change.change,
                    gained: &change.gained,
                    image_owner: change.package.as_deref(),
                    writer: &change.writer.command,
                    transaction: key.leader(),
                };
                let mut keep_going = || !self.stop.load(Ordering::Relaxed);
                brought_by(&installed, root, &subject, self.max, &mut keep_going)
            });
            change.proved = owner.is_some();
            (report.files)(&change);
        }
    }

    fn take(&mut self, notice: PackageNotice, report: Reports<'_>) {
        let (container, agent) = match &notice {
            PackageNotice::File(change) => {
                let Some(key) = Key::of_change(change) else { return (report.files)(change) };
                let full = self.held.add(&self.host, key, FileReport::clone(change), Instant::now());
                if let Some(key) = full {
                    self.decide(&key, report);
                }
                return;
            }
            PackageNotice::Started(container, agent) => (container, agent),
            PackageNotice::Touched(touch) => (&touch.container, &touch.agent),
        };
        let key = Key::of(container, agent);
        if matches!(notice, PackageNotice::Started(..)) {
            // Before this one changes what an earlier one has left.
            let host = &self.host;
            let left =
                self.open.iter().filter(|(other, open)| **other != key && open.is_left(host, container));
            let left: Vec<Key> = left.map(|(other, _)| other.clone()).collect();
            for other in left {
                if let Some(transaction) = self.open.remove(&other) {
                    self.tell(transaction, report);
                }
            }
        }
        if !self.open.contains_key(&key) {
            if self.open.len() >= MAX_OPEN {
                self.metrics.packages_dropped.inc();
                let oldest =
                    self.open.iter().min_by_key(|(_, open)| open.began()).map(|(key, _)| key.clone());
                if let Some(transaction) = oldest.and_then(|key| self.open.remove(&key)) {
                    self.tell(transaction, report);
                }
            }
            self.open.insert(key.clone(), Transaction::new(&self.host, container, agent));
        }
        if let Some(open) = self.open.get_mut(&key) {
            open.add(&self.host, notice);
        }
    }

    fn tell(&mut self, transaction: Transaction, report: Reports<'_>) {
        self.tell_effect(&transaction, report);
        let key = Key::of(&transaction.container, &transaction.agent);
        self.give_out(&key, transaction.root.as_ref(), report);
    }

    fn tell_effect(&mut self, transaction: &Transaction, report: Reports<'_>) {
        let watched = self.files_watched.load(Ordering::Relaxed);
        // Databases that somebody else is changing now: what is theirs is told with them.
        let id = &transaction.container.id;
        let others = self.open.values().filter(|open| open.container.id == *id);
        let others = others.flat_map(|open| open.changed.iter().cloned()).collect();
        let found = effect::find(&self.host, transaction, &mut self.known, watched, &others);
        let Some(effect) = found else { return };
        let (container, agent) = (Arc::clone(&transaction.container), Arc::clone(&transaction.agent));
        if effect.is_incomplete() {
            self.metrics.packages_unknown.inc();
        }
        let changed = effect.changed();
        if changed > 0 {
            self.metrics.packages_changed.add(changed);
        }
        let drifts = container.drifts.fetch_add(changed, Ordering::Relaxed) + changed;
        (report.packages)(&PackageReport { container, agent, effect, drifts });
    }
}

/// Has a change held until it is known what the package manager at work has brought; `false` where it is to
/// be reported now: none is, the change is nobody's to make, or there is no room.
pub fn hold(queue: Option<&Queue<PackageNotice>>, change: &FileReport) -> bool {
    let Some(queue) = queue.filter(|_| change.writer.during.is_some()) else { return false };
    // A burst of a large package: the other thread catches up.
    let patience = Instant::now() + PATIENCE;
    !is_nobodys(&change.path, &change.gained)
        && loop {
            match queue.send(PackageNotice::File(Box::new(change.clone()))) {
                Ok(()) => break true,
                Err(_) if Instant::now() < patience => std::thread::sleep(TICK / 20),
                Err(_) => break false,
            }
        }
}

/// The kind of system packages that a manager installs; `None` for those of languages, whose databases may be
/// anywhere.
fn system_of(manager: Manager) -> Option<Ecosystem> {
    match manager {
        Manager::Apt | Manager::Dpkg => Some(Ecosystem::Dpkg),
        Manager::Apk => Some(Ecosystem::Apk),
        Manager::Yum | Manager::Dnf | Manager::Microdnf | Manager::Rpm | Manager::Zypper => {
            Some(Ecosystem::Rpm)
        }
        _ => None,
    }
}

/// Whether what a manager does shows in a database that is read here. Of others only the start is told.
pub fn leaves_traces(manager: Manager) -> bool {
    match manager {
        Manager::Pip
        | Manager::Uv
        | Manager::Poetry
        | Manager::Conda
        | Manager::Npm
        | Manager::Pnpm
        | Manager::Gem
        | Manager::Bundler => true,
        // Yarn may install without node_modules; the rest keeps archives or builds programs.
        Manager::Pacman
        | Manager::Yarn
        | Manager::Cargo
        | Manager::Go
        | Manager::Composer
        | Manager::Cpan
        | Manager::Luarocks => false,
        system => system_of(system).is_some(),
    }
}

/// The tables, and their bytes when they are full.
#[cfg(test)]
pub(super) fn tables() -> [(&'static str, usize); 2] {
    // Two names, a version, and the nodes of two trees, about.
    const PACKAGE: usize = 300;
    let held = held::MAX_HELD * (size_of::<FileReport>() + super::memory::PATH);
    [("reported packages", known::MAX_PACKAGES * PACKAGE), ("changes held for a package manager", held)]
}

#[cfg(test)]
#[path = "packages_tests.rs"]
mod tests;
