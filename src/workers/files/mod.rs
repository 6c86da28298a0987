//! Compares changed files with the image, once nobody writes to them any more.
//!
//! Each event only says that a path may have changed. The state decides, looked at after the last writer has closed the
//! file and it has been left alone for a moment: what was written and undone in between was no change. Invariants: paths
//! waiting and states remembered are bounded, and what does not fit is counted; the same state of a path is told once,
//! and the same change of it at most once per interval.

mod sweeps;
mod told;
mod waiting;
mod writers;

use crate::config::Config;
use crate::events::FileReport;
use crate::facts::{FileJob, FileNotice, Tampering};
use crate::ledger::{Ledger, Reported};
use crate::metrics::Metrics;
use crate::workers::worker::Inbox;
use crossbeam_channel::RecvTimeoutError;
use drift_core::content;
use drift_core::content::Explained;
use drift_core::host::{FoundFile, Host, RootDir};
use drift_core::image::view::Presence;
use drift_core::packages::owners::owner_now;
use drift_core::scan::walk::{Item, Walk, MAX_DEPTH};
use drift_core::verdict::accounts::{self, AccountFile};
use drift_core::verdict::change::{
    compare, file_kind, is_images_file, locate, Change, Compared, Incomparable, Located,
};
use drift_core::verdict::origin::Origin;
use drift_core::verdict::work::ImageWork;
use drift_formats::entry::ImagePath;
use rustix::fs::FileType;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use sweeps::Sweeps;
use told::{Told, Verdict};
use waiting::{WaitList, Waiting, MAX_WAITING, QUIET};
use writers::{OpenFiles, Watches};

/// First and longest wait for a writer that cannot be watched.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// Most entries of a renamed directory that are looked at.
const MAX_RENAMED: usize = 10_000;
/// Longest wait while nothing is due. A stop closes the queue, which ends it.
const IDLE: Duration = Duration::from_secs(10);
/// As [`IDLE`], while files are watched.
const WATCHING: Duration = Duration::from_millis(200);

/// How much longer paths wait that were found by looking for them: what is told by name comes first.
const SWEPT: Duration = Duration::from_millis(300);

/// Pause after events were taken in, for as long as more come: those of a burst are taken in together, and the event thread, which
/// has no time for it, wakes this one up once for all of them.
const BATCH: Duration = Duration::from_millis(50);

/// What came of a path.
enum Outcome {
    Done,
    /// To be looked at again then.
    Later(Instant),
}

/// The thread's state.
#[derive(Debug)]
pub struct Files {
    config: Arc<Config>,
    host: Host,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    waiting: WaitList,
    sweeps: Sweeps,
    watches: Watches,
    /// Roots that waiting paths hold, one descriptor for each container.
    roots: HashMap<Box<str>, Weak<RootDir>>,
    told: Told,
}

impl Files {
    /// A worker that works until `stop`.
    pub fn new(host: Host, config: Arc<Config>, metrics: Arc<Metrics>, stop: Arc<AtomicBool>) -> Self {
        Self {
            host,
            told: Told::new(config.file_interval),
            config,
            metrics,
            stop,
            waiting: WaitList::default(),
            sweeps: Sweeps::default(),
            watches: Watches::new(),
            roots: HashMap::new(),
        }
    }

    /// Works until the queue closes; each verified change goes to `report`, and each change of a mounted secret to `tampered`.
    pub fn run(
        mut self,
        notices: &Inbox<FileNotice>,
        report: &dyn Fn(&FileReport),
        tampered: &dyn Fn(&Tampering),
    ) {
        let mut is_busy = false;
        while !self.stop.load(Ordering::Relaxed) {
            if !is_busy {
                let longest = if self.watches.is_empty() { IDLE } else { WATCHING };
                let next = [self.waiting.next_due(), self.sweeps.next_due()].into_iter().flatten().min();
                let wait =
                    next.map_or(longest, |due| due.saturating_duration_since(Instant::now()).min(longest));
                match notices.recv_timeout(wait) {
                    Ok(notice) => {
                        self.take(notice, tampered);
                        is_busy = true;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            if is_busy {
                // Whatever else comes meanwhile, before anything is looked at.
                std::thread::sleep(BATCH);
                let taken =
                    notices.try_iter().take(MAX_WAITING).map(|notice| self.take(notice, tampered)).count();
                is_busy = taken > 0;
            }
            self.watches.closed().into_iter().for_each(|job| self.accept(job));
            self.sweep_due();
            self.look_at_due(report);
            self.metrics.files_waiting.set(self.waiting.len() as u64);
        }
    }

    fn take(&mut self, notice: FileNotice, tampered: &dyn Fn(&Tampering)) {
        match notice {
            FileNotice::Secret(tampering) => tampered(&tampering),
            FileNotice::Path(job) => self.accept(job),
            FileNotice::Unnamed(change) => {
                if !self.sweeps.add(change, Instant::now()) {
                    self.metrics.files_dropped.inc();
                }
            }
        }
    }

    fn sweep_due(&mut self) {
        if let Some((jobs, complete)) = self.sweeps.run_one(Instant::now()) {
            if !complete {
                self.metrics.files_unknown.inc();
            }
            // Calls that say their path know more: who did it, and what a renamed file was called.
            for job in jobs {
                if !self.waiting.has(&job) {
                    self.accept_after(job, QUIET + SWEPT);
                }
            }
        }
    }

    /// Takes in what is in a directory that was renamed: what was made there has another path now.
    fn accept_below(&mut self, job: FileJob, path: &ImagePath, dir: &FoundFile) {
        let Ok(walk) = Walk::new(&dir.fd, None, MAX_DEPTH) else { return };
        for (seen, item) in walk.enumerate() {
            if seen >= MAX_RENAMED {
                self.metrics.files_dropped.inc();
                return;
            }
            let Item::File(below, _) = item else { continue };
            let whole = [path.as_bytes(), below.as_bytes()].concat();
            let Ok(whole) = ImagePath::from_archive(&whole) else { continue };
            self.accept(FileJob { path: whole, new_path: None, follows: false, ..job.clone() });
        }
    }

    fn accept(&mut self, job: FileJob) {
        self.accept_after(job, QUIET);
    }

    fn accept_after(&mut self, job: FileJob, wait: Duration) {
        let now = Instant::now();
        let Err(job) = self.waiting.merge(job, now) else { return };
        let root = self.shared_root(&job);
        let until = now + self.config.file_interval;
        let writers = vec![job.writer.pid];
        let waiting = Waiting { job, writers, root, due: now + wait, until, back_off: BACK_OFF.0 };
        if !self.waiting.add(waiting) {
            self.metrics.files_dropped.inc();
        }
    }

    fn shared_root(&mut self, job: &FileJob) -> Option<Arc<RootDir>> {
        if let Some(root) = self.roots.get(&job.container.id).and_then(Weak::upgrade) {
            return Some(root);
        }
        self.roots.retain(|_, root| root.strong_count() > 0);
        let root = Arc::new(root_of(&self.host, job)?);
        self.roots.insert(job.container.id.clone(), Arc::downgrade(&root));
        Some(root)
    }

    fn look_at_due(&mut self, report: &dyn Fn(&FileReport)) {
        let now = Instant::now();
        let mut open = OpenFiles::default();
        while let Some(mut waiting) = self.waiting.pop_due(now) {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            match self.look(&mut waiting, &mut open, report) {
                Ok(Outcome::Done) | Err(Incomparable::OtherMount | Incomparable::Stopped) => {}
                Ok(Outcome::Later(at)) => {
                    waiting.due = at;
                    waiting.until = waiting.until.max(at);
                    waiting.root = None;
                    if !self.waiting.add(waiting) {
                        self.metrics.files_dropped.inc();
                    }
                }
                Err(Incomparable::Unreadable) => self.metrics.files_unknown.inc(),
            }
        }
    }

    fn look(
        &mut self,
        waiting: &mut Waiting,
        open: &mut OpenFiles,
        report: &dyn Fn(&FileReport),
    ) -> Result<Outcome, Incomparable> {
        let fresh = root_of(&self.host, &waiting.job);
        let root = fresh.as_ref().or(waiting.root.as_deref()).ok_or(Incomparable::Unreadable)?;
        let job = &waiting.job;
        let located = locate(root, &job.path, job.follows)?;
        let now = Instant::now();
        if let Some(found) = located.now.as_ref().filter(|found| found.kind == FileType::RegularFile) {
            // Watched from before it is looked at, so that a later write is not missed, whoever writes: a process that
            // inherited the descriptor, one that has the file mapped.
            let watched = self.watches.add(found, job);
            if now < waiting.until && open.has_writer(&self.host, &waiting.writers, found) {
                if watched {
                    return Ok(Outcome::Later(waiting.until));
                }
                let wait = waiting.back_off;
                waiting.back_off = (wait * 2).min(BACK_OFF.1);
                return Ok(Outcome::Later((now + wait).min(waiting.until)));
            }
        }
        let Some(new_path) = &job.new_path else { return self.tell(job, located, report) };
        let target = locate(root, new_path, false);
        if let (None, Ok(Located { path: new, now: Some(found) })) = (&located.now, &target) {
            let image = job.container.image.as_ref().map_err(|_| Incomparable::Unreadable)?;
            let stop = Arc::clone(&self.stop);
            let mut keep_going = || !stop.load(Ordering::Relaxed);
            let max = self.config.background_max;
            if is_images_file(image, &located.path, found, max, &mut keep_going)? {
                let renamed = Compared { change: Change::Renamed, now: None, gained: Vec::new() };
                let in_image = matches!(image.lookup(new), Presence::Present { .. });
                let new = new.clone();
                if !in_image {
                    // The new name is told by this event already.
                    self.told.note_created(&job.container.id, &new, found, now);
                }
                let outcome = self.tell_compared(job, &located.path, Some(new), renamed, report);
                return match (in_image, target) {
                    // What the new name held before is gone.
                    (true, Ok(target)) => self.tell(job, target, report),
                    _ => Ok(outcome),
                };
            }
        }
        if let Ok(Located { path, now: Some(found) }) = &target {
            if found.kind == FileType::Directory {
                self.accept_below(job.clone(), path, found);
            }
        }
        // Not the image's file: two paths, each with its own state.
        let old = self.tell(job, located, report);
        let new = target.and_then(|target| self.tell(job, target, report));
        match (old, new) {
            (Ok(Outcome::Later(at)), _) | (_, Ok(Outcome::Later(at))) => Ok(Outcome::Later(at)),
            (Err(why), _) | (_, Err(why)) => Err(why),
            _ => Ok(Outcome::Done),
        }
    }

    /// Tells what became of one path, unless that was told or nothing did.
    fn tell(
        &mut self,
        job: &FileJob,
        located: Located,
        report: &dyn Fn(&FileReport),
    ) -> Result<Outcome, Incomparable> {
        let image = job.container.image.as_ref().map_err(|_| Incomparable::Unreadable)?;
        let path = located.path.clone();
        let stop = Arc::clone(&self.stop);
        let mut keep_going = || !stop.load(Ordering::Relaxed);
        let compared = compare(image, located, self.config.background_max, &mut keep_going)?;
        Ok(self.tell_compared(job, &path, None, compared, report))
    }

    /// Where the content of a new or changed file comes from that the image does not have at its path.
    fn explain(&self, job: &FileJob, path: &ImagePath, compared: &Compared) -> Option<Explained> {
        let found = compared.now.as_ref()?;
        // Privileges are never explained by content.
        if !compared.gained.is_empty() || !matches!(compared.change, Change::Created | Change::Modified) {
            return None;
        }
        let image = job.container.image.as_ref().ok()?;
        let root = root_of(&self.host, job)?;
        let uid = job.container.declaration.read().as_ref().and_then(|declared| declared.uid);
        if content::is_engines(image, &root, path, uid, false) {
            return Some(Explained { kind: "engine", of: None });
        }
        if found.kind != FileType::RegularFile {
            return None;
        }
        let mut keep_going = || !self.stop.load(Ordering::Relaxed);
        image.layers().iter().for_each(|layer| content::build(layer, &mut keep_going));
        let source =
            content::source_of(image, &root, path, found, self.config.background_max, &mut keep_going)?;
        Some(Explained::of(source, path))
    }

    fn tell_compared(
        &mut self,
        job: &FileJob,
        path: &ImagePath,
        new_path: Option<ImagePath>,
        compared: Compared,
        report: &dyn Fn(&FileReport),
    ) -> Outcome {
        match self.told.judge(&job.container.id, path, &compared, Instant::now()) {
            Verdict::New => {}
            Verdict::Known => return Outcome::Done,
            Verdict::TooSoon(again) => return Outcome::Later(again),
        }
        let stop = Arc::clone(&self.stop);
        let mut keep_going = || !stop.load(Ordering::Relaxed);
        let package = job.container.image.as_ref().ok().and_then(|i| owner_now(i, path, &mut keep_going));
        let kind = file_kind(path, compared.now.as_ref());
        let accounts = |work, file| {
            let (Ok(image), Some(now)) = (&job.container.image, &compared.now) else { return false };
            accounts::explains(image, path, now, file, work == ImageWork::Accounts)
        };
        let work = job.writer.work.filter(|work| match (work, AccountFile::of(path)) {
            (ImageWork::Build(_), _) => kind.starts_with("elf"),
            (work, Some(file)) => accounts(*work, file),
            _ => true,
        });
        let looked_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let looked_at = u64::try_from(looked_at.as_nanos()).unwrap_or(0);
        let inode = compared.now.as_ref().map(|now| now.inode.ino);
        let ctime = compared.now.as_ref().map_or(0, |now| now.inode.ctime);
        let told = work.map(|work| work.to_string().into());
        Ledger::shared().note(&job.container.id, path.as_bytes(), Reported { ctime, work: told });
        let explained = self.explain(job, path, &compared);
        let drifts = job.container.drifts.fetch_add(1, Ordering::Relaxed) + 1;
        report(&FileReport {
            container: Arc::clone(&job.container),
            image: job.container.declaration.reference(),
            path: path.clone(),
            new_path,
            change: compared.change,
            origin: origin(compared.change),
            kind,
            explained,
            package,
            gained: compared.gained,
            writer: Arc::clone(&job.writer),
            work,
            inode,
            looked_at,
            proved: false,
            drifts,
        });
        self.metrics.files_changed.inc();
        Outcome::Done
    }
}

/// What the file is, by its change.
fn origin(change: Change) -> Origin {
    match change {
        Change::Created => Origin::Added,
        Change::Modified => Origin::ImageModified,
        Change::Metadata => Origin::ImageTouched,
        Change::None | Change::Deleted | Change::Renamed => Origin::Image,
    }
}

/// The container's root, through the writer while it lives.
fn root_of(host: &Host, job: &FileJob) -> Option<RootDir> {
    let live = job.container.live.as_ref()?;
    let members = [job.writer.pid].into_iter().filter(|pid| is_at_namespace_root(host, *pid));
    live.root(host, &members.collect::<Vec<_>>())
}

/// Whether a process sees its mount namespace's root: paths of jobs begin there, also those of a process in a chroot.
fn is_at_namespace_root(host: &Host, pid: i64) -> bool {
    host.root_path_of(pid).is_some_and(|root| root == b"/")
}
