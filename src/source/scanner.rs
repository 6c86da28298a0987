//! The source's thread: which container is due, and what is told of it.

use super::checks::Round;
use super::event::Payload;
use super::params::{Check, Params};
use super::told::Told;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::workers::Pace;
use arc_swap::ArcSwap;
use crossbeam_channel::{SendTimeoutError, Sender};
use drift_core::container::declared::read::read;
use drift_core::container::declared::Declared;
use drift_core::container::identity::Identity;
use drift_core::container::live::is_member;
use drift_core::container::registry::{Container, LoadedManifest, Registry};
use drift_core::container::running::{running, Running};
use drift_core::host::Host;
use drift_core::image::cache::LayerCache;
use drift_core::policy::approved::{Approved, Watch};
use drift_core::scan::Memory;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Longest time until a new container is noticed.
const LOOK_AROUND: Duration = Duration::from_secs(10);
/// Longest wait for room in the queue: bounds how long a stop takes.
const NAP: Duration = Duration::from_millis(100);
/// How soon it is looked whether somebody reads: at first, and after a while.
const ASKED: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// How old the list of a container's processes may be when it is compared.
pub(super) const FRESH: Duration = Duration::from_secs(1);
/// Processes tried until one shows the container.
const MAX_TRIES: usize = 64;

/// What is kept of one container.
struct Known {
    pids: Vec<i64>,
    due: Instant,
    done: bool,
    told: Told,
    memory: Memory,
}

/// What the engine gave the source, and what it shares with the rest of the instance.
#[derive(Debug, Clone)]
pub struct Means {
    /// The instance's configuration.
    pub config: Arc<Config>,
    /// Manifests that the configuration names.
    pub manifests: Vec<LoadedManifest>,
    /// The list of approved images, where there is one.
    pub approved: Option<Arc<ArcSwap<Approved>>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Set once somebody has read an event of the source: a rule, a filter, an output.
    pub is_read: Arc<AtomicBool>,
}

/// The thread's state.
pub struct Scanner {
    params: Params,
    host: Host,
    config: Arc<Config>,
    registry: Registry,
    approved: Option<Watch>,
    metrics: Arc<Metrics>,
    outlet: Outlet,
    is_read: Arc<AtomicBool>,
    known: HashMap<Box<str>, Known>,
    /// When it was last looked which containers run.
    looked: Option<Instant>,
    /// When the source was opened, nanoseconds since the epoch.
    opened: u64,
    /// Spreads containers over the interval, differently on each node.
    spread: RandomState,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner").field("containers", &self.known.len()).finish_non_exhaustive()
    }
}

/// The engine does not listen any more.
pub(super) struct Closed;

impl Scanner {
    /// A scanner that works until `stop`, or until the other end of `events` is gone.
    pub fn new(params: Params, means: Means, events: Sender<Vec<u8>>, stop: Arc<AtomicBool>) -> Self {
        let Means { config, manifests, approved, metrics, is_read } = means;
        let host = Host::new(&config.host_root);
        let registry = Registry::new(host.clone(), config.registry(), manifests);
        let approved = approved.map(|list| Watch::new(&config.approved_images, list));
        let outlet = Outlet { events, stop, metrics: Arc::clone(&metrics) };
        let opened = UNIX_EPOCH.elapsed().map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        let (known, looked, spread) = Default::default();
        Self {
            params,
            host,
            config,
            registry,
            approved,
            metrics,
            outlet,
            is_read,
            known,
            looked,
            opened,
            spread,
        }
    }

    /// Compares until it is to stop.
    pub fn run(mut self) {
        if self.params.when_read && self.wait_for_reader().is_err() {
            return;
        }
        let mut pace = Pace::new(self.params.cpu_percent, Arc::clone(&self.outlet.stop));
        while !self.outlet.is_stopped() {
            let now = Instant::now();
            if self.looked.is_none_or(|at| now.duration_since(at) >= LOOK_AROUND.min(self.params.interval)) {
                self.look_around(now);
                if self.approved.as_mut().is_some_and(|list| list.refresh().is_err()) {
                    self.metrics.approved_failed.inc();
                }
            }
            let due = self.known.iter().filter(|(_, k)| k.due <= now && !k.done).min_by_key(|(_, k)| k.due);
            let Some(id) = due.map(|(id, _)| id.clone()) else {
                if self.params.once {
                    return;
                }
                self.rest(now);
                continue;
            };
            pace.begin();
            if self.looked.is_some_and(|at| at.elapsed() >= FRESH) {
                self.look_around(Instant::now());
            }
            // Ended meanwhile.
            let Some(mut known) = self.known.remove(&id) else { continue };
            let told = self.compare(&id, &mut known, &mut pace);
            // From the end, so that a comparison that takes longer than the interval leaves room for others.
            known.due = Instant::now() + self.params.interval;
            known.done = self.params.once;
            self.known.insert(id, known);
            if let Err(Closed) = told {
                return;
            }
            // Where only this source runs, nobody else does; layers of containers that ended would stay.
            let cache = LayerCache::shared();
            cache.enforce(self.config.cache.max_bytes, self.config.cache.max_layers);
            self.metrics.note_cache(cache.totals());
        }
    }

    /// Waits until something is due, or the source is closed.
    fn rest(&self, now: Instant) {
        let look = self.looked.map_or(now, |at| at + LOOK_AROUND.min(self.params.interval));
        let compare = self.known.values().filter(|known| !known.done).map(|known| known.due).min();
        let until = compare.map_or(look, |due| due.min(look));
        // Closing the source unparks this thread.
        std::thread::park_timeout(until.saturating_duration_since(now));
    }

    /// Waits until somebody reads an event of the source. An engine opens every source that it knows, also
    /// where no rule is for it: then nothing is worth comparing.
    fn wait_for_reader(&self) -> Result<(), Closed> {
        loop {
            self.outlet.send(&Payload::started(), None)?;
            let again = Instant::now() + self.params.interval;
            let [mut nap, longest] = ASKED;
            loop {
                let left = again.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                if self.is_read.load(Ordering::Relaxed) {
                    return Ok(());
                }
                if self.outlet.is_stopped() {
                    return Err(Closed);
                }
                std::thread::park_timeout(nap.min(left));
                nap = (nap * 2).min(longest);
            }
        }
    }

    /// Takes in which containers run.
    fn look_around(&mut self, now: Instant) {
        self.looked = Some(now);
        let found = running(&self.host);
        let ids: HashSet<&str> = found.iter().map(|r| &*r.id).collect();
        self.known.retain(|id, _| ids.contains(&**id));
        for Running { id, pids } in found {
            if let Some(known) = self.known.get_mut(&id) {
                known.pids = pids;
                continue;
            }
            if self.known.len() >= self.config.cache.max_containers {
                break;
            }
            let interval = u64::try_from(self.params.interval.as_millis()).unwrap_or(u64::MAX).max(1);
            let wait = match self.params.once {
                true => 0,
                false => self.spread.hash_one(&id) % interval,
            };
            let due = now + Duration::from_millis(wait);
            let known = Known { pids, due, done: false, told: Told::default(), memory: Memory::default() };
            self.known.insert(id, known);
        }
    }

    /// The container, looked at through one of its processes.
    fn container(&mut self, id: &str, pids: &[i64]) -> Option<Arc<Container>> {
        if let Some(live) = self.registry.known(id).and_then(|c| c.live.as_ref()) {
            // Started anew, it has other mounts.
            if !is_member(&self.host, live.pid(), id) {
                live.set_ended();
            }
        }
        let mut tries = pids.iter().take(MAX_TRIES);
        tries.find_map(|pid| Some(self.registry.look_at_whole(id, *pid)).filter(|c| c.is_current()))
    }

    fn compare(&mut self, id: &str, known: &mut Known, pace: &mut Pace) -> Result<(), Closed> {
        let Some(container) = self.container(id, &known.pids) else { return Ok(()) };
        self.declare(&container);
        known.told.begin();
        let approved = self.approved.as_ref().map(|watch| watch.list().load_full());
        let mut round = Round {
            host: &self.host,
            config: &self.config,
            metrics: &self.metrics,
            outlet: &self.outlet,
            container: &container,
            declared: container.declaration.read().clone(),
            approved,
            pids: &mut known.pids,
            pids_at: self.looked.unwrap_or_else(Instant::now),
            told: &mut known.told,
            memory: &mut known.memory,
            pace,
            max_findings: self.params.max_findings,
            opened: self.opened,
            databases: None,
        };
        for check in &self.params.checks {
            round.check(*check)?;
        }
        if !self.outlet.is_stopped() {
            self.metrics.source_scans.inc();
        }
        Ok(())
    }

    /// Reads what was declared of the container, unless all of it is known. Engines may write some of it
    /// after the start.
    fn declare(&self, container: &Container) {
        const NEED_IT: [Check; 4] = [Check::Ports, Check::Environment, Check::Image, Check::Rootfs];
        if !self.params.checks.iter().any(|check| NEED_IT.contains(check)) {
            return;
        }
        let is_whole = |d: &Declared| d.config.is_some() && d.overrides.is_some() && d.ports.is_some();
        if container.declaration.read().as_ref().is_some_and(|known| is_whole(known)) {
            return;
        }
        if let Some(live) = &container.live {
            let declared = read(
                &self.host,
                &container.id,
                live,
                &self.config.storage_roots,
                &self.config.pod_annotations,
            );
            container.declaration.set_read(Some(Arc::new(declared)));
        }
    }
}

/// Where events go.
pub(super) struct Outlet {
    events: Sender<Vec<u8>>,
    stop: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Outlet {
    /// Whether the source is being closed.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Hands an event to the engine, with who the container is, and waits while it is slow to take them.
    pub(super) fn send(&self, payload: &Payload, identity: Option<&Identity>) -> Result<(), Closed> {
        let mut bytes = payload.to_bytes(identity);
        loop {
            if self.is_stopped() {
                return Err(Closed);
            }
            match self.events.send_timeout(bytes, NAP) {
                Ok(()) => {
                    self.metrics.source_events.inc();
                    return Ok(());
                }
                Err(SendTimeoutError::Timeout(again)) => bytes = again,
                Err(SendTimeoutError::Disconnected(_)) => return Err(Closed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_somebody_who_reads() {
        let nowhere = tempfile::tempdir().unwrap();
        let raw = crate::config::RawConfig {
            host_root: Some(nowhere.path().to_str().unwrap().to_owned()),
            ..Default::default()
        };
        let means = Means {
            config: Arc::new(Config::try_from(raw).unwrap()),
            manifests: Vec::new(),
            approved: None,
            metrics: Arc::default(),
            is_read: Arc::default(),
        };
        let interval = Duration::from_millis(200);
        let params = Params { interval, once: true, when_read: true, ..Params::default() };
        let (events, told) = crossbeam_channel::unbounded();
        let is_read = Arc::clone(&means.is_read);
        let scanner = Scanner::new(params, means, events, Arc::default());
        let thread = std::thread::spawn(move || scanner.run());
        for _ in 0..3 {
            assert_eq!(
                told.recv().unwrap(),
                Payload::started().to_bytes(None),
                "asked again at each interval"
            );
        }
        assert!(!thread.is_finished());
        is_read.store(true, Ordering::Relaxed);
        thread.join().unwrap();
    }
}
