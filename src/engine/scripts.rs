//! Scripts that a process runs without an exec of its own.

use super::{Engine, ThreadReader};
use crate::event::raw::SyscallEvent;
use drift_core::command::interpreter::runs_unknown_formats;
use drift_core::verdict::script::Runner;
use std::sync::Arc;

impl Engine {
    /// A file without a shebang, which execve(2) has refused: bash and ksh93 run it in the process that they have made for it.
    /// (dash, busybox, zsh and `execvp` start another shell on it, whose exec names it.)
    pub(super) fn observe_refused(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
        name: &[u8],
    ) -> Option<()> {
        let thread = reader.get(event.tid)?;
        let container = self.thread(event, reader)?.container.clone()?;
        if !runs_unknown_formats(&thread.exe_path) {
            return None;
        }
        let runner = Runner { pid: thread.pid, cwd: &thread.cwd };
        let script = self.judge.unknown_format(&container, &runner, name);
        let state = self.thread(event, reader)?;
        state.script = Some(Some(Arc::new(script)));
        state.script_run = None;
        state.work = None;
        state.writer = None;
        Some(())
    }
}
