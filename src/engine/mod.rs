//! From an event to answers: which thread, in which container, with which image, and what to think of it.
//!
//! A type for each concern, each with its own state in its own file: `threads` and the `containers` they
//! are in, `programs`, `scripts`, `provenance` (who wrote which file), `packages`, `files`,
//! `libraries`, `ports`, `peers`. They borrow what else they need. [`Engine`] holds them, follows the
//! events, and lends them to a [`Query`].
//!
//! Invariants: an answer given before is given from memory (no allocation, lock or system call); each first
//! look is bounded; asking the same field of the same event again gives the same answer; what is known of a
//! container is forgotten with it, a little at each event.

mod agents;
mod aliases;
mod cache;
mod containers;
mod content;
mod context;
mod declared;
mod environment;
mod files;
mod libraries;
mod loads;
#[cfg(test)]
mod memory_tests;
mod packages;
mod paths;
mod peers;
mod pipes;
mod ports;
mod processes;
mod programs;
mod provenance;
mod query;
mod recent;
mod repeats;
mod role;
mod runs;
mod scripts;
mod secrets;
mod threads;
mod work;

pub use files::EventFile;
pub use packages::{PackageRole, PackageWork};
pub use peers::PeerFacts;
pub use query::Query;

use crate::config::Config;
use crate::event::exec::refused_format;
use crate::event::open::{opening, Opening};
use crate::event::raw::{code, EventKey, SyscallEvent};
use crate::event::reading::RECENT;
use crate::event::threads::ThreadReader;
use crate::events::{container, file, ContainerReport, FileReport, OwnEvent, Payload};
use crate::metrics::Metrics;
use crate::prebuilt::Lists;
use crate::workers::Workers;
use context::{Context, Decoded, Dependencies};
use drift_core::container::registry::LoadedManifest;
use drift_core::host::Host;
use drift_core::verdict::judge::Judge;
use files::Files;
use libraries::Libraries;
use loads::Loads;
use packages::Packages;
use peers::Peers;
use ports::Ports;
use processes::Processes;
use repeats::Repeats;
use role::Role;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long Falco is held up at its start to look at containers that run already.
const START: Duration = Duration::from_millis(20);

/// Most entries of each table that are forgotten with one event, once a container is gone.
const FORGET: usize = 16;

fn bound(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)
}

/// The state of all concerns.
#[derive(Debug)]
struct State {
    processes: Processes,
    packages: Packages,
    files: Files,
    libraries: Libraries,
    loads: Loads,
    ports: Ports,
    peers: Peers,
    repeats: Repeats,
    /// The role of the last event's process.
    role: Option<(EventKey, Option<Role>)>,
}

impl State {
    fn new(deps: &Dependencies, manifests: Vec<LoadedManifest>) -> Self {
        let parts = deps.config.container_parts;
        Self {
            processes: Processes::new(deps, manifests),
            packages: Packages::new(deps),
            files: Files::new(parts),
            libraries: Libraries::new(parts),
            loads: Loads::new(parts),
            ports: Ports::new(parts),
            peers: Peers::new(parts),
            repeats: Repeats::new(deps.config.repeat, parts),
            role: None,
        }
    }

    /// Takes in where workers found the layers of containers: what was said of their programs without is
    /// judged again.
    fn take_located(&mut self, deps: &Dependencies) {
        let Some(workers) = &deps.workers else { return };
        for located in workers.located() {
            if let Some(id) = self.processes.threads.containers.set_located(deps, located) {
                self.processes.programs.forget(&id, usize::MAX);
            }
        }
    }

    /// Forgets a little of what is known of a container that the registry has let go.
    fn forget_gone(&mut self) {
        let Some(id) = self.processes.threads.containers.registry.gone().map(str::to_owned) else { return };
        let forgotten = self.processes.forget(&id, FORGET)
            + self.files.forget(&id, FORGET)
            + self.libraries.forget(&id, FORGET)
            + self.loads.forget(&id, FORGET)
            + self.ports.forget(&id, FORGET)
            + self.peers.forget(&id, FORGET)
            + self.repeats.forget(&id, FORGET);
        if forgotten == 0 {
            self.processes.threads.containers.registry.forgotten();
        }
    }
}

/// Everything that answers need, in one place.
#[derive(Debug)]
pub struct Engine {
    deps: Dependencies,
    decoded: Decoded,
    state: State,
}

impl Engine {
    /// An engine that has seen nothing yet.
    pub fn new(
        config: Arc<Config>,
        manifests: Vec<LoadedManifest>,
        lists: Lists,
        metrics: Arc<Metrics>,
    ) -> Self {
        let judge = Judge::new(Host::new(&config.host_root), config.inline_max);
        let host_name = judge.host().name();
        let deps = Dependencies { config, judge, metrics, lists, host_name, workers: None };
        Self { state: State::new(&deps, manifests), decoded: Decoded::default(), deps }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        self.deps.host()
    }

    /// Hands work to workers from now on, and looks for containers that run already: for a moment at once, at
    /// the rest one process with each later event, so that Falco need not wait for a node's hundreds of
    /// containers.
    pub fn start(&mut self, workers: Workers) {
        self.deps.workers = Some(workers);
        let containers = &mut self.state.processes.threads.containers;
        containers.start(&self.deps);
        let begun = Instant::now();
        while begun.elapsed() < START && containers.look_at_unseen(&self.deps) {}
    }

    /// Ends the workers; what is known stays.
    pub fn stop(&mut self) {
        self.deps.workers = None;
        self.state.processes.threads.containers.stop();
    }

    /// Turns to an event.
    fn turn_to(&mut self, event: &SyscallEvent<'_>) {
        if self.decoded.turn_to(event) {
            self.state.processes.programs.take_findings(&self.deps);
            self.state.take_located(&self.deps);
        }
    }

    /// Follows threads and containers; called once for each event that [`crate::event::raw::StateEvent`]
    /// names.
    pub fn observe(&mut self, event: &SyscallEvent<'_>, table: ThreadReader<'_>) {
        self.turn_to(event);
        let Self { deps, decoded, state } = self;
        let cx = Context { event, table, deps, decoded };
        state.processes.programs.let_go();
        state.processes.threads.containers.look_at_unseen(deps);
        state.forget_gone();
        let threads = &mut state.processes.threads;
        match event.code {
            code::OPEN_X | code::OPENAT_X | code::OPENAT2_X => state.observe_open(&cx),
            code::EXECVE_X | code::EXECVEAT_X => {
                if let Some(exec) = cx.exec() {
                    RECENT.note_exec(event);
                    state.processes.programs.note_flags(exec.flags);
                    if let Some(id) = threads.containers.id_of_exec(deps, &exec) {
                        state.processes.programs.hold(deps, &id, &exec);
                    }
                    threads.note_exec(deps, &exec);
                    work::note_exec(&cx, &exec, &mut state.processes);
                } else if let Some(name) = refused_format(event) {
                    scripts::note_refused(&cx, name, threads);
                }
            }
            code::PROCEXIT => threads.note_exit(event.tid),
            // The child's own event. What its parent's says is its id in the parent's PID namespace: on the
            // host that is another thread, or none (libsinsp does not use it either).
            code::CLONE_X | code::FORK_X | code::VFORK_X | code::CLONE3_X
                if event.i64_param(0) == Some(0) =>
            {
                threads.note_new(event.tid);
            }
            code::ASYNC => state.observe_async(&cx),
            _ => {}
        }
    }

    /// Asks about an event.
    pub fn ask<'e>(&'e mut self, event: &'e SyscallEvent<'e>, table: ThreadReader<'e>) -> Query<'e> {
        self.turn_to(event);
        let Self { deps, decoded, state } = self;
        Query::new(Context { event, table, deps, decoded }, state)
    }
}

impl State {
    /// Looks at files that are opened for writing, and at libraries and code that are loaded. No rule has to
    /// ask: each that is evaluated on every open costs Falco several times what this does.
    fn observe_open(&mut self, cx: &Context<'_>) {
        let config = &cx.deps.config;
        let opening = opening(cx.event);
        if opening == Some(Opening::Writing) {
            RECENT.note_written(cx.event);
        }
        match opening {
            Some(Opening::Writing) if config.watch_files => {
                _ = self.files.change(cx, &mut self.packages, &mut self.processes);
                _ = self.loads.watch_memory(cx, &mut self.processes);
            }
            Some(Opening::LikeALoader | Opening::ReadingChanged) => {
                if config.watch_libraries {
                    _ = self.libraries.watch(cx, &mut self.processes);
                }
                if config.watch_code {
                    _ = self.loads.watch(cx, &mut self.packages, &mut self.processes);
                }
            }
            _ => {}
        }
    }

    /// Takes in what the container plugin says of an image and, in a replay, what Drift itself said when the
    /// capture was taken.
    fn observe_async(&mut self, cx: &Context<'_>) {
        match cx.event.async_payload() {
            Some((b"container", data)) => self.processes.threads.containers.note_image(data),
            Some((name, data)) if name == FileReport::NAME.as_bytes() => {
                let payload = Payload::parse(data);
                if let Some((id, inode, proved, looked_at)) = payload.as_ref().and_then(file::proof) {
                    self.processes.writers.note_proof(id, inode, proved, looked_at);
                }
            }
            Some((name, data)) if name == ContainerReport::NAME.as_bytes() && cx.workers().is_none() => {
                let payload = Payload::parse(data);
                if let Some(id) = payload.as_ref().and_then(container::recorded_as_followed) {
                    self.packages.note_followed(id);
                }
                if let Some((id, identity)) = payload.as_ref().and_then(container::recorded_identity) {
                    self.processes.threads.containers.registry.note_identity(id, identity);
                }
            }
            _ => {}
        }
    }
}
