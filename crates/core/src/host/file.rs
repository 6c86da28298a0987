//! Files on the live system: found beneath a root that belongs to somebody else, looked at without opening
//! their content.
//!
//! Invariant: a path that a container wrote is resolved inside its root, links included, and no magic link is
//! followed; content is opened of regular files only, without blocking.

use crate::host::InodeId;
use drift_formats::mountinfo::MountTable;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file found on the live system: an `O_PATH` descriptor, which pins the file without opening its content.
#[derive(Debug)]
pub struct FoundFile {
    /// The descriptor.
    pub fd: OwnedFd,
    /// Kind of file.
    pub kind: FileType,
    /// Inode number and times.
    pub inode: InodeId,
    /// Device of the file system it is on.
    pub dev: (u32, u32),
    /// Mount it was reached through; 0 where the kernel is older than 5.8.
    pub mount_id: u64,
    /// Size in bytes.
    pub size: u64,
    /// Permission bits, set-id bits included.
    pub mode: u16,
    /// Owner's user and group id, as the host numbers them.
    pub owner: (u32, u32),
    /// Which device a device file is: major, minor.
    pub rdev: (u32, u32),
    /// Names the file has; 0 once it is unlinked.
    pub links: u32,
}

impl FoundFile {
    /// A file by its descriptor.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn from_fd(fd: OwnedFd) -> Result<Self, Errno> {
        let stat = stat_fd(&fd)?;
        Ok(Self {
            kind: FileType::from_raw_mode(stat.stx_mode.into()),
            inode: inode_id(&stat),
            dev: (stat.stx_dev_major, stat.stx_dev_minor),
            mount_id: stat.stx_mnt_id,
            size: stat.stx_size,
            mode: stat.stx_mode & 0o7777,
            owner: (stat.stx_uid, stat.stx_gid),
            rdev: (stat.stx_rdev_major, stat.stx_rdev_minor),
            links: stat.stx_nlink,
            fd,
        })
    }

    /// An open file, looked at.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of(file: std::fs::File) -> Result<Self, Errno> {
        Self::from_fd(file.into())
    }

    /// Where the file is in its mount namespace, as the kernel names it; ` (deleted)` taken off an unlinked
    /// file's. A file may be called so, too.
    pub fn path(&self) -> Option<Vec<u8>> {
        let path = path_of(&self.fd)?;
        match self.links {
            0 => Some(strip_deleted(&path).to_vec()),
            _ => Some(path),
        }
    }

    /// A path that leads to this very file, for system calls that take no descriptor; good while `self`
    /// lives.
    pub fn own_path(&self) -> PathBuf {
        self_fd(&self.fd)
    }

    /// Opens the content for reading. Only regular files: opening a device or FIFO can block or act.
    ///
    /// # Errors
    /// The kernel's; `EINVAL` for anything but a regular file.
    pub fn open(&self) -> Result<std::fs::File, Errno> {
        if self.kind != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(self_fd(&self.fd), flags, Mode::empty())?.into())
    }

    /// Names in the directory, in no order, without `.` and `..`; one more than `max` where there are more.
    ///
    /// # Errors
    /// The kernel's; `ENOTDIR` for anything but a directory.
    pub fn names(&self, max: usize) -> Result<Vec<Vec<u8>>, Errno> {
        if self.kind != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let entries = Dir::new(rustix::fs::open(self_fd(&self.fd), flags, Mode::empty())?)?;
        let names = entries.map(|e| e.map(|e| e.file_name().to_bytes().to_vec()));
        let others = names.filter(|name| !matches!(name.as_deref(), Ok(b"." | b"..")));
        others.take(max.saturating_add(1)).collect()
    }

    /// Target of a symbolic link, as stored.
    pub fn link_target(&self) -> Option<Vec<u8>> {
        Some(rustix::fs::readlinkat(&self.fd, "", Vec::new()).ok()?.into_bytes())
    }

    /// An extended attribute, up to 4096 bytes.
    pub fn xattr(&self, name: &str) -> Option<Vec<u8>> {
        let mut value = vec![0u8; 4096];
        let len = rustix::fs::getxattr(self_fd(&self.fd), name, &mut value[..]).ok()?;
        value.truncate(len);
        Some(value)
    }

    /// Whether the file has file capabilities (the xattr `security.capability`).
    pub(crate) fn has_file_capabilities(&self) -> bool {
        let mut value = [0u8; 64];
        rustix::fs::getxattr(self_fd(&self.fd), "security.capability", &mut value[..]).is_ok_and(|n| n > 0)
    }
}

/// The root directory of a process in a container.
#[derive(Debug)]
pub struct RootDir {
    fd: OwnedFd,
    /// Device that the directory's files show, which is not always the one that mount tables have.
    pub dev: (u32, u32),
    ino: u64,
    /// Mount that it was reached through; 0 where the kernel is older than 5.8.
    pub mount_id: u64,
    /// The mounts below it, where they are known.
    mounts: Option<Arc<MountTable>>,
}

impl AsFd for RootDir {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl RootDir {
    /// Where the directory is in its mount namespace, as the kernel names it.
    pub fn path(&self) -> Option<Vec<u8>> {
        Some(rustix::fs::readlink(self_fd(&self.fd), Vec::new()).ok()?.into_bytes())
    }

    /// What tells this directory from all others, whatever it is mounted on.
    pub fn id(&self) -> super::FileId {
        (self.dev, self.ino)
    }

    /// The same directory, with the mounts that are below it.
    pub(crate) fn with_mounts(self, mounts: Arc<MountTable>) -> Self {
        Self { mounts: Some(mounts), ..self }
    }

    /// The mounts below it, where they are known.
    pub fn mounts(&self) -> Option<&MountTable> {
        self.mounts.as_deref()
    }

    /// The directory's inode and times.
    ///
    /// # Errors
    /// The kernel's.
    pub fn times(&self) -> Result<InodeId, Errno> {
        Ok(inode_id(&stat_fd(&self.fd)?))
    }

    /// Finds a path inside the root as a process there would: links are followed, and stay inside.
    ///
    /// Magic links (`/proc/self/fd/3`) are refused with ELOOP: in our hands they would mean something else.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find(&self, path: &[u8]) -> Result<FoundFile, Errno> {
        self.find_with(path, OFlags::empty(), ResolveFlags::empty())
    }

    /// As [`RootDir::find`], but a symbolic link as the last component is what is found.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find_itself(&self, path: &[u8]) -> Result<FoundFile, Errno> {
        self.find_with(path, OFlags::NOFOLLOW, ResolveFlags::empty())
    }

    /// As [`RootDir::find`] (or, without `follow`, [`RootDir::find_itself`]), but no mount is entered: EXDEV.
    /// What is mounted may be a file system whose server never answers.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find_here(&self, path: &[u8], follow: bool) -> Result<FoundFile, Errno> {
        let flags = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        self.find_with(path, flags, ResolveFlags::NO_XDEV)
    }

    /// As [`RootDir::find_itself`], but no link is followed at all and no mount is entered: what is at this
    /// very path of this very file system. A link on the way is ELOOP, a mount EXDEV.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn find_beneath(&self, path: &[u8]) -> Result<FoundFile, Errno> {
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let relative = match path.strip_prefix(b"/").unwrap_or(path) {
            b"" => b".",
            rest => rest,
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        FoundFile::from_fd(rustix::fs::openat2(&self.fd, relative, flags, Mode::empty(), resolve)?)
    }

    /// The directory itself, as a root to look below.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(dir: &Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self::of(rustix::fs::open(dir, flags, Mode::empty())?)
    }

    fn of(fd: OwnedFd) -> Result<Self, Errno> {
        let stat = stat_fd(&fd)?;
        let dev = (stat.stx_dev_major, stat.stx_dev_minor);
        Ok(Self { fd, dev, ino: stat.stx_ino, mount_id: stat.stx_mnt_id, mounts: None })
    }

    /// As [`RootDir::find`], held and not looked at; with `cached`, only if nothing has to be read or asked
    /// for that: EAGAIN otherwise. EINVAL where the kernel is older than 5.12.
    ///
    /// # Errors
    /// The kernel's.
    pub fn hold(&self, path: &[u8], cached: bool) -> Result<OwnedFd, Errno> {
        let resolve = if cached { ResolveFlags::CACHED } else { ResolveFlags::empty() };
        self.hold_with(path, OFlags::empty(), resolve)
    }

    /// A directory inside, as a root to look below.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn find_dir(&self, path: &[u8]) -> Result<Self, Errno> {
        Self::of(self.hold_with(path, OFlags::DIRECTORY, ResolveFlags::empty())?)
    }

    fn find_with(&self, path: &[u8], more: OFlags, resolve: ResolveFlags) -> Result<FoundFile, Errno> {
        FoundFile::from_fd(self.hold_with(path, more, resolve)?)
    }

    fn hold_with(&self, path: &[u8], more: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC | more;
        rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve)
    }
}

/// The path the kernel gives the file of a descriptor; our own `/proc`, not the host's.
fn self_fd(fd: impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Where the file of a descriptor is in its mount namespace, as the kernel names it.
pub fn path_of(fd: impl AsFd) -> Option<Vec<u8>> {
    Some(rustix::fs::readlink(self_fd(fd), Vec::new()).ok()?.into_bytes())
}

/// Takes the mark off the path of an unlinked file.
pub fn strip_deleted(path: &[u8]) -> &[u8] {
    path.strip_suffix(b" (deleted)").unwrap_or(path)
}

fn stat_fd(fd: impl AsFd) -> Result<Statx, Errno> {
    // STATX_MNT_ID is ignored by kernels that do not know it, and stx_mnt_id stays 0. What a server would
    // have to be asked for is taken as last known (fs/fuse/dir.c, `fuse_update_get_attr`).
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    rustix::fs::statx(fd, "", flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)
}

/// The mount that a descriptor's file was reached through, without a look at the file itself: whoever serves
/// the file system is not asked (proc_pid_fdinfo(5)). `None` where the kernel does not tell.
pub(crate) fn mount_of(fd: impl AsFd) -> Option<u64> {
    use std::os::fd::AsRawFd;
    let path = PathBuf::from(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()));
    let text = super::read_bounded(&path, 4096).ok()?;
    let line = text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"mnt_id:"))?;
    std::str::from_utf8(line.trim_ascii()).ok()?.parse().ok()
}

/// Inode number and times of a file.
pub(crate) fn inode_id(stat: &Statx) -> InodeId {
    let nanos = |t: rustix::fs::StatxTimestamp| {
        (t.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(u64::from(t.tv_nsec))
    };
    InodeId { ino: stat.stx_ino, ctime: nanos(stat.stx_ctime), mtime: nanos(stat.stx_mtime) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_the_root() {
        let tmp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tmp.path().join("abs")).unwrap();
        std::os::unix::fs::symlink("../../../../etc/passwd", tmp.path().join("up")).unwrap();
        let fd = rustix::fs::open(tmp.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let root = RootDir { fd, dev: (0, 0), ino: 0, mount_id: 0, mounts: None };
        assert_eq!(root.find(b"/abs").unwrap_err(), Errno::NOENT);
        assert_eq!(root.find(b"up").unwrap_err(), Errno::NOENT);
        assert_eq!(root.find(b"../../etc/passwd").unwrap_err(), Errno::NOENT);
    }
}
