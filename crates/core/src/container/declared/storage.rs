//! What containers/storage keeps of containers and images: the store below podman and CRI-O, at its root
//! (`/var/lib/containers/storage`).
//!
//! Formats: containers/storage `containers.go` (`<driver>-containers/containers.json`), `images.go`
//! (`<driver>-images/images.json`), `utils.go` (names of big data files); podman writes the record's
//! `metadata` in `libpod/runtime_ctr.go` and `pkg/storage`, CRI-O in `internal/storage/runtime.go`.

use drift_formats::digest::Digest;
use drift_formats::image_config::ConfigError;
use serde::Deserialize;

/// Largest of these files that is read, bytes; they have all the host's containers or images.
pub(crate) const MAX_STATE: usize = 64 << 20;

/// A container's record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredContainer {
    /// Reference as the user gave it; empty where it is not kept.
    pub reference: String,
    /// Its image; `None` for a container without one (podman's `--rootfs`).
    pub image: Option<Digest>,
    /// Its first name.
    pub name: Option<String>,
}

/// Finds a container in `containers.json` or `volatile-containers.json`; `None` if it is not there.
///
/// # Errors
/// [`ConfigError`].
pub fn container(json: &[u8], id: &str) -> Result<Option<StoredContainer>, ConfigError> {
    #[derive(Deserialize)]
    struct Raw {
        id: String,
        #[serde(default)]
        image: Option<String>,
        #[serde(default)]
        metadata: Option<String>,
        #[serde(default)]
        names: Option<Vec<String>>,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "kebab-case", default)]
    struct Metadata {
        image_name: String,
    }
    let all: Vec<Raw> = serde_json::from_slice(json).map_err(|e| ConfigError::at(&e))?;
    let Some(found) = all.into_iter().find(|c| c.id == id) else { return Ok(None) };
    let metadata: Metadata = found.metadata.and_then(|m| serde_json::from_str(&m).ok()).unwrap_or_default();
    let image = found.image.as_deref().and_then(Digest::from_hex);
    let name = found.names.and_then(|names| names.into_iter().next());
    Ok(Some(StoredContainer { reference: metadata.image_name, image, name }))
}

/// Digests of an image's manifest, by `images.json`; `None` if the image is not there.
///
/// # Errors
/// [`ConfigError`].
pub fn manifests(json: &[u8], image: &Digest) -> Result<Option<Vec<Digest>>, ConfigError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Raw {
        id: String,
        #[serde(default)]
        digest: Option<String>,
        #[serde(default)]
        big_data_names: Option<Vec<String>>,
    }
    let all: Vec<Raw> = serde_json::from_slice(json).map_err(|e| ConfigError::at(&e))?;
    let Some(found) = all.into_iter().find(|i| Digest::from_hex(&i.id).as_ref() == Some(image)) else {
        return Ok(None);
    };
    // An image that was pulled by its index keeps both manifests: the index is what references name.
    let mut digests: Vec<Digest> = found.digest.iter().filter_map(|d| Digest::parse(d).ok()).collect();
    for name in found.big_data_names.unwrap_or_default() {
        if let Some(digest) = name.strip_prefix("manifest-").and_then(|d| Digest::parse(d).ok()) {
            if !digests.contains(&digest) {
                digests.push(digest);
            }
        }
    }
    Ok(Some(digests))
}

/// Name of the file that has an image's configuration, in `<driver>-images/<image>`: what has a character
/// beyond letters, digits and dots is written as `=` and base64.
pub(crate) fn config_file(image: &Digest) -> String {
    format!("={}", base64(image.to_string().as_bytes()))
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let group = three.iter().fold(0u32, |g, b| g << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for i in 0..4 {
            let digit = DIGITS.get((group >> (18 - 6 * i)) as usize & 63);
            out.push(if i <= three.len() { digit.map_or('=', |d| char::from(*d)) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
