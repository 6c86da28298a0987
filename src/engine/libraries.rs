//! Libraries that processes load: the opens and mappings worth a look, handed to the background.
//!
//! Invariant: an open that was looked at a moment ago costs a look-up in memory.

use super::{Engine, ThreadReader};
use crate::event::library::LibraryCall;
use crate::event::raw::SyscallEvent;
use crate::facts::LibraryJob;
use drift_core::verdict::origin::Origin;

/// Most files remembered as looked at, by container, program and file.
pub(super) const MAX_SEEN: usize = 16_384;

impl Engine {
    /// Has the background find out whether the event's call loads a library that is not the image's. `true` if the call
    /// is such that it may.
    pub fn watch_library(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> bool {
        if self.background.is_none() {
            return false;
        }
        let Some(call) = LibraryCall::from_event(event) else { return false };
        if call.mapped != self.config.confirm_mmap {
            return false;
        }
        let Some(container) = self.container(event, reader).filter(|c| c.live.is_some()) else {
            return false;
        };
        let Some(binary) = self.binary(event, reader) else { return false };
        if binary.judgement.origin == Origin::Runtime {
            return false;
        }
        let interval = u64::try_from(self.config.file_interval.as_nanos()).unwrap_or(u64::MAX);
        // A file written to since is another one: its writer was noted later than it was looked at.
        let written = self.written.of(&container.id, call.inode).cloned();
        let written_at = written.as_ref().map_or(0, |w| w.at);
        if call.inode != 0 {
            let what = (&*binary.path, call.inode, written_at);
            if !self.libraries.is_new(binary.key.container(), what, event.ts, interval) {
                return true;
            }
        }
        let Some(path) = self.named_path(reader, &container, event.tid, call.file) else { return false };
        if call.inode == 0 {
            let what = (&*binary.path, path.as_bytes());
            if !self.libraries.is_new(binary.key.container(), what, event.ts, interval) {
                return true;
            }
        }
        let live = container.live.as_ref();
        let pseudo = live.is_some_and(|live| super::files::is_pseudo(live, path.as_bytes()));
        let through_proc = path.is_within(b"/proc/self/fd") || path.is_within(b"/dev/fd");
        if pseudo && !through_proc {
            return false;
        }
        let pid = reader.get(event.tid).map_or(event.tid, |thread| thread.pid);
        let command = self.command(event, reader);
        let Some(background) = &self.background else { return false };
        background.library(LibraryJob {
            container,
            path,
            pid,
            tid: event.tid,
            fd: call.fd,
            mapped: call.mapped,
            command,
            binary_origin: Some(binary.judgement.origin),
            written,
        });
        true
    }
}
