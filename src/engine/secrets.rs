//! Mounted secrets and configuration that processes of a container change.

use super::context::Context;
use super::files::EventFile;
use super::recent::RecentlySeen;
use crate::facts::{FileNotice, Tampering, Writer};
use drift_core::container::volume::VolumeKind;
use drift_core::verdict::binary::BinaryKey;
use drift_core::verdict::origin::Origin;
use std::sync::Arc;

/// Most changes noted as reported, by container, file, change and command.
pub(super) const MAX_REPORTED: usize = 4096;

/// Has it reported that a process of a container changes a mounted secret or configuration: at once, whatever
/// becomes of the file, and the same change by the same command once in an interval. The kubelet updates them
/// from outside.
pub(super) fn note(cx: &Context<'_>, file: &EventFile, writer: &Arc<Writer>, reported: &mut RecentlySeen) {
    let (Some(mount), Some(path), Some(change)) = (&file.mount, &file.path, file.change) else { return };
    let Some(workers) = cx.workers().filter(|_| writer.origin != Some(Origin::Host)) else { return };
    let kind = file.container.live.as_ref().and_then(|live| live.volume_kind(cx.host(), mount));
    let Some(volume @ (VolumeKind::Secret | VolumeKind::ConfigMap | VolumeKind::Projected)) = kind else {
        return;
    };
    let interval = u64::try_from(cx.deps.config.file_interval.as_nanos()).unwrap_or(u64::MAX);
    let container = BinaryKey::container_key(&file.container.id);
    let what = (path, &file.new_path, change, &*writer.command);
    if !reported.is_new(container, what, cx.event.ts, interval) {
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
    workers.file_changed(FileNotice::Secret(Box::new(tampering)));
}
