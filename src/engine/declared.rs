//! What was declared of a container, against what its processes do.
//!
//! Invariant: with workers the files are read there, and until they are the answers are `unknown` or absent.
//! Without (a capture that is replayed on the machine it was taken on) they are read at the first question.

use super::context::Context;
use super::role;
use super::threads::Threads;
use crate::event::exec::is_exec;
use drift_core::container::declared::read::read;
use drift_core::container::registry::Container;
use drift_core::policy::approved::Approval;
use std::sync::Arc;

/// The container of the event's thread, with what was declared of it as far as that is known; `None` on the
/// host.
pub(super) fn container(cx: &Context<'_>, threads: &mut Threads) -> Option<Arc<Container>> {
    let container = threads.container(cx)?;
    let declaration = &container.declaration;
    if let (None, Some(live)) = (cx.workers(), &container.live) {
        if declaration.ask() {
            let (roots, listed) = (&cx.deps.config.storage_roots, &cx.deps.config.pod_annotations);
            let declared = read(cx.host(), &container.id, live, roots, listed);
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
    let answer = match role::is_first(cx, threads, &container, &cx.table.get(cx.event.tid)?) {
        true => declared.runs_entrypoint(&exec.argv().collect::<Vec<&[u8]>>()),
        false => None,
    };
    threads.of_event(cx)?.entrypoint = Some(answer);
    answer
}
