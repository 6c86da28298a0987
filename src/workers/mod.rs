//! Work off the event thread: indexing layers, comparing and hashing files.
//!
//! Each worker is a [`worker::Worker`], whose file has their invariants. They start when the engine opens a
//! live capture and are joined before the instance goes, so that nothing of drift runs once its library is
//! unloaded.

pub mod declarer;
mod early_ports;
pub mod files;
pub mod indexer;
mod jobs;
pub mod libraries;
mod loaded;
mod lost;
pub mod network;
pub mod packages;
mod settings;
mod tally;
pub mod verifier;
pub mod worker;

use crate::config::Config;
use crate::events::{FileReport, Finding, Reporter};
use crate::facts::{
    EarlyEnvironment, EarlyPeer, EarlyPort, FileNotice, LibraryJob, NewImage, Unnamed, VerifyJob, Writer,
};
use crate::metrics::Metrics;
use crate::prebuilt::Lists;
use crossbeam_channel::Receiver;
use drift_core::container::registry::{Container, Located};
use drift_core::host::Host;
use drift_core::network::learned::LearnedPeer;
use settings::Setting;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use worker::{Common, Worker};

/// Images waiting to be indexed.
const INDEX_QUEUE: usize = 1024;
/// Files waiting to be compared; each holds a descriptor.
const VERIFY_QUEUE: usize = 512;
/// Opened libraries waiting to be taken in.
const LIBRARY_QUEUE: usize = 4096;
/// Containers waiting for what was declared of them to be read.
const DECLARE_QUEUE: usize = 4096;
/// Environments and ports waiting to be judged, each of 4 KiB at most.
const SETTING_QUEUE: usize = 1024;
/// Peers and containers waiting to be taken in.
const NETWORK_QUEUE: usize = 8192;
/// Changed paths waiting to be taken in.
const FILE_QUEUE: usize = 16_384;
/// Losses waiting to be added up.
const LOST_QUEUE: usize = 1024;
/// Containers whose layer is looked through because their changes were too many.
const MAX_OVERFLOWED: usize = 1024;
/// Started package managers and changed paths of package databases waiting to be taken in.
const PACKAGE_QUEUE: usize = 16_384;

/// Containers of which changes were refused, and since when: their layers are looked through.
pub(crate) type Overflowed = Arc<Mutex<HashMap<Box<str>, Unnamed>>>;

/// Notes it. Called on the event thread, which does not wait for the other one.
fn overflowed_by(overflowed: &Overflowed, container: Arc<Container>, writer: Arc<Writer>) {
    let Ok(mut known) = overflowed.try_lock() else { return };
    if known.len() < MAX_OVERFLOWED && !known.contains_key(&container.id) {
        // Who the others were is not known by the time that they are found.
        let writer = if writer.is_exempt() { Arc::new(Writer::unknown()) } else { writer };
        known.insert(container.id.clone(), Unnamed { container, at: now_in_nanoseconds(), writer });
    }
}

/// Nanoseconds since the epoch.
fn now_in_nanoseconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// The running workers of an instance.
#[derive(Debug)]
pub struct Workers {
    common: Common,
    indexer: Worker<NewImage>,
    verifier: Worker<VerifyJob>,
    files: Worker<FileNotice>,
    libraries: Worker<LibraryJob>,
    declarer: Worker<declarer::Notice>,
    settings: Worker<Setting>,
    network: Option<Worker<network::Notice>>,
    packages: Worker<packages::PackageNotice>,
    losses: worker::Guarded,
    overflowed: Overflowed,
    files_watched: Arc<AtomicBool>,
    findings: Receiver<Finding>,
    located: Receiver<Located>,
}

impl Workers {
    /// Starts the workers.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        host: &Host,
        config: &Arc<Config>,
        metrics: &Arc<Metrics>,
        lists: Lists,
        reporter: &Reporter,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let reporter = reporter.until(&stop);
        let (losing, lost) = worker::queue(LOST_QUEUE, config.container_parts);
        let losses = lost::Losses(losing);
        let common = Common {
            losses: Some(losses.clone()),
            stop: Arc::clone(&stop),
            metrics: Arc::clone(metrics),
            parts: config.container_parts,
        };
        let (r, s) = (reporter.clone(), Arc::clone(&stop));
        let losses_worker = worker::Guarded::spawn("drift-losses", &stop, metrics, move || {
            lost::run(&lost, &s, &|event| r.report(event));
        })?;
        let means = || (host.clone(), Arc::clone(config), Arc::clone(metrics), Arc::clone(&stop));
        let files_watched = Arc::new(AtomicBool::new(false));
        // The event thread takes in what was found before it asks for more: at most a queue and what is in
        // hand.
        let (found, findings) = crossbeam_channel::bounded(2 * VERIFY_QUEUE);

        let (h, c, m, s) = means();
        let indexer = indexer::Indexer::new(h, c, m, s);
        let indexer = Worker::start(
            "drift-indexer",
            INDEX_QUEUE,
            &common,
            |m| &m.indexer_dropped,
            move |jobs| indexer.run(jobs),
        )?;
        let (_, c, m, s) = means();
        let verifier = verifier::Verifier::new(c, m, s);
        let r = reporter.clone();
        let verifier = Worker::start(
            "drift-verifier",
            VERIFY_QUEUE,
            &common,
            |m| &m.verifier_dropped,
            move |jobs| verifier.run(jobs, &found, &|event| r.report(event)),
        )?;
        let (h, c, m, s) = means();
        let r = reporter.clone();
        let losing = losses.clone();
        let libraries = Worker::start(
            "drift-libraries",
            LIBRARY_QUEUE,
            &common,
            |m| &m.libraries_dropped,
            move |jobs| {
                let (host, stop) = (h.clone(), Arc::clone(&s));
                libraries::Libraries::new(host, Arc::clone(&c), Arc::clone(&m), stop, losing.clone())
                    .run(jobs, &|event| r.report(event));
            },
        )?;
        let (h, c, m, s) = means();
        let (locating, located) = crossbeam_channel::bounded(DECLARE_QUEUE);
        let declarer = declarer::Declarer::new(h, c, m, s, lists.approved, locating);
        let r = reporter.clone();
        let declarer = Worker::start(
            "drift-declarer",
            DECLARE_QUEUE,
            &common,
            |m| &m.declarer_dropped,
            move |jobs| declarer.run(jobs, &|event| r.report(event)),
        )?;
        let (h, _, m, s) = means();
        let settings = settings::Settings::new(h, m, s, config.container_parts);
        let r = reporter.clone();
        let settings = Worker::start(
            "drift-settings",
            SETTING_QUEUE,
            &common,
            |m| &m.declarer_dropped,
            move |jobs| settings.run(jobs, &|event| r.report(event), &|event| r.report(event)),
        )?;
        let network = match lists.network {
            Some(baselines) => {
                let (h, c, m, s) = means();
                let learner = network::Learner::new(baselines, h, c, m, s);
                let r = reporter.clone();
                Some(Worker::start(
                    "drift-network",
                    NETWORK_QUEUE,
                    &common,
                    |m| &m.network_dropped,
                    move |jobs| learner.run(jobs, &|event| r.report(event)),
                )?)
            }
            None => None,
        };
        let (h, c, m, s) = means();
        let r = reporter.clone();
        let watched = Arc::clone(&files_watched);
        let packages = Worker::start(
            "drift-packages",
            PACKAGE_QUEUE,
            &common,
            |m| &m.packages_dropped,
            move |jobs| {
                let (metrics, stop, watched) = (Arc::clone(&m), Arc::clone(&s), Arc::clone(&watched));
                let reports =
                    packages::Reports { packages: &|event| r.report(event), files: &|event| r.report(event) };
                packages::Packages::new(h.clone(), metrics, stop, watched, c.background_max)
                    .run(jobs, reports);
            },
        )?;
        let (h, c, m, s) = means();
        let r = reporter.clone();
        let overflowed = Overflowed::default();
        let overflow = Arc::clone(&overflowed);
        let held = packages.queue();
        let files = Worker::start(
            "drift-files",
            FILE_QUEUE,
            &common,
            |m| &m.files_dropped,
            move |jobs| {
                let (config, metrics) = (Arc::clone(&c), Arc::clone(&m));
                let reports = |event: &FileReport| {
                    if !packages::hold(held.as_ref(), event) {
                        r.report(event);
                    }
                };
                let (stop, losses, overflow) = (Arc::clone(&s), losses.clone(), Arc::clone(&overflow));
                files::Files::new(h.clone(), config, metrics, stop, losses, overflow).run(
                    jobs,
                    &reports,
                    &|event| r.report(event),
                );
            },
        )?;
        Ok(Self {
            common,
            indexer,
            verifier,
            files,
            libraries,
            declarer,
            settings,
            network,
            packages,
            losses: losses_worker,
            overflowed,
            files_watched,
            findings,
            located,
        })
    }

    /// Asks for an image's layers to be indexed.
    pub fn index(&self, image: NewImage) {
        let _ = self.indexer.send(image);
        self.note_length();
    }

    /// Asks for a file to be compared or hashed; `false` if there is no room.
    pub fn verify(&self, job: VerifyJob) -> bool {
        let sent = self.verifier.send(job).is_ok();
        self.note_length();
        sent
    }

    /// Asks for a path to be compared with the image once it is settled.
    pub fn file_changed(&self, notice: FileNotice) {
        let overflow = match &notice {
            FileNotice::Path(job) => Some((Arc::clone(&job.container), Arc::clone(&job.writer))),
            FileNotice::Unnamed(change) => Some((Arc::clone(&change.container), Arc::clone(&change.writer))),
            FileNotice::Secret(_) => None,
        };
        if let (Err(_), Some((container, writer))) = (self.files.send(notice), overflow) {
            overflowed_by(&self.overflowed, container, writer);
        }
    }

    /// Asks for what a package manager, or a change of a database, does to packages; `false` if there is no
    /// room.
    pub fn packages(&self, notice: packages::PackageNotice) -> bool {
        self.packages.send(notice).is_ok()
    }

    /// Notes that a rule asks about changes of files, so that those of package databases are seen.
    pub fn files_are_watched(&self) {
        self.files_watched.store(true, Ordering::Relaxed);
    }

    /// Asks whether an opened file is a library that was loaded.
    pub fn library(&self, job: LibraryJob) {
        let _ = self.libraries.send(job);
    }

    /// Asks for a peer of an image's container to be learned; `false` if there is no room.
    pub fn learn_peer(&self, image: &str, peer: LearnedPeer) -> bool {
        self.tell_network(network::Notice::Peer(image.into(), peer))
    }

    /// Hands over a peer that a container had before its image was known.
    pub fn early_peer(&self, early: EarlyPeer) {
        self.tell_network(network::Notice::Early(Box::new(early)));
    }

    fn tell_network(&self, notice: network::Notice) -> bool {
        self.network.as_ref().is_some_and(|worker| worker.send(notice).is_ok())
    }

    /// Asks for what was declared of a container; `false` if there is no room.
    pub fn declare(&self, container: Arc<Container>) -> bool {
        self.tell_network(network::Notice::Container(Arc::clone(&container)));
        self.declarer.send(declarer::Notice::Container(container)).is_ok()
    }

    /// Hands over a port that a container opened before it was known what it declares; `false` if there is no
    /// room.
    pub fn early_port(&self, port: EarlyPort) -> bool {
        self.settings.send(Setting::Port(Box::new(port))).is_ok()
    }

    /// Hands over an environment that cannot be judged yet, or not whole; `false` if there is no room.
    pub fn early_environment(&self, environment: EarlyEnvironment) -> bool {
        self.settings.send(Setting::Environment(Box::new(environment))).is_ok()
    }

    fn note_length(&self) {
        self.common.metrics.queue_length.set((self.indexer.waiting() + self.verifier.waiting()) as u64);
    }

    /// Whether there is any; asked for each event, of which almost none has.
    pub fn has_findings(&self) -> bool {
        !self.findings.is_empty()
    }

    /// Where the layers of containers are that their roots do not tell; almost always nothing.
    pub fn located(&self) -> impl Iterator<Item = Located> + '_ {
        self.located.try_iter()
    }

    /// What the verifier found since the last call.
    pub fn findings(&self) -> impl Iterator<Item = Finding> + '_ {
        self.findings.try_iter()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.common.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + worker::STOP;
        macro_rules! each {
            ($($worker:expr),+) => {{
                $($worker.close();)+
                $($worker.join(deadline);)+
            }};
        }
        if let Some(network) = &mut self.network {
            network.close();
        }
        self.common.losses = None;
        each!(self.indexer, self.verifier, self.files, self.libraries, self.declarer, self.packages);
        each!(self.settings);
        if let Some(network) = &mut self.network {
            network.join(deadline);
        }
        self.losses.join(deadline, &self.common.metrics);
    }
}

/// The calling thread's disk accesses yield to everything else. Refusal changes nothing but speed.
#[expect(unsafe_code, reason = "a system call that no library wraps")]
pub(crate) fn background_io() {
    // ioprio_set(2): the calling thread (IOPRIO_WHO_PROCESS 1, id 0), class idle (3, in the upper bits).
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_IDLE: libc::c_int = 3 << 13;
    // SAFETY: the call takes integers only.
    unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE) };
}

/// Keeps a thread's work to a share of one CPU by sleeping in between.
#[derive(Debug)]
pub struct Pace {
    percent: u32,
    since: Instant,
    stop: Arc<AtomicBool>,
}

impl Pace {
    /// Work is measured in slices of this length.
    const SLICE: Duration = Duration::from_millis(10);
    /// A slice that took longer was not work: the thread was kept from running.
    const LONGEST: Duration = Duration::from_secs(5);

    /// A pace of `percent` of one CPU, 1 to 100.
    pub fn new(percent: u8, stop: Arc<AtomicBool>) -> Self {
        Self { percent: u32::from(percent.clamp(1, 100)), since: Instant::now(), stop }
    }

    /// Starts measuring, after a wait for work.
    pub fn begin(&mut self) {
        self.since = Instant::now();
    }

    /// Called between pieces of work: sleeps when a slice is used up; `false` when the thread is to stop.
    pub fn step(&mut self) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            return false;
        }
        let worked = self.since.elapsed();
        if worked >= Self::SLICE && self.percent < 100 {
            worker::sleep(worked.min(Self::LONGEST) * (100 - self.percent) / self.percent, &self.stop);
            self.since = Instant::now();
        }
        !self.stop.load(Ordering::Relaxed)
    }
}
