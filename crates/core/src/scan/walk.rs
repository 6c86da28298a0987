//! A walk through a directory tree that a container writes to, or that an image's layer is.
//!
//! Invariants: nothing is opened outside the tree (one name at a time, `openat2` with `RESOLVE_BENEATH`, no
//! links, no other mount); nothing is opened for reading but directories; no recursion; names are read as
//! they come, so that a directory of a million files costs no memory. The walk holds one descriptor for each
//! level it is in.

use crate::host::FoundFile;
use crate::image::disk::{read_xattr, XattrSpace};
use drift_formats::entry::ImagePath;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::CStr;

/// Deepest directory looked into, by default. Each level costs a descriptor.
pub const MAX_DEPTH: usize = 256;

/// Overlay marks of a directory of a writable layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// The directory hides what lower layers have in it.
    pub opaque: bool,
    /// The directory was renamed: where lower layers have it, as the kernel recorded it.
    pub redirect: Option<Vec<u8>>,
}

/// What the walk comes by.
#[derive(Debug)]
pub enum Item {
    /// The layer removes this path from the layers underneath.
    Whiteout(ImagePath),
    /// Anything but a directory.
    File(ImagePath, FoundFile),
    /// A directory; its entries come next, and then [`Item::Leave`].
    Enter(ImagePath, FoundFile, Marks),
    /// The end of the directory entered last.
    Leave,
    /// Another file system is mounted there; it is not entered.
    Mount(ImagePath),
    /// What could not be looked at, and why. Below a directory: all that is in it.
    Problem(ImagePath, String),
}

struct Level {
    dir: Dir,
    /// Length of the path of the directory that holds this one.
    parent_len: usize,
    /// Empty files in the directory may be whiteouts.
    xattr_whiteouts: bool,
    /// Nothing more is read of it.
    skipped: bool,
}

/// The walk.
pub struct Walk {
    levels: Vec<Level>,
    path: Vec<u8>,
    /// Where overlay marks are; `None` for a tree that is no layer.
    marks: Option<XattrSpace>,
    max_depth: usize,
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").field("path", &String::from_utf8_lossy(&self.path)).finish_non_exhaustive()
    }
}

const ONE_NAME: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

impl Walk {
    /// A walk below this directory, which itself is not told. `marks` says that it is an overlay's layer.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(root: impl AsFd, marks: Option<XattrSpace>, max_depth: usize) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(root, c".", flags, Mode::empty())?;
        let xattr_whiteouts = marks.is_some_and(|space| read_xattr(&fd, &space.name("opaque")).is_some());
        let level = Level { dir: Dir::new(fd)?, parent_len: 0, xattr_whiteouts, skipped: false };
        Ok(Self { levels: vec![level], path: Vec::new(), marks, max_depth })
    }

    /// Leaves the directory entered last without looking into it; [`Item::Leave`] comes all the same.
    pub(crate) fn pass_over(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.skipped = true;
        }
    }

    /// Whether the directory entered last has this name now, as anything but a whiteout.
    pub fn has(&self, name: &[u8]) -> Result<bool, Errno> {
        let Some(level) = self.levels.last() else { return Ok(false) };
        let name = std::ffi::CString::new(name).map_err(|_| Errno::INVAL)?;
        match self.look(level, &name) {
            Ok(Look::Whiteout) | Err(Errno::NOENT) => Ok(false),
            Ok(_) | Err(Errno::XDEV) => Ok(true),
            Err(e) => Err(e),
        }
    }

    /// Takes the next name of the innermost directory.
    fn step(&mut self) -> Option<Item> {
        loop {
            let level = self.levels.last_mut()?;
            let entry = match level.dir.read().filter(|_| !level.skipped) {
                None => return self.leave(),
                Some(Err(e)) => {
                    level.skipped = true;
                    return Some(Item::Problem(self.here(), format!("directory unreadable: {e}")));
                }
                Some(Ok(entry)) => entry,
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if let Some(item) = self.item(name) {
                return Some(item);
            }
        }
    }

    fn leave(&mut self) -> Option<Item> {
        let level = self.levels.pop()?;
        self.path.truncate(level.parent_len);
        match self.levels.is_empty() {
            true => None,
            false => Some(Item::Leave),
        }
    }

    /// Path of the directory the walk is in.
    fn here(&self) -> ImagePath {
        // Made of names alone, below the limit: see `item`.
        ImagePath::from_archive(&self.path).unwrap_or_else(|_| ImagePath::root())
    }

    /// What a name of the innermost directory is; `None` when it is gone since it was read.
    fn item(&mut self, name: &CStr) -> Option<Item> {
        let mark = self.marks.and_then(|space| space.mark(name));
        let removed = match mark {
            Some(Some(removed)) => Some(removed),
            // It speaks of the directory, whose marks are read when it is entered.
            Some(None) => return None,
            None => None,
        };
        let parent_len = self.path.len();
        let mut path = self.path.clone();
        path.push(b'/');
        path.extend_from_slice(removed.unwrap_or(name.to_bytes()));
        let Ok(at) = ImagePath::from_archive(&path) else {
            return Some(Item::Problem(self.here(), "path too long".to_owned()));
        };
        if removed.is_some() {
            return Some(Item::Whiteout(at));
        }
        let unreadable = |at: ImagePath, e: Errno| Some(Item::Problem(at, format!("unreadable: {e}")));
        let level = self.levels.last()?;
        let found = match self.look(level, name) {
            Ok(Look::Whiteout) => return Some(Item::Whiteout(at)),
            Ok(Look::Found(found)) => found,
            Err(Errno::NOENT) => return None,
            Err(Errno::XDEV) => return Some(Item::Mount(at)),
            Err(e) => return unreadable(at, e),
        };
        if found.kind != FileType::Directory {
            return Some(Item::File(at, found));
        }
        if self.levels.len() >= self.max_depth {
            return Some(Item::Problem(at, format!("deeper than {} directories", self.max_depth)));
        }
        let opened = open_one(level, name, OFlags::RDONLY | OFlags::DIRECTORY).and_then(|fd| {
            let (marks, xattr_whiteouts) = self.marks_of(&fd);
            Ok((Dir::new(fd)?, marks, xattr_whiteouts))
        });
        match opened {
            Ok((dir, marks, xattr_whiteouts)) => {
                self.levels.push(Level { dir, parent_len, xattr_whiteouts, skipped: false });
                self.path = path;
                Some(Item::Enter(at, found, marks))
            }
            Err(e) => unreadable(at, e),
        }
    }

    fn marks_of(&self, fd: &OwnedFd) -> (Marks, bool) {
        let Some(space) = self.marks else { return (Marks::default(), false) };
        let opaque = read_xattr(fd, &space.name("opaque"));
        let mut value = vec![0u8; drift_formats::entry::MAX_PATH];
        let redirect = rustix::fs::fgetxattr(fd, space.name("redirect"), &mut value[..]).ok().map(|n| {
            value.truncate(n);
            value
        });
        let is_opaque = opaque.as_deref() == Some(b"y") || space.has_opaque_name(fd);
        (Marks { opaque: is_opaque, redirect }, opaque.is_some())
    }

    fn look(&self, level: &Level, name: &CStr) -> Result<Look, Errno> {
        let found = FoundFile::from_fd(open_one(level, name, OFlags::PATH)?)?;
        let Some(space) = self.marks else { return Ok(Look::Found(found)) };
        let whiteout = match found.kind {
            FileType::CharacterDevice => found.rdev == (0, 0),
            FileType::RegularFile if level.xattr_whiteouts && found.size == 0 => {
                found.xattr(&space.name("whiteout")).is_some()
            }
            _ => false,
        };
        Ok(if whiteout { Look::Whiteout } else { Look::Found(found) })
    }
}

enum Look {
    Whiteout,
    Found(FoundFile),
}

fn open_one(level: &Level, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(level.dir.fd()?, name, flags, Mode::empty(), ONE_NAME)
}

impl Iterator for Walk {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        self.step()
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
