//! Which work of the image's own a process takes part in when it writes files: a build, or the entry point's
//! start.
//!
//! Every program and script from the process up to the build tool, or to the container's first process, has
//! to be the image's or such work's own product: names alone mean nothing. Looked at when first asked, and
//! remembered with the thread.

use super::context::Context;
use super::processes::Processes;
use super::role;
use crate::event::exec::ExecFacts;
use drift_core::command::interpreter;
use drift_core::container::registry::Container;
use drift_core::container::volume::VolumeKind;
use drift_core::verdict::origin::Origin;
use drift_core::verdict::script::Script;
use drift_core::verdict::work::{
    build_tool, is_command_string, is_entry_shell, is_init, is_launcher, start_tool, writes_objects,
    ImageWork,
};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Most processes that are looked at, from the writer upwards.
const MAX_ANCESTORS: usize = 32;
/// How long a container can start at most, nanoseconds: an entry point waits for its database.
pub(super) const LONGEST: u64 = 300_000_000_000;
/// A container in which nothing was executed for so long has started, nanoseconds.
const QUIET: u64 = 60_000_000_000;
/// How soon after the container's start the deployment's own command (postStart) comes in from outside,
/// nanoseconds.
const POST_START: u64 = 15_000_000_000;

/// Which containers have started.
///
/// The start ends when the first process becomes something else than a shell, when the container listens on a
/// port, when it is quiet, and in any case after a time. Invariant: bounded.
#[derive(Debug)]
pub(super) struct Starts(LruCache<Box<str>, Start>);

#[derive(Debug, Clone, Copy, Default)]
struct Start {
    is_over: bool,
    last_exec: u64,
    /// When the container's first process was started: a container that is restarted starts again.
    began: u64,
}

impl Starts {
    pub(super) fn new(max: NonZeroUsize) -> Self {
        Self(LruCache::new(max))
    }

    fn of(&mut self, container: &str) -> Option<&mut Start> {
        if !self.0.contains(container) {
            self.0.put(container.into(), Start::default());
        }
        self.0.get_mut(container)
    }

    /// The start of a container is over.
    pub(super) fn end(&mut self, container: &str) {
        if let Some(start) = self.of(container) {
            start.is_over = true;
        }
    }

    /// The container's first process was started at `began`, by the host's word.
    pub(super) fn note_began(&mut self, container: &str, began: u64) {
        if let Some(start) = self.of(container).filter(|start| start.began != began) {
            let is_first_time = start.began == 0;
            *start = Start { began, ..if is_first_time { *start } else { Start::default() } };
        }
    }

    /// A program was executed at `at`.
    pub(super) fn note_exec(&mut self, container: &str, at: u64) {
        if let Some(start) = self.of(container) {
            start.is_over |= start.last_exec != 0 && at.saturating_sub(start.last_exec) > QUIET;
            start.last_exec = start.last_exec.max(at);
        }
    }

    /// Whether the start of a container is over at `now`.
    pub(super) fn is_over(&self, container: &str, now: u64) -> bool {
        self.0.peek(container).is_some_and(|start| {
            start.is_over || (start.last_exec != 0 && now.saturating_sub(start.last_exec) > QUIET)
        })
    }
}

/// What is remembered of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WorkState {
    work: Option<ImageWork>,
    /// It is the container's first process, and one that only looks after the real one: the image's, or the
    /// engine's.
    is_init: bool,
    /// It is the shell that runs the entry point, a script of the image or of the deployment, and not one that
    /// such a shell started.
    is_entry_shell: bool,
}

/// A process on the way from the writer upwards.
#[derive(Debug, Default, Clone, Copy)]
struct Step {
    tid: i64,
    /// Its program and script are the image's, or were made by such work.
    is_fine: bool,
    tool: Option<&'static str>,
    /// What it does as part of a start.
    start: Option<ImageWork>,
    /// A shell that runs a script of the image or of the deployment, or a command line.
    is_entry_shell: bool,
    /// The same, and not on a command line.
    runs_script: bool,
    is_first: bool,
    is_init: bool,
    /// It came in from outside just after the container's start.
    is_post_start: bool,
}

impl Step {
    /// The work that it takes part in, by what is above it.
    fn work(&self, above: &WorkState) -> Option<ImageWork> {
        let starts = self.is_entry_shell && (self.is_first || above.is_init || self.is_post_start);
        match (above.work, self.tool) {
            _ if !self.is_fine => None,
            (Some(ImageWork::Build(outermost)), _) => Some(ImageWork::Build(outermost)),
            (_, Some(tool)) => Some(ImageWork::Build(tool)),
            (Some(ImageWork::Start), None) => self.start.or(Some(ImageWork::Start)),
            (work, None) => work.or(starts.then_some(ImageWork::Start)),
        }
    }

    /// What is remembered of it, by what is above it.
    fn state(&self, above: &WorkState) -> WorkState {
        WorkState {
            work: self.work(above),
            is_init: self.is_init,
            is_entry_shell: self.is_fine && self.runs_script && (self.is_first || above.is_init),
        }
    }
}

/// The work of the image's own that the event's process takes part in.
pub(super) fn of_event(cx: &Context<'_>, p: &mut Processes) -> Option<ImageWork> {
    let state = p.threads.of_event(cx)?;
    let (known, container) = (state.work, state.container.clone()?);
    let age = |p: &mut Processes| Some(cx.event.ts.saturating_sub(p.threads.container_started(cx)?));
    let known = match known {
        Some(known) => known,
        None => {
            let young = age(p).is_some_and(|age| age < POST_START);
            find(cx, cx.event.tid, &container, young, p)
        }
    };
    let work = known.work?;
    let counts = !work.is_start()
        || (!p.starts.is_over(&container.id, cx.event.ts) && age(p).is_some_and(|age| age < LONGEST));
    counts.then_some(work)
}

/// The same of what it writes: of builds only what compilers and linkers write themselves.
pub(super) fn of_writer(cx: &Context<'_>, p: &mut Processes) -> Option<ImageWork> {
    let work = of_event(cx, p)?;
    let writes = |p: &mut Processes| p.binary(cx).is_some_and(|binary| writes_objects(&binary.path, work));
    (work.is_start() || writes(p)).then_some(work)
}

/// Whether the event's process is the shell that runs the entry point itself: what it opens it writes by
/// commands of its own, for any program that it starts is another process.
pub(super) fn is_entry_shell_itself(cx: &Context<'_>, p: &mut Processes) -> bool {
    p.threads.of_event(cx).is_some_and(|state| state.work.is_some_and(|work| work.is_entry_shell))
}

/// Whether the event's process is started by the shell `by`, or is it, and nothing between them is other than
/// the image's or that shell's.
pub(super) fn is_run_by(cx: &Context<'_>, p: &mut Processes, by: i64) -> bool {
    let Some(container) = p.threads.container(cx) else { return false };
    let mut at = cx.event.tid;
    for _ in 0..MAX_ANCESTORS {
        let Some(thread) = p.threads.member(cx, at, &container) else { return false };
        if thread.pid == by {
            return true;
        }
        let (binary, script) = p.of_thread(cx, (at, &thread), &container);
        let declared = script.as_ref().is_some_and(|script| is_declared(&container, script));
        let judged = script.as_deref().filter(|_| !declared);
        if !p.is_vouched_for(&container.id, &binary, judged, |w| w.entry_shell.is_some()) {
            return false;
        }
        at = thread.ptid;
    }
    false
}

/// Follows the start of the container in which a program was just executed.
pub(super) fn note_exec(cx: &Context<'_>, exec: &ExecFacts<'_>, p: &mut Processes) {
    let state = p.threads.peek(exec.pid).and_then(|state| state.container.as_ref());
    let Some(container) = state.map(Arc::clone) else { return };
    let at = cx.event.ts;
    if let Some(began) = container.live.as_ref().and_then(|live| live.started) {
        p.starts.note_began(&container.id, began);
    }
    if p.starts.is_over(&container.id, at) {
        return p.starts.end(&container.id);
    }
    p.starts.note_exec(&container.id, at);
    let argv: Vec<&[u8]> = exec.argv().take(3).collect();
    let goes_on =
        is_entry_shell(exec.exe_path, &argv) || is_init(exec.exe_path) || is_launcher(exec.exe_path);
    // Before the first exec of a program of the container the runtime is its first process.
    let is_first = || {
        let thread = cx.table.get(exec.pid);
        thread.is_some_and(|thread| role::is_first(cx, &p.threads, &container, &thread))
    };
    if !goes_on && !interpreter::names_a_runtime(exec.exe_path, &argv) && is_first() {
        p.starts.end(&container.id);
    }
}

/// Looks upwards, until somebody is reached of whom it is known, and remembers it of all on the way. `young`:
/// the container has just started.
fn find(cx: &Context<'_>, tid: i64, container: &Arc<Container>, young: bool, p: &mut Processes) -> WorkState {
    let (mut at, mut above, mut way) = (tid, WorkState::default(), Vec::<Step>::new());
    for _ in 0..MAX_ANCESTORS {
        let Some(thread) = p.threads.member(cx, at, container) else {
            if let Some(top) = way.last_mut() {
                top.is_post_start = young;
            }
            break;
        };
        if let Some(known) = p.threads.peek(at).and_then(|state| state.work) {
            above = known;
            break;
        }
        let (binary, script) = p.of_thread(cx, (at, &thread), container);
        let args = cx.table.args(at).unwrap_or_default();
        let argv: Vec<&[u8]> =
            std::iter::once(thread.argv0.as_slice()).chain(args.iter().map(Vec::as_slice)).collect();
        let is_first = role::is_first(cx, &p.threads, container, &thread);
        let declared = script.as_ref().is_some_and(|script| is_declared(container, script));
        let judged = script.as_deref().filter(|_| !declared);
        let script_path = script.as_ref().map(|s| s.path.as_slice());
        let of_image = script.as_ref().is_some_and(|s| s.judgement.origin == Origin::Image);
        let is_shell = is_entry_shell(&thread.exe_path, &argv);
        way.push(Step {
            tid: at,
            is_fine: p.is_vouched_for(&container.id, &binary, judged, |w| w.work.is_some()),
            tool: build_tool(&thread.exe_path, script_path, argv.get(1..).unwrap_or_default()),
            start: start_tool(&thread.exe_path, script_path),
            is_entry_shell: is_shell && (of_image || declared || is_command_string(&argv)),
            runs_script: is_shell && (of_image || declared) && !is_command_string(&argv),
            is_first,
            is_init: is_first
                && is_init(&thread.exe_path)
                && matches!(binary.judgement.origin, Origin::Image | Origin::Runtime),
            is_post_start: false,
        });
        if is_first {
            break;
        }
        at = thread.ptid;
    }
    // Nothing is known of a thread that the engine does not have: that is remembered, too.
    if let Some(state) = p.threads.peek_mut(tid).filter(|_| way.is_empty()) {
        state.work = Some(above);
    }
    for step in way.iter().rev() {
        above = step.state(&above);
        if let Some(state) = p.threads.peek_mut(step.tid) {
            state.work = Some(above);
        }
    }
    above
}

/// Whether a script is part of the deployment: on a read-only configMap, secret or projected volume.
pub(super) fn is_declared(container: &Container, script: &Script) -> bool {
    let kind = script.judgement.volume;
    let of_deployment = kind.is_some_and(|kind| {
        matches!(kind, VolumeKind::ConfigMap | VolumeKind::Secret | VolumeKind::Projected | VolumeKind::Image)
    });
    of_deployment
        && container.live.as_ref().is_some_and(|live| {
            live.mounts().covering(&script.path).is_some_and(|mount| mount.read_only || mount.super_read_only)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CP: Step = step(true, None);
    const SCRIPT: Step = Step { is_entry_shell: true, ..CP };
    const DROPPED: Step = step(false, None);
    const MAKE: Step = step(true, Some("make"));
    const LD: Step = step(true, Some("ld"));
    const USERADD: Step = Step { start: Some(ImageWork::Accounts), ..CP };

    const fn step(is_fine: bool, tool: Option<&'static str>) -> Step {
        Step {
            tid: 0,
            is_fine,
            tool,
            start: None,
            is_entry_shell: false,
            runs_script: false,
            is_first: false,
            is_init: false,
            is_post_start: false,
        }
    }

    /// Of a chain of processes from the first downwards.
    fn work(first_is_init: bool, chain: &[Step]) -> Option<ImageWork> {
        let mut above = WorkState::default();
        for (at, step) in chain.iter().enumerate() {
            let is_init = at == 0 && first_is_init;
            let step = Step { is_first: at == 0, is_init, ..*step };
            above = step.state(&above);
        }
        above.work
    }

    #[test]
    fn all_that_is_above_counts() {
        let build = |tool| Some(ImageWork::Build(tool));
        let start = Some(ImageWork::Start);
        assert_eq!(work(false, &[CP, MAKE, CP, LD]), build("make"), "the outermost tool");
        assert_eq!(work(false, &[MAKE, DROPPED, CP]), None, "what was dropped ends it");
        assert_eq!(work(false, &[MAKE, DROPPED, LD]), build("ld"));
        assert_eq!(work(false, &[DROPPED, MAKE, CP]), build("make"), "who started it does not matter");
        assert_eq!(work(false, &[step(false, Some("make")), CP]), None, "a name alone is nothing");
        assert_eq!(work(false, &[SCRIPT, CP]), start);
        assert_eq!(work(false, &[SCRIPT, MAKE, CP]), build("make"));
        assert_eq!(work(false, &[SCRIPT, DROPPED, CP]), None);
        assert_eq!(work(false, &[CP, SCRIPT, CP]), None, "the first process is an application, no shell");
        assert_eq!(work(true, &[DROPPED, SCRIPT, CP]), start, "below an engine's init");
        assert_eq!(work(true, &[DROPPED, CP, SCRIPT]), None);
        assert_eq!(work(false, &[SCRIPT, USERADD]), Some(ImageWork::Accounts));
        assert_eq!(work(false, &[CP, USERADD]), None);
        let post_start = Step { is_post_start: true, ..SCRIPT };
        let below = |top: Step| CP.work(&top.state(&WorkState::default()));
        assert_eq!((below(post_start), below(SCRIPT)), (start, None));
        let of_script = Step { runs_script: true, ..SCRIPT };
        let first = |step: Step| Step { is_first: true, ..step }.state(&WorkState::default()).is_entry_shell;
        assert!(first(of_script) && !first(SCRIPT), "a command line is not the image's");
        assert!(!of_script.state(&WorkState::default()).is_entry_shell, "it came in from outside");
        assert!(!first(Step { is_fine: false, ..of_script }));
    }

    #[test]
    fn a_start_ends() {
        let mut starts = Starts::new(NonZeroUsize::MIN);
        let over = |starts: &Starts, now| starts.is_over("c", now);
        starts.note_exec("c", 1);
        assert!(!over(&starts, QUIET), "it waits, and looks again and again");
        starts.note_exec("c", QUIET);
        assert!(!over(&starts, 2 * QUIET) && over(&starts, 2 * QUIET + 1), "it was quiet");
        starts.note_exec("c", 3 * QUIET);
        assert!(over(&starts, 3 * QUIET), "that does not begin again");
        let mut starts = Starts::new(NonZeroUsize::MIN);
        starts.end("c");
        assert!(over(&starts, 0), "it listens, or runs the application");
        starts.note_began("c", 7);
        assert!(over(&starts, 0), "the same start, known by now");
        starts.note_began("c", 9);
        assert!(!over(&starts, 0), "it was restarted");
        assert!(!starts.is_over("d", 0));
    }
}
