//! What events have already reported of containers, so that the comparison of whole containers does not say
//! it again.
//!
//! Two instances of the plugin run in one Falco: one sees system calls, one compares. Invariants: bounded, and
//! one container cannot use up what the others need; what is pushed out is reported twice, never not at all;
//! an event counts once a rule has asked about it: without such rules, or where the event was lost, nobody
//! was told.

use lru::LruCache;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Containers kept.
const CONTAINERS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// Facts of one container, some 80 bytes each.
const FACTS: NonZeroUsize = NonZeroUsize::new(512).unwrap();

/// Before the paths of files on volumes, whose facts are others than those of files of the same path.
const ON_VOLUME: &str = "volume";

/// A fact that an event has reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    /// State of the file that was reported: its change time, nanoseconds since the epoch; 0 where it is gone.
    pub ctime: u64,
    /// The image's own work that it was part of, as `drift.file_work` has it.
    pub work: Option<Box<str>>,
}

/// Facts of one container, by the hash of what each is about.
type Facts = LruCache<u64, Entry>;

#[derive(Debug)]
struct Entry {
    fact: Arc<Reported>,
    /// A rule has asked about the event.
    is_asked: bool,
}

/// All facts, by container.
#[derive(Debug)]
pub struct Ledger {
    containers: Mutex<LruCache<Box<str>, Facts>>,
    hasher: RandomState,
}

impl Ledger {
    /// The one of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Ledger> = OnceLock::new();
        SHARED.get_or_init(|| Self {
            containers: Mutex::new(LruCache::new(CONTAINERS)),
            hasher: RandomState::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Box<str>, Facts>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an event is sent which reports `subject` of a container.
    pub fn note(&self, container: &str, subject: impl Hash, fact: Reported) {
        let key = self.hasher.hash_one(subject);
        let mut containers = self.lock();
        let facts = containers.get_or_insert_mut(container.into(), || LruCache::new(FACTS));
        facts.put(key, Entry { fact: Arc::new(fact), is_asked: false });
    }

    /// A rule has asked about the event that reports `subject`.
    pub fn confirm(&self, container: &str, subject: impl Hash) {
        let key = self.hasher.hash_one(subject);
        if let Some(entry) = self.lock().peek_mut(container).and_then(|facts| facts.peek_mut(&key)) {
            entry.is_asked = true;
        }
    }

    /// Notes that a file on a volume is the deployment's, or an image's of the pod.
    pub fn note_on_volume(&self, container: &str, path: &[u8], ctime: u64) {
        self.note(container, (ON_VOLUME, path), Reported { ctime, work: None });
    }

    /// What was noted of a file on a volume.
    pub fn on_volume(&self, container: &str, path: &[u8]) -> Option<Arc<Reported>> {
        self.reported(container, (ON_VOLUME, path))
    }

    /// Notes that the file of `subject`, if it was reported, has another change time and the same content.
    pub fn touch(&self, container: &str, subject: impl Hash, ctime: u64) {
        let key = self.hasher.hash_one(subject);
        let mut containers = self.lock();
        if let Some(entry) = containers.peek_mut(container).and_then(|facts| facts.peek_mut(&key)) {
            entry.fact = Arc::new(Reported { ctime, work: entry.fact.work.clone() });
        }
    }

    /// What was reported of `subject`.
    pub fn reported(&self, container: &str, subject: impl Hash) -> Option<Arc<Reported>> {
        let key = self.hasher.hash_one(subject);
        let containers = self.lock();
        let entry = containers.peek(container)?.peek(&key).filter(|entry| entry.is_asked)?;
        Some(Arc::clone(&entry.fact))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_container_cannot_use_up_the_room_of_another() {
        let ledger = Ledger::shared();
        let fact = Reported { ctime: 7, work: Some("start".into()) };
        ledger.note("quiet", b"/etc/x", fact.clone());
        assert_eq!(ledger.reported("quiet", b"/etc/x"), None, "no rule has asked");
        ledger.confirm("quiet", b"/etc/x");
        ledger.confirm("quiet", b"/etc/z");
        for n in 0..2 * FACTS.get() {
            ledger.note("loud", n, Reported::default());
        }
        assert_eq!(ledger.reported("quiet", b"/etc/x").as_deref(), Some(&fact));
        ledger.touch("quiet", b"/etc/x", 8);
        ledger.touch("quiet", b"/etc/y", 8);
        assert_eq!(ledger.reported("quiet", b"/etc/x").as_deref(), Some(&Reported { ctime: 8, ..fact }));
        assert_eq!(ledger.reported("quiet", b"/etc/y"), None);
        assert_eq!(ledger.reported("loud", 0), None, "its own oldest went");
    }
}
