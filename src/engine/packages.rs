//! The package manager that a process is, or works for.
//!
//! A process answers for itself, else its nearest ancestor in the same container does. Looked at when first
//! asked, and cached with the thread. One that was started to change packages is handed to a worker then,
//! which reports what came of it ([`crate::workers::packages`]).

use super::context::{Context, Dependencies};
use super::processes::Processes;
use super::{agents, bound};
use crate::event::exec::is_exec;
use crate::facts::{can_follow_packages, During};
use crate::workers::packages::leaves_traces;
use crate::workers::packages::PackageNotice;
use drift_core::command::interpreter;
use drift_core::command::manager::{self, Invocation};
use drift_core::container::registry::Container;
use drift_core::verdict::origin::Origin;
use drift_core::verdict::script::Runner;
use drift_formats::bytes::nul_separated;
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

/// Most directories that a module is looked for in.
const MAX_MODULE_DIRS: usize = 16;
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
        let impostors = own.as_ref().is_some_and(|i| manager::has_impostors(i.manager));
        if (impostors && is_impostor(cx, p)) || (own.is_some() && takes_foreign_module(cx, &container, p)) {
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

    /// The package manager's transaction that the event's process takes part in, where what it runs is the
    /// image's, or was written in such a transaction.
    pub(super) fn during(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<During> {
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
        Some(During { manager: outermost.unwrap_or(work.invocation.manager), leader: work.leader })
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

/// Whether `python -m NAME` takes a file that is not the image's: from the working directory, `PYTHONPATH` or
/// the user's own packages, where Python looks first (docs.python.org, "The initialization of the sys.path
/// module search path").
fn takes_foreign_module(cx: &Context<'_>, container: &Container, p: &Processes) -> bool {
    let thread = cx.table.get(cx.event.tid);
    let exec = cx.exec();
    let args;
    let (exe, argv, cwd, environment) = match (&exec, &thread) {
        (Some(exec), thread) => {
            let of_thread = thread.as_ref().map_or(&b""[..], |thread| &thread.cwd);
            let cwd = if exec.cwd.is_empty() { of_thread } else { exec.cwd };
            (exec.exe_path, exec.argv().collect(), cwd, exec.environment.map(<[u8]>::to_vec))
        }
        (None, Some(thread)) => {
            args = cx.table.args(cx.event.tid).unwrap_or_default();
            let argv0 = std::iter::once(thread.argv0.as_slice());
            let argv: Vec<&[u8]> = argv0.chain(args.iter().map(Vec::as_slice)).collect();
            let environment = cx.table.environment(cx.event.tid);
            (thread.exe_path.as_slice(), argv, thread.cwd.as_slice(), environment)
        }
        (None, None) => return false,
    };
    let Some(module) = manager::python_module(exe, &argv).filter(|_| container.live.is_some()) else {
        return false;
    };
    let environment = environment.unwrap_or_default();
    let variable = |name: &[u8]| {
        let mut all = nul_separated(&environment);
        all.find_map(|v| v.strip_prefix(name)?.strip_prefix(b"="))
    };
    let mut dirs: Vec<Vec<u8>> = Vec::new();
    dirs.extend(module.from_cwd.then(|| cwd.to_vec()));
    if let Some(path) = variable(b"PYTHONPATH").filter(|_| module.from_env) {
        dirs.extend(path.split(|b| *b == b':').take(MAX_MODULE_DIRS).map(<[u8]>::to_vec));
    }
    let version = exe.rsplit(|b| *b == b'/').next().and_then(|base| base.strip_prefix(b"python"));
    if let Some(version) = version.filter(|_| module.from_user) {
        let base = variable(b"PYTHONUSERBASE").map(<[u8]>::to_vec);
        let base = base.or_else(|| Some([variable(b"HOME")?, b"/.local"].concat()));
        dirs.extend(base.map(|base| [&base, &b"/lib/python"[..], version, b"/site-packages"].concat()));
    }
    let runner = Runner { pid: cx.event.tid, cwd };
    let names = [&b"/__init__.py"[..], b"/__main__.py", b".py", b".so", b".abi3.so"];
    let names = names.map(|rest| [module.name, rest].concat());
    let mut candidates =
        dirs.iter().flat_map(|dir| names.iter().map(move |name| [dir, &b"/"[..], name].concat()));
    let taken = candidates.find_map(|path| {
        let script = cx.deps.judge.judge_script(container, &runner, &path);
        // One that is not there has no inode.
        (script.ino != 0).then_some(script)
    });
    taken.is_some_and(|script| match script.judgement.origin {
        Origin::Image | Origin::ImageTouched => false,
        // Upgraded by itself.
        _ => p.writers.of(&container.id, script.ino).is_none_or(|written| written.during.is_none()),
    })
}
