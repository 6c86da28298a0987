//! Whether somebody has a file open for writing, found out without touching the file.
//!
//! Two ways, neither of which the workload can notice (a lease, which would tell at once, makes others wait
//! or fail): the descriptors of the processes that opened it, and a watch that tells when a writer closes it,
//! whoever that is (inotify(7)). Invariants: watches and descriptors looked at are bounded.

use crate::facts::FileJob;
use crate::facts::{Said, Writer};
use drift_core::host::{FileId, FoundFile, Host};
use lru::LruCache;
use rustix::fd::OwnedFd;
use rustix::fs::inotify;
use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Most files watched; those watched longest without a change go first.
const MAX_WATCHES: usize = 4096;

/// Most events of watches taken in at a time.
const MAX_EVENTS: usize = 4096;

/// What processes have open for writing, read once for each round of questions.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    by_pid: HashMap<i64, HashSet<FileId>>,
    mapped: HashMap<i64, HashSet<Vec<u8>>>,
}

impl OpenFiles {
    /// Whether one of these processes has the file open for writing, or mapped so that writes reach it.
    pub(super) fn has_writer(&mut self, host: &Host, pids: &[i64], file: &FoundFile) -> bool {
        let id = (file.dev, file.inode.ino);
        let open =
            |pid: &i64| self.by_pid.entry(*pid).or_insert_with(|| host.open_for_writing(*pid)).contains(&id);
        if pids.iter().any(open) {
            return true;
        }
        let Some(path) = file.path() else { return false };
        pids.iter().any(|pid| {
            self.mapped.entry(*pid).or_insert_with(|| host.mapped_for_writing(*pid)).contains(&path)
        })
    }
}

/// Watches for the end of writing.
#[derive(Debug)]
pub(super) struct Watches {
    /// `None`: the system gives none (`fs.inotify.max_user_instances`).
    inotify: Option<OwnedFd>,
    jobs: LruCache<i32, Watched>,
}

#[derive(Debug)]
struct Watched {
    job: FileJob,
    /// Whether the job's process had it open for writing.
    held: bool,
}

/// What a watch tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrote {
    /// A writer has closed the file.
    Closed,
    /// Somebody wrote to it.
    Modified,
}

impl Watches {
    pub(super) fn new() -> Self {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Self {
            inotify: inotify::init(flags).ok(),
            jobs: LruCache::new(NonZeroUsize::new(MAX_WATCHES).unwrap_or(NonZeroUsize::MIN)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Watches a file; its job comes back from [`Watches::read`], if `each` after every write too. `held`:
    /// the job's process has it open for writing. `false` if it cannot be watched.
    ///
    /// The container's own view is watched: since Linux 4.19 overlayfs opens the layer's file without
    /// notification (`FMODE_NONOTIFY`, fs/overlayfs/file.c), so that a watch there would see nothing. Writes
    /// through a mapping are notified nowhere.
    pub(super) fn add(&mut self, file: &FoundFile, job: &FileJob, held: bool, each: bool) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let path = file.own_path();
        let mut flags = inotify::WatchFlags::CLOSE_WRITE;
        flags.set(inotify::WatchFlags::MODIFY, each);
        let Ok(watch) = inotify::add_watch(inotify, path, flags) else {
            return false;
        };
        if let Some((old, _)) =
            self.jobs.push(watch, Watched { job: job.clone(), held }).filter(|(old, _)| *old != watch)
        {
            // Fails for a file that is gone by now, whose watch went with it.
            let _ = inotify::remove_watch(inotify, old);
        }
        true
    }

    /// The jobs of files that were written to since the last call. Who did it no watch says: of a file that
    /// the job's process did not hold the writer is not known.
    pub(super) fn read(&mut self) -> Vec<(FileJob, Wrote)> {
        let Some(inotify) = &self.inotify else { return Vec::new() };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(inotify, &mut buffer);
        let mut seen: HashMap<i32, Wrote> = HashMap::new();
        // Two files written to in turn could go on for ever.
        for _ in 0..MAX_EVENTS {
            // Ends with EAGAIN when there are no more.
            let Ok(event) = events.next() else { break };
            if event.events().contains(inotify::ReadFlags::IGNORED) {
                self.jobs.pop(&event.wd());
            } else if event.events().contains(inotify::ReadFlags::CLOSE_WRITE) {
                seen.insert(event.wd(), Wrote::Closed);
            } else {
                seen.entry(event.wd()).or_insert(Wrote::Modified);
            }
        }
        let job = |(watch, wrote): (i32, Wrote)| {
            let Watched { job, held } = self.jobs.get(&watch)?;
            let mut job = FileJob { said: Said::default(), new_path: None, ..job.clone() };
            if !held {
                job.writer = Arc::new(Writer::unknown());
            }
            Some((job, wrote))
        };
        seen.into_iter().filter_map(job).collect()
    }
}

/// Bytes of the table when it is full.
#[cfg(test)]
pub(super) fn bytes_when_full() -> usize {
    use crate::workers::memory::{lru, PATH};
    lru(MAX_WATCHES, size_of::<(i32, Watched)>() + PATH)
}

#[cfg(test)]
#[expect(unsafe_code, reason = "a mapping to be found")]
mod tests {
    use super::*;
    use drift_core::host::RootDir;
    use std::io::Write;
    use std::path::Path;

    #[test]
    fn a_writer_is_known_by_its_descriptors_and_mappings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "x").unwrap();
        let root = RootDir::open(dir.path()).unwrap();
        let found = root.find_here(b"/f", true).unwrap();
        let host = Host::new(Path::new("/"));
        let pids = [i64::from(std::process::id())];
        let has_writer = || OpenFiles::default().has_writer(&host, &pids, &found);
        assert!(!has_writer());
        let reader = std::fs::File::open(&path).unwrap();
        assert!(!has_writer(), "readers do not count");
        let mut writer = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert!(has_writer());
        writer.write_all(b"y").unwrap();
        // SAFETY: a mapping of one page, taken away below.
        let mapping = unsafe {
            use std::os::fd::AsRawFd;
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), 1, protection, libc::MAP_SHARED, writer.as_raw_fd(), 0)
        };
        assert_ne!(mapping, libc::MAP_FAILED);
        drop(writer);
        assert!(has_writer(), "mapped");
        // SAFETY: the mapping made above.
        unsafe { libc::munmap(mapping, 1) };
        assert!(!has_writer(), "closed");
        assert!(!OpenFiles::default().has_writer(&host, &[i64::from(i32::MAX)], &found), "no such process");
        drop(reader);
    }

    /// F1b: the file is closed by somebody else, later. The first writer, and its exemption, have nothing to
    /// do with it.
    #[test]
    fn who_closes_a_watched_file_later_is_not_the_first_writer() {
        use crate::facts::During;
        use crate::workers::files::tests::{container, job_of};
        use drift_core::command::manager::Manager;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "x").unwrap();
        let root = RootDir::open(dir.path()).unwrap();
        let found = root.find_here(b"/f", true).unwrap();
        let mut job = job_of(&container("a"), "/f");
        job.writer = Arc::new(Writer {
            command: "dpkg".into(),
            during: Some(During { manager: Manager::Dpkg, leader: 1 }),
            ..Writer::unknown()
        });
        for (held, want) in [(true, ("dpkg", true)), (false, ("unknown", false))] {
            let mut watches = Watches::new();
            assert!(watches.add(&found, &job, held, true));
            std::fs::write(dir.path().join("f"), "y").unwrap();
            let told = watches.read();
            let [(told, Wrote::Closed)] = &told[..] else { panic!("{told:?}") };
            assert_eq!((&*told.writer.command, told.writer.is_exempt()), want);
        }
        let mut watches = Watches::new();
        watches.add(&found, &job, true, true);
        let mut file = std::fs::OpenOptions::new().append(true).open(dir.path().join("f")).unwrap();
        file.write_all(b"z").unwrap();
        assert!(matches!(watches.read()[..], [(_, Wrote::Modified)]), "while it is held");
        watches.add(&found, &job, true, false);
        file.write_all(b"z").unwrap();
        assert!(watches.read().is_empty(), "of interest only at the close");
    }
}
