//! Compares changed files with the image, once nobody writes to them any more.
//!
//! Each event only says that a path may have changed. The state decides, looked at after the last writer has closed the
//! file and it has been left alone for a moment: what was written and undone in between was no change. Invariants: paths
//! waiting and states remembered are bounded, and what does not fit is counted; the same state of a path is told once,
//! and the same change of it at most once per interval.

use crate::config::Config;
use crate::container::registry::Container;
use crate::host::{FoundFile, Host, RootDir};
use crate::manifest::entry::ImagePath;
use crate::metrics::Metrics;
use crate::verdict::change::{
    compare, file_kind, is_images_file, locate, Change, Compared, Incomparable, Located,
};
use crate::verdict::origin::Origin;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use lru::LruCache;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How long a path is left alone before it is looked at.
const QUIET: Duration = Duration::from_millis(100);
/// First and longest wait for a writer.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// Most paths waiting.
const MAX_WAITING: usize = 16_384;
/// Most paths whose last told state is remembered.
const MAX_TOLD: usize = 16_384;
/// Longest wait for events while nothing is due; bounds how long a stop takes.
const IDLE: Duration = Duration::from_millis(500);

/// Who changed a file, captured at the event.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Process id.
    pub pid: i64,
    /// Thread id.
    pub tid: i64,
    /// Command line.
    pub command: Arc<str>,
    /// Origin of the executable, where it is known.
    pub origin: Option<Origin>,
}

/// A path that may have changed.
#[derive(Debug, Clone)]
pub struct FileJob {
    /// The container.
    pub container: Arc<Container>,
    /// Path in the container, absolute; links not resolved.
    pub path: ImagePath,
    /// New name, if the path was renamed.
    pub new_path: Option<ImagePath>,
    /// Whether the call followed a symbolic link as the last component.
    pub follows: bool,
    /// Who did it.
    pub writer: Writer,
}

/// A verified change, as the event `drift_file` tells it.
#[derive(Debug, Clone)]
pub struct FileReport {
    /// The container's id.
    pub container: Box<str>,
    /// Path, links resolved; of a renamed file the old one.
    pub path: ImagePath,
    /// New name of a renamed file.
    pub new_path: Option<ImagePath>,
    /// The change.
    pub change: Change,
    /// What the file is by now: `added`, `image_modified`, `image_touched`, or `image` of one that is gone.
    pub origin: Origin,
    /// Value of `drift.file_kind`.
    pub kind: &'static str,
    /// Package that owns the path in the image.
    pub package: Option<String>,
    /// Privileges gained: `setuid`, `setgid`, `filecaps`.
    pub gained: Vec<&'static str>,
    /// Who did it last.
    pub writer: Writer,
}

/// `F_SETSIG` of fcntl(2) (include/uapi/asm-generic/fcntl.h; the same on every architecture), which the crate libc lacks.
const F_SETSIG: libc::c_int = 10;
/// Pause after events were taken in: those that come in a burst are taken in together.
const BATCH: Duration = Duration::from_millis(5);

type Key = (Box<str>, ImagePath, bool);

struct Waiting {
    job: FileJob,
    /// Held from the event on, so that a container that ends at once can still be looked at; given up while a
    /// writer has the file open, since then the container lives.
    root: Option<Arc<RootDir>>,
    due: Instant,
    /// Longest wait for the writer.
    until: Instant,
    back_off: Duration,
}

/// What tells one state of a file from the next: inode, modification time, size, mode.
type Mark = Option<(u64, u64, u64, u16)>;

struct Told {
    change: Change,
    gained: usize,
    mark: Mark,
    at: Instant,
}

/// What came of a path.
enum Outcome {
    Done,
    /// To be looked at again then.
    Later(Instant),
}

/// The thread's state.
pub struct Files {
    config: Arc<Config>,
    host: Host,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    waiting: HashMap<Key, Waiting>,
    /// Roots that waiting paths hold, one descriptor for each container.
    roots: HashMap<Box<str>, Weak<RootDir>>,
    told: LruCache<(Box<str>, ImagePath), Told>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Files {
    /// A worker that works until `stop`.
    pub fn new(host: Host, config: Arc<Config>, metrics: Arc<Metrics>, stop: Arc<AtomicBool>) -> Self {
        Self {
            host,
            config,
            metrics,
            stop,
            waiting: HashMap::new(),
            roots: HashMap::new(),
            told: LruCache::new(NonZeroUsize::new(MAX_TOLD).unwrap_or(NonZeroUsize::MIN)),
        }
    }

    /// Works until the queue closes; each verified change goes to `report`.
    pub fn run(mut self, jobs: &Receiver<FileJob>, report: &dyn Fn(&FileReport)) {
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let next = self.waiting.values().map(|w| w.due).min();
            let wait = next.map_or(IDLE, |due| due.saturating_duration_since(now).min(IDLE));
            match jobs.recv_timeout(wait) {
                Ok(job) => {
                    self.accept(job);
                    // Whatever else has come meanwhile, before the table is looked through again.
                    std::thread::sleep(BATCH);
                    jobs.try_iter().take(MAX_WAITING).for_each(|job| self.accept(job));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_at_due(report);
            self.metrics.files_waiting.set(self.waiting.len() as u64);
        }
    }

    fn accept(&mut self, job: FileJob) {
        let now = Instant::now();
        let key: Key = (job.container.id.clone(), job.path.clone(), job.follows);
        if let Some(known) = self.waiting.get_mut(&key) {
            // Put off, but not for ever: a file that is written again and again is looked at in between.
            known.due = (now + QUIET).min(known.until).max(known.due.min(known.until));
            known.job.writer = job.writer;
            known.job.container = job.container;
            known.job.new_path = job.new_path.or(known.job.new_path.take());
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.metrics.files_dropped.inc();
            return;
        }
        let root = self.shared_root(&job);
        let until = now + self.config.file_interval;
        self.waiting.insert(key, Waiting { job, root, due: now + QUIET, until, back_off: BACK_OFF.0 });
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
        let mut due: Vec<(Instant, Key)> =
            self.waiting.iter().filter(|(_, w)| w.due <= now).map(|(k, w)| (w.due, k.clone())).collect();
        due.sort_by_key(|(at, _)| *at);
        for (_, key) in due {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let Some(mut waiting) = self.waiting.remove(&key) else { continue };
            match self.look(&mut waiting, report) {
                Ok(Outcome::Done) | Err(Incomparable::OtherMount | Incomparable::Stopped) => {}
                Ok(Outcome::Later(at)) => {
                    waiting.due = at;
                    waiting.until = waiting.until.max(at);
                    waiting.root = None;
                    self.waiting.insert(key, waiting);
                }
                Err(Incomparable::Unreadable) => self.metrics.files_unknown.inc(),
            }
        }
    }

    fn look(&mut self, waiting: &mut Waiting, report: &dyn Fn(&FileReport)) -> Result<Outcome, Incomparable> {
        let fresh = root_of(&self.host, &waiting.job);
        let root = fresh.as_ref().or(waiting.root.as_deref()).ok_or(Incomparable::Unreadable)?;
        let job = &waiting.job;
        let located = locate(root, &job.path, job.follows)?;
        let now = Instant::now();
        if located.now.as_ref().is_some_and(is_being_written) && now < waiting.until {
            let wait = waiting.back_off;
            waiting.back_off = (wait * 2).min(BACK_OFF.1);
            return Ok(Outcome::Later((now + wait).min(waiting.until)));
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
                let in_image = matches!(image.lookup(new), crate::manifest::image::Presence::Present { .. });
                let new = new.clone();
                if !in_image {
                    // The new name is told by this event already.
                    let told = Told { change: Change::Created, gained: 0, mark: mark(found), at: now };
                    self.told.put((job.container.id.clone(), new.clone()), told);
                }
                let outcome = self.tell_compared(job, &located.path, Some(new), renamed, report);
                return match (in_image, target) {
                    // What the new name held before is gone.
                    (true, Ok(target)) => self.tell(job, target, report),
                    _ => Ok(outcome),
                };
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

    fn tell_compared(
        &mut self,
        job: &FileJob,
        path: &ImagePath,
        new_path: Option<ImagePath>,
        compared: Compared,
        report: &dyn Fn(&FileReport),
    ) -> Outcome {
        let key = (job.container.id.clone(), path.clone());
        let now = Instant::now();
        let mark = compared.now.as_ref().and_then(mark);
        if compared.change == Change::None {
            // Undone. That it was told before still counts for the interval.
            if let Some(told) = self.told.get_mut(&key) {
                told.mark = None;
                told.gained = 0;
            }
            return Outcome::Done;
        }
        let gained = compared.gained.len();
        if let Some(told) = self.told.get(&key) {
            let same = told.change == compared.change && told.gained >= gained;
            // A file that was added stays so, whatever is written to it next.
            let known = told.mark == mark || compared.change == Change::Created;
            if same && known && told.mark.is_some() {
                return Outcome::Done;
            }
            let again = told.at + self.config.file_interval;
            if same && now < again {
                return Outcome::Later(again);
            }
        }
        let package = job.container.image.as_ref().ok().and_then(|i| i.owner_or_unknown(path));
        report(&FileReport {
            container: job.container.id.clone(),
            path: path.clone(),
            new_path,
            change: compared.change,
            origin: origin(compared.change),
            kind: file_kind(path, compared.now.as_ref()),
            package,
            gained: compared.gained,
            writer: job.writer.clone(),
        });
        self.metrics.files_changed.inc();
        self.told.put(key, Told { change: compared.change, gained, mark, at: now });
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

fn mark(found: &FoundFile) -> Mark {
    Some((found.inode.ino, found.inode.mtime, found.size, found.mode))
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

/// Whether somebody has the file open for writing, a shared writable mapping included.
///
/// A read lease is refused with EAGAIN exactly then (fcntl(2), F_SETLEASE). Where leases do not work at all (other
/// file systems), the moment of quiet has to do.
fn is_being_written(found: &FoundFile) -> bool {
    let Ok(file) = found.open() else { return false };
    let fd = file.as_raw_fd();
    // A writer that comes while the lease is held makes the kernel send its holder a signal. SIGIO, the default, would
    // end the process; SIGURG is ignored unless asked for (signal(7)).
    // SAFETY: `fd` is open for as long as `file` lives; both commands take an integer.
    let refused = unsafe {
        if libc::fcntl(fd, F_SETSIG, libc::SIGURG) != 0 {
            return false;
        }
        libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) != 0
    };
    if refused {
        return std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
    }
    // SAFETY: as above. Closing the file gives the lease up as well.
    unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_open_for_writing_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "x").unwrap();
        let root = RootDir::open(dir.path()).unwrap();
        let found = root.find(b"/f").unwrap();
        assert!(!is_being_written(&found));
        let reader = std::fs::File::open(&path).unwrap();
        assert!(!is_being_written(&found), "readers do not count");
        let writer = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        assert!(is_being_written(&found));
        drop(writer);
        assert!(!is_being_written(&found), "closed");
        drop(reader);
    }
}
