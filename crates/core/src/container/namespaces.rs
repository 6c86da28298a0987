//! Namespaces of containerd, found out as their containers are met.
//!
//! containerd puts a container into the control group `/<namespace>/<name>`, and both are whatever its client
//! said: `/buildfarm/worker.7`. The shape of such a name says nothing. That it is a container's is said by
//! the host: the task's directory in the state of containerd, or the shim that the process descends from.
//!
//! Invariant: the evidence lies outside of the container. A container that makes control groups makes them
//! below its own, which comes first in the path.

use crate::container::declared::place::{is_shim_of, CONTAINERD_STATE, TASKS};
use crate::container::id::IdRules;
use crate::host::Host;
use std::path::Path;

/// Most ancestors that are looked at.
const MAX_ANCESTORS: usize = 64;

/// Takes the namespace in that these control groups of `pid` name, in which no container was found, if there
/// is such a one; whether there was. A bounded number of reads below `/proc` and of the state's directories.
pub fn learn<'a>(host: &Host, pid: i64, entries: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let named = entries.into_iter().find_map(IdRules::possible);
    let Some((namespace, name)) = named.and_then(|(n, c)| {
        Some((std::str::from_utf8(n).ok()?.to_owned(), std::str::from_utf8(c).ok()?.to_owned()))
    }) else {
        return false;
    };
    let has_task = |state: &str| {
        let task = Path::new(state).join(TASKS).join(&namespace).join(&name);
        host.path(task.as_os_str().as_encoded_bytes()).is_dir()
    };
    let known =
        CONTAINERD_STATE.iter().any(|state| has_task(state)) || descends(host, pid, &namespace, &name);
    if known {
        host.add_namespace(namespace.as_bytes());
    }
    known
}

/// Whether a process descends from a shim of this namespace, which is not in the container itself.
fn descends(host: &Host, pid: i64, namespace: &str, name: &str) -> bool {
    let is_in = |pid| {
        host.cgroups(pid).is_none_or(|lines| {
            let named = lines.split(|b| *b == b'\n').find_map(IdRules::possible);
            named.is_some_and(|(n, c)| n == namespace.as_bytes() && c == name.as_bytes())
        })
    };
    let mut at = pid;
    for _ in 0..MAX_ANCESTORS {
        let Some(parent) = host.parent_of(at).filter(|parent| *parent > 1) else { return false };
        at = parent;
        if host.command_line(at).is_some_and(|line| is_shim_of(&line, namespace)) && !is_in(at) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &[u8] = b"0::/buildfarm/worker.7/sub\n";

    fn process(root: &Path, pid: i64, parent: i64, line: &str, cgroup: &[u8]) {
        let dir = root.join(format!("proc/{pid}"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("stat"), format!("{pid} (x) S {parent} 0 0")).unwrap();
        std::fs::write(dir.join("cmdline"), line.replace(' ', "\0")).unwrap();
        std::fs::write(dir.join("cgroup"), cgroup).unwrap();
    }

    fn learned(root: &Path) -> Option<String> {
        let host = Host::new(root);
        let lines = || GROUPS.split(|b| *b == b'\n');
        assert_eq!(IdRules::of(&host).find(lines()), None);
        learn(&host, 12, lines());
        IdRules::of(&host).find(lines()).map(|id| id.id.into())
    }

    #[test]
    fn a_namespace_is_known_by_the_shim_or_the_tasks_directory() {
        let shim = "/usr/bin/containerd-shim-runc-v2 -namespace buildfarm -id worker.7";
        for (line, cgroup, want) in [
            (shim, &b"0::/system.slice/containerd.service\n"[..], Some("worker.7")),
            // The container's own process of that name.
            (shim, GROUPS, None),
            ("/usr/bin/containerd-shim-runc-v2 -namespace other -id worker.7", b"0::/\n", None),
            ("/usr/bin/bash -namespace buildfarm", b"0::/\n", None),
        ] {
            let root = tempfile::tempdir().unwrap();
            process(root.path(), 12, 11, "sleep", GROUPS);
            process(root.path(), 11, 10, "sh", GROUPS);
            process(root.path(), 10, 1, line, cgroup);
            assert_eq!(learned(root.path()).as_deref(), want, "{line}");
        }
        let root = tempfile::tempdir().unwrap();
        let task = "run/containerd/io.containerd.runtime.v2.task/buildfarm/worker.7";
        std::fs::create_dir_all(root.path().join(task)).unwrap();
        assert_eq!(learned(root.path()).as_deref(), Some("worker.7"));
    }
}
