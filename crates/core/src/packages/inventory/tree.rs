//! Read access to a tree of files: the root of a live container, or an image.
//!
//! Invariants: paths are followed as a process in the container would follow them, and never out of the tree.
//! What is not there is `None`; what cannot be read is an error, never "not there".

use crate::host::{FoundFile, RootDir};
use crate::image::view::{Image, Presence};
use drift_formats::entry::{FileKind, ImagePath};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;

/// The most names in one directory.
pub const MAX_NAMES: usize = 100_000;

/// Something in a tree cannot be read, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

impl Unreadable {
    /// What cannot be read, and why.
    pub(super) fn at(path: &ImagePath, why: impl std::fmt::Display) -> Self {
        Self(format!("{}: {why}", String::from_utf8_lossy(path.as_bytes())))
    }
}

/// A tree of files.
pub trait Tree {
    /// Opens a regular file; `None` where there is nothing of that path.
    ///
    /// # Errors
    /// [`Unreadable`]; also for anything but a regular file.
    fn open(&self, path: &ImagePath) -> Result<Option<File>, Unreadable>;

    /// Names in a directory, in no order; `None` where there is no such directory.
    ///
    /// # Errors
    /// [`Unreadable`]; also for more than [`MAX_NAMES`].
    fn list(&self, dir: &ImagePath) -> Result<Option<Vec<Vec<u8>>>, Unreadable>;
}

/// Reads a file whole, up to `max` bytes.
///
/// # Errors
/// [`Unreadable`]; also for a longer file.
pub fn read(tree: &dyn Tree, path: &ImagePath, max: usize) -> Result<Option<Vec<u8>>, Unreadable> {
    let head = read_head(tree, path, max.saturating_add(1))?;
    match head {
        Some(bytes) if bytes.len() > max => Err(Unreadable::at(path, format!("more than {max} bytes"))),
        other => Ok(other),
    }
}

/// Reads the first `max` bytes of a file.
///
/// # Errors
/// [`Unreadable`].
pub(crate) fn read_head(
    tree: &dyn Tree,
    path: &ImagePath,
    max: usize,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let Some(file) = tree.open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(max as u64).read_to_end(&mut bytes).map_err(|e| Unreadable::at(path, e))?;
    Ok(Some(bytes))
}

/// The root of a live container. What is mounted into it is not of it, and counts as unreadable: the image
/// says nothing of what is on a volume.
#[derive(Debug)]
pub struct LiveTree<'a> {
    root: &'a RootDir,
    mount_id: u64,
}

impl<'a> LiveTree<'a> {
    /// The tree below `root`.
    ///
    /// # Errors
    /// The root cannot be looked at.
    pub fn new(root: &'a RootDir) -> Result<Self, Unreadable> {
        let itself = root.find(b"/").map_err(|e| Unreadable(format!("the container's root: {e}")))?;
        Ok(Self { root, mount_id: itself.mount_id })
    }

    fn find(&self, path: &ImagePath) -> Result<Option<FoundFile>, Unreadable> {
        let found = match self.root.find(path.as_bytes()) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(e) => return Err(Unreadable::at(path, e)),
        };
        // Kernels before 5.8 do not tell mounts (the id is 0).
        let elsewhere = match (found.mount_id, self.mount_id) {
            (0, _) | (_, 0) => found.dev != self.root.dev,
            (there, here) => there != here,
        };
        match elsewhere {
            true => Err(Unreadable::at(path, "on another mount")),
            false => Ok(Some(found)),
        }
    }
}

impl Tree for LiveTree<'_> {
    fn open(&self, path: &ImagePath) -> Result<Option<File>, Unreadable> {
        let Some(found) = self.find(path)? else { return Ok(None) };
        match found.open() {
            Ok(file) => Ok(Some(file)),
            Err(Errno::INVAL) => Err(Unreadable::at(path, "not a regular file")),
            Err(e) => Err(Unreadable::at(path, e)),
        }
    }

    fn list(&self, dir: &ImagePath) -> Result<Option<Vec<Vec<u8>>>, Unreadable> {
        let Some(found) = self.find(dir)? else { return Ok(None) };
        match found.names(MAX_NAMES) {
            Ok(names) if names.len() > MAX_NAMES => Err(too_many(dir)),
            Ok(names) => Ok(Some(names)),
            Err(Errno::NOTDIR) => Ok(None),
            Err(e) => Err(Unreadable::at(dir, e)),
        }
    }
}

fn too_many(dir: &ImagePath) -> Unreadable {
    Unreadable::at(dir, format!("more than {MAX_NAMES} names"))
}

impl Tree for Image {
    fn open(&self, path: &ImagePath) -> Result<Option<File>, Unreadable> {
        let (real, found) = self.resolve(path);
        let (layer, entry) = match found {
            Presence::Present { layer, entry } => (layer, entry),
            Presence::Absent => return Ok(None),
            Presence::Unknown(why) => return Err(Unreadable::at(path, why)),
        };
        if entry.kind != FileKind::Regular {
            return Err(Unreadable::at(path, "not a regular file"));
        }
        let layer = self.layers().get(layer).filter(|layer| layer.dir().is_some());
        let layer = layer.ok_or_else(|| Unreadable::at(path, "its layer is not on disk"))?;
        if layer.is_metacopy(&real) {
            return Err(Unreadable::at(path, "its content is not in its layer"));
        }
        let file = layer.open_file(&real).map_err(|e| Unreadable::at(path, e))?;
        Ok(Some(file.into()))
    }

    fn list(&self, dir: &ImagePath) -> Result<Option<Vec<Vec<u8>>>, Unreadable> {
        let (real, found) = self.resolve(dir);
        match found {
            // Of the root an index has no entry.
            _ if real.as_bytes() == b"/" => {}
            Presence::Present { entry, .. } if entry.kind == FileKind::Directory => {}
            Presence::Present { .. } => return Ok(None),
            // Archives may leave directories out that have files; only disks are sure.
            Presence::Absent if self.layers().iter().all(|layer| layer.dir().is_some()) => return Ok(None),
            Presence::Absent => return Err(Unreadable::at(dir, "a layer is not on disk")),
            Presence::Unknown(why) => return Err(Unreadable::at(dir, why)),
        }
        match Image::list(self, &real, MAX_NAMES) {
            Ok(Some(names)) if names.len() > MAX_NAMES => Err(too_many(dir)),
            Ok(names) => Ok(names),
            Err(why) => Err(Unreadable::at(dir, why)),
        }
    }
}
