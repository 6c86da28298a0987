//! What was told of a container, so that it is told once.

use super::event::Payload;
use super::params::Check;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// What a finding is known by: its check, what it is about (a path, a package, a port) and in what respect.
type Key = (&'static str, String, &'static str);

#[derive(Debug)]
struct Entry {
    /// What makes it another finding when it changes.
    mark: u64,
    /// The last round it was found in.
    round: u64,
    /// What is said when it is gone.
    payload: Payload,
}

/// The findings told of one container.
#[derive(Debug, Default)]
pub(super) struct Told {
    entries: BTreeMap<Key, Entry>,
    round: u64,
}

impl Told {
    /// Begins another comparison.
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// Notes a finding; `true` when it is to be told.
    pub(super) fn note(&mut self, aspect: &'static str, payload: &Payload, mark: impl Hash) -> bool {
        let mut hasher = std::hash::DefaultHasher::new();
        mark.hash(&mut hasher);
        let mark = hasher.finish();
        let key = (payload.check, payload.subject().to_owned(), aspect);
        let entry = Entry { mark, round: self.round, payload: payload.clone() };
        match self.entries.insert(key, entry) {
            Some(known) => known.mark != mark,
            None => true,
        }
    }

    /// Takes out what this check did not find in this round. `unsure` tells of paths that were not looked at.
    pub(super) fn gone(&mut self, check: Check, unsure: &dyn Fn(&str) -> bool) -> Vec<Payload> {
        let round = self.round;
        let mut gone = Vec::new();
        self.entries.retain(|(of, path, _), entry| {
            let keep = *of != check.as_str() || entry.round == round || unsure(path);
            if !keep {
                gone.push(entry.payload.clone().resolved());
            }
            keep
        });
        gone
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
        let mut told = Told::default();
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
    fn packages_and_ports_are_told_apart_by_their_names() {
        let mut told = Told::default();
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
