//! Which processes are a container's own program, as the deployment started it: its first process, the same
//! program below it (workers), or what the shell or init that is its first process started.
//!
//! A process that somebody starts from outside (exec) is not, nor is what an application starts. Invariant: a
//! bounded number of reads of `/proc`.

use super::live::is_member;
use crate::host::Host;
use crate::verdict::work::{is_init, is_launcher, is_shell};

/// Most ancestors of a process that are looked at.
const MAX_ANCESTORS: usize = 16;

/// Whether a process of a container is its own program. `false` where that cannot be told, as in the host's
/// PID namespace.
pub fn is_main_program(host: &Host, pid: i64, container: &str) -> bool {
    let path_of = |pid| host.executable(pid).ok().and_then(|exe| exe.path());
    let Some(path) = path_of(pid) else { return false };
    let session = host.session_of(pid);
    let mut at = pid;
    for _ in 0..MAX_ANCESTORS {
        let Some(parent) = host.parent_of(at).filter(|_| is_member(host, at, container)) else {
            return false;
        };
        let step = path_of(at).unwrap_or_default();
        // A namespace that a process of the container makes has a first process as well.
        if !is_member(host, parent, container) {
            // What came in from outside has another session, and becomes the first process's child when its
            // parent ends (runc, `setns_init_linux.go`: setsid).
            let is_first = host.own_pid_of(at) == Some(1);
            return is_first
                && (at == pid
                    || (session.is_some()
                        && session == host.session_of(at)
                        && (step == path || is_starter(&step))));
        }
        if step != path && !is_starter(&step) {
            return false;
        }
        at = parent;
    }
    false
}

/// Whether a program only starts others.
fn is_starter(path: &[u8]) -> bool {
    is_shell(path) || is_init(path) || is_launcher(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host's `/proc`: process, parent, session, own id, executable; those from 10 on are in the container.
    fn host(processes: &[(i64, i64, i64, i64, &str)]) -> (tempfile::TempDir, Host, String) {
        let root = tempfile::tempdir().unwrap();
        let id = "ab".repeat(32);
        for (pid, parent, session, own, exe) in processes {
            let dir = root.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(&dir).unwrap();
            let group = if *pid < 10 { "0::/init.scope\n".to_owned() } else { format!("0::/docker/{id}\n") };
            std::fs::write(dir.join("cgroup"), group).unwrap();
            std::fs::write(dir.join("stat"), format!("{pid} (x) S {parent} {session} {session} 0\n"))
                .unwrap();
            std::fs::write(dir.join("status"), format!("Name:\tx\nNSpid:\t{pid}\t{own}\n")).unwrap();
            let file = root.path().join(exe);
            std::fs::write(&file, b"").unwrap();
            std::os::unix::fs::symlink(&file, dir.join("exe")).unwrap();
        }
        let host = Host::new(root.path());
        (root, host, id)
    }

    #[test]
    fn the_deployment_started_it() {
        // (what, chain from the process upwards as (session, own id, executable), expected)
        type Step = (i64, i64, &'static str);
        let cases: [(&str, &[Step], bool); 10] = [
            ("the first process", &[(1, 1, "python3")], true),
            ("its worker", &[(1, 7, "python3"), (1, 1, "python3")], true),
            ("below an init", &[(1, 7, "python3"), (1, 1, "tini")], true),
            ("below the entry shell", &[(1, 7, "python3"), (1, 6, "gosu"), (1, 1, "bash")], true),
            ("from outside", &[(9, 9, "nc")], false),
            ("from outside, its parent ended", &[(9, 9, "nc"), (1, 1, "bash")], false),
            ("the same program from outside", &[(9, 9, "busybox"), (1, 1, "busybox")], false),
            ("of an application", &[(1, 9, "nc"), (1, 1, "php-fpm")], false),
            ("of a shell of an application", &[(1, 9, "nc"), (1, 8, "sh"), (1, 1, "php-fpm")], false),
            ("first of a namespace of its own", &[(1, 1, "nc"), (1, 8, "unshare"), (1, 1, "php-fpm")], false),
        ];
        for (what, chain, want) in cases {
            let mut processes = vec![(1, 0, 0, 1, "systemd")];
            let last = 10 + chain.len() as i64 - 1;
            processes.extend(chain.iter().enumerate().map(|(at, (session, own, exe))| {
                let pid = 10 + at as i64;
                (pid, if pid == last { 1 } else { pid + 1 }, *session, *own, *exe)
            }));
            let (_root, host, id) = host(&processes);
            assert_eq!(is_main_program(&host, 10, &id), want, "{what}");
        }
    }
}
