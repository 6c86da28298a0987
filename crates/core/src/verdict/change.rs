//! What became of a file: its state now against the image's.
//!
//! Pure of events: a path is looked at as it is, whatever happened to it before. Invariants: content is read
//! only of regular files, and only when sizes agree; a file of the container is found beneath its root.

use crate::container::mounts::path_on_root;
use crate::host::{FoundFile, RootDir};
use crate::image::index::IndexedEntry;
use crate::image::view::{Image, Presence};
use crate::packages::inventory::database_of;
use crate::verdict::compare::{same_content, sha256, Comparison};
use drift_formats::elf;
use drift_formats::entry::{FileKind, ImagePath};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;

/// How a path differs from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Not at all, or in nothing that counts (times, owner, permissions without set-id).
    None,
    /// The image does not have it.
    Created,
    /// The image's file has other content, or is of another type.
    Modified,
    /// Content as in the image, but it has gained a set-id bit or file capabilities.
    Metadata,
    /// The image has it, and it is gone.
    Deleted,
    /// The image's file is gone, and its content is found under the new name.
    Renamed,
    /// It differed, and is as in the image again.
    Reverted,
}

impl Change {
    /// The name in `drift.file_change`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Created => "created",
            Self::Modified => "modified",
            Self::Metadata => "metadata",
            Self::Deleted => "deleted",
            Self::Renamed => "renamed",
            Self::Reverted => "reverted",
        }
    }
}

/// A path's state against the image.
#[derive(Debug)]
pub struct Compared {
    /// How it differs.
    pub change: Change,
    /// The file as it is; `None` when it is gone.
    pub now: Option<FoundFile>,
    /// Which of `setuid`, `setgid`, `filecaps` the file has and the image's has not.
    pub gained: Vec<&'static str>,
}

/// Why a path could not be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incomparable {
    /// It lies on another mount than the container's root: the image says nothing of it.
    OtherMount,
    /// The image or the file cannot be read.
    Unreadable,
    /// The thread is to stop.
    Stopped,
}

impl Incomparable {
    fn of(why: Errno) -> Self {
        match why {
            Errno::XDEV => Self::OtherMount,
            _ => Self::Unreadable,
        }
    }
}

/// Where a path leads in a container now.
#[derive(Debug)]
pub struct Located {
    /// Path from the root, the links on the way resolved.
    pub path: ImagePath,
    /// What is there; `None`: nothing.
    pub now: Option<FoundFile>,
}

/// Finds a path in a container's root; `follow` resolves a symbolic link as the last component too. Nothing
/// that is mounted below the root is looked at, but where it is a part of the root itself.
///
/// # Errors
/// [`Incomparable`].
pub fn locate(root: &RootDir, path: &ImagePath, follow: bool) -> Result<Located, Incomparable> {
    match locate_here(root, path, follow) {
        // A directory of the root, mounted a second time.
        Err(Incomparable::OtherMount) => match on_root(root, path).filter(|there| there != path) {
            Some(there) => locate_here(root, &there, follow),
            None => Err(Incomparable::OtherMount),
        },
        located => located,
    }
}

/// The path that the root has for one on a mount, if that shows a part of the root.
fn on_root(root: &RootDir, path: &ImagePath) -> Option<ImagePath> {
    let mounts = root.mounts()?;
    path_on_root(mounts.root()?, mounts.covering(path.as_bytes())?, path)
}

fn locate_here(root: &RootDir, path: &ImagePath, follow: bool) -> Result<Located, Incomparable> {
    let found = match root.find_here(path.as_bytes(), false) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR) => return locate_absent(root, path),
        Err(why) => return Err(Incomparable::of(why)),
    };
    let found = match (found.kind, follow) {
        (FileType::Symlink, true) => match root.find_here(path.as_bytes(), true) {
            Ok(target) => target,
            // Dangling by now: the link is what is left.
            Err(Errno::NOENT | Errno::NOTDIR) => found,
            Err(why) => return Err(Incomparable::of(why)),
        },
        _ => found,
    };
    let real = found.path().filter(|p| p.starts_with(b"/")).ok_or(Incomparable::Unreadable)?;
    let path = ImagePath::lexical(b"/", &below(root, &real)).map_err(|_| Incomparable::Unreadable)?;
    Ok(Located { path, now: Some(found) })
}

/// Nothing is there: the directory that would hold it tells where it would be.
fn locate_absent(root: &RootDir, path: &ImagePath) -> Result<Located, Incomparable> {
    let absent = |path: ImagePath| Ok(Located { path, now: None });
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return absent(path.clone()) };
    let dir = match root.find_here(parent.as_bytes(), true) {
        Ok(dir) => dir,
        Err(Errno::XDEV) => return Err(Incomparable::OtherMount),
        Err(_) => return absent(path.clone()),
    };
    let real = dir.path().filter(|p| p.starts_with(b"/")).ok_or(Incomparable::Unreadable)?;
    absent(ImagePath::lexical(&below(root, &real), name).map_err(|_| Incomparable::Unreadable)?)
}

/// A path as the kernel names it, from this root on.
///
/// The root of a container is its mount's own, whose path is `/`. In tests it is a directory.
fn below(root: &RootDir, real: &[u8]) -> Vec<u8> {
    let base = root.path().unwrap_or_default();
    match real.strip_prefix(base.as_slice()) {
        Some(b"") => b"/".to_vec(),
        Some(rest) if rest.starts_with(b"/") && base != b"/" => rest.to_vec(),
        _ => real.to_vec(),
    }
}

/// Compares what was located with the image. `max` is the largest file that is read, bytes.
///
/// # Errors
/// [`Incomparable`].
pub fn compare(
    image: &Image,
    located: Located,
    max: u64,
    keep_going: &mut dyn FnMut() -> bool,
) -> Result<Compared, Incomparable> {
    let Located { path, now } = located;
    match (image.lookup(&path), now) {
        (Presence::Unknown(_), _) => Err(Incomparable::Unreadable),
        (Presence::Absent, None) => Ok(Compared { change: Change::None, now: None, gained: Vec::new() }),
        (Presence::Present { .. }, None) => {
            Ok(Compared { change: Change::Deleted, now: None, gained: Vec::new() })
        }
        (Presence::Absent, Some(found)) => {
            // A new directory holds nothing by itself; what is made in it is reported.
            let change = match found.kind {
                FileType::Directory => Change::None,
                _ => Change::Created,
            };
            let gained = privileges(&found);
            Ok(Compared { change, now: Some(found), gained })
        }
        (Presence::Present { layer, entry }, Some(found)) => {
            let original = Original { image, layer, entry: &entry, path: &path };
            let (same, gained) = original.against(&found, max, keep_going)?;
            let change = match (same, gained.is_empty()) {
                (false, _) => Change::Modified,
                (true, false) => Change::Metadata,
                (true, true) => Change::None,
            };
            Ok(Compared { change, now: Some(found), gained })
        }
    }
}

/// Whether a file has the content that the image has at `path`: for a rename, where the file is elsewhere
/// now.
///
/// # Errors
/// [`Incomparable`].
pub fn is_images_file(
    image: &Image,
    path: &ImagePath,
    found: &FoundFile,
    max: u64,
    keep_going: &mut dyn FnMut() -> bool,
) -> Result<bool, Incomparable> {
    match image.lookup(path) {
        Presence::Present { layer, entry } => {
            Ok(Original { image, layer, entry: &entry, path }.against(found, max, keep_going)?.0)
        }
        Presence::Absent => Ok(false),
        Presence::Unknown(_) => Err(Incomparable::Unreadable),
    }
}

/// The image's copy of a file.
struct Original<'a> {
    image: &'a Image,
    layer: usize,
    entry: &'a IndexedEntry,
    path: &'a ImagePath,
}

impl Original<'_> {
    /// Whether the content is the same, and what privileges the file has gained.
    fn against(
        &self,
        found: &FoundFile,
        max: u64,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<(bool, Vec<&'static str>), Incomparable> {
        let nothing = Vec::new();
        match (self.entry.kind, found.kind) {
            (FileKind::Regular, FileType::RegularFile) => {}
            (FileKind::Directory, FileType::Directory) => return Ok((true, nothing)),
            (FileKind::Symlink, FileType::Symlink) => {
                let layer = self.image.layers().get(self.layer).ok_or(Incomparable::Unreadable)?;
                let known = self.entry.link.as_deref().map(<[u8]>::to_vec);
                let target = known.or_else(|| layer.read_link(self.path)).ok_or(Incomparable::Unreadable)?;
                return Ok((found.link_target() == Some(target), nothing));
            }
            (FileKind::Regular | FileKind::Directory | FileKind::Symlink, _) => {
                return Ok((false, privileges(found)))
            }
            // A device or FIFO has no content; which one it is the image's index does not tell.
            (FileKind::Other, kind) => {
                let plain = matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Symlink);
                return Ok((!plain, nothing));
            }
        }
        let layer = self.image.layers().get(self.layer).ok_or(Incomparable::Unreadable)?;
        let original = layer.open_file(self.path).ok().map(File::from);
        let mut gained = privileges(found);
        if !gained.is_empty() {
            let before = original.as_ref().and_then(|f| f.try_clone().ok()).map(FoundFile::of);
            match (before, self.entry.mode) {
                (Some(Ok(before)), _) => {
                    let had = privileges(&before);
                    gained.retain(|p| !had.contains(p));
                }
                (_, Some(mode)) => gained.retain(|p| *p != "filecaps" && !set_ids(mode).any(|had| had == *p)),
                _ => return Err(Incomparable::Unreadable),
            }
        }
        Ok((self.same_content(found, original, max, keep_going)?, gained))
    }

    fn same_content(
        &self,
        found: &FoundFile,
        original: Option<File>,
        max: u64,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<bool, Incomparable> {
        if self.entry.size.is_some_and(|size| size != found.size) {
            return Ok(false);
        }
        let mut now = found.open().map_err(|_| Incomparable::Unreadable)?;
        let Some(mut original) = original else {
            let want = self.entry.sha256.ok_or(Incomparable::Unreadable)?;
            let got = sha256(&mut now, max, keep_going).map_err(incomparable)?;
            return Ok(got.ok_or(Incomparable::Unreadable)? == want);
        };
        let size = original.metadata().map_err(|_| Incomparable::Unreadable)?.len();
        if size != found.size {
            return Ok(false);
        }
        if size > max {
            return Err(Incomparable::Unreadable);
        }
        match same_content(&mut now, &mut original, keep_going).map_err(incomparable)? {
            Comparison::Same => Ok(true),
            // A layer's copy without content of its own says nothing about the content.
            Comparison::Different
                if self.image.layers().get(self.layer).is_some_and(|l| l.is_metacopy(self.path)) =>
            {
                Err(Incomparable::Unreadable)
            }
            Comparison::Different => Ok(false),
        }
    }
}

/// Why reading failed.
fn incomparable(error: std::io::Error) -> Incomparable {
    match error.kind() {
        std::io::ErrorKind::Interrupted => Incomparable::Stopped,
        _ => Incomparable::Unreadable,
    }
}

/// The set-id bits of a mode that give rights, by name.
pub fn set_ids(mode: u16) -> impl Iterator<Item = &'static str> {
    [("setuid", 0o4000), ("setgid", 0o2000)].into_iter().filter_map(move |(name, bit)| {
        // Set-gid without execution by the group is a mark for locking, and changes nobody's rights.
        let counts = bit == 0o4000 || mode & 0o010 != 0;
        (mode & bit != 0 && counts).then_some(name)
    })
}

/// What a regular file gives to whoever runs it.
pub(crate) fn privileges(file: &FoundFile) -> Vec<&'static str> {
    if file.kind != FileType::RegularFile {
        return Vec::new();
    }
    let mut out: Vec<_> = set_ids(file.mode).collect();
    if file.has_file_capabilities() {
        out.push("filecaps");
    }
    out
}

/// The value of `drift.file_kind`: by path for package databases and configuration, else by the first bytes.
pub fn file_kind(path: &ImagePath, file: Option<&FoundFile>) -> &'static str {
    if database_of(path).is_some() {
        return "package_db";
    }
    match file.and_then(content_kind) {
        Some(kind) => kind,
        None if path.is_within(b"/etc") => "config",
        None => "other",
    }
}

fn content_kind(file: &FoundFile) -> Option<&'static str> {
    let mut head = Vec::new();
    file.open().ok()?.take(elf::HEAD as u64).read_to_end(&mut head).ok()?;
    let traits = elf::traits(&head, file.size);
    match (traits.elf, traits.shared, traits.script) {
        (true, Some(true), _) => Some("elf_shared"),
        (true, ..) => Some("elf_exec"),
        (_, _, true) => Some("script"),
        _ => None,
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
