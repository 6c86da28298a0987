//! The host as this process sees it: `/proc`, runtime directories, files of containers.
//!
//! Invariants: reads are bounded; nothing that a container wrote decides what is opened outside its root (files in
//! containers are opened by [`RootDir`], beneath the container's root and without magic links).

use crate::container::mountinfo::{MountTable, MAX_BYTES};
use crate::event::exec::InodeId;
use arc_swap::ArcSwapOption;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Linux's fixed unit of times in `/proc/<pid>/stat`, per second (`USER_HZ`).
const USER_HZ: u64 = 100;

/// Most descriptors of a process that are looked at.
const MAX_DESCRIPTORS: usize = 16_384;
/// Longest `/proc/<pid>/maps` read, bytes.
const MAX_MAPS: usize = 16 << 20;

/// The host's root as it is mounted here. Clones share what was read.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
    init_mounts: Arc<ArcSwapOption<InitMounts>>,
}

/// What tells one file of the host from all others: device and inode number.
pub type FileId = ((u32, u32), u64);

/// Mounts of the host's init process, as read at some time.
#[derive(Debug)]
pub struct InitMounts {
    /// The mounts.
    pub table: MountTable,
    read_at: Instant,
}

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
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Errno> {
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

    /// Where the file is in its mount namespace, as the kernel names it; ` (deleted)` taken off an unlinked file's.
    pub fn path(&self) -> Option<Vec<u8>> {
        let path = rustix::fs::readlink(self_fd(&self.fd), Vec::new()).ok()?.into_bytes();
        Some(strip_deleted(&path).to_vec())
    }

    /// A path that leads to this very file, for system calls that take no descriptor; good while `self` lives.
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
    pub fn has_file_capabilities(&self) -> bool {
        let mut value = [0u8; 64];
        rustix::fs::getxattr(self_fd(&self.fd), "security.capability", &mut value[..]).is_ok_and(|n| n > 0)
    }
}

/// The path the kernel gives the file of a descriptor; our own `/proc`, not the host's.
fn self_fd(fd: impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Takes the mark off the path of an unlinked file.
pub fn strip_deleted(path: &[u8]) -> &[u8] {
    path.strip_suffix(b" (deleted)").unwrap_or(path)
}

fn stat_fd(fd: impl AsFd) -> Result<Statx, Errno> {
    // STATX_MNT_ID is ignored by kernels that do not know it, and stx_mnt_id stays 0.
    rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)
}

fn inode_id(stat: &Statx) -> InodeId {
    let nanos = |t: rustix::fs::StatxTimestamp| {
        (t.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(u64::from(t.tv_nsec))
    };
    InodeId { ino: stat.stx_ino, ctime: nanos(stat.stx_ctime), mtime: nanos(stat.stx_mtime) }
}

/// The root directory of a process in a container.
#[derive(Debug)]
pub struct RootDir {
    fd: OwnedFd,
    /// Device of the root file system.
    pub dev: (u32, u32),
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
        self.find_with(path, OFlags::empty())
    }

    /// As [`RootDir::find`], but a symbolic link as the last component is what is found.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find_itself(&self, path: &[u8]) -> Result<FoundFile, Errno> {
        self.find_with(path, OFlags::NOFOLLOW)
    }

    /// As [`RootDir::find_itself`], but no link is followed at all and no mount is entered: what is at this very path
    /// of this very file system. A link on the way is ELOOP, a mount EXDEV.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find_beneath(&self, path: &[u8]) -> Result<FoundFile, Errno> {
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
        let fd = rustix::fs::open(dir, flags, Mode::empty())?;
        let stat = stat_fd(&fd)?;
        Ok(Self { fd, dev: (stat.stx_dev_major, stat.stx_dev_minor) })
    }

    fn find_with(&self, path: &[u8], more: OFlags) -> Result<FoundFile, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC | more;
        let fd = rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve)?;
        FoundFile::from_fd(fd)
    }
}

impl Host {
    /// The host whose root file system is seen at `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), init_mounts: Arc::default() }
    }

    /// A file of a process in the host's `/proc`.
    pub(crate) fn proc(&self, pid: i64, name: &str) -> PathBuf {
        self.root.join(format!("proc/{pid}/{name}"))
    }

    /// A path of the host, as the host's own processes name it.
    ///
    /// Where that directory is not mounted here (Falco's DaemonSet mounts `/host/proc` but not
    /// `/host/var/lib/containerd`), it is reached through the root of the host's init process.
    pub fn path(&self, path: &[u8]) -> PathBuf {
        let rel = path.strip_prefix(b"/").unwrap_or(path);
        let direct = self.root.join(OsStr::from_bytes(rel));
        if self.root == Path::new("/") || direct.exists() {
            return direct;
        }
        self.proc(1, "root").join(OsStr::from_bytes(rel))
    }

    /// Opens a regular file of the host, such as a runtime's record; `None` where there is none. Links in it stay inside
    /// the host's root, as the host's own processes follow them.
    ///
    /// # Errors
    /// The kernel's, but for a missing file; `EINVAL` for anything but a regular file.
    pub fn open_state(&self, path: &[u8]) -> Result<Option<std::fs::File>, Errno> {
        let open = |root: &Path| match RootDir::open(root)?.find(path) {
            Ok(found) => found.open().map(Some),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(why) => Err(why),
        };
        match open(&self.root) {
            Ok(None) | Err(Errno::NOENT) if self.root != Path::new("/") => {
                // What is not mounted here, as in [`Host::path`]. Without /proc there is nothing to look in.
                match open(&self.proc(1, "root")) {
                    Err(Errno::NOENT) => Ok(None),
                    other => other,
                }
            }
            other => other,
        }
    }

    /// Reads such a file whole; `None` where there is none.
    ///
    /// # Errors
    /// The kernel's; `FileTooLarge` beyond `max` bytes.
    pub fn read_state(&self, path: &[u8], max: usize) -> std::io::Result<Option<Vec<u8>>> {
        match self.open_state(path)? {
            Some(file) => read_to_bound(file, max).map(Some),
            None => Ok(None),
        }
    }

    /// Arguments of a process, each ended by a NUL; `None` if it is gone.
    pub fn command_line(&self, pid: i64) -> Option<Vec<u8>> {
        read_bounded(&self.proc(pid, "cmdline"), 256 << 10).ok()
    }

    /// Process id of a process's parent; `None` if it is gone.
    pub fn parent_of(&self, pid: i64) -> Option<i64> {
        parent(&read_bounded(&self.proc(pid, "stat"), 4096).ok()?)
    }

    /// Process id in the process's own PID namespace; `None` if it is gone, or the kernel is older than 4.1.
    pub fn own_pid_of(&self, pid: i64) -> Option<i64> {
        let status = read_bounded(&self.proc(pid, "status"), 64 << 10).ok()?;
        let line = status.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(b"NSpid:"))?;
        std::str::from_utf8(line).ok()?.split_ascii_whitespace().last()?.parse().ok()
    }

    /// Identity of a process's namespace (`net`, `pid`): device and inode. `None` if it may not be looked at.
    pub fn namespace_of(&self, pid: i64, kind: &str) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(self.proc(pid, &format!("ns/{kind}"))).ok()?;
        Some((metadata.dev(), metadata.ino()))
    }

    /// Control group lines of a process (`/proc/<pid>/cgroup`); `None` if it is gone.
    pub fn cgroups(&self, pid: i64) -> Option<Vec<u8>> {
        read_bounded(&self.proc(pid, "cgroup"), 64 << 10).ok()
    }

    /// Mounts as a process sees them; `None` if it is gone or may not be looked at.
    pub fn mounts(&self, pid: i64) -> Option<MountTable> {
        let bytes = read_bounded(&self.proc(pid, "mountinfo"), MAX_BYTES).ok()?;
        Some(MountTable::parse(&bytes))
    }

    /// Mounts of the host's init process, read at `not_before` or later; `None` if they may not be looked at.
    ///
    /// A node has a mount or more for each container, so that reading them takes milliseconds: it is done once for each
    /// container that is new, and in the background where that comes first.
    pub fn init_mounts(&self, not_before: Instant) -> Option<Arc<InitMounts>> {
        if let Some(known) = self.init_mounts.load_full().filter(|known| known.read_at >= not_before) {
            return Some(known);
        }
        let read_at = Instant::now();
        let read = Arc::new(InitMounts { table: self.mounts(1)?, read_at });
        self.init_mounts.store(Some(Arc::clone(&read)));
        Some(read)
    }

    /// Device of the host's own root file system.
    pub fn root_dev(&self) -> Option<(u32, u32)> {
        // It stays the same for as long as the host runs: whatever was read at any time will do.
        let known = self.init_mounts.load_full();
        let known = known.or_else(|| self.init_mounts(Instant::now()))?;
        known.table.root().map(|mount| mount.dev)
    }

    /// Arguments of a process, each ended by a NUL; the first 256 KiB of them. `None` if it is gone.
    pub fn arguments(&self, pid: i64) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        std::fs::File::open(self.proc(pid, "cmdline")).ok()?.take(256 << 10).read_to_end(&mut out).ok()?;
        if out.last() == Some(&0) {
            out.pop();
        }
        Some(out)
    }

    /// The PID namespace of a process, as the kernel names it (`pid:[4026531836]`).
    pub fn pid_namespace(&self, pid: i64) -> Option<Vec<u8>> {
        Some(rustix::fs::readlink(self.proc(pid, "ns/pid"), Vec::new()).ok()?.into_bytes())
    }

    /// The executable that a process runs now, whatever its path is by now.
    ///
    /// # Errors
    /// The kernel's: ENOENT when it is gone, EACCES when it may not be looked at.
    pub fn executable(&self, pid: i64) -> Result<FoundFile, Errno> {
        let fd = rustix::fs::open(self.proc(pid, "exe"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        FoundFile::from_fd(fd)
    }

    /// A file that a process has open.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open_file_of(&self, pid: i64, fd: u32) -> Result<FoundFile, Errno> {
        let path = self.proc(pid, &format!("fd/{fd}"));
        FoundFile::from_fd(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// The root directory of a process: of its container, or of its chroot.
    ///
    /// # Errors
    /// The kernel's.
    pub fn root_of(&self, pid: i64) -> Result<RootDir, Errno> {
        RootDir::open(&self.proc(pid, "root"))
    }

    /// Path of a file that a process has open, in its mount namespace.
    pub fn fd_path_of(&self, pid: i64, fd: i64) -> Option<Vec<u8>> {
        let link = rustix::fs::readlink(self.proc(pid, &format!("fd/{fd}")), Vec::new()).ok()?;
        Some(strip_deleted(link.as_bytes()).to_vec())
    }

    /// Device and inode number of the regular files that a process has open for writing; empty if it is gone. A process
    /// with more than 16,384 descriptors is looked at in part.
    pub fn open_for_writing(&self, pid: i64) -> HashSet<FileId> {
        let Ok(entries) = std::fs::read_dir(self.proc(pid, "fd")) else { return HashSet::new() };
        let mut found = HashSet::new();
        for entry in entries.flatten().take(MAX_DESCRIPTORS) {
            // The link's own mode tells how the file is open (proc_pid_fd(5)).
            if !entry.metadata().is_ok_and(|link| link.mode() & 0o200 != 0) {
                continue;
            }
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let Ok(fd) = rustix::fs::open(entry.path(), flags, Mode::empty()) else { continue };
            if let Ok(file) = FoundFile::from_fd(fd) {
                if file.kind == FileType::RegularFile {
                    found.insert((file.dev, file.inode.ino));
                }
            }
        }
        found
    }

    /// Paths of the files that a process has mapped shared and writable, in its mount namespace.
    pub fn mapped_for_writing(&self, pid: i64) -> HashSet<Vec<u8>> {
        let Ok(maps) = read_bounded(&self.proc(pid, "maps"), MAX_MAPS) else { return HashSet::new() };
        mappings(&maps)
            .filter(|m| matches!(m.protection, [_, b'w', _, b's']))
            .map(|m| m.path.to_vec())
            .collect()
    }

    /// Whether a process has a file mapped so that it can be executed; `None` if the process is gone.
    pub fn has_mapped_executable(&self, pid: i64, path: &[u8]) -> Option<bool> {
        let maps = read_bounded(&self.proc(pid, "maps"), MAX_MAPS).ok()?;
        // A process that has ended and was not waited for yet has none.
        let mut mapped = mappings(&maps).peekable();
        mapped.peek()?;
        Some(mapped.any(|m| matches!(m.protection, [_, _, b'x', _]) && m.path == path))
    }

    /// Working directory of a process, as a path in its mount namespace.
    pub fn cwd_of(&self, pid: i64) -> Option<Vec<u8>> {
        let link = rustix::fs::readlink(self.proc(pid, "cwd"), Vec::new()).ok()?;
        Some(strip_deleted(link.as_bytes()).to_vec())
    }

    /// Path of a process's root directory in its mount namespace: `/` unless it called chroot.
    pub fn root_path_of(&self, pid: i64) -> Option<Vec<u8>> {
        Some(rustix::fs::readlink(self.proc(pid, "root"), Vec::new()).ok()?.into_bytes())
    }

    /// When a process started, nanoseconds since the epoch, to the hundredth of a second.
    pub fn started_at(&self, pid: i64) -> Option<u64> {
        let stat = read_bounded(&self.proc(pid, "stat"), 4096).ok()?;
        let ticks = start_ticks(&stat)?;
        let boot = boot_time(&read_bounded(&self.root.join("proc/stat"), 1 << 20).ok()?)?;
        boot.checked_mul(1_000_000_000)?.checked_add(ticks.checked_mul(1_000_000_000 / USER_HZ)?)
    }

    /// When a process started, in ticks since boot: tells it from another one that has its id later. `None` if it has
    /// ended, be it that nobody took note yet.
    pub fn running_since(&self, pid: i64) -> Option<u64> {
        let stat = read_bounded(&self.proc(pid, "stat"), 4096).ok()?;
        let after_comm = stat.iter().rposition(|b| *b == b')')?;
        match stat.get(after_comm + 1..)?.trim_ascii_start().first()? {
            b'Z' | b'X' => None,
            _ => start_ticks(&stat),
        }
    }

    /// The effective user id of a process, as the host counts; `None` if it is gone.
    pub fn user_of(&self, pid: i64) -> Option<u32> {
        let status = read_bounded(&self.proc(pid, "status"), 64 << 10).ok()?;
        let line = status.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(b"Uid:"))?;
        std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
    }

    /// All process ids, in no order.
    pub fn pids(&self) -> Vec<i64> {
        let Ok(entries) = std::fs::read_dir(self.root.join("proc")) else { return Vec::new() };
        entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
    }
}

/// One line of `/proc/<pid>/maps` that names a file.
struct Mapping<'a> {
    /// `rwxp`, or with `s` at the end where it is shared.
    protection: &'a [u8],
    path: &'a [u8],
}

/// The mappings of files (proc_pid_maps(5)): address, protection, offset, device, inode, path; an unlinked file's mark
/// taken off.
fn mappings(maps: &[u8]) -> impl Iterator<Item = Mapping<'_>> {
    maps.split(|b| *b == b'\n').filter_map(|line| {
        let path = line.get(line.iter().position(|b| *b == b'/')?..)?;
        // The device has no slash, so that the first one begins the path.
        let protection = line.split(|b| *b == b' ').nth(1)?;
        Some(Mapping { protection, path: strip_deleted(path) })
    })
}

/// The 22nd field of `/proc/<pid>/stat`. The second, the command, may hold spaces and parentheses.
fn start_ticks(stat: &[u8]) -> Option<u64> {
    let after_comm = stat.iter().rposition(|b| *b == b')')?;
    let text = std::str::from_utf8(stat.get(after_comm + 1..)?).ok()?;
    text.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The 4th field of `/proc/<pid>/stat`.
fn parent(stat: &[u8]) -> Option<i64> {
    let after_comm = stat.iter().rposition(|b| *b == b')')?;
    let text = std::str::from_utf8(stat.get(after_comm + 1..)?).ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// `btime` of `/proc/stat`: seconds since the epoch when the system booted.
fn boot_time(stat: &[u8]) -> Option<u64> {
    let line = stat.split(|b| *b == b'\n').find(|l| l.starts_with(b"btime "))?;
    std::str::from_utf8(line.get(6..)?).ok()?.trim().parse().ok()
}

/// Reads a file whole, but no more than `max` bytes.
///
/// # Errors
/// The kernel's; `FileTooLarge` for a longer file.
pub fn read_bounded(path: &Path, max: usize) -> std::io::Result<Vec<u8>> {
    read_to_bound(std::fs::File::open(path)?, max)
}

fn read_to_bound(file: std::fs::File, max: usize) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut out)?;
    if out.len() > max {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_survive_hostile_command_names() {
        let line = b"42 (a) b) R 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 8 9";
        assert_eq!(start_ticks(line), Some(777));
        assert_eq!(parent(line), Some(1));
        assert_eq!(start_ticks(b"42 (x"), None);
        assert_eq!(boot_time(b"cpu 1\nbtime 1700000000\nx"), Some(1_700_000_000));
    }

    #[test]
    fn mappings_are_those_of_files() {
        let maps = b"55d0-55d1 r-xp 00000000 fd:01 1 /bin/a b\n7f-8f rw-s 0 00:2e 9 /tmp/x (deleted)\n\
            7ff-800 rw-p 00 00:00 0    [stack]\n";
        let found: Vec<_> = mappings(maps).map(|m| (m.protection, m.path)).collect();
        assert_eq!(found, [(&b"r-xp"[..], &b"/bin/a b"[..]), (b"rw-s", b"/tmp/x")]);
        let host = Host::new(Path::new("/"));
        let exe = std::env::current_exe().unwrap();
        let has = |pid, path: &Path| host.has_mapped_executable(pid, path.as_os_str().as_bytes());
        assert_eq!(has(i64::from(std::process::id()), &exe), Some(true));
        assert_eq!(has(i64::from(std::process::id()), Path::new("/etc/passwd")), Some(false));
        assert_eq!(has(i64::from(i32::MAX), &exe), None);
    }

    #[test]
    fn this_process_is_found() {
        let host = Host::new(Path::new("/"));
        let pid = i64::from(std::process::id());
        let exe = host.executable(pid).unwrap();
        assert_eq!(exe.path().unwrap(), std::env::current_exe().unwrap().as_os_str().as_bytes());
        assert!(exe.mount_id != 0);
        let root = host.root_of(pid).unwrap();
        let found = root.find(exe.path().unwrap().as_slice()).unwrap();
        assert!(found.inode.agrees(&exe.inode));
        assert_eq!(root.find(b"/proc/self/exe").unwrap_err(), Errno::LOOP, "magic links are refused");
        let age = host.started_at(pid).unwrap();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        assert!(now.abs_diff(age) < 3_600_000_000_000, "started within the hour: {age} {now}");
        assert!(host.mounts(pid).unwrap().root().is_some());
        assert!(host.pids().contains(&pid));
        assert_eq!(host.parent_of(pid), Some(i64::from(std::os::unix::process::parent_id())));
        assert!(host.own_pid_of(pid).is_some_and(|own| own > 0));
        assert!(host.command_line(pid).is_some_and(|line| !line.is_empty()));
        assert_eq!(host.namespace_of(pid, "net"), host.namespace_of(host.parent_of(pid).unwrap(), "net"));
    }

    #[test]
    fn state_files_are_regular_bounded_and_inside_the_root() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path();
        std::fs::create_dir_all(dir.join("run/c")).unwrap();
        std::fs::write(dir.join("run/c/state"), b"12345").unwrap();
        std::os::unix::fs::symlink("/run", dir.join("var")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.join("out")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, dir.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let host = Host::new(dir);
        assert_eq!(host.read_state(b"/var/c/state", 5).unwrap().unwrap(), b"12345");
        assert_eq!(host.read_state(b"/var/c/state", 4).unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
        assert_eq!(host.read_state(b"/out", 9).unwrap(), None, "the host has no such file");
        assert_eq!(host.read_state(b"/nowhere/x", 9).unwrap(), None);
        assert!(host.read_state(b"/fifo", 9).is_err() && host.read_state(b"/run", 9).is_err());
    }

    #[test]
    fn links_stay_inside_the_root() {
        let tmp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tmp.path().join("abs")).unwrap();
        std::os::unix::fs::symlink("../../../../etc/passwd", tmp.path().join("up")).unwrap();
        let fd = rustix::fs::open(tmp.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let root = RootDir { fd, dev: (0, 0) };
        assert_eq!(root.find(b"/abs").unwrap_err(), Errno::NOENT);
        assert_eq!(root.find(b"up").unwrap_err(), Errno::NOENT);
        assert_eq!(root.find(b"../../etc/passwd").unwrap_err(), Errno::NOENT);
    }
}
