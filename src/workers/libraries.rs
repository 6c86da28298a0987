//! Tells which opened files are libraries that a process has loaded, and which of those are drift.
//!
//! The open alone does not tell a loader from a program that reads the file (a build tool, a scanner). The
//! process's mappings do, for as long as it lives; of one that is gone an open in a loader's way is believed.
//! Invariant: files waiting are bounded, each is asked about a few times within a second.

use crate::config::Config;
use crate::events::LibraryReport;
use crate::facts::LibraryJob;
use crate::metrics::Metrics;
use crate::workers::lost::Losses;
use crate::workers::tally::Tally;
use crate::workers::worker::Inbox;
use crate::workers::Pace;
use crossbeam_channel::RecvTimeoutError;
use drift_core::container::mounts::Sight;
use drift_core::content::{self, Explained};
use drift_core::host::{path_of, strip_deleted, ExeFlags, FoundFile, Host, InodeId};
use drift_core::packages::owners::owner_now;
use drift_core::verdict::judge::{is_memfd_path, Judge, Judgement, Subject};
use drift_core::verdict::origin::Origin;
use drift_core::verdict::script::own_descriptor;
use drift_formats::entry::ImagePath;
use rustix::fs::FileType;
use std::collections::VecDeque;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most files waiting for a process's mappings.
const MAX_WAITING: usize = 2048;
/// Most of them that are held open.
const MAX_HELD: usize = 128;
/// When the mappings are looked at, after the open: a loader maps a library at once.
const LOOKS: [Duration; 4] = [
    Duration::from_millis(2),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(600),
];
/// Longest wait while nothing is due. A stop closes the queue, which ends it.
const IDLE: Duration = Duration::from_secs(10);

struct Candidate {
    job: LibraryJob,
    path: Vec<u8>,
    judgement: Judgement,
    /// Held, since what unpacks a library removes it as soon as it is loaded.
    found: Option<FoundFile>,
    opened: Instant,
    looks: usize,
}

/// The thread's state.
#[derive(Debug)]
pub struct Libraries {
    judge: Judge,
    /// Largest file whose content is read, bytes.
    max: u64,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    waiting: VecDeque<Candidate>,
    tally: Tally,
    /// When the first of them is due.
    next: Option<Instant>,
    pace: Pace,
    losses: Losses,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate")
            .field("job", &self.job)
            .field("looks", &self.looks)
            .finish_non_exhaustive()
    }
}

impl Libraries {
    /// A worker that works until `stop`.
    pub(crate) fn new(
        host: Host,
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
        losses: Losses,
    ) -> Self {
        Self {
            judge: Judge::new(host, config.background_max),
            max: config.background_max,
            metrics,
            pace: Pace::new(config.cpu_percent, Arc::clone(&stop)),
            stop,
            waiting: VecDeque::new(),
            tally: Tally::new(MAX_WAITING, config.container_parts),
            next: None,
            losses,
        }
    }

    /// Works until the queue closes; each drifted library that is loaded goes to `report`.
    pub fn run(mut self, jobs: &Inbox<LibraryJob>, report: &dyn Fn(&LibraryReport)) {
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let wait = self.next.map_or(IDLE, |due| due.saturating_duration_since(now).min(IDLE));
            match jobs.recv_timeout(wait) {
                Ok(job) => {
                    self.pace.begin();
                    self.consider(job);
                    self.pace.step();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_at_due(report);
        }
    }

    /// Looks at the file while it is there: most are no libraries, or the image's.
    fn consider(&mut self, job: LibraryJob) {
        let Some((path, judgement, found)) = self.judge(&job) else { return };
        match judgement.origin {
            Origin::Image | Origin::ImageTouched | Origin::ImageVolume | Origin::Runtime | Origin::Host => {}
            Origin::Unknown => self.metrics.count_unknown(judgement.why),
            _ if self.waiting.len() >= MAX_WAITING => {
                self.metrics.libraries_dropped.inc();
                self.metrics.queue_full.inc();
                self.losses.note(&job.container, "libraries");
            }
            _ if !self.tally.take(&job.container.id) => {
                self.metrics.libraries_dropped.inc();
                self.metrics.over_share.inc();
                self.losses.note(&job.container, "libraries");
            }
            _ => {
                let opened = Instant::now();
                let found = found.filter(|_| self.waiting.len() < MAX_HELD);
                self.put_off(Candidate { job, path, judgement, found, opened, looks: 0 });
            }
        }
    }

    fn put_off(&mut self, candidate: Candidate) {
        let due = candidate.due();
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
        self.waiting.push_back(candidate);
    }

    /// The path and the judgement of a file that may be a library. Of one whose server may not answer the
    /// name has to do for its content.
    fn judge(&self, job: &LibraryJob) -> Option<(Vec<u8>, Judgement, Option<FoundFile>)> {
        let (path, sight) = self.find(job)?;
        let subject = |found| Subject {
            path: &path,
            flags: ExeFlags::default(),
            flags_given: false,
            inode: InodeId::default(),
            found,
            pid: job.pid,
        };
        let judgement = match &sight {
            Sight::File(found, place) => is_shared_object(found)
                .then(|| self.judge.judge_at(&job.container, &subject(Some(found)), place.clone())),
            Sight::Mount(place) => is_librarys_name(&path)
                .then(|| self.judge.judge_at(&job.container, &subject(None), Some(place.clone()))),
        };
        let judgement = judgement?;
        let found = match sight {
            Sight::File(found, _) => Some(found),
            Sight::Mount(_) => None,
        };
        Some((path, judgement, found))
    }

    fn find(&self, job: &LibraryJob) -> Option<(Vec<u8>, Sight)> {
        let (host, live) = (self.judge.host(), job.container.live.as_ref()?);
        let look_at = |fd: u32| {
            let held = host.hold_open_file(job.pid, fd).ok()?;
            let named = path_of(&held)?;
            let path = strip_deleted(&named).to_vec();
            if is_memfd_path(&named) || !path.starts_with(b"/") {
                // The kernel's own: nobody has to answer for it.
                return Some((path, Sight::File(FoundFile::from_fd(held).ok()?, None)));
            }
            let named = ImagePath::lexical(b"/", &path).ok()?;
            let sight = live.look_at(host, &job.container.id, job.pid, held, &named)?;
            Some((path, sight))
        };
        // The process's own descriptor first: it also leads to files without a name, and through any mount.
        let open = || u32::try_from(job.fd).ok().and_then(look_at);
        // A path that leads through the process's descriptors (a memfd has no other) means something only to
        // itself.
        if let Some(fd) = own_descriptor(job.path.as_bytes()) {
            return look_at(fd).or_else(open);
        }
        let is_that = |path: &[u8]| {
            path.rsplit(|b| *b == b'/').next() == job.path.file_name() || path.starts_with(b"/memfd:")
        };
        open().filter(|(path, _)| is_that(path)).or_else(|| {
            let root = live.root(host, &[job.pid])?;
            let sight = live.find(host, &job.container.id, job.pid, &root, &job.path, true).ok()?;
            let path = match &sight {
                Sight::File(found, _) => found.path()?,
                Sight::Mount(_) => job.path.as_bytes().to_vec(),
            };
            Some((path, sight))
        })
    }

    fn look_at_due(&mut self, report: &dyn Fn(&LibraryReport)) {
        let now = Instant::now();
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        self.next = None;
        for _ in 0..self.waiting.len() {
            let Some(mut candidate) = self.waiting.pop_front() else { return };
            if candidate.due() > now {
                self.put_off(candidate);
                continue;
            }
            let loaded = match candidate.job.mapped {
                true => Some(true),
                false => self.judge.host().has_mapped_executable(candidate.job.pid, &candidate.path),
            };
            candidate.looks += 1;
            match loaded {
                // Alive, and not loaded: not yet, or never.
                Some(false) if candidate.looks < LOOKS.len() => self.put_off(candidate),
                Some(false) => self.tally.give_back(&candidate.job.container.id),
                Some(true) | None => self.tell(candidate, report),
            }
        }
    }

    fn tell(&mut self, candidate: Candidate, report: &dyn Fn(&LibraryReport)) {
        let Candidate { job, judgement, path, found, .. } = candidate;
        self.tally.give_back(&job.container.id);
        let path = judgement.path.clone().or_else(|| ImagePath::lexical(b"/", &path).ok());
        let Some(path) = path else { return };
        let package = match judgement.origin {
            Origin::ImageModified | Origin::ImageUnverified => {
                let mut keep_going = || !self.stop.load(Ordering::Relaxed);
                job.container.image.as_ref().ok().and_then(|image| owner_now(image, &path, &mut keep_going))
            }
            _ => None,
        };
        let explained = self.explain(&job, &path, found);
        job.container.drifts.fetch_add(1, Ordering::Relaxed);
        self.metrics.libraries_loaded.inc();
        let (origin, volume) = (judgement.origin, judgement.volume);
        report(&LibraryReport { job, path, origin, volume, explained, package });
    }

    /// Where the content of a library comes from that the image does not have at its path.
    fn explain(&self, job: &LibraryJob, path: &ImagePath, held: Option<FoundFile>) -> Option<Explained> {
        let image = job.container.image.as_ref().ok()?;
        let live = job.container.live.as_ref()?;
        // Libraries of the node, as the NVIDIA container toolkit mounts them.
        if content::Reader::is_declared(self.judge.host(), live, path) {
            return Some(Explained { kind: "declared", of: None });
        }
        let root = live.root(self.judge.host(), &[job.pid])?;
        let found = held.or_else(|| root.find_here(path.as_bytes(), true).ok())?;
        let mut keep_going = || !self.stop.load(Ordering::Relaxed);
        image.layers().iter().for_each(|layer| content::build(layer, &mut keep_going));
        let source = content::source_of(image, &root, path, &found, self.max, &mut keep_going)?;
        Some(Explained::of(source, path))
    }
}

impl Candidate {
    fn due(&self) -> Instant {
        let last = LOOKS.last().copied().unwrap_or_default();
        self.opened + LOOKS.get(self.looks).copied().unwrap_or(last)
    }
}

/// Whether a name is one that loaders look for: `libz.so.1`, `_ssl.cpython-312-x86_64-linux-gnu.so`.
fn is_librarys_name(path: &[u8]) -> bool {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}

/// Whether a file is an ELF file of the type that loaders take (`ET_DYN`), by its header (elf(5)).
fn is_shared_object(file: &FoundFile) -> bool {
    if file.kind != FileType::RegularFile {
        return false;
    }
    let mut head = [0u8; 18];
    let Ok(mut content) = file.open() else { return false };
    if content.read_exact(&mut head).is_err() || !head.starts_with(b"\x7fELF") {
        return false;
    }
    match head {
        // EI_DATA: least significant byte first, or last.
        [_, _, _, _, _, 1, .., low, high] => u16::from_le_bytes([low, high]) == 3,
        [_, _, _, _, _, _, .., high, low] => u16::from_be_bytes([high, low]) == 3,
    }
}

/// Bytes of what waits when there is no more room.
#[cfg(test)]
pub(super) fn bytes_when_full() -> usize {
    use super::memory::PATH;
    // The path of the call, that of the file, and that of the verdict.
    MAX_WAITING * (size_of::<Candidate>() + 3 * PATH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_objects_are_known_by_their_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let is = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            is_shared_object(&FoundFile::of(std::fs::File::open(&path).unwrap()).unwrap())
        };
        let elf = |data: u8, kind: [u8; 2]| {
            let mut head = b"\x7fELF\x02".to_vec();
            head.push(data);
            head.resize(16, 0);
            head.extend(kind);
            head
        };
        assert!(is(&elf(1, [3, 0])));
        assert!(is(&elf(2, [0, 3])));
        assert!(!is(&elf(1, [2, 0])), "an executable");
        assert!(!is(&elf(1, [0, 3])), "the other byte order");
        assert!(!is(b"\x7fELF"), "cut");
        assert!(!is(b"#!/bin/sh\n..........."));
    }
}
