//! Which work of the image's own a process takes part in when it writes files: a build, or the entry point's start.
//!
//! Every program and script from the process up to the build tool, or to the container's first process, has to be the
//! image's or such work's own product: names alone mean nothing. Looked at when first asked, and remembered with the thread.

use super::{Resolver, ThreadReader};
use crate::container::registry::Container;
use crate::event::raw::SyscallEvent;
use crate::event::threads::Thread;
use crate::verdict::origin::Origin;
use crate::verdict::work::{build_tool, is_init, ImageWork};
use std::sync::Arc;

/// Most processes that are looked at, from the writer upwards.
const MAX_ANCESTORS: usize = 32;
/// How long after its start a container's entry point is taken to set it up, nanoseconds.
const START: u64 = 60_000_000_000;

impl Resolver {
    /// The work of the image's own that the event's process takes part in.
    pub fn process_work(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<ImageWork> {
        let state = self.thread(event, reader)?;
        let work = match state.work {
            Some(known) => known,
            None => {
                let container = state.container.clone()?;
                let found = self.find_work(event.tid, &container, reader);
                self.thread(event, reader)?.work = Some(found);
                found
            }
        };
        work.filter(|work| match work {
            ImageWork::Build(_) => true,
            ImageWork::Start => self
                .container_started(event, reader)
                .is_some_and(|started| event.ts.saturating_sub(started) < START),
        })
    }

    fn find_work(
        &mut self,
        tid: i64,
        container: &Arc<Container>,
        reader: ThreadReader<'_>,
    ) -> Option<ImageWork> {
        let (mut at, mut tool, mut below_runs_script) = (tid, None, false);
        for _ in 0..MAX_ANCESTORS {
            let Some(thread) = self.member(at, container, reader) else { break };
            let first = thread.vtid == 1;
            let script = self.thread_script(at, &thread, container, reader);
            let runs_script = script.as_ref().is_some_and(|s| s.judgement.origin == Origin::Image);
            // The first process may be the engine's own init, which is not in the image.
            if first && below_runs_script && is_init(&thread.exe_path) {
                return Some(tool.map_or(ImageWork::Start, ImageWork::Build));
            }
            let binary = self.thread_binary(at, &thread, container, reader);
            if !self.is_vouched_for(&container.id, &binary, script.as_deref(), |w| w.work.is_some()) {
                break;
            }
            tool = build_tool(&thread.exe_path, script.as_ref().map(|s| s.path.as_slice())).or(tool);
            if first {
                return tool.map(ImageWork::Build).or(runs_script.then_some(ImageWork::Start));
            }
            (at, below_runs_script) = (thread.ptid, runs_script);
        }
        tool.map(ImageWork::Build)
    }

    /// A thread of the container.
    pub(super) fn member(
        &mut self,
        tid: i64,
        container: &Container,
        reader: ThreadReader<'_>,
    ) -> Option<Thread> {
        if tid <= 0 {
            return None;
        }
        if !self.threads.contains(&tid) {
            let state = self.load_thread(tid, reader)?;
            self.threads.put(tid, state);
        }
        let state = self.threads.get(&tid)?;
        state.container.as_ref().filter(|c| c.id == container.id)?;
        reader.get(tid)
    }
}
