//! What containerd keeps of containers and images, below its root (`/var/lib/containerd`): records in
//! `io.containerd.metadata.v1.bolt/meta.db`, manifests and configurations in the content store.
//!
//! Formats: containerd `core/metadata/buckets.go` (schema of the database; the same since 1.0), the CRI
//! plugin's `internal/cri/store/container/metadata.go`, image-spec `image-index.md` and `manifest.md`.
//!
//! Invariant: a name may have been given to another image since; an image counts as the container's only if
//! the CRI plugin recorded its id, or its layers are those that the container's snapshot stands on.

use crate::image::oci::host_architecture;
use drift_formats::bolt::{self, Bolt, BoltError, Pages};
use drift_formats::digest::Digest;
use drift_formats::image_config::{ConfigError, ImageConfig};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The database, below containerd's root.
pub(crate) const DATABASE: &str = "io.containerd.metadata.v1.bolt/meta.db";

/// Largest manifest or configuration that is read, bytes.
pub(crate) const MAX_BLOB: usize = 8 << 20;

/// The extension of a container's record that the CRI plugin writes (`internal/cri/labels`).
const CRI_EXTENSION: &[u8] = b"io.cri-containerd.container.metadata";
/// The same of a sandbox's record.
const SANDBOX_EXTENSION: &[u8] = b"io.cri-containerd.sandbox.metadata";

/// The record of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Name under which containerd had the image.
    pub image_name: String,
    /// What that name stands for now: digest of an index or a manifest.
    pub target: Option<Digest>,
    /// Chain id of the layers that the container's snapshot stands on.
    pub parent: Option<Digest>,
    /// What the CRI plugin recorded.
    pub cri: Option<CriRecord>,
    /// The name that nerdctl gave it.
    pub name: Option<String>,
}

/// The CRI plugin's record of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CriRecord {
    /// Reference as the pod has it; empty where kubelet did not tell.
    pub reference: String,
    /// Digest of the image's configuration.
    pub image: Option<Digest>,
    /// Name of the container in its pod.
    pub(crate) name: String,
    /// Id of its sandbox.
    pub(crate) sandbox: String,
    /// kubelet's annotation with the declared ports, as JSON.
    pub ports: Option<String>,
}

/// Reads the record of a container from a database; `None` if it is not there.
///
/// # Errors
/// [`BoltError`].
pub fn record<P: Pages>(pages: &P, namespace: &str, id: &str) -> Result<Option<Record>, BoltError> {
    bolt::ask(pages, |db| read_record(db, namespace.as_bytes(), id.as_bytes()))
}

fn read_record<P: Pages>(db: &Bolt<'_, P>, namespace: &[u8], id: &[u8]) -> Result<Option<Record>, BoltError> {
    let text = |bytes: Option<Vec<u8>>| bytes.and_then(|b| String::from_utf8(b).ok());
    let of_container = |key| db.get(&[b"v1", namespace, b"containers", id, key]);
    let Some(image_name) = text(of_container(b"image")?) else { return Ok(None) };
    let target = db.get(&[b"v1", namespace, b"images", image_name.as_bytes(), b"target", b"digest"])?;
    let (snapshotter, key) = (of_container(b"snapshotter")?, of_container(b"snapshotKey")?);
    let parent = match (snapshotter, key) {
        (Some(name), Some(key)) => db.get(&[b"v1", namespace, b"snapshots", &name, &key, b"parent"])?,
        _ => None,
    };
    let any = db.get(&[b"v1", namespace, b"containers", id, b"extensions", CRI_EXTENSION])?;
    let cri = any.as_deref().and_then(any_value).and_then(cri_record);
    let digest = |bytes| text(bytes).and_then(|d| Digest::parse(&d).ok());
    let name = text(db.get(&[b"v1", namespace, b"containers", id, b"labels", b"nerdctl/name"])?);
    Ok(Some(Record { target: digest(target), parent: digest(parent), cri, image_name, name }))
}

/// What the CRI plugin recorded of a sandbox, as JSON; `None` if it is not there.
///
/// # Errors
/// [`BoltError`].
pub fn sandbox<P: Pages>(pages: &P, namespace: &str, id: &str) -> Result<Option<Vec<u8>>, BoltError> {
    let (namespace, id) = (namespace.as_bytes(), id.as_bytes());
    let key = [b"v1", namespace, b"containers", id, b"extensions", SANDBOX_EXTENSION];
    let any = bolt::ask(pages, |db| db.get(&key))?;
    Ok(any.as_deref().and_then(any_value).map(<[u8]>::to_vec))
}

/// The second field of a protobuf `Any`: the message, here JSON.
fn any_value(mut bytes: &[u8]) -> Option<&[u8]> {
    // Both fields are of the wire type "length-delimited": a tag, a varint, that many bytes.
    for _ in 0..2 {
        let (tag, rest) = bytes.split_first()?;
        let (len, rest) = varint(rest)?;
        let value = rest.get(..len)?;
        match tag {
            0x12 => return Some(value),
            0x0a => bytes = rest.get(len..)?,
            _ => return None,
        }
    }
    None
}

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(i + 1..)?));
        }
    }
    None
}

fn cri_record(json: &[u8]) -> Option<CriRecord> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Versioned {
        version: String,
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Metadata {
        #[serde(default)]
        config: Option<Config>,
        #[serde(default)]
        image_ref: String,
        #[serde(default, rename = "SandboxID")]
        sandbox: String,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Named {
        name: String,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Config {
        metadata: Option<Named>,
        image: Option<Image>,
        annotations: Option<BTreeMap<String, String>>,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Image {
        image: String,
        user_specified_image: String,
    }
    let versioned: Versioned = serde_json::from_slice(json).ok()?;
    if versioned.version != "v1" {
        return None;
    }
    let config = versioned.metadata.config.unwrap_or_default();
    let image = config.image.unwrap_or_default();
    let named = [image.user_specified_image, image.image].into_iter().find(|name| !name.is_empty());
    Some(CriRecord {
        reference: named.unwrap_or_default(),
        name: config.metadata.unwrap_or_default().name,
        sandbox: versioned.metadata.sandbox,
        image: Digest::parse(&versioned.metadata.image_ref).ok(),
        ports: config.annotations.and_then(|mut a| a.remove("io.kubernetes.container.ports")),
    })
}

/// What a blob that an image's name stands for leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// An index: digests of the manifests for this machine's platform, the most fitting first.
    Index(Vec<Digest>),
    /// A manifest: digest of the configuration.
    Image(Digest),
}

/// Parses an index or a manifest, of the OCI or of Docker's schema 2.
///
/// # Errors
/// [`ConfigError`].
pub fn manifest(json: &[u8]) -> Result<Manifest, ConfigError> {
    #[derive(Deserialize)]
    struct Raw {
        #[serde(default)]
        manifests: Option<Vec<Entry>>,
        #[serde(default)]
        config: Option<Descriptor>,
    }
    #[derive(Deserialize)]
    struct Descriptor {
        digest: String,
    }
    #[derive(Deserialize)]
    struct Entry {
        digest: String,
        #[serde(default)]
        platform: Option<Platform>,
    }
    #[derive(Deserialize)]
    struct Platform {
        architecture: String,
        os: String,
    }
    let raw: Raw = serde_json::from_slice(json).map_err(|e| ConfigError::at(&e))?;
    match (raw.manifests, raw.config) {
        (None, Some(config)) => Ok(Manifest::Image(Digest::parse(&config.digest)?)),
        (Some(manifests), _) => {
            let fits = |entry: &&Entry| {
                entry
                    .platform
                    .as_ref()
                    .is_none_or(|p| p.os == "linux" && p.architecture == host_architecture())
            };
            let digests = manifests.iter().filter(fits).filter_map(|m| Digest::parse(&m.digest).ok());
            Ok(Manifest::Index(digests.take(MAX_MANIFESTS).collect()))
        }
        (None, None) => Err(ConfigError::Other),
    }
}

/// Most manifests of one index that are looked at.
const MAX_MANIFESTS: usize = 8;

/// Chain id of an image's layers, which names the snapshot that holds them all (image-spec `config.md`,
/// "Layer ChainID").
pub fn chain_id(config: &ImageConfig) -> Option<Digest> {
    let (first, rest) = config.diff_ids.split_first()?;
    Some(rest.iter().fold(*first, |chain, layer| Digest::of(format!("{chain} {layer}").as_bytes())))
}

#[cfg(test)]
#[path = "containerd_tests.rs"]
mod tests;
