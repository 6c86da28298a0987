//! What was told of a container, so that it is told once.
//!
//! Invariants: of what was found only what is said when it is gone is kept; the texts of one container, and
//! of all of them, are bounded in bytes.

use super::event::Payload;
use super::params::Check;
use drift_formats::path_key::value_key;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// What a finding is known by: its check, a keyed hash of what it is about (a path, a package, a port), and
/// in what respect.
type Key = (&'static str, u64, &'static str);

/// Most bytes of texts that are kept of one container's findings, and of all containers'. Of findings beyond
/// that it is not said when they are gone.
const MAX_BYTES: usize = 512 << 10;
pub(super) const MAX_BYTES_OF_ALL: usize = 2 << 20;

#[derive(Debug)]
struct Entry {
    /// What makes it another finding when it changes.
    mark: u64,
    /// The last round it was found in.
    round: u64,
    /// What is said when it is gone, but for the container.
    gone: Option<Box<Payload>>,
}

/// The findings told of one container.
#[derive(Debug)]
pub(super) struct Told {
    entries: BTreeMap<Key, Entry>,
    round: u64,
    /// Bytes of texts that are kept, and those of all containers.
    bytes: usize,
    of_all: Arc<AtomicUsize>,
}

impl Told {
    /// Nothing told yet. `of_all` counts what all of them keep.
    pub(super) fn new(of_all: &Arc<AtomicUsize>) -> Self {
        Self { entries: BTreeMap::new(), round: 0, bytes: 0, of_all: Arc::clone(of_all) }
    }

    /// Begins another comparison.
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// Notes a finding; `true` when it is to be told.
    pub(super) fn note(&mut self, aspect: &'static str, payload: &Payload, mark: impl Hash) -> bool {
        let mut hasher = std::hash::DefaultHasher::new();
        mark.hash(&mut hasher);
        let mark = hasher.finish();
        let key = (payload.check, value_key(payload.subject().as_bytes()), aspect);
        if let Some(known) = self.entries.get_mut(&key).filter(|known| known.mark == mark) {
            known.round = self.round;
            return false;
        }
        let gone = self.kept(payload);
        if let Some(old) = self.entries.insert(key, Entry { mark, round: self.round, gone }) {
            self.let_go(old.gone.as_deref());
        }
        true
    }

    /// What is kept of a finding, where there is room for it.
    fn kept(&mut self, payload: &Payload) -> Option<Box<Payload>> {
        let gone = payload.when_gone();
        let bytes = gone.bytes();
        if self.bytes + bytes > MAX_BYTES || self.of_all.load(Ordering::Relaxed) + bytes > MAX_BYTES_OF_ALL {
            return None;
        }
        self.bytes += bytes;
        self.of_all.fetch_add(bytes, Ordering::Relaxed);
        Some(Box::new(gone))
    }

    fn let_go(&mut self, kept: Option<&Payload>) {
        let bytes = kept.map_or(0, Payload::bytes);
        self.bytes -= bytes;
        self.of_all.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes out what this check did not find in this round, but for the container. `unsure` tells of paths
    /// that were not looked at.
    pub(super) fn gone(&mut self, check: Check, unsure: &dyn Fn(&str) -> bool) -> Vec<Payload> {
        let round = self.round;
        let mut gone = Vec::new();
        self.entries.retain(|(of, _, _), entry| {
            let subject = entry.gone.as_ref().map_or("", |payload| payload.subject());
            let keep = *of != check.as_str() || entry.round == round || unsure(subject);
            if !keep {
                gone.extend(entry.gone.take().map(|payload| *payload));
            }
            keep
        });
        gone.iter().for_each(|payload| self.let_go(Some(payload)));
        gone
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(check: Check, path: &str) -> Payload {
        Payload {
            kind_of_event: "file",
            check: check.as_str(),
            path: Some(path.to_owned()),
            change: Some("created"),
            ..Payload::default()
        }
    }

    fn file(path: &str) -> Payload {
        of(Check::Files, path)
    }

    #[test]
    fn findings_are_told_once_again_when_they_change_and_when_they_are_gone() {
        let mut told = Told::new(&Arc::default());
        let no = |_: &str| false;
        told.begin();
        assert!(told.note("state", &file("/a"), 1));
        assert!(told.note("state", &file("/b"), 1));
        assert!(told.note("state", &of(Check::Processes, "/a"), 1));
        assert!(told.gone(Check::Files, &no).is_empty());
        told.begin();
        assert!(!told.note("state", &file("/a"), 1));
        assert!(told.note("state", &file("/a"), 2), "it changed");
        // Not seen, but not looked at either.
        assert!(told.gone(Check::Files, &|p| p == "/b").is_empty());
        let gone = told.gone(Check::Files, &no);
        assert_eq!(gone.len(), 1);
        assert_eq!((gone[0].kind_of_event, gone[0].path.as_deref()), ("resolved", Some("/b")));
        assert_eq!(gone[0].detail.as_deref(), Some("was created"));
        assert!(told.gone(Check::Files, &no).is_empty(), "said once");
        assert_eq!(told.gone(Check::Processes, &no).len(), 1);
    }

    #[test]
    fn what_is_kept_of_hostile_findings_is_bounded_in_bytes() {
        let of_all = Arc::new(AtomicUsize::new(0));
        let all: Vec<Told> = (0..20)
            .map(|_| {
                let mut told = Told::new(&of_all);
                told.begin();
                for n in 0..1000 {
                    let payload = Payload {
                        detail: Some("x".repeat(8192)),
                        env_names: vec!["y".repeat(100); 64],
                        ..file(&format!("/{n}{}", "z".repeat(4000)))
                    };
                    assert!(told.note("state", &payload, 1), "told all the same");
                    assert!(!told.note("state", &payload, 1), "once");
                }
                assert!(told.bytes <= MAX_BYTES);
                told
            })
            .collect();
        let kept = of_all.load(Ordering::Relaxed);
        assert!((MAX_BYTES_OF_ALL / 2..=MAX_BYTES_OF_ALL).contains(&kept), "{kept}");
        drop(all);
        assert_eq!(of_all.load(Ordering::Relaxed), 0, "goes with the containers");
        let mut told = Told::new(&of_all);
        told.note("state", &file("/a"), 1);
        told.note("state", &file("/a"), 2);
        told.begin();
        assert_eq!(told.gone(Check::Files, &|_| false).len(), 1);
        assert_eq!((told.bytes, of_all.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn packages_and_ports_are_told_apart_by_their_names() {
        let mut told = Told::new(&Arc::default());
        told.begin();
        let package = |name: &str| Payload {
            check: Check::Packages.as_str(),
            package: Some(name.to_owned()),
            ..Payload::default()
        };
        let port = |port: &str| Payload {
            check: Check::Ports.as_str(),
            // Two ports of one program.
            path: Some("/bin/nc".to_owned()),
            port: Some(port.to_owned()),
            ..Payload::default()
        };
        for (payload, new) in [
            (package("dpkg:a"), true),
            (package("dpkg:b"), true),
            (port("1/tcp"), true),
            (port("2/tcp"), true),
            (package("dpkg:a"), false),
            (port("1/tcp"), false),
        ] {
            assert_eq!(told.note("x", &payload, ()), new, "{payload:?}");
        }
    }
}
