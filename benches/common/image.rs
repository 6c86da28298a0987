//! A host and its containers, made of plain directories: a `/proc` of our own with processes whose root is an
//! overlay of as many layers as wanted. No privilege, no mount, the same on every machine; the look-ups that
//! drift makes are real ones on the file system that holds it.

use super::event::Inode;
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt};
use std::path::{Path, PathBuf};

/// The container's id.
pub const CONTAINER: &str = "23baf534abe5fb1e2a30d57e49ea3cd98d34317027ec31e472c278e848ebdabd";

/// Control group path of a process in that container, as containerd makes it on Kubernetes.
pub fn cgroup(container: &str) -> String {
    format!("/kubepods/burstable/pod6c3b9f1e-1111-2222-3333-444455556666/{container}")
}

/// Such a host.
pub struct Hosts {
    dir: tempfile::TempDir,
    layers: usize,
    mount: u64,
}

impl Hosts {
    /// A host whose containers have `layers` layers. Executables are in the lowest.
    pub fn new(layers: usize) -> Self {
        let dir =
            tempfile::Builder::new().prefix("drift-bench-").tempdir_in(super::report::target()).unwrap();
        // A container's table has the mounts that its files are on: by their ids, as statx(2) tells them.
        let (flags, wanted) = (rustix::fs::AtFlags::empty(), rustix::fs::StatxFlags::MNT_ID);
        let mount = rustix::fs::statx(rustix::fs::CWD, dir.path(), flags, wanted).unwrap().stx_mnt_id;
        let host = Self { dir, layers, mount };
        for i in 0..layers {
            fs::create_dir_all(host.layer(i).join("usr/bin")).unwrap();
            fs::create_dir_all(host.layer(i).join(format!("opt/l{i}"))).unwrap();
            fs::write(host.layer(i).join(format!("opt/l{i}/data")), "x").unwrap();
        }
        let proc = host.root().join("proc");
        fs::create_dir_all(proc.join("1")).unwrap();
        fs::write(proc.join("stat"), "cpu 1\nbtime 1790000000\n").unwrap();
        fs::write(proc.join("1/mountinfo"), "20 1 254:99 / / rw - ext4 /dev/vda rw\n").unwrap();
        fs::write(proc.join("1/cgroup"), "0::/init.scope\n").unwrap();
        host
    }

    /// The same, but the executables are on a mount that no table has: made since, or the kernel tells no ids
    /// of mounts.
    pub fn on_unlisted_mount(self) -> Self {
        Self { mount: u64::from(u32::MAX), ..self }
    }

    /// The host's root directory.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Directory of a layer; 0 is the uppermost.
    fn layer(&self, i: usize) -> PathBuf {
        self.root().join(format!("layers/{i}"))
    }

    /// Puts an executable into the lowest layer: names of one and the same ELF file.
    pub fn executables(&self, count: usize) -> Inode {
        let dir = self.layer(self.layers - 1).join("usr/bin");
        let first = dir.join("x0");
        fs::copy("/bin/true", &first).unwrap();
        (1..count).for_each(|i| fs::hard_link(&first, dir.join(format!("x{i}"))).unwrap());
        let nanos = |s: i64, n: i64| (s as u64) * 1_000_000_000 + n as u64;
        let m = fs::metadata(&first).unwrap();
        Inode(m.ino(), nanos(m.ctime(), m.ctime_nsec()), nanos(m.mtime(), m.mtime_nsec()))
    }

    /// A process of a container that runs `/usr/bin/x<n>`.
    pub fn process(&self, pid: i64, container: &str, n: usize) {
        let dir = self.root().join(format!("proc/{pid}"));
        fs::create_dir_all(&dir).unwrap();
        let dev = fs::metadata(self.root()).unwrap().dev();
        let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
        let lower: Vec<String> = (0..self.layers).map(|i| format!("/layers/{i}")).collect();
        let options = format!("lowerdir={},upperdir=/upper,workdir=/work", lower.join(":"));
        let root = self.mount;
        let mounts = format!(
            "{root} 1 {major}:{minor} / / rw,relatime - overlay overlay rw,{options}\n\
             1000001 {root} 0:201 / /proc rw - proc proc rw\n\
             1000002 {root} 0:202 / /dev rw - tmpfs tmpfs rw\n\
             1000003 1000002 0:203 / /dev/shm rw - tmpfs shm rw\n\
             1000004 {root} 0:204 / /sys ro - sysfs sysfs ro\n\
             1000005 {root} 254:99 /var/lib/kubelet/pods/p/etc-hosts /etc/hosts rw - ext4 /dev/vda rw\n"
        );
        fs::write(dir.join("mountinfo"), mounts).unwrap();
        fs::write(dir.join("cgroup"), format!("0::{}\n", cgroup(container))).unwrap();
        let stat = format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n");
        fs::write(dir.join("stat"), stat).unwrap();
        let base = self.layer(self.layers - 1);
        symlink(base.join(format!("usr/bin/x{n}")), dir.join("exe")).unwrap();
        // A real overlay's root shows the times of its uppermost layer. Only opened, never walked.
        let upper = self.root().join("upper");
        fs::create_dir_all(&upper).unwrap();
        symlink(upper, dir.join("root")).unwrap();
    }
}
