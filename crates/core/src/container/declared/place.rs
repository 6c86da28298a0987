//! Where a container's runtime keeps what it was told: the bundle, and the root of the engine's storage.
//!
//! Found by the process that runs the container (containerd's shim, conmon), which names the bundle, and by
//! the writable layer's directory, which lies below the storage's root; so roots that somebody moved are
//! found as well. Only then the usual places are tried. Invariant: a process of the container itself is never
//! asked.

use crate::container::declared::spec::Bind;
use crate::container::live::is_member;
use crate::host::Host;
use drift_formats::bytes::nul_separated;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Most ancestors that are looked at.
const MAX_ANCESTORS: usize = 64;

/// Where containerd's bundles are, below its state directory.
pub(crate) const TASKS: &str = "io.containerd.runtime.v2.task";

/// State directories of containerd: its own, Docker's, k3s's and RKE2's, MicroK8s's.
pub(crate) const CONTAINERD_STATE: [&str; 4] = [
    "/run/containerd",
    "/run/docker/containerd/daemon",
    "/run/k3s/containerd",
    "/var/snap/microk8s/common/run/containerd",
];

/// Namespaces of containerd: Kubernetes', Docker's, nerdctl's and ctr's.
const NAMESPACES: [&str; 3] = ["k8s.io", "moby", "default"];

/// Roots of containerd's storage, in the order of [`CONTAINERD_STATE`].
const CONTAINERD_ROOTS: [&str; 4] = [
    "/var/lib/containerd",
    "/var/lib/docker/containerd/daemon",
    "/var/lib/rancher/k3s/agent/containerd",
    "/var/snap/microk8s/common/var/lib/containerd",
];

/// Where to look for one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Directories that may be the bundle, the likeliest first.
    pub bundles: Vec<PathBuf>,
    /// Namespaces of containerd that the container may be in.
    pub namespaces: Vec<String>,
    /// Roots of containerd's storage.
    pub containerd: Vec<PathBuf>,
    /// Data roots of Docker.
    pub docker: Vec<PathBuf>,
    /// Roots of containers/storage, with the name of the storage driver.
    pub storage: Vec<(PathBuf, String)>,
    /// The name that conmon was given for the container.
    pub name: Option<String>,
}

/// Whether an id can be the name of a directory. Ids of containers are short names without a slash
/// ([`crate::container::id`]); one of dots alone would be another directory.
pub fn is_name(id: &str) -> bool {
    !id.is_empty() && !id.contains(['/', '\0']) && !id.bytes().all(|b| b == b'.')
}

/// The places for a container that `pid` is a process of.
pub fn find(host: &Host, id: &str, pid: i64, upper: Option<&[u8]>, storage_roots: &[PathBuf]) -> Places {
    let mut places = Places::default();
    if let Some((line, cwd)) = keeper(host, id, pid) {
        places.add_keeper(&line, cwd.as_deref(), id);
    }
    if let Some(upper) = upper {
        places.add_upper(upper);
    }
    places.add_usual(id, storage_roots);
    places
}

/// Command line and working directory of the process that runs the container: the nearest ancestor outside it
/// that names the container, or a shim, which may have been started for another container of the pod.
fn keeper(host: &Host, id: &str, pid: i64) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let mut at = pid;
    for _ in 0..MAX_ANCESTORS {
        at = host.parent_of(at).filter(|parent| *parent > 1)?;
        if is_member(host, at, id) {
            continue;
        }
        let line = host.command_line(at)?;
        let is_shim = is_shim(&line);
        let names_it = nul_separated(&line).any(|arg| arg == id.as_bytes());
        // runc, while it starts a process in the container, names it as well, and its parent is the one.
        if is_shim || (names_it && argument(&line, &[b"-b", b"--bundle"]).is_some()) {
            return Some((line, host.cwd_of(at)));
        }
    }
    None
}

/// Whether a command line is that of a shim of containerd.
fn is_shim(line: &[u8]) -> bool {
    let program = nul_separated(line).next().unwrap_or_default();
    let name = Path::new(std::ffi::OsStr::from_bytes(program)).file_name();
    name.is_some_and(|name| name.as_bytes().starts_with(b"containerd-shim"))
}

/// Whether a command line is that of a shim of containerd that runs containers of a namespace.
pub(crate) fn is_shim_of(line: &[u8], namespace: &str) -> bool {
    is_shim(line) && argument(line, &[b"-namespace"]) == Some(namespace.as_bytes())
}

/// The argument after the first of these options.
fn argument<'l>(line: &'l [u8], options: &[&[u8]]) -> Option<&'l [u8]> {
    let mut args = nul_separated(line);
    args.find(|arg| options.contains(arg))?;
    args.next()
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

impl Places {
    fn add_keeper(&mut self, line: &[u8], cwd: Option<&[u8]>, id: &str) {
        if let Some(bundle) = argument(line, &[b"-b", b"--bundle"]).filter(|b| b.starts_with(b"/")) {
            self.bundles.push(path(bundle));
        }
        let name = argument(line, &[b"-n", b"--name"]).filter(|_| !self.bundles.is_empty());
        self.name = name.and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned);
        if let Some(namespace) = argument(line, &[b"-namespace"]).and_then(|n| std::str::from_utf8(n).ok()) {
            self.namespaces.push(namespace.to_owned());
            // A shim works in the bundle of the container that it was started for; the pod's others lie
            // beside it.
            let beside = cwd.map(path).and_then(|cwd| cwd.parent().map(Path::to_owned));
            self.bundles.extend(beside.map(|dir| dir.join(id)));
        }
    }

    /// `<root>/io.containerd.snapshotter.v1.overlayfs/snapshots/<n>/fs`, `<root>/overlay2/<layer>/diff`,
    /// `<root>/overlay/<layer>/diff`.
    fn add_upper(&mut self, upper: &[u8]) {
        let upper = path(upper);
        let mut above = upper.ancestors().skip(2);
        let (Some(layers), Some(root)) = (above.next(), above.next()) else { return };
        match layers.file_name().map(OsStrExt::as_bytes) {
            Some(b"snapshots") => self.containerd.extend(root.parent().map(Path::to_owned)),
            Some(b"overlay2") => self.docker.push(root.to_owned()),
            Some(b"overlay") => self.storage.push((root.to_owned(), "overlay".into())),
            _ => {}
        }
    }

    /// Docker mounts files of its own in every container, from `<data root>/containers/<id>/hosts`: the data
    /// root may lie anywhere, and with containerd's image store the layers do not tell where.
    pub(crate) fn add_binds(&mut self, binds: &[Bind]) {
        let Some(root) = binds.iter().find_map(docker_root) else { return };
        self.docker.retain(|known| known != root);
        self.docker.insert(0, root.to_owned());
    }

    fn add_usual(&mut self, id: &str, storage_roots: &[PathBuf]) {
        self.containerd.extend(CONTAINERD_ROOTS.map(PathBuf::from));
        for root in storage_roots {
            let Some(above) = root.parent().map(Path::to_owned) else { continue };
            if root.file_name().is_some_and(|name| name == "overlay2") {
                self.docker.push(above);
            } else {
                self.storage.push((above, "overlay".into()));
            }
        }
        self.docker.push("/var/lib/docker".into());
        let storage = PathBuf::from("/var/lib/containers/storage");
        self.storage.extend(["overlay", "vfs", "btrfs", "zfs"].map(|d| (storage.clone(), d.to_owned())));
        if self.namespaces.is_empty() {
            self.namespaces.extend(NAMESPACES.map(str::to_owned));
        }
        for state in CONTAINERD_STATE {
            let tasks = Path::new(state).join(TASKS);
            self.bundles.extend(self.namespaces.iter().map(|n| tasks.join(n).join(id)));
        }
        let of_storage = |(root, driver): &(PathBuf, String)| {
            root.join(format!("{driver}-containers")).join(id).join("userdata")
        };
        let run = PathBuf::from("/run/containers/storage");
        self.bundles.extend(self.storage.iter().map(of_storage));
        self.bundles.push(of_storage(&(run, "overlay".into())));
        dedup(&mut self.bundles);
        dedup(&mut self.containerd);
        dedup(&mut self.docker);
        dedup(&mut self.storage);
    }
}

/// Docker's data root, by the name of a file that it mounts in containers. Of a container that shares
/// another's network, the id is the other's.
fn docker_root(bind: &Bind) -> Option<&Path> {
    let (dir, file) = bind.source.rsplit_once('/')?;
    let (containers, id) = dir.rsplit_once('/')?;
    let is_id = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let is_own = is_id
        && matches!(file, "hosts" | "hostname" | "resolv.conf")
        && bind.destination.strip_prefix("/etc/") == Some(file);
    containers.strip_suffix("/containers").filter(|root| is_own && root.starts_with('/')).map(Path::new)
}

/// Takes out what was there before.
fn dedup<T: Clone + PartialEq>(list: &mut Vec<T>) {
    let mut kept: Vec<T> = Vec::with_capacity(list.len());
    for item in list.drain(..) {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    *list = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_runs_a_container_names_its_bundle() {
        let mut places = Places::default();
        let shim = b"/usr/bin/containerd-shim-runc-v2\0-namespace\0k8s.io\0-id\0pod\0-address\0/s\0";
        places.add_keeper(shim, Some(b"/run/x/io.containerd.runtime.v2.task/k8s.io/pod"), "c1");
        assert_eq!(places.bundles, [PathBuf::from("/run/x/io.containerd.runtime.v2.task/k8s.io/c1")]);
        assert_eq!(places.namespaces, ["k8s.io"]);
        let mut places = Places::default();
        places.add_keeper(b"conmon\0-c\0c1\0-b\0/store/c1/userdata\0-p\0x\0", Some(b"/"), "c1");
        assert_eq!(places.bundles, [PathBuf::from("/store/c1/userdata")]);
        assert_eq!(places.name, None);
        assert!(places.namespaces.is_empty());
        places.add_keeper(b"conmon\0-c\0c1\0-b\0/store/c1/userdata\0-n\0shop\0", Some(b"/"), "c1");
        assert_eq!(places.name.as_deref(), Some("shop"));
        let mut relative = Places::default();
        relative.add_keeper(b"conmon\0-b\0", Some(b"/"), "c1");
        relative.add_keeper(b"conmon\0-b\0here\0", Some(b"/"), "c1");
        assert!(relative.bundles.is_empty());
    }

    #[test]
    fn the_writable_layer_tells_the_root() {
        let of = |upper: &[u8]| {
            let mut places = Places::default();
            places.add_upper(upper);
            places
        };
        let snapshots = b"/a/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs";
        assert_eq!(of(snapshots).containerd, [PathBuf::from("/a")]);
        assert_eq!(of(b"/data/overlay2/0a/diff").docker, [PathBuf::from("/data")]);
        let storage = of(b"/home/u/.local/share/containers/storage/overlay/0a/diff").storage;
        assert_eq!(
            storage,
            [(PathBuf::from("/home/u/.local/share/containers/storage"), "overlay".to_owned())]
        );
        for other in [&b"/"[..], b"", b"/x/diff", b"/srv/layers/1/diff"] {
            assert_eq!(of(other), Places::default());
        }
    }

    #[test]
    fn dockers_own_files_tell_its_data_root() {
        let id = "0123456789abcdef".repeat(4);
        let of = |binds: &[(&str, &str)]| {
            let mut places =
                Places { docker: vec!["/var/lib/docker".into(), "/d".into()], ..Places::default() };
            let bind = |(source, to): &(&str, &str)| Bind {
                source: (*source).into(),
                destination: (*to).into(),
                read_only: false,
            };
            places.add_binds(&binds.iter().map(bind).collect::<Vec<_>>());
            places.docker.iter().map(|p| p.display().to_string()).collect::<Vec<_>>()
        };
        let file = |root: &str, name: &str| format!("{root}/containers/{id}/{name}");
        assert_eq!(
            of(&[("/v", "/etc"), (&file("/srv/docker", "hosts"), "/etc/hosts")]),
            ["/srv/docker", "/var/lib/docker", "/d"]
        );
        assert_eq!(of(&[(&file("/d", "resolv.conf"), "/etc/resolv.conf")]), ["/d", "/var/lib/docker"]);
        assert_eq!(of(&[(&file("/var/lib/docker", "hostname"), "/etc/hostname")]), ["/var/lib/docker", "/d"]);
        for other in [
            file("/srv", "config.v2.json"),
            file("", "hosts"),
            file("srv", "hosts"),
            "/srv/containers/abc/hosts".to_owned(),
            format!("/srv/storage/overlay-containers/{id}/userdata/hosts"),
            "/etc/hosts".to_owned(),
        ] {
            assert_eq!(of(&[(&other, "/etc/hosts")]), ["/var/lib/docker", "/d"], "{other}");
        }
        assert_eq!(of(&[(&file("/srv", "hosts"), "/vol/hosts")]), ["/var/lib/docker", "/d"]);
    }

    #[test]
    fn the_usual_places_come_last_and_once() {
        let mut places = Places { docker: vec!["/data".into()], ..Places::default() };
        places.add_usual("c1", &["/var/lib/docker/overlay2".into(), "/srv/storage/overlay".into()]);
        assert_eq!(places.docker, [PathBuf::from("/data"), PathBuf::from("/var/lib/docker")]);
        assert!(places.storage.contains(&("/srv/storage".into(), "overlay".into())));
        assert!(places.bundles.contains(&"/run/containerd/io.containerd.runtime.v2.task/k8s.io/c1".into()));
        assert!(places.bundles.contains(&"/srv/storage/overlay-containers/c1/userdata".into()));
    }

    #[test]
    fn ids_that_are_no_names_are_refused() {
        for bad in ["", ".", "..", "a/b", "...", "a\0"] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_name("c1") && is_name(".hidden"));
    }
}
