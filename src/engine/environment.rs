//! The environment of a program against the declared one, as it was started.
//!
//! What a container's entry point exports is part of the deployment: a script of the image, or the declared
//! command, that the container's first process runs. Invariant: the same container gives the same answer
//! whether what was declared of it has been read yet or not; what cannot be judged at the event is judged by
//! a worker.

use super::context::Context;
use super::declared;
use super::processes::Processes;
use super::role;
use super::work;
use crate::event::exec::ExecFacts;
use crate::facts::EarlyEnvironment;
use drift_core::container::declared::environment::{is_cut, Environment, Variables};
use drift_core::container::declared::Declared;
use drift_core::container::registry::Container;
use drift_core::verdict::environment::{
    judge, new_bytes, EnvNames, Files, OfContainer, Place, Subject, CUT, CUT_BYTES,
};
use drift_core::verdict::origin::Origin;
use drift_core::verdict::work::{is_init, is_shell, ImageWork};
use std::sync::Arc;
use std::time::Instant;

/// Whether what a program exports is declared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Exports {
    /// It is not: the program is no entry point.
    #[default]
    No,
    /// The program is a shell that runs the entry point: a script of the image, or of a read-only volume.
    Script,
    /// The program is a shell with the container's first command; if that is the declared one, it is.
    Command,
}

/// What is remembered of a process's environment.
#[derive(Debug, Clone, Default)]
pub(super) struct EnvironmentState {
    /// `None`: not asked yet, or not known yet.
    names: Option<Arc<EnvNames>>,
    exports: Exports,
    /// Of the program that the process was before its last exec.
    before: Exports,
    /// Dangerous variables that the process had then.
    carried: Option<Arc<Variables>>,
    /// Those that it has now.
    found: Option<Arc<Variables>>,
    /// A worker judges it.
    is_handed_over: bool,
}

impl EnvironmentState {
    /// The state after another exec of the process.
    pub(super) fn after_exec(&self) -> Self {
        let mut carried = self.carried.clone();
        if let Some(found) = &self.found {
            Arc::make_mut(carried.get_or_insert_default()).extend(found);
        }
        Self { before: self.exports, carried, ..Self::default() }
    }
}

/// How the environment that the event's process was started with differs from the declared one; `None` where
/// either is not known, and on the host.
pub(super) fn of_event(cx: &Context<'_>, p: &mut Processes) -> Option<Arc<EnvNames>> {
    let state = &p.threads.of_event(cx)?.environment;
    if state.names.is_some() || state.is_handed_over {
        return state.names.clone();
    }
    let (before, mut known) = (state.before, state.carried.as_deref().cloned().unwrap_or_default());
    let container = declared::container(cx, &mut p.threads)?;
    let of_thread;
    let exec = cx.exec();
    let (environment, parent) = match &exec {
        Some(exec) => (exec.environment?, exec.ptid),
        None => {
            of_thread = cx.table.environment(cx.event.tid)?;
            (of_thread.as_slice(), cx.table.get(cx.event.tid)?.ptid)
        }
    };
    let exports = exec.as_ref().map_or(Exports::No, |exec| exports(cx, p, &container, exec));
    let cwd = cx.table.cwd(cx.event.tid).filter(|cwd| !cwd.is_empty());
    let subject = Subject { environment, is_cut: is_cut(environment), cwd: cwd.as_deref() };
    let files = OfContainer { host: cx.host(), container: &container, pid: cx.event.tid };
    let read = container.declaration.read();
    let declared = read.as_ref().filter(|declared| declared.environment.is_some());
    // Until that is known, what would be dangerous if nobody declared it.
    let nothing = Environment::default();
    let against = declared.and_then(|declared| declared.environment.as_ref()).unwrap_or(&nothing);
    let mut names = judge(against, subject, &known, &files);
    if !names.risky.is_empty() || subject.is_cut {
        // What the parent has already was reported when it came in. Outside the container nothing is
        // inherited.
        let of_parent = || cx.table.environment(parent).filter(|_| p.threads.is_in(cx, parent, &container));
        if let Some(inherited) = of_parent() {
            known.extend(&Variables::of(&inherited));
            names = judge(against, subject, &known, &files);
        }
    }
    let found = (!names.found.is_empty()).then(|| Arc::new(names.found.clone()));
    if found.is_some() && is_exported_at_start(cx, p, (before, parent), declared, &container) {
        names.risky.clear();
    }
    // What is found in a part is found; what is not may be in the rest.
    let is_open = match declared {
        Some(_) => subject.is_cut && names.risky.is_empty(),
        None => subject.is_cut || !names.risky.is_empty(),
    };
    let is_handed_over = is_open && {
        let by_command = declared.is_none() && has_exports(p, (before, parent), Exports::Command);
        hand_over(cx, p, &container, subject, known.clone(), by_command)
    };
    // Without a worker nobody reads the rest.
    let is_lost = declared.is_some() && is_open && !is_handed_over;
    if is_lost && new_bytes(against, subject, &known) >= CUT_BYTES {
        names.risky.push(CUT.into());
    }
    let names = declared.is_some().then(|| Arc::new(names));
    let state = &mut p.threads.of_event(cx)?.environment;
    (state.exports, state.found, state.is_handed_over) = (exports, found, is_handed_over);
    state.names.clone_from(&names);
    names
}

/// Has a worker judge an environment; `false` where there is none, or no room.
fn hand_over(
    cx: &Context<'_>,
    p: &mut Processes,
    container: &Arc<Container>,
    subject: Subject<'_>,
    known: Variables,
    by_command: bool,
) -> bool {
    let Some(workers) = cx.workers() else { return false };
    workers.early_environment(EarlyEnvironment {
        container: Arc::clone(container),
        tid: cx.event.tid,
        process: p.threads.process(cx),
        command: p.threads.command(cx),
        origin: p.binary(cx).map(|binary| binary.judgement.origin),
        environment: subject.environment.into(),
        is_cut: subject.is_cut,
        cwd: subject.cwd.map(Box::from),
        known,
        by_command,
        since: Instant::now(),
    })
}

/// Whether what a program of the container exports is declared, as far as the program itself tells.
fn exports(cx: &Context<'_>, p: &mut Processes, container: &Container, exec: &ExecFacts<'_>) -> Exports {
    if !is_shell(exec.exe_path) {
        return Exports::No;
    }
    let first = |tid| cx.table.get(tid).filter(|thread| role::is_first(cx, &p.threads, container, thread));
    let is_first = first(cx.event.tid).is_some();
    let is_below_init = || first(exec.ptid).is_some_and(|parent| is_init(&parent.exe_path));
    if !is_first && !is_below_init() {
        return Exports::No;
    }
    let origin = p.binary(cx).map(|binary| binary.judgement.origin);
    if !matches!(origin, Some(Origin::Image | Origin::ImageTouched)) {
        return Exports::No;
    }
    let is_entry = match p.script(cx) {
        Some(script) => {
            let files = OfContainer { host: cx.host(), container, pid: cx.event.tid };
            let is_declared = || files.place(&script.path) == Place::Declared;
            return match script.judgement.origin == Origin::Image || is_declared() {
                true => Exports::Script,
                false => Exports::No,
            };
        }
        None => {
            let argv: Vec<&[u8]> = exec.argv().collect();
            // The command of the process below an engine's init is the end of the container's.
            container.declaration.first_exec.get().is_some_and(|(_, first)| {
                let end = first.len().checked_sub(argv.len()).and_then(|at| first.get(at..));
                end.is_some_and(|end| end.iter().zip(&argv).all(|(first, own)| **first == **own))
            })
        }
    };
    if is_entry {
        Exports::Command
    } else {
        Exports::No
    }
}

/// Whether the program that the process was before its last exec, or its parent's, exports so.
fn has_exports(p: &Processes, (before, parent): (Exports, i64), how: Exports) -> bool {
    before == how || p.threads.peek(parent).is_some_and(|state| state.environment.exports == how)
}

/// Whether the variables that are new with the event's program come from the container's entry point.
fn is_exported_at_start(
    cx: &Context<'_>,
    p: &mut Processes,
    by: (Exports, i64),
    declared: Option<&Arc<Declared>>,
    container: &Container,
) -> bool {
    let is_declared_command = || {
        let first = container.declaration.first_exec.get();
        declared.zip(first).is_some_and(|(declared, (_, argv))| {
            let argv: Vec<&[u8]> = argv.iter().map(|argument| &**argument).collect();
            declared.runs_entrypoint(&argv) == Some(true)
        })
    };
    let is_below_shell = || cx.table.get(by.1).is_some_and(|parent| is_shell(&parent.exe_path));
    has_exports(p, by, Exports::Script)
        || has_exports(p, by, Exports::Command) && is_declared_command()
        || is_below_shell() && work::of_event(cx, p) == Some(ImageWork::Start)
}
