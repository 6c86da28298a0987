//! The judgement of one file: where it lives, whether the image has it, whether the content is the image's.
//!
//! Pure of Falco and of caching: given a container, a file and what the kernel said of it, it answers.
//! Invariants: a bounded number of system calls; content read only up to `inline_max`; an answer is believed
//! only if the file found is the file that was meant ([`InodeId::agrees`]), else it rests on the kernel's
//! flags alone or is `unknown`.

use crate::command::interpreter;
use crate::container::live::{is_member, Live};
use crate::container::mounts::{is_local, path_on_root, Place, Sight};
use crate::container::registry::Container;
use crate::container::volume::{is_engines_init, VolumeKind};
use crate::host::{inode_id, path_of, strip_deleted, FoundFile, Host};
use crate::host::{ExeFlags, InodeId};
use crate::image::disk::{LayerDir, XattrSpace};
use crate::image::view::{Image, Presence};
use crate::verdict::compare::{same_content, Comparison};
use crate::verdict::origin::Origin;
use drift_formats::entry::{FileKind, ImagePath};
use drift_formats::mountinfo::Mount;
use rustix::fd::OwnedFd;
use rustix::fs::FileType;
use rustix::io::Errno;
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

    /// Whether the file lies on the container's root file system.
    pub(crate) fn is_on_root(&self) -> bool {
        use Origin::{Added, AddedOrModified, Image, ImageModified, ImageTouched, ImageUnverified};
        matches!(
            self.origin,
            Image | ImageTouched | ImageModified | ImageUnverified | Added | AddedOrModified
        )
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

/// The program of an exec.
#[derive(Debug)]
pub struct Program<'a> {
    /// The process.
    pub pid: i64,
    /// As in [`Subject`].
    pub path: &'a [u8],
    /// As in [`Subject`].
    pub flags: ExeFlags,
    /// As in [`Subject`].
    pub flags_given: bool,
    /// As in [`Subject`].
    pub inode: InodeId,
    /// The executable, held since the event was seen ([`Host::hold_executable`]): what happened to the
    /// process and to the path meanwhile does not matter.
    pub held: Option<OwnedFd>,
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

    /// Judges the program of an exec, and gives the file where it may be looked at. For the event thread:
    /// nothing is asked of a file system whose server may not answer.
    pub fn judge_program(
        &self,
        container: &Container,
        program: Program<'_>,
    ) -> (Judgement, Option<FoundFile>) {
        let Program { pid, path, flags, flags_given, inode, held } = program;
        let mut subject = Subject { path, flags, flags_given, inode, found: None, pid };
        let sight = match &container.live {
            Some(live) if !flags.memfd => self.see(container, live, &subject, held),
            _ => None,
        };
        match sight {
            Some(Sight::File(found, place)) => {
                subject.found = Some(&found);
                let judgement = self.judge_at(container, &subject, place);
                (judgement, Some(found))
            }
            Some(Sight::Mount(place)) => (self.judge_at(container, &subject, Some(place)), None),
            None => (self.judge(container, &subject), None),
        }
    }

    /// The program of an exec, where it may be looked at.
    pub fn find_program(&self, container: &Container, program: Program<'_>) -> Option<FoundFile> {
        let Program { pid, path, flags, flags_given, inode, held } = program;
        let subject = Subject { path, flags, flags_given, inode, found: None, pid };
        match self.see(container, container.live.as_ref()?, &subject, held)? {
            Sight::File(found, _) => Some(found),
            Sight::Mount(_) => None,
        }
    }

    /// Finds the executable that an event meant: through the process while it runs it still, else by its path
    /// on the root.
    fn see(
        &self,
        container: &Container,
        live: &Live,
        subject: &Subject<'_>,
        held: Option<OwnedFd>,
    ) -> Option<Sight> {
        let Subject { path, flags, inode, pid, .. } = *subject;
        // The kernel's flags are those of an overlay, which answers by itself.
        let on_overlay = flags.upper || flags.lower;
        let is_meant = |found: &FoundFile| {
            inode.agrees(&found.inode)
                || ((on_overlay || (live.is_overlay && live.is_on_root(found)))
                    && inode.times_agree(&found.inode))
        };
        let running = || {
            let fd = held.or_else(|| self.host.hold_executable(pid).ok())?;
            let own = path_of(&fd)?;
            let named =
                ImagePath::lexical(b"/", strip_deleted(if path.is_empty() { &own } else { path })).ok()?;
            let sight = match on_overlay {
                true => Sight::File(FoundFile::from_fd(fd).ok()?, None),
                false => live.look_at(&self.host, &container.id, pid, fd, &named)?,
            };
            match &sight {
                Sight::File(found, _) => is_meant(found),
                // Of one that may not be looked at the name is all there is.
                Sight::Mount(_) => path.is_empty() || strip_deleted(&own) == strip_deleted(path),
            }
            .then_some(sight)
        };
        running().or_else(|| {
            let root =
                live.root(&self.host, &[]).filter(|_| live.mounts_now().root().is_none_or(is_local))?;
            let found = root.find_here(path, true).ok().filter(is_meant)?;
            Some(Sight::File(found, None))
        })
    }

    /// Judges one file of a container.
    pub fn judge(&self, container: &Container, subject: &Subject<'_>) -> Judgement {
        self.judge_at(container, subject, None)
    }

    /// As [`Judge::judge`], where it is known where the file lies.
    pub(super) fn judge_at(
        &self,
        container: &Container,
        subject: &Subject<'_>,
        place: Option<Place>,
    ) -> Judgement {
        if subject.flags.memfd || is_memfd_path(subject.path) {
            return Judgement::new(Origin::Memfd);
        }
        let judgement = self.judge_file(container, subject, place);
        match judgement.origin {
            Origin::Unknown => floor(container, subject, judgement),
            _ => judgement,
        }
    }

    fn judge_file(&self, container: &Container, subject: &Subject<'_>, place: Option<Place>) -> Judgement {
        // Probes leave the path empty where they could not read it; the file itself knows it.
        let own_path = subject.found.filter(|_| subject.path.is_empty()).and_then(FoundFile::path);
        let given = own_path.as_deref().unwrap_or(subject.path);
        if given.is_empty() && place.is_none() {
            return Judgement::unknown("path not known");
        }
        let Ok(path) = ImagePath::lexical(b"/", given) else {
            return Judgement::unknown("path too long");
        };
        let Some(live) = &container.live else { return judge_unseen(self, container, None, subject, &path) };
        let place = place.or_else(|| {
            let found = subject.found?;
            Some(live.place_of(&self.host, &container.id, subject.pid, found, &path))
        });
        match (place, subject.found) {
            (Some(Place::Root(path)), Some(found)) => {
                self.judge_on_root(container, live, subject, found, &path)
            }
            (Some(Place::Root(path)), None) => judge_unseen(self, container, Some(live), subject, &path),
            (Some(Place::Mount(mount)), _) => self.judge_on_mount(container, live, subject, &mount, &path),
            // On no mount, and so named by the kernel: nobody can make such a file.
            (Some(Place::Detached), _) if path.as_bytes().starts_with(b"/memfd:") => {
                Judgement::new(Origin::Memfd)
            }
            (Some(Place::Detached), _) => Judgement::new(Origin::Detached).at(&path),
            (Some(Place::Host), _) => Judgement::unknown(HOSTS_FILE).at(&path),
            (None, _) => judge_unseen(self, container, Some(live), subject, &path),
        }
    }

    fn judge_on_mount(
        &self,
        container: &Container,
        live: &Live,
        subject: &Subject<'_>,
        mount: &Mount,
        path: &ImagePath,
    ) -> Judgement {
        // Another root than the container's as it is known: the process made itself one (then it is a mount
        // like any other), unless nothing is left of the container as it was known, which was restarted.
        if mount.mount_point == b"/" && !is_member(&self.host, live.pid(), &container.id) {
            return Judgement::unknown("root file system changed").at(path);
        }
        let of_engine = subject.pid == live.pid() && path.as_bytes() == mount.mount_point;
        if of_engine && is_engines_init(mount) && live.is_original(mount) {
            return Judgement::new(Origin::Runtime).at(path);
        }
        let volume = live.volume_kind(&self.host, mount);
        let origin = match origin_of_mount(mount, volume) {
            Origin::ImageVolume if is_written_to(&self.host, live, subject, mount, path) => Origin::Volume,
            origin => origin,
        };
        Judgement { volume, ..Judgement::new(origin) }.at(path)
    }

    /// Judges a file of a root that may not be looked at, an overlay in user space: its writable layer lies on
    /// the host, and is looked at instead. `None` where that does not tell.
    ///
    /// Whoever serves the overlay gives its files the number of the image's, or of the writable layer's. Their
    /// times are passed on as well; the kernel keeps them for a while (`attr_timeout`).
    fn judge_by_upper(
        &self,
        image: &Image,
        live: &Live,
        subject: &Subject<'_>,
        path: &ImagePath,
    ) -> Option<Judgement> {
        let upper = live.upper.as_deref().filter(|_| !live.is_overlay)?;
        let upper = LayerDir::open(upper, XattrSpace::Names).ok()?;
        // Scripts are given by the name that a process used.
        let (path, presence) = image.resolve(path);
        let copy = match &presence {
            Presence::Present { layer, .. } => layers_copy(image, *layer, &path),
            _ => None,
        };
        let is_meant = |file: &InodeId| {
            let inode = &subject.inode;
            inode.ino == 0 || inode.ino == file.ino || inode.times_agree(file)
        };
        let is_copy = || copy.as_ref().is_some_and(is_meant);
        let judgement = match (upper.find(&path), presence) {
            (Ok(found), _) if found.kind != FileType::RegularFile => return None,
            (Ok(found), Presence::Present { layer, entry }) if is_meant(&found.inode) || is_copy() => {
                match entry.kind {
                    FileKind::Regular => {
                        return Some(self.against_image(
                            image,
                            layer,
                            entry.size,
                            entry.sha256,
                            &found,
                            &path,
                        ));
                    }
                    _ => Judgement::new(Origin::Added),
                }
            }
            (Ok(found), Presence::Absent) if is_meant(&found.inode) => Judgement::new(Origin::Added),
            (Err(Errno::NOENT | Errno::NOTDIR), Presence::Present { layer, entry })
                if entry.kind == FileKind::Regular && is_copy() =>
            {
                let layer = Some(layer);
                Judgement { layer, sha256: entry.sha256, ..Judgement::new(Origin::Image) }
            }
            _ => return None,
        };
        Some(judgement.at(&path))
    }

    fn judge_on_root(
        &self,
        container: &Container,
        live: &Live,
        subject: &Subject<'_>,
        found: &FoundFile,
        path: &ImagePath,
    ) -> Judgement {
        let Ok(image) = &container.image else { return Judgement::unknown("image not known").at(path) };
        let presence = image.lookup(path);
        let in_upper = match live.is_overlay && (subject.flags.upper || subject.flags.lower) {
            true => Some(subject.flags.upper),
            false => is_in_upper(live, image, &presence, found, path),
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
            // No overlay, or another file than the one that the path leads to by now: the content decides.
            (None, Presence::Present { layer, entry }) => {
                let judged = self.against_image(image, layer, entry.size, entry.sha256, found, path);
                match judged.origin {
                    Origin::ImageTouched => Judgement { origin: Origin::Image, ..judged },
                    _ => judged,
                }
            }
            (None, Presence::Absent) => Judgement::new(Origin::Added).at(path),
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

/// Why nothing is said of a program that lies on a mount of the host's alone, such as an emulator of
/// `binfmt_misc`.
pub const HOSTS_FILE: &str = "the host's file";

/// What the kernel's own flags say where nothing else could be found out: never less than Falco's rules would
/// say that ask for `proc.is_exe_upper_layer`.
fn floor(container: &Container, subject: &Subject<'_>, unknown: Judgement) -> Judgement {
    // Of a container that is not here, and described by a manifest, nobody knows what its root is.
    let no_overlay = container.live.as_ref().map_or(container.image.is_ok(), |live| !live.is_overlay);
    let no_image = container.image.is_err() || unknown.why == UNREADABLE;
    let origin = match subject.flags {
        ExeFlags { upper: true, .. } => Origin::AddedOrModified,
        ExeFlags { lower: true, .. } if no_image => Origin::Image,
        ExeFlags { lower: true, .. } => return unknown,
        // The runtime, on its way into a container that could not be looked at: the host's, as it seems.
        _ if container.live.is_none() && interpreter::names_a_runtime(subject.path, &[]) => return unknown,
        // On no overlay at all, and so not of the image's layers.
        _ if subject.flags_given && !no_overlay && unknown.why != HOSTS_FILE => Origin::Volume,
        _ => return unknown,
    };
    Judgement { origin, why: "", ..unknown }
}

/// Why nothing is said of a path that a layer could not be asked for.
const UNREADABLE: &str = "image layer not readable";

/// Judges a file that cannot be looked at: the process is gone and the path holds another file by now, or
/// this is a replay. What remains are the kernel's flags and the image.
fn judge_unseen(
    judge: &Judge,
    container: &Container,
    live: Option<&Live>,
    subject: &Subject<'_>,
    path: &ImagePath,
) -> Judgement {
    // Flags of another overlay (a volume, a nested container) say nothing of this image.
    let mounts = live.map(Live::mounts);
    let covering = mounts.as_ref().and_then(|t| Some((t.root()?, t.covering(path.as_bytes())?)));
    let on_root = match covering {
        Some((root, mount)) => path_on_root(root, mount, path),
        None => Some(path.clone()),
    };
    let path = match (live, covering, &on_root) {
        (Some(live), Some((_, mount)), None) => {
            return judge.judge_on_mount(container, live, subject, mount, path);
        }
        (_, _, on_root) => on_root.as_ref().unwrap_or(path),
    };
    let Ok(image) = &container.image else { return Judgement::unknown("image not known").at(path) };
    if let Some(judged) = live.and_then(|live| judge.judge_by_upper(image, live, subject, path)) {
        return judged;
    }
    let mounts_known = covering.is_some();
    match (image.lookup(path), subject.flags) {
        (Presence::Unknown(_), _) => Judgement::unknown(UNREADABLE).at(path),
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
        (Presence::Absent, _)
            if mounts_known && (!subject.flags_given || live.is_some_and(|live| !live.is_overlay)) =>
        {
            Judgement::new(Origin::Added).at(path)
        }
        (_, _) => Judgement::unknown("layer not known").at(path),
    }
}

/// Whether the file that was executed is the layer's own copy.
///
/// The kernel's flag speaks of the overlay that the file was on, and a container that may mount can have an
/// overlay of its own at any path. That one's files have other change times, which nobody in a container can
/// choose; a file in the container's own lower layer shows the layer's (fs/overlayfs/util.c, `ovl_copyattr`).
fn is_layers_copy(image: &Image, layer: usize, path: &ImagePath, inode: &InodeId) -> bool {
    layers_copy(image, layer, path).is_some_and(|copy| inode.times_agree(&copy))
}

/// Inode and times of a layer's own copy of a regular file; `None` where the layer is not on disk.
fn layers_copy(image: &Image, layer: usize, path: &ImagePath) -> Option<InodeId> {
    let stat = image.layers().get(layer)?.stat(path).ok()?;
    let is_regular = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile;
    is_regular.then(|| inode_id(&stat))
}

/// Whether a file of an overlay that the kernel gave no flags for is in the writable layer; `None` on no
/// overlay, and where the path leads to another file by now (the file was unlinked, or another one renamed
/// over it).
///
/// Change times tell: nobody in a container can set them (fs/overlayfs/util.c, `ovl_copyattr`).
fn is_in_upper(
    live: &Live,
    image: &Image,
    presence: &Presence,
    found: &FoundFile,
    path: &ImagePath,
) -> Option<bool> {
    if !live.is_overlay || found.links == 0 {
        return None;
    }
    if let Some(upper) = live.upper.as_deref() {
        let upper = LayerDir::open(upper, XattrSpace::Trusted).ok()?;
        match upper.stat(path) {
            Ok(stat) => return found.inode.times_agree(&inode_id(&stat)).then_some(true),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(_) => return None,
        }
    }
    match presence {
        Presence::Present { layer, .. } => match layers_copy(image, *layer, path) {
            Some(copy) => found.inode.times_agree(&copy).then_some(false),
            None => Some(false),
        },
        Presence::Absent | Presence::Unknown(_) => Some(false),
    }
}

/// Whether a file of a writable image volume is not the image's any more: it is in the volume's own writable
/// layer, as the kernel's flags say, or that layer itself.
fn is_written_to(host: &Host, live: &Live, subject: &Subject<'_>, mount: &Mount, path: &ImagePath) -> bool {
    let ExeFlags { upper, lower, .. } = subject.flags;
    if upper || lower {
        return upper;
    }
    let Some(dir) = live.upper_of_volume(host, mount) else { return false };
    let below = path.as_bytes().strip_prefix(mount.mount_point.as_slice()).unwrap_or_default();
    let Ok(path) = ImagePath::lexical(b"/", below) else { return true };
    LayerDir::open(&dir, XattrSpace::Trusted)
        .map_or(true, |upper| !matches!(upper.stat(&path), Err(Errno::NOENT)))
}

fn origin_of_mount(mount: &Mount, volume: Option<VolumeKind>) -> Origin {
    match (mount.fstype.as_slice(), volume) {
        (_, Some(VolumeKind::Image)) => Origin::ImageVolume,
        (b"tmpfs" | b"ramfs", None | Some(VolumeKind::Tmpfs | VolumeKind::EmptyDir)) => Origin::Tmpfs,
        _ => Origin::Volume,
    }
}

/// Whether the kernel's path is that of a memfd: from events `memfd:name`, from `/proc` `/memfd:name
/// (deleted)`.
///
/// A path that begins with a slash can be forged by a file of that name in the root directory: only the
/// unlinked form counts then.
pub fn is_memfd_path(path: &[u8]) -> bool {
    path.starts_with(b"memfd:") || (path.starts_with(b"/memfd:") && path.ends_with(b" (deleted)"))
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
