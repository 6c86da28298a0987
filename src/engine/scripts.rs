//! The verdict on the script that a process was started on.

use super::context::Context;
use super::runs::Runs;
use super::threads::Threads;
use crate::event::threads::Thread;
use drift_core::command::interpreter;
use drift_core::container::registry::Container;
use drift_core::host::{ExeFlags, InodeId};
use drift_core::verdict::binary::BinaryKey;
use drift_core::verdict::origin::Origin;
use drift_core::verdict::script::{Runner, Script, Start, Started};
use std::sync::Arc;

/// How often scripts that are not the image's ran. Verdicts are kept with the thread alone.
#[derive(Debug)]
pub(super) struct Scripts {
    runs: Runs,
    /// Further files of code that the thread which was judged last was started on, and that are drift.
    others: (i64, Vec<Script>),
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self { runs: Runs::new(), others: Default::default() }
    }

    /// Forgets up to `most` entries of a container; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.runs.forget(container, most)
    }

    /// The script that the event's process was started on; `None` when it runs none, or on the host.
    pub(super) fn of_event(&mut self, cx: &Context<'_>, threads: &mut Threads) -> Option<Arc<Script>> {
        let state = threads.of_event(cx)?;
        if let Some(script) = &state.script {
            return script.clone();
        }
        let container = state.container.clone()?;
        let exec = cx.exec();
        let started = match &exec {
            Some(exec) => {
                let thread = cx.table.get(cx.event.tid);
                let of_table = thread.as_ref().map_or(&b""[..], |t| &t.cwd);
                let cwd = if exec.cwd.is_empty() { of_table } else { exec.cwd };
                judge(cx, Runner { pid: exec.pid, cwd }, &exec.start(), &container)
            }
            None => judge_thread(cx, (cx.event.tid, &cx.table.get(cx.event.tid)?), &container),
        };
        let Started { script, others, pipe, is_cut, .. } = started;
        if let Some(script) = &script {
            let path = String::from_utf8_lossy(&script.path);
            log::debug!("script {:?}: {:?}", (&*container.id, path), script.judgement);
        }
        if let Some(script) = script.as_ref().filter(|s| s.judgement.origin == Origin::Unknown) {
            cx.deps.metrics.count_unknown(script.judgement.why);
        }
        let script = script.map(Arc::new);
        let state = threads.of_event(cx)?;
        if let Some(script) = script.as_ref().filter(|_| exec.is_some() && state.script_run.is_none()) {
            state.script_run = self.runs.count(run_key(&container, script), script.judgement.origin);
        }
        state.script = Some(script.clone());
        (state.pipe, state.is_cut) = (pipe, is_cut);
        self.others = (cx.event.tid, others);
        script
    }

    /// Further files of code that the event's process was started on and that are drift, once.
    pub(super) fn take_others(&mut self, cx: &Context<'_>) -> Vec<Script> {
        let (tid, others) = std::mem::take(&mut self.others);
        if tid == cx.event.tid {
            others
        } else {
            Vec::new()
        }
    }

    /// Of several files of code that the event's process was started on, this one is what is reported.
    pub(super) fn choose(&mut self, cx: &Context<'_>, threads: &mut Threads, script: Script) -> Option<()> {
        let state = threads.of_event(cx)?;
        let container = state.container.clone()?;
        if state.script_run.is_some() {
            state.script_run = self.runs.count(run_key(&container, &script), script.judgement.origin);
        }
        state.script = Some(Some(Arc::new(script)));
        Some(())
    }

    /// As [`Scripts::of_event`], of any thread of a container.
    pub(super) fn of_thread(
        &self,
        cx: &Context<'_>,
        (tid, thread): (i64, &Thread),
        container: &Container,
        threads: &mut Threads,
    ) -> Option<Arc<Script>> {
        if let Some(known) = threads.peek(tid).and_then(|state| state.script.clone()) {
            return known;
        }
        let Started { script, pipe, is_cut, .. } = judge_thread(cx, (tid, thread), container);
        let script = script.map(Arc::new);
        if let Some(state) = threads.peek_mut(tid) {
            state.script = Some(script.clone());
            (state.pipe, state.is_cut) = (pipe, is_cut);
        }
        script
    }

    /// See [`super::cache::ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.runs.bytes_when_full()
    }
}

/// A file without a shebang, which execve(2) has refused: bash and ksh93 run it in the process that they have
/// made for it. (dash, busybox, zsh and `execvp` start another shell on it, whose exec names it.)
pub(super) fn note_refused(cx: &Context<'_>, name: &[u8], threads: &mut Threads) -> Option<()> {
    let thread = cx.table.get(cx.event.tid)?;
    let state = threads.of_event(cx)?;
    let container = state.container.clone()?;
    if interpreter::runs_unknown_formats(&thread.exe_path) {
        let runner = Runner { pid: thread.pid, cwd: &thread.cwd };
        let script = cx.deps.judge.unknown_format(&container, &runner, name);
        state.script = Some(Some(Arc::new(script)));
        state.script_run = None;
        state.work = None;
        state.writer = None;
    }
    Some(())
}

fn run_key(container: &Container, script: &Script) -> BinaryKey {
    let inode = InodeId { ino: script.ino, ..InodeId::default() };
    BinaryKey::new(&container.id, &script.path, inode, ExeFlags::default())
}

fn judge(cx: &Context<'_>, runner: Runner<'_>, start: &Start<'_>, container: &Container) -> Started {
    let (judge, pid, cwd) = (&cx.deps.judge, runner.pid, runner.cwd);
    let mut started = judge.script_of(container, runner, start);
    let is_drift = started.script.as_ref().is_some_and(Script::is_drift);
    if let Some(fd) = started.unseen.filter(|_| !is_drift).map(i64::from) {
        // The process was brief; the engine has followed what its shell gave it.
        let name = cx.table.fd_name(pid, fd).unwrap_or_default();
        started.script = judge.judge_stdin(container, &Runner { pid, cwd }, &name).or(started.script);
        started.pipe = started.pipe.or_else(|| cx.table.pipe(pid, fd));
    }
    started
}

fn judge_thread(cx: &Context<'_>, (tid, thread): (i64, &Thread), container: &Container) -> Started {
    // What it was executed as is not known any more.
    let args = cx.table.args(tid).filter(|_| interpreter::is_interpreter(&thread.exe_path));
    let Some(args) = args else { return Started::default() };
    let argv = std::iter::once(thread.argv0.as_slice()).chain(args.iter().map(Vec::as_slice)).collect();
    let start = Start { exe: &thread.exe_path, argv, ..Start::default() };
    judge(cx, Runner { pid: thread.pid, cwd: &thread.cwd }, &start, container)
}

/// The first argument of the event's process, or file on its standard input, that is not what the image
/// shipped.
pub(super) fn argument(cx: &Context<'_>, threads: &mut Threads) -> Option<Arc<Script>> {
    let state = threads.of_event(cx)?;
    if let Some(known) = &state.argument {
        return known.clone();
    }
    let container = state.container.clone()?;
    let exec = cx.exec()?;
    let thread = cx.table.get(cx.event.tid)?;
    let argv: Vec<&[u8]> = exec.argv().collect();
    let runner = Runner { pid: exec.pid, cwd: &thread.cwd };
    let argument = cx.deps.judge.argument_of(&container, runner, &argv).map(Arc::new);
    state.argument = Some(argument.clone());
    argument
}
