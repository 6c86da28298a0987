//! Which mount of a container a file lies on, and whether looking at files there can block.
//!
//! Invariant: a file's mount is told by the mount's id, never by the device that the file shows: overlayfs
//! with `xino=off` gives files of other file systems than the overlay's a device of no mount
//! (fs/overlayfs/inode.c, `ovl_map_dev_ino`), and btrfs one for each subvolume. Kernels before 5.8 do not
//! tell the id; there the path decides.

use crate::container::live::{is_member, Live};
use crate::host::{mount_of, FoundFile, Host, RootDir};
use drift_formats::entry::ImagePath;
use drift_formats::mountinfo::{is_at_or_below, Mount, MountTable};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// How old a table of the host's mounts may be that lacks one.
const RECENT: Duration = Duration::from_secs(1);

/// Where a file lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the container's root file system, at this path of it.
    Root(ImagePath),
    /// On another mount.
    Mount(Box<Mount>),
    /// On a mount of the host's that the container does not have.
    Host,
    /// On a mount that nobody has in his tree: one that was never attached, or was taken off it.
    Detached,
}

/// File systems that answer without asking anybody. What is not among them, or not known, counts as remote:
/// its server may be slow, gone, or the container's own program.
const LOCAL: [&[u8]; 45] = [
    b"overlay",
    b"ext2",
    b"ext3",
    b"ext4",
    b"xfs",
    b"btrfs",
    b"zfs",
    b"f2fs",
    b"bcachefs",
    b"erofs",
    b"squashfs",
    b"tmpfs",
    b"ramfs",
    b"rootfs",
    b"iso9660",
    b"udf",
    b"vfat",
    b"exfat",
    b"ntfs3",
    b"jfs",
    b"nilfs2",
    b"reiserfs",
    b"minix",
    b"hugetlbfs",
    b"proc",
    b"sysfs",
    b"devtmpfs",
    b"devpts",
    b"mqueue",
    b"cgroup",
    b"cgroup2",
    b"bpf",
    b"debugfs",
    b"tracefs",
    b"securityfs",
    b"selinuxfs",
    b"efivarfs",
    b"pstore",
    b"configfs",
    b"fusectl",
    b"binfmt_misc",
    b"nsfs",
    b"cpuset",
    b"resctrl",
    b"rpc_pipefs",
];

/// Whether files on a mount can be looked at without waiting for somebody's server.
pub fn is_local(mount: &Mount) -> bool {
    LOCAL.contains(&mount.fstype.as_slice())
}

/// A file that is held, as far as it may be looked at.
#[derive(Debug)]
pub enum Sight {
    /// The file. `None`: its mount was not asked for.
    File(FoundFile, Option<Place>),
    /// Somebody's server would have to answer for it, or nobody has its mount: where it lies is all that is
    /// known.
    Mount(Place),
}

impl Live {
    /// Looks at a file that is held, where that cannot block: by its mount, before anything is asked of the
    /// file. `None` where it cannot be looked at.
    pub fn look_at(
        &self,
        host: &Host,
        container: &str,
        pid: i64,
        fd: OwnedFd,
        path: &ImagePath,
    ) -> Option<Sight> {
        let Some(id) = mount_of(&fd) else {
            return Some(Sight::File(FoundFile::from_fd(fd).ok()?, None));
        };
        let Some(mount) = self.mount_of(host, container, pid, id) else {
            return Some(Sight::Mount(elsewhere(host, id)));
        };
        let local = is_local(&mount);
        let place = self.on(mount, path);
        match local {
            true => Some(Sight::File(FoundFile::from_fd(fd).ok()?, Some(place))),
            false => Some(Sight::Mount(place)),
        }
    }

    /// Finds a path as a process of the container would open it, where that cannot block. `pid` is the
    /// process whose mounts `root` has.
    ///
    /// # Errors
    /// The kernel's; `EXDEV` where the way leads through mounts, and some of them are remote.
    pub fn find(
        &self,
        host: &Host,
        container: &str,
        pid: i64,
        root: &RootDir,
        path: &ImagePath,
    ) -> Result<Sight, Errno> {
        if !self.mounts_now().root().is_none_or(is_local) {
            return Ok(Sight::Mount(Place::Root(path.clone())));
        }
        match root.find_here(path.as_bytes(), true) {
            Err(Errno::XDEV) => {}
            found => return found.map(|f| Sight::File(f, None)),
        }
        let fd = match root.hold(path.as_bytes(), true) {
            Err(Errno::AGAIN | Errno::INVAL) => {
                let all_local = |table: &MountTable| table.iter().all(is_local);
                let own = host.mounts(pid).filter(|_| is_member(host, pid, container));
                if !all_local(&self.refresh_mounts(host, container)) || !own.is_none_or(|own| all_local(&own))
                {
                    return Err(Errno::XDEV);
                }
                root.hold(path.as_bytes(), false)?
            }
            held => held?,
        };
        self.look_at(host, container, pid, fd, path).ok_or(Errno::ACCESS)
    }

    /// Where a file of the container lies. `path` is the one that the kernel gave, `pid` a process that sees
    /// it.
    ///
    /// For the root no table is read: it stays mounted for as long as the container lives, so that its id is
    /// no other mount's meanwhile. For others the tables are read again: the kernel gives the id of a mount
    /// that was taken away to the next one, but `found` holds its own.
    pub(crate) fn place_of(
        &self,
        host: &Host,
        container: &str,
        pid: i64,
        found: &FoundFile,
        path: &ImagePath,
    ) -> Place {
        if found.mount_id == 0 {
            return self.place_by_path(host, container, pid, found.dev, path);
        }
        match self.mount_of(host, container, pid, found.mount_id) {
            Some(mount) => self.on(mount, path),
            None => elsewhere(host, found.mount_id),
        }
    }

    /// Whether a file was reached through the mount that is the container's root.
    pub(crate) fn is_on_root(&self, found: &FoundFile) -> bool {
        let mounts = self.mounts_now();
        let root = mounts.root();
        match found.mount_id {
            0 => found.dev == self.root_dev,
            id => root.is_some_and(|root| root.id == id),
        }
    }

    /// The mount with an id that a file was reached through: of the container's, or of a namespace that the
    /// process made for itself.
    pub(crate) fn mount_of(&self, host: &Host, container: &str, pid: i64, id: u64) -> Option<Mount> {
        if let Some(root) = self.mounts_now().root().filter(|root| root.id == id) {
            return Some(root.clone());
        }
        if let Some(mount) = self.refresh_mounts(host, container).by_id(id) {
            return Some(mount.clone());
        }
        let own = host.mounts(pid).filter(|_| is_member(host, pid, container))?;
        own.by_id(id).cloned()
    }

    /// What lies on a mount lies on the root, where that is mounted a second time (a bind mount of one of its
    /// directories, a mount namespace of the process's own).
    fn on(&self, mount: Mount, path: &ImagePath) -> Place {
        match self.mounts_now().root().and_then(|root| path_on_root(root, &mount, path)) {
            Some(path) => Place::Root(path),
            None => Place::Mount(Box::new(mount)),
        }
    }

    /// Where the kernel tells no mount: what covers the path, unless the device is that of another mount.
    fn place_by_path(
        &self,
        host: &Host,
        container: &str,
        pid: i64,
        dev: (u32, u32),
        path: &ImagePath,
    ) -> Place {
        let own = host.mounts(pid).filter(|_| is_member(host, pid, container));
        let now = self.refresh_mounts(host, container);
        let covers = |table: &MountTable| {
            let mount = table.covering(path.as_bytes())?;
            let is_there = mount.dev == dev
                || (mount.fstype == b"overlay" && !table.iter().any(|m| m.id != mount.id && m.dev == dev));
            is_there.then(|| mount.clone())
        };
        match own.as_ref().and_then(covers).or_else(|| covers(&now)) {
            Some(mount) => self.on(mount, path),
            None => Place::Detached,
        }
    }
}

/// A mount that neither the container nor the process has: the host's, or nobody's.
///
/// A mount that was taken away leaves its id to the next one, which may be a container's: that it is the
/// host's is said by a table read now. That it is not, one of the last second says, so that nobody can have
/// tables read without end.
fn elsewhere(host: &Host, id: u64) -> Place {
    let now = Instant::now();
    let has = |since| host.init_mounts(since).is_some_and(|mounts| mounts.table.by_id(id).is_some());
    match has(now.checked_sub(RECENT).unwrap_or(now)) && has(now) {
        true => Place::Host,
        false => Place::Detached,
    }
}

/// The path that the container's root file system has for a file that is reached through `mount`, if that
/// shows a part of it.
pub(crate) fn path_on_root(root: &Mount, mount: &Mount, path: &ImagePath) -> Option<ImagePath> {
    if mount.id == root.id {
        return Some(path.clone());
    }
    if mount.dev != root.dev || !is_at_or_below(&mount.root, &root.root) {
        return None;
    }
    let base = match root.root.as_slice() {
        b"/" => mount.root.as_slice(),
        of_root => mount.root.strip_prefix(of_root)?,
    };
    let below = path.as_bytes().strip_prefix(mount.mount_point.as_slice()).unwrap_or(path.as_bytes());
    let full = [b"/", base, b"/", below].concat();
    ImagePath::lexical(b"/", &full).ok()
}
