//! The source's thread: which container is due, and what is told of it.

use super::event::Payload;
use super::params::{Check, Params};
use super::told::Told;
use crate::background::Pace;
use crate::config::Config;
use crate::container::live::is_member;
use crate::container::registry::{Container, LoadedManifest, Registry};
use crate::container::running::{running, Running};
use crate::host::Host;
use crate::metrics::Metrics;
use crate::scan::processes::{self, ProcessFinding};
use crate::scan::{FileChange, FileFinding, FileScan, Limits, Memory, Summary};
use crossbeam_channel::{SendTimeoutError, Sender};
use rustix::fs::FileType;
use std::collections::hash_map::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time until a new container is noticed.
const LOOK_AROUND: Duration = Duration::from_secs(10);
/// Longest wait at a time: bounds how long a stop takes.
const NAP: Duration = Duration::from_millis(100);
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

/// The thread's state.
pub struct Scanner {
    params: Params,
    host: Host,
    config: Arc<Config>,
    registry: Registry,
    metrics: Arc<Metrics>,
    events: Sender<Vec<u8>>,
    stop: Arc<AtomicBool>,
    known: HashMap<Box<str>, Known>,
    /// Spreads containers over the interval, differently on each node.
    spread: RandomState,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner").field("containers", &self.known.len()).finish_non_exhaustive()
    }
}

/// The engine does not listen any more.
struct Closed;

impl Scanner {
    /// A scanner that works until `stop`, or until the other end of `events` is gone.
    pub fn new(
        params: Params,
        config: Arc<Config>,
        manifests: Vec<LoadedManifest>,
        metrics: Arc<Metrics>,
        events: Sender<Vec<u8>>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let host = Host::new(&config.host_root);
        let registry = Registry::new(host.clone(), Arc::clone(&config), manifests);
        let (known, spread) = Default::default();
        Self { params, host, config, registry, metrics, events, stop, known, spread }
    }

    /// Compares until it is to stop.
    pub fn run(mut self) {
        let mut pace = Pace::new(self.params.cpu_percent, Arc::clone(&self.stop));
        let mut look_around = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= look_around {
                self.look_around(now);
                look_around = now + LOOK_AROUND.min(self.params.interval);
            }
            let due = self.known.iter().filter(|(_, k)| k.due <= now && !k.done).min_by_key(|(_, k)| k.due);
            let Some(id) = due.map(|(id, _)| id.clone()) else {
                if self.params.once {
                    return;
                }
                std::thread::sleep(NAP);
                continue;
            };
            let Some(mut known) = self.known.remove(&id) else { continue };
            pace.begin();
            let told = self.compare(&id, &mut known, &mut pace);
            // From the end, so that a comparison that takes longer than the interval leaves room for others.
            known.due = Instant::now() + self.params.interval;
            known.done = self.params.once;
            self.known.insert(id, known);
            if let Err(Closed) = told {
                return;
            }
        }
    }

    /// Takes in which containers run.
    fn look_around(&mut self, now: Instant) {
        let found = running(&self.host);
        self.known.retain(|id, _| found.iter().any(|r| r.id == *id));
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
        tries.find_map(|pid| Some(self.registry.look_at(id, *pid).0).filter(|c| c.is_current()))
    }

    fn compare(&mut self, id: &str, known: &mut Known, pace: &mut Pace) -> Result<(), Closed> {
        let Some(container) = self.container(id, &known.pids) else { return Ok(()) };
        known.told.begin();
        for check in self.params.checks.clone() {
            match check {
                Check::Files => self.files(&container, known, pace)?,
                Check::Processes => self.processes(&container, known, pace)?,
            }
        }
        if !self.stop.load(Ordering::Relaxed) {
            self.metrics.source_scans.inc();
        }
        Ok(())
    }

    fn files(&self, container: &Container, known: &mut Known, pace: &mut Pace) -> Result<(), Closed> {
        let limits = Limits { max_findings: self.params.max_findings, ..Limits::default() };
        let limits = Limits { max_file: self.config.background_max, ..limits };
        let listing = self.listing(container);
        let Known { told, memory, .. } = known;
        let scan = match FileScan::open(&self.host, container, listing.as_deref(), limits) {
            Ok(scan) => scan,
            Err(why) => return self.incomplete(&container.id, Check::Files, told, &why),
        };
        if let Ok(image) = &container.image {
            image.layers().iter().for_each(|layer| layer.build_owners(|| pace.step()));
        }
        let mut closed = Ok(());
        let summary = scan.run(Some(memory), &mut || pace.step(), &mut |finding| {
            if closed.is_ok() {
                closed = self.file(container, told, &finding);
            }
        });
        closed?;
        if self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(why) = gaps(&summary) {
            self.metrics.source_incomplete.inc();
            self.incomplete(&container.id, Check::Files, told, &why)?;
        }
        let unsure = |path: &str| is_unsure(&summary, path);
        told.gone(Check::Files, &unsure).iter().try_for_each(|payload| self.send(payload))
    }

    /// The manifest that the container's image was read from.
    fn listing(&self, container: &Container) -> Option<PathBuf> {
        let manifests = self.config.manifests.iter().filter(|_| container.from_manifest);
        let mut matching = manifests.filter(|m| m.containers.is_match(&*container.id));
        matching.next().map(|m| m.path.clone())
    }

    fn file(&self, container: &Container, told: &mut Told, finding: &FileFinding) -> Result<(), Closed> {
        // A new directory holds nothing by itself; what is made in it is told.
        let empty = finding.change == FileChange::Created && finding.kind == FileType::Directory;
        if empty || !finding.change.is_drift() {
            return Ok(());
        }
        let image_path = finding.image_path.as_ref().unwrap_or(&finding.path);
        let image = container.image.as_ref().ok().filter(|_| finding.change != FileChange::Created);
        let package = image.and_then(|image| image.owner(image_path).ok().flatten());
        let payload = Payload::of_file(&container.id, finding, package);
        // A file that was added stays so, whatever is written to it next.
        let state = finding.now.filter(|_| finding.change != FileChange::Created);
        let state = state.map(|now| (now.inode.mtime, now.size, now.mode));
        let mark = (finding.change, &finding.gained, finding.content, state);
        match told.note(Check::Files, aspect(finding.change), &payload, mark) {
            true => self.send(&payload),
            false => Ok(()),
        }
    }

    fn processes(&self, container: &Container, known: &mut Known, pace: &mut Pace) -> Result<(), Closed> {
        let pids = self.processes_of(&container.id, &known.pids);
        let told = &mut known.told;
        let mut closed = Ok(());
        let whole = processes::scan(&self.host, container, &pids, &mut || pace.step(), &mut |p| {
            if closed.is_ok() && p.is_drift() {
                closed = self.process(container, told, &p);
            }
        });
        closed?;
        match whole {
            true => told.gone(Check::Processes, &|_| false).iter().try_for_each(|payload| self.send(payload)),
            false => Ok(()),
        }
    }

    /// The container's processes now: those known may be minutes old.
    fn processes_of(&self, id: &str, known: &[i64]) -> Vec<i64> {
        let now = running(&self.host).into_iter().find(|r| &*r.id == id);
        now.map_or_else(|| known.to_vec(), |r| r.pids)
    }

    fn process(&self, container: &Container, told: &mut Told, p: &ProcessFinding) -> Result<(), Closed> {
        let payload = Payload::of_process(&container.id, p);
        let mark = (p.origin, p.script.as_ref().map(|(_, origin)| *origin), p.deleted);
        match told.note(Check::Processes, "program", &payload, mark) {
            true => self.send(&payload),
            false => Ok(()),
        }
    }

    fn incomplete(&self, id: &str, check: Check, told: &mut Told, why: &str) -> Result<(), Closed> {
        let payload = Payload::incomplete(id, check, why);
        match told.note(check, "incomplete", &payload, why) {
            true => self.send(&payload),
            false => Ok(()),
        }
    }

    /// Hands an event to the engine, and waits while it is slow to take them.
    fn send(&self, payload: &Payload) -> Result<(), Closed> {
        let mut bytes = payload.to_bytes();
        loop {
            if self.stop.load(Ordering::Relaxed) {
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

/// A path may have been renamed to, and hide what the image had there: two findings.
fn aspect(change: FileChange) -> &'static str {
    match change {
        FileChange::Renamed => "renamed",
        _ => "state",
    }
}

/// What a comparison did not reach, in words.
fn gaps(summary: &Summary) -> Option<String> {
    if summary.is_complete() {
        return None;
    }
    let mut words: Vec<String> = summary.cut.iter().cloned().collect();
    for (path, why) in summary.gaps.iter().take(3) {
        words.push(format!("{}: {why}", String::from_utf8_lossy(path.as_bytes())));
    }
    if summary.gap_count > 3 {
        words.push(format!("{} more", summary.gap_count - 3));
    }
    Some(words.join("; "))
}

/// Whether a comparison cannot say that nothing is at this path.
fn is_unsure(summary: &Summary, path: &str) -> bool {
    let all = summary.cut.is_some() || summary.gap_count > summary.gaps.len() as u64;
    all || summary.gaps.iter().any(|(gap, _)| {
        gap.as_bytes() == b"/"
            || path
                .as_bytes()
                .strip_prefix(gap.as_bytes())
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    })
}
