//! Where the host has the files of containers: what a process of the host changes there, it changes in the
//! container.
//!
//! Paths of the host come from events, so that a container can name any of them only with its own files
//! behind it.

use std::collections::BTreeMap;
use std::ops::Bound;

/// containerd mounts a container's root at `…/io.containerd.runtime.v2.task/<namespace>/<id>/rootfs`.
const TASKS: &[u8] = b"/io.containerd.runtime.v2.task/";

/// Docker, with containerd's image store, mounts it at `<data root>/rootfs/<snapshotter>/<id>`.
const ROOTS: &[u8] = b"/rootfs/overlayfs/";

/// Directories of the host by the container whose files they hold.
#[derive(Debug, Default)]
pub struct HostDirectories {
    by_path: BTreeMap<Vec<u8>, Box<str>>,
}

impl HostDirectories {
    /// Adds a container by its overlay's writable directory. Docker and podman mount the merged tree beside
    /// it.
    ///
    /// What was known is dropped when there are more than `max` containers; they are added again when looked
    /// at.
    pub fn add(&mut self, upper: &[u8], container: &str, max: usize) {
        if self.by_path.len() > max.saturating_mul(2) {
            self.by_path.clear();
        }
        if let Some(base) = upper.strip_suffix(b"/diff") {
            self.by_path.insert([base, b"/merged"].concat(), container.into());
        }
        self.by_path.insert(upper.to_vec(), container.into());
    }

    /// Forgets a container's writable directory, unless it is another one's by now.
    pub fn remove(&mut self, upper: &[u8], container: &str) {
        let merged = upper.strip_suffix(b"/diff").map(|base| [base, b"/merged"].concat());
        for path in merged.iter().map(Vec::as_slice).chain([upper]) {
            if self.by_path.get(path).is_some_and(|id| **id == *container) {
                self.by_path.remove(path);
            }
        }
    }

    /// The id of the container that a path of the host lies in, and the path inside.
    pub fn find<'a>(&'a self, path: &'a [u8]) -> Option<(&'a str, &'a [u8])> {
        behind(path, TASKS)
            .and_then(in_task)
            .or_else(|| behind(path, ROOTS).and_then(at_dockers_mount))
            .or_else(|| {
                let up_to = (Bound::Unbounded, Bound::Included(path));
                let (dir, id) = self.by_path.range::<[u8], _>(up_to).next_back()?;
                let inside = path.strip_prefix(dir.as_slice()).filter(|rest| rest.starts_with(b"/"))?;
                Some((&**id, inside))
            })
    }
}

/// What follows these components in a path. Asked of every file that a process of the host writes: only where
/// a component begins is there more to compare than a byte.
fn behind<'a>(path: &'a [u8], components: &[u8]) -> Option<&'a [u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.filter_map(|(at, _)| path.get(at..)?.strip_prefix(components)).next()
}

fn in_task(below: &[u8]) -> Option<(&str, &[u8])> {
    let mut parts = below.splitn(3, |b| *b == b'/');
    let (_namespace, id, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let inside = rest.strip_prefix(b"rootfs").filter(|rest| rest.starts_with(b"/"))?;
    Some((std::str::from_utf8(id).ok()?, inside))
}

fn at_dockers_mount(below: &[u8]) -> Option<(&str, &[u8])> {
    let (id, inside) = below.split_at_checked(64).filter(|(_, inside)| inside.starts_with(b"/"))?;
    let is_id = id.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(id).ok().filter(|_| is_id).map(|id| (id, inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_host_lead_to_containers() {
        let mut dirs = HostDirectories::default();
        dirs.add(b"/s/overlay/aa/diff", "A", 10);
        dirs.add(b"/c/snapshots/7/fs", "B", 10);
        let id = "0123456789abcdef".repeat(4);
        let mounted = format!("/d/rootfs/overlayfs/{id}/etc/x");
        for (path, want) in [
            ("/s/overlay/aa/diff/etc/x", Some(("A", "/etc/x"))),
            ("/s/overlay/aa/merged/etc/x", Some(("A", "/etc/x"))),
            ("/s/overlay/aa/diff", None),
            ("/s/overlay/aa/different/x", None),
            ("/s/overlay/ab/diff/x", None),
            ("/c/snapshots/7/fs/a", Some(("B", "/a"))),
            ("/c/snapshots/77/fs/a", None),
            ("/run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/rootfs/a/b", Some(("ID", "/a/b"))),
            ("/run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/rootfs", None),
            ("/run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/log.json", None),
            (&mounted, Some((&id, "/etc/x"))),
            ("/d/rootfs/overlayfs/0123/etc/x", None),
            (&mounted[..mounted.len() - 6], None),
            (&mounted.replace("0123", "012x"), None),
            ("/etc/x", None),
        ] {
            let got = dirs.find(path.as_bytes());
            assert_eq!(got, want.map(|(id, inside)| (id, inside.as_bytes())), "{path}");
        }
        dirs.add(b"/c/snapshots/7/fs", "C", 10);
        dirs.remove(b"/c/snapshots/7/fs", "B");
        assert!(dirs.find(b"/c/snapshots/7/fs/x").is_some(), "another one's by now");
        dirs.remove(b"/s/overlay/aa/diff", "A");
        assert_eq!((dirs.find(b"/s/overlay/aa/diff/x"), dirs.find(b"/s/overlay/aa/merged/x")), (None, None));
    }
}
