//! Reads what was declared of containers, where their layers are by the records of whoever runs them, and the
//! list of approved images when it changes.

use crate::config::Config;
use crate::events::ContainerReport;
use crate::metrics::Metrics;
use crate::workers::worker::Inbox;
use arc_swap::ArcSwap;
use crossbeam_channel::{RecvTimeoutError, Sender};
use drift_core::container::declared::read::read;
use drift_core::container::declared::Declared;
use drift_core::container::registry::{Container, Located, Registry};
use drift_core::container::users::Users;
use drift_core::host::Host;
use drift_core::network::nameservers;
use drift_core::policy::approved::{Approved, Watch};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the thread waits for work before it looks after the list and after what could not be read at
/// first.
const TICK: Duration = Duration::from_millis(500);
/// Longest wait while there is nothing to look after. A stop closes the queue, which ends it.
const IDLE: Duration = Duration::from_secs(10);

/// When a container is read again whose records are not all there: an engine may write some of them after the
/// start.
const RETRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Most containers that wait for another try.
const MAX_WAITING: usize = 4096;

/// What the event thread asks for.
#[derive(Debug)]
pub enum Notice {
    /// What was declared of a container.
    Container(Arc<Container>),
}

/// A container whose records were not all there.
struct Waiting {
    container: Arc<Container>,
    tries: usize,
    due: Instant,
}

/// The declarer's thread.
#[derive(Debug)]
pub struct Declarer {
    host: Host,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    approved: Option<Arc<ArcSwap<Approved>>>,
    located: Sender<Located>,
}

impl Declarer {
    /// A declarer that works until `stop`.
    pub fn new(
        host: Host,
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
        approved: Option<Arc<ArcSwap<Approved>>>,
        located: Sender<Located>,
    ) -> Self {
        Self { host, config, metrics, stop, approved, located }
    }

    /// Reads what is asked for until the queue closes.
    pub fn run(&self, notices: &Inbox<Notice>, report: &dyn Fn(&ContainerReport)) {
        let mut waiting: Vec<Waiting> = Vec::new();
        let list = self.approved.clone();
        let mut list = list.map(|list| Watch::new(&self.config.approved_images, list));
        while !self.stop.load(Ordering::Relaxed) {
            let is_idle = waiting.is_empty() && list.is_none();
            match notices.recv_timeout(if is_idle { IDLE } else { TICK }) {
                Ok(Notice::Container(container)) => self.declare(container, 0, &mut waiting, report),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            let due: Vec<Waiting> = waiting.extract_due(now);
            for Waiting { container, tries, .. } in due {
                self.declare(container, tries, &mut waiting, report);
            }
            if list.as_mut().is_some_and(|list| list.refresh().is_err()) {
                self.metrics.approved_failed.inc();
            }
        }
    }

    fn declare(
        &self,
        container: Arc<Container>,
        tries: usize,
        waiting: &mut Vec<Waiting>,
        report: &dyn Fn(&ContainerReport),
    ) {
        let Some(live) = &container.live else { return };
        // First of all: until then nothing can be said of its programs.
        if container.image.is_err() {
            match Registry::locate(&self.host, &container) {
                // With no room, what the kernel says stays.
                Ok(found) => drop(self.located.try_send(found)),
                Err(why) => log::debug!("container {}: no layers by its records: {why}", container.id),
            }
        }
        // Before the image is known, and peers are judged.
        if let Ok(root) = self.host.root_of(live.pid()) {
            if live.is_root(&root) {
                container.declaration.set_nameservers(nameservers::read(&root));
                container.declaration.set_users(Users::read(&self.host, live.pid(), &root));
            }
        }
        let declared =
            read(&self.host, &container.id, live, &self.config.storage_roots, &self.config.pod_annotations);
        let whole = declared.config.is_some() && declared.overrides.is_some() && declared.ports.is_some();
        let retry = RETRIES.get(tries).filter(|_| !whole && !live.has_ended() && waiting.len() < MAX_WAITING);
        let declared = Arc::new(declared);
        container.declaration.set_read(Some(Arc::clone(&declared)));
        if let Some(wait) = retry {
            let due = Instant::now() + *wait;
            waiting.push(Waiting { container, tries: tries + 1, due });
            return;
        }
        // Told once: when all is known, or no more will be.
        if whole {
            self.metrics.declared.inc();
        } else {
            self.metrics.declared_partly.inc();
        }
        let image = container.declaration.image.load_full().unwrap_or_default();
        report(&ContainerReport {
            approval: self.approved.as_ref().map(|list| list.load().judge(&image.identity)),
            entrypoint_match: entrypoint_match(&container, &declared),
            tid: live.pid(),
            container: Arc::clone(&container),
            declared,
            image,
        });
    }
}

/// The container's first process, where drift saw its exec, against the declaration.
fn entrypoint_match(container: &Container, declared: &Declared) -> Option<bool> {
    let (pid, argv) = container.declaration.first_exec.get()?;
    container.live.as_ref().filter(|live| live.pid() == *pid)?;
    let argv: Vec<&[u8]> = argv.iter().map(|a| &**a).collect();
    declared.runs_entrypoint(&argv)
}

trait ExtractDue {
    fn extract_due(&mut self, now: Instant) -> Vec<Waiting>;
}

impl ExtractDue for Vec<Waiting> {
    fn extract_due(&mut self, now: Instant) -> Vec<Waiting> {
        let (due, later) = self.drain(..).partition(|w| w.due <= now);
        *self = later;
        due
    }
}
