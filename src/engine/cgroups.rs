//! The container that a process's control groups name.

use super::Engine;
use crate::event::exec::ExecFacts;
use drift_core::container::id::may_be_cut;

/// The control groups of an exec whose event has them whole, and the container that they name.
#[derive(Debug)]
pub(super) struct LastCgroups {
    raw: Box<[u8]>,
    container: Option<Box<str>>,
}

impl Engine {
    /// The container that the control groups of an exec name. A process's child has the same ones, mostly.
    pub(super) fn container_of_exec(&mut self, exec: &ExecFacts<'_>) -> Option<Box<str>> {
        if let Some(last) = self.last_cgroups.as_ref().filter(|last| *last.raw == *exec.raw_cgroups()) {
            return last.container.clone();
        }
        let found = self.ids.find(exec.cgroups());
        let is_whole = match &found {
            Some(id) => !id.path_may_be_cut,
            None => !may_be_cut(exec.cgroups()),
        };
        if !is_whole {
            // Each process is asked for its own.
            return self.container_id(exec.cgroups(), exec.pid);
        }
        let container = found.map(|id| id.id);
        self.last_cgroups =
            Some(LastCgroups { raw: exec.raw_cgroups().into(), container: container.clone() });
        container
    }

    /// The container that a thread's control groups name.
    ///
    /// Events carry no more than the last six components of a path, and a container that may make control groups can
    /// nest them deeper under names of its choice: such a path is read whole from `/proc` where the process lives.
    pub(super) fn container_id<'g>(
        &self,
        cgroups: impl Iterator<Item = &'g [u8]> + Clone,
        pid: i64,
    ) -> Option<Box<str>> {
        let found = self.ids.find(cgroups.clone());
        let cut = found.as_ref().map_or_else(|| may_be_cut(cgroups), |id| id.path_may_be_cut);
        if cut {
            if let Some(lines) = self.judge.host().cgroups(pid) {
                let whole = self.ids.find(lines.split(|b| *b == b'\n'));
                // A live process of that id that is in no such container is another one: this is a replay.
                if whole.is_some() || found.is_none() {
                    return whole.map(|id| id.id);
                }
            }
        }
        found.map(|id| id.id)
    }
}
