//! Where the content of a drifted program or script comes from all the same: the image, or the deployment.
//!
//! Asked only of what drifted. Bounded on the event thread: files up to `compare.inline_max`, and the few of the image
//! that have the same size. An answer is cached for the very state of the file.

use super::{Engine, ThreadReader};
use crate::event::raw::SyscallEvent;
use drift_core::container::live::Live;
use drift_core::container::registry::Container;
use drift_core::container::volume::VolumeKind;
use drift_core::content::{source_of, Explained};
use drift_core::host::{ExeFlags, InodeId};
use drift_core::verdict::binary::BinaryKey;
use drift_core::verdict::judge::Judgement;
use drift_core::verdict::origin::Origin;
use drift_formats::entry::ImagePath;
use drift_formats::mountinfo::{Mount, MountTable};
use std::sync::Arc;

/// Most answers cached.
pub(super) const MAX_CACHED: usize = 2048;

impl Engine {
    /// Where the content of the process's drifted executable comes from.
    pub fn binary_content(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<Arc<Explained>> {
        let binary = self.binary(event, reader)?;
        let (container, pid) = self.container_of(event, reader)?;
        self.explain(&container, pid, &binary.judgement)
    }

    /// As [`Engine::binary_content`], of its script.
    pub fn script_content(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<Arc<Explained>> {
        let script = self.script(event, reader)?;
        let (container, pid) = self.container_of(event, reader)?;
        self.explain(&container, pid, &script.judgement)
    }

    fn container_of(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<(Arc<Container>, i64)> {
        let state = self.thread(event, reader)?;
        Some((state.container.clone()?, state.pid))
    }

    fn explain(&mut self, container: &Container, pid: i64, judgement: &Judgement) -> Option<Arc<Explained>> {
        let on_root = matches!(judgement.origin, Origin::Added | Origin::ImageModified);
        let on_volume = matches!(judgement.origin, Origin::Volume | Origin::Tmpfs);
        if !on_root && !on_volume {
            return None;
        }
        let (live, path) = (container.live.as_ref()?, judgement.path.as_ref()?);
        let root = live.root(self.judge.host(), &[pid])?;
        if on_volume && is_declared(self.judge.host(), live, path) {
            return Some(Arc::new(Explained { kind: "declared", of: None }));
        }
        let found = root.find_itself(path.as_bytes()).ok()?;
        if found.size > self.config.inline_max || found.mode & 0o6000 != 0 {
            return None;
        }
        let state = InodeId { ino: found.inode.ino, ..found.inode };
        let key = BinaryKey::new(&container.id, path.as_bytes(), state, ExeFlags::default());
        if let Some(known) = self.contents.get(&key) {
            return known.clone();
        }
        let image = container.image.as_ref().ok()?;
        let source = source_of(image, &root, path, &found, self.config.inline_max, &mut || true);
        let explained = source.map(|source| Arc::new(Explained::of(source, path)));
        // Nothing is known of the content before the layers' files are listed: asked again then.
        if explained.is_some() || image.layers().iter().all(|layer| layer.catalog().is_some()) {
            self.contents.put(key, explained.clone());
        }
        explained
    }
}

/// Whether a path lies on a volume whose content the deployment brought and nobody in the container can change.
fn is_declared(host: &drift_core::host::Host, live: &Live, path: &ImagePath) -> bool {
    let mounts = live.mounts_now();
    mounts.covering(path.as_bytes()).is_some_and(|mount| {
        live.volume_kind(host, mount).is_some_and(|kind| is_declared_mount(&mounts, mount, kind))
    })
}

/// What the kubelet writes is declared; what the node has, only while no mount of the container lets it be changed.
fn is_declared_mount(mounts: &MountTable, mount: &Mount, kind: VolumeKind) -> bool {
    let read_only = mount.read_only || mount.super_read_only;
    let writable_elsewhere = || {
        mounts.iter().any(|m| m.id != mount.id && m.dev == mount.dev && !m.read_only && !m.super_read_only)
    };
    match kind {
        VolumeKind::ConfigMap | VolumeKind::Secret | VolumeKind::Projected | VolumeKind::Image => read_only,
        VolumeKind::HostPath | VolumeKind::Bind => read_only && !writable_elsewhere(),
        VolumeKind::EmptyDir | VolumeKind::Pvc | VolumeKind::Tmpfs => false,
    }
}
