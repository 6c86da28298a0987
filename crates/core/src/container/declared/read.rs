//! Reads what was declared of a container that runs on this host.

use super::{image_ports, libpod, storage, Declared};
use crate::container::declared::containerd::{self, Manifest, Record};
use crate::container::declared::docker::{self, DockerContainer, HostConfig};
use crate::container::declared::environment::Environment;
use crate::container::declared::overrides::{overrides, Known};
use crate::container::declared::place::{self, Places};
use crate::container::declared::spec::{RunSpec, MAX_SPEC};
use crate::container::identity::{name, read as identity, Identity, Kind, Pod};
use crate::container::live::Live;
use crate::host::Host;
use drift_formats::digest::Digest;
use drift_formats::image_config::{ConfigError, ImageConfig};
use drift_formats::overlay_options::OverlayLayers;
use drift_formats::ports::{of_annotation, Ports};
use drift_formats::read_at::ReadAt;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often a database that somebody is writing is read until it fits together, and the time between.
const ATTEMPTS: usize = 5;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// Reads all that is known of `container`, looked at through `live`. Takes milliseconds: not for the event
/// thread of a live capture.
///
/// `annotations` are those of the pod that are kept.
pub fn read(
    host: &Host,
    container: &str,
    live: &Live,
    storage_roots: &[PathBuf],
    annotations: &[String],
) -> Declared {
    if !place::is_name(container) {
        return Declared { missing: vec!["the id is no name".into()], ..Declared::default() };
    }
    let upper = live.mounts().root().and_then(|root| {
        let upper = OverlayLayers::parse(&root.super_options).ok()?.upper?;
        Some(upper.as_bytes().to_vec())
    });
    let places = place::find(host, container, live.pid(), upper.as_deref(), storage_roots);
    let known = |kind| Some(host.namespace_of(live.pid(), kind)? == host.namespace_of(1, kind)?);
    let namespaces = Known { host_network: known("net"), host_pid: known("pid"), privileged: false };
    Reader { host, id: container, places, annotations, missing: Vec::new() }.read(namespaces)
}

struct Reader<'h> {
    host: &'h Host,
    id: &'h str,
    places: Places,
    annotations: &'h [String],
    missing: Vec<String>,
}

/// What one engine tells of the image and the deployment.
#[derive(Debug, Default)]
struct Told {
    reference: Option<String>,
    id: Option<Digest>,
    digests: Vec<Digest>,
    config: Option<ImageConfig>,
    ports: Vec<Ports>,
    /// There is a record of more ports, and it could not be read.
    lacks_ports: bool,
    privileged: bool,
    host_network: Option<bool>,
    docker: Option<DockerContainer>,
    identity: Identity,
}

impl Reader<'_> {
    fn read(mut self, mut known: Known) -> Declared {
        let run = self.run_spec();
        if let Some(run) = &run {
            self.places.add_binds(&run.binds);
        }
        // Each engine knows its own containers; whoever has a record is the one.
        let told = self
            .ask_docker()
            .or_else(|| self.ask_storage(run.as_ref()))
            .or_else(|| self.ask_containerd(run.as_ref()))
            .unwrap_or_else(|| {
                self.missing.push("no engine's record of the container".into());
                Told { reference: named(run.as_ref()), ..Told::default() }
            });
        let identity = self.identity(run.as_ref(), &told.identity);
        known.privileged = told.privileged;
        // Seen, or where the host's first process cannot be looked at, told.
        known.host_network = known.host_network.or(told.host_network);
        if let Some(run) = &run {
            // Without a namespace of that kind in the specification, the container has the host's.
            let own = |kind: &str| run.namespaces.contains_key(kind);
            known.host_network = if own("network") { known.host_network } else { Some(true) };
            known.host_pid = if own("pid") { known.host_pid } else { Some(true) };
        }
        let of_image = told.config.as_ref().map(|c| c.env.as_slice());
        let of_deployment = match (&run, &told.docker) {
            (Some(run), _) => Some(&run.env),
            (None, Some(docker)) => Some(&docker.env),
            (None, None) => None,
        };
        let environment =
            of_deployment.map(|deployed| Environment::new(of_image.into_iter().flatten().chain(deployed)));
        let args = match (&run, told.docker) {
            (Some(run), _) => Some(run.args.clone()),
            (None, Some(docker)) => Some(docker.args),
            (None, None) => None,
        };
        let ports = told.config.as_ref().filter(|_| !told.lacks_ports).map(|config| {
            let mut ports = image_ports(config);
            ports.extend(&told.ports);
            ports.extend(run.iter().flat_map(annotated_ports));
            ports
        });
        Declared {
            overrides: run.as_ref().map(|run| overrides(run, told.config.as_ref(), known)),
            image: crate::container::declared::ImageIdentity {
                reference: told.reference.filter(|r| !r.is_empty()),
                id: told.id,
                digests: told.digests,
            },
            config: told.config.map(Arc::new),
            args,
            uid: run.as_ref().map(|run| run.uid),
            environment,
            ports,
            read_only_root: run.as_ref().map(|run| run.read_only_root),
            identity,
            missing: self.missing,
        }
    }

    /// Who the container is, by its bundle, by what its engine says, and by the kubelet's files.
    fn identity(&mut self, run: Option<&RunSpec>, told: &Identity) -> Identity {
        let mut identity =
            run.map(|run| identity::of_annotations(|key| run.annotation(key))).unwrap_or_default();
        self.add_crio_pod(&mut identity);
        let mut identity = identity.or(told).or(&identity::of_keeper(&self.places));
        if identity.pod.is_none() {
            identity = identity::of_log(self.host, self.id).unwrap_or_default().or(&identity);
        }
        identity.kind = identity.kind.or_else(|| identity::kind(self.host, &identity));
        identity
    }

    /// Labels and annotations of the pod, by the bundle of CRI-O's sandbox.
    fn add_crio_pod(&self, identity: &mut Identity) {
        let Some(pod) = &mut identity.pod else { return };
        let Some(sandbox) = pod.sandbox.clone() else { return };
        for bundle in &self.places.bundles {
            let Some(path) = identity::beside(bundle, self.id, &sandbox) else { continue };
            let path = path.join("config.json");
            let json = self.host.read_state(path.as_os_str().as_bytes(), MAX_SPEC).ok().flatten();
            if let Some(bundle) = json.as_deref().and_then(identity::Bundle::parse) {
                bundle.add_pod(pod, self.annotations);
                return;
            }
        }
    }

    /// Reads a file of the host; `None`, with the reason noted, where it cannot be.
    fn file(&mut self, path: &Path, max: usize) -> Option<Vec<u8>> {
        match self.host.read_state(path.as_os_str().as_bytes(), max) {
            Ok(bytes) => bytes,
            Err(why) => self.fail(path, why),
        }
    }

    fn fail<T>(&mut self, path: &Path, why: impl Display) -> Option<T> {
        self.missing.push(format!("{}: {why}", path.display()));
        None
    }

    fn parsed<T, E: Display>(&mut self, path: &Path, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(why) => self.fail(path, why),
        }
    }

    fn run_spec(&mut self) -> Option<RunSpec> {
        for bundle in self.places.bundles.clone() {
            let path = bundle.join("config.json");
            if let Some(json) = self.file(&path, MAX_SPEC) {
                return self.parsed(&path, RunSpec::parse(&json));
            }
        }
        self.missing.push("no bundle with a config.json".into());
        None
    }

    /// A configuration whose digest is known, checked against it.
    fn config(&mut self, path: &Path, digest: &Digest) -> Option<ImageConfig> {
        let json = self.file(path, containerd::MAX_BLOB)?;
        if Digest::of(&json) != *digest {
            return self.fail(path, "not what its digest says");
        }
        self.parsed(path, ImageConfig::parse(&json))
    }

    fn ask_docker(&mut self) -> Option<Told> {
        let (root, container) = self.places.docker.clone().into_iter().find_map(|root| {
            let path = root.join("containers").join(self.id).join("config.v2.json");
            let json = self.file(&path, docker::MAX_STATE)?;
            let id = self.id;
            Some((root, self.parsed(&path, DockerContainer::parse(&json, id))?))
        })?;
        let path = root.join("containers").join(self.id).join("hostconfig.json");
        let host_config = self.file(&path, docker::MAX_STATE);
        let host_config = host_config.and_then(|json| self.parsed(&path, HostConfig::parse(&json)));
        let host_config = host_config.unwrap_or_default();
        let mut told = Told {
            reference: Some(container.reference.clone()),
            ports: container.ports.iter().chain(&host_config.ports).copied().collect(),
            privileged: host_config.privileged,
            host_network: host_config.host_network.then_some(true),
            ..Told::default()
        };
        if container.in_containerd {
            told.digests.extend(container.image);
            let start = container.manifest.or(container.image);
            for store in self.places.containerd.clone() {
                let Some(digest) = start else { break };
                if let Some((id, config)) = self.by_manifest(&store, digest, &mut told.digests, None) {
                    (told.id, told.config) = (Some(id), Some(config));
                    break;
                }
            }
        } else if let Some(image) = container.image {
            told.id = Some(image);
            for driver in ["overlay2", "fuse-overlayfs", "vfs", "btrfs", "zfs"] {
                let dir = root.join("image").join(driver);
                let path = dir.join("imagedb/content/sha256").join(image.hex());
                let Some(config) = self.config(&path, &image) else { continue };
                told.config = Some(config);
                let path = dir.join("repositories.json");
                let json = self.file(&path, docker::MAX_STATE);
                let pulled = json.map(|json| docker::pulled_as(&json, &image, &container.reference));
                told.digests = pulled.and_then(|p| self.parsed(&path, p)).unwrap_or_default();
                break;
            }
        }
        told.identity = self.docker_identity(&root, &container);
        told.docker = Some(container);
        Some(told)
    }

    /// By the container's labels, which cri-dockerd gives it, and those of its sandbox (cri-dockerd
    /// `core/docker_service.go`, `core/convert.go`).
    fn docker_identity(&mut self, root: &Path, container: &DockerContainer) -> Identity {
        let label = |key: &str| container.labels.get(key).map(String::as_str);
        let mut found = Identity::from_labels(label);
        let sandbox = label("io.kubernetes.sandbox.id").unwrap_or(self.id);
        if let Some(pod) = &mut found.pod {
            pod.sandbox = name(sandbox);
            let path = root.join("containers").join(sandbox).join("config.v2.json");
            let json = self.file(&path, docker::MAX_STATE).filter(|_| place::is_name(sandbox));
            if let Some(Ok(sandbox)) = json.map(|json| DockerContainer::parse(&json, sandbox)) {
                identity::add(pod, &sandbox.labels, &BTreeMap::new(), &[]);
                pod.labels.retain(|key, _| !key.starts_with("io.kubernetes."));
            }
        }
        if label("io.kubernetes.docker.type") == Some("podsandbox") {
            found.kind = Some(Kind::Pause);
            found.name = None;
        } else {
            found.name = found.name.or_else(|| name(&container.name));
        }
        found
    }

    fn ask_storage(&mut self, run: Option<&RunSpec>) -> Option<Told> {
        for (root, driver) in self.places.storage.clone() {
            let containers = root.join(format!("{driver}-containers"));
            let mut found = None;
            for name in ["containers.json", "volatile-containers.json"] {
                let path = containers.join(name);
                let Some(json) = self.file(&path, storage::MAX_STATE) else { continue };
                let id = self.id;
                found = found.or(self.parsed(&path, storage::container(&json, id)).flatten());
            }
            let Some(container) = found else { continue };
            let mut told = Told {
                reference: named(run).or(Some(container.reference)),
                id: container.image,
                identity: Identity { name: container.name.as_deref().and_then(name), ..Identity::default() },
                ..Told::default()
            };
            if let Some(image) = container.image {
                let images = root.join(format!("{driver}-images"));
                let path = images.join("images.json");
                let json = self.file(&path, storage::MAX_STATE);
                let manifests = json.and_then(|json| self.parsed(&path, storage::manifests(&json, &image)));
                told.digests = manifests.flatten().unwrap_or_default();
                let path = images.join(image.hex()).join(storage::config_file(&image));
                told.config = self.config(&path, &image);
            }
            match self.libpod_ports(&root) {
                Ok(ports) => told.ports = ports.unwrap_or_default(),
                Err(()) => told.lacks_ports = true,
            }
            return Some(told);
        }
        None
    }

    /// Ports in podman's own record; `None` where it has none of the container, `Err`, with the reason noted,
    /// where it cannot be read. podman writes it while it starts the container: what is read meanwhile may
    /// not fit together.
    fn libpod_ports(&mut self, root: &Path) -> Result<Option<Vec<Ports>>, ()> {
        let [sqlite, bolt] = [libpod::SQLITE[0], libpod::BOLT].map(|name| root.join(name));
        let mut failed = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(BETWEEN_ATTEMPTS);
            }
            match self.sqlite_ports(root).and_then(|found| match found {
                Some(ports) => Ok(Some(ports)),
                None => self.bolt_ports(&bolt).map_err(|why| (bolt.clone(), why)),
            }) {
                Ok(ports) => return Ok(ports),
                Err(why) => failed = Some(why),
            }
        }
        let (path, why) = failed.unwrap_or((sqlite, String::new()));
        self.fail::<()>(&path, why);
        Err(())
    }

    fn sqlite_ports(&self, root: &Path) -> Result<Option<Vec<Ports>>, (PathBuf, String)> {
        let open = |name: &str| {
            let path = root.join(name);
            self.host.open_state(path.as_os_str().as_bytes()).map_err(|why| (path, why.to_string()))
        };
        let [database, log] = libpod::SQLITE;
        let (Some(file), log) = (open(database)?, open(log)?) else { return Ok(None) };
        let log = log.as_ref().map(|log| log as &dyn ReadAt);
        libpod::sqlite_ports(&file, log, self.id).map_err(|why| (root.join(database), why.to_string()))
    }

    fn bolt_ports(&self, path: &Path) -> Result<Option<Vec<Ports>>, String> {
        match self.host.open_state(path.as_os_str().as_bytes()) {
            Ok(Some(file)) => libpod::ports(&file, self.id).map_err(|why| why.to_string()),
            Ok(None) => Ok(None),
            Err(why) => Err(why.to_string()),
        }
    }

    fn ask_containerd(&mut self, run: Option<&RunSpec>) -> Option<Told> {
        for root in self.places.containerd.clone() {
            let path = root.join(containerd::DATABASE);
            let file = match self.host.open_state(path.as_os_str().as_bytes()) {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(why) => {
                    self.fail::<()>(&path, why);
                    continue;
                }
            };
            for namespace in self.places.namespaces.clone() {
                let record = containerd::record(&file, &namespace, self.id);
                if let Some(record) = self.parsed(&path, record).flatten() {
                    let sandbox = run.and_then(|run| run.annotation("io.kubernetes.cri.sandbox-id"));
                    let sandbox = sandbox.map(|id| containerd::sandbox(&file, &namespace, id));
                    let sandbox = sandbox.and_then(|json| self.parsed(&path, json).flatten());
                    let sandbox = sandbox.as_deref();
                    let pod: Option<Pod> =
                        sandbox.and_then(|json| identity::of_sandbox_record(json, self.annotations));
                    let called = run.and_then(|run| run.annotation("io.kubernetes.cri.container-name"));
                    let kind =
                        sandbox.zip(called).and_then(|(json, name)| identity::applied_kind(json, name));
                    let identity = Identity { name: record.name.as_deref().and_then(name), kind, pod };
                    return Some(Told { identity, ..self.follow(&root, record, run) });
                }
            }
        }
        None
    }

    fn follow(&mut self, root: &Path, record: Record, run: Option<&RunSpec>) -> Told {
        let cri = record.cri.unwrap_or_default();
        let by_record =
            Some(cri.reference).filter(|r| crate::container::declared::Reference::parse(r).is_some());
        let mut told = Told {
            reference: by_record.or_else(|| named(run)).or(Some(record.image_name)),
            id: cri.image,
            ports: cri.ports.as_deref().map(of_annotation).unwrap_or_default(),
            ..Told::default()
        };
        let recorded = (cri.image, record.parent);
        if let Some(target) = record.target {
            let mut digests = vec![target];
            if let Some((id, config)) = self.by_manifest(root, target, &mut digests, Some(recorded)) {
                told.id = Some(id);
                told.config = Some(config);
                told.digests = digests;
            }
        }
        if let (None, Some(id)) = (&told.config, told.id) {
            told.config = self.config(&blob(root, &id), &id);
        }
        told
    }

    /// Follows an index or manifest in a content store to the configuration that `recorded` (id, chain of
    /// layers) speaks for; adds the manifest's digest to `digests`.
    fn by_manifest(
        &mut self,
        root: &Path,
        start: Digest,
        digests: &mut Vec<Digest>,
        recorded: Option<(Option<Digest>, Option<Digest>)>,
    ) -> Option<(Digest, ImageConfig)> {
        let manifests = match self.manifest(root, &start)? {
            Manifest::Image(config) => vec![(start, config)],
            Manifest::Index(list) => {
                let mut found = Vec::new();
                for digest in list {
                    if let Some(Manifest::Image(config)) = self.manifest(root, &digest) {
                        found.push((digest, config));
                    }
                }
                found
            }
        };
        for (manifest, id) in manifests {
            let Some(config) = self.config(&blob(root, &id), &id) else { continue };
            let is_it = match recorded {
                None => true,
                Some((Some(known), _)) => known == id,
                Some((None, parent)) => parent.is_some() && containerd::chain_id(&config) == parent,
            };
            if is_it {
                if !digests.contains(&manifest) {
                    digests.push(manifest);
                }
                return Some((id, config));
            }
        }
        self.fail(&blob(root, &start), "the name stands for another image by now")
    }

    fn manifest(&mut self, root: &Path, digest: &Digest) -> Option<Manifest> {
        let path = blob(root, digest);
        let json = self.file(&path, containerd::MAX_BLOB)?;
        let manifest =
            if Digest::of(&json) == *digest { containerd::manifest(&json) } else { Err(ConfigError::Other) };
        self.parsed(&path, manifest)
    }
}

fn blob(root: &Path, digest: &Digest) -> PathBuf {
    root.join("io.containerd.content.v1.content/blobs/sha256").join(digest.hex())
}

/// The reference that annotations tell.
fn named(run: Option<&RunSpec>) -> Option<String> {
    let run = run?;
    let names =
        ["io.kubernetes.cri-o.Image", "io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"];
    let mut named = names.iter().filter_map(|name| run.annotation(name));
    // A pod may be deployed by an image's id; then whatever other name there is says more.
    named.find(|name| crate::container::declared::Reference::parse(name).is_some()).map(str::to_owned)
}

fn annotated_ports(run: &RunSpec) -> Vec<Ports> {
    let name = "io.kubernetes.container.ports";
    let of_crio = run.annotation("io.kubernetes.cri-o.Annotations").and_then(|json| {
        let mut all: BTreeMap<String, String> = serde_json::from_str(json).ok()?;
        all.remove(name)
    });
    of_crio.as_deref().or(run.annotation(name)).map(of_annotation).unwrap_or_default()
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
