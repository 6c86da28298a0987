//! The events `drift_code`, code that a running program took in and that is not the image's, and
//! `drift_injection`, memory of a process that another one opened to write to it.

use super::{known, text, OwnEvent};
use crate::facts::{CodeJob, Injection, Process, Provenance};
use drift_core::container::identity::Identity;
use drift_core::container::volume::VolumeKind;
use drift_core::content::Explained;
use drift_core::verdict::origin::Origin;
use drift_formats::entry::ImagePath;
use serde_json::{json, Value};
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// Code that a running program took in, as the event `drift_code` tells it.
#[derive(Debug, Clone)]
pub struct CodeReport {
    /// What was asked.
    pub job: CodeJob,
    /// Path, links resolved.
    pub path: ImagePath,
    /// Where it comes from.
    pub origin: Origin,
    /// Value of `drift.file_kind`.
    pub kind: &'static str,
    /// What volume it lies on; `None` on the root file system.
    pub volume: Option<VolumeKind>,
    /// Where its content comes from all the same.
    pub explained: Option<Explained>,
    /// Package that owns the path in the image.
    pub package: Option<String>,
    /// The directory that it is one of many files of.
    pub directory: Option<ImagePath>,
    /// How many files of that directory this stands for; `None`: one file.
    pub count: Option<u64>,
}

impl OwnEvent for CodeReport {
    const NAME: &'static str = "drift_code";

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
        let written = job.written.as_ref();
        let provenance = match (self.origin, written) {
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
            "file_kind": self.kind,
            "file_count": self.count,
            "file_package": self.package,
            "file_content": self.explained.as_ref().map(|e| e.kind),
            "file_content_of": self.explained.as_ref().and_then(|e| e.of.as_ref()).map(text),
            "file_writer": written.map(|w| &*w.command),
            "file_provenance": provenance.to_string(),
            "file_during": written.filter(|w| !w.proved).and_then(|w| w.during).map(|d| d.manager.as_str()),
            "file_work": written.and_then(|w| w.work).map(|work| work.to_string()),
            "volume_kind": self.volume.map(|kind| kind.as_str()),
            "binary_origin": job.binary_origin.as_str(),
            "process_cmdline": &*job.command,
            "process_work": job.during.map(|during| format!("package:{}", during.manager.as_str())),
        })
    }
}

impl OwnEvent for Injection {
    const NAME: &'static str = "drift_injection";

    fn tid(&self) -> i64 {
        self.tid
    }

    fn identity(&self) -> Option<Arc<Identity>> {
        self.container.declaration.identity()
    }

    fn process(&self) -> Option<&Process> {
        Some(&self.process)
    }

    fn payload(&self) -> Value {
        json!({
            "container_id": self.container.id,
            "image": known(self.container.declaration.reference().as_deref()),
            "injection": "proc_mem",
            "file_path": text(&self.path),
            "binary_origin": self.binary_origin.map(|origin| origin.as_str()),
            "process_cmdline": &*self.command,
        })
    }
}
