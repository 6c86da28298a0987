//! Who wrote a file: remembered by its inode, so that it holds across renames and hard links.
//!
//! A file is anybody's who opened it for writing last. Known only for what was written while a rule asked about changes
//! of files ([`Engine::note_written`]). Invariant: bounded, what was written longest ago is forgotten first.

use super::cache::ContainerCache;
use super::files::EventFile;
use super::{Engine, ThreadReader};
use crate::event::raw::SyscallEvent;
use crate::facts::{During, Provenance, Writer, Written};
use drift_core::verdict::judge::Judgement;
use drift_core::verdict::origin::Origin;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Most files whose writers are remembered.
const MAX_WRITTEN: usize = 32_768;

/// Writers of files, by a keyed hash of the container and the inode number on its root file system.
#[derive(Debug)]
pub(super) struct WrittenFiles {
    key: RandomState,
    /// The container that was written in last, and its hash: it is mostly the next one, too.
    last: (Box<str>, u64),
    files: ContainerCache<(u64, u64), Written>,
}

impl WrittenFiles {
    pub(super) fn new() -> Self {
        Self { key: RandomState::new(), last: Default::default(), files: ContainerCache::new(MAX_WRITTEN) }
    }

    fn hash(&self, container: &str) -> u64 {
        match &self.last {
            (last, hash) if **last == *container && *hash != 0 => *hash,
            _ => self.key.hash_one(container),
        }
    }

    fn note(&mut self, container: &str, inode: u64, written: Written) {
        let hash = self.hash(container);
        if hash != self.last.1 {
            self.last = (container.into(), hash);
        }
        self.files.put((hash, inode), written);
    }

    /// Notes whether the package databases account for a file as it was at a time; not for what was written since.
    pub(super) fn note_proof(&mut self, container: &str, inode: u64, proved: bool, looked_at: u64) {
        let hash = self.hash(container);
        if let Some(written) = self.files.get_mut(&(hash, inode)).filter(|written| written.at <= looked_at) {
            written.proved = proved && written.during.is_some();
        }
    }

    /// Forgets a container, up to `most` files of it; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.files.forget(self.key.hash_one(container), most)
    }

    /// See [`ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.files.bytes_when_full()
    }

    /// Who wrote a file; `None` where nobody was seen to.
    pub(super) fn of(&self, container: &str, inode: u64) -> Option<&Written> {
        // A look does not make it younger: what counts is when it was written.
        self.files.peek(&(self.hash(container), inode))
    }
}

impl Engine {
    /// Remembers the writer of the file that the event's call opened for writing, if it did.
    pub(super) fn note_written(&mut self, event: &SyscallEvent<'_>, file: &EventFile, writer: &Writer) {
        let Some(inode) = file.inode else { return };
        let Writer { during, work, .. } = *writer;
        let command = Arc::clone(&writer.command);
        let written = Written { command, during, proved: false, work, at: event.ts };
        self.written.note(&file.container.id, inode, written);
    }

    /// The package manager's transaction that the event's process takes part in, where what it runs is the image's, or was
    /// written in such a transaction.
    pub(super) fn during(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<During> {
        let work = self.package_work(event, reader).filter(|work| work.changes())?;
        if !self.is_trusted(event, reader) {
            return None;
        }
        // Who takes a package manager's name, and has a program of the image write, is none.
        let container = self.container(event, reader)?;
        if work.leader != event.tid && !self.is_trusted_thread(work.leader, &container, reader) {
            return None;
        }
        // apt's dpkg installs what apt was asked for.
        let outermost = self.leaders_work(work.leader).map(|leader| leader.invocation.manager);
        Some(During { manager: outermost.unwrap_or(work.invocation.manager), leader: work.leader })
    }

    /// Where the executable of the event's process comes from, and who wrote it last; `None` on the host.
    pub fn binary_provenance(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<(Provenance, Option<&Written>)> {
        let container = self.container(event, reader)?;
        let binary = self.binary(event, reader)?;
        Some(self.provenance(&container.id, &binary.judgement, binary.inode.ino))
    }

    /// As [`Engine::binary_provenance`], of the script that the process was started on.
    pub fn script_provenance(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<(Provenance, Option<&Written>)> {
        let container = self.container(event, reader)?;
        let script = self.script(event, reader)?;
        Some(self.provenance(&container.id, &script.judgement, script.ino))
    }

    /// Where a judged file comes from, and who wrote it last.
    pub fn provenance(
        &self,
        container: &str,
        judgement: &Judgement,
        inode: u64,
    ) -> (Provenance, Option<&Written>) {
        match judgement.origin {
            Origin::Image | Origin::ImageTouched => (Provenance::Image, None),
            Origin::Volume | Origin::ImageVolume | Origin::Tmpfs => (Provenance::Volume, None),
            Origin::Memfd => (Provenance::Memory, None),
            Origin::Added | Origin::ImageModified | Origin::ImageUnverified => {
                let written = self.written.of(container, inode).filter(|_| inode != 0);
                (written.map_or(Provenance::Unknown, Written::provenance), written)
            }
            Origin::Runtime | Origin::Host | Origin::Unknown => (Provenance::Unknown, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_are_kept_apart_by_container_and_inode() {
        let mut files = WrittenFiles::new();
        let by = |command: &str| Written {
            command: command.into(),
            during: None,
            proved: false,
            work: None,
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
        assert_eq!(files.forget("a", 9), 3);
        assert!(files.of("a", 7).is_none() && files.of("a", 8).is_none());
    }
}
