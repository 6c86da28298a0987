//! Who wrote a file: remembered by its inode, so that it holds across renames and hard links.
//!
//! A file is anybody's who opened it for writing last. Known only for what was written while a rule asked
//! about changes of files ([`Writers::note`]). Invariant: bounded, what was written longest ago is forgotten
//! first.

use super::cache::ContainerCache;
use crate::facts::{Provenance, Written};
use drift_core::verdict::judge::Judgement;
use drift_core::verdict::origin::Origin;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Most files whose writers are remembered.
const MAX_WRITTEN: usize = 16_384;
/// Most paths that they were written at are remembered: of files that are gone when they are asked about.
const MAX_PATHS: usize = 1024;

/// Writers of files, by a keyed hash of the container and the inode number on its root file system.
#[derive(Debug)]
pub(super) struct Writers {
    key: RandomState,
    /// The container that was written in last, and its hash: it is mostly the next one, too.
    last: (Box<str>, u64),
    files: ContainerCache<(u64, u64), Written>,
    /// Inode numbers by a keyed hash of the container and one of the path.
    paths: ContainerCache<(u64, u64), u64>,
}

impl Writers {
    pub(super) fn new(parts: usize) -> Self {
        Self {
            key: RandomState::new(),
            last: Default::default(),
            files: ContainerCache::new(MAX_WRITTEN, parts),
            paths: ContainerCache::new(MAX_PATHS, parts),
        }
    }

    fn hash(&self, container: &str) -> u64 {
        match &self.last {
            (last, hash) if **last == *container && *hash != 0 => *hash,
            _ => self.key.hash_one(container),
        }
    }

    /// Notes the process that opened a file for writing.
    pub(super) fn note(&mut self, container: &str, inode: u64, written: Written) {
        let hash = self.hash(container);
        if hash != self.last.1 {
            self.last = (container.into(), hash);
        }
        self.files.put((hash, inode), written);
    }

    /// Notes whether the package databases account for a file as it was at a time; not for what was written
    /// since.
    pub(super) fn note_proof(&mut self, container: &str, inode: u64, proved: bool, looked_at: u64) {
        let hash = self.hash(container);
        if let Some(written) = self.files.get_mut(&(hash, inode)).filter(|written| written.at <= looked_at) {
            written.proved = proved && written.during.is_some();
        }
    }

    /// Forgets a container, up to `most` files of it; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        let hash = self.key.hash_one(container);
        self.files.forget(hash, most) + self.paths.forget(hash, most)
    }

    /// See [`ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.files.bytes_when_full() + self.paths.bytes_when_full()
    }

    /// Who wrote a file; `None` where nobody was seen to.
    pub(super) fn of(&self, container: &str, inode: u64) -> Option<&Written> {
        // A look does not make it younger: what counts is when it was written.
        self.files.peek(&(self.hash(container), inode))
    }

    /// Notes the path at which a file was written; `None`: another file is there now, or none.
    pub(super) fn note_path(&mut self, container: &str, path: &[u8], inode: Option<u64>) {
        let key = (self.hash(container), self.key.hash_one(path));
        match inode {
            Some(inode) => self.paths.put(key, inode),
            None if self.paths.peek(&key).is_some() => self.paths.put(key, 0),
            None => {}
        }
    }

    /// The inode number of the file that was written last at a path; 0 where that is not known. For a file
    /// that is gone by now.
    pub(super) fn inode_at(&self, container: &str, path: &[u8]) -> u64 {
        self.paths.peek(&(self.hash(container), self.key.hash_one(path))).copied().unwrap_or(0)
    }

    /// Where a judged file comes from, and who wrote it last.
    pub(super) fn provenance(
        &self,
        container: &str,
        judgement: &Judgement,
        inode: u64,
    ) -> (Provenance, Option<&Written>) {
        match judgement.origin {
            Origin::Image | Origin::ImageTouched => (Provenance::Image, None),
            Origin::Volume | Origin::ImageVolume | Origin::Tmpfs => (Provenance::Volume, None),
            Origin::Memfd | Origin::Detached => (Provenance::Memory, None),
            Origin::Added | Origin::AddedOrModified | Origin::ImageModified | Origin::ImageUnverified => {
                let written = self.of(container, inode).filter(|_| inode != 0);
                (written.map_or(Provenance::Unknown, Written::provenance), written)
            }
            Origin::Runtime | Origin::Host | Origin::Unknown => (Provenance::Unknown, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::During;

    #[test]
    fn writers_are_kept_apart_by_container_and_inode() {
        let mut files = Writers::new(1);
        let by = |command: &str| Written {
            command: command.into(),
            during: None,
            proved: false,
            work: None,
            entry_shell: None,
            at: 0,
        };
        files.note("a", 7, by("curl"));
        files.note("a", 8, by("sh"));
        files.note("a", 7, by("wget"));
        let of = |container, inode| files.of(container, inode).map(|w| w.command.to_string());
        assert_eq!(of("a", 7).as_deref(), Some("wget"), "the last one counts");
        assert_eq!(of("a", 8).as_deref(), Some("sh"));
        assert_eq!(of("b", 7), None);
        // A proof is of the file as it was looked at, and only where a package manager was at work.
        let during = Some(During { manager: drift_core::command::manager::Manager::Apt, leader: 1 });
        let installed = || Written { during, at: 100, ..by("dpkg") };
        for (written, proved, looked_at, want) in [
            (installed(), true, 100, true),
            (installed(), true, 99, false),
            (installed(), false, 100, false),
            (by("curl"), true, 100, false),
        ] {
            files.note("a", 9, written);
            files.note_proof("a", 9, proved, looked_at);
            assert_eq!(files.of("a", 9).unwrap().proved, want);
        }
        files.note_path("a", b"/srv/x", Some(7));
        assert_eq!((files.inode_at("a", b"/srv/x"), files.inode_at("b", b"/srv/x")), (7, 0));
        files.note_path("a", b"/srv/x", None);
        assert_eq!(files.inode_at("a", b"/srv/x"), 0, "another file was moved there");
        assert_eq!(files.forget("a", 9), 4);
        assert!(files.of("a", 7).is_none() && files.of("a", 8).is_none());
    }
}
