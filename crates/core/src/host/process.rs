//! What `/proc` of the host says of one process. `None`, or the kernel's error, where it is gone or may not
//! be looked at.

use super::{read_bounded, Host};
use crate::host::file::{strip_deleted, FoundFile, RootDir};
use drift_formats::mountinfo::{MountTable, MAX_BYTES};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

/// Linux's fixed unit of times in `/proc/<pid>/stat`, per second (`USER_HZ`).
const USER_HZ: u64 = 100;
/// Most descriptors of a process that are looked at.
const MAX_DESCRIPTORS: usize = 16_384;
/// Longest `/proc/<pid>/maps` read, bytes.
const MAX_MAPS: usize = 16 << 20;

/// What tells one file of the host from all others: device and inode number.
pub type FileId = ((u32, u32), u64);

impl Host {
    /// Arguments of a process, each ended by a NUL; `None` if it is gone.
    pub fn command_line(&self, pid: i64) -> Option<Vec<u8>> {
        read_bounded(&self.proc(pid, "cmdline"), 256 << 10).ok()
    }

    /// Process id of a process's parent; `None` if it is gone.
    pub fn parent_of(&self, pid: i64) -> Option<i64> {
        parent(&read_bounded(&self.proc(pid, "stat"), 4096).ok()?)
    }

    /// Session of a process, as the host counts; `None` if it is gone, or began outside of this namespace.
    pub fn session_of(&self, pid: i64) -> Option<i64> {
        session(&read_bounded(&self.proc(pid, "stat"), 4096).ok()?).filter(|session| *session != 0)
    }

    /// Process id in the process's own PID namespace; `None` if it is gone, or the kernel is older than 4.1.
    pub fn own_pid_of(&self, pid: i64) -> Option<i64> {
        let status = read_bounded(&self.proc(pid, "status"), 64 << 10).ok()?;
        let line = status.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(b"NSpid:"))?;
        std::str::from_utf8(line).ok()?.split_ascii_whitespace().last()?.parse().ok()
    }

    /// Identity of a process's namespace (`net`, `pid`): device and inode. `None` if it may not be looked at.
    pub(crate) fn namespace_of(&self, pid: i64, kind: &str) -> Option<(u64, u64)> {
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
        FoundFile::from_fd(self.hold_executable(pid)?)
    }

    /// The executable that a process runs now, held and not looked at: nobody's server is asked, and what
    /// happens to its path or to the process later does not matter.
    ///
    /// # Errors
    /// As [`Host::executable`].
    pub fn hold_executable(&self, pid: i64) -> Result<OwnedFd, Errno> {
        rustix::fs::open(self.proc(pid, "exe"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    }

    /// A file that a process has open, held as by [`Host::hold_executable`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn hold_open_file(&self, pid: i64, fd: u32) -> Result<OwnedFd, Errno> {
        let path = self.proc(pid, &format!("fd/{fd}"));
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    }

    /// A file that a process has open.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open_file_of(&self, pid: i64, fd: u32) -> Result<FoundFile, Errno> {
        FoundFile::from_fd(self.hold_open_file(pid, fd)?)
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

    /// Device and inode number of the regular files that a process has open for writing; empty if it is gone.
    /// A process with more than 16,384 descriptors is looked at in part.
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
        Some(mapped.any(|m| matches!(m.protection, [_, _, b'x', _]) && m.path == strip_deleted(path)))
    }

    /// Paths of the files that a process has mapped to be executed, in its mount namespace.
    pub fn mapped_executables(&self, pid: i64) -> HashSet<Vec<u8>> {
        let Ok(maps) = read_bounded(&self.proc(pid, "maps"), MAX_MAPS) else { return HashSet::new() };
        mappings(&maps).filter(|m| matches!(m.protection, [_, _, b'x', _])).map(|m| m.path.to_vec()).collect()
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

    /// When a process started, in ticks since boot: tells it from another one that has its id later. `None`
    /// if it has ended, be it that nobody took note yet.
    pub fn running_since(&self, pid: i64) -> Option<u64> {
        let stat = read_bounded(&self.proc(pid, "stat"), 4096).ok()?;
        let after_comm = stat.iter().rposition(|b| *b == b')')?;
        match stat.get(after_comm + 1..)?.trim_ascii_start().first()? {
            b'Z' | b'X' => None,
            _ => start_ticks(&stat),
        }
    }

    /// The map of user ids of a process's user namespace to the host's, as the kernel prints it; `None` if it
    /// is gone.
    pub fn user_map(&self, pid: i64) -> Option<String> {
        String::from_utf8(read_bounded(&self.proc(pid, "uid_map"), 64 << 10).ok()?).ok()
    }

    /// The effective user id of a process, as the host counts; `None` if it is gone.
    pub fn user_of(&self, pid: i64) -> Option<u32> {
        let status = read_bounded(&self.proc(pid, "status"), 64 << 10).ok()?;
        let line = status.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(b"Uid:"))?;
        std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
    }
}

/// One line of `/proc/<pid>/maps` that names a file.
struct Mapping<'a> {
    /// `rwxp`, or with `s` at the end where it is shared.
    protection: &'a [u8],
    path: &'a [u8],
}

/// The mappings of files (proc_pid_maps(5)): address, protection, offset, device, inode, path; an unlinked
/// file's mark taken off.
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
    number(stat, 1)
}

/// The 6th field of `/proc/<pid>/stat`.
fn session(stat: &[u8]) -> Option<i64> {
    number(stat, 3)
}

/// A field of `/proc/<pid>/stat`, counted behind the command.
fn number(stat: &[u8], at: usize) -> Option<i64> {
    let after_comm = stat.iter().rposition(|b| *b == b')')?;
    let text = std::str::from_utf8(stat.get(after_comm + 1..)?).ok()?;
    text.split_ascii_whitespace().nth(at)?.parse().ok()
}

/// `btime` of `/proc/stat`: seconds since the epoch when the system booted.
fn boot_time(stat: &[u8]) -> Option<u64> {
    let line = stat.split(|b| *b == b'\n').find(|l| l.starts_with(b"btime "))?;
    std::str::from_utf8(line.get(6..)?).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    #[test]
    fn stat_lines_survive_hostile_command_names() {
        let line = b"42 (a) b) R 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 8 9";
        assert_eq!(start_ticks(line), Some(777));
        assert_eq!((parent(line), session(line)), (Some(1), Some(1)));
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
        let mapped = host.mapped_executables(i64::from(std::process::id()));
        assert!(mapped.contains(exe.as_os_str().as_bytes()));
    }

    #[test]
    fn this_process_is_found() {
        let host = Host::new(Path::new("/"));
        let pid = i64::from(std::process::id());
        let exe = host.executable(pid).unwrap();
        assert_eq!(exe.path().unwrap(), std::env::current_exe().unwrap().as_os_str().as_bytes());
        assert!(exe.mount_id != 0);
        let root = host.root_of(pid).unwrap();
        let found = root.find_through_mounts(exe.path().unwrap().as_slice()).unwrap();
        assert!(found.inode.agrees(&exe.inode));
        assert_eq!(
            root.find_through_mounts(b"/proc/self/exe").unwrap_err(),
            Errno::LOOP,
            "magic links are refused"
        );
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
}
