//! What the kernel probe reads of a process, read from `/proc` by the host's root.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layer::{self, Layer};

/// The probe cuts arguments and environment to this many bytes each (`MAX_PROC_ARG_ENV`).
const ARGS_MAX: usize = 4096;
/// The probe's subsystems, with the name each has in a version 1 hierarchy.
const SUBSYSTEMS: [(&str, &str); 5] =
    [("cpuset", "cpuset"), ("cpu", "cpu"), ("cpuacct", "cpuacct"), ("io", "blkio"), ("memory", "memory")];
const CAP_DAC_OVERRIDE: u64 = 1 << 1;
const CAP_FOWNER: u64 = 1 << 3;
/// Clock ticks a second in `/proc/<pid>/stat`; fixed in the kernel's interface.
const TICK_NS: u64 = 10_000_000;

/// The file a process executes.
#[derive(Debug, Clone, Default)]
pub struct Exe {
    /// Path in the process's mount namespace, without the ` (deleted)` of a removed file; `memfd:name` for
    /// memory.
    pub path: Vec<u8>,
    /// Inode number.
    pub ino: u64,
    /// Last status change, nanoseconds since the epoch.
    pub ctime_ns: u64,
    /// Last content change, nanoseconds since the epoch.
    pub mtime_ns: u64,
    /// Nanoseconds within the second of the last status change.
    pub ctime_subsec_ns: u32,
    /// Its overlayfs layer.
    pub layer: Layer,
    /// It lives in a memfd.
    pub memfd: bool,
    /// The process may write it, as the probe judges that.
    pub writable: bool,
}

/// Capability sets, bit n for capability n.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caps {
    /// Kept over an exec.
    pub inheritable: u64,
    /// May be taken on.
    pub permitted: u64,
    /// In force.
    pub effective: u64,
}

/// A thread, as the host sees it; `v` numbers are those of its own process id namespace.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Thread id.
    pub tid: i64,
    /// What its exec was asked to run; empty: the process itself is asked.
    pub executed: Vec<u8>,
    /// Process id.
    pub pid: i64,
    /// Process id of the parent.
    pub ppid: i64,
    /// Session id in its own namespace.
    pub sid: i64,
    /// Process group.
    pub pgid: i64,
    /// Thread id in its own namespace.
    pub vtid: i64,
    /// Process id in its own namespace.
    pub vpid: i64,
    /// Process group in its own namespace.
    pub vpgid: i64,
    /// How deep its process id namespace lies: 0 on the host.
    pub pidns_level: usize,
    /// Command name.
    pub comm: Vec<u8>,
    /// All arguments, each ended by a zero, cut as the probe cuts them.
    pub cmdline: Vec<u8>,
    /// Environment, each variable ended by a zero, cut as the probe cuts it.
    pub env: Vec<u8>,
    /// Working directory (the process list has it, the probe's events do not).
    pub cwd: Vec<u8>,
    /// Root directory, `/` unless chrooted.
    pub root: Vec<u8>,
    /// `subsystem=/path`, each ended by a zero.
    pub cgroups: Vec<u8>,
    /// Number of the controlling terminal, 0 for none.
    pub tty: u32,
    /// Login user, `u32::MAX` for none.
    pub loginuid: u32,
    /// Effective user.
    pub euid: u32,
    /// Effective group.
    pub egid: u32,
    /// Largest number of open files.
    pub fdlimit: u64,
    /// Page faults that read from a disk.
    pub major_faults: u64,
    /// Page faults that did not.
    pub minor_faults: u64,
    /// Virtual size in KiB.
    pub vm_kb: u32,
    /// Resident size in KiB.
    pub rss_kb: u32,
    /// Swapped size in KiB.
    pub swap_kb: u32,
    /// Capabilities.
    pub caps: Caps,
    /// When the process started, nanoseconds since boot.
    pub start_ns: u64,
    /// When its namespace's first process started, nanoseconds since boot; filled in by those who know that
    /// process.
    pub pidns_start_ns: u64,
    /// What it executes.
    pub exe: Exe,
}

impl Process {
    /// Reads process `pid`, which must stand still for the numbers to belong together.
    ///
    /// # Errors
    /// Its status, stat or mounts cannot be read: it is gone or not ours to look at.
    pub fn read(pid: i64) -> Result<Self> {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let status = Status::read(&dir)?;
        let stat = Stat::read(&dir)?;
        let mut process = Self {
            tid: pid,
            executed: Vec::new(),
            pid: status.last("Tgid").unwrap_or(pid),
            ppid: status.last("PPid").unwrap_or(0),
            sid: status.last("NSsid").unwrap_or(-1),
            pgid: status.first("NSpgid").unwrap_or(-1),
            vtid: status.last("NSpid").unwrap_or(pid),
            vpid: status.last("NStgid").unwrap_or(pid),
            vpgid: status.last("NSpgid").unwrap_or(-1),
            pidns_level: status.count("NSpid").saturating_sub(1),
            comm: trim_newline(read_some(&dir.join("comm"), 64)),
            cmdline: whole_strings(read_some(&dir.join("cmdline"), ARGS_MAX)),
            env: whole_strings(read_some(&dir.join("environ"), ARGS_MAX)),
            cwd: link(&dir.join("cwd")),
            root: link(&dir.join("root")),
            cgroups: probe_cgroups(&read_some(&dir.join("cgroup"), 65_536)),
            tty: stat.number(7),
            loginuid: text(&dir.join("loginuid")).parse().unwrap_or(u32::MAX),
            euid: status.nth("Uid", 1).unwrap_or(0),
            egid: status.nth("Gid", 1).unwrap_or(0),
            fdlimit: fd_limit(&text(&dir.join("limits"))),
            minor_faults: stat.number(10),
            major_faults: stat.number(12),
            vm_kb: status.first("VmSize").unwrap_or(0),
            rss_kb: status.first("VmRSS").unwrap_or(0),
            swap_kb: status.first("VmSwap").unwrap_or(0),
            caps: Caps {
                inheritable: status.hex("CapInh"),
                permitted: status.hex("CapPrm"),
                effective: status.hex("CapEff"),
            },
            start_ns: stat.number::<u64>(22).saturating_mul(TICK_NS),
            pidns_start_ns: 0,
            exe: Exe::default(),
        };
        let fsuid = status.nth("Uid", 3).unwrap_or(0);
        let fsgid = status.nth("Gid", 3).unwrap_or(0);
        process.exe = process.read_exe(&dir, fsuid, fsgid, &status)?;
        Ok(process)
    }

    /// The first argument, without its zero.
    #[must_use]
    pub fn argv0(&self) -> &[u8] {
        self.cmdline.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// The arguments after the first, each ended by a zero.
    #[must_use]
    pub fn arguments(&self) -> &[u8] {
        self.cmdline.get(self.argv0().len() + 1..).unwrap_or_default()
    }

    /// The working directory as the process itself sees it: below its own root.
    #[must_use]
    pub fn own_cwd(&self) -> &[u8] {
        let root = self.root.strip_suffix(b"/").unwrap_or(&self.root);
        match self.cwd.strip_prefix(root) {
            Some(b"") => b"/",
            Some(below) if below.starts_with(b"/") => below,
            _ => &self.cwd,
        }
    }

    /// What the exec was asked to run (`AT_EXECFN`): the caller's own words, the script's path for a script.
    #[must_use]
    pub fn exec_filename(&self) -> Vec<u8> {
        const AT_EXECFN: u64 = 31;
        if !self.executed.is_empty() {
            return self.executed.clone();
        }
        let auxv = read_some(Path::new(&format!("/proc/{}/auxv", self.tid)), 4096);
        let address = auxv.chunks_exact(16).find_map(|entry| {
            let (key, value) = entry.split_at(8);
            (u64::from_ne_bytes(key.try_into().ok()?) == AT_EXECFN)
                .then(|| u64::from_ne_bytes(value.try_into().unwrap_or_default()))
        });
        let read = || -> Option<Vec<u8>> {
            let mut memory = File::open(format!("/proc/{}/mem", self.tid)).ok()?;
            memory.seek(SeekFrom::Start(address?)).ok()?;
            let mut name = Vec::new();
            // The name lies near the stack's end: a short read is the rule.
            let mut buffer = [0u8; 256];
            while name.len() < 4096 && !name.contains(&0) {
                match memory.read(&mut buffer) {
                    Ok(count) if count > 0 => name.extend(buffer.iter().take(count)),
                    _ => break,
                }
            }
            name.split(|&byte| byte == 0).next().map(<[u8]>::to_vec)
        };
        read().unwrap_or_default()
    }

    fn read_exe(&self, dir: &Path, fsuid: u32, fsgid: u32, status: &Status) -> Result<Exe> {
        let link_path = dir.join("exe");
        let Ok(target) = std::fs::read_link(&link_path) else {
            return Ok(Exe::default()); // a kernel thread
        };
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_PATH | nix::libc::O_CLOEXEC)
            .open(&link_path)
            .with_context(|| format!("opening {}", link_path.display()))?;
        let stat = file.metadata().with_context(|| format!("stat of {}", link_path.display()))?;
        let mut path = target.into_os_string().into_vec();
        if stat.nlink() == 0 {
            if let Some(cut) = path.strip_suffix(b" (deleted)") {
                path.truncate(cut.len());
            }
        }
        let memfd = stat.nlink() == 0 && path.starts_with(b"/memfd:");
        let (layer, mount) = if memfd {
            path.remove(0);
            (Layer::None, None)
        } else {
            layer::layer_of(self.tid, &file, Path::new(std::ffi::OsStr::from_bytes(&path)))?
        };
        let read_only = mount.is_some_and(|mount| mount.read_only());
        let may_write = || {
            let shift = if status.all("Groups").contains(&stat.gid()) || stat.gid() == fsgid { 3 } else { 0 };
            (stat.mode() >> shift) & 2 != 0 || self.caps.effective & (CAP_DAC_OVERRIDE | CAP_FOWNER) != 0
        };
        let ns = |seconds: i64, rest: i64| {
            u64::try_from(seconds.saturating_mul(1_000_000_000).saturating_add(rest)).unwrap_or(0)
        };
        Ok(Exe {
            path,
            ino: stat.ino(),
            ctime_ns: ns(stat.ctime(), stat.ctime_nsec()),
            mtime_ns: ns(stat.mtime(), stat.mtime_nsec()),
            ctime_subsec_ns: u32::try_from(stat.ctime_nsec()).unwrap_or(0),
            layer,
            memfd,
            writable: !read_only && (fsuid == stat.uid() || may_write()),
        })
    }
}

/// Process `pid` and its ancestors on the host, oldest first: what an engine that starts now finds in
/// `/proc`.
///
/// # Errors
/// `pid` itself cannot be read; an ancestor that has gone ends the list.
pub fn with_ancestors(pid: i64) -> Result<Vec<Process>> {
    let mut found = vec![Process::read(pid)?];
    while let Some(parent) = found.last().map(|process| process.ppid).filter(|&parent| parent > 0) {
        match Process::read(parent) {
            Ok(process) if found.len() < 64 => found.push(process),
            _ => break,
        }
    }
    found.reverse();
    Ok(found)
}

/// What the probe sends as cgroups: each subsystem with its path, version 1's own where it has one, else
/// version 2's.
fn probe_cgroups(file: &[u8]) -> Vec<u8> {
    let mut unified: &[u8] = b"/";
    let mut own: HashMap<&[u8], &[u8]> = HashMap::new();
    for line in file.split(|&byte| byte == b'\n') {
        let mut fields = line.splitn(3, |&byte| byte == b':');
        if let (Some(id), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next()) {
            if id == b"0" && names.is_empty() {
                unified = path;
            }
            own.extend(names.split(|&byte| byte == b',').map(|name| (name, path)));
        }
    }
    let mut out = Vec::new();
    for (name, v1_name) in SUBSYSTEMS {
        out.extend(name.as_bytes());
        out.push(b'=');
        out.extend(*own.get(v1_name.as_bytes()).unwrap_or(&unified));
        out.push(0);
    }
    out
}

/// `/proc/<pid>/status`: a name, a colon, numbers.
struct Status(HashMap<String, Vec<String>>);

impl Status {
    fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("status");
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let map = String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, rest)| (name.to_owned(), rest.split_whitespace().map(str::to_owned).collect()))
            .collect();
        Ok(Self(map))
    }

    fn nth<T: std::str::FromStr>(&self, name: &str, index: usize) -> Option<T> {
        self.0.get(name)?.get(index)?.parse().ok()
    }

    fn first<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.nth(name, 0)
    }

    fn last<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.0.get(name)?.last()?.parse().ok()
    }

    fn all(&self, name: &str) -> Vec<u32> {
        self.0.get(name).into_iter().flatten().filter_map(|value| value.parse().ok()).collect()
    }

    fn count(&self, name: &str) -> usize {
        self.0.get(name).map_or(0, Vec::len)
    }

    fn hex(&self, name: &str) -> u64 {
        self.0
            .get(name)
            .and_then(|values| values.first())
            .and_then(|v| u64::from_str_radix(v, 16).ok())
            .unwrap_or(0)
    }
}

/// `/proc/<pid>/stat`: numbered fields; the name in parentheses may hold anything.
struct Stat(Vec<String>);

impl Stat {
    fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("stat");
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let after = bytes.iter().rposition(|&byte| byte == b')').unwrap_or(0);
        let rest = String::from_utf8_lossy(bytes.get(after + 1..).unwrap_or_default()).into_owned();
        Ok(Self(rest.split_whitespace().map(str::to_owned).collect()))
    }

    /// Field `index` as proc_pid_stat(5) counts them; the first after the name is the third.
    fn number<T: std::str::FromStr + Default>(&self, index: usize) -> T {
        self.0.get(index.saturating_sub(3)).and_then(|value| value.parse().ok()).unwrap_or_default()
    }
}

fn fd_limit(limits: &str) -> u64 {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|soft| soft.parse().ok())
        .unwrap_or(0)
}

fn read_some(path: &Path, limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(limit as u64).read_to_end(&mut out);
    }
    out
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&read_some(path, 65_536)).trim().to_owned()
}

fn link(path: &Path) -> Vec<u8> {
    std::fs::read_link(path).map(|target| target.into_os_string().into_vec()).unwrap_or_default()
}

fn trim_newline(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    bytes
}

/// Ends a cut text with a zero, as the probe does.
fn whole_strings(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(last) = bytes.last_mut() {
        *last = 0;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_of_a_hybrid_machine_take_each_subsystem_where_it_is() {
        let file = b"4:memory:/m\n3:cpuset:/s\n2:cpuacct,cpu:/c\n1:name=systemd:/d\n0::/u\n";
        let expected = b"cpuset=/s\0cpu=/c\0cpuacct=/c\0io=/u\0memory=/m\0";
        assert_eq!(probe_cgroups(file), expected);
    }

    #[test]
    fn a_chrooted_process_sees_its_directory_below_its_root() {
        let cases = [
            ("/", "/tmp", "/tmp"),
            ("/r", "/r", "/"),
            ("/r", "/r/a", "/a"),
            ("/r", "/rest", "/rest"),
            ("/", "/", "/"),
        ];
        for (root, cwd, expected) in cases {
            let process = Process { root: root.into(), cwd: cwd.into(), ..Process::default() };
            assert_eq!(process.own_cwd(), expected.as_bytes(), "{root} {cwd}");
        }
    }

    #[test]
    fn this_process_is_read() {
        let pid = i64::from(std::process::id());
        let me = Process::read(pid).unwrap();
        assert_eq!((me.pid, me.tid), (pid, pid));
        assert_eq!(me.exe.path, std::env::current_exe().unwrap().as_os_str().as_bytes());
        assert_eq!(me.argv0(), std::env::args().next().unwrap().as_bytes());
        assert!(me.fdlimit > 0 && me.start_ns > 0 && me.exe.ino > 0);
    }
}
