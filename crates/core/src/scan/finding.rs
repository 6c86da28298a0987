//! What a comparison of files finds.

use crate::host::FoundFile;
use crate::host::InodeId;
use crate::verdict::origin::Origin;
use drift_formats::entry::{FileKind, ImagePath};
use rustix::fs::{FileType, Statx};

/// How a file differs from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileChange {
    /// The image does not have it.
    Created,
    /// Other content, or another type of file, than the image's.
    Modified,
    /// The image's content, and a set-id bit or file capabilities that the image's has not.
    Metadata,
    /// The image has it, and it is gone. Of a directory, all that was in it.
    Deleted,
    /// The image's directory (or file) under another name.
    Renamed,
    /// Written to, with the image's content: other permissions, owner or times. No drift.
    Touched,
    /// Could not be compared.
    Unknown,
}

impl FileChange {
    /// The name in output and in `drift.event.change`, as in `drift.file_change`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Modified => "modified",
            Self::Metadata => "metadata",
            Self::Deleted => "deleted",
            Self::Renamed => "renamed",
            Self::Touched => "touched",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the container differs from its image by it.
    pub fn is_drift(self) -> bool {
        !matches!(self, Self::Touched | Self::Unknown)
    }

    /// The origin that `drift.file_origin` would give such a file.
    pub fn origin(self) -> Origin {
        match self {
            Self::Created => Origin::Added,
            Self::Modified => Origin::ImageModified,
            Self::Metadata | Self::Touched => Origin::ImageTouched,
            Self::Deleted | Self::Renamed => Origin::Image,
            Self::Unknown => Origin::ImageUnverified,
        }
    }
}

/// What a file is besides its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Kind of file.
    pub kind: FileType,
    /// Permission bits, set-id bits included.
    pub mode: u16,
    /// User and group id, as the host numbers them.
    pub owner: (u32, u32),
    /// Size in bytes.
    pub size: u64,
    /// Which device a device file is: major, minor.
    pub rdev: (u32, u32),
    /// Inode number and times.
    pub inode: InodeId,
}

impl Attributes {
    pub(super) fn of(found: &FoundFile) -> Self {
        Self {
            kind: found.kind,
            mode: found.mode,
            owner: found.owner,
            size: found.size,
            rdev: found.rdev,
            inode: found.inode,
        }
    }

    pub(super) fn of_stat(stat: &Statx) -> Self {
        let nanos = |t: rustix::fs::StatxTimestamp| {
            (t.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(u64::from(t.tv_nsec))
        };
        Self {
            kind: FileType::from_raw_mode(stat.stx_mode.into()),
            mode: stat.stx_mode & 0o7777,
            owner: (stat.stx_uid, stat.stx_gid),
            size: stat.stx_size,
            rdev: (stat.stx_rdev_major, stat.stx_rdev_minor),
            inode: InodeId { ino: stat.stx_ino, ctime: nanos(stat.stx_ctime), mtime: nanos(stat.stx_mtime) },
        }
    }
}

/// One file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFinding {
    /// Path in the container; of a deleted file in a renamed directory the one it would have.
    pub path: ImagePath,
    /// Where the image has it, if that is another path: of a renamed directory, and of what is in it.
    pub image_path: Option<ImagePath>,
    /// How it differs.
    pub change: FileChange,
    /// Kind of file: as it is, or as the image has it when it is gone.
    pub kind: FileType,
    /// What the content is: a value of `drift.file_kind`.
    pub content: &'static str,
    /// As it is.
    pub now: Option<Attributes>,
    /// As the image has it, where that was looked at.
    pub before: Option<Attributes>,
    /// Which of `setuid`, `setgid`, `filecaps` it has and the image's has not.
    pub gained: Vec<&'static str>,
    /// Something is mounted over it: in the container the path shows another file.
    pub covered: bool,
    /// Why it could not be compared; empty otherwise.
    pub why: String,
}

/// A kind of file in an image as a type of file.
pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Other => FileType::Unknown,
    }
}

/// Name of a type of file, in output.
pub fn type_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "char_device",
        FileType::BlockDevice => "block_device",
        FileType::Unknown => "other",
    }
}
