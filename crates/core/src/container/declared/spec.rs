//! What a container's runtime was told to run: the bundle's `config.json` (OCI runtime-spec, `config.md` and
//! `config-linux.md`).
//!
//! Invariant: values of environment variables are hashed as they are read; of the annotations only those with
//! a known name are kept.

use crate::container::identity::read::ANNOTATIONS;
use drift_formats::image_config::{ConfigError, EnvVar};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Largest `config.json` that is read, bytes. Those of pods with long environments have some 100 KiB.
pub(crate) const MAX_SPEC: usize = 8 << 20;

/// What the runtime was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunSpec {
    /// Command line of the container's first process.
    pub args: Vec<String>,
    /// Its environment, whole.
    pub env: Vec<EnvVar>,
    /// Its user id, in the container's user namespace.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
    /// Capabilities that no process of the container can go beyond, as `CAP_CHOWN`.
    pub capabilities: BTreeSet<String>,
    /// Whether parts of `/proc` and `/sys` are hidden.
    pub masked: bool,
    /// Kinds of namespaces that are not the host's, each with whether an existing one is joined.
    pub namespaces: BTreeMap<String, bool>,
    /// Whether the root file system is to be read-only.
    pub read_only_root: bool,
    /// Bind mounts.
    pub binds: Vec<Bind>,
    /// Annotations with a name in [`KEPT`] or `ANNOTATIONS`.
    pub annotations: BTreeMap<String, String>,
}

/// A directory or file of the host that is mounted in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// The annotations that say something of image, ports or privileges: containerd's CRI plugin
/// (`internal/cri/annotations`), CRI-O (`pkg/annotations`), podman (`libpod/define/annotations.go`), kubelet
/// (`pkg/kubelet/kuberuntime/labels.go`).
pub const KEPT: &[&str] = &[
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri.container-type",
    "io.kubernetes.cri-o.ImageName",
    "io.kubernetes.cri-o.ImageRef",
    "io.kubernetes.cri-o.Image",
    "io.kubernetes.cri-o.Annotations",
    "io.kubernetes.cri-o.ContainerType",
    "io.kubernetes.container.ports",
    "io.podman.annotations.privileged",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    process: RawProcess,
    #[serde(default)]
    mounts: Option<Vec<RawMount>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    linux: Option<RawLinux>,
    #[serde(default)]
    root: Option<RawRoot>,
}

#[derive(Deserialize)]
struct RawRoot {
    #[serde(default)]
    readonly: bool,
}

#[derive(Deserialize)]
struct RawProcess {
    #[serde(default)]
    args: Option<Vec<String>>,
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    user: RawUser,
    #[serde(default)]
    capabilities: Option<RawCapabilities>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawUser {
    uid: u32,
    gid: u32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawCapabilities {
    bounding: Option<BTreeSet<String>>,
}

#[derive(Deserialize)]
struct RawMount {
    destination: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    options: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawLinux {
    namespaces: Option<Vec<RawNamespace>>,
    masked_paths: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct RawNamespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: Option<String>,
}

impl RunSpec {
    /// Parses a bundle's `config.json`; its size was bounded by the caller.
    ///
    /// # Errors
    /// [`ConfigError`]; its text never holds any of the document.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let raw: Raw = serde_json::from_slice(json).map_err(|e| ConfigError::at(&e))?;
        let linux = raw.linux.unwrap_or_default();
        let annotations = raw.annotations.unwrap_or_default();
        let joins = |n: &RawNamespace| n.path.as_ref().is_some_and(|p| !p.is_empty());
        Ok(Self {
            args: raw.process.args.unwrap_or_default(),
            env: raw.process.env.unwrap_or_default().iter().map(|e| EnvVar::parse(e)).collect(),
            uid: raw.process.user.uid,
            gid: raw.process.user.gid,
            capabilities: raw.process.capabilities.unwrap_or_default().bounding.unwrap_or_default(),
            masked: linux.masked_paths.is_some_and(|m| !m.is_empty()),
            namespaces: linux
                .namespaces
                .unwrap_or_default()
                .into_iter()
                .map(|n| (n.kind.clone(), joins(&n)))
                .collect(),
            read_only_root: raw.root.is_some_and(|root| root.readonly),
            binds: raw.mounts.unwrap_or_default().into_iter().filter_map(bind).collect(),
            annotations: annotations
                .into_iter()
                .filter(|(name, _)| KEPT.contains(&name.as_str()) || ANNOTATIONS.contains(&name.as_str()))
                .collect(),
        })
    }

    /// The value of an annotation that is kept; an empty one counts as none.
    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }
}

fn bind(mount: RawMount) -> Option<Bind> {
    let options = mount.options.unwrap_or_default();
    let is_bind =
        mount.kind.as_deref() == Some("bind") || options.iter().any(|o| o == "bind" || o == "rbind");
    // `ro` and `rw` may both be given: the last one counts (mount(8)).
    let access = options.iter().rev().find(|o| matches!(o.as_str(), "ro" | "rw" | "rro"));
    Some(Bind {
        source: mount.source.filter(|_| is_bind)?,
        destination: mount.destination,
        read_only: access.is_some_and(|o| o != "rw"),
    })
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
