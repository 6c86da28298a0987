//! From an event to answers: thread, container, image, verdict. The only place that knows all of them.
//!
//! Invariants: an answer given before is given from memory (no allocation, lock or system call); each first look is
//! bounded; asking the same field of the same event again gives the same answer.

use crate::config::Config;
use crate::event::exec::ExecFacts;
use crate::event::open::{opening, Opening};
use crate::event::raw::{code, SyscallEvent};
use crate::event::threads::{Thread, Threads};
use crate::events::{container, file, ContainerReport, FileReport, OwnEvent, Payload};
use crate::facts::{Agent, NewImage, Writer};
use crate::metrics::Metrics;
use crate::prebuilt::Lists;
use crate::workers::Workers;
use cache::ContainerCache;
use cgroups::LastCgroups;
use drift_core::command::manager::Invocation;
use drift_core::container::declared::ImageIdentity;
use drift_core::container::id::IdRules;
use drift_core::container::registry::{Container, LoadedManifest, Registry};
use drift_core::host::Host;
use drift_core::host::{ExeFlags, InodeId};
use drift_core::image::view::{Image, Presence};
use drift_core::verdict::binary::{Binary, BinaryKey};
use drift_core::verdict::judge::Judge;
use drift_core::verdict::script::Script;
use drift_formats::digest::Digest;
use drift_formats::entry::ImagePath;
use falco_plugin::tables::LazyTableReader;
use files::EventFile;
use lru::LruCache;
use peers::Peers;
use ports::SeenPorts;
use provenance::WrittenFiles;
use recent::RecentlySeen;
use runs::Runs;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use work::{Starts, WorkState};

mod agents;
mod cache;
mod cgroups;
mod declared;
mod files;
mod libraries;
mod packages;
mod peers;
mod ports;
mod programs;
mod provenance;
mod recent;
mod runs;
mod secrets;
mod work;

pub use declared::EnvNames;
pub use packages::{PackageRole, PackageWork};
pub use peers::PeerFacts;

/// A start before this (the year 2000, nanoseconds since the epoch) is none: the kernel counts from boot, and a capture
/// without the machine's boot time leaves it so.
const EPOCH_FLOOR: u64 = 946_684_800_000_000_000;

/// How long the engine is held up at its start to look at containers that run already.
const START: Duration = Duration::from_millis(20);

/// Most entries of each table that are forgotten with one event, once a container is gone.
const FORGET: usize = 16;

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
    /// Which run of its executable this is, and of its script; `None`: not asked yet, or not counted.
    run: Option<u64>,
    script_run: Option<u64>,
    /// Command line of the thread; `None`: not asked yet.
    command: Option<Arc<str>>,
    /// The thread as a writer of files, while nothing can change it; `None`: not asked yet, or it can.
    writer: Option<Arc<Writer>>,
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
    /// The work of the image's own that it takes part in; `None`: not asked yet.
    work: Option<WorkState>,
    /// Who is behind what this process does to packages; `None`: not looked at yet.
    agent: Option<Arc<Agent>>,
    /// The environment against the declared one; `None`: not asked yet, or not known yet.
    environment: Option<Arc<EnvNames>>,
    /// Whether the container's first process starts what was declared; outer `None`: not asked yet, or what was declared is
    /// not read yet; inner: not known, or it is another process.
    entrypoint: Option<Option<bool>>,
    /// Its exec was seen.
    executed: bool,
    /// Its last exec is its first one in this container.
    first_exec: bool,
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
pub struct Engine {
    config: Arc<Config>,
    ids: IdRules,
    registry: Registry,
    judge: Judge,
    threads: LruCache<i64, ThreadState>,
    verdicts: ContainerCache<BinaryKey, Arc<Binary>>,
    /// Paths that images were asked for.
    image_files: ContainerCache<BinaryKey, bool>,
    /// Processes that ran already when the engine started, and were not looked at yet.
    unseen: Vec<i64>,
    /// Workers findings taken in so far.
    findings: u64,
    /// The file of the event that was asked about last.
    last_file: Option<(EventKey, Option<Arc<EventFile>>)>,
    /// Who wrote which file.
    written: WrittenFiles,
    /// Containers whose packages were followed when the capture that is replayed was taken.
    followed_once: LruCache<Box<str>, ()>,
    /// Package managers of a replay that were started where nothing said yet that they were followed.
    told_at_start: LruCache<i64, ()>,
    /// Libraries looked at of late.
    libraries: RecentlySeen,
    /// Changes of mounted secrets told of late.
    tampered: RecentlySeen,
    /// How often executables that are not the image's ran, and scripts.
    runs: Runs,
    script_runs: Runs,
    metrics: Arc<Metrics>,
    background: Option<Workers>,
    /// Approved images and baselines, as last read.
    lists: Lists,
    /// Which containers have started.
    starts: Starts,
    /// Ports that were told.
    ports: SeenPorts,
    /// Peers that were judged.
    peers: Peers,
    /// Whether the kernel's probe was seen to tell layers.
    flags_given: bool,
    /// The control groups of the last exec whose event has them whole, and the container that they name.
    last_cgroups: Option<LastCgroups>,
}

/// [`SyscallEvent::identity`].
type EventKey = (u64, u64, i64, u16);

fn bound(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)
}

impl Engine {
    /// A engine with nothing remembered.
    pub fn new(
        config: Arc<Config>,
        manifests: Vec<LoadedManifest>,
        lists: Lists,
        metrics: Arc<Metrics>,
    ) -> Self {
        let host = Host::new(&config.host_root);
        Self {
            ids: IdRules::default(),
            registry: Registry::new(host.clone(), config.registry(), manifests),
            judge: Judge::new(host, config.inline_max),
            // Grown as needed, up to the bound.
            threads: LruCache::new(bound(config.cache.max_threads)),
            verdicts: ContainerCache::new(config.cache.max_verdicts),
            image_files: ContainerCache::new(IMAGE_FILES),
            unseen: Vec::new(),
            findings: 0,
            last_file: None,
            written: WrittenFiles::new(),
            followed_once: LruCache::new(bound(config.cache.max_containers)),
            told_at_start: LruCache::new(bound(config.cache.max_containers)),
            libraries: RecentlySeen::new(libraries::MAX_SEEN),
            tampered: RecentlySeen::new(secrets::MAX_TOLD),
            runs: Runs::new(),
            script_runs: Runs::new(),
            metrics,
            background: None,
            lists,
            starts: Starts::new(bound(config.cache.max_containers)),
            ports: SeenPorts::new(),
            peers: Peers::new(),
            flags_given: false,
            last_cgroups: None,
            config,
        }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        self.judge.host()
    }

    /// Starts background work and looks for containers that run already: for a moment at once, at the rest one process
    /// with each later event, so that the engine need not wait for a node's hundreds of containers.
    pub fn start(&mut self, background: Workers) {
        self.background = Some(background);
        self.unseen = self.judge.host().pids();
        let begun = Instant::now();
        while !self.unseen.is_empty() && begun.elapsed() < START {
            self.look_at_unseen();
        }
    }

    /// Looks at one of the processes that ran already when the engine started.
    fn look_at_unseen(&mut self) {
        let Some(pid) = self.unseen.pop() else { return };
        let Some(lines) = self.judge.host().cgroups(pid) else { return };
        if let Some(id) = self.ids.find(lines.split(|b| *b == b'\n')) {
            self.container_by_id(&id.id, pid, None);
        }
    }

    /// Forgets a little of what is remembered of a container that the registry has let go.
    fn forget_gone(&mut self) {
        let Some(id) = self.registry.gone() else { return };
        let key = BinaryKey::container_key(id);
        let forgotten = self.verdicts.forget(key, FORGET)
            + self.image_files.forget(key, FORGET)
            + self.written.forget(id, FORGET)
            + self.libraries.forget(id, FORGET)
            + self.tampered.forget(id, FORGET)
            + self.runs.forget(id, FORGET)
            + self.script_runs.forget(id, FORGET)
            + self.ports.forget(id, FORGET)
            + self.peers.forget(id, FORGET);
        if forgotten == 0 {
            self.registry.forgotten();
        }
    }

    /// Ends background work; what is known stays.
    pub fn stop(&mut self) {
        self.background = None;
        self.unseen = Vec::new();
    }

    /// Follows threads and containers; called once for each event that [`crate::event::raw::StateEvent`] names.
    pub fn observe(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) {
        self.look_at_unseen();
        self.forget_gone();
        match event.code {
            code::OPEN_X | code::OPENAT_X | code::OPENAT2_X => self.observe_open(event, reader),
            code::EXECVE_X | code::EXECVEAT_X => {
                if let Some(exec) = ExecFacts::from_event(event) {
                    // The process may be gone by the time a rule asks: look at a new container now.
                    let state = self.state_of_exec(&exec);
                    self.threads.put(exec.pid, state);
                    self.note_start(&exec, event.ts, reader);
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

    /// Looks at files that are opened for writing, and at libraries that are loaded. No rule has to ask: each that is evaluated
    /// on every open costs the engine several times what this does.
    fn observe_open(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) {
        match opening(event) {
            Some(Opening::Writing) if self.config.watch_files => _ = self.file_change(event, reader),
            Some(Opening::LikeALoader) if self.config.watch_libraries => {
                _ = self.watch_library(event, reader)
            }
            _ => {}
        }
    }

    /// The container plugin's event `container` tells the image reference of a container:
    /// `{"container":{"full_id":…,"image":…,…}}` with a NUL at the end (falcosecurity/plugins, plugins/container).
    fn observe_async(&mut self, event: &SyscallEvent<'_>) {
        const MAX_JSON: usize = 1 << 20;
        let Some((name, data)) = event.async_payload() else { return };
        if name == ContainerReport::NAME.as_bytes() && self.background.is_none() {
            // Recorded with drift at work: what package managers did is in the capture, too.
            let payload = Payload::parse(data);
            if let Some(id) = payload.as_ref().and_then(container::recorded_as_followed) {
                self.followed_once.put(id.into(), ());
            }
            return;
        }
        if name == FileReport::NAME.as_bytes() {
            if let Some((id, inode, proved, looked_at)) = Payload::parse(data).as_ref().and_then(file::proof) {
                self.written.note_proof(id, inode, proved, looked_at);
            }
            return;
        }
        let data = data.strip_suffix(b"\0").unwrap_or(data);
        if data.len() > MAX_JSON || name != b"container" {
            return;
        }
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(data) else { return };
        let text = |key: &str| json.pointer(&format!("/container/{key}")).and_then(|v| v.as_str());
        if let (Some(id), Some(image)) = (text("full_id").or_else(|| text("id")), text("image")) {
            let digest = |text: &str| Digest::parse(text).ok().or_else(|| Digest::from_hex(text));
            let image = ImageIdentity {
                reference: Some(image.to_owned()).filter(|i| !i.is_empty()),
                id: text("imageid").and_then(digest),
                digests: text("imagedigest").and_then(digest).into_iter().collect(),
            };
            self.registry.note_image(id, image);
        }
    }

    fn container_by_id(&mut self, id: &str, pid: i64, exec: Option<&ExecFacts<'_>>) -> Arc<Container> {
        let (container, fresh) = self.registry.look_at(id, pid);
        self.ask_declaration(&container, exec);
        if let (Some(background), Some(live), Some(image)) = (&self.background, &container.live, fresh) {
            background.index(NewImage { image, looked_at: live.looked_at() });
        }
        self.metrics.containers.set(self.registry.len() as u64);
        container
    }

    fn state_of_exec(&mut self, exec: &ExecFacts<'_>) -> ThreadState {
        self.flags_given |= exec.flags.lower;
        let id = self.container_of_exec(exec);
        let container = id.map(|id| self.container_by_id(&id, exec.pid, Some(exec)));
        let id = container.as_ref().map(|c| &c.id);
        let again = self
            .threads
            .peek(&exec.pid)
            .is_some_and(|s| s.executed && s.container.as_ref().map(|c| &c.id) == id);
        let before = self.threads.peek(&exec.pid).filter(|s| s.package.is_some());
        let was_changing = before.is_some_and(|s| s.own_package.iter().flatten().any(|i| i.action.changes()));
        ThreadState {
            pid: exec.pid,
            container,
            was_changing,
            executed: true,
            first_exec: !again,
            ..ThreadState::default()
        }
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
                    state.work = None;
                    state.writer = None;
                    state.started = None;
                    state.entrypoint = None;
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
                return Some(ThreadState { writer: None, ..leader.clone() });
            }
        }
        let cgroups = reader.threads?.cgroups(reader.reader, tid)?;
        let id = self.container_id(cgroups.iter().map(Vec::as_slice), thread.pid);
        let container = id.map(|id| self.container_by_id(&id, thread.pid, None));
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

    /// Whether a container's image has a path, links followed; `None` where that cannot be found out. `key` is any key of that
    /// container and path.
    pub fn image_has_file(&mut self, key: BinaryKey, image: &Image, path: &[u8]) -> Option<bool> {
        // Forgotten whenever a container is looked at anew: its image may come from elsewhere then.
        let asked_at = InodeId { ino: self.registry.changes(), ..InodeId::default() };
        let key = key.of_state(asked_at, ExeFlags::default());
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

    /// The counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

#[cfg(test)]
mod memory_tests;
