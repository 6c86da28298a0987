//! Whether a process that goes by the name of a container runtime is the host's runtime, on its way into a
//! container (`runc init`), and so does nothing that the container would have to answer for.
//!
//! Invariant: a name is never enough, nor a parent outside: with the host's process ids an orphan's parent is
//! outside, too. What counts cannot be made in a container: process ids of the host where the container has
//! none, the host's mount namespace, the times of the host's own binary, its content.

use crate::command::interpreter;
use crate::container::registry::Container;
use crate::host::{mount_of, FoundFile, Host, InodeId};
use crate::verdict::compare::{same_content, Comparison};
use crate::verdict::judge::is_memfd_path;
use rustix::fd::OwnedFd;
use rustix::fs::FileType;
use std::path::Path;

/// A process that may be the runtime.
#[derive(Debug)]
pub struct Claim<'a> {
    /// Process id.
    pub pid: i64,
    /// Its parent's.
    pub ptid: i64,
    /// Path of its executable, as the kernel gave it.
    pub path: &'a [u8],
    /// The first of its arguments.
    pub argv: &'a [&'a [u8]],
    /// Inode and times of its executable, as the kernel gave them.
    pub inode: InodeId,
    /// Its process id in its own PID namespace is the host's.
    pub has_host_ids: bool,
    /// It is the first process of its PID namespace, and has executed nothing since it was made.
    pub is_unborn: bool,
    /// Its parent is in no container.
    pub parent_outside: bool,
    /// When it did what is asked about, nanoseconds since the epoch.
    pub at: u64,
}

/// How long a runtime takes at most from the start of a container's first process to its program,
/// nanoseconds.
const SETUP: u64 = 10_000_000_000;

/// Where engines and distributions put their runtimes.
const BINARIES: [&str; 17] = [
    "/usr/bin/runc",
    "/usr/sbin/runc",
    "/usr/local/bin/runc",
    "/usr/local/sbin/runc",
    "/usr/libexec/crio/runc",
    "/usr/lib/cri-o-runc/sbin/runc",
    "/opt/bin/runc",
    "/var/lib/rancher/k3s/data/current/bin/runc",
    "/var/lib/rancher/rke2/bin/runc",
    "/var/lib/k0s/bin/runc",
    "/snap/microk8s/current/bin/runc",
    "/usr/bin/crun",
    "/usr/local/bin/crun",
    "/usr/libexec/crio/crun",
    "/var/lib/rancher/k3s/data/current/bin/crun",
    "/usr/bin/youki",
    "/usr/local/bin/youki",
];

/// Largest binary whose content is compared, bytes.
const MAX_BINARY: u64 = 64 << 20;

/// Whether the process is the host's runtime.
pub fn is_runtime(host: &Host, container: &Container, claim: &Claim<'_>) -> bool {
    if !interpreter::names_a_runtime(claim.path, claim.argv) {
        return false;
    }
    let Some(live) = &container.live else {
        // In a replay there is nothing to ask but the event.
        return claim.parent_outside && (claim.has_host_ids || claim.is_unborn);
    };
    let of_host = |pid, kind| {
        let own = host.namespace_of(pid, kind);
        own.is_some() && own == host.namespace_of(1, kind)
    };
    // Not in the container's PID namespace, and with none of it: nobody in there can be.
    let has_own_ids = || {
        let own = host.own_pid_of(live.pid());
        own.is_some_and(|own| own != live.pid()) && !of_host(live.pid(), "pid")
    };
    if claim.has_host_ids && claim.parent_outside && has_own_ids() {
        return true;
    }
    if of_host(claim.pid, "mnt") {
        return true;
    }
    // Within its first seconds a process may be looked at too late: the runtime becomes the container's
    // program within milliseconds, and a busy node's events are late.
    let is_young = live.started.is_some_and(|started| claim.at.saturating_sub(started) < SETUP);
    // An engine that is late knows no executable of it either. In a PID namespace of the container's own an
    // orphan's parent is its first process.
    if claim.path.is_empty() && is_young && claim.is_unborn && claim.parent_outside {
        return !of_host(live.pid(), "pid");
    }
    if is_on_containers_mount(host, container, claim, is_young) {
        return false;
    }
    // The parent is the runtime itself, as long as it lives.
    let parent = claim.parent_outside.then(|| host.executable(claim.ptid).ok()).flatten();
    let parent = parent.filter(|exe| {
        exe.path().is_some_and(|path| interpreter::names_a_runtime(&path, &[]) && !is_memfd_path(&path))
    });
    let known = BINARIES.iter().filter_map(|path| open(&host.path(path.as_bytes())));
    let mut binaries = parent.into_iter().chain(known);
    match is_memfd_path(claim.path) {
        // Its own copy in memory (libcontainer/dmz): only the content tells whose.
        true => host.executable(claim.pid).is_ok_and(|exe| binaries.any(|binary| is_copy(&exe, &binary))),
        // The file itself, by a mount that the runtime made for it, or an overlay that shows its times.
        false => binaries.any(|binary| claim.inode.times_agree(&binary.inode)),
    }
}

/// Whether the executable lies on a mount that the container has, or that its processes made: the host's
/// runtime is not executed from there.
fn is_on_containers_mount(host: &Host, container: &Container, claim: &Claim<'_>, is_young: bool) -> bool {
    let (Some(live), Ok(exe)) = (&container.live, host.hold_executable(claim.pid)) else { return false };
    if is_young && !is_claims(claim, &exe) {
        return false;
    }
    mount_of(&exe).is_some_and(|id| live.mount_of(host, &container.id, claim.pid, id).is_some())
}

/// Whether an executable is the claim's: its process may run another one by now.
fn is_claims(claim: &Claim<'_>, exe: &OwnedFd) -> bool {
    let found = exe.try_clone().ok().and_then(|exe| FoundFile::from_fd(exe).ok());
    found.is_some_and(|found| claim.inode.agrees(&found.inode))
}

fn open(path: &Path) -> Option<FoundFile> {
    let file = std::fs::File::open(path).ok()?;
    FoundFile::of(file).ok().filter(|found| found.kind == FileType::RegularFile)
}

fn is_copy(copy: &FoundFile, binary: &FoundFile) -> bool {
    if copy.size != binary.size || copy.size > MAX_BINARY {
        return false;
    }
    let (Ok(mut copy), Ok(mut binary)) = (copy.open(), binary.open()) else { return false };
    same_content(&mut copy, &mut binary, || true).is_ok_and(|result| result == Comparison::Same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_another_program_by_now_speaks_for_none() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("proc/42");
        std::fs::create_dir_all(&dir).unwrap();
        for name in ["runc", "python3"] {
            std::fs::write(root.path().join(name), name).unwrap();
        }
        let host = Host::new(root.path());
        let runc = FoundFile::of(std::fs::File::open(root.path().join("runc")).unwrap()).unwrap();
        let claim = Claim {
            pid: 42,
            ptid: 1,
            path: b"/usr/sbin/runc",
            argv: &[],
            inode: runc.inode,
            has_host_ids: false,
            is_unborn: true,
            parent_outside: true,
            at: 0,
        };
        for (runs, want) in [("runc", true), ("python3", false)] {
            let exe = dir.join("exe");
            let _ = std::fs::remove_file(&exe);
            std::os::unix::fs::symlink(root.path().join(runs), &exe).unwrap();
            assert_eq!(is_claims(&claim, &host.hold_executable(42).unwrap()), want, "{runs}");
        }
    }
}
