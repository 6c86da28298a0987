//! What lies on a volume, by who can have written it: content that the deployment brought and nobody can
//! change, that was there before the container, or that an image of the pod has.
//!
//! Invariants: an emptyDir's file is the deployment's only if it was last changed before the container
//! started, while the caller watched, and no container that was seen could have changed it (change times are
//! the kernel's); all else is by content, under the same name. No file is read of a volume that may be
//! somebody else's server.

use super::{source_of, Explained, Source};
use crate::container::live::Live;
use crate::container::mounts::Sight;
use crate::container::registry::Container;
use crate::container::volume::{is_of_pod, VolumeKind};
use crate::host::{FoundFile, Host, RootDir};
use drift_formats::entry::ImagePath;
use drift_formats::mountinfo::{is_at_or_below, Mount, MountTable};
use rustix::fs::FileType;
use std::sync::Arc;

/// Most containers with the same volume whose images are searched.
const MAX_OTHERS: usize = 8;

/// A container whose volumes are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The host.
    pub host: &'a Host,
    /// The container.
    pub container: &'a Container,
    /// Its root directory.
    pub root: &'a RootDir,
    /// Since when containers are watched, nanoseconds since the epoch.
    pub since: u64,
    /// Largest file read, bytes.
    pub max: u64,
}

impl Reader<'_> {
    /// Whether a path lies on a volume whose content the deployment brought and nobody in the container can
    /// change.
    pub fn is_declared(host: &Host, live: &Live, path: &ImagePath) -> bool {
        let mounts = live.mounts_now();
        mounts.covering(path.as_bytes()).is_some_and(|mount| {
            live.volume_kind(host, mount).is_some_and(|kind| is_declared_mount(&mounts, mount, kind))
        })
    }

    /// Where the content of a file on a volume comes from; `others` are all containers that are known, and
    /// `keep_going` ends the search of one image.
    pub fn explain<'c>(
        &self,
        path: &ImagePath,
        others: impl Iterator<Item = &'c Arc<Container>>,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Option<Explained> {
        let live = self.container.live.as_ref()?;
        if Self::is_declared(self.host, live, path) {
            return Some(Explained { kind: "declared", of: None });
        }
        let mount = live.mounts_now().covering(path.as_bytes()).cloned()?;
        let kind = live.volume_kind(self.host, &mount)?;
        if !matches!(kind, VolumeKind::EmptyDir | VolumeKind::Tmpfs) {
            return None;
        }
        let sight = live.find(self.host, &self.container.id, live.pid(), self.root, path, false).ok()?;
        let Sight::File(found, _) = sight else { return None };
        // Privileges are never explained by content.
        if found.kind != FileType::RegularFile || found.mode & 0o6000 != 0 || found.has_file_capabilities() {
            return None;
        }
        let sharing: Vec<&Arc<Container>> = match kind {
            VolumeKind::EmptyDir => others
                .filter(|other| other.id != self.container.id && can_have_written(other, &mount, &found))
                .take(MAX_OTHERS + 1)
                .collect(),
            _ => Vec::new(),
        };
        let is_before = live.first_started.is_some_and(|started| found.inode.ctime < started);
        if kind == VolumeKind::EmptyDir && sharing.is_empty() && is_before && found.inode.ctime >= self.since
        {
            return Some(Explained { kind: "declared", of: None });
        }
        let images = std::iter::once(self.container).chain(sharing.into_iter().map(|other| &**other));
        images.take(MAX_OTHERS + 1).filter_map(|container| container.image.as_ref().ok()).find_map(|image| {
            let source = source_of(image, self.root, path, &found, self.max, keep_going)?;
            // Compiled from what lies beside it: a source on a volume is not the image's.
            let counts = !source.is_renamed(path) && !matches!(source, Source::Derived(_));
            counts.then(|| Explained::of(source, path))
        })
    }
}

/// What the kubelet writes is declared; what the node has, only while no mount of the container lets it be
/// changed.
fn is_declared_mount(mounts: &MountTable, mount: &Mount, kind: VolumeKind) -> bool {
    let writable_elsewhere =
        || mounts.iter().any(|m| m.id != mount.id && m.dev == mount.dev && !is_read_only(m));
    match kind {
        VolumeKind::ConfigMap | VolumeKind::Secret | VolumeKind::Projected | VolumeKind::Image => {
            is_read_only(mount)
        }
        VolumeKind::HostPath | VolumeKind::Bind => is_read_only(mount) && !writable_elsewhere(),
        VolumeKind::EmptyDir | VolumeKind::Pvc | VolumeKind::Tmpfs => false,
    }
}

fn is_read_only(mount: &Mount) -> bool {
    mount.read_only || mount.super_read_only
}

/// Whether a container had the volume, writable, when the file was last changed, or since.
fn can_have_written(other: &Container, mount: &Mount, found: &FoundFile) -> bool {
    let Some(live) = &other.live else { return false };
    let has_it = |m: &Mount| {
        // A larger part of the node's disk is an agent's of the node, which could do anything.
        let is_same = is_at_or_below(&m.root, &mount.root)
            || (is_at_or_below(&mount.root, &m.root) && is_of_pod(&m.root));
        m.dev == mount.dev && is_same && !is_read_only(m)
    };
    live.ended_at().is_none_or(|ended| found.inode.ctime <= ended) && live.mounts_now().iter().any(has_it)
}
