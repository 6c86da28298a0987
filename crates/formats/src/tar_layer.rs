//! One image layer, a tar archive, told to a [`LayerSink`]: files with their SHA-256, whiteouts, opaque
//! directories (OCI image-spec, `layer.md`).
//!
//! Invariant: a path told to the sink never left the image, and a layer is told whole or the answer is an
//! error.

use std::collections::HashMap;
use std::io::Read;

use sha2::{Digest as _, Sha256};

use crate::entry::{Entry, FileKind, ImagePath, LayerSink, LimitExceeded, PathError, MAX_PATH};
use crate::limits::Limits;
use crate::tar_frames::{TarError, TarFrames, TarHeader, TarKind};

/// Why a layer was refused.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive itself.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A path that no image can hold.
    #[error("layer entry {path:?}: {why}")]
    Path {
        /// The path as stored.
        path: String,
        /// What is wrong with it.
        why: PathError,
    },
    /// A whiteout of no name.
    #[error("layer entry {0:?}: a whiteout has to name what it removes")]
    Whiteout(String),
    /// A hard link whose target did not come before it in the layer.
    #[error("layer entry {path:?}: hard link to {target:?}, which is not in this layer before it")]
    HardLink {
        /// The link.
        path: String,
        /// Its target.
        target: String,
    },
    /// More than [`Limits`] allow.
    #[error("the layer has {0}")]
    Limit(#[from] LimitExceeded),
}

/// Reads an uncompressed layer and tells the sink what it holds, in the archive's order: of entries with the
/// same path the last is meant.
///
/// The caller bounds the bytes. The reader is left behind the archive's end marker: padding may follow.
///
/// # Errors
/// [`LayerError`]; what the sink was told until then is not the layer.
pub fn read_tar(input: impl Read, limits: &Limits, sink: &mut dyn LayerSink) -> Result<(), LayerError> {
    let mut reader = Layer {
        frames: TarFrames::new(input),
        buf: vec![0; 64 << 10],
        seen: HashMap::new(),
        files: 0,
        name_bytes: 0,
    };
    while let Some(header) = reader.frames.next_header()? {
        reader.entry(&header, limits, sink)?;
    }
    Ok(())
}

struct Layer<R> {
    frames: TarFrames<R>,
    buf: Vec<u8>,
    /// What hard links may point to.
    seen: HashMap<ImagePath, Entry>,
    files: u64,
    name_bytes: u64,
}

impl<R: Read> Layer<R> {
    fn entry(
        &mut self,
        header: &TarHeader,
        limits: &Limits,
        sink: &mut dyn LayerSink,
    ) -> Result<(), LayerError> {
        self.files += 1;
        self.name_bytes += (header.path.len() + header.link.len()) as u64;
        if self.files > limits.max_files {
            return Err(LimitExceeded { what: "files", limit: limits.max_files }.into());
        }
        if self.name_bytes > limits.max_name_bytes {
            return Err(LimitExceeded { what: "bytes of names", limit: limits.max_name_bytes }.into());
        }
        let path = image_path(&header.path)?;
        if let Some(name) = path.file_name().and_then(|n| n.strip_prefix(b".wh.")) {
            return whiteout(&path, name, header, sink);
        }
        let entry = match header.kind {
            TarKind::Directory => plain(FileKind::Directory, header.mode),
            TarKind::Other => plain(FileKind::Other, header.mode),
            TarKind::Symlink => {
                if header.link.len() > MAX_PATH {
                    return Err(LayerError::Path { path: show(&header.path), why: PathError::TooLong });
                }
                Entry { link: Some(header.link.as_slice().into()), ..plain(FileKind::Symlink, header.mode) }
            }
            TarKind::HardLink => {
                let target = image_path(&header.link)?;
                let found = self.seen.get(&target).cloned();
                found.ok_or_else(|| LayerError::HardLink {
                    path: show(&header.path),
                    target: show(&header.link),
                })?
            }
            TarKind::Regular => {
                let sha256 = Some(self.hash_data()?);
                Entry { size: header.size, sha256, ..plain(FileKind::Regular, header.mode) }
            }
        };
        if entry.kind != FileKind::Directory {
            self.seen.insert(path.clone(), entry.clone());
        }
        Ok(sink.entry(&path, entry)?)
    }

    fn hash_data(&mut self) -> Result<[u8; 32], TarError> {
        let mut hash = Sha256::new();
        loop {
            match self.frames.read_data(&mut self.buf)? {
                0 => return Ok(hash.finalize().into()),
                got => hash.update(self.buf.get(..got).unwrap_or_default()),
            }
        }
    }
}

/// `.wh.name` removes `name`; `.wh..wh..opq` hides the whole directory below; other `.wh..wh.` names are
/// AUFS's own.
fn whiteout(
    path: &ImagePath,
    name: &[u8],
    header: &TarHeader,
    sink: &mut dyn LayerSink,
) -> Result<(), LayerError> {
    let refused = || LayerError::Whiteout(show(&header.path));
    let dir = path.parent().ok_or_else(refused)?;
    match name {
        b".wh..opq" => Ok(sink.opaque(&dir)?),
        [b'.', b'w', b'h', b'.', ..] => Ok(()),
        b"" | b"." | b".." => Err(refused()),
        _ => {
            let removed = [dir.as_bytes(), b"/", name].concat();
            Ok(sink.whiteout(&image_path(&removed)?)?)
        }
    }
}

fn plain(kind: FileKind, mode: u16) -> Entry {
    Entry { kind, mode, size: 0, link: None, sha256: None }
}

fn image_path(raw: &[u8]) -> Result<ImagePath, LayerError> {
    ImagePath::from_archive(raw).map_err(|why| LayerError::Path { path: show(raw), why })
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
#[path = "tar_layer_tests.rs"]
mod tests;
