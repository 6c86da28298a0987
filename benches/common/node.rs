//! A node made of plain directories: images of shared and own layers, containers of them, each with a
//! process.

use super::event::Inode;
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt};
use std::path::{Path, PathBuf};

/// How large it is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub containers: usize,
    pub images: usize,
    /// Base layers; each image stands on one of them.
    pub base_layers: usize,
    /// Files of each base layer.
    pub base_files: usize,
    /// Files of each image's own layer.
    pub own_files: usize,
}

/// Such a node.
pub struct Node {
    dir: tempfile::TempDir,
    size: Size,
    app: Inode,
    /// The process of each container now.
    pids: RefCell<Vec<i64>>,
}

impl Node {
    /// A node of that size, with a process in each container.
    pub fn new(size: Size) -> Self {
        let dir =
            tempfile::Builder::new().prefix("drift-bench-").tempdir_in(super::report::target()).unwrap();
        let root = dir.path();
        let mut app = Inode::default();
        for base in 0..size.base_layers {
            let layer = root.join(format!("layers/base{base}"));
            files(&layer, size.base_files);
            fs::create_dir_all(layer.join("usr/bin")).unwrap();
            let first = root.join("layers/base0/usr/bin/app");
            match base {
                0 => drop(fs::copy("/bin/true", &first).unwrap()),
                _ => fs::hard_link(&first, layer.join("usr/bin/app")).unwrap(),
            }
        }
        let nanos = |s: i64, n: i64| (s as u64) * 1_000_000_000 + n as u64;
        let m = fs::metadata(root.join("layers/base0/usr/bin/app")).unwrap();
        app.0 = m.ino();
        (app.1, app.2) = (nanos(m.ctime(), m.ctime_nsec()), nanos(m.mtime(), m.mtime_nsec()));
        (0..size.images).for_each(|image| files(&root.join(format!("layers/own{image}")), size.own_files));
        let proc = root.join("proc");
        fs::create_dir_all(proc.join("1")).unwrap();
        fs::write(proc.join("stat"), "cpu 1\nbtime 1790000000\n").unwrap();
        fs::write(proc.join("1/mountinfo"), "20 1 254:99 / / rw - ext4 /dev/vda rw\n").unwrap();
        fs::write(proc.join("1/cgroup"), "0::/init.scope\n").unwrap();
        let pids = (0..size.containers).map(|n| 1000 + n as i64).collect();
        let node = Self { dir, size, app, pids: RefCell::new(pids) };
        (0..size.containers).for_each(|n| node.process(n, node.pid(n), &node.cgroup(n)));
        node
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Files of all layers.
    pub fn files(&self) -> usize {
        self.size.base_layers * self.size.base_files + self.size.images * self.size.own_files
    }

    pub fn processes(&self) -> usize {
        self.size.containers
    }

    /// The executable that all containers run.
    pub fn app(&self) -> Inode {
        self.app
    }

    /// The process of a container now.
    pub fn pid(&self, n: usize) -> i64 {
        self.pids.borrow()[n]
    }

    /// Its control group at first.
    pub fn cgroup(&self, n: usize) -> String {
        self.group(n, 0)
    }

    /// Its control group after it was replaced in that hour.
    pub fn cgroup_of(&self, n: usize, hour: usize) -> String {
        self.group(n, hour + 1)
    }

    /// Another container, with its first process.
    pub fn add(&self, n: usize, pid: i64) {
        self.process(n, pid, &self.cgroup(n));
    }

    /// Another process of any container, as far as its executable can be looked at.
    pub fn run(&self, pid: i64) {
        let dir = self.root().join(format!("proc/{pid}"));
        fs::create_dir(&dir).unwrap();
        symlink(self.root().join("layers/base0/usr/bin/app"), dir.join("exe")).unwrap();
    }

    /// Ends such a process.
    pub fn end(&self, pid: i64) {
        fs::remove_dir_all(self.root().join(format!("proc/{pid}"))).unwrap();
    }

    fn group(&self, n: usize, generation: usize) -> String {
        super::image::cgroup(&format!("{n:032x}{generation:032x}"))
    }

    /// Ends a container's process and starts another container of the same image: the old process and the
    /// new.
    pub fn replace(&self, n: usize, hour: usize) -> (i64, i64) {
        let old = self.pid(n);
        let new = 100_000 + (hour * self.size.containers + n) as i64;
        fs::remove_dir_all(self.root().join(format!("proc/{old}"))).unwrap();
        self.process(n, new, &self.cgroup_of(n, hour));
        self.pids.borrow_mut()[n] = new;
        (old, new)
    }

    fn process(&self, n: usize, pid: i64, cgroup: &str) {
        let dir = self.root().join(format!("proc/{pid}"));
        fs::create_dir_all(&dir).unwrap();
        let image = n % self.size.images;
        let base = image % self.size.base_layers;
        let dev = fs::metadata(self.root()).unwrap().dev();
        let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
        let options = format!(
            "lowerdir=/layers/own{image}:/layers/base{base},upperdir=/upper{n}/fs,workdir=/upper{n}/work"
        );
        let mounts = format!(
            "900 800 {major}:{minor} / / rw,relatime - overlay overlay rw,{options}\n\
             901 900 0:201 / /proc rw - proc proc rw\n902 900 0:202 / /dev rw - tmpfs tmpfs rw\n"
        ) + &mounts_of_a_pod();
        fs::write(dir.join("mountinfo"), mounts).unwrap();
        fs::write(dir.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
        fs::write(dir.join("stat"), format!("{pid} (app) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n"))
            .unwrap();
        let base: PathBuf = self.root().join(format!("layers/base{base}"));
        symlink(base.join("usr/bin/app"), dir.join("exe")).unwrap();
        // A real overlay's root shows the times of its uppermost layer.
        let upper = self.root().join(format!("upper{n}/fs"));
        fs::create_dir_all(&upper).unwrap();
        symlink(upper, dir.join("root")).unwrap();
    }
}

/// What else is mounted in a container of Kubernetes.
fn mounts_of_a_pod() -> String {
    let pod = "/var/lib/kubelet/pods/6c3b9f1e-1111-2222-3333-444455556666";
    let (masked, files) = (
        ["bus", "fs", "irq", "sys", "sysrq-trigger", "acpi", "kcore", "keys", "latency_stats", "timer_list"],
        ["hosts", "hostname", "resolv.conf"],
    );
    let mut lines = String::from(
        "903 902 0:203 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666\n\
         904 902 0:204 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw\n\
         905 902 0:205 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k\n\
         906 900 0:206 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro\n\
         907 906 0:207 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw\n\
         908 906 0:208 / /sys/firmware ro,relatime - tmpfs tmpfs ro\n",
    );
    for (i, path) in masked.iter().enumerate() {
        lines += &format!("{} 901 0:201 /{path} /proc/{path} ro,relatime - proc proc rw\n", 910 + i);
    }
    for (i, path) in files.iter().enumerate() {
        lines +=
            &format!("{} 900 254:1 {pod}/etc-{path} /etc/{path} rw,relatime - ext4 /dev/vda1 rw\n", 930 + i);
    }
    lines
        + &format!(
            "940 900 254:1 {pod}/containers/app/1 /dev/termination-log rw,relatime - ext4 /dev/vda1 rw\n\
         941 900 0:209 / /run/secrets/kubernetes.io/serviceaccount ro,relatime - tmpfs tmpfs rw,size=1024k\n\
         942 900 254:1 {pod}/volumes/kubernetes.io~empty-dir/data /data rw,relatime - ext4 /dev/vda1 rw\n"
        )
}

/// Makes so many paths, a dozen files to a directory.
fn files(layer: &Path, count: usize) {
    let mut made = 0;
    for n in 0.. {
        let dir = layer.join(format!("usr/share/package-{:03}/component{:02}/part{n}", n / 100, n / 10 % 10));
        fs::create_dir_all(&dir).unwrap();
        made += 1;
        for f in 0..12 {
            if made >= count {
                return;
            }
            fs::File::create(dir.join(format!("file-name-{f:02}.dat"))).unwrap();
            made += 1;
        }
    }
}
