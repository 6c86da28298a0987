//! What was told of each path, so that one change is told once.
//!
//! Invariant: bounded; what was told longest ago is forgotten first, and would be told again.

use drift_core::command::manager::Manager;
use drift_core::content::Explained;
use drift_core::host::FoundFile;
use drift_core::policy::sensitive::is_alone;
use drift_core::verdict::change::{Change, Compared};
use drift_core::verdict::work::ImageWork;
use drift_formats::entry::ImagePath;
use drift_formats::path_key::{path_key, value_key, PathKey};
use lru::LruCache;
use rustix::fs::FileType;
use std::io::Read;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// Most paths remembered; each takes some 120 bytes.
const MAX_TOLD: usize = 16_384;

/// What tells one state of a file from the next: inode, modification time, size, mode.
type Mark = Option<(u64, u64, u64, u16)>;

#[derive(Debug)]
struct State {
    change: Change,
    gained: usize,
    mark: Mark,
    /// What the file held.
    content: u64,
    /// What excused the change ([`excuse`]): the next one may have none.
    excuse: u64,
    at: Instant,
    /// The path was as in the image since.
    undone: bool,
}

/// Whether a state is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To be told.
    New,
    /// No change, or one that was told.
    Known,
    /// What was told, with the same content: rewritten, touched, or given to another user.
    Unchanged,
    /// The same change of the same path was told a short time ago: to be looked at again then.
    TooSoon(Instant),
    /// The same change was told, other content, and this excused it: news if that is not so any more.
    Excused(u64),
}

/// What makes a change no surprise, in one number: content of the image, the image's own work, a package
/// manager; `kind` is the file's, by which rules tell some of these apart. 0: nothing does.
pub(super) fn excuse(
    explained: Option<&Explained>,
    work: Option<ImageWork>,
    during: Option<Manager>,
    kind: &str,
) -> u64 {
    let content = explained.map_or("", |explained| explained.kind);
    let work = work.map(|work| work.to_string()).unwrap_or_default();
    let during = during.map_or("", Manager::as_str);
    match (content, &*work, during) {
        ("", "", "") => 0,
        (content, work, during) => value_key([content, work, during, kind].join("\0").as_bytes()),
    }
}

/// The memory.
#[derive(Debug)]
pub(super) struct Told {
    interval: Duration,
    /// How long the same content at the same path is not reported again.
    repeat: Duration,
    /// By keyed hashes of container and path: names can be as long as the workload likes.
    states: LruCache<(u64, PathKey), State>,
}

impl Told {
    /// Nothing told yet; `interval` is the least time between two reports of the same change, `repeat` of the
    /// same change to the same content.
    pub(super) fn new(interval: Duration, repeat: Duration) -> Self {
        Self {
            interval,
            repeat,
            states: LruCache::new(NonZeroUsize::new(MAX_TOLD).unwrap_or(NonZeroUsize::MIN)),
        }
    }

    /// Notes that a file was told as created, in another report than its own.
    pub(super) fn note_created(&mut self, container: &str, path: &ImagePath, file: &FoundFile, now: Instant) {
        let (mark, content) = (mark(file), content_of(file));
        let (change, gained, excuse, undone) = (Change::Created, 0, 0, false);
        let state = State { change, gained, mark, content, excuse, at: now, undone };
        self.states.put(key(container, path), state);
    }

    /// Whether a path's state is news; if so it counts as told from now on.
    pub(super) fn judge(
        &mut self,
        container: &str,
        path: &ImagePath,
        compared: &Compared,
        now: Instant,
    ) -> Verdict {
        let key = key(container, path);
        let mark = compared.now.as_ref().and_then(mark);
        if compared.change == Change::None {
            // Undone. That it was told before still counts for the interval.
            if let Some(told) = self.states.get_mut(&key) {
                told.undone = true;
                told.gained = 0;
            }
            return Verdict::Known;
        }
        let gained = compared.gained.len();
        let content = compared.now.as_ref().map_or(0, content_of);
        if let Some(told) = self.states.get(&key) {
            // Of a file that was reported as renamed nothing is left at the old name.
            let is_renamed = told.change == Change::Renamed && compared.change == Change::Deleted;
            let same = (told.change == compared.change || is_renamed) && told.gained >= gained;
            if same && told.excuse != 0 && told.mark != mark && told.content != content {
                return Verdict::Excused(told.excuse);
            }
            // A file that was added stays so, whatever is written to it next, but for what gives rights.
            let known = told.mark == mark || (compared.change == Change::Created && !is_alone(path));
            if same && known && !told.undone {
                return if told.content == content { Verdict::Unchanged } else { Verdict::Known };
            }
            if same && told.content == content && now < told.at + self.repeat {
                return Verdict::Unchanged;
            }
            let again = told.at + self.interval;
            if same && now < again {
                return Verdict::TooSoon(again);
            }
        }
        let (change, excuse, undone) = (compared.change, 0, false);
        self.states.put(key, State { change, gained, mark, content, excuse, at: now, undone });
        Verdict::New
    }

    /// Notes what excuses the change that is told now.
    pub(super) fn note_excuse(
        &mut self,
        container: &str,
        path: &ImagePath,
        compared: &Compared,
        excuse: u64,
    ) {
        if let Some(told) = self.states.get_mut(&key(container, path)) {
            told.mark = compared.now.as_ref().and_then(mark);
            told.content = compared.now.as_ref().map_or(0, content_of);
            told.excuse = excuse;
        }
    }
}

fn key(container: &str, path: &ImagePath) -> (u64, PathKey) {
    (value_key(container.as_bytes()), path_key(path))
}

/// A keyed hash of what a file holds; of a large one, of its size and time.
fn content_of(found: &FoundFile) -> u64 {
    const MAX_READ: u64 = 256 << 10;
    let of_state = || value_key(&[found.size.to_ne_bytes(), found.inode.mtime.to_ne_bytes()].concat());
    if found.kind == FileType::Symlink {
        return value_key(&found.link_target().unwrap_or_default());
    }
    if found.size > MAX_READ {
        return of_state();
    }
    let mut content = Vec::new();
    let read = found.open().map(|file| file.take(MAX_READ).read_to_end(&mut content));
    if matches!(read, Ok(Ok(_))) {
        value_key(&content)
    } else {
        of_state()
    }
}

fn mark(found: &FoundFile) -> Mark {
    Some((found.inode.ino, found.inode.mtime, found.size, found.mode))
}

/// Bytes of the table when it is full.
#[cfg(test)]
pub(super) fn bytes_when_full() -> usize {
    crate::workers::memory::lru(MAX_TOLD, size_of::<((u64, PathKey), State)>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_is_told_once_in_the_time_and_another_after_the_interval() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        let path = ImagePath::lexical(b"/", b"/f").unwrap();
        let (interval, hour) = (Duration::from_secs(30), Duration::from_secs(3600));
        let write = |content: &str| {
            std::fs::write(&file, content).unwrap();
            let now = FoundFile::of(std::fs::File::open(&file).unwrap()).unwrap();
            Compared { change: Change::Modified, now: Some(now), gained: Vec::new() }
        };
        let undone = || Compared { change: Change::None, now: None, gained: Vec::new() };
        let begin = Instant::now();
        for (repeat, at_a_minute) in [(hour, Verdict::Unchanged), (Duration::ZERO, Verdict::New)] {
            let mut told = Told::new(interval, repeat);
            assert_eq!(told.judge("a", &path, &write("one"), begin), Verdict::New);
            assert_eq!(told.judge("b", &path, &write("one"), begin), Verdict::New, "another container");
            assert_eq!(told.judge("a", &path, &undone(), begin), Verdict::Known);
            let minute = begin + 2 * interval;
            assert_eq!(told.judge("a", &path, &write("one"), minute), at_a_minute, "again, {repeat:?}");
        }
        let mut told = Told::new(interval, hour);
        assert_eq!(told.judge("a", &path, &write("one"), begin), Verdict::New);
        let soon = begin + Duration::from_secs(1);
        assert_eq!(told.judge("a", &path, &write("two"), soon), Verdict::TooSoon(begin + interval));
        assert_eq!(told.judge("a", &path, &write("two"), begin + interval), Verdict::New);
        let later = begin + hour + interval;
        assert_eq!(told.judge("a", &path, &undone(), later), Verdict::Known);
        assert_eq!(told.judge("a", &path, &write("two"), later), Verdict::New, "after the time");
    }

    #[test]
    fn what_was_excused_is_news_once_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        let begin = Instant::now();
        let write = |content: &str, change| {
            std::fs::write(&file, content).unwrap();
            let now = FoundFile::of(std::fs::File::open(&file).unwrap()).unwrap();
            Compared { change, now: Some(now), gained: Vec::new() }
        };
        let copied = excuse(Some(&Explained { kind: "copied", of: None }), None, None, "other");
        assert!(copied != 0 && excuse(None, None, None, "other") == 0);
        for (path, change, excuse, want) in [
            ("/usr/local/bin/env", Change::Created, copied, Verdict::Excused(copied)),
            ("/etc/nginx.conf", Change::Modified, copied, Verdict::Excused(copied)),
            ("/usr/local/bin/env", Change::Created, 0, Verdict::Known),
            ("/etc/cron.d/env", Change::Created, 0, Verdict::TooSoon(begin + Duration::from_secs(30))),
        ] {
            let path = ImagePath::lexical(b"/", path.as_bytes()).unwrap();
            let mut told = Told::new(Duration::from_secs(30), Duration::from_secs(3600));
            let first = write("one", change);
            assert_eq!(told.judge("a", &path, &first, begin), Verdict::New);
            told.note_excuse("a", &path, &first, excuse);
            assert_eq!(told.judge("a", &path, &first, begin), Verdict::Unchanged);
            assert_eq!(told.judge("a", &path, &write("three", change), begin), want, "{path:?}");
        }
    }
}
