//! Where the content of a drifted program or script comes from all the same: the image, or the deployment.
//!
//! Asked only of what drifted. Bounded on the event thread: files up to `compare.inline_max`, and the few of
//! the image that have the same size. An answer is cached for the very state of the file.

use super::cache::ContainerCache;
use super::context::Context;
use super::provenance::Writers;
use super::threads::Threads;
use crate::event::raw::EventKey;
use crate::ledger::Ledger;
use drift_core::container::mounts::Sight;
use drift_core::container::registry::Container;
use drift_core::container::volume::VolumeKind;
use drift_core::content::{named_source, source_of, Explained, Reader};
use drift_core::host::{ExeFlags, RootDir};
use drift_core::image::view::Image;
use drift_core::verdict::binary::BinaryKey;
use drift_core::verdict::judge::Judgement;
use drift_core::verdict::origin::Origin;
use std::sync::Arc;

/// Most files of the image that one file is compared with on the event thread.
const CANDIDATES: u32 = 8;
/// Most answers cached.
const MAX_CACHED: usize = 2048;

/// What a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Program,
    Script,
}

/// What is known of the content of what a process runs; outer `None`: not asked yet, or not known for good.
#[derive(Debug, Clone, Default)]
pub(super) struct OfProcess {
    program: Option<Option<Arc<Explained>>>,
    script: Option<Option<Arc<Explained>>>,
}

impl OfProcess {
    fn of(&self, code: Code) -> Option<&Option<Arc<Explained>>> {
        match code {
            Code::Program => self.program.as_ref(),
            Code::Script => self.script.as_ref(),
        }
    }

    fn of_mut(&mut self, code: Code) -> &mut Option<Option<Arc<Explained>>> {
        match code {
            Code::Program => &mut self.program,
            Code::Script => &mut self.script,
        }
    }
}

/// Answers by the very state of a file.
#[derive(Debug)]
pub(super) struct Contents {
    /// Since when containers are watched, nanoseconds since the epoch.
    since: u64,
    cached: ContainerCache<BinaryKey, Option<Arc<Explained>>>,
    /// What was asked last, of program and script, and cannot be answered yet.
    unsettled: [Option<(EventKey, Code)>; 2],
}

impl Contents {
    pub(super) fn new(parts: usize) -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().map_or(u64::MAX, |now| now.as_nanos() as u64);
        Self { since, cached: ContainerCache::new(MAX_CACHED, parts), unsettled: [None; 2] }
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
        code: Code,
        judgement: &Judgement,
        writers: &Writers,
    ) -> Option<Arc<Explained>> {
        let state = threads.of_event(cx)?;
        if let Some(known) = state.contents.of(code) {
            return known.clone();
        }
        let event = cx.event.identity();
        if self.unsettled.contains(&Some((event, code))) {
            return None;
        }
        let (container, pid) = (state.container.clone()?, state.pid);
        let found = self.find(cx, threads, (&container, pid), judgement, writers);
        // Before the layers' files are listed nothing is known of the content: with a later event it is.
        let is_listed = |image: &Image| image.layers().iter().all(|layer| layer.catalog().is_some());
        if found.is_some() || container.image.as_ref().is_ok_and(is_listed) {
            *threads.of_event(cx)?.contents.of_mut(code) = Some(found.clone());
        } else {
            let [_, before] = self.unsettled;
            self.unsettled = [before, Some((event, code))];
        }
        found
    }

    /// The same of any file of code that the event's process was started on.
    pub(super) fn look(
        &mut self,
        cx: &Context<'_>,
        threads: &mut Threads,
        judgement: &Judgement,
        writers: &Writers,
    ) -> Option<Arc<Explained>> {
        let state = threads.of_event(cx)?;
        let (container, pid) = (state.container.clone()?, state.pid);
        self.find(cx, threads, (&container, pid), judgement, writers)
    }

    fn find(
        &mut self,
        cx: &Context<'_>,
        threads: &Threads,
        (container, pid): (&Container, i64),
        judgement: &Judgement,
        writers: &Writers,
    ) -> Option<Arc<Explained>> {
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
        let found = match on_volume {
            true => match live.find(cx.host(), &container.id, pid, &root, path, false).ok()? {
                Sight::File(found, _) => found,
                Sight::Mount(_) => return None,
            },
            false => root.find_here(path.as_bytes(), false).ok()?,
        };
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
                let reader = Reader { host: cx.host(), container, root: &root, since, max };
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
