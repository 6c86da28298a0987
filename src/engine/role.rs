//! What a process is to its container: the first one, one that came in from outside, or one that another process
//! of the container started.
//!
//! Process ids do not tell: with the host's PID namespace a container's first process has any id, with a
//! pod's shared one the id 1 is another container's, and `unshare --pid` makes a process 1 of whatever it
//! starts. Invariant: what counts lies outside of the container: the process that the runtime started, through
//! which the container was looked at, and whether a process's parent is in the container.

use super::context::Context;
use super::threads::Threads;
use crate::event::threads::Thread;
use drift_core::container::live::Live;
use drift_core::container::registry::Container;

/// A process's role in its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The container's first process.
    First,
    /// Its parent is not in the container: exec, attach, debug, a probe.
    Entered,
    /// A process of the container started it.
    Inside,
}

impl Role {
    /// The name in `drift.process_role`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Entered => "entered",
            Self::Inside => "inside",
        }
    }
}

/// The role of the event's process; `None` on the host, and where the engine does not know the process.
pub(super) fn of_event(cx: &Context<'_>, threads: &mut Threads) -> Option<Role> {
    let container = threads.container(cx)?;
    of_thread(cx, threads, &container, &cx.table.get(cx.event.tid)?)
}

/// The role of a thread's process in the container that it is in; `None` where its parent is not known.
fn of_thread(cx: &Context<'_>, threads: &Threads, container: &Container, thread: &Thread) -> Option<Role> {
    if container.live.as_ref().map(Live::pid) == Some(thread.pid) {
        return Some(Role::First);
    }
    match threads.is_in(cx, thread.ptid, container) {
        true => Some(Role::Inside),
        false if thread.vtid == 1 && thread.pid != 1 => Some(Role::First),
        false => cx.table.get(thread.ptid).map(|_| Role::Entered),
    }
}

/// Whether a thread is of its container's first process.
pub(super) fn is_first(cx: &Context<'_>, threads: &Threads, container: &Container, thread: &Thread) -> bool {
    of_thread(cx, threads, container, thread) == Some(Role::First)
}
