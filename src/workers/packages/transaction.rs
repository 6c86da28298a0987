//! One transaction: who, in which container, and which databases were touched.
//!
//! Invariant: databases and records remembered of one are bounded.

use super::system_of;
use super::PackageNotice;
use crate::events::FileReport;
use crate::facts::{Agent, Touch};
use drift_core::container::registry::Container;
use drift_core::host::{Host, RootDir};
use drift_core::packages::inventory::{database_of, record_of, Database};
use drift_formats::entry::ImagePath;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most databases compared at the end of one transaction.
const MAX_DATABASES: usize = 256;
/// Most files of records of packages remembered as touched.
const MAX_RECORDS: usize = 20_000;
/// After a package manager's end: notices of its last writes may still be on their way.
const GRACE: Duration = Duration::from_millis(300);
/// What no package manager did is over when databases were left alone for so long, or after the second time
/// at most.
const QUIET: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A package manager that goes on for long (it builds, or it stays as the container's program) is told of
/// when it left databases alone for so long, or after the second time at most.
const LONG_QUIET: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// What tells transactions apart: the container, and the package manager's process; 0 for whatever else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key(Box<str>, i64);

impl Key {
    /// Of a change that was made while a package manager was at work.
    pub(super) fn of_change(report: &FileReport) -> Option<Self> {
        let during = report.writer.during.as_ref()?;
        Some(Self(report.container.id.clone(), during.leader))
    }

    /// The package manager's process.
    pub(super) fn leader(&self) -> i64 {
        self.1
    }

    pub(super) fn of(container: &Container, agent: &Agent) -> Self {
        Self(
            container.id.clone(),
            if agent.manager.is_some() || agent.action.is_some() { agent.pid } else { 0 },
        )
    }
}

/// A transaction that goes on.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) container: Arc<Container>,
    pub(super) agent: Arc<Agent>,
    /// Held from the beginning on, so that a container that ends with its package manager can still be looked
    /// at.
    pub(super) root: Option<RootDir>,
    /// Databases to be compared.
    pub(super) databases: BTreeSet<Database>,
    /// Packages whose own records were touched, with the files of these.
    pub(super) records: BTreeMap<(Database, String), BTreeSet<ImagePath>>,
    record_files: usize,
    /// More was touched than is remembered.
    pub(super) overflow: bool,
    /// A database on a volume was touched.
    pub(super) on_volume: bool,
    /// Any database was touched.
    pub(super) touched: bool,
    /// Those of the databases that were.
    pub(super) changed: BTreeSet<Database>,
    /// A package manager was started to change packages.
    pub(super) announced: bool,
    /// Nobody but those that only ask is behind it so far.
    weak: bool,
    /// Its process, by when it started; `None` when it had ended.
    running: Option<u64>,
    began: Instant,
    last: Instant,
    ended: Option<Instant>,
}

impl Transaction {
    pub(super) fn new(host: &Host, container: &Arc<Container>, agent: &Arc<Agent>) -> Self {
        let now = Instant::now();
        let system = agent.manager.and_then(system_of);
        let databases = Database::of_systems().into_iter().filter(|db| Some(db.ecosystem) == system);
        Self {
            root: container.live.as_ref().and_then(|live| live.root(host, &[agent.pid])),
            databases: databases.collect(),
            records: BTreeMap::new(),
            record_files: 0,
            overflow: false,
            on_volume: false,
            touched: false,
            changed: BTreeSet::new(),
            announced: false,
            weak: true,
            running: host.running_since(agent.pid),
            began: now,
            last: now,
            ended: None,
            container: Arc::clone(container),
            agent: Arc::clone(agent),
        }
    }

    /// The files of a package's record that were touched.
    pub(super) fn record_paths(&self, database: &Database, name: &str) -> impl Iterator<Item = &ImagePath> {
        self.records.get(&(database.clone(), name.to_owned())).into_iter().flatten()
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    pub(super) fn add(&mut self, host: &Host, notice: PackageNotice) {
        self.last = Instant::now();
        let touch = match notice {
            PackageNotice::Started(_, agent) => {
                // The same process may have become another program.
                self.running = host.running_since(agent.pid);
                self.agent = agent;
                self.weak = false;
                self.announced = true;
                return;
            }
            PackageNotice::Touched(touch) => touch,
            // Held beside the transactions.
            PackageNotice::File(_) => return,
        };
        let Touch { container, path, on_volume, writer, agent, weak } = touch;
        if self.weak && !weak {
            self.weak = false;
            self.agent = agent;
        }
        self.touched = true;
        if on_volume {
            self.on_volume = true;
            return;
        }
        if self.root.is_none() {
            self.root = container.live.as_ref().and_then(|live| live.root(host, &[writer]));
        }
        let Some(database) = database_of(&path) else { return };
        if let Some(name) = record_of(&path, &database) {
            if self.record_files < MAX_RECORDS {
                self.record_files += 1;
                self.records.entry((database.clone(), name)).or_default().insert(path.clone());
            } else {
                self.overflow = true;
            }
        }
        if self.databases.len() < MAX_DATABASES || self.databases.contains(&database) {
            self.changed.insert(database.clone());
            self.databases.insert(database);
        } else {
            self.overflow = true;
        }
    }

    /// Whether it is a package manager's, in this container, which has ended. All that it did is known once
    /// something later is: notices come in the order of events.
    pub(super) fn is_left(&self, host: &Host, container: &Container) -> bool {
        let gone = || self.running.is_none() || host.running_since(self.agent.pid) != self.running;
        self.container.id == container.id && self.announced && gone()
    }

    /// Whether it is over, so that it can be told.
    pub(super) fn has_ended(&mut self, host: &Host, now: Instant) -> bool {
        if self.running.is_some() && host.running_since(self.agent.pid) != self.running {
            self.running = None;
        }
        let (quiet, whole) = (now.duration_since(self.last), now.duration_since(self.began));
        if !self.announced && self.agent.manager.is_none() {
            return quiet >= QUIET.0 || whole >= QUIET.1;
        }
        if self.running.is_some() {
            // One that has touched nothing yet waits for an answer, or for the network.
            return self.touched && (quiet >= LONG_QUIET.0 || whole >= LONG_QUIET.1);
        }
        let ended = *self.ended.get_or_insert(now);
        now.duration_since(ended) >= GRACE && (quiet >= GRACE || now.duration_since(ended) >= QUIET.1)
    }
}
