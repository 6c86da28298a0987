//! Other names of what events name: what a directory was called before it was renamed, which is what the
//! engine still calls it for those who work in it, and hard links.
//!
//! Invariant: bounded in containers, in names of each and in bytes; what does not fit makes the names of a
//! container doubtful, so that its writable layer is looked through instead.

use super::bound;
use drift_formats::entry::ImagePath;
use lru::LruCache;
use std::collections::VecDeque;

/// Containers with other names.
const CONTAINERS: usize = 128;
/// Names of each kind in one container.
const NAMES: usize = 16;
/// Longest path that is kept, bytes.
const LONGEST: usize = 512;

/// Other names, by container.
#[derive(Debug)]
pub(super) struct Aliases(LruCache<Box<str>, Names>);

/// Two names.
#[derive(Debug, PartialEq, Eq)]
struct Pair {
    /// What a directory was called, or one name of a file.
    one: ImagePath,
    /// What it is called now, or the other name.
    other: ImagePath,
    /// Two directories have changed their names for each other's.
    exchanged: bool,
}

#[derive(Debug, Default)]
struct Names {
    /// Directories.
    moved: VecDeque<Pair>,
    /// Files.
    linked: VecDeque<Pair>,
    /// Directories were renamed that are not among these.
    lost: bool,
}

impl Aliases {
    pub(super) fn new() -> Self {
        Self(LruCache::new(bound(CONTAINERS)))
    }

    /// Forgets a container; how many entries that were.
    pub(super) fn forget(&mut self, container: &str) -> usize {
        usize::from(self.0.pop(container).is_some())
    }

    fn names(&mut self, container: &str) -> &mut Names {
        self.0.get_or_insert_mut(container.into(), Names::default)
    }

    /// A directory was renamed.
    pub(super) fn note_moved(&mut self, container: &str, from: &ImagePath, to: &ImagePath, exchanged: bool) {
        let names = self.names(container);
        names.lost |= !keep(&mut names.moved, (from, to), exchanged);
    }

    /// A file has got a second name.
    pub(super) fn note_linked(&mut self, container: &str, one: &ImagePath, other: &ImagePath) {
        keep(&mut self.names(container).linked, (one, other), false);
    }

    /// See [`super::cache::ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        // Paths of usual length.
        self.0.cap().get() * 2 * NAMES * (std::mem::size_of::<Pair>() + 2 * 64)
    }

    /// Whether directories of the container were renamed of which nothing is known here.
    pub(super) fn has_lost(&self, container: &str) -> bool {
        self.0.peek(container).is_some_and(|names| names.lost)
    }

    /// What a path is by now that the engine has made of an old directory's name.
    pub(super) fn moved(&self, container: &str, path: &ImagePath) -> Option<ImagePath> {
        let names = self.0.peek(container)?;
        let mut now = None::<ImagePath>;
        for Pair { one, other, exchanged } in &names.moved {
            let path = now.as_ref().unwrap_or(path);
            let is_below = |dir: &ImagePath| path != dir && path.is_within(dir.as_bytes());
            let (from, to) = match (is_below(one), is_below(other) && *exchanged) {
                (true, _) => (one, other),
                (_, true) => (other, one),
                _ => continue,
            };
            let rest = path.as_bytes().get(from.as_bytes().len()..)?;
            now = ImagePath::lexical(b"/", &[to.as_bytes(), rest].concat()).ok();
        }
        now
    }

    /// The other name of a file.
    pub(super) fn linked(&self, container: &str, path: &ImagePath) -> Option<ImagePath> {
        self.0.peek(container)?.linked.iter().rev().find_map(|Pair { one, other, .. }| match path {
            path if path == one => Some(other.clone()),
            path if path == other => Some(one.clone()),
            _ => None,
        })
    }
}

/// Keeps a pair; `false` if that, or an older one, is lost by it.
fn keep(pairs: &mut VecDeque<Pair>, (one, other): (&ImagePath, &ImagePath), exchanged: bool) -> bool {
    if one.as_bytes().len().max(other.as_bytes().len()) > LONGEST {
        return false;
    }
    let pair = Pair { one: one.clone(), other: other.clone(), exchanged };
    if pairs.back() == Some(&pair) {
        return true;
    }
    pairs.push_back(pair);
    pairs.len() <= NAMES || pairs.pop_front().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> ImagePath {
        ImagePath::lexical(b"/", path.as_bytes()).unwrap()
    }

    #[test]
    fn a_directory_is_followed_through_its_names() {
        let mut aliases = Aliases::new();
        for (from, to) in [("/tmp/sd", "/root/.ssh"), ("/tmp/a", "/tmp/b"), ("/tmp/b", "/etc/cron.d")] {
            aliases.note_moved("c", &path(from), &path(to), false);
        }
        aliases.note_moved("c", &path("/srv/a"), &path("/etc/profile.d"), true);
        for (name, want) in [
            ("/srv/a/x", Some("/etc/profile.d/x")),
            ("/etc/profile.d/x", Some("/srv/a/x")),
            ("/tmp/sd/authorized_keys", Some("/root/.ssh/authorized_keys")),
            ("/tmp/a/x", Some("/etc/cron.d/x")),
            ("/tmp/b/y/z", Some("/etc/cron.d/y/z")),
            ("/tmp/sd", None),
            ("/tmp/sdx/y", None),
            ("/etc/x", None),
        ] {
            assert_eq!(aliases.moved("c", &path(name)), want.map(path), "{name}");
        }
        assert_eq!(aliases.moved("d", &path("/tmp/a/x")), None);
    }

    #[test]
    fn links_have_two_names() {
        let mut aliases = Aliases::new();
        aliases.note_linked("c", &path("/etc/crontab"), &path("/tmp/c"));
        assert_eq!(aliases.linked("c", &path("/tmp/c")), Some(path("/etc/crontab")));
        assert_eq!(aliases.linked("c", &path("/etc/crontab")), Some(path("/tmp/c")));
        assert_eq!(aliases.linked("c", &path("/tmp/d")), None);
    }

    #[test]
    fn what_is_lost_is_known() {
        let mut aliases = Aliases::new();
        for n in 0..NAMES {
            aliases.note_moved("c", &path(&format!("/{n}")), &path("/x"), false);
            aliases.note_moved("c", &path(&format!("/{n}")), &path("/x"), false);
        }
        assert!(!aliases.has_lost("c"));
        aliases.note_moved("c", &path("/more"), &path("/x"), false);
        assert!(aliases.has_lost("c") && !aliases.has_lost("d"));
        aliases.note_moved("d", &path(&"a".repeat(LONGEST + 1)), &path("/x"), false);
        assert!(aliases.has_lost("d"));
        assert_eq!((aliases.forget("c"), aliases.forget("c")), (1, 0));
    }
}
