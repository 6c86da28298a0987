//! Containers that processes are in: which one control groups name, and what is known of it.

use super::cache::ContainerCache;
use super::context::Dependencies;
use crate::event::exec::ExecFacts;
use crate::facts::NewImage;
use crate::logging::warn_once;
use drift_core::container::declared::ImageIdentity;
use drift_core::container::id::{may_be_cut, ContainerId, IdRules};
use drift_core::container::identity::{self, Identity};
use drift_core::container::namespaces;
use drift_core::container::registry::{Container, LoadedManifest, Located, Registry};
use drift_core::host::{ExeFlags, InodeId};
use drift_core::image::view::{Image, Presence};
use drift_core::verdict::binary::BinaryKey;
use drift_formats::digest::Digest;
use drift_formats::entry::ImagePath;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most cached answers about which paths images have.
const IMAGE_FILES: usize = 8192;

/// Most control groups of unknown namespaces that are kept, and how soon one is looked for again.
const MISSES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
const MISS: Duration = Duration::from_secs(1);

/// The control groups of an exec whose event has them whole, and the container that they name.
#[derive(Debug)]
struct LastCgroups {
    raw: Box<[u8]>,
    container: Option<Box<str>>,
}

/// The containers.
#[derive(Debug)]
pub(super) struct Containers {
    ids: IdRules,
    pub(super) registry: Registry,
    last_cgroups: Option<LastCgroups>,
    /// Control groups that may be of a namespace of containerd which nobody knows, and when that was last
    /// looked for.
    misses: LruCache<Box<[u8]>, Instant>,
    /// Processes that ran already when the engine started, and were not looked at yet.
    unseen: Vec<i64>,
    /// Whether images have paths that were asked for.
    image_files: ContainerCache<BinaryKey, bool>,
}

impl Containers {
    pub(super) fn new(deps: &Dependencies, manifests: Vec<LoadedManifest>) -> Self {
        Self {
            ids: IdRules::of(deps.host()),
            misses: LruCache::new(MISSES),
            registry: Registry::new(deps.host().clone(), deps.config.registry(), manifests),
            last_cgroups: None,
            unseen: Vec::new(),
            image_files: ContainerCache::new(IMAGE_FILES),
        }
    }

    /// Has the processes that run already looked at, the one after the other, by [`Self::look_at_unseen`].
    pub(super) fn start(&mut self, deps: &Dependencies) {
        self.unseen = deps.host().pids();
        // The oldest first: of a container that is the one that its runtime started.
        self.unseen.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Looks at no further processes.
    pub(super) fn stop(&mut self) {
        self.unseen = Vec::new();
    }

    /// Looks at one of the processes that ran already when the engine started; `false` if there is none left.
    pub(super) fn look_at_unseen(&mut self, deps: &Dependencies) -> bool {
        let Some(pid) = self.unseen.pop() else { return false };
        let lines = deps.host().cgroups(pid).unwrap_or_default();
        let lines = || lines.split(|b| *b == b'\n');
        if let Some(id) = self.ids.find(lines()).or_else(|| self.learn(deps, lines(), pid)) {
            self.by_id(deps, &id.id, pid, None);
        }
        true
    }

    /// Forgets up to `most` entries of a container; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.image_files.forget(BinaryKey::container_key(container), most)
    }

    /// The container with this id, looked at through a process of it where it was not yet.
    pub(super) fn by_id(
        &mut self,
        deps: &Dependencies,
        id: &str,
        pid: i64,
        exec: Option<&ExecFacts<'_>>,
    ) -> Arc<Container> {
        let (container, fresh) = self.registry.look_at(id, pid);
        if fresh.is_some() {
            log::debug!("container {id}: looked at through process {pid}");
        }
        if let Err(why) = &container.image {
            log::debug!("container {id}: the image is not known, asked by process {pid}: {why}");
            if deps.workers.is_some() {
                warn_once!(
                    "the image of container {id} is not known ({why}); what runs there is judged by the kernel's \
                     flags alone. Metric unknown_no_image counts such verdicts"
                );
            }
        }
        ask_declaration(deps, &container, exec);
        if let (Some(workers), Some(live), Some(image)) = (&deps.workers, &container.live, fresh) {
            workers.index(NewImage { image, looked_at: live.looked_at() });
        }
        deps.metrics.containers.set(self.registry.len() as u64);
        container
    }

    /// Takes in where workers found the layers of a container; its id.
    pub(super) fn set_located(&mut self, deps: &Dependencies, located: Located) -> Option<Box<str>> {
        let container = self.registry.set_located(located)?;
        log::debug!("container {}: its layers are known by its runtime's records", container.id);
        if let (Some(workers), Some(live), Ok(image)) = (&deps.workers, &container.live, &container.image) {
            let image = NewImage { image: image.clone(), looked_at: live.looked_at() };
            workers.index(image);
        }
        Some(container.id.clone())
    }

    /// The container that the control groups of an exec name. A process's child has the same ones, mostly.
    pub(super) fn of_exec(&mut self, deps: &Dependencies, exec: &ExecFacts<'_>) -> Option<Arc<Container>> {
        let id = self.id_of_exec(deps, exec)?;
        Some(self.by_id(deps, &id, exec.pid, Some(exec)))
    }

    /// The id of the container of an exec, without a look at it.
    pub(super) fn id_of_exec(&mut self, deps: &Dependencies, exec: &ExecFacts<'_>) -> Option<Box<str>> {
        if let Some(last) = self.last_cgroups.as_ref().filter(|last| *last.raw == *exec.raw_cgroups()) {
            return last.container.clone();
        }
        let found = self.ids.find(exec.cgroups()).or_else(|| self.learn(deps, exec.cgroups(), exec.pid));
        let is_whole = match &found {
            Some(id) => !id.path_may_be_cut,
            None => !may_be_cut(exec.cgroups()),
        };
        if !is_whole {
            // Each process is asked for its own.
            return self.id(deps, exec.cgroups(), exec.pid);
        }
        let container = found.map(|id| id.id);
        self.last_cgroups =
            Some(LastCgroups { raw: exec.raw_cgroups().into(), container: container.clone() });
        container
    }

    /// The container that a thread's control groups name.
    pub(super) fn of_cgroups(
        &mut self,
        deps: &Dependencies,
        cgroups: &[Vec<u8>],
        pid: i64,
    ) -> Option<Arc<Container>> {
        let id = self.id(deps, cgroups.iter().map(Vec::as_slice), pid)?;
        Some(self.by_id(deps, &id, pid, None))
    }

    /// Events carry no more than the last six components of a path, and a container that may make control
    /// groups can nest them deeper under names of its choice: such a path is read whole from `/proc` where
    /// the process lives.
    fn id<'g>(
        &mut self,
        deps: &Dependencies,
        cgroups: impl Iterator<Item = &'g [u8]> + Clone,
        pid: i64,
    ) -> Option<Box<str>> {
        let found = self.ids.find(cgroups.clone()).or_else(|| self.learn(deps, cgroups.clone(), pid));
        let cut = found.as_ref().map_or_else(|| may_be_cut(cgroups), |id| id.path_may_be_cut);
        if cut {
            if let Some(lines) = deps.host().cgroups(pid) {
                let whole = self.ids.find(lines.split(|b| *b == b'\n'));
                // A live process of that id that is in no such container is another one: this is a replay.
                if whole.is_some() || found.is_none() {
                    return whole.map(|id| id.id);
                }
            }
        }
        found.map(|id| id.id)
    }

    /// The container that control groups name if they are of a namespace of containerd that nobody knew so
    /// far.
    fn learn<'g>(
        &mut self,
        deps: &Dependencies,
        cgroups: impl Iterator<Item = &'g [u8]> + Clone,
        pid: i64,
    ) -> Option<ContainerId> {
        // In a replay `/proc` is another machine's.
        deps.workers.as_ref()?;
        let (namespace, name) = cgroups.clone().find_map(IdRules::possible)?;
        let key: Box<[u8]> = [namespace, b"/", name].concat().into();
        if self.misses.get(&key).is_some_and(|at| at.elapsed() < MISS) {
            return None;
        }
        if !namespaces::learn(deps.host(), pid, cgroups.clone()) {
            self.misses.put(key, Instant::now());
            return None;
        }
        self.ids = IdRules::of(deps.host());
        self.ids.find(cgroups)
    }

    /// The id that control groups name, as the engine's table has them.
    pub(super) fn named(&self, cgroups: &[Vec<u8>]) -> Option<Box<str>> {
        self.ids.find(cgroups.iter().map(Vec::as_slice)).map(|id| id.id)
    }

    /// What is known of a container by now, if that is something else than `old` says: one that could not be
    /// looked at, or was restarted, may have been looked at since through another of its processes, and a
    /// worker may have found its layers.
    pub(super) fn newer(&mut self, old: &Arc<Container>) -> Option<&Arc<Container>> {
        self.registry.known(&old.id).filter(|now| !Arc::ptr_eq(now, old))
    }

    /// Takes in what the container plugin's event `container` says of a container:
    /// `{"container":{"full_id":…,"image":…,"name":…,"labels":{…},"pod_sandbox_labels":{…},…}}` with a NUL at the end (falcosecurity/plugins,
    /// plugins/container).
    pub(super) fn note_image(&mut self, data: &[u8]) {
        const MAX_JSON: usize = 1 << 20;
        let data = data.strip_suffix(b"\0").unwrap_or(data);
        if data.len() > MAX_JSON {
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
            self.registry.note_told(id, image, identity_of(&json));
        }
    }

    /// Whether a container's image has a path, links followed; `None` where that cannot be found out. `key`
    /// is any key of that container and path.
    pub(super) fn image_has_file(&mut self, key: BinaryKey, image: &Image, path: &[u8]) -> Option<bool> {
        // Asked again whenever a container is looked at again: its image may come from elsewhere then.
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

    /// See [`ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.image_files.bytes_when_full()
    }
}

/// Who a container is, by the container plugin's event.
fn identity_of(json: &serde_json::Value) -> Identity {
    let of = |key: &str| json.pointer(&format!("/container/{key}"));
    let labels = |key: &str| of(key).and_then(|labels| labels.as_object()).into_iter().flatten();
    let mut identity = Identity::from_labels(|key| of("labels")?.get(key)?.as_str());
    let text = |key: &str| of(key).and_then(|value| value.as_str()).and_then(identity::name);
    if let Some(pod) = &mut identity.pod {
        pod.sandbox = text("pod_sandbox_id");
        let pairs =
            labels("pod_sandbox_labels").filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
        pod.labels = identity::bounded(pairs);
    }
    if of("is_pod_sandbox").and_then(serde_json::Value::as_bool) == Some(true) {
        return Identity { kind: Some(identity::Kind::Pause), name: None, ..identity };
    }
    Identity { name: identity.name.or_else(|| text("name")), ..identity }
}

/// Has a worker read what was declared of a container that was just looked at.
fn ask_declaration(deps: &Dependencies, container: &Arc<Container>, exec: Option<&ExecFacts<'_>>) {
    let (Some(workers), Some(_)) = (&deps.workers, &container.live) else { return };
    let declaration = &container.declaration;
    if !declaration.ask() {
        return;
    }
    if let Some(exec) = exec {
        // Only the first exec that is seen can be that of the container's first process.
        let _ = declaration.first_exec.set((exec.pid, exec.argv().map(Box::from).collect()));
    }
    if !workers.declare(Arc::clone(container)) {
        declaration.ask_again();
    }
}
