//! Tells which files that processes read are code, and which of that is drift.
//!
//! An interpreter that opens a source file runs it, as far as anybody outside can tell: a file of its own
//! language, by name or content. Of a program of another name the mapped libraries tell what it runs (a web
//! server with PHP in it). Invariants: files waiting and files reported are bounded, of which each container
//! has a share; the same state of a file is reported once.

use crate::config::Config;
use crate::event::reading::MARKS;
use crate::events::CodeReport;
use crate::facts::{CodeJob, CodeNotice, Injection};
use crate::metrics::Metrics;
use crate::workers::tally::Tally;
use crate::workers::worker::Inbox;
use crate::workers::Pace;
use crossbeam_channel::RecvTimeoutError;
use drift_core::command::languages::{is_sourced, CodeKind, Language};
use drift_core::container::mounts::Sight;
use drift_core::container::registry::Container;
use drift_core::content::{self, compiled_from, Explained};
use drift_core::host::{ExeFlags, FoundFile, Host, InodeId, RootDir};
use drift_core::packages::owners::owner_now;
use drift_core::verdict::change::Change;
use drift_core::verdict::judge::{Judge, Judgement, Subject};
use drift_core::verdict::origin::Origin;
use drift_core::verdict::packaged::{self, brought_by};
use drift_formats::entry::ImagePath;
use drift_formats::path_key::{path_key, value_key, PathKey};
use lru::LruCache;
use rustix::fs::FileType;
use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most files waiting for the end of the package manager that wrote them.
const MAX_WAITING: usize = 4096;
/// How long a file waits for the package databases to account for it, and how often they are asked.
const PATIENCE: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(500);
/// How long the package databases take after the end of the package manager.
const GRACE: Duration = Duration::from_secs(3);
/// Most files remembered as reported; each takes some 80 bytes.
const MAX_REPORTED: usize = 16_384;
/// How much of a file is read to tell what it is: program text may stand behind the data of a picture.
const HEAD: u64 = 64 << 10;
/// Longest wait while nothing is due. A stop closes the queue, which ends it.
const IDLE: Duration = Duration::from_secs(10);

/// Drifted code that was written in a package manager's transaction.
struct Candidate {
    found: Found,
    since: Instant,
    due: Instant,
    /// When the package manager was seen to be gone.
    ended: Option<Instant>,
}

/// Drifted code.
struct Found {
    job: CodeJob,
    path: ImagePath,
    kind: CodeKind,
    judgement: Judgement,
    /// `None`: it is gone.
    file: Option<FoundFile>,
}

/// The thread's state.
pub struct Loads {
    judge: Judge,
    /// Largest file whose content is read, bytes.
    max: u64,
    /// How long the same file is not reported again.
    repeat: Duration,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    waiting: VecDeque<Candidate>,
    tally: Tally,
    /// By container and path: the state that was reported, and when.
    reported: LruCache<(u64, PathKey), (State, Instant)>,
    directories: Directories,
    pace: Pace,
}

/// What tells one state of a file from the next.
type State = (u64, u64, u64);

impl std::fmt::Debug for Loads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loads").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

/// Where the worker reports to.
#[derive(Clone, Copy)]
pub struct Reports<'a> {
    /// Code that is not the image's.
    pub code: &'a dyn Fn(&CodeReport),
    /// Memory that was opened to be written.
    pub injections: &'a dyn Fn(&Injection),
}

impl std::fmt::Debug for Reports<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reports")
    }
}

impl Loads {
    /// A worker that works until `stop`.
    pub(crate) fn new(host: Host, config: &Config, metrics: Arc<Metrics>, stop: Arc<AtomicBool>) -> Self {
        Self {
            judge: Judge::new(host, config.background_max),
            max: config.background_max,
            repeat: config.file_repeat,
            metrics,
            pace: Pace::new(config.cpu_percent, Arc::clone(&stop)),
            stop,
            waiting: VecDeque::new(),
            tally: Tally::new(MAX_WAITING, config.container_parts),
            reported: LruCache::new(NonZeroUsize::new(MAX_REPORTED).unwrap_or(NonZeroUsize::MIN)),
            directories: Directories::default(),
        }
    }

    /// Works until the queue closes.
    pub fn run(mut self, notices: &Inbox<CodeNotice>, reports: Reports<'_>) {
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let due = [self.waiting.front().map(|first| first.due), self.directories.next_due()];
            let next = due.into_iter().flatten().min();
            let wait = next.map_or(IDLE, |due| due.saturating_duration_since(now).min(IDLE));
            match notices.recv_timeout(wait) {
                Ok(CodeNotice::Read(job)) => {
                    self.pace.begin();
                    self.consider(*job, reports);
                    self.pace.step();
                }
                Ok(CodeNotice::Renamed(container, path)) => self.mark(&container, &path),
                Ok(CodeNotice::Injected(injection)) => (reports.injections)(&injection),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_at_due(reports);
            self.directories.sum_up(Instant::now()).iter().for_each(reports.code);
        }
    }

    /// Has opens of a file on a mount of its own looked at.
    fn mark(&self, container: &Container, path: &ImagePath) {
        let Some(live) = &container.live else { return };
        let host = self.judge.host();
        let Some(found) = live.root(host, &[]).and_then(|root| at(host, container, live.pid(), &root, path))
        else {
            return;
        };
        let (major, minor) = found.dev;
        if let Ok(device) = u32::try_from(rustix::fs::makedev(major, minor) & u64::from(u32::MAX)) {
            MARKS.add((device, found.inode.ino));
        }
    }

    /// Looks at the file while it is there. Of one that is gone already the kernel's word counts, that it was
    /// not the image's, and its name.
    fn consider(&mut self, job: CodeJob, reports: Reports<'_>) {
        let Some(root) = self.root(&job) else { return };
        let file = find(self.judge.host(), &root, &job);
        let found = match &file {
            Some(file) if file.kind != FileType::RegularFile => return,
            Some(file) => file.path().and_then(|path| ImagePath::lexical(b"/", &path).ok()),
            None => None,
        };
        let path = found.unwrap_or_else(|| job.path.clone());
        let Some(kind) = self.kind(&job, &path, file.as_ref()) else { return };
        // Byte code stands for its source, which its reader does not open any more.
        let source = match (kind, &file) {
            (CodeKind::Compiled, Some(file)) => compiled_from(&root, &path, file),
            _ => None,
        };
        let (path, file) = match source {
            Some((located, now)) => (located.path, Some(now)),
            None => (path, file),
        };
        let judgement = self.judge_file(&job, &path, file.as_ref());
        match judgement.origin {
            Origin::Image | Origin::ImageTouched | Origin::ImageVolume | Origin::Runtime | Origin::Host => {}
            Origin::Unknown => self.metrics.count_unknown(judgement.why),
            // What a volume held before, or another container wrote, is the deployment's.
            Origin::Volume | Origin::Tmpfs if job.written.is_none() => {}
            _ => self.wait_or_tell(Found { job, path, kind, judgement, file }, reports),
        }
    }

    fn kind(&self, job: &CodeJob, path: &ImagePath, file: Option<&FoundFile>) -> Option<CodeKind> {
        let mut head = Vec::new();
        if let Some(file) = file {
            file.open().ok()?.take(HEAD).read_to_end(&mut head).ok()?;
        }
        let of = |language: Language| language.kind_of(path.as_bytes(), &head);
        match job.language {
            Some(Language::Shell) => of(Language::Shell).or_else(|| {
                let is_text = !head.is_empty() && !head.contains(&0);
                let is_sourced = is_text && is_sourced(job.command.as_bytes(), job.path.as_bytes());
                is_sourced.then_some(CodeKind::Source)
            }),
            Some(language) => of(language),
            None => {
                let mapped = self.judge.host().mapped_executables(job.pid);
                mapped.iter().filter_map(|path| Language::of_library(path)).find_map(of)
            }
        }
    }

    fn judge_file(&self, job: &CodeJob, path: &ImagePath, file: Option<&FoundFile>) -> Judgement {
        let subject = Subject {
            path: path.as_bytes(),
            flags: ExeFlags { upper: job.upper, ..ExeFlags::default() },
            flags_given: job.upper,
            inode: InodeId::default(),
            found: file,
            pid: job.pid,
        };
        self.judge.judge(&job.container, &subject)
    }

    /// What a package manager wrote may yet be accounted for; anything else is reported now.
    fn wait_or_tell(&mut self, found: Found, reports: Reports<'_>) {
        let is_open = found.job.written.as_ref().is_some_and(|w| w.during.is_some() && !w.proved)
            && found.job.during.is_none();
        if !is_open {
            return self.tell(found, reports);
        }
        if self.waiting.len() >= MAX_WAITING || !self.tally.take(&found.job.container.id) {
            return self.tell(found, reports);
        }
        let now = Instant::now();
        self.waiting.push_back(Candidate { found, since: now, due: now + AGAIN, ended: None });
    }

    fn look_at_due(&mut self, reports: Reports<'_>) {
        let now = Instant::now();
        // In the order of their times: each waits equally long.
        while self.waiting.front().is_some_and(|first| first.due <= now) {
            let Some(mut candidate) = self.waiting.pop_front() else { return };
            let proved = self.is_packages(&candidate.found);
            let leader = candidate.found.job.written.as_ref().and_then(|w| w.during).map(|d| d.leader);
            let is_running = leader.is_some_and(|pid| self.judge.host().running_since(pid).is_some());
            if !is_running {
                candidate.ended.get_or_insert(now);
            }
            let is_over = now >= candidate.since + PATIENCE
                || candidate.ended.is_some_and(|ended| now >= ended + GRACE);
            if !proved && !is_over {
                candidate.due = now + AGAIN;
                self.waiting.push_back(candidate);
                continue;
            }
            let mut found = candidate.found;
            self.tally.give_back(&found.job.container.id);
            if let Some(written) = &mut found.job.written {
                written.proved = proved;
            }
            self.tell(found, reports);
        }
    }

    /// Whether the package databases say that the transaction brought the file as it is.
    fn is_packages(&self, found: &Found) -> bool {
        let Found { job, path, judgement, .. } = found;
        let (Some(written), Some(installed)) = (&job.written, job.container.installed.load_full()) else {
            return false;
        };
        let Some(root) = self.root(job) else { return false };
        let Some(during) = written.during else { return false };
        let subject = packaged::Subject {
            path,
            change: if judgement.origin == Origin::Added { Change::Created } else { Change::Modified },
            gained: &[],
            image_owner: None,
            writer: &written.command,
            transaction: during.leader,
        };
        brought_by(&installed, &root, &subject, self.max, &mut || !self.stop.load(Ordering::Relaxed))
            .is_some()
    }

    fn root(&self, job: &CodeJob) -> Option<RootDir> {
        job.container.live.as_ref()?.root(self.judge.host(), &[job.pid])
    }

    fn tell(&mut self, found: Found, reports: Reports<'_>) {
        let Found { job, path, kind, judgement, file } = found;
        let key = (value_key(job.container.id.as_bytes()), path_key(&path));
        let state = file.as_ref().map_or((job.inode, 0, 0), |f| (f.inode.ino, f.inode.mtime, f.size));
        let now = Instant::now();
        match self.reported.get(&key) {
            Some((before, at)) if *before == state && now < *at + self.repeat => return,
            _ => _ = self.reported.put(key, (state, now)),
        }
        let package = match judgement.origin {
            Origin::ImageModified | Origin::ImageUnverified => {
                let mut keep_going = || !self.stop.load(Ordering::Relaxed);
                job.container.image.as_ref().ok().and_then(|image| owner_now(image, &path, &mut keep_going))
            }
            _ => None,
        };
        let content = file.as_ref().and_then(|file| self.explain(&job, &path, file));
        let explained = content.or_else(|| {
            let is_own = is_generated(&path) && is_own(&job) && judgement.origin == Origin::Added;
            is_own.then_some(Explained { kind: "generated", of: None })
        });
        job.container.drifts.fetch_add(1, Ordering::Relaxed);
        self.metrics.code_loaded.inc();
        let directory = cache_of(&path).or_else(|| path.parent());
        let (origin, volume, kind) = (judgement.origin, judgement.volume, kind.as_str());
        let report =
            CodeReport { job, path, origin, kind, volume, explained, package, directory, count: None };
        if let Some(report) = self.directories.take(report, now) {
            (reports.code)(&report);
        }
    }

    /// Where the content comes from that the image does not have at its path.
    fn explain(&self, job: &CodeJob, path: &ImagePath, file: &FoundFile) -> Option<Explained> {
        let image = job.container.image.as_ref().ok()?;
        let root = self.root(job)?;
        let mut keep_going = || !self.stop.load(Ordering::Relaxed);
        image.layers().iter().for_each(|layer| content::build(layer, &mut keep_going));
        let source = content::source_of(image, &root, path, file, self.max, &mut keep_going)?;
        Some(Explained::of(source, path))
    }
}

/// Files of a directory that are reported one by one.
const FIRST: u64 = 4;
/// How long more of them are only counted.
const WINDOW: Duration = Duration::from_secs(600);
/// Most directories counted.
const MAX_DIRECTORIES: usize = 4096;

/// Directories of which much is loaded: a few reports, and then one that counts the rest. By container,
/// directory, and what rules go by beside it: what one of these excuses does not excuse the others.
#[derive(Debug, Default)]
struct Directories(HashMap<(u64, PathKey, u64), Directory>);

#[derive(Debug)]
struct Directory {
    since: Instant,
    reported: u64,
    /// The last one that was only counted, and how many there were.
    rest: Option<(CodeReport, u64)>,
}

impl Directories {
    /// Gives a report back where it is to be sent now; else counts it.
    fn take(&mut self, report: CodeReport, now: Instant) -> Option<CodeReport> {
        let Some(dir) = &report.directory else { return Some(report) };
        let container = value_key(report.job.container.id.as_bytes());
        let key = (container, path_key(dir), value_key(class(&report).as_bytes()));
        if !self.0.contains_key(&key) && self.0.len() >= MAX_DIRECTORIES {
            return Some(report);
        }
        let known = self.0.entry(key).or_insert(Directory { since: now, reported: 0, rest: None });
        if known.reported < FIRST {
            known.reported += 1;
            return Some(report);
        }
        let count = known.rest.as_ref().map_or(0, |(_, count)| *count) + 1;
        known.rest = Some((report, count));
        None
    }

    /// When the first of them is to be summed up.
    fn next_due(&self) -> Option<Instant> {
        self.0.values().filter(|dir| dir.rest.is_some()).map(|dir| dir.since + WINDOW).min()
    }

    /// One report for each directory whose time is over.
    fn sum_up(&mut self, now: Instant) -> Vec<CodeReport> {
        let mut sums = Vec::new();
        self.0.retain(|_, dir| {
            if now < dir.since + WINDOW {
                return true;
            }
            sums.extend(dir.rest.take().and_then(|(last, count)| {
                Some(CodeReport {
                    path: last.directory.clone()?,
                    kind: "directory",
                    count: Some(count),
                    ..last
                })
            }));
            false
        });
        sums
    }
}

fn class(report: &CodeReport) -> String {
    let CodeReport { job, origin, kind, volume, explained, .. } = report;
    let explained = explained.as_ref().map_or("", |explained| explained.kind);
    let volume = volume.map_or("", |volume| volume.as_str());
    let written = job.written.as_ref();
    let work = written.and_then(|w| w.work).map(|work| work.to_string()).unwrap_or_default();
    let provenance = written.map(|w| w.provenance().to_string()).unwrap_or_default();
    let during = written.and_then(|w| w.during).map_or("", |during| during.manager.as_str());
    let works_for = job.during.map_or("", |during| during.manager.as_str());
    let origins = [origin.as_str(), job.binary_origin.as_str(), kind, explained, volume];
    [&origins[..], &[&work, &provenance, during, works_for]].concat().join("\0")
}

/// The file that was opened: as the process has it open, else at its path. `None`: it is gone, or the path
/// holds another one by now.
fn find(host: &Host, root: &RootDir, job: &CodeJob) -> Option<FoundFile> {
    let is_that = |found: &FoundFile| job.inode == 0 || found.inode.ino == job.inode;
    let open = u32::try_from(job.fd).ok().and_then(|fd| host.open_file_of(job.pid, fd).ok());
    let there = || at(host, &job.container, job.pid, root, &job.path);
    open.filter(is_that).or_else(|| there().filter(is_that))
}

/// The file at a path of a container, where no server has to answer for it.
fn at(host: &Host, container: &Container, pid: i64, root: &RootDir, path: &ImagePath) -> Option<FoundFile> {
    match container.live.as_ref()?.find(host, &container.id, pid, root, path, true).ok()? {
        Sight::File(found, _) => Some(found),
        Sight::Mount(_) => None,
    }
}

/// Names of directories in which applications keep what they generate.
const CACHES: [&[u8]; 5] = [b"cache", b"caches", b".cache", b"templates_c", b"compiled"];
/// Digits of a hash in a generated name.
const HASH: usize = 16;

/// The cache that a path lies in.
fn cache_of(path: &ImagePath) -> Option<ImagePath> {
    let mut dir = path.parent()?;
    let mut cache = None;
    while let Some(parent) = dir.parent() {
        if dir.file_name().is_some_and(|name| CACHES.contains(&name)) {
            cache = Some(dir);
        }
        dir = parent;
    }
    cache
}

/// Whether a file lies in a cache under a name that was made by hashing: template engines and the like.
fn is_generated(path: &ImagePath) -> bool {
    let is_hash = |name: &[u8]| {
        name.split(|b| !b.is_ascii_hexdigit()).any(|digits| {
            digits.len() >= HASH
                && digits.iter().any(u8::is_ascii_digit)
                && digits.iter().any(u8::is_ascii_alphabetic)
        })
    };
    cache_of(path).is_some() && path.file_name().is_some_and(is_hash)
}

/// Whether the program that reads a file has written it: the same command line, of the image's program.
fn is_own(job: &CodeJob) -> bool {
    job.written.as_ref().is_some_and(|written| written.command == job.command)
        && matches!(job.binary_origin, Origin::Image | Origin::ImageTouched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_hashes_in_caches() {
        let of = |path: &str| {
            let path = ImagePath::lexical(b"/", path.as_bytes()).unwrap();
            let cache = cache_of(&path).map(|dir| String::from_utf8_lossy(dir.as_bytes()).into_owned());
            (is_generated(&path), cache)
        };
        let cache = |dir: &str| Some(dir.to_owned());
        for (path, want) in [
            ("/app/var/cache/prod/twig/ab/abf3e04c2b8c5d6e7f80.php", (true, cache("/app/var/cache"))),
            (
                "/app/templates_c/0d9f8e7c6b5a49382716^f5_0.file.index.tpl.php",
                (true, cache("/app/templates_c")),
            ),
            ("/app/var/cache/prod/shell.php", (false, cache("/app/var/cache"))),
            ("/app/uploads/abf3e04c2b8c5d6e7f80.php", (false, None)),
            ("/app/cache/defacedfacadedeadbeef.php", (false, cache("/app/cache"))),
        ] {
            assert_eq!(of(path), want, "{path}");
        }
    }
}
