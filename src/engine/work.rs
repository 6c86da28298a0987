//! Which work of the image's own a process takes part in when it writes files: a build, or the entry point's start.
//!
//! Every program and script from the process up to the build tool, or to the container's first process, has to be the
//! image's or such work's own product: names alone mean nothing. Looked at when first asked, and remembered with the thread.

use super::{Engine, ThreadReader};
use crate::event::raw::SyscallEvent;
use crate::event::threads::Thread;
use drift_core::container::registry::Container;
use drift_core::verdict::origin::Origin;
use drift_core::verdict::work::{build_tool, is_init, ImageWork};
use std::sync::Arc;

/// Most processes that are looked at, from the writer upwards.
const MAX_ANCESTORS: usize = 32;
/// How long after its start a container's entry point is taken to set it up, nanoseconds.
const START: u64 = 60_000_000_000;

/// What is remembered of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WorkState {
    work: Option<ImageWork>,
    /// It is the container's first process, and one that only looks after the real one: the image's, or the engine's.
    is_init: bool,
}

/// A process on the way from the writer upwards.
struct Step {
    tid: i64,
    /// Its program and script are the image's, or were made by such work.
    is_fine: bool,
    tool: Option<&'static str>,
    /// It runs a script of the image.
    runs_script: bool,
    is_first: bool,
    is_init: bool,
}

impl Step {
    /// The work that it takes part in, by what is above it.
    fn work(&self, above: &WorkState) -> Option<ImageWork> {
        let starts = self.runs_script && (self.is_first || above.is_init);
        match (above.work, self.tool) {
            _ if !self.is_fine => None,
            (Some(ImageWork::Build(outermost)), _) => Some(ImageWork::Build(outermost)),
            (_, Some(tool)) => Some(ImageWork::Build(tool)),
            (work, None) => work.or(starts.then_some(ImageWork::Start)),
        }
    }
}

impl Engine {
    /// The work of the image's own that the event's process takes part in.
    pub fn process_work(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<ImageWork> {
        let state = self.thread(event, reader)?;
        let known = match state.work {
            Some(known) => known,
            None => {
                let container = state.container.clone()?;
                self.find_work(event.tid, &container, reader)
            }
        };
        known.work.filter(|work| match work {
            ImageWork::Build(_) => true,
            ImageWork::Start => self
                .container_started(event, reader)
                .is_some_and(|started| event.ts.saturating_sub(started) < START),
        })
    }

    /// Looks upwards, until somebody is reached of whom it is known, and remembers it of all on the way.
    fn find_work(&mut self, tid: i64, container: &Arc<Container>, reader: ThreadReader<'_>) -> WorkState {
        let (mut at, mut above, mut way) = (tid, WorkState::default(), Vec::new());
        for _ in 0..MAX_ANCESTORS {
            let Some(thread) = self.member(at, container, reader) else { break };
            if let Some(known) = self.threads.peek(&at).and_then(|state| state.work) {
                above = known;
                break;
            }
            let script = self.thread_script(at, &thread, container, reader);
            let binary = self.thread_binary(at, &thread, container, reader);
            let is_first = thread.vtid == 1;
            way.push(Step {
                tid: at,
                is_fine: self.is_vouched_for(&container.id, &binary, script.as_deref(), |w| w.work.is_some()),
                tool: build_tool(&thread.exe_path, script.as_ref().map(|s| s.path.as_slice())),
                runs_script: script.as_ref().is_some_and(|s| s.judgement.origin == Origin::Image),
                is_first,
                is_init: is_first
                    && is_init(&thread.exe_path)
                    && matches!(binary.judgement.origin, Origin::Image | Origin::Runtime),
            });
            if is_first {
                break;
            }
            at = thread.ptid;
        }
        // Nothing is known of a thread that the engine does not have: that is remembered, too.
        if let Some(state) = self.threads.peek_mut(&tid).filter(|_| way.is_empty()) {
            state.work = Some(above);
        }
        for step in way.iter().rev() {
            above = WorkState { work: step.work(&above), is_init: step.is_init };
            if let Some(state) = self.threads.peek_mut(&step.tid) {
                state.work = Some(above);
            }
        }
        above
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each process from the first downwards: whether it is fine, its tool, whether it runs a script of the image.
    fn work(first_is_init: bool, chain: &[(bool, Option<&'static str>, bool)]) -> Option<ImageWork> {
        let mut above = WorkState::default();
        for (at, (is_fine, tool, runs_script)) in chain.iter().copied().enumerate() {
            let (is_first, is_init) = (at == 0, at == 0 && first_is_init);
            let step = Step { tid: 0, is_fine, tool, runs_script, is_first, is_init };
            above = WorkState { work: step.work(&above), is_init };
        }
        above.work
    }

    #[test]
    fn all_that_is_above_counts() {
        let (make, ld, cp) = ((true, Some("make"), false), (true, Some("ld"), false), (true, None, false));
        let (script, dropped) = ((true, None, true), (false, None, false));
        let build = |tool| Some(ImageWork::Build(tool));
        assert_eq!(work(false, &[cp, make, cp, ld]), build("make"), "the outermost tool");
        assert_eq!(work(false, &[make, dropped, cp]), None, "what was dropped ends it");
        assert_eq!(work(false, &[make, dropped, ld]), build("ld"));
        assert_eq!(work(false, &[dropped, make, cp]), build("make"), "who started it does not matter");
        assert_eq!(work(false, &[(false, Some("make"), false), cp]), None, "a name alone is nothing");
        assert_eq!(work(false, &[script, cp]), Some(ImageWork::Start));
        assert_eq!(work(false, &[script, make, cp]), build("make"));
        assert_eq!(work(false, &[script, dropped, cp]), None);
        assert_eq!(work(false, &[cp, script, cp]), None, "not the first process's script");
        assert_eq!(work(true, &[dropped, script, cp]), Some(ImageWork::Start), "below an engine's init");
        assert_eq!(work(true, &[dropped, cp, script]), None);
    }
}
