//! Where the node's files say who a container is.
//!
//! Formats: containerd's CRI plugin (`internal/cri/annotations`, `internal/cri/store/sandbox/metadata.go`),
//! CRI-O (`internal/factory/container/container.go`, `SpecAddAnnotations`), the kubelet
//! (`pkg/kubelet/kuberuntime/labels.go`, `legacy.go` for names below `/var/log/containers`,
//! `pkg/kubelet/allocation/state` for `allocated_pods_state`), conmon's `-n`.

use super::{bounded, name, Identity, Kind, Pod};
use crate::container::declared::containerd;
use crate::container::declared::place::{self, Places};
use crate::container::declared::reference::Reference;
use crate::host::Host;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Largest `config.json` that is read when a container is first looked at, bytes. One of a pod has some tens
/// of KiB; what is larger is read by a worker.
const MAX_GLANCE: usize = 512 << 10;
/// Largest state of the kubelet that is read, bytes.
const MAX_STATE: usize = 16 << 20;
/// Most entries of a directory that are looked through.
const MAX_ENTRIES: usize = 16384;
/// Where the kubelet keeps its state: its own place, and MicroK8s's.
const KUBELET: [&str; 2] = ["/var/lib/kubelet", "/var/snap/microk8s/common/var/lib/kubelet"];

/// The annotations of a bundle that say who the container is.
pub(crate) const ANNOTATIONS: &[&str] = &[
    "io.kubernetes.cri.container-type",
    "io.kubernetes.cri.container-name",
    "io.kubernetes.cri.sandbox-id",
    "io.kubernetes.cri.sandbox-name",
    "io.kubernetes.cri.sandbox-namespace",
    "io.kubernetes.cri.sandbox-uid",
    "io.kubernetes.cri-o.ContainerType",
    "io.kubernetes.cri-o.SandboxID",
    "io.kubernetes.container.name",
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
    "io.kubernetes.pod.uid",
];

/// What is there for a first look: who the container is, by its bundle and by the name that conmon was given,
/// and the reference of its image. Few reads of `/proc` and of files below `/run`, which lies in memory: for
/// the event thread. The process may be gone: the bundle stays a moment longer, and an id is never used
/// again.
pub(crate) fn glance(host: &Host, id: &str, pid: i64, is_running: bool) -> (Identity, Option<String>) {
    if !place::is_name(id) {
        return (Identity::default(), None);
    }
    let places = place::find(host, id, pid, None, &[]);
    let in_memory =
        |bundle: &&std::path::PathBuf| bundle.starts_with("/run") || bundle.starts_with("/var/run");
    let of_bundle = places.bundles.iter().filter(in_memory).find_map(|bundle| {
        let path = bundle.join("config.json");
        Bundle::parse(&host.read_state(path.as_os_str().as_bytes(), MAX_GLANCE).ok()??)
    });
    let bundle = of_bundle.unwrap_or_default();
    let identity = bundle.identity().or(&of_keeper(&places));
    match identity.is_empty() && !is_running {
        true => of_gone(host, id, &places),
        false => (identity, bundle.image()),
    }
}

/// Of a container that is gone already: by containerd's record of it and of its sandbox, which stay until the
/// kubelet removes the container, else by the name of its log. A bounded number of reads, of files that
/// containerd has open itself.
fn of_gone(host: &Host, id: &str, places: &Places) -> (Identity, Option<String>) {
    for root in &places.containerd {
        let path = root.join(containerd::DATABASE);
        let Ok(Some(database)) = host.open_state(path.as_os_str().as_bytes()) else { continue };
        let record = containerd::record(&database, "k8s.io", id).ok().flatten();
        let Some(cri) = record.and_then(|record| record.cri) else { continue };
        let sandbox = containerd::sandbox(&database, "k8s.io", &cri.sandbox).ok().flatten();
        let pod = sandbox.as_deref().and_then(|json| of_sandbox_record(json, &[]));
        let kind = sandbox.as_deref().and_then(|json| applied_kind(json, &cri.name));
        let reference = Some(cri.reference).filter(|name| Reference::parse(name).is_some());
        return (Identity { name: name(&cri.name), kind, pod }, reference);
    }
    (of_log(host, id).unwrap_or_default(), None)
}

/// By the name that conmon was given: podman's for the container.
pub(crate) fn of_keeper(places: &Places) -> Identity {
    Identity { name: places.name.as_deref().and_then(name), ..Identity::default() }
}

/// The annotations of a bundle's `config.json`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Bundle {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Bundle {
    /// Reads a `config.json`; `None` where it is malformed.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// Who the container is.
    pub(crate) fn identity(&self) -> Identity {
        of_annotations(|key| self.annotations.get(key).map(String::as_str))
    }

    /// Reference of the image, as it was deployed.
    fn image(&self) -> Option<String> {
        let names = ["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.Image"];
        let mut named = names.iter().filter_map(|name| self.annotations.get(*name));
        named.find(|name| Reference::parse(name).is_some()).cloned()
    }

    /// Labels and annotations of the pod, where this is CRI-O's bundle of its sandbox.
    pub(crate) fn add_pod(&self, pod: &mut Pod, listed: &[String]) {
        let of = |key: &str| -> BTreeMap<String, String> {
            self.annotations.get(key).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
        };
        add(pod, &of("io.kubernetes.cri-o.Labels"), &of("io.kubernetes.cri-o.Annotations"), listed);
    }
}

/// Adds a pod's labels, and those of its annotations that are listed.
pub(crate) fn add(
    pod: &mut Pod,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    listed: &[String],
) {
    pod.labels = bounded(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let listed = annotations.iter().filter(|(key, _)| listed.contains(key));
    pod.annotations = bounded(listed.map(|(key, value)| (key.as_str(), value.as_str())));
}

/// By the annotations that containerd's CRI plugin and CRI-O give a bundle.
pub(crate) fn of_annotations<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Identity {
    let cri = |key: &str| get(&format!("io.kubernetes.cri.{key}"));
    let of_containerd = cri("sandbox-name").zip(cri("sandbox-namespace")).and_then(|(pod, namespace)| {
        Some(Identity {
            name: cri("container-name").and_then(name),
            kind: None,
            pod: Some(Pod {
                name: name(pod)?,
                namespace: name(namespace)?,
                uid: cri("sandbox-uid").and_then(name),
                sandbox: cri("sandbox-id").and_then(name),
                ..Pod::default()
            }),
        })
    });
    let mut identity = of_containerd.unwrap_or_else(|| {
        let mut identity = Identity::from_labels(&get);
        if let Some(pod) = &mut identity.pod {
            pod.sandbox = get("io.kubernetes.cri-o.SandboxID").and_then(name);
        }
        identity
    });
    if cri("container-type").or_else(|| get("io.kubernetes.cri-o.ContainerType")) == Some("sandbox") {
        identity.kind = Some(Kind::Pause);
        identity.name = None;
    }
    identity
}

/// containerd's record of a sandbox, as its CRI plugin writes it; adds the pod's labels and annotations.
pub(crate) fn of_sandbox_record(json: &[u8], listed: &[String]) -> Option<Pod> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Versioned {
        version: String,
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "ID", default)]
        id: String,
        #[serde(rename = "Config")]
        config: Config,
    }
    #[derive(Deserialize)]
    struct Config {
        metadata: Names,
        #[serde(default)]
        labels: Option<BTreeMap<String, String>>,
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
    }
    #[derive(Deserialize)]
    struct Names {
        name: String,
        namespace: String,
        #[serde(default)]
        uid: String,
    }
    let read: Versioned = serde_json::from_slice(json).ok()?;
    if read.version != "v1" {
        return None;
    }
    let Metadata { id, config } = read.metadata;
    let mut pod = Pod {
        name: name(&config.metadata.name)?,
        namespace: name(&config.metadata.namespace)?,
        uid: name(&config.metadata.uid),
        sandbox: name(&id),
        ..Pod::default()
    };
    let labels = config.labels.unwrap_or_default();
    add(&mut pod, &labels, &config.annotations.unwrap_or_default(), listed);
    Some(pod)
}

/// What a container is to its pod, by the specification that `kubectl apply` leaves in an annotation of a pod
/// that no controller made.
pub(crate) fn applied_kind(sandbox_record: &[u8], container: &str) -> Option<Kind> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
        #[serde(default, rename = "restartPolicy")]
        restart_policy: String,
    }
    let record: serde_json::Value = serde_json::from_slice(sandbox_record).ok()?;
    let annotation = "/Metadata/Config/annotations/kubectl.kubernetes.io~1last-applied-configuration";
    let applied: serde_json::Value = serde_json::from_str(record.pointer(annotation)?.as_str()?).ok()?;
    let named = |list: &str| -> Option<Named> {
        let all: Vec<Named> = serde_json::from_value(applied.pointer(list)?.clone()).ok()?;
        all.into_iter().find(|one| one.name == container)
    };
    match (named("/spec/initContainers"), named("/spec/containers")) {
        (Some(init), _) if init.restart_policy == "Always" => Some(Kind::Sidecar),
        (Some(_), _) => Some(Kind::Init),
        (None, Some(_)) => Some(Kind::App),
        (None, None) => None,
    }
}

/// By the name of the container's log: `<pod>_<namespace>_<container>-<id>.log`. None of the names may have an
/// underscore.
pub(crate) fn of_log(host: &Host, id: &str) -> Option<Identity> {
    let end = format!("-{id}.log");
    let entries = std::fs::read_dir(host.path(b"/var/log/containers")).ok()?.take(MAX_ENTRIES);
    let file = entries
        .flatten()
        .map(|entry| entry.file_name())
        .find_map(|file| Some(file.to_str()?.strip_suffix(&end)?.to_owned()))?;
    let mut parts = file.split('_');
    let (pod, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let pod = Pod { name: name(pod)?, namespace: name(namespace)?, ..Pod::default() };
    Some(Identity { name: name(container), kind: None, pod: Some(pod) })
}

/// What a container is to its pod, by what the kubelet wrote down when it admitted the pod, and by which
/// containers have started: those that do the pod's work start last.
///
/// The kubelet lists names without order or kind (`allocationFromPod`; the file is there since Kubernetes
/// 1.33): all but ephemeral containers, until 1.35 without those that run before the others. It makes a
/// directory of logs for each container before it is started. `None` where that does not tell: of several
/// containers that start one after the other only the last is known to do the pod's work.
pub(crate) fn kind(host: &Host, identity: &Identity) -> Option<Kind> {
    let (pod, container) = (identity.pod.as_ref()?, identity.name.as_deref()?);
    let uid = pod.uid.as_deref()?;
    let named = KUBELET.iter().find_map(|dir| {
        let path = format!("{dir}/allocated_pods_state");
        allocated(&host.read_state(path.as_bytes(), MAX_STATE).ok()??, uid)
    })?;
    let logs = format!("/var/log/pods/{}_{}_{uid}", pod.namespace, pod.name);
    let started =
        |name: &String| !place::is_name(name) || host.path(format!("{logs}/{name}").as_bytes()).is_dir();
    let others_started = named.iter().filter(|name| *name != container).all(started);
    match (named.iter().any(|name| name == container), others_started) {
        (true, true) => Some(Kind::App),
        (true, false) => None,
        (false, true) => Some(Kind::Ephemeral),
        (false, false) => Some(Kind::Init),
    }
}

/// The containers that the kubelet lists of a pod; `None` where it does not list the pod, or any.
fn allocated(json: &[u8], uid: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Checkpoint {
        data: String,
    }
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        entries: BTreeMap<String, Entry>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        #[serde(default)]
        container_resources: BTreeMap<String, serde::de::IgnoredAny>,
    }
    let checkpoint: Checkpoint = serde_json::from_slice(json).ok()?;
    let mut data: Data = serde_json::from_str(&checkpoint.data).ok()?;
    let entry = data.entries.remove(uid)?;
    let names: Vec<String> = entry.container_resources.into_keys().collect();
    (!names.is_empty()).then_some(names)
}

/// Of a path below a sandbox's or container's own directory, that of another one of the same engine.
pub(crate) fn beside(bundle: &Path, id: &str, other: &str) -> Option<std::path::PathBuf> {
    let text = bundle.to_str()?;
    (place::is_name(other) && text.contains(id)).then(|| text.replacen(id, other, 1).into())
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
