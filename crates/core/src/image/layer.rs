//! A layer and what is known of it so far: on disk, being indexed, or indexed.

use crate::image::catalog::Catalog;
use crate::image::disk::{self, DiskAnswer, LayerDir, WalkLimits, XattrSpace};
use crate::image::index::{IndexedEntry, LayerAnswer, LayerIndex};
use crate::image::looked::{Directory, Looked, Said};
use arc_swap::ArcSwapOption;
use drift_formats::entry::ImagePath;
use drift_formats::path_key::PathKeys;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which package owns each path of a layer, by the databases in it.
pub trait PathOwners: std::fmt::Debug + Send + Sync {
    /// The package that owns a path, such as `dpkg:coreutils`.
    fn owner(&self, path: &ImagePath) -> Option<&str>;
    /// Whether a database could not be read, or not whole.
    fn is_partial(&self) -> bool;
    /// Heap bytes.
    fn bytes(&self) -> usize;
}

/// One image layer, shared by every container whose image has it.
#[derive(Debug)]
pub struct Layer {
    /// Directory on the host, for an overlayfs layer.
    dir: Option<(PathBuf, XattrSpace)>,
    /// Digest or another name that the layer goes by, where known.
    name: Option<Box<str>>,
    /// Swapped out again when the cache is over its bound: look-ups then go to the disk.
    index: ArcSwapOption<LayerIndex>,
    /// Package owners; read after the index, dropped with it.
    owners: ArcSwapOption<Box<dyn PathOwners>>,
    /// Files by size, once a file was looked for by its content.
    catalog: ArcSwapOption<Catalog>,
    /// What was seen of it while there was no index.
    looked: Mutex<Looked>,
}

/// What is known of a path in one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The layer holds it.
    Entry(IndexedEntry),
    /// The layer hides it: layers underneath do not count.
    Hidden,
    /// Nothing of it here.
    Silent,
    /// Could not be found out, and why.
    Unknown(String),
}

impl Layer {
    /// A layer that lies in a directory of the host.
    pub fn on_disk(dir: PathBuf, xattrs: XattrSpace) -> Self {
        Self {
            dir: Some((dir, xattrs)),
            name: None,
            index: ArcSwapOption::empty(),
            owners: ArcSwapOption::empty(),
            catalog: ArcSwapOption::empty(),
            looked: Mutex::default(),
        }
    }

    /// A layer known by its index alone (a manifest, an archive).
    pub fn indexed(name: Option<&str>, index: LayerIndex) -> Self {
        Self {
            dir: None,
            name: name.map(Into::into),
            index: ArcSwapOption::from_pointee(index),
            owners: ArcSwapOption::empty(),
            catalog: ArcSwapOption::empty(),
            looked: Mutex::default(),
        }
    }

    /// The layer's directory on the host, if it has one.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_ref().map(|(dir, _)| dir.as_path())
    }

    /// Digest or name, where known.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The index, once built.
    pub fn index(&self) -> Option<Arc<LayerIndex>> {
        self.index.load_full()
    }

    /// Whether the index has holes; `None` while there is no index.
    pub fn is_partial(&self) -> Option<bool> {
        self.index.load().as_ref().map(|index| index.partial().is_some())
    }

    /// Drops the index of a layer that can be looked at on disk instead; gives the bytes it freed.
    pub(crate) fn evict(&self) -> usize {
        match self.dir {
            Some(_) => {
                self.owners.store(None);
                self.catalog.store(None);
                self.index.swap(None).map_or(0, |index| index.bytes())
            }
            None => 0,
        }
    }

    /// Walks the directory and keeps the index; does nothing when that was done. Called by the indexer's
    /// thread.
    ///
    /// `None` for a layer that is not on disk, or when `keep_going` said stop.
    pub fn build_index(
        &self,
        limits: WalkLimits,
        keep_going: impl FnMut() -> bool,
    ) -> Option<Arc<LayerIndex>> {
        if let Some(index) = self.index() {
            return Some(index);
        }
        let (path, xattrs) = self.dir.as_ref()?;
        let built = match LayerDir::open(path, *xattrs) {
            Ok(dir) => disk::index_dir(&dir, limits, keep_going)?,
            Err(e) => {
                let mut b = crate::image::index::IndexBuilder::new(0);
                b.mark_partial(&format!("layer unreadable: {e}"));
                b.build()
            }
        };
        let built = Arc::new(built);
        self.index.store(Some(Arc::clone(&built)));
        // The index says it from now on.
        *self.looked() = Looked::default();
        Some(built)
    }

    /// Keeps the package owners of the layer's paths.
    pub(crate) fn set_owners(&self, owners: Box<dyn PathOwners>) {
        self.owners.store(Some(Arc::new(owners)));
    }

    /// Package owners of the layer's paths, once read.
    pub fn owners(&self) -> Option<Arc<Box<dyn PathOwners>>> {
        self.owners.load_full()
    }

    /// Keeps the layer's files by size.
    pub(crate) fn set_catalog(&self, catalog: Catalog) {
        self.catalog.store(Some(Arc::new(catalog)));
    }

    /// The layer's files by size, once built.
    pub fn catalog(&self) -> Option<Arc<Catalog>> {
        self.catalog.load_full()
    }

    /// Heap bytes of what is kept of the layer.
    pub fn bytes(&self) -> usize {
        self.index().map_or(0, |i| i.bytes())
            + self.owners().map_or(0, |o| o.bytes())
            + self.catalog().map_or(0, |c| c.bytes())
    }

    /// What the layer says of `path`: from the index, else by looking on disk.
    pub fn lookup(&self, path: &ImagePath, keys: &PathKeys) -> Answer {
        let guard = self.index.load();
        let Some(index) = guard.as_deref() else { return self.look_on_disk(path, keys) };
        match (index.lookup(keys), index.partial()) {
            (LayerAnswer::Entry(e), _) => Answer::Entry(e),
            (LayerAnswer::Hidden, _) => Answer::Hidden,
            (LayerAnswer::Silent, None) => Answer::Silent,
            // An index with holes cannot say no; the disk can, where it is still there.
            (LayerAnswer::Silent, Some(why)) => match self.look_on_disk(path, keys) {
                Answer::Unknown(_) => Answer::Unknown(why.to_owned()),
                found => found,
            },
        }
    }

    fn look_on_disk(&self, path: &ImagePath, keys: &PathKeys) -> Answer {
        match self.ask_disk(path, keys) {
            Ok(DiskAnswer::Entry(kind)) => Answer::Entry(IndexedEntry::of_kind(kind)),
            Ok(DiskAnswer::Hidden) => Answer::Hidden,
            Ok(DiskAnswer::Silent) => Answer::Silent,
            Err(e) => Answer::Unknown(format!("layer unreadable: {e}")),
        }
    }

    /// Looks at the path's directory first, once: most layers of an image do not have what is asked for, and
    /// say so from memory the next time.
    fn ask_disk(&self, path: &ImagePath, keys: &PathKeys) -> Result<DiskAnswer, Errno> {
        let (Some(above), Some(key)) = (path.parent(), keys.ancestors().last().copied()) else {
            return self.open_dir()?.lookup(path);
        };
        let mut said = self.looked().says(key, keys.own());
        if let Some(known) = DiskAnswer::of_directory(said) {
            return Ok(known);
        }
        let dir = self.open_dir()?;
        if said == Said::Nothing {
            // A directory that may not be read may still be searched.
            if let Ok(directory) = Directory::look(&dir, &above, key, true) {
                said = directory.says(keys.own());
                self.looked().keep(key, directory);
            }
        }
        DiskAnswer::of_directory(said).map_or_else(|| dir.lookup(path), Ok)
    }

    /// Whether something above `path` is hidden in this layer (an opaque or replaced directory); only needed
    /// before a layer underneath is believed, and only where there is no index, whose answers include it.
    ///
    /// # Errors
    /// As [`Self::hides_below_now`].
    pub(crate) fn hides_below(&self, path: &ImagePath, keys: &PathKeys) -> Result<bool, Errno> {
        match self.index.load().as_deref() {
            Some(index) if index.partial().is_none() => Ok(false),
            _ => self.hides_below_now(path, keys),
        }
    }

    /// As [`Self::hides_below`], whether there is an index or not; for a layer on disk. Costs three system
    /// calls for each directory above the path that was not looked at before.
    ///
    /// # Errors
    /// The kernel's; `ENOENT` too for a layer that is not on disk.
    pub(crate) fn hides_below_now(&self, path: &ImagePath, keys: &PathKeys) -> Result<bool, Errno> {
        let Some(parent) = keys.ancestors().last().copied() else { return Ok(false) };
        let known = {
            let looked = self.looked();
            if let Some(hides) = looked.hides(parent) {
                return Ok(hides);
            }
            looked.above(keys)
        };
        let hides = self.is_hidden_above(path, keys, known)?;
        self.looked().keep_hiding(parent, hides);
        Ok(hides)
    }

    /// Goes from the root down to the path's directory: through what is `known`, and on disk where nothing
    /// is.
    fn is_hidden_above(
        &self,
        path: &ImagePath,
        keys: &PathKeys,
        known: Vec<Option<Directory>>,
    ) -> Result<bool, Errno> {
        let mut dirs: Vec<ImagePath> = std::iter::successors(path.parent(), ImagePath::parent).collect();
        dirs.reverse();
        let mut opened = None;
        for ((dir, key), known) in dirs.iter().zip(keys.ancestors()).zip(known) {
            let directory = match known {
                Some(known) => known,
                None => {
                    let layer = match &opened {
                        Some(layer) => layer,
                        None => opened.insert(self.open_dir()?),
                    };
                    let seen = Directory::look(layer, dir, *key, false)?;
                    self.looked().keep(*key, seen.clone());
                    seen
                }
            };
            match directory {
                Directory::Replaced | Directory::Here { opaque: true, .. } => return Ok(true),
                // Nothing is below a directory that is not there.
                Directory::Missing => return Ok(false),
                Directory::Here { .. } => {}
            }
        }
        Ok(false)
    }

    /// A panic while the lock was held leaves it usable: every change is one insertion.
    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the layer's copy of a regular file.
    ///
    /// # Errors
    /// The kernel's; `ENOENT` too for a layer that is not on disk.
    pub fn open_file(&self, path: &ImagePath) -> Result<OwnedFd, Errno> {
        self.open_dir()?.open_file(path)
    }

    /// Mode, owner, size and times of a path of a layer on disk.
    ///
    /// # Errors
    /// As [`Self::open_file`].
    pub fn stat(&self, path: &ImagePath) -> Result<rustix::fs::Statx, Errno> {
        self.open_dir()?.stat(path)
    }

    /// Names in a directory of a layer on disk, whiteouts among them, no more than `max`.
    ///
    /// # Errors
    /// As [`Self::open_file`].
    pub fn names(&self, dir: &ImagePath, max: usize) -> Result<Vec<Vec<u8>>, Errno> {
        self.open_dir()?.names(dir, max)
    }

    /// The layer on disk, opened.
    ///
    /// # Errors
    /// As [`Self::open_file`].
    pub fn open(&self) -> Result<LayerDir, Errno> {
        self.open_dir()
    }

    /// What the layer has in a directory; see [`LayerDir::list`].
    ///
    /// # Errors
    /// The kernel's; `ENOSYS` for a layer that is not on disk: an index cannot be listed.
    pub fn list(&self, dir: &ImagePath, max: usize) -> Result<Vec<(Vec<u8>, bool)>, Errno> {
        match &self.dir {
            Some(_) => self.open_dir()?.list(dir, max),
            None => Err(Errno::NOSYS),
        }
    }

    /// The target of a symbolic link of a layer on disk.
    pub fn read_link(&self, path: &ImagePath) -> Option<Vec<u8>> {
        self.open_dir().ok()?.read_link(path)
    }

    /// Whether the layer's copy of a file has no content of its own; see [`LayerDir::is_metacopy`].
    pub fn is_metacopy(&self, path: &ImagePath) -> bool {
        self.open_dir().is_ok_and(|dir| dir.is_metacopy(path))
    }

    /// The layer's directory, opened.
    ///
    /// # Errors
    /// The kernel's; `ENOENT` for a layer that is not on disk.
    pub(crate) fn open_dir(&self) -> Result<LayerDir, Errno> {
        match &self.dir {
            Some((path, xattrs)) => LayerDir::open(path, *xattrs),
            None => Err(Errno::NOENT),
        }
    }
}
