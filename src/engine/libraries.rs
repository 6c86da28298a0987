//! Libraries that processes load: the opens and mappings worth a look, handed to the workers.
//!
//! Invariant: an open that was looked at a moment ago costs a look-up in memory.

use super::context::Context;
use super::paths;
use super::processes::Processes;
use super::recent::RecentlySeen;
use crate::event::library::LibraryCall;
use crate::facts::LibraryJob;
use drift_core::verdict::origin::Origin;

/// Most files remembered as looked at, by container, program and file.
const MAX_SEEN: usize = 8192;

/// Libraries looked at recently.
#[derive(Debug)]
pub(super) struct Libraries(RecentlySeen);

impl Libraries {
    pub(super) fn new(parts: usize) -> Self {
        Self(RecentlySeen::new(MAX_SEEN, parts))
    }

    /// Forgets up to `most` entries of a container; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.0.forget(container, most)
    }

    /// See [`super::cache::ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.0.bytes_when_full()
    }

    /// Has a worker find out whether the event's call loads a library that is not the image's. `true` if the
    /// call is such that it may.
    pub(super) fn watch(&mut self, cx: &Context<'_>, p: &mut Processes) -> bool {
        let Some(workers) = cx.workers() else { return false };
        let Some(call) = LibraryCall::from_event(cx.event) else { return false };
        if call.mapped != cx.deps.config.confirm_mmap {
            return false;
        }
        let Some(container) = p.threads.container(cx).filter(|c| c.live.is_some()) else {
            return false;
        };
        let Some(binary) = p.binary(cx) else { return false };
        if binary.judgement.origin == Origin::Runtime {
            return false;
        }
        let interval = u64::try_from(cx.deps.config.file_interval.as_nanos()).unwrap_or(u64::MAX);
        // A file written to since is another one: its writer was noted later than it was looked at.
        let written = p.writers.of(&container.id, call.inode).cloned();
        let written_at = written.as_ref().map_or(0, |w| w.at);
        if call.inode != 0 {
            let what = (&*binary.path, call.inode, written_at);
            if !self.0.is_new(binary.key.container(), what, cx.event.ts, interval) {
                return true;
            }
        }
        let Some(place) = paths::place(cx, &p.threads) else { return false };
        let Some(path) = paths::named(cx, Some(&container), &place, call.file).path else { return false };
        if call.inode == 0 {
            let what = (&*binary.path, path.as_bytes());
            if !self.0.is_new(binary.key.container(), what, cx.event.ts, interval) {
                return true;
            }
        }
        let live = container.live.as_ref();
        let pseudo = live.is_some_and(|live| super::files::is_pseudo(live, path.as_bytes()));
        let through_proc = path.is_within(b"/proc/self/fd") || path.is_within(b"/dev/fd");
        if pseudo && !through_proc {
            return false;
        }
        let pid = cx.table.get(cx.event.tid).map_or(cx.event.tid, |thread| thread.pid);
        let command = p.threads.command(cx);
        workers.library(LibraryJob {
            container,
            path,
            pid,
            process: p.threads.process(cx),
            tid: cx.event.tid,
            fd: call.fd,
            mapped: call.mapped,
            command,
            binary_origin: Some(binary.judgement.origin),
            written,
        });
        true
    }
}
