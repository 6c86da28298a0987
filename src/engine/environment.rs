//! The environment of a program against the declared one, as it was started.
//!
//! What a container's entry point exports is part of the deployment: a script of the image, or the declared
//! command, that the container's first process runs. Invariant: the same container gives the same answer
//! whether what was declared of it has been read yet or not; what cannot be judged at the event is judged by
//! a worker.

use super::{Engine, ThreadReader};
use crate::event::exec::ExecFacts;
use crate::event::raw::SyscallEvent;
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
    /// Dangerous variables that the process has had so far.
    carried: Option<Arc<Variables>>,
    /// A worker judges it.
    is_handed_over: bool,
}

impl EnvironmentState {
    /// The state after another exec of the process.
    pub(super) fn after_exec(&self) -> Self {
        Self { before: self.exports, carried: self.carried.clone(), ..Self::default() }
    }
}

impl Engine {
    /// How the environment that the event's process was started with differs from the declared one; `None`
    /// where either is not known, and on the host.
    pub fn environment(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<Arc<EnvNames>> {
        let state = &self.thread(event, reader)?.environment;
        if state.names.is_some() || state.is_handed_over {
            return state.names.clone();
        }
        let (before, carried) = (state.before, state.carried.clone().unwrap_or_default());
        let container = self.declared_container(event, reader)?;
        let of_table = |tid| reader.threads.and_then(|t| t.environment(reader.reader, tid));
        let of_thread;
        let exec = ExecFacts::from_event(event);
        let (environment, parent) = match &exec {
            Some(exec) => (exec.environment?, exec.ptid),
            None => {
                of_thread = of_table(event.tid)?;
                (of_thread.as_slice(), reader.get(event.tid)?.ptid)
            }
        };
        let exports = match &exec {
            Some(exec) => self.exports(event, reader, &container, exec),
            None => Exports::No,
        };
        let cwd = reader.threads.and_then(|t| t.cwd(reader.reader, event.tid)).filter(|cwd| !cwd.is_empty());
        let subject = Subject { environment, is_cut: is_cut(environment), cwd: cwd.as_deref() };
        let host = self.judge.host().clone();
        let files = OfContainer { host: &host, container: &container, pid: event.tid };
        let read = container.declaration.read();
        let declared = read.as_ref().filter(|declared| declared.environment.is_some());
        // Until that is known, what would be dangerous if nobody declared it.
        let nothing = Environment::default();
        let of_declared = declared.and_then(|declared| declared.environment.as_ref());
        let against = of_declared.unwrap_or(&nothing);
        let mut known = Variables::clone(&carried);
        let mut names = judge(against, subject, &known, &files);
        if !names.risky.is_empty() || subject.is_cut {
            // What the parent has already was reported when it came in. Outside the container nothing is
            // inherited.
            if let Some(inherited) = of_table(parent).filter(|_| self.is_in(parent, &container, reader)) {
                known.extend(&Variables::of(&inherited));
                names = judge(against, subject, &known, &files);
            }
        }
        let mut carried = Variables::clone(&carried);
        carried.extend(&names.found);
        if !names.risky.is_empty() && self.is_exported_at_start(before, parent, declared, event, reader) {
            names.risky.clear();
        }
        let is_told = declared.is_some() && !(subject.is_cut && names.risky.is_empty());
        let mut is_handed_over = false;
        if !is_told && (subject.is_cut || !names.risky.is_empty()) {
            let by_command = declared.is_none() && self.has_exports(before, parent, Exports::Command);
            is_handed_over = self.hand_over(event, reader, &container, subject, known.clone(), by_command);
        }
        // Without a worker nobody reads the rest.
        let is_lost = subject.is_cut && !is_handed_over && names.risky.is_empty();
        if is_lost && new_bytes(against, subject, &known) >= CUT_BYTES {
            names.risky.push(CUT.into());
        }
        let answer = Arc::new(names);
        let state = &mut self.thread(event, reader)?.environment;
        state.exports = exports;
        state.carried = (!carried.is_empty()).then(|| Arc::new(carried));
        state.is_handed_over = is_handed_over;
        state.names = of_declared.is_some().then(|| Arc::clone(&answer));
        state.names.clone()
    }

    /// Has a worker judge an environment; `false` where there is none, or no room.
    fn hand_over(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
        container: &Arc<Container>,
        subject: Subject<'_>,
        known: Variables,
        by_command: bool,
    ) -> bool {
        if self.background.is_none() {
            return false;
        }
        let early = EarlyEnvironment {
            container: Arc::clone(container),
            tid: event.tid,
            command: self.command(event, reader),
            origin: self.binary(event, reader).map(|binary| binary.judgement.origin),
            environment: subject.environment.into(),
            is_cut: subject.is_cut,
            cwd: subject.cwd.map(Box::from),
            known,
            by_command,
            since: Instant::now(),
        };
        self.background.as_ref().is_some_and(|background| background.early_environment(early))
    }

    /// Whether what a program of the container exports is declared, as far as the program itself tells.
    fn exports(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
        container: &Arc<Container>,
        exec: &ExecFacts<'_>,
    ) -> Exports {
        if !is_shell(exec.exe_path) {
            return Exports::No;
        }
        let is_first = |tid| reader.get(tid).filter(|thread| thread.vtid == 1);
        let below_init = || is_first(exec.ptid).is_some_and(|parent| is_init(&parent.exe_path));
        if is_first(event.tid).is_none() && !below_init() {
            return Exports::No;
        }
        let origin = self.binary(event, reader).map(|binary| binary.judgement.origin);
        if !matches!(origin, Some(Origin::Image | Origin::ImageTouched)) {
            return Exports::No;
        }
        match self.script(event, reader) {
            Some(script) => {
                let host = self.judge.host();
                let files = OfContainer { host, container, pid: event.tid };
                let is_declared =
                    script.judgement.origin == Origin::Image || files.place(&script.path) == Place::Declared;
                if is_declared {
                    Exports::Script
                } else {
                    Exports::No
                }
            }
            None => {
                let argv: Vec<&[u8]> = exec.argv().collect();
                let first = container.declaration.first_exec.get();
                let is_first_command = first.is_some_and(|(_, first)| {
                    let rest = first.len().checked_sub(argv.len()).and_then(|at| first.get(at..));
                    rest.is_some_and(|rest| rest.iter().zip(&argv).all(|(first, own)| **first == **own))
                });
                if is_first_command {
                    Exports::Command
                } else {
                    Exports::No
                }
            }
        }
    }

    /// Whether the process's program before its last exec, or its parent's, exports so.
    fn has_exports(&self, before: Exports, parent: i64, how: Exports) -> bool {
        let of_parent = self.threads.peek(&parent).map(|state| state.environment.exports);
        before == how || of_parent == Some(how)
    }

    /// Whether the variables that are new with the event's program come from the container's entry point.
    fn is_exported_at_start(
        &mut self,
        before: Exports,
        parent: i64,
        declared: Option<&Arc<Declared>>,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> bool {
        let by_command = self.has_exports(before, parent, Exports::Command) && {
            let container = self.container(event, reader);
            let first = container.as_ref().and_then(|container| container.declaration.first_exec.get());
            declared.zip(first).is_some_and(|(declared, (_, argv))| {
                let argv: Vec<&[u8]> = argv.iter().map(|argument| &**argument).collect();
                declared.runs_entrypoint(&argv) == Some(true)
            })
        };
        let below_shell = || reader.get(parent).is_some_and(|parent| is_shell(&parent.exe_path));
        by_command
            || self.has_exports(before, parent, Exports::Script)
            || below_shell() && self.process_work(event, reader) == Some(ImageWork::Start)
    }

    fn is_in(&mut self, tid: i64, container: &Container, reader: ThreadReader<'_>) -> bool {
        let known =
            self.threads.peek(&tid).map(|s| s.container.as_ref().is_some_and(|c| c.id == container.id));
        known.unwrap_or_else(|| {
            let groups = reader.threads.and_then(|t| t.cgroups(reader.reader, tid)).unwrap_or_default();
            self.ids.find(groups.iter().map(Vec::as_slice)).is_some_and(|id| id.id == container.id)
        })
    }
}
