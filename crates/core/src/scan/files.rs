//! The files of a container against those of its image.
//!
//! Where the writable layer of an overlay can be reached, only that is walked: whatever is not in it is the
//! image's. Else the container's whole root is.

use super::{Limits, Memory, Summary};
use crate::container::registry::Container;
use crate::host::{FoundFile, Host, RootDir};
use crate::image::disk::XattrSpace;
use crate::image::view::{Image, Presence};
use crate::scan::finding::{file_type, Attributes, FileChange, FileFinding};
use crate::verdict::change::{compare, file_kind, Change, Incomparable, Located};
use drift_formats::entry::{FileKind, ImagePath};
use drift_formats::mountinfo::MountTable;
use drift_formats::overlay_options::OverlayLayers;
use drift_formats::path_key::path_key;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which tree is walked.
#[derive(Debug)]
pub(super) enum Tree {
    /// The writable layer of an overlay.
    Upper {
        /// Its directory.
        dir: RootDir,
        /// Where its overlay xattrs are.
        xattrs: XattrSpace,
        /// Files in it may have their content in the layers underneath.
        metacopy: bool,
    },
    /// The container's root.
    Root(RootDir),
}

/// A container, ready to be compared with its image.
#[derive(Debug)]
pub struct FileScan {
    pub(super) image: Image,
    pub(super) tree: Tree,
    pub(super) mounts: Arc<MountTable>,
    /// Mount points, sorted.
    mount_points: Vec<Vec<u8>>,
    /// A listing to look for deleted files in, where the image's layers are no directories.
    pub(super) listing: Option<PathBuf>,
    limits: Limits,
}

impl FileScan {
    /// Opens the container's files. `listing` is the manifest that the container's image was read from, if it
    /// was.
    ///
    /// # Errors
    /// The container is gone, nothing is known of its image, or its files cannot be reached: why.
    pub fn open(
        host: &Host,
        container: &Container,
        listing: Option<&Path>,
        limits: Limits,
    ) -> Result<Self, String> {
        let live = container.live.as_ref().ok_or("the container is not running")?;
        let image = container.image.clone()?;
        let mounts = live.refresh_mounts(host, &container.id);
        let options = mounts.root().filter(|m| m.fstype == b"overlay").map(|m| &m.super_options);
        let options = options.and_then(|o| OverlayLayers::parse(o).ok());
        let upper = live.upper.as_ref().zip(options).and_then(|(dir, options)| {
            let dir = RootDir::open(dir).ok()?;
            let xattrs = if options.userxattr { XattrSpace::User } else { XattrSpace::Trusted };
            Some(Tree::Upper { dir, xattrs, metacopy: options.may_metacopy() })
        });
        // An overlay without a writable layer cannot have changed; it is walked all the same.
        let root = || live.root(host, &[]).map(Tree::Root);
        let from_layers = !container.from_manifest;
        let tree =
            upper.filter(|_| from_layers).or_else(root).ok_or("the container's files cannot be reached")?;
        Ok(Self::new(image, tree, mounts, listing, limits))
    }

    /// The container's whole root against an image of the caller's, whatever its own layers are.
    ///
    /// # Errors
    /// The container is gone, or its files cannot be reached: why.
    pub fn against(
        host: &Host,
        container: &Container,
        image: Image,
        listing: Option<&Path>,
        limits: Limits,
    ) -> Result<Self, String> {
        let live = container.live.as_ref().ok_or("the container is not running")?;
        let mounts = live.refresh_mounts(host, &container.id);
        let root = live.root(host, &[]).ok_or("the container's files cannot be reached")?;
        Ok(Self::new(image, Tree::Root(root), mounts, listing, limits))
    }

    /// A writable layer against layers, for those who have both at hand.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn of_upper(image: Image, upper: &Path, xattrs: XattrSpace, limits: Limits) -> Result<Self, Errno> {
        let tree = Tree::Upper { dir: RootDir::open(upper)?, xattrs, metacopy: true };
        Ok(Self::new(image, tree, Arc::new(MountTable::default()), None, limits))
    }

    /// A whole tree against an image.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn of_root(image: Image, root: &Path, listing: Option<&Path>, limits: Limits) -> Result<Self, Errno> {
        let tree = Tree::Root(RootDir::open(root)?);
        Ok(Self::new(image, tree, Arc::new(MountTable::default()), listing, limits))
    }

    fn new(
        image: Image,
        tree: Tree,
        mounts: Arc<MountTable>,
        listing: Option<&Path>,
        limits: Limits,
    ) -> Self {
        let mut mount_points: Vec<_> = mounts.iter().map(|m| m.mount_point.clone()).collect();
        mount_points.sort();
        Self { image, tree, mounts, mount_points, listing: listing.map(Path::to_owned), limits }
    }

    /// Compares, and tells each finding. `keep_going` is asked between files and while reading: it paces, and
    /// `false` ends the scan.
    pub fn run(
        &self,
        memory: Option<&mut Memory>,
        keep_going: &mut dyn FnMut() -> bool,
        tell: &mut dyn FnMut(FileFinding),
    ) -> Summary {
        let mut run = Run { scan: self, memory, keep_going, tell, summary: Summary::default() };
        let ended = match &self.tree {
            Tree::Upper { dir, xattrs, metacopy } => run.upper(dir, *xattrs, *metacopy),
            Tree::Root(root) => run.root(root),
        };
        if let Err(Cut(why)) = ended {
            run.summary.cut = Some(why);
        }
        run.summary
    }

    /// Opens a regular file that a finding told of, for reading, as it is now.
    ///
    /// # Errors
    /// The kernel's; `EINVAL` for anything but a regular file.
    pub fn open_file(&self, path: &ImagePath) -> Result<std::fs::File, Errno> {
        let (root, marks) = match &self.tree {
            Tree::Upper { dir, xattrs, .. } => (dir, Some(xattrs)),
            Tree::Root(root) => (root, None),
        };
        let found = root.find_beneath(path.as_bytes())?;
        // A copy of metadata alone reads as zeros.
        if marks.is_some_and(|space| found.xattr(&space.name("metacopy")).is_some()) {
            return Err(Errno::NODATA);
        }
        found.open()
    }

    /// Whether a mount lies at or over this path.
    pub(super) fn is_covered(&self, path: &ImagePath) -> bool {
        self.mounts.covering(path.as_bytes()).is_some_and(|m| m.mount_point != b"/")
    }

    pub(super) fn is_mount_point(&self, path: &ImagePath) -> bool {
        self.mount_points.binary_search_by(|m| m.as_slice().cmp(path.as_bytes())).is_ok()
    }

    /// Whether something is mounted below this directory: then it may have been made for that.
    pub(super) fn is_above_mount(&self, dir: &ImagePath) -> bool {
        let prefix = [dir.as_bytes(), b"/"].concat();
        let at = self.mount_points.partition_point(|m| m.as_slice() < prefix.as_slice());
        self.mount_points.get(at).is_some_and(|m| m.starts_with(&prefix))
    }
}

/// podman and CRI-O make this link in each container (podman `libpod/container_internal_common.go`). It tells
/// nothing that `/proc` does not.
pub(super) fn is_runtimes_own(path: &ImagePath, found: &FoundFile) -> bool {
    path.as_bytes() == b"/etc/mtab"
        && found.kind == FileType::Symlink
        && found.link_target().is_some_and(|to| to == b"/proc/mounts" || to == b"/proc/self/mounts")
}

/// Why a scan ends early.
pub(super) struct Cut(pub(super) String);

/// One run of a scan.
pub(super) struct Run<'a> {
    pub(super) scan: &'a FileScan,
    memory: Option<&'a mut Memory>,
    pub(super) keep_going: &'a mut dyn FnMut() -> bool,
    tell: &'a mut dyn FnMut(FileFinding),
    pub(super) summary: Summary,
}

impl Run<'_> {
    pub(super) fn image(&self) -> &Image {
        &self.scan.image
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.scan.limits
    }

    /// Called for each entry.
    pub(super) fn step(&mut self) -> Result<(), Cut> {
        self.summary.entries += 1;
        if self.summary.entries > self.scan.limits.max_entries {
            self.summary.entries -= 1;
            return Err(Cut(format!("more than {} entries", self.scan.limits.max_entries)));
        }
        self.paced()
    }

    pub(super) fn paced(&mut self) -> Result<(), Cut> {
        match (self.keep_going)() {
            true => Ok(()),
            false => Err(Cut("stopped".to_owned())),
        }
    }

    pub(super) fn tell(&mut self, finding: FileFinding) -> Result<(), Cut> {
        if self.summary.findings >= self.scan.limits.max_findings {
            return Err(Cut(format!("more than {} findings", self.scan.limits.max_findings)));
        }
        self.summary.findings += 1;
        (self.tell)(finding);
        Ok(())
    }

    /// A file that the image has at `image_path` and that is gone.
    pub(super) fn tell_deleted(
        &mut self,
        path: ImagePath,
        image_path: ImagePath,
        kind: FileKind,
    ) -> Result<(), Cut> {
        let before = self.before(&image_path);
        let finding = FileFinding {
            change: FileChange::Deleted,
            kind: before.map_or(file_type(kind), |b| b.kind),
            content: file_kind(&path, None),
            now: None,
            before,
            gained: Vec::new(),
            covered: self.scan.is_covered(&path),
            why: String::new(),
            image_path: Some(image_path).filter(|p| *p != path),
            path,
        };
        self.tell(finding)
    }

    /// A finding on a file that is there.
    pub(super) fn finding(&self, path: &ImagePath, found: &FoundFile, change: FileChange) -> FileFinding {
        // Content is looked at of drift only: a touched file may be anything, and costs nothing more.
        let content = match change.is_drift() {
            true => file_kind(path, Some(found)),
            false => file_kind(path, None),
        };
        FileFinding {
            path: path.clone(),
            image_path: None,
            change,
            kind: found.kind,
            content,
            now: Some(Attributes::of(found)),
            before: None,
            gained: Vec::new(),
            covered: self.scan.is_covered(path),
            why: String::new(),
        }
    }

    /// The image's own attributes of a path, where its layers are on disk.
    pub(super) fn before(&self, image_path: &ImagePath) -> Option<Attributes> {
        let Presence::Present { layer, .. } = self.image().lookup(image_path) else { return None };
        let stat = self.image().layers().get(layer)?.stat(image_path).ok()?;
        Some(Attributes::of_stat(&stat))
    }

    /// Size of the image's regular file at a path.
    fn image_size(&self, image_path: &ImagePath) -> Option<u64> {
        let Presence::Present { entry, .. } = self.image().lookup(image_path) else { return None };
        match (entry.kind, entry.size) {
            (FileKind::Regular, None) => self.before(image_path).map(|b| b.size),
            (FileKind::Regular, size) => size,
            _ => None,
        }
    }

    /// Compares a file that is no directory with the image's at `image_path`, and tells how it differs.
    /// `written` says that somebody wrote to it, whatever the content is.
    pub(super) fn compare(
        &mut self,
        path: &ImagePath,
        image_path: &ImagePath,
        found: FoundFile,
        written: bool,
    ) -> Result<(), Cut> {
        let state = (found.inode, found.size);
        let key = path_key(path);
        let regular = found.kind == FileType::RegularFile;
        if regular && self.memory.as_ref().is_some_and(|m| m.is_same(key, state)) {
            return match written {
                true => self.tell_touched(path, image_path, &found),
                false => Ok(()),
            };
        }
        // A file of another size than the image's is not read.
        let to_read = if regular && self.image_size(image_path) == Some(found.size) { found.size } else { 0 };
        if to_read > self.limits().max_bytes.saturating_sub(self.summary.bytes) {
            return self.tell_unknown(path, image_path, &found, "the scan has read as much as it may");
        }
        self.summary.bytes += to_read;
        let fd = found.fd.try_clone().map_err(|e| Cut(format!("no more descriptors: {e}")))?;
        let again = FoundFile::from_fd(fd).map_err(|e| Cut(format!("file lost: {e}")))?;
        let max = self.scan.limits.max_file;
        let located = Located { path: image_path.clone(), now: Some(found) };
        match compare(&self.scan.image, located, max, self.keep_going) {
            Ok(compared) => {
                let before = self.before(image_path);
                // What is no file, directory or link is told by its type and number.
                let other_device = before.is_some_and(|b| {
                    (b.kind != again.kind || b.rdev != again.rdev)
                        && !matches!(b.kind, FileType::RegularFile | FileType::Symlink)
                });
                let change = match compared.change {
                    Change::Created => FileChange::Created,
                    Change::Modified => FileChange::Modified,
                    Change::None if other_device => FileChange::Modified,
                    Change::Metadata => FileChange::Metadata,
                    Change::None | Change::Deleted | Change::Renamed | Change::Reverted => {
                        if regular {
                            if let Some(memory) = self.memory.as_mut() {
                                memory.note_same(key, state);
                            }
                        }
                        return match written {
                            true => self.tell_touched(path, image_path, &again),
                            false => Ok(()),
                        };
                    }
                };
                let finding = FileFinding {
                    before,
                    gained: compared.gained,
                    image_path: Some(image_path.clone())
                        .filter(|p| p != path && change != FileChange::Created),
                    ..self.finding(path, &again, change)
                };
                self.tell(finding)
            }
            Err(Incomparable::Stopped) => Err(Cut("stopped".to_owned())),
            Err(Incomparable::OtherMount | Incomparable::Unreadable) => {
                let why = match regular && again.size > max {
                    true => "larger than what is compared",
                    false => "the image's file cannot be read",
                };
                self.tell_unknown(path, image_path, &again, why)
            }
        }
    }

    fn tell_unknown(
        &mut self,
        path: &ImagePath,
        image_path: &ImagePath,
        found: &FoundFile,
        why: &str,
    ) -> Result<(), Cut> {
        let finding = FileFinding {
            why: why.to_owned(),
            image_path: Some(image_path.clone()).filter(|p| p != path),
            ..self.finding(path, found, FileChange::Unknown)
        };
        self.summary.gap(path.clone(), why.to_owned());
        self.tell(finding)
    }

    pub(super) fn tell_touched(
        &mut self,
        path: &ImagePath,
        image_path: &ImagePath,
        found: &FoundFile,
    ) -> Result<(), Cut> {
        let before = self.before(image_path);
        let finding = FileFinding {
            before,
            image_path: Some(image_path.clone()).filter(|p| p != path),
            ..self.finding(path, found, FileChange::Touched)
        };
        self.tell(finding)
    }
}
