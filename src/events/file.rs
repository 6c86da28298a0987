//! The event `drift_file`: a verified change of a file.

use super::{known, text, OwnEvent};
use crate::facts::{Provenance, Writer};
use drift_core::content::Explained;
use drift_core::verdict::change::Change;
use drift_core::verdict::origin::Origin;
use drift_formats::entry::ImagePath;
use serde_json::{json, Value};
use std::sync::Arc;

/// A verified change, as the event `drift_file` tells it.
#[derive(Debug, Clone)]
pub struct FileReport {
    /// The container's id.
    pub container: Box<str>,
    /// Reference of its image, where known.
    pub image: Option<String>,
    /// Path, links resolved; of a renamed file the old one.
    pub path: ImagePath,
    /// New name of a renamed file.
    pub new_path: Option<ImagePath>,
    /// The change.
    pub change: Change,
    /// What the file is by now: `added`, `image_modified`, `image_touched`, or `image` of one that is gone.
    pub origin: Origin,
    /// Value of `drift.file_kind`.
    pub kind: &'static str,
    /// Package that owns the path in the image.
    pub package: Option<String>,
    /// Where its content comes from all the same: the kind, and the image's file.
    pub explained: Option<Explained>,
    /// Privileges gained: `setuid`, `setgid`, `filecaps`.
    pub gained: Vec<&'static str>,
    /// Who did it last.
    pub writer: Arc<Writer>,
    /// Drift seen in the container so far, this change included.
    pub drifts: u64,
}

impl OwnEvent for FileReport {
    const NAME: &'static str = "drift_file";

    fn tid(&self) -> i64 {
        self.writer.tid
    }

    fn payload(&self) -> Value {
        json!({
            "container_id": self.container,
            "image": known(self.image.as_deref()),
            "file_path": text(&self.path),
            "file_new_path": self.new_path.as_ref().map(text),
            "file_origin": self.origin.as_str(),
            "file_change": self.change.as_str(),
            "file_kind": self.kind,
            "file_package": self.package,
            "file_content": self.explained.as_ref().map(|e| e.kind),
            "file_content_of": self.explained.as_ref().and_then(|e| e.of.as_ref()).map(text),
            "binary_traits": self.gained,
            "binary_origin": self.writer.origin.map(|o| o.as_str()),
            "binary_writer": &*self.writer.command,
            "file_writer": &*self.writer.command,
            "file_writer_pid": self.writer.pid,
            "file_provenance": self.provenance().to_string(),
            "file_work": self.writer.work.map(|work| work.to_string()),
            "container_drifts": self.drifts,
            "pkg_manager": self.writer.manager.map(|manager| manager.as_str()),
        })
    }
}

impl FileReport {
    /// Where the file comes from.
    fn provenance(&self) -> Provenance {
        match (self.change, self.writer.manager) {
            // The content is the image's.
            (Change::Metadata | Change::Deleted | Change::Renamed | Change::None, _) => Provenance::Image,
            (_, Some(manager)) => Provenance::Package(manager),
            (_, None) => Provenance::Written,
        }
    }
}
