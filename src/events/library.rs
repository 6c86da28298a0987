//! The event `drift_library`: a loaded library that is not the image's.

use super::{known, text, OwnEvent};
use crate::facts::{LibraryJob, Process, Provenance};
use drift_core::container::identity::Identity;
use drift_core::container::volume::VolumeKind;
use drift_core::content::Explained;
use drift_core::verdict::origin::Origin;
use drift_formats::entry::ImagePath;
use serde_json::{json, Value};
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// A loaded library that is not the image's, as the event `drift_library` tells it.
#[derive(Debug)]
pub struct LibraryReport {
    /// What was asked.
    pub job: LibraryJob,
    /// Path, links resolved.
    pub path: ImagePath,
    /// Where it comes from.
    pub origin: Origin,
    /// What volume it lies on; `None` on the root file system.
    pub volume: Option<VolumeKind>,
    /// Where its content comes from all the same.
    pub explained: Option<Explained>,
    /// Package that owns the path in the image.
    pub package: Option<String>,
}

impl OwnEvent for LibraryReport {
    const NAME: &'static str = "drift_library";

    fn tid(&self) -> i64 {
        self.job.tid
    }

    fn identity(&self) -> Option<Arc<Identity>> {
        self.job.container.declaration.identity()
    }

    fn process(&self) -> Option<&Process> {
        Some(&self.job.process)
    }

    fn payload(&self) -> Value {
        let job = &self.job;
        let provenance = match (self.origin, &job.written) {
            (Origin::Memfd | Origin::Detached, _) => Provenance::Memory,
            (Origin::Volume | Origin::Tmpfs, _) => Provenance::Volume,
            (_, Some(written)) => written.provenance(),
            (_, None) => Provenance::Unknown,
        };
        json!({
            "container_id": job.container.id,
            "image": known(job.container.declaration.reference().as_deref()),
            "container_drifts": job.container.drifts.load(Ordering::Relaxed),
            "file_path": text(&self.path),
            "file_origin": self.origin.as_str(),
            "file_kind": "elf_shared",
            "file_package": self.package,
            "file_content": self.explained.as_ref().map(|e| e.kind),
            "file_content_of": self.explained.as_ref().and_then(|e| e.of.as_ref()).map(text),
            "file_writer": job.written.as_ref().map(|w| &*w.command),
            "file_provenance": provenance.to_string(),
            "file_during": job.written.as_ref().filter(|w| !w.proved).and_then(|w| w.during).map(|d| d.manager.as_str()),
            "file_work": job.written.as_ref().and_then(|w| w.work).map(|work| work.to_string()),
            "volume_kind": self.volume.map(|kind| kind.as_str()),
            "binary_origin": job.binary_origin.map(|o| o.as_str()),
            "process_cmdline": &*job.command,
        })
    }
}
