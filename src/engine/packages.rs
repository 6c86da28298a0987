//! The package manager that a process is, or works for.
//!
//! A process answers for itself, else its nearest ancestor in the same container does. Looked at when first asked, and
//! remembered with the thread. Of one that was started to change packages the background is told then, so that it can
//! tell what came of it ([`crate::workers::packages`]).

use super::{Engine, ThreadReader};
use crate::event::exec::{is_exec, ExecFacts};
use crate::event::raw::SyscallEvent;
use crate::facts::{can_follow_packages, PackageNotice};
use crate::workers::packages::leaves_traces;
use drift_core::command::interpreter;
use drift_core::command::manager::{self, Invocation};
use drift_core::container::registry::Container;
use drift_core::verdict::origin::Origin;
use drift_core::verdict::script::Runner;
use drift_formats::bytes::nul_separated;
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
    /// Whether the background tells what comes of the change, so that its start is none to tell.
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

impl Engine {
    /// The package manager that the event's process is, or that the nearest ancestor in its container is; `None` where
    /// there is none, and on the host.
    pub fn package_work(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<PackageWork> {
        let state = self.thread(event, reader)?;
        if let Some(known) = &state.package {
            return known.clone();
        }
        let container = state.container.clone()?;
        let was_changing = state.was_changing;
        let (mut own, mut parent) = self.own_package(event.tid, Some(event), &container, reader)?;
        let impostors = own.as_ref().is_some_and(|i| manager::has_impostors(i.manager));
        if impostors && self.is_impostor(event, reader)
            || own.is_some() && self.takes_foreign_module(event, &container, reader)
        {
            own = None;
            if let Some(state) = self.threads.peek_mut(&event.tid) {
                state.own_package = Some(None);
            }
        }
        // The nearest manager above, and the outermost process above that changes packages.
        let mut nearest: Option<(Arc<Invocation>, i64)> = None;
        let mut leader = None;
        for _ in 0..MAX_ANCESTORS {
            if let Some(Some(known)) = self.threads.peek(&parent).map(|s| s.package.as_ref()) {
                let same = self.threads.peek(&parent).and_then(|s| s.container.as_ref());
                if let Some(known) = known.as_ref().filter(|_| same.is_some_and(|c| c.id == container.id)) {
                    if known.changing {
                        leader = Some(known.leader);
                    }
                    nearest = nearest.or_else(|| Some((Arc::clone(&known.invocation), known.leader)));
                }
                break;
            }
            let Some((above, next)) = self.own_package(parent, None, &container, reader) else { break };
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
                let leader = leader.unwrap_or(event.tid);
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
            let is_start = work.leader == event.tid && work.invocation.action.changes();
            work.followed = match is_start {
                true => self.follow(event, reader, &container, work),
                false => self.leaders_work(work.leader).is_some_and(|leader| leader.followed),
            };
        }
        self.thread(event, reader)?.package = Some(work.clone());
        work
    }

    /// What is known of the leader of a change.
    pub(super) fn leaders_work(&self, leader: i64) -> Option<&PackageWork> {
        self.threads.peek(&leader)?.package.as_ref()?.as_ref()
    }

    /// Has the background follow a package manager that was just started; whether it does. In a replay, whether it did
    /// when the capture was taken.
    fn follow(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
        container: &Arc<Container>,
        work: &PackageWork,
    ) -> bool {
        if !leaves_traces(work.invocation.manager) {
            return false;
        }
        if self.background.is_none() {
            let followed = self.followed_once.contains(&container.id);
            // A start that the capture does not have is told by nobody: its end is.
            match !followed && is_exec(event) {
                true => _ = self.told_at_start.put(event.tid, ()),
                false => _ = self.told_at_start.pop(&event.tid),
            }
            return followed;
        }
        if !can_follow_packages(container) {
            return false;
        }
        let agent = self.agent_of(event, reader, Some(work), true);
        let notice = PackageNotice::Started(Arc::clone(container), agent);
        self.background.as_ref().is_some_and(|background| background.packages(notice))
    }

    /// Whether a replay has told the start of the package manager whose end an event tells now: the recording says that it was
    /// followed by an event that comes after the start, where what was declared of the container took a moment to read.
    pub fn has_told_start(&self, event: &SyscallEvent<'_>) -> bool {
        self.told_at_start.contains(&event.tid)
    }

    /// The package manager that a thread's process is by itself, and its parent's thread id; `None` where the thread is
    /// not known or not in this container.
    fn own_package(
        &mut self,
        tid: i64,
        event: Option<&SyscallEvent<'_>>,
        container: &Container,
        reader: ThreadReader<'_>,
    ) -> Option<(Option<Arc<Invocation>>, i64)> {
        if tid <= 0 {
            return None;
        }
        if !self.threads.contains(&tid) {
            let state = self.load_thread(tid, reader)?;
            self.threads.put(tid, state);
        }
        let state = self.threads.get_mut(&tid)?;
        if state.container.as_ref().is_none_or(|c| c.id != container.id) {
            return None;
        }
        if let Some(own) = &state.own_package {
            return Some((own.clone(), state.ptid));
        }
        let (own, ptid) = match event.and_then(ExecFacts::from_event) {
            Some(exec) => {
                let argv: Vec<&[u8]> = exec.argv().collect();
                let script = interpreter::script_argument(exec.exe_path, &argv);
                (manager::identify(exec.exe_path, &argv, script, None), exec.ptid)
            }
            None => {
                let thread = reader.get(tid)?;
                let args = reader.threads.and_then(|t| t.args(reader.reader, tid)).unwrap_or_default();
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
    fn is_impostor(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> bool {
        let path = match self.script(event, reader) {
            Some(script) => script.judgement.path.clone(),
            None => self.binary(event, reader).and_then(|b| b.judgement.path.clone()),
        };
        let (Some(path), Some(container)) = (path, self.container(event, reader)) else { return false };
        let Ok(image) = &container.image else { return false };
        matches!(image.owner(&path), Ok(Some(owner)) if manager::is_impostor(&owner))
    }

    /// Whether `python -m NAME` takes a file that is not the image's: from the working directory, `PYTHONPATH` or the user's
    /// own packages, where Python looks first (docs.python.org, "The initialization of the sys.path module search path").
    fn takes_foreign_module(
        &self,
        event: &SyscallEvent<'_>,
        container: &Arc<Container>,
        reader: ThreadReader<'_>,
    ) -> bool {
        let table = || reader.threads.map(|threads| (threads, reader.reader));
        let thread = reader.get(event.tid);
        let exec = ExecFacts::from_event(event);
        let args;
        let (exe, argv, cwd, environment) = match (&exec, &thread) {
            (Some(exec), thread) => {
                let of_thread = thread.as_ref().map_or(&b""[..], |thread| &thread.cwd);
                let cwd = if exec.cwd.is_empty() { of_thread } else { exec.cwd };
                (exec.exe_path, exec.argv().collect(), cwd, exec.environment.map(<[u8]>::to_vec))
            }
            (None, Some(thread)) => {
                args = table().and_then(|(t, r)| t.args(r, event.tid)).unwrap_or_default();
                let argv0 = std::iter::once(thread.argv0.as_slice());
                let argv: Vec<&[u8]> = argv0.chain(args.iter().map(Vec::as_slice)).collect();
                let environment = table().and_then(|(t, r)| t.environment(r, event.tid));
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
        let runner = Runner { pid: event.tid, cwd };
        let own = |name: &[u8], rest: &[u8]| [name, rest].concat();
        let names = [&b"/__init__.py"[..], b"/__main__.py", b".py", b".so", b".abi3.so"];
        let names = names.map(|rest| own(module.name, rest));
        let candidates = dirs.iter().flat_map(|dir| names.iter().map(move |name| [dir, &b"/"[..], name].concat()));
        let taken = candidates.map(|path| self.judge.judge_script(container, &runner, &path));
        let taken = taken.into_iter().find(|script| script.judgement.origin != Origin::Unknown);
        taken.is_some_and(|script| match script.judgement.origin {
            Origin::Image | Origin::ImageTouched => false,
            // Upgraded by itself.
            _ => self.written.of(&container.id, script.ino).is_none_or(|written| written.during.is_none()),
        })
    }
}
