//! The package manager that a process is, or works for.
//!
//! A process answers for itself, else its nearest ancestor in the same container does. Looked at when first
//! asked, and cached with the thread. One that was started to change packages is handed to a worker then,
//! which reports what came of it ([`crate::workers::packages`]).

use super::context::{Context, Dependencies};
use super::processes::Processes;
use super::{agents, bound};
use crate::event::exec::is_exec;
use crate::facts::{can_follow_packages, PackageNotice};
use crate::workers::packages::leaves_traces;
use drift_core::command::interpreter;
use drift_core::command::manager::{self, Invocation, Manager};
use drift_core::container::registry::Container;
use lru::LruCache;
use std::sync::Arc;

/// A package manager at work, as a process takes part in it.
#[derive(Debug, Clone)]
pub struct PackageWork {
    /// The process itself as a package manager, or the nearest ancestor that is one.
    pub invocation: Arc<Invocation>,
    /// The process's part.
    pub role: PackageRole,
    /// Thread id of the outermost process that changes packages; where none does, of the package manager.
    pub leader: i64,
    /// Whether a worker reports what comes of the change, so that its start is not reported.
    pub followed: bool,
    /// Whether the process or an ancestor changes packages.
    changing: bool,
}

/// What a process is to the package manager at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageRole {
    /// The package manager itself, started by none that changes packages.
    Manager,
    /// A package manager as part of a change that another one makes, or it itself before an exec: dpkg under
    /// apt-get, the cargo that rustup's proxy becomes.
    Nested,
    /// Any other process below a package manager: a maintainer script, a compiler.
    Child,
}

impl PackageWork {
    /// Whether packages are changed: by the process, by what it works for, or by an ancestor of that.
    pub fn changes(&self) -> bool {
        self.changing || self.invocation.action.changes()
    }
}

impl PackageRole {
    /// The name in `drift.pkg_role`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manager => "manager",
            Self::Nested => "nested",
            Self::Child => "child",
        }
    }
}

/// Most ancestors that are looked at for a package manager.
const MAX_ANCESTORS: usize = 16;

/// What a replay notes of package managers. What is known of a process is in the state of its thread.
#[derive(Debug)]
pub(super) struct Packages {
    /// Containers whose packages were followed when the capture that is replayed was taken.
    followed: LruCache<Box<str>, ()>,
    /// Package managers that were started where nothing said yet that they were followed.
    started: LruCache<i64, ()>,
}

impl Packages {
    pub(super) fn new(deps: &Dependencies) -> Self {
        let most = bound(deps.config.cache.max_containers);
        Self { followed: LruCache::new(most), started: LruCache::new(most) }
    }

    /// The recording says that the packages of a container were followed: what package managers did is in it,
    /// too.
    pub(super) fn note_followed(&mut self, container: &str) {
        self.followed.put(container.into(), ());
    }

    /// The package manager that the event's process is, or that the nearest ancestor in its container is;
    /// `None` where there is none, and on the host.
    pub(super) fn work(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<PackageWork> {
        let state = p.threads.of_event(cx)?;
        if let Some(known) = &state.package {
            return known.clone();
        }
        let container = state.container.clone()?;
        let was_changing = state.was_changing;
        let (mut own, mut parent) = own_package(cx, cx.event.tid, &container, p)?;
        if own.as_ref().is_some_and(|i| manager::has_impostors(i.manager)) && is_impostor(cx, p) {
            own = None;
            if let Some(state) = p.threads.peek_mut(cx.event.tid) {
                state.own_package = Some(None);
            }
        }
        // The nearest manager above, and the outermost process above that changes packages.
        let mut nearest: Option<(Arc<Invocation>, i64)> = None;
        let mut leader = None;
        for _ in 0..MAX_ANCESTORS {
            if let Some(Some(known)) = p.threads.peek(parent).map(|s| s.package.as_ref()) {
                let same = p.threads.peek(parent).and_then(|s| s.container.as_ref());
                if let Some(known) = known.as_ref().filter(|_| same.is_some_and(|c| c.id == container.id)) {
                    if known.changing {
                        leader = Some(known.leader);
                    }
                    nearest = nearest.or_else(|| Some((Arc::clone(&known.invocation), known.leader)));
                }
                break;
            }
            let Some((above, next)) = own_package(cx, parent, &container, p) else { break };
            if let Some(above) = above {
                if above.action.changes() {
                    leader = Some(parent);
                }
                nearest = nearest.or(Some((above, parent)));
            }
            parent = next;
        }
        let part_of_change = leader.is_some() || was_changing;
        let mut work = match (own, nearest) {
            (Some(invocation), _) => {
                let role = if part_of_change { PackageRole::Nested } else { PackageRole::Manager };
                let changing = leader.is_some() || invocation.action.changes();
                let leader = leader.unwrap_or(cx.event.tid);
                Some(PackageWork { invocation, role, changing, leader, followed: false })
            }
            (None, Some((invocation, at))) => {
                let (role, changing) = (PackageRole::Child, leader.is_some());
                let leader = leader.unwrap_or(at);
                Some(PackageWork { invocation, role, changing, leader, followed: false })
            }
            (None, None) => None,
        };
        if let Some(work) = &mut work {
            let is_start = work.leader == cx.event.tid && work.invocation.action.changes();
            work.followed = match is_start {
                true => self.follow(cx, &container, work, p),
                false => leaders_work(p, work.leader).is_some_and(|leader| leader.followed),
            };
        }
        p.threads.of_event(cx)?.package = Some(work.clone());
        work
    }

    /// The package manager that the event's process works for, where what it runs is the image's, or that of
    /// a package.
    pub(super) fn writing_manager(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<Manager> {
        let work = self.work(cx, p).filter(|work| work.changes())?;
        if !p.is_trusted(cx) {
            return None;
        }
        // A process that takes a package manager's name, and has a program of the image write, is not one.
        let container = p.threads.container(cx)?;
        if work.leader != cx.event.tid && !p.is_trusted_thread(cx, work.leader, &container) {
            return None;
        }
        // apt's dpkg installs what apt was asked for.
        let outermost = leaders_work(p, work.leader).map(|leader| leader.invocation.manager);
        Some(outermost.unwrap_or(work.invocation.manager))
    }

    /// Has a worker follow a package manager that was just started; whether it does. In a replay, whether it
    /// did when the capture was taken.
    fn follow(
        &mut self,
        cx: &Context<'_>,
        container: &Arc<Container>,
        work: &PackageWork,
        p: &mut Processes,
    ) -> bool {
        if !leaves_traces(work.invocation.manager) {
            return false;
        }
        if cx.workers().is_none() {
            let followed = self.followed.contains(&container.id);
            // A start that the capture does not have is reported by nobody: its end is.
            match !followed && is_exec(cx.event) {
                true => _ = self.started.put(cx.event.tid, ()),
                false => _ = self.started.pop(&cx.event.tid),
            }
            return followed;
        }
        if !can_follow_packages(container) {
            return false;
        }
        let agent = agents::of(cx, Some(work), true, p);
        let notice = PackageNotice::Started(Arc::clone(container), agent);
        cx.workers().is_some_and(|workers| workers.packages(notice))
    }

    /// Whether a replay has reported the start of the package manager whose end an event of this thread
    /// reports now: the recording says that it was followed by an event that comes after the start, where
    /// what was declared of the container took a moment to read.
    pub(super) fn is_reported_at_start(&self, tid: i64) -> bool {
        self.started.contains(&tid)
    }
}

/// What is known of the leader of a change.
pub(super) fn leaders_work(p: &Processes, leader: i64) -> Option<&PackageWork> {
    p.threads.peek(leader)?.package.as_ref()?.as_ref()
}

/// The package manager that a thread's process is by itself, and its parent's thread id; `None` where the
/// thread is not known or not in this container.
fn own_package(
    cx: &Context<'_>,
    tid: i64,
    container: &Container,
    p: &mut Processes,
) -> Option<(Option<Arc<Invocation>>, i64)> {
    let state = p.threads.in_container(cx, tid, container)?;
    if let Some(own) = &state.own_package {
        return Some((own.clone(), state.ptid));
    }
    let (own, ptid) = match cx.exec().filter(|_| tid == cx.event.tid) {
        Some(exec) => {
            let argv: Vec<&[u8]> = exec.argv().collect();
            let script = interpreter::script_argument(exec.exe_path, &argv);
            (manager::identify(exec.exe_path, &argv, script, None), exec.ptid)
        }
        None => {
            let thread = cx.table.get(tid)?;
            let args = cx.table.args(tid).unwrap_or_default();
            let argv: Vec<&[u8]> =
                std::iter::once(thread.argv0.as_slice()).chain(args.iter().map(Vec::as_slice)).collect();
            let script = interpreter::script_argument(&thread.exe_path, &argv);
            (manager::identify(&thread.exe_path, &argv, script, None), thread.ptid)
        }
    };
    let own = own.map(Arc::new);
    state.ptid = ptid;
    state.own_package = Some(own.clone());
    Some((own, ptid))
}

/// Whether the event's program only shares a package manager's name: the image's package that owns it tells.
fn is_impostor(cx: &Context<'_>, p: &mut Processes) -> bool {
    let path = match p.script(cx) {
        Some(script) => script.judgement.path.clone(),
        None => p.binary(cx).and_then(|b| b.judgement.path.clone()),
    };
    let (Some(path), Some(container)) = (path, p.threads.container(cx)) else { return false };
    let Ok(image) = &container.image else { return false };
    matches!(image.owner(&path), Ok(Some(owner)) if manager::is_impostor(&owner))
}
