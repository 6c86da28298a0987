//! The host as this process sees it: `/proc`, runtime directories, files of containers.
//!
//! Invariants: reads are bounded; nothing that a container wrote decides what is opened outside its root
//! (files in containers are opened by [`RootDir`], beneath the container's root and without magic links).

mod exe;
mod file;
mod process;

pub use exe::{ExeFlags, InodeId};
pub(crate) use file::inode_id;
pub(crate) use file::mount_of;
pub use file::{path_of, strip_deleted, FoundFile, RootDir};
pub use process::FileId;

use arc_swap::{ArcSwap, ArcSwapOption};
use drift_formats::mountinfo::{Mount, MountTable};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// The host's root as it is mounted here. Clones share what was read.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
    init_mounts: Arc<ArcSwapOption<InitMounts>>,
    /// Namespaces of containerd that were met.
    namespaces: Arc<ArcSwap<Vec<Vec<u8>>>>,
}

/// Most namespaces of containerd that are kept.
const MAX_NAMESPACES: usize = 256;

/// Mounts of the host's init process, as read at some time.
#[derive(Debug)]
pub struct InitMounts {
    /// The mounts.
    pub table: MountTable,
    read_at: Instant,
}

impl Host {
    /// The host whose root file system is seen at `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), init_mounts: Arc::default(), namespaces: Arc::default() }
    }

    /// Namespaces of containerd that were met here, beside the usual ones.
    pub(crate) fn namespaces(&self) -> Arc<Vec<Vec<u8>>> {
        self.namespaces.load_full()
    }

    /// Takes a namespace of containerd in.
    pub(crate) fn add_namespace(&self, namespace: &[u8]) {
        self.namespaces.rcu(|known| {
            let mut all = Vec::clone(known);
            if all.len() < MAX_NAMESPACES && !all.iter().any(|one| one == namespace) {
                all.push(namespace.to_vec());
            }
            all
        });
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

    /// Opens a regular file of the host, such as a runtime's record; `None` where there is none. Links in it
    /// stay inside the host's root, as the host's own processes follow them.
    ///
    /// # Errors
    /// The kernel's, but for a missing file; `EINVAL` for anything but a regular file.
    pub(crate) fn open_state(&self, path: &[u8]) -> Result<Option<std::fs::File>, Errno> {
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

    /// The name of the node: what Falco was told, else `/etc/hostname`; `None` where neither says.
    pub fn name(&self) -> Option<Box<str>> {
        const MAX: usize = 255;
        let told = |key: &str| std::env::var(key).ok().filter(|name| !name.is_empty() && name.len() <= MAX);
        let file = || String::from_utf8(self.read_state(b"/etc/hostname", 4096).ok()??).ok();
        let name = told("FALCO_HOSTNAME").or_else(|| told("FALCO_K8S_NODE_NAME")).or_else(file)?;
        let name = name.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
        (name.len() <= MAX).then(|| name.into())
    }

    /// Mounts of the host's init process, read at `not_before` or later; `None` if they may not be looked at.
    ///
    /// A node has a mount or more for each container, so that reading them takes milliseconds: it is done
    /// once for each container that is new, and in the background where that comes first.
    pub fn init_mounts(&self, not_before: Instant) -> Option<Arc<InitMounts>> {
        if let Some(known) = self.init_mounts.load_full().filter(|known| known.read_at >= not_before) {
            return Some(known);
        }
        let read_at = Instant::now();
        let read = Arc::new(InitMounts { table: self.mounts(1)?, read_at });
        self.init_mounts.store(Some(Arc::clone(&read)));
        Some(read)
    }

    /// Whether a mount is the host's own root file system, or the same directory of it; not so a container's
    /// root that lies on the same disk.
    pub(crate) fn is_own_root(&self, mount: &Mount) -> bool {
        // It stays the same for as long as the host runs: whatever was read at any time will do.
        let known = self.init_mounts.load_full();
        let known = known.or_else(|| self.init_mounts(Instant::now()));
        let own = known.as_ref().and_then(|mounts| mounts.table.root());
        own.is_some_and(|own| own.dev == mount.dev && own.root == mount.root)
    }

    /// All process ids, in no order.
    pub fn pids(&self) -> Vec<i64> {
        let Ok(entries) = std::fs::read_dir(self.root.join("proc")) else { return Vec::new() };
        entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
    }
}

/// Bytes that are made room for before it is known how long a file is: what the kernel gives in one read of
/// `/proc`, twice.
const FIRST_READ: usize = 8192;

/// Reads a file whole, but no more than `max` bytes.
///
/// # Errors
/// The kernel's; `FileTooLarge` for a longer file.
pub(crate) fn read_bounded(path: &Path, max: usize) -> std::io::Result<Vec<u8>> {
    read_to_bound(std::fs::File::open(path)?, max)
}

fn read_to_bound(file: std::fs::File, max: usize) -> std::io::Result<Vec<u8>> {
    // A file of /proc says no size: with room for most of them, they are read at once and not in pieces that
    // double.
    let mut out = Vec::with_capacity(FIRST_READ.min(max.saturating_add(1)));
    file.take(max as u64 + 1).read_to_end(&mut out)?;
    if out.len() > max {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FileType, Mode};

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
}
