//! Images on disk: an OCI image layout (a directory, or the same as one tar file) or a docker-archive, and
//! what each of their layers holds (OCI image-spec: `image-layout.md`, `image-index.md`, `manifest.md`).
//!
//! Invariant: what is handed out matches its digest. Index, manifest and config are checked before they are
//! parsed; a layer's digests are checked once it is read, so what its sink was told counts only after `Ok`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

use crate::image::docker_archive::{self, read_bounded, Archive};
use drift_formats::digest::{BadDigest, Digest, Hashing};
use drift_formats::entry::{LayerSink, PathError};
use drift_formats::image_config::{ConfigError, ImageConfig};
use drift_formats::limits::{Bounded, Limits};
use drift_formats::tar_frames::TarError;
use drift_formats::tar_layer::{read_tar, LayerError};

/// An index may name further indexes; this deep at most.
const MAX_NESTING: usize = 4;

/// The most layers an image may have. Engines stop at 127 (overlayfs allows 500 lower directories).
const MAX_LAYERS: usize = 512;

/// An image that can be read layer by layer.
#[derive(Debug)]
pub struct OciImage {
    /// Digest of the manifest; `None` for a docker-archive, which has none.
    pub manifest_digest: Option<Digest>,
    /// Digest of the configuration, which engines call the image id.
    pub config_digest: Digest,
    /// What the image declares.
    pub config: ImageConfig,
    /// Layers, lowest first.
    pub layers: Vec<LayerDesc>,
    pub(super) source: Source,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerDesc {
    /// Digest of the blob as it is stored or was pulled; `None` in a docker-archive that names layers
    /// otherwise.
    pub digest: Option<Digest>,
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// Its file, relative to the layout or archive.
    pub(super) name: String,
}

/// Why an image was refused.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file could not be read.
    #[error("reading the image: {0}")]
    Io(#[from] io::Error),
    /// Neither a layout nor an archive of one.
    #[error("no index.json (OCI layout) and no manifest.json (docker-archive) in it")]
    NotAnImage,
    /// A whole archive that is compressed.
    #[error("the archive is compressed as a whole; decompress it first (gunzip)")]
    CompressedArchive,
    /// The archive's tar framing.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// More archive members than [`Limits::max_files`].
    #[error("the archive has more than {0} members")]
    TooManyMembers(u64),
    /// A member path that leaves the archive.
    #[error("archive member {name:?}: {why}")]
    Member {
        /// Its name as stored.
        name: String,
        /// What is wrong with it.
        why: PathError,
    },
    /// A file that the image refers to is not there.
    #[error("{0} is missing in the image")]
    Missing(String),
    /// A document beyond [`Limits::max_json`].
    #[error("{name} is larger than {limit} bytes")]
    TooLarge {
        /// Its name.
        name: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Content that does not match its digest.
    #[error("{name} is corrupt: its digest is {actual}, not {expected}")]
    Mismatch {
        /// File or layer.
        name: String,
        /// What it has to be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// Not the JSON document it has to be.
    #[error("{name}: {why}")]
    Json {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: serde_json::Error,
    },
    /// A digest of another form than `sha256:…`.
    #[error(transparent)]
    Digest(#[from] BadDigest),
    /// The image configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No manifest for this machine.
    #[error("no image for linux/{host} in it; it has {have:?}")]
    Platform {
        /// This machine's architecture in Go's spelling.
        host: &'static str,
        /// What the index offers.
        have: Vec<String>,
    },
    /// More than one image to choose from.
    #[error("it holds several images ({0:?}); one has to be exported alone")]
    Several(Vec<String>),
    /// An index within an index within an index…
    #[error("image indexes are nested more than {MAX_NESTING} deep")]
    Nesting,
    /// A document that is neither manifest nor index.
    #[error("{0} is neither an image manifest nor an index (schema version 2)")]
    NoManifest(Digest),
    /// Layers and `rootfs.diff_ids` do not pair up, or there are too many.
    #[error("{layers} layers but {diff_ids} diff_ids (at most {MAX_LAYERS})")]
    LayerCount {
        /// Layers in the manifest.
        layers: usize,
        /// `diff_ids` in the configuration.
        diff_ids: usize,
    },
    /// A layer in a form that is not read.
    #[error("layer {index} is {media_type}; only plain and gzip tar layers are read")]
    MediaType {
        /// Position, from 0.
        index: usize,
        /// Its media type.
        media_type: String,
    },
    /// A layer's content.
    #[error("layer {index}: {why}")]
    Layer {
        /// Position, from 0.
        index: usize,
        /// What is wrong with it.
        why: LayerError,
    },
    /// No such layer.
    #[error("the image has no layer {0}")]
    NoLayer(usize),
}

/// Opens an image: an OCI layout directory, a docker-archive, or an OCI layout in one tar file.
///
/// Of an index with several platforms the first for this machine's architecture is taken.
///
/// # Errors
/// [`ImageError`]. Layers in a form that cannot be read are refused here, not at their reading.
pub fn open(path: &Path, limits: &Limits) -> Result<OciImage, ImageError> {
    let kind = std::fs::metadata(path)?;
    if kind.is_dir() {
        return read_layout(Source::Directory(path.to_owned()), limits);
    }
    if !kind.is_file() {
        return Err(ImageError::NotAnImage);
    }
    let archive = Archive::index(path, limits)?;
    if archive.has("manifest.json") {
        docker_archive::read_image(archive, limits)
    } else {
        read_layout(Source::Archive(archive), limits)
    }
}

impl OciImage {
    /// Reads layer `index` (0 is the lowest) and tells the sink what it holds.
    ///
    /// # Errors
    /// [`ImageError`], also where the content does not match the layer's digests: then what the sink was told
    /// is void.
    pub fn read_layer(
        &self,
        index: usize,
        limits: &Limits,
        sink: &mut dyn LayerSink,
    ) -> Result<(), ImageError> {
        let layer = self.layers.get(index).ok_or(ImageError::NoLayer(index))?;
        let (file, _) = self.source.open(&layer.name)?;
        let mut stored = BufReader::with_capacity(64 << 10, Hashing::new(file));
        let unpacked: Box<dyn Read + '_> = match stored.fill_buf()? {
            [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(&mut stored)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                return Err(ImageError::MediaType { index, media_type: "zstd-compressed".into() });
            }
            _ => Box::new(&mut stored),
        };
        let mut unpacked = Hashing::new(Bounded::new(unpacked, limits.max_unpacked));
        read_tar(&mut unpacked, limits, sink).map_err(|why| ImageError::Layer { index, why })?;
        // Digests cover the padding after the archive's end too.
        io::copy(&mut unpacked, &mut io::sink())?;
        let diff_id = unpacked.digest();
        drop(unpacked);
        io::copy(&mut stored, &mut io::sink())?;
        let digest = stored.get_ref().digest();
        for (expected, actual) in [(layer.digest.unwrap_or(digest), digest), (layer.diff_id, diff_id)] {
            if expected != actual {
                return Err(ImageError::Mismatch { name: layer.name.clone(), expected, actual });
            }
        }
        Ok(())
    }
}

/// Where an image's files are.
#[derive(Debug)]
pub(super) enum Source {
    Directory(PathBuf),
    Archive(Archive),
}

impl Source {
    /// Opens a file by its name in the layout; its size comes with it. Names hold no `..`: callers pass
    /// constants and names made of digests, and an archive's members are looked up, not opened.
    fn open(&self, name: &str) -> Result<(Box<dyn Read>, u64), ImageError> {
        match self {
            Self::Archive(archive) => archive.open(name),
            Self::Directory(dir) => {
                let path = dir.join(name);
                let missing = || ImageError::Missing(name.to_owned());
                let kind = std::fs::metadata(&path).map_err(|e| match e.kind() {
                    io::ErrorKind::NotFound => missing(),
                    _ => e.into(),
                })?;
                if !kind.is_file() {
                    return Err(missing());
                }
                Ok((Box::new(File::open(path)?), kind.len()))
            }
        }
    }

    /// Reads a JSON document whole.
    pub(super) fn document(&self, name: &str, limits: &Limits) -> Result<Vec<u8>, ImageError> {
        read_bounded(self.open(name)?.0, name, limits.max_json)
    }

    /// Reads a JSON blob whole and checks it against its digest.
    fn blob(&self, digest: Digest, limits: &Limits) -> Result<Vec<u8>, ImageError> {
        let name = blob_name(digest);
        let json = self.document(&name, limits)?;
        match Digest::of(&json) {
            actual if actual == digest => Ok(json),
            actual => Err(ImageError::Mismatch { name, expected: digest, actual }),
        }
    }
}

fn blob_name(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// An index or a manifest: which of them, its fields tell.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

fn document(json: &[u8], name: &str) -> Result<Document, ImageError> {
    serde_json::from_slice(json).map_err(|why| ImageError::Json { name: name.into(), why })
}

fn read_layout(source: Source, limits: &Limits) -> Result<OciImage, ImageError> {
    let index = source.document("index.json", limits).map_err(|e| match e {
        ImageError::Missing(_) => ImageError::NotAnImage,
        other => other,
    })?;
    let mut choice = document(&index, "index.json")?.manifests.unwrap_or_default();
    for _ in 0..MAX_NESTING {
        let digest = Digest::parse(&pick(&choice)?.digest)?;
        let found = document(&source.blob(digest, limits)?, &blob_name(digest))?;
        match found {
            Document { schema_version: 2, manifests: Some(nested), config: None, .. } => choice = nested,
            Document { schema_version: 2, config: Some(config), layers, .. } => {
                return read_manifest(source, digest, &config, &layers.unwrap_or_default(), limits);
            }
            _ => return Err(ImageError::NoManifest(digest)),
        }
    }
    Err(ImageError::Nesting)
}

fn read_manifest(
    source: Source,
    manifest: Digest,
    config: &Descriptor,
    layers: &[Descriptor],
    limits: &Limits,
) -> Result<OciImage, ImageError> {
    let config_digest = Digest::parse(&config.digest)?;
    let config = ImageConfig::parse(&source.blob(config_digest, limits)?)?;
    check_layers(layers.len(), &config)?;
    let mut found = Vec::with_capacity(layers.len());
    for (index, (layer, diff_id)) in layers.iter().zip(&config.diff_ids).enumerate() {
        // "…layer.v1.tar", "…tar+gzip", Docker's "…diff.tar.gzip"; not "…tar+zstd", nor encrypted layers.
        let known = ["tar", "tar+gzip", "tar.gzip"]
            .iter()
            .any(|end| layer.media_type.strip_suffix(end).is_some_and(|head| head.ends_with('.')));
        if !known {
            return Err(ImageError::MediaType {
                index,
                media_type: layer.media_type.chars().take(200).collect(),
            });
        }
        let digest = Digest::parse(&layer.digest)?;
        found.push(LayerDesc { digest: Some(digest), diff_id: *diff_id, name: blob_name(digest) });
    }
    Ok(OciImage { manifest_digest: Some(manifest), config_digest, config, layers: found, source })
}

pub(super) fn check_layers(layers: usize, config: &ImageConfig) -> Result<(), ImageError> {
    let diff_ids = config.diff_ids.len();
    if layers != diff_ids || layers > MAX_LAYERS {
        return Err(ImageError::LayerCount { layers, diff_ids });
    }
    Ok(())
}

/// The descriptor for this machine: the first that names its platform, else the first that names none.
fn pick(choice: &[Descriptor]) -> Result<&Descriptor, ImageError> {
    let host = host_architecture();
    let named = |d: &&Descriptor| {
        d.platform.as_ref().is_some_and(|p| p.architecture == host && (p.os == "linux" || p.os.is_empty()))
    };
    let unnamed = |d: &&Descriptor| d.platform.is_none();
    let mut suitable: Vec<&Descriptor> = choice.iter().filter(named).collect();
    if suitable.is_empty() {
        suitable = choice.iter().filter(unnamed).collect();
    }
    let Some(first) = suitable.first().copied() else {
        let have = choice.iter().filter_map(|d| d.platform.as_ref());
        let have = have.map(|p| format!("{}/{}", p.os, p.architecture)).take(20).collect();
        return Err(ImageError::Platform { host, have });
    };
    // Different tags on different content: whichever was taken could be the wrong one.
    if suitable.iter().any(|d| d.digest != first.digest && tag(d) != tag(first)) {
        let tags = suitable.iter().map(|d| tag(d).unwrap_or(&d.digest).to_owned()).take(20).collect();
        return Err(ImageError::Several(tags));
    }
    Ok(first)
}

fn tag(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations.as_ref()?.get("org.opencontainers.image.ref.name").map(String::as_str)
}

/// This machine's architecture as Go, and so OCI, spells it.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[cfg(test)]
#[path = "oci_tests.rs"]
mod tests;
