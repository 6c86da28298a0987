//! Mounted secrets and configuration that processes of a container change.

use super::files::EventFile;
use super::Engine;
use crate::event::raw::SyscallEvent;
use crate::facts::{FileNotice, Tampering, Writer};
use drift_core::container::volume::VolumeKind;
use drift_core::verdict::binary::BinaryKey;
use drift_core::verdict::origin::Origin;
use std::sync::Arc;

/// Most changes remembered as told, by container, file, change and command.
pub(super) const MAX_TOLD: usize = 4096;

impl Engine {
    /// Has it told that a process of a container changes a mounted secret or configuration: at once, whatever becomes of the
    /// file, and the same change by the same command once in an interval. The kubelet updates them from outside.
    pub(super) fn note_secret(&mut self, event: &SyscallEvent<'_>, file: &EventFile, writer: &Arc<Writer>) {
        let (Some(mount), Some(path), Some(change)) = (&file.mount, &file.path, file.change) else { return };
        if writer.origin == Some(Origin::Host) || self.background.is_none() {
            return;
        }
        let kind = file.container.live.as_ref().and_then(|live| live.volume_kind(self.judge.host(), mount));
        let Some(volume @ (VolumeKind::Secret | VolumeKind::ConfigMap | VolumeKind::Projected)) = kind else {
            return;
        };
        let interval = u64::try_from(self.config.file_interval.as_nanos()).unwrap_or(u64::MAX);
        let container = BinaryKey::container_key(&file.container.id);
        let what = (path, &file.new_path, change, &*writer.command);
        if !self.tampered.is_new(container, what, event.ts, interval) {
            return;
        }
        let tampering = Tampering {
            container: Arc::clone(&file.container),
            path: path.clone(),
            new_path: file.new_path.clone(),
            change,
            volume,
            writer: Arc::clone(writer),
        };
        if let Some(background) = &self.background {
            background.file_changed(FileNotice::Secret(Box::new(tampering)));
        }
    }
}
