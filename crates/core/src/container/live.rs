//! A container that runs on this host now: its mounts, its root file system, its image's layers.
//!
//! Invariants: a process speaks for a container only while its own control groups, read now, name that
//! container (process ids are reused, and a replay carries ids of another machine). Of a container's
//! processes the one that its runtime started speaks for it: others can have given themselves mounts, and a
//! root, of their own. A root's layers are believed only if the uppermost of them is what the root shows:
//! their names are the words of whoever mounted it.

use crate::container::id::IdRules;
use crate::container::image_volume::base_of;
use crate::container::init_layer::is_init_layer;
use crate::container::layers::{original_of, show_nothing};
use crate::container::volume::{VolumeKind, Volumes};
use crate::host::InodeId;
use crate::host::{FileId, Host, RootDir};
use crate::image::cache::LayerCache;
use crate::image::disk::{may_read_trusted_xattrs, XattrSpace};
use crate::image::view::Image;
use arc_swap::ArcSwap;
use drift_formats::mountinfo::{Mount, MountTable};
use drift_formats::overlay_options::{LayerPath, OverlayLayers};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Most mounts of a container whose kinds are remembered.
const MAX_KINDS: usize = 1024;

/// Most ancestors of a process that are looked at.
const MAX_ANCESTORS: usize = 64;

/// Why a container's image cannot be read from its mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// The root is no overlayfs; the file system's type.
    NotOverlay(String),
    /// The overlay's options or layers could not be used, and why.
    Layers(String),
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotOverlay(fstype) => write!(f, "root file system is {fstype}, not overlay"),
            Self::Layers(why) => f.write_str(why),
        }
    }
}

/// Why no live view of a container could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotLive {
    /// The process is gone, or belongs to another container: nothing to look at.
    Gone,
    /// The process is the container's, but still has the host's root: the runtime is setting it up.
    BeingSetUp,
}

/// A live container.
#[derive(Debug)]
pub struct Live {
    pid: i64,
    /// When that process ended, nanoseconds since the epoch; 0 while it runs. A container that is restarted
    /// keeps its id, but not its mounts.
    ended: AtomicU64,
    mounts: ArcSwap<MountTable>,
    /// The mounts as they were when the container was first seen: what the runtime made.
    first_mounts: Arc<MountTable>,
    looked_at: Instant,
    /// Kinds of volume found out so far, by mount id.
    kinds: Mutex<HashMap<u64, Option<VolumeKind>>>,
    /// Where the engine keeps layers: directories that hold those of this container, as the host names them.
    pub(super) bases: Vec<Vec<u8>>,
    /// Device of the root file system, as mount tables have it.
    pub root_dev: (u32, u32),
    /// The root directory; `None` where it could not be looked at.
    root_id: Option<FileId>,
    /// The overlay's writable directory, as this process reaches it.
    pub upper: Option<PathBuf>,
    /// The same, as the host names it.
    pub upper_on_host: Option<Vec<u8>>,
    /// Whether the root is an overlay, so that the kernel's layer flags speak of it.
    pub is_overlay: bool,
    /// Whether the root file system is mounted read-only.
    pub read_only: bool,
    /// When the process that was found started, nanoseconds since the epoch.
    pub started: Option<u64>,
    /// When the first process that the container was known by started: a container that is restarted has what
    /// it wrote before.
    pub first_started: Option<u64>,
}

impl Live {
    /// Looks at a container through one of its processes, or the one among its ancestors that the runtime
    /// started.
    ///
    /// # Errors
    /// [`NotLive`].
    pub fn look(host: &Host, pid: i64, container: &str) -> Result<(Self, Mount), NotLive> {
        if !is_member(host, pid, container) {
            return Err(NotLive::Gone);
        }
        let first = first_of(host, pid, container);
        match Self::look_through(host, first, container) {
            // Above it is one that the container's runtime keeps in the container's control group.
            Err(_) if first != pid => Self::look_through(host, pid, container),
            looked => looked,
        }
    }

    fn look_through(host: &Host, pid: i64, container: &str) -> Result<(Self, Mount), NotLive> {
        let mounts = host.mounts(pid).ok_or(NotLive::Gone)?;
        let root = mounts.root().cloned().ok_or(NotLive::Gone)?;
        if host.is_own_root(&root) {
            return Err(NotLive::BeingSetUp);
        }
        let root_id = host.root_of(pid).ok().map(|root| root.id());
        // After the read: what was read of a process that took the id over meanwhile is another container's.
        if !is_member(host, pid, container) {
            return Err(NotLive::Gone);
        }
        let mounts = Arc::new(mounts);
        let live = Self {
            pid,
            ended: AtomicU64::new(0),
            looked_at: Instant::now(),
            kinds: Mutex::default(),
            root_dev: root.dev,
            root_id,
            upper: None,
            upper_on_host: None,
            is_overlay: root.fstype == b"overlay",
            read_only: root.read_only || root.super_read_only,
            started: host.started_at(pid),
            first_started: None,
            first_mounts: Arc::clone(&mounts),
            mounts: ArcSwap::new(mounts),
            bases: Vec::new(),
        };
        Ok((live, root))
    }

    /// Mounts as last read.
    pub fn mounts(&self) -> Arc<MountTable> {
        self.mounts.load_full()
    }

    /// Mounts as they were when the container was first seen.
    pub(super) fn first_mounts(&self) -> &MountTable {
        &self.first_mounts
    }

    /// Takes in where its layers are: the writable one, as the host names it, and the image's.
    pub(crate) fn set_layers(&mut self, host: &Host, image: &Image, upper: Option<Vec<u8>>) {
        let lower = image.layers().iter().filter_map(|layer| layer.dir());
        let lower = lower.map(|dir| dir.as_os_str().as_bytes().to_vec());
        self.bases = upper.iter().cloned().chain(lower).filter_map(|layer| base_of(&layer)).collect();
        self.bases.sort();
        self.bases.dedup();
        self.upper = upper.as_ref().map(|upper| host.path(upper));
        self.upper_on_host = upper;
    }

    /// The same container, of which it is known by now where its layers are.
    #[must_use]
    pub fn with_layers(&self, host: &Host, image: &Image, upper: Option<Vec<u8>>) -> Self {
        let mut live = Self {
            pid: self.pid,
            ended: AtomicU64::new(self.ended.load(Ordering::Relaxed)),
            first_started: self.first_started,
            mounts: ArcSwap::new(self.mounts()),
            first_mounts: Arc::clone(&self.first_mounts),
            looked_at: self.looked_at,
            kinds: Mutex::default(),
            bases: Vec::new(),
            root_dev: self.root_dev,
            root_id: self.root_id,
            upper: None,
            upper_on_host: None,
            is_overlay: self.is_overlay,
            read_only: self.read_only,
            started: self.started,
        };
        live.set_layers(host, image, upper);
        live
    }

    /// Whether the root shows this directory as the uppermost one; `None` where that cannot be found out.
    pub(super) fn root_shows(&self, host: &Host, dir: &Path) -> Option<bool> {
        shows(host, self.pid, dir)
    }

    /// As [`Live::mounts`], for a moment: nothing is counted.
    pub fn mounts_now(&self) -> arc_swap::Guard<Arc<MountTable>> {
        self.mounts.load()
    }

    /// Reads the mounts anew, if the process that the container was looked at through is still there.
    pub fn refresh_mounts(&self, host: &Host, container: &str) -> Arc<MountTable> {
        // After the read: a table read from a process that took the id over meanwhile is another container's.
        if let Some(table) = host.mounts(self.pid).filter(|_| is_member(host, self.pid, container)) {
            self.mounts.store(Arc::new(table));
            self.kinds().clear();
        }
        self.mounts()
    }

    /// The kind of volume that a mount of this container is; `None` where it is none. Found out once for each
    /// mount.
    pub fn volume_kind(&self, host: &Host, mount: &Mount) -> Option<VolumeKind> {
        if let Some(known) = self.kinds().get(&mount.id) {
            return *known;
        }
        // The host's table tells what a memory-backed volume is.
        let of_host = host.init_mounts(self.looked_at);
        let mounts = self.mounts();
        let volumes = Volumes::new(&mounts, of_host.as_ref().map(|m| &m.table));
        let kind = match volumes.kind(mount) {
            Some(VolumeKind::Image) if !self.is_images(host, mount) => volumes.kind_unless_image(mount),
            kind => kind,
        };
        // A process may make mounts of its own without end.
        let mut kinds = self.kinds();
        if kinds.len() < MAX_KINDS {
            kinds.insert(mount.id, kind);
        }
        kind
    }

    /// A panic while the lock was held leaves the map usable: every change is one insertion.
    fn kinds(&self) -> MutexGuard<'_, HashMap<u64, Option<VolumeKind>>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the container was looked at: mounts of the host read since then hold what it is made of.
    pub fn looked_at(&self) -> Instant {
        self.looked_at
    }

    /// The process through which the container is looked at.
    pub fn pid(&self) -> i64 {
        self.pid
    }

    /// Notes that the process ended.
    pub fn set_ended(&self) {
        let now = std::time::UNIX_EPOCH.elapsed().map_or(u64::MAX, |now| now.as_nanos() as u64);
        self.ended.store(now, Ordering::Relaxed);
    }

    /// When it was noted that the process ended.
    pub fn ended_at(&self) -> Option<u64> {
        Some(self.ended.load(Ordering::Relaxed)).filter(|ended| *ended != 0)
    }

    /// Whether the container wants to be looked at anew, through another process.
    pub fn has_ended(&self) -> bool {
        self.ended_at().is_some()
    }

    /// The container's root directory, through the first of these processes that is still there and has it.
    pub fn root(&self, host: &Host, pids: &[i64]) -> Option<RootDir> {
        let candidates = pids.iter().copied().chain(std::iter::once(self.pid));
        let mut rooted = candidates.filter_map(|pid| Some((pid, host.root_of(pid).ok()?)));
        let (pid, root) = rooted.find(|(_, root)| self.is_root(root))?;
        // Another process may have mounts of its own.
        let own = if pid == self.pid { None } else { host.mounts(pid).map(Arc::new) };
        Some(root.with_mounts(own.unwrap_or_else(|| self.mounts())))
    }

    /// Whether a process's root directory is the container's.
    pub fn is_root(&self, root: &RootDir) -> bool {
        match self.root_id {
            Some(id) => root.id() == id,
            None => root.dev == self.root_dev,
        }
    }
}

/// The uppermost of a process's ancestors that is in the container, or the process itself.
fn first_of(host: &Host, pid: i64, container: &str) -> i64 {
    let mut first = pid;
    for _ in 0..MAX_ANCESTORS {
        match host.parent_of(first).filter(|parent| is_member(host, *parent, container)) {
            Some(parent) => first = parent,
            None => break,
        }
    }
    first
}

/// Whether a process is, right now, in this container.
pub fn is_member(host: &Host, pid: i64, container: &str) -> bool {
    let Some(lines) = host.cgroups(pid) else { return false };
    IdRules::of(host).find(lines.split(|b| *b == b'\n')).is_some_and(|found| &*found.id == container)
}

/// Turns the root mount of the container of process `pid` into its image's layers, and the directory of its
/// writable layer as the host names it.
///
/// # Errors
/// [`Unreadable`].
pub(crate) fn image_of(
    host: &Host,
    pid: i64,
    root: &Mount,
    storage_roots: &[PathBuf],
    cache: &LayerCache,
) -> Result<(Image, Option<Vec<u8>>), Unreadable> {
    if root.fstype != b"overlay" {
        return Err(Unreadable::NotOverlay(String::from_utf8_lossy(&root.fstype).into_owned()));
    }
    let options = OverlayLayers::parse(&root.super_options).map_err(|e| Unreadable::Layers(e.to_string()))?;
    let options = absolute(host, options, storage_roots)?;
    if let Some(top) = options.upper.as_ref().or(options.lower.first()) {
        if shows(host, pid, &host.path(top.as_bytes())) == Some(false) {
            return Err(Unreadable::Layers("the root is not what its layers' names say".into()));
        }
    }
    let xattrs = if options.userxattr { XattrSpace::User } else { XattrSpace::Trusted };
    let upper = options.upper.as_ref().map(LayerPath::as_bytes);
    let mut dirs = Vec::with_capacity(options.lower.len());
    for lower in &options.lower {
        let original = original_of(lower.as_bytes(), upper);
        let path = host.path(original.as_deref().unwrap_or(lower.as_bytes()));
        match std::fs::canonicalize(&path) {
            Ok(real) => dirs.push(real),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
                return Err(Unreadable::Layers("a layer's directory is not there".into()));
            }
            // Whoever looks a path up in it will say so.
            Err(_) => dirs.push(path),
        }
    }
    let upper_dir = upper.map(|upper| host.path(upper));
    let all: Vec<&Path> = dirs.iter().chain(&upper_dir).map(PathBuf::as_path).collect();
    if show_nothing(host, pid, &all) {
        return Err(Unreadable::Layers("a layer's directory does not show what is in it".into()));
    }
    let mut layers = Vec::with_capacity(dirs.len());
    for (depth, real) in dirs.iter().enumerate() {
        if is_init_layer(real, depth == 0) {
            continue;
        }
        layers.push(cache.layer(real, xattrs));
    }
    let mut image = Image::new(layers);
    if xattrs == XattrSpace::Trusted && !may_read_trusted_xattrs() {
        image = image.with_caveat("opaque directories not readable without CAP_SYS_ADMIN");
    }
    Ok((image, options.upper.map(|upper| upper.as_bytes().to_vec())))
}

/// Resolves relative layer names: below the directory that holds the first storage root in which all of them
/// exist.
fn absolute(
    host: &Host,
    options: OverlayLayers,
    storage_roots: &[PathBuf],
) -> Result<OverlayLayers, Unreadable> {
    if !options.has_relative_layer() {
        return Ok(options);
    }
    let roots: Vec<&[u8]> = storage_roots.iter().map(|p| p.as_os_str().as_bytes()).collect();
    options
        .resolve_base(&roots)
        .into_iter()
        .map(|base| options.joined_to(&base))
        .find(|joined| joined.lower.iter().all(|l| host.path(l.as_bytes()).exists()))
        .ok_or_else(|| Unreadable::Layers("relative layer names found under no storage root".into()))
}

/// Whether the root directory of a process is that of an overlay whose uppermost layer is `dir`; `None` where
/// the root cannot be looked at.
///
/// The kernel shows the names of layers as they were given to mount(2), in whatever root and mount namespace
/// that was called. A container that can mount could so have any directory of the host taken for its image. A
/// merged directory shows the times of the uppermost layer's (fs/overlayfs/inode.c, `ovl_getattr`), and
/// nobody chooses a change time.
fn shows(host: &Host, pid: i64, dir: &Path) -> Option<bool> {
    shows_at(&host.root_of(pid).ok()?, dir)
}

/// As `shows`, of the directory at which an overlay is mounted, or a bind mount of `dir` itself.
pub(super) fn shows_at(root: &RootDir, dir: &Path) -> Option<bool> {
    // The root may be written to meanwhile: the layer's times lie between two looks at it.
    let before = root.times().ok()?;
    let layer = match RootDir::open(dir).and_then(|layer| layer.times()) {
        Ok(times) => times,
        Err(Errno::NOENT | Errno::NOTDIR) => return Some(false),
        Err(_) => return None,
    };
    let after = root.times().ok()?;
    let between = |of: fn(&InodeId) -> u64| (of(&before)..=of(&after)).contains(&of(&layer));
    Some(between(|id| id.ctime) && (between(|id| id.mtime) || before.ctime != after.ctime))
}
