//! What was declared of a container, against what its processes do.
//!
//! Invariant: with background threads the files are read there, and until they are the answers are `unknown`
//! or absent. Without (a capture that is replayed on the machine it was taken on) they are read at the first
//! question.

use super::{Engine, ThreadReader};
use crate::event::exec::{is_exec, ExecFacts};
use crate::event::raw::SyscallEvent;
use drift_core::container::declared::read::read;
use drift_core::container::registry::Container;
use drift_core::policy::approved::Approval;
use std::sync::Arc;

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

    /// The container of the event's thread, with what was declared of it as far as that is known; `None` on
    /// the host.
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

    /// Whether the container's first process starts what was declared; `None` on other events, and where it
    /// is not known.
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
}
