//! What was declared of a container, against what its processes do.
//!
//! Invariant: with workers the files are read there, and until they are the answers are `unknown` or absent.
//! Without (a capture that is replayed on the machine it was taken on) they are read at the first question.

use super::context::Context;
use super::threads::Threads;
use crate::event::exec::is_exec;
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

/// The container of the event's thread, with what was declared of it as far as that is known; `None` on the
/// host.
pub(super) fn container(cx: &Context<'_>, threads: &mut Threads) -> Option<Arc<Container>> {
    let container = threads.container(cx)?;
    let declaration = &container.declaration;
    if let (None, Some(live)) = (cx.workers(), &container.live) {
        if declaration.ask() {
            let declared = read(cx.host(), &container.id, live, &cx.deps.config.storage_roots);
            declaration.set_read(Some(Arc::new(declared)));
        }
    }
    Some(container)
}

/// What the list of approved images says of the container's; `None` without a list, and on the host.
pub(super) fn approval(cx: &Context<'_>, threads: &mut Threads) -> Option<Approval> {
    let container = container(cx, threads)?;
    let approved = cx.deps.lists.approved.as_ref()?.load();
    let facts = container.declaration.image.load();
    Some(facts.as_ref().map_or(Approval::Unknown, |facts| approved.judge(&facts.identity)))
}

/// Whether the container's first process starts what was declared; `None` on other events, and where it is
/// not known.
pub(super) fn entrypoint_match(cx: &Context<'_>, threads: &mut Threads) -> Option<bool> {
    if !is_exec(cx.event) {
        return None;
    }
    let state = threads.of_event(cx)?;
    if !state.first_exec {
        return None;
    }
    if let Some(known) = state.entrypoint {
        return known;
    }
    let exec = cx.exec()?;
    let container = container(cx, threads)?;
    let declared = container.declaration.read();
    let declared = declared.as_ref()?;
    let answer = match cx.table.get(cx.event.tid)?.vtid {
        1 => declared.runs_entrypoint(&exec.argv().collect::<Vec<&[u8]>>()),
        _ => None,
    };
    threads.of_event(cx)?.entrypoint = Some(answer);
    answer
}

/// How the environment that the event's process was started with differs from the declared one; `None` where
/// either is not known, and on the host.
pub(super) fn environment(cx: &Context<'_>, threads: &mut Threads) -> Option<Arc<EnvNames>> {
    if let Some(known) = &threads.of_event(cx)?.environment {
        return Some(Arc::clone(known));
    }
    let container = container(cx, threads)?;
    let declared = container.declaration.read();
    let declared = declared.as_ref()?.environment.as_ref()?;
    let of_table = |tid| cx.table.environment(tid);
    let (drift, parent) = match cx.exec() {
        Some(exec) => (declared.compare(exec.environment?), exec.ptid),
        None => (declared.compare(&of_table(cx.event.tid)?), cx.table.get(cx.event.tid)?.ptid),
    };
    let mut risky = risky(&container, &drift);
    if !risky.is_empty() {
        // What the parent has already was reported when it came in. Outside the container nothing is
        // inherited.
        if let Some(inherited) = of_table(parent).filter(|_| threads.is_in(cx, parent, &container)) {
            let before = declared.compare(&inherited);
            risky.retain(|name| !before.added.contains(name) && !before.changed.contains(name));
        }
    }
    let names = Arc::new(EnvNames { added: drift.added, changed: drift.changed, risky });
    threads.of_event(cx)?.environment = Some(Arc::clone(&names));
    Some(names)
}
