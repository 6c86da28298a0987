//! What was seen of a layer on disk while it has no index: which directories it has, and which names are in
//! the small ones.
//!
//! Layers of an image never change, so that what was seen holds; of a directory that was looked at, a layer
//! that has not the name says so from memory, as its index will. Invariants: bounded ([`MAX_DIRECTORIES`],
//! [`MAX_NAMES`], [`MAX_ALL_NAMES`]); a name that may be there is always asked of the disk; what could not be
//! read is not remembered.

use crate::image::disk::{LayerDir, XattrSpace};
use drift_formats::entry::ImagePath;
use drift_formats::path_key::{child_key, PathKey, PathKeys};
use rustix::fd::OwnedFd;
use rustix::fs::RawDir;
use rustix::io::Errno;
use std::collections::HashMap;
use std::mem::MaybeUninit;

/// Most directories remembered of one layer; with one more, all are forgotten.
const MAX_DIRECTORIES: usize = 1024;

/// Most names of a directory that are remembered: what one or two reads of it give.
const MAX_NAMES: usize = 256;

/// Most names remembered of one layer.
const MAX_ALL_NAMES: usize = 4096;

/// What is remembered of one layer.
#[derive(Debug, Default)]
pub(super) struct Looked {
    directories: HashMap<PathKey, Directory>,
    /// Names kept in all of them.
    names: usize,
    /// Directories below which layers underneath do not count, or do.
    hiding: HashMap<PathKey, bool>,
}

/// A directory of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Directory {
    /// The layer does not have it.
    Missing,
    /// Removed, or something else than a directory: it, or one above it.
    Replaced,
    /// The layer has it.
    Here {
        /// Hides what the layers underneath have in it.
        opaque: bool,
        /// What is in it.
        names: Names,
    },
}

/// Names in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    /// Not read so far.
    NotRead,
    /// More than are remembered.
    TooMany,
    /// The keys of all of them, sorted.
    These(Box<[PathKey]>),
}

/// What is said of a path by its directory alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The directory was not looked at.
    Nothing,
    /// The path may be there.
    MayBeThere,
    /// The layer has no such path.
    Silent,
    /// The layer removes or replaces something above the path.
    Hidden,
}

impl Directory {
    /// Looks at a directory of a layer, and at its names if they are wanted: three to six system calls.
    ///
    /// # Errors
    /// The kernel's, where the directory is neither there nor absent, or may not be read.
    pub fn look(layer: &LayerDir, dir: &ImagePath, key: PathKey, with_names: bool) -> Result<Self, Errno> {
        let fd = match layer.open_directory(dir) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(Self::Missing),
            // A whiteout, a file or a link, here or above.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Self::Replaced),
            Err(why) => return Err(why),
        };
        let names = if with_names { names(&fd, key, layer.xattr_space())? } else { Names::NotRead };
        Ok(Self::Here { opaque: layer.is_opaque(&fd), names })
    }

    /// What it says of the path with this key in it.
    pub fn says(&self, path: PathKey) -> Said {
        match self {
            Self::Missing => Said::Silent,
            Self::Replaced => Said::Hidden,
            Self::Here { names: Names::NotRead, .. } => Said::Nothing,
            Self::Here { names: Names::These(names), .. } if names.binary_search(&path).is_err() => {
                Said::Silent
            }
            Self::Here { .. } => Said::MayBeThere,
        }
    }

    /// Names that are kept of it.
    fn count(&self) -> usize {
        match self {
            Self::Here { names, .. } => names.count(),
            _ => 0,
        }
    }
}

impl Names {
    fn count(&self) -> usize {
        match self {
            Self::These(names) => names.len(),
            _ => 0,
        }
    }
}

impl Looked {
    /// What is remembered to say of a path; both by their keys.
    pub fn says(&self, directory: PathKey, path: PathKey) -> Said {
        self.directories.get(&directory).map_or(Said::Nothing, |known| known.says(path))
    }

    /// Remembers a directory.
    pub fn keep(&mut self, key: PathKey, mut directory: Directory) {
        if self.directories.len() >= MAX_DIRECTORIES {
            *self = Self::default();
        }
        let before = self.directories.remove(&key).map_or(0, |before| before.count());
        self.names -= before;
        if let Directory::Here { names, .. } = &mut directory {
            if self.names + names.count() > MAX_ALL_NAMES {
                *names = Names::TooMany;
            }
        }
        self.names += directory.count();
        self.directories.insert(key, directory);
    }

    /// Whether layers underneath do not count for what is in this directory, where that was found out.
    pub(crate) fn hides(&self, directory: PathKey) -> Option<bool> {
        self.hiding.get(&directory).copied()
    }

    /// Remembers it.
    pub(crate) fn keep_hiding(&mut self, directory: PathKey, hides: bool) {
        if self.hiding.len() >= MAX_DIRECTORIES {
            self.hiding.clear();
        }
        self.hiding.insert(directory, hides);
    }

    /// The directories above a path that were looked at, from the root down, and those that were not.
    pub fn above(&self, keys: &PathKeys) -> Vec<Option<Directory>> {
        let known = |key| {
            self.directories.get(key).map(|known| match known {
                Directory::Here { opaque, .. } => Directory::Here { opaque: *opaque, names: Names::NotRead },
                other => other.clone(),
            })
        };
        keys.ancestors().iter().map(known).collect()
    }
}

/// Names in an open directory with this key: one read more than it takes to see them all, or to see that they
/// are too many.
fn names(fd: &OwnedFd, key: PathKey, marks: XattrSpace) -> Result<Names, Errno> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
    let mut entries = RawDir::new(fd, &mut buffer);
    let mut keys = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        // A mark says as much of the name that it removes.
        let name = match marks.mark(entry.file_name()) {
            Some(Some(removed)) => removed,
            Some(None) => continue,
            None => entry.file_name().to_bytes(),
        };
        match name {
            b"." | b".." => {}
            _ if keys.len() >= MAX_NAMES => return Ok(Names::TooMany),
            name => keys.push(child_key(key, name)),
        }
    }
    keys.sort_unstable();
    Ok(Names::These(keys.into()))
}

#[cfg(test)]
mod tests {
    use super::super::disk::XattrSpace;
    use super::super::layer::{Answer, Layer};
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn p(path: &str) -> ImagePath {
        ImagePath::from_archive(path.as_bytes()).unwrap()
    }

    fn mark(dir: &Path, value: &[u8]) {
        rustix::fs::setxattr(dir, "user.overlay.opaque", value, rustix::fs::XattrFlags::empty()).unwrap();
    }

    /// A layer with a small directory, a large one, a link in a directory's place, an opaque directory and a
    /// whiteout.
    fn layer() -> (tempfile::TempDir, Layer) {
        let tmp = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let at = |path: &str| tmp.path().join(path);
        for dir in ["small/sub", "large", "opaque/sub", "marked"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        for file in ["small/file", "opaque/file", "marked/empty", "marked/gone"] {
            fs::write(at(file), "").unwrap();
        }
        (0..=MAX_NAMES).for_each(|n| fs::write(at("large").join(format!("f{n}")), "").unwrap());
        symlink("small", at("link")).unwrap();
        mark(&at("opaque"), b"y");
        mark(&at("marked"), b"x");
        let none = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(at("marked/gone"), "user.overlay.whiteout", b"", none).unwrap();
        let layer = Layer::on_disk(tmp.path().to_owned(), XattrSpace::User);
        (tmp, layer)
    }

    const PATHS: [&str; 16] = [
        "/",
        "/small",
        "/none",
        "/small/file",
        "/small/none",
        "/small/sub/none",
        "/small/file/none",
        "/none/a/b",
        "/large/f3",
        "/large/none",
        "/link",
        "/link/file",
        "/opaque/file",
        "/opaque/none",
        "/marked/empty",
        "/marked/gone",
    ];

    #[test]
    fn what_was_seen_is_what_the_disk_says() {
        let (tmp, layer) = layer();
        let disk = LayerDir::open(tmp.path(), XattrSpace::User).unwrap();
        for round in 0..3 {
            for path in PATHS.map(p) {
                let want = match disk.lookup(&path).unwrap() {
                    super::super::disk::DiskAnswer::Entry(kind) => Some(kind),
                    super::super::disk::DiskAnswer::Hidden => {
                        assert_eq!(layer.lookup(&path, &PathKeys::new(&path)), Answer::Hidden, "{path:?}");
                        continue;
                    }
                    super::super::disk::DiskAnswer::Silent => None,
                };
                let got = match layer.lookup(&path, &PathKeys::new(&path)) {
                    Answer::Entry(entry) => Some(entry.kind),
                    Answer::Silent => None,
                    other => panic!("round {round}: {path:?}: {other:?}"),
                };
                assert_eq!(got, want, "round {round}: {path:?}");
            }
        }
    }

    #[test]
    fn a_directory_that_was_seen_answers_without_the_disk() {
        let (tmp, layer) = layer();
        let ask = |path: &str| layer.lookup(&p(path), &PathKeys::new(&p(path)));
        let hides = |path: &str| layer.hides_below(&p(path), &PathKeys::new(&p(path)));
        for seen in ["/small/none", "/none/a", "/link/a", "/large/none"] {
            let _ = ask(seen);
        }
        assert!(
            !hides("/small/sub/file").unwrap()
                && hides("/opaque/sub/file").unwrap()
                && hides("/link/a").unwrap()
        );
        fs::remove_dir_all(tmp.path()).unwrap();
        assert_eq!(ask("/small/other"), Answer::Silent);
        assert_eq!(ask("/none/b"), Answer::Silent);
        assert_eq!(ask("/link/b"), Answer::Hidden);
        assert!(!hides("/small/sub/other").unwrap() && hides("/opaque/sub/other").unwrap());
        // The root and the directory itself were seen on the way to what is below it.
        assert!(hides("/opaque/other").unwrap() && !hides("/small/other").unwrap());
        for asked in ["/small/file", "/small/sub/file", "/large/other", "/elsewhere/a"] {
            assert!(matches!(ask(asked), Answer::Unknown(_)), "{asked}: a layer that is gone cannot say no");
        }
        assert!(hides("/elsewhere/sub/a").is_err());
    }

    #[test]
    fn no_more_is_remembered_than_the_bounds() {
        let mut looked = Looked::default();
        let these = |n: u64| Names::These((0..n).collect());
        let here = |names| Directory::Here { opaque: false, names };
        for key in 0..MAX_ALL_NAMES as u64 {
            looked.keep(key % 100, here(these(MAX_NAMES as u64)));
            assert!(looked.names <= MAX_ALL_NAMES);
        }
        assert_eq!(looked.names, MAX_ALL_NAMES, "the same directories again take no more room");
        assert_eq!(looked.says(99, 1 << 20), Said::MayBeThere, "no room for its names: asked of the disk");
        assert_eq!(looked.says(0, 1 << 20), Said::Silent);
        for key in 0..3 * MAX_DIRECTORIES as u64 {
            looked.keep(key, Directory::Missing);
            looked.keep_hiding(key, true);
            assert!(looked.directories.len() <= MAX_DIRECTORIES && looked.hiding.len() <= MAX_DIRECTORIES);
        }
        assert_eq!(looked.names, 0);
    }
}
