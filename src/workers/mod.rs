//! Work off the event thread: indexing layers, comparing and hashing files.
//!
//! Invariants: the queues are bounded, what does not fit is counted; threads start when the engine opens a live
//! capture and are joined before the instance goes, so that nothing of drift runs once its library is unloaded.

pub mod declarer;
pub mod early_ports;
pub mod files;
pub mod indexer;
pub mod libraries;
pub mod network;
pub mod packages;
pub mod verifier;

use crate::config::Config;
use crate::events::{Finding, Reporter};
use crate::facts::{EarlyPeer, EarlyPort, FileNotice, LibraryJob, NewImage, PackageNotice, VerifyJob};
use crate::metrics::Metrics;
use crate::prebuilt::Lists;
use crossbeam_channel::{Receiver, Sender};
use drift_core::container::registry::Container;
use drift_core::host::Host;
use drift_core::network::learned::LearnedPeer;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Images waiting to be indexed.
const INDEX_QUEUE: usize = 1024;
/// Files waiting to be compared; each holds a descriptor.
const VERIFY_QUEUE: usize = 256;
/// Opened libraries waiting to be taken in.
const LIBRARY_QUEUE: usize = 4096;
/// Containers waiting for what was declared of them to be read.
const DECLARE_QUEUE: usize = 4096;
/// Peers and containers waiting to be taken in.
const NETWORK_QUEUE: usize = 8192;
/// Changed paths waiting to be taken in.
const FILE_QUEUE: usize = 8192;
/// Started package managers and changed paths of package databases waiting to be taken in.
const PACKAGE_QUEUE: usize = 16_384;

/// The running threads of an instance.
#[derive(Debug)]
pub struct Workers {
    stop: Arc<AtomicBool>,
    images: Option<Sender<NewImage>>,
    jobs: Option<Sender<VerifyJob>>,
    changes: Option<Sender<FileNotice>>,
    libraries: Option<Sender<LibraryJob>>,
    declarations: Option<Sender<declarer::Notice>>,
    network: Option<Sender<network::Notice>>,
    packages: Option<Sender<PackageNotice>>,
    files_watched: Arc<AtomicBool>,
    findings: Receiver<Finding>,
    metrics: Arc<Metrics>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts the threads.
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
        let (images, to_index) = crossbeam_channel::bounded(INDEX_QUEUE);
        let (jobs, to_verify) = crossbeam_channel::bounded(VERIFY_QUEUE);
        let (changes, to_compare) = crossbeam_channel::bounded(FILE_QUEUE);
        let (libraries, to_look_at) = crossbeam_channel::bounded(LIBRARY_QUEUE);
        let (declarations, to_declare) = crossbeam_channel::bounded(DECLARE_QUEUE);
        let (packages, to_follow) = crossbeam_channel::bounded(PACKAGE_QUEUE);
        let files_watched = Arc::new(AtomicBool::new(false));
        let (found, findings) = crossbeam_channel::bounded(VERIFY_QUEUE);
        let mut this = Self {
            stop: Arc::clone(&stop),
            images: Some(images),
            jobs: Some(jobs),
            changes: Some(changes),
            libraries: Some(libraries),
            declarations: Some(declarations),
            network: None,
            packages: Some(packages),
            files_watched: Arc::clone(&files_watched),
            findings,
            metrics: Arc::clone(metrics),
            threads: Vec::new(),
        };
        let indexer =
            indexer::Indexer::new(host.clone(), Arc::clone(config), Arc::clone(metrics), Arc::clone(&stop));
        this.spawn("drift-indexer", move || indexer.run(&to_index))?;
        let verifier = verifier::Verifier::new(Arc::clone(config), Arc::clone(metrics), Arc::clone(&stop));
        let reports = reporter.clone();
        this.spawn("drift-verifier", move || {
            verifier.run(&to_verify, &found, &|event| reports.report(event))
        })?;
        let counters = Arc::clone(metrics);
        let libraries =
            libraries::Libraries::new(host.clone(), config.background_max, counters, Arc::clone(&stop));
        let reports = reporter.clone();
        this.spawn("drift-libraries", move || libraries.run(&to_look_at, &|event| reports.report(event)))?;
        let declarer = declarer::Declarer::new(
            host.clone(),
            Arc::clone(config),
            Arc::clone(metrics),
            Arc::clone(&stop),
            lists.approved,
        );
        let reports = reporter.clone();
        this.spawn("drift-declarer", move || {
            declarer.run(&to_declare, &|event| reports.report(event), &|event| reports.report(event))
        })?;
        if let Some(baselines) = lists.network {
            let (notices, to_learn) = crossbeam_channel::bounded(NETWORK_QUEUE);
            this.network = Some(notices);
            let (config, counters) = (Arc::clone(config), Arc::clone(metrics));
            let learner = network::Learner::new(baselines, host.clone(), config, counters, Arc::clone(&stop));
            let reports = reporter.clone();
            this.spawn("drift-network", move || learner.run(&to_learn, &|event| reports.report(event)))?;
        }
        let packages =
            packages::Packages::new(host.clone(), Arc::clone(metrics), Arc::clone(&stop), files_watched);
        let reports = reporter.clone();
        this.spawn("drift-packages", move || packages.run(&to_follow, &|event| reports.report(event)))?;
        let files = files::Files::new(host.clone(), Arc::clone(config), Arc::clone(metrics), stop);
        let reports = reporter.clone();
        this.spawn("drift-files", move || {
            files.run(&to_compare, &|event| reports.report(event), &|event| reports.report(event))
        })?;
        Ok(this)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let metrics = Arc::clone(&self.metrics);
        let guarded = move || {
            lower_priority();
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
                metrics.panics_caught.inc();
            }
        };
        self.threads.push(std::thread::Builder::new().name(name.into()).spawn(guarded)?);
        Ok(())
    }

    /// Asks for an image's layers to be indexed.
    pub fn index(&self, image: NewImage) {
        let sent = self.images.as_ref().is_some_and(|q| q.try_send(image).is_ok());
        self.note_sent(sent);
    }

    /// Asks for a file to be compared or hashed; `false` if the queue is full.
    pub fn verify(&self, job: VerifyJob) -> bool {
        let sent = self.jobs.as_ref().is_some_and(|q| q.try_send(job).is_ok());
        self.note_sent(sent);
        sent
    }

    /// Asks for a path to be compared with the image once it is settled.
    pub fn file_changed(&self, notice: FileNotice) {
        if self.changes.as_ref().is_none_or(|q| q.try_send(notice).is_err()) {
            self.metrics.files_dropped.inc();
        }
    }

    /// Asks for what a package manager, or a change of a database, does to packages; `false` if the queue is full.
    pub fn packages(&self, notice: PackageNotice) -> bool {
        let sent = self.packages.as_ref().is_some_and(|q| q.try_send(notice).is_ok());
        if !sent {
            self.metrics.packages_dropped.inc();
        }
        sent
    }

    /// Notes that a rule asks about changes of files, so that those of package databases are seen.
    pub fn files_are_watched(&self) {
        self.files_watched.store(true, Ordering::Relaxed);
    }

    /// Asks whether an opened file is a library that was loaded.
    pub fn library(&self, job: LibraryJob) {
        if self.libraries.as_ref().is_none_or(|q| q.try_send(job).is_err()) {
            self.metrics.files_dropped.inc();
        }
    }

    /// Asks for a peer of an image's container to be learned; `false` if the queue is full.
    pub fn learn_peer(&self, image: &str, peer: LearnedPeer) -> bool {
        self.tell_network(network::Notice::Peer(image.into(), peer))
    }

    /// Hands over a peer that a container had before its image was known.
    pub fn early_peer(&self, early: EarlyPeer) {
        self.tell_network(network::Notice::Early(Box::new(early)));
    }

    fn tell_network(&self, notice: network::Notice) -> bool {
        let sent = self.network.as_ref().is_some_and(|q| q.try_send(notice).is_ok());
        if !sent {
            self.metrics.queue_full.inc();
        }
        sent
    }

    /// Asks for what was declared of a container; `false` if the queue is full.
    pub fn declare(&self, container: Arc<Container>) -> bool {
        if self.network.is_some() {
            self.tell_network(network::Notice::Container(Arc::clone(&container)));
        }
        let sent = self.tell_declarer(declarer::Notice::Container(container));
        self.note_sent(sent);
        sent
    }

    /// Hands over a port that a container opened before it was known what it declares; `false` if the queue is full.
    pub fn early_port(&self, port: EarlyPort) -> bool {
        let sent = self.tell_declarer(declarer::Notice::Port(Box::new(port)));
        self.note_sent(sent);
        sent
    }

    fn tell_declarer(&self, notice: declarer::Notice) -> bool {
        self.declarations.as_ref().is_some_and(|q| q.try_send(notice).is_ok())
    }

    fn note_sent(&self, sent: bool) {
        if !sent {
            self.metrics.queue_full.inc();
        }
        let waiting = self.images.as_ref().map_or(0, Sender::len) + self.jobs.as_ref().map_or(0, Sender::len);
        self.metrics.queue_length.set(waiting as u64);
    }

    /// Whether there is any; asked for each event, of which almost none has.
    pub fn has_findings(&self) -> bool {
        !self.findings.is_empty()
    }

    /// What the verifier found since the last call.
    pub fn findings(&self) -> impl Iterator<Item = Finding> + '_ {
        self.findings.try_iter()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Closing the queues ends the threads' waits.
        self.images = None;
        self.jobs = None;
        self.changes = None;
        self.libraries = None;
        self.declarations = None;
        self.network = None;
        self.packages = None;
        for thread in self.threads.drain(..) {
            // A panic in the thread was caught and counted there.
            let _ = thread.join();
        }
    }
}

/// Workers work yields to everything else. Refusal changes nothing but speed.
pub(crate) fn lower_priority() {
    // On Linux this is the calling thread's priority, not the process's (setpriority(2), NOTES).
    let _ = rustix::process::setpriority_process(None, 19);
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
    /// Longest sleep at a time.
    const NAP: Duration = Duration::from_millis(100);

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
            self.rest(worked.min(Self::LONGEST) * (100 - self.percent) / self.percent);
            self.since = Instant::now();
        }
        !self.stop.load(Ordering::Relaxed)
    }

    /// In naps, so that a stop is not kept waiting.
    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.stop.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Self::NAP));
        }
    }
}
