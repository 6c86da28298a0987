//! The containers that run on this host now, told by the control groups of its processes.

use crate::container::id::IdRules;
use crate::container::namespaces::learn;
use crate::host::Host;
use std::collections::BTreeMap;

/// A container and its processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Full id.
    pub id: Box<str>,
    /// Process ids on the host, ascending.
    pub pids: Vec<i64>,
}

/// All running containers, by id. Costs a read of one small file for each process of the host.
pub fn running(host: &Host) -> Vec<Running> {
    let mut found: BTreeMap<Box<str>, Vec<i64>> = BTreeMap::new();
    for pid in host.pids() {
        let Some(lines) = host.cgroups(pid) else { continue };
        let find = || IdRules::of(host).find(lines.split(|b| *b == b'\n'));
        let learned = || learn(host, pid, lines.split(|b| *b == b'\n')).then(find).flatten();
        if let Some(id) = find().or_else(learned) {
            found.entry(id.id).or_default().push(pid);
        }
    }
    let ordered = |(id, mut pids): (Box<str>, Vec<i64>)| {
        pids.sort_unstable();
        Running { id, pids }
    };
    found.into_iter().map(ordered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_by_their_control_groups() {
        let root = tempfile::tempdir().unwrap();
        let id = "ab".repeat(32);
        for (pid, lines) in [
            (12, format!("0::/docker/{id}\n")),
            (7, format!("0::/docker/{id}\n")),
            (1, "0::/init.scope\n".to_owned()),
        ] {
            let dir = root.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("cgroup"), lines).unwrap();
        }
        let found = running(&Host::new(root.path()));
        assert_eq!(found, [Running { id: id.into(), pids: vec![7, 12] }]);
    }
}
