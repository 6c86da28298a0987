//! What Docker Engine keeps of a container and its image, below its data root (`/var/lib/docker`).
//!
//! Formats: moby `daemon/container/container.go` (`config.v2.json`), `api/types/container/hostconfig.go`
//! (`hostconfig.json`), `daemon/internal/refstore/store.go` (`repositories.json`),
//! `daemon/internal/image/store.go` (`imagedb/content`). With the containerd image store (`"Snapshotter"`
//! drivers) the image is in containerd's stores, and `ImageManifest` names its manifest.

use crate::container::declared::reference::Reference;
use drift_formats::digest::Digest;
use drift_formats::image_config::{ConfigError, EnvVar};
use drift_formats::ports::Ports;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Largest of these files that is read, bytes; `repositories.json` has all the host's images.
pub(crate) const MAX_STATE: usize = 16 << 20;

/// `containers/<id>/config.v2.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerContainer {
    /// Reference as the user gave it.
    pub reference: String,
    /// `Image`: digest of the image's configuration; with the containerd image store that of its index or
    /// manifest.
    pub image: Option<Digest>,
    /// Digest of the manifest that was unpacked; containerd image store only.
    pub manifest: Option<Digest>,
    /// Whether the image is in containerd's stores.
    pub in_containerd: bool,
    /// Environment, the image's included.
    pub env: Vec<EnvVar>,
    /// Exposed ports, the image's included.
    pub ports: Vec<Ports>,
    /// Command line of the first process.
    pub args: Vec<String>,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawContainer {
    #[serde(default, rename = "ID")]
    id: String,
    config: RawConfig,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    image_manifest: Option<RawDescriptor>,
    #[serde(default)]
    driver: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    args: Option<Vec<String>>,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct RawDescriptor {
    digest: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawConfig {
    image: String,
    env: Option<Vec<String>>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    labels: Option<BTreeMap<String, String>>,
}

impl DockerContainer {
    /// Parses `config.v2.json` of the container `id`; its size was bounded by the caller.
    ///
    /// # Errors
    /// [`ConfigError`]; its text never holds any of the document.
    pub fn parse(json: &[u8], id: &str) -> Result<Self, ConfigError> {
        let raw: RawContainer = serde_json::from_slice(json).map_err(|e| ConfigError::at(&e))?;
        if raw.id != id {
            return Err(ConfigError::Other);
        }
        let ports = raw.config.exposed_ports.unwrap_or_default();
        let manifest = raw.image_manifest.and_then(|m| Digest::parse(&m.digest).ok());
        Ok(Self {
            reference: raw.config.image,
            image: raw.image.and_then(|i| Digest::parse(&i).ok()),
            in_containerd: manifest.is_some() || raw.driver.as_deref() == Some("overlayfs"),
            manifest,
            env: raw.config.env.unwrap_or_default().iter().map(|e| EnvVar::parse(e)).collect(),
            ports: ports.keys().filter_map(|p| Ports::parse(p)).collect(),
            // With the slash of a link's name.
            name: raw.name.trim_start_matches('/').to_owned(),
            labels: raw.config.labels.unwrap_or_default(),
            args: raw.path.into_iter().chain(raw.args.unwrap_or_default()).collect(),
        })
    }
}

/// `containers/<id>/hostconfig.json`: what of it the runtime specification does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// `--privileged`.
    pub privileged: bool,
    /// `--network host`. In the specification that is the path of a namespace like any other.
    pub host_network: bool,
    /// Published ports, by their number in the container.
    pub ports: Vec<Ports>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawHostConfig {
    privileged: bool,
    network_mode: String,
    port_bindings: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

impl HostConfig {
    /// Parses `hostconfig.json`; its size was bounded by the caller.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let raw: RawHostConfig = serde_json::from_slice(json).map_err(|e| ConfigError::at(&e))?;
        let ports = raw.port_bindings.unwrap_or_default();
        Ok(Self {
            privileged: raw.privileged,
            host_network: raw.network_mode == "host",
            ports: ports.keys().filter_map(|p| Ports::parse(p)).collect(),
        })
    }
}

/// Digests under which an image was pulled, by `image/<driver>/repositories.json`: those of the reference's
/// repository first.
///
/// # Errors
/// [`ConfigError`].
pub fn pulled_as(json: &[u8], image: &Digest, reference: &str) -> Result<Vec<Digest>, ConfigError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Raw {
        repositories: BTreeMap<String, BTreeMap<String, String>>,
    }
    let raw: Raw = serde_json::from_slice(json).map_err(|e| ConfigError::at(&e))?;
    let wanted = Reference::parse(reference).map(|r| r.repository);
    let mut found = Vec::new();
    for (name, id) in raw.repositories.into_values().flatten() {
        if Digest::parse(&id).ok().as_ref() != Some(image) {
            continue;
        }
        let Some(named) = Reference::parse(&name) else { continue };
        if let Some(digest) = named.digest {
            found.push((Some(named.repository) != wanted, digest));
        }
    }
    found.sort();
    found.dedup();
    Ok(found.into_iter().map(|(_, digest)| digest).collect())
}

#[cfg(test)]
#[path = "docker_tests.rs"]
mod tests;
