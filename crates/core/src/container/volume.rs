//! What kind of volume a mount in a container is.
//!
//! The only trustworthy sign is where the mounted directory lives on the host: kubelet and the container
//! engines each use a layout of their own. A bind mount tells that in its `root`; a mount of a whole file
//! system (a secret's tmpfs, a CSI volume) has `root` `/`, and is looked up in PID 1's table by its device
//! number. What a container does to its own mount points changes neither.
//!
//! Invariant: [`Volumes::kind`] is `None` for the container's root file system, for kernel file systems and
//! for what a runtime masks or binds from the root itself, so that a path on these is not said to lie on a
//! volume.

use drift_formats::mountinfo::{is_at_or_below, Mount, MountTable};
use drift_formats::overlay_options::OverlayLayers;
use std::fmt;

/// The kind of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VolumeKind {
    /// A Kubernetes Secret; a secret of podman or Docker Swarm.
    Secret,
    /// A Kubernetes ConfigMap.
    ConfigMap,
    /// A Kubernetes projected volume (service account tokens among them) or the downward API.
    Projected,
    /// A Kubernetes emptyDir, on disk or in memory.
    EmptyDir,
    /// In a pod: a directory or file of the node.
    HostPath,
    /// A Kubernetes volume with storage behind it (CSI, NFS, local, a cloud's disk).
    Pvc,
    /// Another image's content mounted as a volume.
    Image,
    /// A tmpfs that the container alone has.
    Tmpfs,
    /// Outside Kubernetes a directory or file of the host, a named or anonymous volume; and files that the
    /// engine itself provides (`/etc/hosts`, `/etc/resolv.conf`), in a pod as well.
    Bind,
}

impl VolumeKind {
    /// The value of the field `drift.volume_kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::ConfigMap => "configmap",
            Self::Projected => "projected",
            Self::EmptyDir => "emptydir",
            Self::HostPath => "hostpath",
            Self::Pvc => "pvc",
            Self::Image => "image",
            Self::Tmpfs => "tmpfs",
            Self::Bind => "bind",
        }
    }
}

impl fmt::Display for VolumeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tells the volumes of one container.
#[derive(Debug, Clone)]
pub struct Volumes<'a> {
    container: &'a MountTable,
    host: Option<&'a MountTable>,
    pod_uid: Option<Vec<u8>>,
    in_pod: bool,
}

/// File systems of the kernel: no volume, whatever is in them.
const KERNEL: [&[u8]; 20] = [
    b"proc",
    b"sysfs",
    b"devpts",
    b"mqueue",
    b"cgroup",
    b"cgroup2",
    b"devtmpfs",
    b"debugfs",
    b"tracefs",
    b"securityfs",
    b"bpf",
    b"pstore",
    b"configfs",
    b"fusectl",
    b"binfmt_misc",
    b"nsfs",
    b"selinuxfs",
    b"efivarfs",
    b"rpc_pipefs",
    b"autofs",
];

impl<'a> Volumes<'a> {
    /// Looks at a container's mounts, with those of the host's PID 1 where they can be read.
    ///
    /// Without the host's table a volume that is a file system of its own (a memory-backed secret, a CSI
    /// volume) cannot be told from another and comes out as `tmpfs`, `bind` or `hostpath`.
    pub fn new(container: &'a MountTable, host: Option<&'a MountTable>) -> Self {
        // kubelet gives every container a /etc/hosts and a termination log from the pod's own directory.
        let pod_uid = container.iter().find_map(|mount| {
            let pod = PodPath::find(&mount.root)?;
            let own = (pod.rest == b"etc-hosts" && mount.mount_point == b"/etc/hosts")
                || pod.rest.starts_with(b"containers/");
            own.then(|| pod.uid.to_vec())
        });
        Self { container, host, in_pod: pod_uid.is_some(), pod_uid }
    }

    /// Says that the container belongs to a pod, where that is known from elsewhere (`/kubepods` in its
    /// cgroup).
    pub fn in_pod(mut self) -> Self {
        self.in_pod = true;
        self
    }

    /// The kind of volume that this mount of the container is; `None` where it is none.
    ///
    /// [`VolumeKind::Image`] is what the names of layers say, which are the words of whoever mounted it.
    pub fn kind(&self, mount: &Mount) -> Option<VolumeKind> {
        let by_names = || {
            let in_store = self.origins(mount).iter().any(|path| is_image_store(path));
            in_store || self.is_image_overlay(mount)
        };
        match self.kind_unless_image(mount)? {
            VolumeKind::Bind | VolumeKind::HostPath | VolumeKind::Tmpfs if by_names() => {
                Some(VolumeKind::Image)
            }
            kind => Some(kind),
        }
    }

    /// As [`Volumes::kind`], of a mount that is no image's.
    pub(crate) fn kind_unless_image(&self, mount: &Mount) -> Option<VolumeKind> {
        if KERNEL.contains(&mount.fstype.as_slice()) || self.is_own(mount) {
            return None;
        }
        let origins = self.origins(mount);
        let memory = is_memory(mount);
        let whole = mount.root == b"/";
        if let Some(kind) = origins.iter().find_map(|path| self.kubelet(path)) {
            return Some(kind);
        }
        if let Some(state) = origins.iter().find_map(|path| EngineState::of(path)) {
            return Some(match state {
                EngineState::Secret => VolumeKind::Secret,
                // The engine mounts a container's /dev/shm on the host and binds it.
                EngineState::Other if memory && whole => VolumeKind::Tmpfs,
                EngineState::Other => VolumeKind::Bind,
            });
        }
        if memory && whole && origins.len() == 1 {
            // A pod's service account token, seen without the host's table.
            let token =
                self.host.is_none() && mount.mount_point.ends_with(b"/secrets/kubernetes.io/serviceaccount");
            return Some(if token { VolumeKind::Projected } else { VolumeKind::Tmpfs });
        }
        Some(if self.in_pod { VolumeKind::HostPath } else { VolumeKind::Bind })
    }

    /// The mount is the container's root, its /dev, made of either, or one of those that hide parts of /proc
    /// and /sys.
    fn is_own(&self, mount: &Mount) -> bool {
        let at = mount.mount_point.as_slice();
        if at == b"/" || (at == b"/dev" && is_memory(mount)) || at == b"/sys/fs/cgroup" {
            return true;
        }
        // What hides is read-only, or /dev/null (below). A writable mount here is not a runtime's doing.
        if mount.read_only && (is_at_or_below(at, b"/proc") || is_at_or_below(at, b"/sys")) {
            return true;
        }
        let part_of = |other: &Mount| other.dev == mount.dev && is_at_or_below(&mount.root, &other.root);
        let of_root = self.container.root().is_some_and(part_of);
        let of_dev = self.container.iter().any(|m| m.mount_point == b"/dev" && is_memory(m) && part_of(m));
        of_root || of_dev
    }

    /// The paths under which what is mounted can be reached on the host, and first the path inside its file
    /// system.
    fn origins(&self, mount: &Mount) -> Vec<Vec<u8>> {
        let mut paths = vec![mount.root.clone()];
        let Some(host) = self.host else { return paths };
        for there in host.iter().filter(|h| h.dev == mount.dev && is_at_or_below(&mount.root, &h.root)) {
            let below = if there.root == b"/" {
                Some(&mount.root[..])
            } else {
                mount.root.strip_prefix(&there.root[..])
            };
            let mut path = there.mount_point.clone();
            match below {
                Some(b"/" | b"") | None => {}
                // The mount point of `/` ends with the slash that the rest begins with.
                Some(rest) if path == b"/" => path = rest.to_vec(),
                Some(rest) => path.extend_from_slice(rest),
            }
            paths.push(path);
        }
        paths
    }

    /// What kubelet's layout says: `<root>/pods/<uid>/volumes/<plugin>/<name>`, `.../etc-hosts`,
    /// `.../containers/<name>/<n>`.
    fn kubelet(&self, path: &[u8]) -> Option<VolumeKind> {
        let pod = PodPath::find(path)?;
        // Another pod's directory, reached through a hostPath volume, is a directory of the host.
        if self.pod_uid.as_deref().is_some_and(|own| own != pod.uid) {
            return None;
        }
        if pod.rest == b"etc-hosts" || pod.rest.starts_with(b"containers/") {
            return Some(VolumeKind::Bind);
        }
        let volume = pod.rest.strip_prefix(b"volumes/")?;
        let plugin = volume.split(|b| *b == b'/').next()?;
        Some(match plugin {
            b"kubernetes.io~secret" => VolumeKind::Secret,
            b"kubernetes.io~configmap" => VolumeKind::ConfigMap,
            b"kubernetes.io~projected" | b"kubernetes.io~downward-api" => VolumeKind::Projected,
            b"kubernetes.io~empty-dir" | b"kubernetes.io~git-repo" => VolumeKind::EmptyDir,
            b"kubernetes.io~host-path" => VolumeKind::HostPath,
            // All others are storage: `kubernetes.io~csi`, `kubernetes.io~nfs`, a vendor's `vendor~driver`.
            other if other.contains(&b'~') => VolumeKind::Pvc,
            _ => return None,
        })
    }

    /// An overlay that is not the container's root: an image mounted as a volume (podman's `type=image`,
    /// Kubernetes' `image`).
    ///
    /// Not so where the host's own root is that overlay (a node that is itself a container), nor for podman's
    /// `:O` volumes, whose lower layer is a directory of the host.
    fn is_image_overlay(&self, mount: &Mount) -> bool {
        if mount.fstype == b"fuse.fuse-overlayfs" {
            return true;
        }
        let of_host = self.host.and_then(MountTable::root).is_some_and(|root| root.dev == mount.dev);
        if mount.fstype != b"overlay" || of_host {
            return false;
        }
        match OverlayLayers::parse(&mount.super_options) {
            Ok(layers) => layers.lower.iter().any(|l| l.is_relative() || is_image_store(l.as_bytes())),
            Err(_) => true,
        }
    }
}

/// Whether a directory of the host is a volume of one pod, or lies in one.
pub fn is_of_pod(path: &[u8]) -> bool {
    PodPath::find(path).is_some_and(|pod| pod.rest.starts_with(b"volumes/"))
}

/// Whether a directory or file of the host is one that kubelet or an engine keeps for containers: a volume,
/// or what it provides itself (`/etc/hosts`).
pub(crate) fn is_kept_for_containers(path: &[u8]) -> bool {
    let of_pod = PodPath::find(path).is_some_and(|pod| {
        let volume =
            pod.rest.starts_with(b"volumes/") && !pod.rest.starts_with(b"volumes/kubernetes.io~host-path/");
        let other = [&b"containers/"[..], b"volume-subpaths/"].iter().any(|d| pod.rest.starts_with(d));
        volume || other || pod.rest == b"etc-hosts"
    });
    let named = path.ends_with(b"/_data") && after(path, b"/volumes/").is_some();
    of_pod || named || EngineState::of(path).is_some()
}

/// Programs that engines put before the command line with `--init`, from the host (moby
/// `daemon/oci_linux.go`, podman `libpod/container_internal_linux.go`).
pub(crate) const INIT_PROGRAMS: [&str; 3] = ["/sbin/docker-init", "/run/podman-init", "/dev/init"];

/// The same, where a merged `/usr` has them.
const INIT_MERGED: [&str; 2] = ["/usr/sbin/docker-init", "/usr/bin/docker-init"];

/// Whether a mount is such a program. It says so of a container's first process alone: others could have made
/// themselves a mount of that name, in a namespace of their own.
pub(crate) fn is_engines_init(mount: &Mount) -> bool {
    let mut names = INIT_PROGRAMS.iter().chain(&INIT_MERGED);
    mount.read_only && names.any(|name| name.as_bytes() == mount.mount_point)
}

fn is_memory(mount: &Mount) -> bool {
    matches!(mount.fstype.as_slice(), b"tmpfs" | b"ramfs")
}

/// A path in kubelet's directory of one pod.
struct PodPath<'a> {
    uid: &'a [u8],
    rest: &'a [u8],
}

impl<'a> PodPath<'a> {
    /// Finds `/pods/<uid>/<rest>`. kubelet's root directory is configurable, and on a partition of its own it
    /// does not show.
    fn find(path: &'a [u8]) -> Option<Self> {
        let after = after(path, b"/pods/")?;
        let slash = after.iter().position(|b| *b == b'/')?;
        let (uid, rest) = (after.get(..slash)?, after.get(slash + 1..)?);
        // A UUID, or for a static pod the MD5 of its file.
        let plain = uid.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
        (matches!(uid.len(), 32 | 36) && plain).then_some(Self { uid, rest })
    }
}

/// Files that an engine keeps for one container.
enum EngineState {
    Secret,
    Other,
}

impl EngineState {
    /// containerd CRI: `.../io.containerd.grpc.v1.cri/{sandboxes,containers}/<id>/...`; podman and CRI-O:
    /// `.../overlay-containers/<id>/userdata/...`; Docker:
    /// `.../containers/<id>/{hostname,hosts,resolv.conf,mounts/...}`.
    fn of(path: &[u8]) -> Option<Self> {
        let component = |name: &[u8]| path.split(|b| *b == b'/').any(|c| c == name);
        let cri =
            path.split(|b| *b == b'/').any(|c| c.starts_with(b"io.containerd.") && c.ends_with(b".cri"));
        if cri && (component(b"sandboxes") || component(b"containers")) {
            return Some(Self::Other);
        }
        if let Some(rest) = after_engine_id(path, b"-containers/").and_then(|r| r.strip_prefix(b"userdata/"))
        {
            let secret = rest == b"secrets" || rest.starts_with(b"secrets/");
            return Some(if secret { Self::Secret } else { Self::Other });
        }
        match after_engine_id(path, b"/containers/")? {
            b"hostname" | b"hosts" | b"resolv.conf" => Some(Self::Other),
            rest if rest.starts_with(b"mounts/secrets") => Some(Self::Secret),
            rest if rest.starts_with(b"mounts/") => Some(Self::Other),
            _ => None,
        }
    }
}

/// What follows `<marker><64 hex digits>/`.
fn after_engine_id<'a>(path: &'a [u8], marker: &[u8]) -> Option<&'a [u8]> {
    let rest = after(path, marker)?;
    let id = rest.get(..64)?;
    id.iter().all(u8::is_ascii_hexdigit).then_some(())?;
    rest.get(64..)?.strip_prefix(b"/")
}

/// What follows the first `marker`.
fn after<'a>(path: &'a [u8], marker: &[u8]) -> Option<&'a [u8]> {
    let at = path.windows(marker.len()).position(|w| w == marker)?;
    path.get(at + marker.len()..)
}

/// The path lies in a layer of an image: `.../overlay/<id>/diff`, `.../overlay2/<id>/merged`,
/// `.../overlay/l/<name>`, containerd's `.../snapshots/<n>/fs`.
pub(super) fn is_image_store(path: &[u8]) -> bool {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    parts.windows(3).any(|three| match three {
        [b"overlay" | b"overlay2", b"l", _] => true,
        [b"overlay" | b"overlay2", id, b"diff" | b"merged"] => id.len() >= 64,
        [b"snapshots", n, b"fs"] => !n.is_empty() && n.iter().all(u8::is_ascii_digit),
        _ => false,
    })
}

#[cfg(test)]
#[path = "volume_tests.rs"]
mod tests;
