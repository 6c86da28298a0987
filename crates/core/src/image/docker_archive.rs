//! Images saved as one tar file: where its members lie, and the `manifest.json` of `docker save` and
//! `podman save --format docker-archive`, in both spellings of layer names (`<id>/layer.tar`,
//! `blobs/sha256/<hex>`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::image::oci::{ImageError, LayerDesc, OciImage, Source};
use drift_formats::digest::Digest;
use drift_formats::entry::ImagePath;
use drift_formats::image_config::ImageConfig;
use drift_formats::limits::Limits;
use drift_formats::tar_frames::{TarFrames, TarKind};

/// How many links are followed from one member to the next (`docker save` links equal layers).
const MAX_LINKS: usize = 8;

/// A tar file whose members can be opened by name.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    members: HashMap<ImagePath, Member>,
}

#[derive(Debug)]
enum Member {
    Data { offset: u64, size: u64 },
    Link(ImagePath),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Archive {
    /// Notes where each member lies; member data is seeked over, not read.
    ///
    /// # Errors
    /// Not a tar archive, more than [`Limits::max_files`] members, or a member path with `..`.
    pub fn index(path: &Path, limits: &Limits) -> Result<Self, ImageError> {
        let mut file = File::open(path)?;
        let mut magic = [0u8; 2];
        if file.read(&mut magic)? == 2 && magic == [0x1f, 0x8b] {
            return Err(ImageError::CompressedArchive);
        }
        file.seek(SeekFrom::Start(0))?;
        let mut frames = TarFrames::new(file);
        let mut members = HashMap::new();
        while let Some(header) = frames.next_header_by_seeking()? {
            if members.len() as u64 >= limits.max_files {
                return Err(ImageError::TooManyMembers(limits.max_files));
            }
            let name = member_path(&header.path)?;
            let member = match header.kind {
                TarKind::Regular => Member::Data { offset: frames.position(), size: header.size },
                TarKind::HardLink => Member::Link(member_path(&header.link)?),
                TarKind::Symlink => {
                    let dir = name.parent();
                    let cwd = dir.as_ref().map_or(&b"/"[..], ImagePath::as_bytes);
                    // Lexically, within the archive: `..` stops at its root.
                    let target = ImagePath::lexical(cwd, &header.link)
                        .map_err(|why| ImageError::Member { name: lossy(&header.link), why })?;
                    Member::Link(target)
                }
                TarKind::Directory | TarKind::Other => continue,
            };
            members.insert(name, member);
        }
        Ok(Self { path: path.to_owned(), members })
    }

    /// Whether there is a member of this name.
    pub fn has(&self, name: &str) -> bool {
        ImagePath::from_archive(name.as_bytes()).is_ok_and(|path| self.members.contains_key(&path))
    }

    /// Opens a member; its size is told with it.
    ///
    /// # Errors
    /// No such member, links that lead nowhere, or the file cannot be read.
    pub fn open(&self, name: &str) -> Result<(Box<dyn Read>, u64), ImageError> {
        let missing = || ImageError::Missing(name.chars().take(200).collect());
        let first = member_path(name.as_bytes())?;
        let mut at = &first;
        for _ in 0..MAX_LINKS {
            match self.members.get(at).ok_or_else(missing)? {
                Member::Link(target) => at = target,
                Member::Data { offset, size } => {
                    let mut file = File::open(&self.path)?;
                    // Seeking past the end is no error by itself; the digest check finds an archive cut
                    // short.
                    file.seek(SeekFrom::Start(*offset))?;
                    return Ok((Box::new(BufReader::new(file).take(*size)), *size));
                }
            }
        }
        Err(missing())
    }
}

/// Reads the image that `manifest.json` of a docker-archive describes.
///
/// # Errors
/// No or several images, a member that is missing, or a config that is not one: [`ImageError`].
pub(super) fn read_image(archive: Archive, limits: &Limits) -> Result<OciImage, ImageError> {
    let source = Source::Archive(archive);
    let json = source.document("manifest.json", limits)?;
    let items: Vec<Item> = serde_json::from_slice(&json)
        .map_err(|e| ImageError::Json { name: "manifest.json".into(), why: e })?;
    let [item] = items.as_slice() else {
        return Err(ImageError::Several(items.into_iter().map(|i| i.config).take(20).collect()));
    };
    let json = source.document(&item.config, limits)?;
    let config_digest = Digest::of(&json);
    if let Some(expected) = named_digest(&item.config).filter(|named| *named != config_digest) {
        return Err(ImageError::Mismatch { name: item.config.clone(), expected, actual: config_digest });
    }
    let config = ImageConfig::parse(&json)?;
    let names = item.layers.as_deref().unwrap_or_default();
    crate::image::oci::check_layers(names.len(), &config)?;
    let layers = names.iter().zip(&config.diff_ids).map(|(name, diff_id)| LayerDesc {
        // Only blobs are named by what they hold; `<id>/layer.tar` is named by the image's history.
        digest: name.strip_prefix("blobs/sha256/").and_then(Digest::from_hex),
        diff_id: *diff_id,
        name: name.clone(),
    });
    let layers = layers.collect();
    Ok(OciImage { manifest_digest: None, config_digest, config, layers, source })
}

/// The digest that a config member's name gives: `<hex>.json`, `blobs/sha256/<hex>`.
fn named_digest(name: &str) -> Option<Digest> {
    let name = name.strip_prefix("blobs/sha256/").unwrap_or(name);
    Digest::from_hex(name.strip_suffix(".json").unwrap_or(name))
}

fn member_path(raw: &[u8]) -> Result<ImagePath, ImageError> {
    ImagePath::from_archive(raw).map_err(|why| ImageError::Member { name: lossy(raw), why })
}

fn lossy(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw.get(..200).unwrap_or(raw)).into_owned()
}

/// Reads a whole member or file of at most `limit` bytes.
pub(super) fn read_bounded(input: impl Read, name: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
    let mut out = Vec::new();
    input.take(limit.saturating_add(1)).read_to_end(&mut out).map_err(|e: io::Error| ImageError::Io(e))?;
    if out.len() as u64 > limit {
        return Err(ImageError::TooLarge { name: name.chars().take(200).collect(), limit });
    }
    Ok(out)
}
