//! Who is behind a change of packages, for the worker that reports it: command lines and ancestors are gone
//! by the time a change has ended.

use super::context::Context;
use super::files::EventFile;
use super::packages::{leaders_work, PackageWork, Packages};
use super::processes::Processes;
use crate::facts::{can_follow_packages, Agent, Process, Touch};
use crate::workers::packages::PackageNotice;
use drift_core::command::manager::Action;
use drift_core::packages::inventory::database_of;
use drift_formats::entry::ImagePath;
use std::sync::Arc;

/// Where trees are unpacked and copied to for a while.
const SCRATCH: [&[u8]; 2] = [b"/tmp", b"/var/tmp"];
/// Most ancestors reported.
const MAX_ANCESTORS: usize = 12;
/// Most bytes reported of a name.
const MAX_NAME: usize = 64;
/// Most bytes reported of a command line.
const MAX_COMMAND: usize = 1024;

/// Hands a changed path of a package database to a worker.
pub(super) fn note_database(cx: &Context<'_>, file: &EventFile, packages: &mut Packages, p: &mut Processes) {
    let Some(workers) = cx.workers() else { return };
    workers.files_are_watched();
    if !can_follow_packages(&file.container) {
        return;
    }
    // Owner, mode and times are no part of a record.
    if file.only_metadata() {
        return;
    }
    let paths = [file.path.as_ref(), file.new_path.as_ref()];
    let is_database = |path: &&ImagePath| database_of(path).is_some();
    if !paths.iter().flatten().any(is_database) {
        return;
    }
    let (agent, weak) = database_agent(cx, packages, p);
    let on_volume = file.on_other_mount();
    // What the image says nothing of, or nothing looks for packages in by itself, is of interest only as part
    // of an installation.
    let beside = |path: &ImagePath| on_volume || SCRATCH.iter().any(|dir| path.is_within(dir));
    if agent.manager.is_none() && paths.iter().flatten().filter(|p| is_database(p)).all(|p| beside(p)) {
        return;
    }
    for path in paths.into_iter().flatten().filter(|path| database_of(path).is_some()) {
        let (container, path, agent) =
            (Arc::clone(&file.container), ImagePath::clone(path), Arc::clone(&agent));
        workers.packages(PackageNotice::Touched(Touch {
            container,
            path,
            on_volume,
            writer: cx.event.tid,
            agent,
            weak,
        }));
    }
}

/// Who is behind the package manager at work that the event's process takes part in; `None` where there is
/// none.
pub(super) fn of_work(cx: &Context<'_>, packages: &mut Packages, p: &mut Processes) -> Option<Arc<Agent>> {
    let work = packages.work(cx, p)?;
    let known = p.threads.peek(work.leader).and_then(|state| state.agent.clone());
    Some(known.unwrap_or_else(|| of(cx, Some(&work), work.followed, p)))
}

/// Who is behind a change of a package database that the event's process makes; and whether that is one that
/// only asks.
fn database_agent(cx: &Context<'_>, packages: &mut Packages, p: &mut Processes) -> (Arc<Agent>, bool) {
    let work = packages.work(cx, p).filter(|_| p.is_trusted(cx));
    let asks = |work: &PackageWork| {
        !work.changes() && matches!(work.invocation.action, Action::Query | Action::Refresh)
    };
    let weak = work.as_ref().is_some_and(asks);
    let work = work.filter(|work| !asks(work));
    let behind = work.as_ref().map_or(cx.event.tid, |work| work.leader);
    let known = p.threads.peek(behind).and_then(|state| state.agent.clone());
    if let Some(known) = known.filter(|known| !weak || known.manager.is_none()) {
        return (known, weak);
    }
    // A start that was seen, and is not reported at its end, was reported then.
    let reported =
        work.as_ref().and_then(|work| leaders_work(p, work.leader)).filter(|leader| leader.changes());
    let followed = reported.is_none_or(|leader| leader.followed);
    let agent = of(cx, work.as_ref(), followed, p);
    if let (None, Some(state)) = (&work, p.threads.peek_mut(cx.event.tid)) {
        state.agent = Some(Arc::clone(&agent));
    }
    (agent, weak)
}

/// The agent that the event's process, or the leader of its work, is; made now, and cached with the leader.
pub(super) fn of(
    cx: &Context<'_>,
    work: Option<&PackageWork>,
    followed: bool,
    p: &mut Processes,
) -> Arc<Agent> {
    let leader = work.map_or(cx.event.tid, |work| work.leader);
    let own = leader == cx.event.tid;
    // Of a leader whose start was not seen its writing child speaks: that one is trusted already.
    let trusted = work.is_some() && (!own || p.is_trusted(cx));
    let command = match own {
        true => p.threads.command(cx),
        false => cx.table.command(leader).unwrap_or_default().into(),
    };
    let (parent_command, ancestors) = ancestors(cx, leader);
    let user = cx.exec().filter(|_| own).and_then(|exec| exec.user);
    let origin = p.origin(cx);
    let provenance = p
        .binary_provenance(cx)
        .map(|(from, written)| (from.to_string(), written.map(|w| Arc::clone(&w.command))));
    let invocation = work.map(|work| &work.invocation);
    let user = user.or_else(|| cx.host().user_of(leader));
    let named = p.threads.container(cx).zip(user).and_then(|(c, user)| c.declaration.user(user).cloned());
    let process = Process {
        name: cx.table.name(leader).filter(|name| !matches!(name.as_str(), "" | "<NA>")).map(Arc::from),
        parent: ancestors.first().map(|name| Arc::from(&**name)),
        uid: user,
        user: named.or_else(|| user.filter(|uid| *uid == 0).map(|_| "root".into())),
        command: Some(cut(&command, MAX_COMMAND).into()),
    };
    let agent = Arc::new(Agent {
        pid: leader,
        process,
        manager: invocation.filter(|_| trusted).map(|i| i.manager),
        action: invocation.map(|i| i.action),
        names: invocation.map(|i| i.names.clone()).unwrap_or_default(),
        command: cut(&command, MAX_COMMAND).into(),
        parent_command,
        ancestors,
        user,
        origin: origin.filter(|_| own),
        provenance: provenance.filter(|_| own),
        followed,
    });
    if let Some(state) = p.threads.peek_mut(leader).filter(|_| work.is_some()) {
        state.agent = Some(Arc::clone(&agent));
    }
    agent
}

/// The command line of a thread's parent, and the names of its ancestors in the engine's table.
fn ancestors(cx: &Context<'_>, tid: i64) -> (Option<Box<str>>, Vec<Box<str>>) {
    let (mut names, mut command) = (Vec::new(), None);
    let mut at = tid;
    while names.len() < MAX_ANCESTORS {
        let parent = cx.table.get(at).map_or(0, |thread| thread.ptid);
        if parent <= 1 || parent == at {
            break;
        }
        // The engine's word for what it does not know.
        let name = cx.table.name(parent).filter(|name| !matches!(name.as_str(), "" | "<NA>"));
        let Some(name) = name else { break };
        if command.is_none() {
            command = cx.table.command(parent).map(|line| cut(&line, MAX_COMMAND).into());
        }
        names.push(cut(&name, MAX_NAME).into());
        at = parent;
    }
    (command, names)
}

/// The first bytes of a text.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end.min(text.len())).unwrap_or(text)
}
