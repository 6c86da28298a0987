//! What is kept of containers that come and go, on a host of plain files.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

struct Node {
    dir: tempfile::TempDir,
    registry: Registry,
}

fn id(n: i64) -> String {
    format!("{n:064x}")
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/1")).unwrap();
        fs::write(dir.path().join("proc/1/mountinfo"), "20 1 254:99 / / rw - ext4 /dev/vda rw\n").unwrap();
        let settings = Settings { max_containers: 1024, storage_roots: Vec::new() };
        let registry = Registry::new(Host::new(dir.path()), settings, Vec::new());
        Self { dir, registry }
    }

    fn proc(&self, pid: i64) -> std::path::PathBuf {
        self.dir.path().join(format!("proc/{pid}"))
    }

    /// Starts a process of container `n`, and looks at the container.
    fn start(&mut self, n: i64, pid: i64) -> Arc<Container> {
        let proc = self.proc(pid);
        fs::create_dir_all(&proc).unwrap();
        fs::write(proc.join("mountinfo"), format!("900 800 0:{n} / / rw - ext4 /dev/x rw\n")).unwrap();
        fs::write(proc.join("cgroup"), format!("0::/system.slice/docker-{}.scope\n", id(n))).unwrap();
        symlink(Path::new("/nowhere"), proc.join("root")).unwrap();
        self.registry.look_at(&id(n), pid).0
    }

    /// Ends a process, with or without an event that tells so.
    fn end(&mut self, pid: i64, told: bool) {
        fs::remove_dir_all(self.proc(pid)).unwrap();
        if told {
            self.registry.note_exit(pid);
        }
    }

    fn gone(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(id) = self.registry.gone() {
            all.push(id.to_owned());
            self.registry.forgotten();
        }
        all
    }
}

#[test]
fn memory_follows_what_runs() {
    let mut node = Node::new();
    let kept = KEEP_ENDED as i64;
    for n in 0..kept * 3 {
        let container = node.start(n, 10_000 + n);
        assert!(container.is_current());
        node.end(10_000 + n, true);
    }
    assert_eq!(node.registry.len(), KEEP_ENDED);
    assert!(node.registry.known(&id(kept * 3 - 1)).is_some_and(|c| !c.is_current()), "for a while");
    assert_eq!(node.gone(), (0..kept * 2).map(id).collect::<Vec<_>>());
    assert_eq!(node.registry.by_device.len(), KEEP_ENDED);
}

#[test]
fn a_container_that_runs_is_not_let_go_and_drift_outlives_its_container() {
    let mut node = Node::new();
    node.start(1, 101).drifts.fetch_add(3, Ordering::Relaxed);
    node.start(2, 102);
    node.end(101, true);
    node.end(102, true);
    node.start(2, 103);
    for n in 10..10 + KEEP_ENDED as i64 {
        node.start(n, 1_000 + n);
        node.end(1_000 + n, true);
    }
    assert_eq!(node.gone(), [id(1)], "the other one was started again");
    assert!(node.registry.known(&id(2)).is_some_and(|c| c.is_current()));
    let again = node.start(1, 104);
    assert_eq!(again.drifts.load(Ordering::Relaxed), 3, "started again, much later");
}

#[test]
fn ends_that_nobody_told_are_noticed() {
    let mut node = Node::new();
    for n in 0..KEEP_ENDED as i64 * 8 {
        node.start(n, 10_000 + n);
        node.end(10_000 + n, false);
    }
    let known = node.registry.len();
    assert!(known <= 2 * KEEP_ENDED, "{known} of {}", KEEP_ENDED * 8);
}
