//! The judgement of one file: where it lives, whether the image has it, whether the content is the image's.
//!
//! Pure of Falco and of caching: given a container, a file and what the kernel said of it, it answers. Invariants:
//! a bounded number of system calls; content read only up to `inline_max`; an answer is believed only if the file
//! found is the file that was meant ([`InodeId::agrees`]), else it rests on the kernel's flags alone or is `unknown`.

use crate::container::live::{is_member, Live};
use crate::container::registry::Container;
use crate::container::volume::{is_engines_init, VolumeKind, Volumes};
use crate::host::{inode_id, FoundFile, Host};
use crate::host::{ExeFlags, InodeId};
use crate::image::view::{Image, Presence};
use crate::verdict::compare::{same_content, Comparison};
use crate::verdict::origin::Origin;
use drift_formats::entry::{FileKind, ImagePath};
use drift_formats::mountinfo::{Mount, MountTable};
use rustix::fs::FileType;
use std::fs::File;

/// A file's judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The origin.
    pub origin: Origin,
    /// Path in the container's mount namespace, links resolved, where known.
    pub path: Option<ImagePath>,
    /// Layer of the image that has the path: an index into the image's layers.
    pub layer: Option<usize>,
    /// What kind of volume it lies on; `None` on the root file system.
    pub volume: Option<VolumeKind>,
    /// SHA-256 of the content, where the image records it and the content is the image's.
    pub sha256: Option<[u8; 32]>,
    /// Why the origin is `unknown`, for metrics; empty otherwise.
    pub why: &'static str,
    /// The file may be compared in the background: it is `image_unverified` only for its size.
    pub comparable_later: bool,
}

impl Judgement {
    /// A judgement that says nothing.
    pub fn nothing() -> Self {
        Self::new(Origin::Unknown)
    }

    fn new(origin: Origin) -> Self {
        Self { origin, path: None, layer: None, volume: None, sha256: None, why: "", comparable_later: false }
    }

    fn unknown(why: &'static str) -> Self {
        Self { why, ..Self::new(Origin::Unknown) }
    }

    fn at(mut self, path: &ImagePath) -> Self {
        self.path = Some(path.clone());
        self
    }
}

/// The file to judge.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Path in the mount namespace, links resolved, as the kernel gave it.
    pub path: &'a [u8],
    /// Kernel's flags; all false where it gave none.
    pub flags: ExeFlags,
    /// Whether the kernel is known to give flags: then none means that the file is on no overlay.
    pub flags_given: bool,
    /// Inode and times that the event reported; all zero where it reported none.
    pub inode: InodeId,
    /// The file itself, when it was found on the live system and is the one meant.
    pub found: Option<&'a FoundFile>,
    /// A process that sees the file's mounts, for files on mounts that the container's table does not have.
    pub pid: i64,
}

/// Judges files of containers.
#[derive(Debug, Clone)]
pub struct Judge {
    host: Host,
    inline_max: u64,
}

impl Judge {
    /// A judge that reads at most `inline_max` bytes of a file.
    pub fn new(host: Host, inline_max: u64) -> Self {
        Self { host, inline_max }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Judges one file of a container.
    pub fn judge(&self, container: &Container, subject: &Subject<'_>) -> Judgement {
        if subject.flags.memfd || is_memfd_path(subject.path) {
            return Judgement::new(Origin::Memfd);
        }
        // Probes leave the path empty where they could not read it; the file itself knows it.
        let own_path = subject.found.filter(|_| subject.path.is_empty()).and_then(FoundFile::path);
        let given = own_path.as_deref().unwrap_or(subject.path);
        if given.is_empty() {
            return Judgement::unknown("path not known");
        }
        let Ok(path) = ImagePath::lexical(b"/", given) else {
            return Judgement::unknown("path too long");
        };
        match (&container.live, subject.found) {
            (Some(live), Some(found)) => self.judge_found(container, live, subject, found, &path),
            (live, _) => judge_unseen(container, live.as_ref(), subject, &path),
        }
    }

    fn judge_found(
        &self,
        container: &Container,
        live: &Live,
        subject: &Subject<'_>,
        found: &FoundFile,
        path: &ImagePath,
    ) -> Judgement {
        let mounts = live.mounts();
        // The root stays mounted for as long as the container lives: its id is no other mount's meanwhile.
        if mounts.root().is_some_and(|root| is_on(found, root)) {
            return self.judge_on_root(container, live, subject, found, path);
        }
        let Some(mount) = self.mount_of(container, live, subject.pid, found, path) else {
            // Not on any mount the container or the process sees: a detached mount, an unlinked memfd.
            return match found.dev == live.root_dev {
                true => self.judge_on_root(container, live, subject, found, path),
                // On no mount, and so named by the kernel: nobody can make such a file.
                false if path.as_bytes().starts_with(b"/memfd:") => Judgement::new(Origin::Memfd),
                false => Judgement::unknown("mount not found").at(path),
            };
        };
        if mount.dev == live.root_dev {
            // The same file system may be mounted a second time (a bind mount of one of its directories).
            let path = path_on_root(&mount, path);
            return self.judge_on_root(container, live, subject, found, &path);
        }
        // Another root than the container's as it is known: the process made itself one (then it is a mount like any
        // other), unless nothing is left of the container as it was known, which was restarted.
        if mount.mount_point == b"/" && !is_member(&self.host, live.pid(), &container.id) {
            return Judgement::unknown("root file system changed").at(path);
        }
        if subject.pid == live.pid() && path.as_bytes() == mount.mount_point && is_engines_init(&mount) {
            return Judgement::new(Origin::Runtime).at(path);
        }
        let volume = live.volume_kind(&self.host, &mount);
        Judgement { volume, ..Judgement::new(origin_of_mount(&mount, volume)) }.at(path)
    }

    /// The mount a file was reached through: by the kernel's mount id, else by path where the device agrees.
    ///
    /// Tables are read anew: the kernel gives the id of a mount that was taken away to the next one that is made.
    fn mount_of(
        &self,
        container: &Container,
        live: &Live,
        pid: i64,
        found: &FoundFile,
        path: &ImagePath,
    ) -> Option<Mount> {
        let by_id = |table: &MountTable| table.by_id(found.mount_id).filter(|m| is_on(found, m)).cloned();
        // A mount of the container's, or one in a namespace that the process made for itself. Both are asked for the very
        // mount before any is asked for a path: the container's root covers whatever path the process has mounted a second time.
        let now = live.refresh_mounts(&self.host, &container.id);
        if let Some(mount) = by_id(&now) {
            return Some(mount);
        }
        let own = self.host.mounts(pid).filter(|_| is_member(&self.host, pid, &container.id));
        let by_path =
            |table: &MountTable| table.covering(path.as_bytes()).filter(|m| m.dev == found.dev).cloned();
        own.as_ref().and_then(by_id).or_else(|| by_path(&now)).or_else(|| own.as_ref().and_then(by_path))
    }

    fn judge_on_root(
        &self,
        container: &Container,
        live: &Live,
        subject: &Subject<'_>,
        found: &FoundFile,
        path: &ImagePath,
    ) -> Judgement {
        let Ok(image) = &container.image else {
            return match subject.flags.lower && live.is_overlay {
                true => Judgement::new(Origin::Image).at(path),
                false => Judgement::unknown("image not known").at(path),
            };
        };
        let presence = image.lookup(path);
        let in_upper = match live.is_overlay && (subject.flags.upper || subject.flags.lower) {
            true => Some(subject.flags.upper),
            false => upper_has(live, path),
        };
        let layer = match &presence {
            Presence::Present { layer, .. } => Some(*layer),
            _ => None,
        };
        match (in_upper, presence) {
            // On a root that is not the one it is known by, another file may lie there.
            (Some(false), Presence::Present { layer, entry })
                if layers_copy(image, layer, path).is_some_and(|copy| !found.inode.times_agree(&copy)) =>
            {
                let judged = self.against_image(image, layer, entry.size, entry.sha256, found, path);
                match judged.origin {
                    Origin::ImageTouched => Judgement { origin: Origin::Image, ..judged },
                    _ => judged,
                }
            }
            (Some(false), Presence::Present { entry, .. }) => {
                Judgement { layer, sha256: entry.sha256, ..Judgement::new(Origin::Image) }.at(path)
            }
            // The kernel says it is in a lower layer; no layer of ours has it under that name (a redirected
            // directory, Docker's own -init layer).
            (Some(false), Presence::Absent) if subject.flags.lower => Judgement::new(Origin::Image).at(path),
            (Some(false), Presence::Absent) => Judgement::unknown("in no layer").at(path),
            (Some(true), Presence::Present { layer, entry }) if entry.kind == FileKind::Regular => {
                self.against_image(image, layer, entry.size, entry.sha256, found, path)
            }
            // A file where the image has a directory or a link is not the image's.
            (_, Presence::Present { entry, .. }) if entry.kind != FileKind::Regular => {
                Judgement::new(Origin::Added).at(path)
            }
            (Some(true), Presence::Absent) => Judgement::new(Origin::Added).at(path),
            // No overlay: the content decides.
            (None, Presence::Present { layer, entry }) if !live.is_overlay => {
                let judged = self.against_image(image, layer, entry.size, entry.sha256, found, path);
                match judged.origin {
                    Origin::ImageTouched => Judgement { origin: Origin::Image, ..judged },
                    _ => judged,
                }
            }
            (None, Presence::Absent) => Judgement::new(Origin::Added).at(path),
            (None, _) => Judgement::unknown("writable layer not readable").at(path),
            (_, Presence::Unknown(_)) => Judgement::unknown("image layer not readable").at(path),
            (Some(true), Presence::Present { .. }) => Judgement::new(Origin::Added).at(path),
        }
    }

    /// The file lives outside the image's layers and the image has its path: is the content the image's?
    fn against_image(
        &self,
        image: &Image,
        layer: usize,
        size: Option<u64>,
        sha256: Option<[u8; 32]>,
        found: &FoundFile,
        path: &ImagePath,
    ) -> Judgement {
        let verdict = |origin| Judgement { layer: Some(layer), ..Judgement::new(origin) }.at(path);
        if size.is_some_and(|s| s != found.size) {
            return verdict(Origin::ImageModified);
        }
        let original = image.layers().get(layer).and_then(|l| l.open_file(path).ok()).map(File::from);
        let Some(mut original) = original else {
            // Only a digest to compare with: hashing is the background's work.
            let comparable_later = sha256.is_some();
            return Judgement { comparable_later, ..verdict(Origin::ImageUnverified) };
        };
        let original_size = original.metadata().map(|m| m.len()).unwrap_or(0);
        if original_size != found.size {
            return verdict(Origin::ImageModified);
        }
        if found.size > self.inline_max {
            return Judgement { comparable_later: true, ..verdict(Origin::ImageUnverified) };
        }
        let Ok(mut now) = found.open() else { return verdict(Origin::ImageUnverified) };
        match same_content(&mut now, &mut original, || true) {
            Ok(Comparison::Same) => Judgement { sha256, ..verdict(Origin::ImageTouched) },
            // A layer's copy without content of its own says nothing about the content.
            Ok(Comparison::Different) if image.layers().get(layer).is_some_and(|l| l.is_metacopy(path)) => {
                verdict(Origin::ImageUnverified)
            }
            Ok(Comparison::Different) => verdict(Origin::ImageModified),
            Err(_) => verdict(Origin::ImageUnverified),
        }
    }
}

/// Judges a file that cannot be looked at: the process is gone and the path holds another file by now, or this is a
/// replay. What remains are the kernel's flags and the image.
fn judge_unseen(
    container: &Container,
    live: Option<&Live>,
    subject: &Subject<'_>,
    path: &ImagePath,
) -> Judgement {
    // Flags of another overlay (a volume, a nested container) say nothing of this image.
    let mounts = live.map(Live::mounts);
    let mount = mounts.as_ref().and_then(|t| t.covering(path.as_bytes()));
    if let (Some(live), Some(mount)) = (live, mount) {
        if mount.dev != live.root_dev {
            let volume = mounts.as_ref().and_then(|table| Volumes::new(table, None).kind(mount));
            return Judgement { volume, ..Judgement::new(origin_of_mount(mount, volume)) }.at(path);
        }
    }
    let Ok(image) = &container.image else { return Judgement::unknown("image not known").at(path) };
    let mounts_known = mount.is_some();
    match (image.lookup(path), subject.flags) {
        (Presence::Unknown(_), _) => Judgement::unknown("image layer not readable").at(path),
        (Presence::Present { layer, .. }, ExeFlags { lower: true, .. })
            if live.is_some() && !is_layers_copy(image, layer, path, &subject.inode) =>
        {
            Judgement::unknown("not the layer's file").at(path)
        }
        (Presence::Present { layer, entry }, ExeFlags { lower: true, .. }) => {
            Judgement { layer: Some(layer), sha256: entry.sha256, ..Judgement::new(Origin::Image) }.at(path)
        }
        (Presence::Present { layer, entry }, ExeFlags { upper: true, .. }) => match entry.kind {
            FileKind::Regular => {
                Judgement { layer: Some(layer), ..Judgement::new(Origin::ImageUnverified) }.at(path)
            }
            _ => Judgement::new(Origin::Added).at(path),
        },
        (Presence::Absent, ExeFlags { upper: true, .. }) => Judgement::new(Origin::Added).at(path),
        (Presence::Absent, ExeFlags { lower: true, .. }) => Judgement::unknown("in no layer").at(path),
        // No flags from a kernel that gives none. Where the mounts are known the path is on the root.
        (Presence::Absent, _) if mounts_known && !subject.flags_given => {
            Judgement::new(Origin::Added).at(path)
        }
        (_, _) => Judgement::unknown("layer not known").at(path),
    }
}

/// Whether the file that was executed is the layer's own copy.
///
/// The kernel's flag speaks of the overlay that the file was on, and a container that may mount can have an overlay of
/// its own at any path. That one's files have other change times, which nobody in a container can choose; a file in
/// the container's own lower layer shows the layer's (fs/overlayfs/util.c, `ovl_copyattr`).
fn is_layers_copy(image: &Image, layer: usize, path: &ImagePath, inode: &InodeId) -> bool {
    layers_copy(image, layer, path).is_some_and(|copy| inode.times_agree(&copy))
}

/// Inode and times of a layer's own copy of a regular file; `None` where the layer is not on disk.
fn layers_copy(image: &Image, layer: usize, path: &ImagePath) -> Option<InodeId> {
    let stat = image.layers().get(layer)?.stat(path).ok()?;
    let is_regular = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile;
    is_regular.then(|| inode_id(&stat))
}

/// Whether the overlay's writable directory has a file at this path; `None` where that cannot be seen.
fn upper_has(live: &Live, path: &ImagePath) -> Option<bool> {
    use crate::image::disk::{DiskAnswer, LayerDir, XattrSpace};
    let upper = LayerDir::open(live.upper.as_deref()?, XattrSpace::Trusted).ok()?;
    match upper.lookup(path).ok()? {
        DiskAnswer::Entry(FileKind::Directory) | DiskAnswer::Silent => Some(false),
        DiskAnswer::Entry(_) => Some(true),
        // A whiteout: the file that was meant is gone, and what it was cannot be told.
        DiskAnswer::Hidden => None,
    }
}

/// Whether a file was reached through this mount, as the kernel tells; older kernels than 5.8 do not.
fn is_on(found: &FoundFile, mount: &Mount) -> bool {
    found.mount_id != 0 && mount.id == found.mount_id && mount.dev == found.dev
}

/// A path on a second mount of the root file system, as the root names it.
fn path_on_root(mount: &Mount, path: &ImagePath) -> ImagePath {
    let below = path.as_bytes().strip_prefix(mount.mount_point.as_slice()).unwrap_or(path.as_bytes());
    let mut full = mount.root.clone();
    full.push(b'/');
    full.extend_from_slice(below);
    ImagePath::lexical(b"/", &full).unwrap_or_else(|_| path.clone())
}

fn origin_of_mount(mount: &Mount, volume: Option<VolumeKind>) -> Origin {
    match (mount.fstype.as_slice(), volume) {
        (_, Some(VolumeKind::Image)) => Origin::ImageVolume,
        (b"tmpfs" | b"ramfs", None | Some(VolumeKind::Tmpfs | VolumeKind::EmptyDir)) => Origin::Tmpfs,
        _ => Origin::Volume,
    }
}

/// Whether the kernel's path is that of a memfd: from events `memfd:name`, from `/proc` `/memfd:name (deleted)`.
///
/// A path that begins with a slash can be forged by a file of that name in the root directory: only the unlinked
/// form counts then.
pub fn is_memfd_path(path: &[u8]) -> bool {
    path.starts_with(b"memfd:") || (path.starts_with(b"/memfd:") && path.ends_with(b" (deleted)"))
}

/// Finds the executable that an event meant, on the live system: through the process while it lives and runs it
/// still, else by path.
pub fn find_executable(
    host: &Host,
    container: &Container,
    pid: i64,
    path: &[u8],
    inode: &InodeId,
) -> Option<FoundFile> {
    let live = container.live.as_ref()?;
    let is_meant = |found: &FoundFile| {
        inode.agrees(&found.inode)
            || (live.is_overlay && found.dev == live.root_dev && inode.times_agree(&found.inode))
    };
    let running = host.executable(pid).ok().filter(is_meant);
    running.or_else(|| live.root(host, &[pid])?.find(path).ok().filter(is_meant))
}
