//! From an event to answers: thread, container, image, verdict. The only place that knows all of them.
//!
//! Invariants: an answer given before is given from memory (no allocation, lock or system call); each first look is
//! bounded; asking the same field of the same event again gives the same answer.

use crate::background::verifier::{Against, Finding, Job};
use crate::background::Background;
use crate::config::Config;
use crate::container::id::{may_be_cut, IdRules};
use crate::container::registry::{Container, LoadedManifest, Registry};
use crate::event::exec::{ExeFlags, ExecFacts, InodeId};
use crate::event::raw::{code, SyscallEvent};
use crate::event::threads::{Thread, Threads};
use crate::host::{strip_deleted, FoundFile, Host};
use crate::manifest::entry::ImagePath;
use crate::manifest::image::{Image, Presence};
use crate::metrics::Metrics;
use crate::packages::manager::Invocation;
use crate::verdict::binary::{Binary, BinaryKey};
use crate::verdict::interpreter;
use crate::verdict::judge::{find_executable, is_memfd_path, Judge, Judgement, Subject};
use crate::verdict::origin::Origin;
use crate::verdict::script::{Runner, Script};
use falco_plugin::tables::LazyTableReader;
use files::EventFile;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Arc;

mod files;
mod packages;

pub use packages::{PackageRole, PackageWork};

/// A start before this (the year 2000, nanoseconds since the epoch) is none: the kernel counts from boot, and a capture
/// without the machine's boot time leaves it so.
const EPOCH_FLOOR: u64 = 946_684_800_000_000_000;

/// Most answers remembered of which paths images have.
const IMAGE_FILES: usize = 8192;

/// What is remembered of a thread.
#[derive(Debug, Clone, Default)]
struct ThreadState {
    /// Process id.
    pid: i64,
    /// `None`: the thread is the host's.
    container: Option<Arc<Container>>,
    binary: Option<Arc<Binary>>,
    /// Outer `None`: not asked yet; inner: the process runs no script.
    script: Option<Option<Arc<Script>>>,
    /// Command line of the thread; `None`: not asked yet.
    command: Option<Arc<str>>,
    /// When the container's first process started, nanoseconds since the epoch; `None`: not asked yet, 0: not known.
    started: Option<u64>,
    /// State of the registry when the container was last compared with it.
    registry: u64,
    /// Number of background findings when the verdict was last compared with them.
    findings: u64,
    /// Parent's thread id; 0 where not looked at.
    ptid: i64,
    /// The package manager that the process is; outer `None`: not looked at yet.
    own_package: Option<Option<Arc<Invocation>>>,
    /// The package manager at work; outer `None`: not asked yet.
    package: Option<Option<PackageWork>>,
    /// The program that this process was before its last exec was a package manager that changes something.
    was_changing: bool,
}

/// Access to the engine's table of threads during one call.
#[derive(Debug, Clone, Copy)]
pub struct ThreadReader<'a> {
    /// The table; `None` on a source without threads.
    pub threads: Option<&'a Threads>,
    /// The engine's functions to read it.
    pub reader: &'a LazyTableReader<'a>,
}

impl ThreadReader<'_> {
    fn get(&self, tid: i64) -> Option<Thread> {
        self.threads?.get(self.reader, tid)
    }
}

/// Everything that answers need, in one place.
#[derive(Debug)]
pub struct Resolver {
    config: Arc<Config>,
    ids: IdRules,
    registry: Registry,
    judge: Judge,
    threads: LruCache<i64, ThreadState>,
    verdicts: LruCache<BinaryKey, Arc<Binary>>,
    /// Paths that images were asked for.
    image_files: LruCache<BinaryKey, bool>,
    /// Background findings taken in so far.
    findings: u64,
    /// The file of the event that was asked about last.
    last_file: Option<(EventKey, Option<Arc<EventFile>>)>,
    metrics: Arc<Metrics>,
    background: Option<Background>,
    /// Whether the kernel's probe was seen to tell layers.
    flags_given: bool,
}

/// [`SyscallEvent::identity`].
type EventKey = (u64, i64, u16, u64);

/// What an executable is judged by: from an exec event, or from the table of threads.
struct Facts<'a> {
    pid: i64,
    ptid: i64,
    path: &'a [u8],
    inode: InodeId,
    flags: ExeFlags,
    argv: Vec<&'a [u8]>,
}

fn bound(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)
}

impl Resolver {
    /// A resolver with nothing remembered.
    pub fn new(config: Arc<Config>, manifests: Vec<LoadedManifest>, metrics: Arc<Metrics>) -> Self {
        let host = Host::new(&config.host_root);
        Self {
            ids: IdRules::default(),
            registry: Registry::new(host.clone(), Arc::clone(&config), manifests),
            judge: Judge::new(host, config.inline_max),
            // Grown as needed, up to the bound.
            threads: LruCache::new(bound(config.cache.max_threads)),
            verdicts: LruCache::new(bound(config.cache.max_verdicts)),
            image_files: LruCache::new(bound(IMAGE_FILES)),
            findings: 0,
            last_file: None,
            metrics,
            background: None,
            flags_given: false,
            config,
        }
    }

    /// Starts background work and looks for containers that run already.
    pub fn start(&mut self, background: Background) {
        self.background = Some(background);
        let host = self.judge.host().clone();
        for pid in host.pids() {
            let Some(lines) = host.cgroups(pid) else { continue };
            if let Some(id) = self.ids.find(lines.split(|b| *b == b'\n')) {
                self.container_by_id(&id.id, pid);
            }
        }
    }

    /// Ends background work; what is known stays.
    pub fn stop(&mut self) {
        self.background = None;
    }

    /// Follows threads and containers; called once for each event that [`crate::event::raw::StateEvent`] names.
    pub fn observe(&mut self, event: &SyscallEvent<'_>) {
        match event.code {
            code::EXECVE_X | code::EXECVEAT_X => {
                if let Some(exec) = ExecFacts::from_event(event) {
                    // The process may be gone by the time a rule asks: look at a new container now.
                    let state = self.state_of_exec(&exec);
                    self.threads.put(exec.pid, state);
                }
            }
            code::PROCEXIT => {
                self.threads.pop(&event.tid);
                self.registry.note_exit(event.tid);
            }
            code::CLONE_X | code::FORK_X | code::VFORK_X | code::CLONE3_X => {
                // In the parent the result is the child's id; in the child it is 0. Either way the child is new.
                match event.i64_param(0) {
                    Some(0) => drop(self.threads.pop(&event.tid)),
                    Some(child) if child > 0 => drop(self.threads.pop(&child)),
                    _ => {}
                }
            }
            code::ASYNC => self.observe_async(event),
            _ => {}
        }
    }

    /// The container plugin's event `container` tells the image reference of a container:
    /// `{"container":{"full_id":…,"image":…,…}}` with a NUL at the end (falcosecurity/plugins, plugins/container).
    fn observe_async(&mut self, event: &SyscallEvent<'_>) {
        const MAX_JSON: usize = 1 << 20;
        let Some((b"container", data)) = event.async_payload() else { return };
        let data = data.strip_suffix(b"\0").unwrap_or(data);
        if data.len() > MAX_JSON {
            return;
        }
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(data) else { return };
        let text = |key: &str| json.pointer(&format!("/container/{key}")).and_then(|v| v.as_str());
        if let (Some(id), Some(image)) = (text("full_id").or_else(|| text("id")), text("image")) {
            self.registry.note_reference(id, image);
        }
    }

    fn container_by_id(&mut self, id: &str, pid: i64) -> Arc<Container> {
        let (container, fresh) = self.registry.look_at(id, pid);
        if let (Some(background), Some(image)) = (&self.background, fresh) {
            background.index(image);
        }
        self.metrics.containers.set(self.registry.len() as u64);
        container
    }

    fn state_of_exec(&mut self, exec: &ExecFacts<'_>) -> ThreadState {
        self.flags_given |= exec.flags.lower;
        let id = self.container_id(exec.cgroups(), exec.pid);
        let container = id.map(|id| self.container_by_id(&id, exec.pid));
        let before = self.threads.peek(&exec.pid).filter(|s| s.package.is_some());
        let was_changing = before.is_some_and(|s| s.own_package.iter().flatten().any(|i| i.action.changes()));
        ThreadState { pid: exec.pid, container, was_changing, ..ThreadState::default() }
    }

    /// The container that a thread's control groups name.
    ///
    /// Events carry no more than the last six components of a path, and a container that may make control groups can
    /// nest them deeper under names of its choice: such a path is read whole from `/proc` where the process lives.
    fn container_id<'g>(
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

    /// The state of the event's thread, read from the table if its exec was not seen. `None` if nobody knows it.
    fn thread(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<&mut ThreadState> {
        let tid = event.tid;
        if self.threads.contains(&tid) {
            self.metrics.hits.inc();
        } else {
            self.metrics.lookups.inc();
            let state = self.load_thread(tid, reader)?;
            self.threads.put(tid, state);
        }
        let state = self.threads.get_mut(&tid)?;
        // A container that could not be looked at, or was restarted, may have been looked at since through another
        // of its processes.
        if state.registry != self.registry.changes() {
            if let Some(old) = state.container.as_ref().filter(|c| !c.is_current()) {
                if let Some(now) = self.registry.known(&old.id).filter(|now| !Arc::ptr_eq(now, old)) {
                    state.container = Some(Arc::clone(now));
                    state.binary = None;
                    state.script = None;
                    state.started = None;
                }
            }
            state.registry = self.registry.changes();
        }
        Some(state)
    }

    fn load_thread(&mut self, tid: i64, reader: ThreadReader<'_>) -> Option<ThreadState> {
        let thread = reader.get(tid)?;
        if thread.pid != tid {
            if let Some(leader) = self.threads.peek(&thread.pid) {
                return Some(leader.clone());
            }
        }
        let cgroups = reader.threads?.cgroups(reader.reader, tid)?;
        let id = self.container_id(cgroups.iter().map(Vec::as_slice), thread.pid);
        let container = id.map(|id| self.container_by_id(&id, thread.pid));
        Some(ThreadState { pid: thread.pid, container, ..ThreadState::default() })
    }

    /// The container of the event's thread; `None` on the host.
    pub fn container(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<Arc<Container>> {
        self.thread(event, reader)?.container.clone()
    }

    /// Whether the event's thread is known to be the host's.
    pub fn is_host(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> bool {
        self.thread(event, reader).is_some_and(|t| t.container.is_none())
    }

    /// When the container's init process started, nanoseconds since the epoch.
    pub fn container_started(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<u64> {
        let state = self.thread(event, reader)?;
        let live = state.container.as_ref()?.live.as_ref().and_then(|l| l.started);
        let started = match state.started {
            Some(known) => known,
            None => {
                // The start of the PID namespace's init process; a container in the host's namespace has none of its
                // own.
                let thread = reader.get(event.tid).filter(|t| t.vtid != event.tid);
                let known = thread.map_or(0, |t| t.pidns_init_start);
                if known > EPOCH_FLOOR {
                    known
                } else {
                    live.unwrap_or(0)
                }
            }
        };
        self.thread(event, reader)?.started = Some(started);
        (started != 0).then_some(started)
    }

    /// The verdict on the executable of the event's process; `None` on the host.
    pub fn binary(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<Arc<Binary>> {
        self.take_findings();
        let findings = self.findings;
        let state = self.thread(event, reader)?;
        if let Some(binary) = state.binary.clone() {
            if state.findings == findings {
                return Some(binary);
            }
            state.findings = findings;
            return Some(self.latest(binary, event.tid));
        }
        let container = state.container.clone()?;
        let binary = match ExecFacts::from_event(event) {
            Some(exec) => {
                let facts = Facts {
                    pid: exec.pid,
                    ptid: exec.ptid,
                    path: exec.exe_path,
                    inode: exec.inode,
                    flags: exec.flags,
                    argv: exec.argv().take(2).collect(),
                };
                self.judge_binary(&container, &facts, reader, event.tid)
            }
            None => {
                let thread = reader.get(event.tid)?;
                let facts = Facts {
                    pid: thread.pid,
                    ptid: thread.ptid,
                    path: path_from_proc(&thread.exe_path),
                    inode: thread.inode,
                    flags: thread.flags,
                    argv: vec![&thread.argv0],
                };
                self.judge_binary(&container, &facts, reader, event.tid)
            }
        };
        self.thread(event, reader)?.binary = Some(Arc::clone(&binary));
        Some(binary)
    }

    /// The verdict as it is now: a background comparison may have ended since it was given.
    fn latest(&mut self, binary: Arc<Binary>, tid: i64) -> Arc<Binary> {
        match self.verdicts.get(&binary.key) {
            Some(now) if !Arc::ptr_eq(now, &binary) => {
                let now = Arc::clone(now);
                if let Some(state) = self.threads.peek_mut(&tid) {
                    state.binary = Some(Arc::clone(&now));
                }
                now
            }
            _ => binary,
        }
    }

    fn judge_binary(
        &mut self,
        container: &Arc<Container>,
        facts: &Facts<'_>,
        reader: ThreadReader<'_>,
        tid: i64,
    ) -> Arc<Binary> {
        let key = BinaryKey::new(&container.id, facts.path, facts.inode, facts.flags);
        if let Some(known) = self.verdicts.get(&key) {
            return Arc::clone(known);
        }
        let path = facts.path.into();
        let make = |judgement: Judgement| {
            let sha256 = judgement.sha256;
            let (hashing, traits, package) = Default::default();
            Arc::new(Binary { key, path, inode: facts.inode, judgement, sha256, hashing, traits, package })
        };
        if self.is_runtime(container, facts, reader) {
            return make(Judgement { why: "", origin: Origin::Runtime, ..Judgement::nothing() });
        }
        let found = find_executable(self.judge.host(), container, facts.pid, facts.path, &facts.inode);
        let subject = Subject {
            path: facts.path,
            flags: facts.flags,
            flags_given: self.flags_given,
            found: found.as_ref(),
            pid: facts.pid,
        };
        let judgement = self.judge.judge(container, &subject);
        if judgement.origin == Origin::Unknown {
            self.metrics.count_unknown(judgement.why);
            // Not remembered beyond the thread: more may be known next time.
            return make(judgement);
        }
        let binary = make(judgement);
        self.verdicts.put(key, Arc::clone(&binary));
        if binary.judgement.comparable_later {
            self.compare_later(container, &binary, found.as_ref(), tid);
        }
        binary
    }

    /// Whether the process is the runtime itself on its way into the container (`runc init`): it has the container's
    /// control group already, but still the host's process ids, and the runtime on the host for a parent.
    fn is_runtime(&mut self, container: &Container, facts: &Facts<'_>, reader: ThreadReader<'_>) -> bool {
        if !names_a_runtime(facts.path, &facts.argv) {
            return false;
        }
        // In the host's PID namespace a thread's two ids are the same.
        let in_host_pids = reader.get(facts.pid).is_some_and(|t| t.vtid == facts.pid);
        if !in_host_pids {
            return false;
        }
        let parent_cgroups = reader.threads.and_then(|t| t.cgroups(reader.reader, facts.ptid));
        let parent_outside =
            parent_cgroups.is_some_and(|c| self.ids.find(c.iter().map(Vec::as_slice)).is_none());
        // A container that shares the host's PID namespace could pose as runtime, but not from its own root.
        let from_inside = container.live.as_ref().is_some_and(|live| {
            self.judge.host().executable(facts.pid).is_ok_and(|f| f.dev == live.root_dev)
        });
        parent_outside && !from_inside
    }

    fn compare_later(
        &self,
        container: &Arc<Container>,
        binary: &Binary,
        found: Option<&FoundFile>,
        tid: i64,
    ) {
        let (Some(background), Some(found)) = (&self.background, found) else { return };
        let (Some(layer), Some(path)) = (binary.judgement.layer, binary.judgement.path.clone()) else {
            return;
        };
        if found.size > self.config.background_max {
            return;
        }
        let Ok(file) = found.open() else { return };
        let sha256 = container.image.as_ref().ok().and_then(|image| match image.lookup(&path) {
            Presence::Present { entry, .. } => entry.sha256,
            _ => None,
        });
        let against = Some(Against { layer, path, sha256 });
        let job = Job { key: binary.key, container: Arc::clone(container), file, against, tid };
        background.verify(job);
    }

    /// Takes in what the background found.
    fn take_findings(&mut self) {
        let Some(background) = &self.background else { return };
        for Finding { key, origin, sha256, .. } in background.findings() {
            self.findings += 1;
            let Some(binary) = self.verdicts.get_mut(&key) else { continue };
            let mut known = Binary::clone(binary);
            known.sha256 = sha256.or(known.sha256);
            if let Some(origin) = origin {
                known.judgement.origin = origin;
                known.judgement.comparable_later = false;
            }
            *binary = Arc::new(known);
        }
    }

    /// SHA-256 of the executable; asks the background for it where it is not known, and says `None` meanwhile.
    pub fn binary_sha256(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<[u8; 32]> {
        let binary = self.binary(event, reader)?;
        if binary.sha256.is_some() || binary.hashing.get().is_some() {
            return binary.sha256;
        }
        let state = self.thread(event, reader)?;
        let (container, pid) = (state.container.clone()?, state.pid);
        let background = self.background.as_ref()?;
        let found = find_executable(self.judge.host(), &container, pid, &binary.path, &binary.inode)?;
        if found.size <= self.config.background_max {
            let file = found.open().ok()?;
            let job = Job { key: binary.key, container, file, against: None, tid: event.tid };
            if background.verify(job) {
                let _ = binary.hashing.set(());
            }
        }
        None
    }

    /// The executable itself, for what is read from its content; `None` where it cannot be found any more.
    pub fn executable(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<FoundFile> {
        let binary = self.binary(event, reader)?;
        let state = self.thread(event, reader)?;
        let (container, pid) = (state.container.clone()?, state.pid);
        container.live.as_ref()?;
        find_executable(self.judge.host(), &container, pid, &binary.path, &binary.inode)
    }

    /// Traits of the executable; `None` where it cannot be looked at.
    pub fn binary_traits(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<Arc<[&'static str]>> {
        let binary = self.binary(event, reader)?;
        if let Some(known) = binary.traits.get() {
            return Some(Arc::clone(known));
        }
        let traits = Arc::from(crate::verdict::traits::of(&self.executable(event, reader)?));
        Some(Arc::clone(binary.traits.get_or_init(|| traits)))
    }

    /// Whether a container's image has a path, links followed; `None` where that cannot be found out.
    pub fn image_has_file(&mut self, container: &str, image: &Image, path: &[u8]) -> Option<bool> {
        // Forgotten whenever a container is looked at anew: its image may come from elsewhere then.
        let asked_at = InodeId { ino: self.registry.changes(), ..InodeId::default() };
        let key = BinaryKey::new(container, path, asked_at, ExeFlags::default());
        if let Some(known) = self.image_files.get(&key) {
            return Some(*known);
        }
        let has = match image.resolve(&ImagePath::lexical(b"/", path).ok()?).1 {
            Presence::Present { .. } => true,
            Presence::Absent => false,
            Presence::Unknown(_) => return None,
        };
        self.image_files.put(key, has);
        Some(has)
    }

    /// The script that the event's process was started on; `None` when it runs none, or on the host.
    pub fn script(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<Arc<Script>> {
        let state = self.thread(event, reader)?;
        if let Some(script) = &state.script {
            return script.clone();
        }
        let container = state.container.clone()?;
        let script = match ExecFacts::from_event(event) {
            Some(exec) => {
                let exe = exec.exe_path;
                interpreter::is_interpreter(exe).then(|| exec.argv().collect::<Vec<_>>()).and_then(|argv| {
                    let argument = interpreter::script_argument(exe, &argv)?;
                    let thread = reader.get(event.tid);
                    let cwd = if exec.cwd.is_empty() {
                        thread.as_ref().map_or(&b""[..], |t| &t.cwd)
                    } else {
                        exec.cwd
                    };
                    Some(self.judge.judge_script(&container, &Runner { pid: exec.pid, cwd }, argument))
                })
            }
            None => {
                let thread = reader.get(event.tid)?;
                interpreter::is_interpreter(&thread.exe_path)
                    .then(|| reader.threads.and_then(|t| t.args(reader.reader, event.tid)))
                    .flatten()
                    .and_then(|args| {
                        let argv: Vec<&[u8]> = std::iter::once(thread.argv0.as_slice())
                            .chain(args.iter().map(Vec::as_slice))
                            .collect();
                        let argument = interpreter::script_argument(&thread.exe_path, &argv)?;
                        let runner = Runner { pid: thread.pid, cwd: &thread.cwd };
                        Some(self.judge.judge_script(&container, &runner, argument))
                    })
            }
        };
        if let Some(script) = script.as_ref().filter(|s| s.judgement.origin == Origin::Unknown) {
            self.metrics.count_unknown(script.judgement.why);
        }
        let script = script.map(Arc::new);
        self.thread(event, reader)?.script = Some(script.clone());
        script
    }

    /// The counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

/// The path of an executable as the engine read it from `/proc`, where an unlinked file's carries a mark.
fn path_from_proc(path: &[u8]) -> &[u8] {
    if is_memfd_path(path) {
        path
    } else {
        strip_deleted(path)
    }
}

/// Whether an executable goes by the name of a container runtime that starts processes through its own copy.
fn names_a_runtime(path: &[u8], argv: &[&[u8]]) -> bool {
    // runc before 1.2 runs from a memfd of this name (libcontainer/nsenter/cloned_binary.c); crun and later runc
    // from a sealed mount of the binary, or from the host's file.
    if is_memfd_path(path) {
        let name = path.strip_prefix(b"/").unwrap_or(path);
        return name.starts_with(b"memfd:runc_cloned:") || name.starts_with(b"memfd:crun");
    }
    let base = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let is_init = argv.get(1).is_some_and(|a| *a == b"init");
    matches!(base, b"runc" | b"crun" | b"youki") || (base == b"exe" && is_init)
}
