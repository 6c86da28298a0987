//! What was declared of a container, against what its processes do.
//!
//! Invariant: with background threads the files are read there, and until they are the answers are `unknown` or absent.
//! Without (a capture that is replayed on the machine it was taken on) they are read at the first question.

use super::{Engine, ThreadReader};
use crate::event::exec::{is_exec, ExecFacts};
use crate::event::raw::SyscallEvent;
use drift_core::container::declared::read::read;
use drift_core::container::registry::Container;
use drift_core::policy::approved::Approval;
use drift_core::verdict::environment::risky;
use std::sync::Arc;

/// Names of variables that differ from the declared environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvNames {
    /// Not declared.
    pub added: Vec<Box<[u8]>>,
    /// Declared with another value.
    pub changed: Vec<Box<[u8]>>,
    /// Of both, those that are dangerous and new with this program.
    pub risky: Vec<Box<[u8]>>,
}

impl Engine {
    /// Has the background read what was declared of a container that was just looked at.
    pub(super) fn ask_declaration(&self, container: &Arc<Container>, exec: Option<&ExecFacts<'_>>) {
        let (Some(background), Some(_)) = (&self.background, &container.live) else { return };
        let declaration = &container.declaration;
        if !declaration.ask() {
            return;
        }
        if let Some(exec) = exec {
            // Only the first exec that is seen can be that of the container's first process.
            let _ = declaration.first_exec.set((exec.pid, exec.argv().map(Box::from).collect()));
        }
        if !background.declare(Arc::clone(container)) {
            declaration.ask_again();
        }
    }

    /// The container of the event's thread, with what was declared of it as far as that is known; `None` on the host.
    pub fn declared_container(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<Arc<Container>> {
        let container = self.container(event, reader)?;
        let declaration = &container.declaration;
        if let (None, Some(live)) = (&self.background, &container.live) {
            if declaration.ask() {
                let declared = read(self.judge.host(), &container.id, live, &self.config.storage_roots);
                declaration.set_read(Some(Arc::new(declared)));
            }
        }
        Some(container)
    }

    /// What the list of approved images says of the container's; `None` without a list, and on the host.
    pub fn approval(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<Approval> {
        let container = self.declared_container(event, reader)?;
        let approved = self.lists.approved.as_ref()?.load();
        let facts = container.declaration.image.load();
        Some(facts.as_ref().map_or(Approval::Unknown, |facts| approved.judge(&facts.identity)))
    }

    /// Whether the container's first process starts what was declared; `None` on other events, and where it is not known.
    pub fn entrypoint_match(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<bool> {
        if !is_exec(event) {
            return None;
        }
        let state = self.thread(event, reader)?;
        if !state.first_exec {
            return None;
        }
        if let Some(known) = state.entrypoint {
            return known;
        }
        let exec = ExecFacts::from_event(event)?;
        let container = self.declared_container(event, reader)?;
        let declared = container.declaration.read();
        let declared = declared.as_ref()?;
        let answer = match reader.get(event.tid)?.vtid {
            1 => declared.runs_entrypoint(&exec.argv().collect::<Vec<&[u8]>>()),
            _ => None,
        };
        self.thread(event, reader)?.entrypoint = Some(answer);
        answer
    }

    /// How the environment that the event's process was started with differs from the declared one; `None` where either
    /// is not known, and on the host.
    pub fn environment(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<Arc<EnvNames>> {
        if let Some(known) = &self.thread(event, reader)?.environment {
            return Some(Arc::clone(known));
        }
        let container = self.declared_container(event, reader)?;
        let declared = container.declaration.read();
        let declared = declared.as_ref()?.environment.as_ref()?;
        let of_table = |tid| reader.threads.and_then(|t| t.environment(reader.reader, tid));
        let (drift, parent) = match ExecFacts::from_event(event) {
            Some(exec) => (declared.compare(exec.environment?), exec.ptid),
            None => (declared.compare(&of_table(event.tid)?), reader.get(event.tid)?.ptid),
        };
        let mut risky = risky(&container, &drift);
        if !risky.is_empty() {
            // What the parent has already was told when it came in. Outside the container nothing is inherited.
            if let Some(inherited) = of_table(parent).filter(|_| self.is_in(parent, &container, reader)) {
                let before = declared.compare(&inherited);
                risky.retain(|name| !before.added.contains(name) && !before.changed.contains(name));
            }
        }
        let names = Arc::new(EnvNames { added: drift.added, changed: drift.changed, risky });
        self.thread(event, reader)?.environment = Some(Arc::clone(&names));
        Some(names)
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
