//! Where the content of a drifted program or script comes from all the same: the image, or the deployment.
//!
//! Asked only of what drifted. Bounded on the event thread: files up to `compare.inline_max`, and the few of
//! the image that have the same size. An answer is cached for the very state of the file.

use super::cache::ContainerCache;
use super::context::Context;
use super::provenance::Writers;
use super::threads::Threads;
use crate::ledger::Ledger;
use drift_core::container::volume::VolumeKind;
use drift_core::content::{named_source, source_of, Explained, Reader};
use drift_core::host::{ExeFlags, RootDir};
use drift_core::verdict::binary::BinaryKey;
use drift_core::verdict::judge::Judgement;
use drift_core::verdict::origin::Origin;
use std::sync::Arc;

/// Most files of the image that one file is compared with on the event thread.
const CANDIDATES: u32 = 8;
/// Most answers cached.
const MAX_CACHED: usize = 2048;

/// Answers by the very state of a file.
#[derive(Debug)]
pub(super) struct Contents {
    /// Since when containers are watched, nanoseconds since the epoch.
    since: u64,
    cached: ContainerCache<BinaryKey, Option<Arc<Explained>>>,
}

impl Contents {
    pub(super) fn new() -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().map_or(u64::MAX, |now| now.as_nanos() as u64);
        Self { since, cached: ContainerCache::new(MAX_CACHED) }
    }

    /// Forgets up to `most` entries of a container; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.cached.forget(BinaryKey::container_key(container), most)
    }

    /// Where the content of a drifted program or script of the event's process comes from.
    pub(super) fn of(
        &mut self,
        cx: &Context<'_>,
        threads: &mut Threads,
        judgement: &Judgement,
        writers: &Writers,
    ) -> Option<Arc<Explained>> {
        let state = threads.of_event(cx)?;
        let (container, pid) = (state.container.clone()?, state.pid);
        let on_root = matches!(judgement.origin, Origin::Added | Origin::ImageModified);
        let on_volume = matches!(judgement.origin, Origin::Volume | Origin::Tmpfs);
        if !on_root && !on_volume {
            return None;
        }
        let (live, path) = (container.live.as_ref()?, judgement.path.as_ref()?);
        if on_volume && Reader::is_declared(cx.host(), live, path) {
            return Some(Arc::new(Explained { kind: "declared", of: None }));
        }
        // Of other volumes nothing is looked at here: they may be somebody else's servers.
        if on_volume && !matches!(judgement.volume, Some(VolumeKind::EmptyDir | VolumeKind::Tmpfs)) {
            return None;
        }
        // Of a container that has just ended the writable layer is left.
        let upper = || RootDir::open(live.upper.as_deref().filter(|_| on_root)?).ok();
        let root = live.root(cx.host(), &[pid]).or_else(upper)?;
        let found = root.find_itself(path.as_bytes()).ok()?;
        let max = cx.deps.config.inline_max;
        // Privileges are never explained by content.
        if (on_root && found.size > max) || found.mode & 0o6000 != 0 {
            return None;
        }
        let key = BinaryKey::new(&container.id, path.as_bytes(), found.inode, ExeFlags::default());
        if let Some(known) = self.cached.get(&key) {
            return known.clone();
        }
        let image = container.image.as_ref().ok()?;
        // A few candidates of the same size, no more: what is not found by then alerts.
        let mut left = CANDIDATES;
        let mut keep_going = || {
            left = left.saturating_sub(1);
            left > 0
        };
        let explained = match on_volume {
            true => {
                let since = self.since;
                let reader = Reader { host: cx.host(), container: &container, root: &root, since, max };
                reader.explain(path, threads.containers.registry.all(), &mut keep_going)
            }
            false => source_of(image, &root, path, &found, max, &mut keep_going)
                .or_else(|| {
                    let command = &writers.of(&container.id, found.inode.ino)?.command;
                    named_source(image, command.as_bytes(), path, &found)
                })
                .map(|source| Explained::of(source, path)),
        };
        let explained = explained.map(Arc::new);
        if on_volume && explained.is_some() {
            Ledger::shared().note_on_volume(&container.id, path.as_bytes(), found.inode.ctime);
        }
        // Before the layers' files are listed nothing is known of the content: asked again then.
        if explained.is_some() || image.layers().iter().all(|layer| layer.catalog().is_some()) {
            self.cached.put(key, explained.clone());
        }
        explained
    }

    /// See [`ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.cached.bytes_when_full()
    }
}
