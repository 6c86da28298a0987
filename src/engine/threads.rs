//! Threads: the container that each is in, and what was found out about it since its last exec.

use super::bound;
use super::containers::Containers;
use super::context::{Context, Dependencies};
use super::environment::EnvironmentState;
use super::packages::PackageWork;
use super::pipes::Piping;
use super::work::WorkState;
use crate::event::exec::ExecFacts;
use crate::event::threads::Thread;
use crate::facts::{Agent, Process, Writer};
use drift_core::command::manager::Invocation;
use drift_core::container::registry::{Container, LoadedManifest};
use drift_core::verdict::binary::Binary;
use drift_core::verdict::script::Script;
use lru::LruCache;
use std::sync::Arc;

/// A start before this (the year 2000, nanoseconds since the epoch) is not one: the kernel counts from boot,
/// and a capture without the machine's boot time leaves it so.
const EPOCH_FLOOR: u64 = 946_684_800_000_000_000;

/// What is known of a thread.
#[derive(Debug, Clone, Default)]
pub(super) struct ThreadState {
    /// Process id.
    pub(super) pid: i64,
    /// `None`: the thread is the host's.
    pub(super) container: Option<Arc<Container>>,
    pub(super) binary: Option<Arc<Binary>>,
    /// Outer `None`: not asked yet; inner: the process runs no script.
    pub(super) script: Option<Option<Arc<Script>>>,
    /// Which run of its executable this is, and of its script; `None`: not asked yet, or not counted.
    pub(super) run: Option<u64>,
    pub(super) script_run: Option<u64>,
    /// The pipe that it reads its program from, and whether its arguments were cut before they say what it
    /// runs; known with `script`.
    pub(super) pipe: Option<u64>,
    pub(super) is_cut: bool,
    /// What it does at a pipe's end; `None`: not asked yet.
    pub(super) piping: Option<Arc<Piping>>,
    /// The argument that is not the image's; outer `None`: not asked yet.
    pub(super) argument: Option<Option<Arc<Script>>>,
    /// Command line of the thread; `None`: not asked yet.
    command: Option<Arc<str>>,
    /// What events say of its process; `None`: not asked yet.
    process: Option<Arc<Process>>,
    /// The thread as a writer of files, while nothing can change it; `None`: not asked yet, or it can.
    pub(super) writer: Option<Arc<Writer>>,
    /// When the container's first process started, nanoseconds since the epoch; outer `None`: not asked yet;
    /// inner: not known.
    started: Option<Option<u64>>,
    /// State of the registry when the container was last compared with it.
    registry: u64,
    /// Number of findings of workers when the verdict was last compared with them.
    pub(super) findings: u64,
    /// Parent's thread id; 0 where not looked at.
    pub(super) ptid: i64,
    /// The package manager that the process is; outer `None`: not looked at yet.
    pub(super) own_package: Option<Option<Arc<Invocation>>>,
    /// The package manager at work; outer `None`: not asked yet.
    pub(super) package: Option<Option<PackageWork>>,
    /// The work of the image's own that it takes part in; `None`: not asked yet.
    pub(super) work: Option<WorkState>,
    /// Who is behind what this process does to packages; `None`: not looked at yet.
    pub(super) agent: Option<Arc<Agent>>,
    /// The environment against the declared one.
    pub(super) environment: EnvironmentState,
    /// Whether the container's first process starts what was declared; outer `None`: not asked yet, or what
    /// was declared is not read yet; inner: not known, or it is another process.
    pub(super) entrypoint: Option<Option<bool>>,
    /// Its exec was seen.
    pub(super) executed: bool,
    /// Its last exec is its first one in this container.
    pub(super) first_exec: bool,
    /// The program that this process was before its last exec was a package manager that changes something.
    pub(super) was_changing: bool,
}

impl ThreadState {
    fn is_in(&self, container: &Container) -> bool {
        self.container.as_ref().is_some_and(|own| own.id == container.id)
    }
}

/// The threads.
#[derive(Debug)]
pub(super) struct Threads {
    states: LruCache<i64, ThreadState>,
    pub(super) containers: Containers,
}

impl Threads {
    pub(super) fn new(deps: &Dependencies, manifests: Vec<LoadedManifest>) -> Self {
        // Grown as needed, up to the bound.
        let states = LruCache::new(bound(deps.config.cache.max_threads));
        Self { states, containers: Containers::new(deps, manifests) }
    }

    /// What is known of a thread, without a look at it.
    pub(super) fn peek(&self, tid: i64) -> Option<&ThreadState> {
        self.states.peek(&tid)
    }

    pub(super) fn peek_mut(&mut self, tid: i64) -> Option<&mut ThreadState> {
        self.states.peek_mut(&tid)
    }

    /// A process has executed a program. It may be gone by the time a rule asks: a new container is looked at
    /// now.
    pub(super) fn note_exec(&mut self, deps: &Dependencies, exec: &ExecFacts<'_>) {
        let container = self.containers.of_exec(deps, exec);
        let id = container.as_ref().map(|c| &c.id);
        let before = self.states.peek(&exec.pid);
        let again = before.is_some_and(|s| s.executed && s.container.as_ref().map(|c| &c.id) == id);
        let environment = before.filter(|_| again).map(|s| s.environment.after_exec());
        let before = before.filter(|s| s.package.is_some());
        let was_changing = before.is_some_and(|s| s.own_package.iter().flatten().any(|i| i.action.changes()));
        let state = ThreadState {
            pid: exec.pid,
            container,
            was_changing,
            executed: true,
            first_exec: !again,
            environment: environment.unwrap_or_default(),
            ..ThreadState::default()
        };
        self.states.put(exec.pid, state);
    }

    /// A thread is new: its id may have been another one's.
    pub(super) fn note_new(&mut self, tid: i64) {
        self.states.pop(&tid);
    }

    /// A thread has ended.
    pub(super) fn note_exit(&mut self, tid: i64) {
        self.states.pop(&tid);
        self.containers.registry.note_exit(tid);
    }

    /// The state of the event's thread, read from the table if its exec was not seen. `None` if nobody knows
    /// it.
    pub(super) fn of_event(&mut self, cx: &Context<'_>) -> Option<&mut ThreadState> {
        let tid = cx.event.tid;
        if self.states.contains(&tid) {
            cx.deps.metrics.hits.inc();
        } else {
            cx.deps.metrics.lookups.inc();
            let state = self.load(cx, tid)?;
            self.states.put(tid, state);
        }
        let state = self.states.get_mut(&tid)?;
        let changes = self.containers.registry.changes();
        if state.registry != changes {
            let newer = state.container.as_ref().and_then(|old| self.containers.newer(old));
            if let Some(now) = newer {
                state.container = Some(Arc::clone(now));
                state.binary = None;
                state.script = None;
                state.argument = None;
                state.work = None;
                state.writer = None;
                state.started = None;
                state.entrypoint = None;
            }
            state.registry = changes;
        }
        Some(state)
    }

    fn load(&mut self, cx: &Context<'_>, tid: i64) -> Option<ThreadState> {
        let thread = cx.table.get(tid)?;
        if thread.pid != tid {
            if let Some(leader) = self.states.peek(&thread.pid) {
                return Some(ThreadState { writer: None, ..leader.clone() });
            }
        }
        let cgroups = cx.table.cgroups(tid)?;
        let container = self.containers.of_cgroups(cx.deps, &cgroups, thread.pid);
        Some(ThreadState { pid: thread.pid, container, ..ThreadState::default() })
    }

    /// The container of the event's thread; `None` on the host.
    pub(super) fn container(&mut self, cx: &Context<'_>) -> Option<Arc<Container>> {
        self.of_event(cx)?.container.clone()
    }

    /// Whether the event's thread is known to be the host's.
    pub(super) fn is_host(&mut self, cx: &Context<'_>) -> bool {
        self.of_event(cx).is_some_and(|t| t.container.is_none())
    }

    /// The state of a thread of a container; `None` where it is not known or not in this container.
    pub(super) fn in_container(
        &mut self,
        cx: &Context<'_>,
        tid: i64,
        container: &Container,
    ) -> Option<&mut ThreadState> {
        if tid <= 0 {
            return None;
        }
        if !self.states.contains(&tid) {
            let state = self.load(cx, tid)?;
            self.states.put(tid, state);
        }
        self.states.get_mut(&tid).filter(|state| state.is_in(container))
    }

    /// A thread of a container, as the engine knows it.
    pub(super) fn member(&mut self, cx: &Context<'_>, tid: i64, container: &Container) -> Option<Thread> {
        self.in_container(cx, tid, container)?;
        cx.table.get(tid)
    }

    /// Whether a thread is in a container, without a look at the thread.
    pub(super) fn is_in(&self, cx: &Context<'_>, tid: i64, container: &Container) -> bool {
        self.peek(tid).map(|state| state.is_in(container)).unwrap_or_else(|| {
            let groups = cx.table.cgroups(tid).unwrap_or_default();
            self.containers.named(&groups).is_some_and(|id| id == container.id)
        })
    }

    /// When the container's init process started, nanoseconds since the epoch.
    pub(super) fn container_started(&mut self, cx: &Context<'_>) -> Option<u64> {
        let state = self.of_event(cx)?;
        let container = state.container.as_ref()?;
        if let Some(known) = state.started {
            return known;
        }
        // The start of the PID namespace's init process; a container in the host's namespace, or in that of
        // its pod, has none of its own.
        let first = container.live.as_ref().and_then(|live| cx.table.get(live.pid()));
        let shares = first.is_some_and(|first| first.vtid != 1);
        let thread = cx.table.get(cx.event.tid).filter(|t| t.vtid != cx.event.tid);
        let of_namespace = thread.map(|t| t.pidns_init_start).filter(|started| *started > EPOCH_FLOOR);
        let of_process = || container.live.as_ref()?.started.filter(|started| *started != 0);
        let started = match shares {
            true => of_process().or(of_namespace),
            false => of_namespace.or_else(of_process),
        };
        state.started = Some(started);
        started
    }

    /// Command line of the event's thread, read once for each program it runs.
    pub(super) fn command(&mut self, cx: &Context<'_>) -> Arc<str> {
        let known = self.of_event(cx).and_then(|state| state.command.clone());
        known.unwrap_or_else(|| {
            let line: Arc<str> = cx.table.command(cx.event.tid).unwrap_or_default().into();
            if let Some(state) = self.of_event(cx) {
                state.command = Some(Arc::clone(&line));
            }
            line
        })
    }

    /// The event's process, read once for each program it runs.
    pub(super) fn process(&mut self, cx: &Context<'_>) -> Arc<Process> {
        let state = self.of_event(cx);
        let container = state.as_ref().and_then(|state| state.container.clone());
        let pid = state.as_ref().map_or(cx.event.tid, |state| state.pid);
        let known = state.and_then(|state| state.process.clone());
        known.unwrap_or_else(|| {
            let command = Some(self.command(cx));
            let process = Arc::new(Process { command, ..process_of(cx, pid, container.as_deref()) });
            if let Some(state) = self.of_event(cx) {
                state.process = Some(Arc::clone(&process));
            }
            process
        })
    }
}

/// What is known of the event's process, whose id is `pid`.
pub(super) fn process_of(cx: &Context<'_>, pid: i64, container: Option<&Container>) -> Process {
    let name_of = |tid: i64| {
        let name = cx.table.name(tid).filter(|name| !matches!(name.as_str(), "" | "<NA>"));
        name.map(Arc::from)
    };
    let tid = cx.event.tid;
    let parent = cx.table.get(tid).and_then(|thread| name_of(thread.ptid));
    let of_exec = cx.exec().filter(|exec| exec.pid == pid).and_then(|exec| exec.user);
    // A process of that id on another machine than the capture's is another one.
    let uid = of_exec.or_else(|| cx.workers().and_then(|_| cx.host().user_of(pid)));
    let named = uid.and_then(|uid| container?.declaration.user(uid).cloned());
    let user = named.or_else(|| uid.filter(|uid| *uid == 0).map(|_| "root".into()));
    Process { name: name_of(tid), parent, uid, user, command: None }
}
