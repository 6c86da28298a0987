//! The event `drift_file`: a verified change of a file.

use super::{known, text, OwnEvent, Payload};
use crate::facts::{Process, Provenance, Writer};
use drift_core::container::identity::Identity;
use drift_core::container::registry::Container;
use drift_core::content::Explained;
use drift_core::verdict::change::Change;
use drift_core::verdict::origin::Origin;
use drift_core::verdict::work::ImageWork;
use drift_formats::entry::ImagePath;
use serde_json::{json, Value};
use std::sync::Arc;

/// A verified change, as the event `drift_file` tells it.
#[derive(Debug, Clone)]
pub struct FileReport {
    /// The container.
    pub container: Arc<Container>,
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
    /// Of a change that was undone, what it was.
    pub was: Option<Change>,
    /// How many files of a directory this stands for; `None`: one file.
    pub count: Option<u64>,
    /// Whether programs run or obey files there.
    pub sensitive: bool,
    /// Who did it last.
    pub writer: Arc<Writer>,
    /// The image's own work that accounts for the change.
    pub work: Option<ImageWork>,
    /// Inode number of the file as it is; `None` when it is gone.
    pub inode: Option<u64>,
    /// When it was looked at, nanoseconds since the epoch.
    pub looked_at: u64,
    /// Whether the package databases say that the package manager at work brought it.
    pub proved: bool,
    /// Drift seen in the container so far, this change included.
    pub drifts: u64,
}

impl OwnEvent for FileReport {
    const NAME: &'static str = "drift_file";

    fn tid(&self) -> i64 {
        self.writer.tid
    }

    fn identity(&self) -> Option<Arc<Identity>> {
        self.container.declaration.identity()
    }

    fn process(&self) -> Option<&Process> {
        Some(&self.writer.process)
    }

    fn payload(&self) -> Value {
        let during = self.writer.during.map(|during| during.manager.as_str());
        json!({
            "container_id": self.container.id,
            "image": known(self.image.as_deref()),
            "file_path": text(&self.path),
            "file_new_path": self.new_path.as_ref().map(text),
            "file_origin": self.origin.as_str(),
            "file_change": self.change.as_str(),
            "file_kind": self.kind,
            "file_package": self.package,
            "file_was": self.was.map(Change::as_str),
            "file_count": self.count,
            "file_sensitive": self.sensitive,
            "file_writer_name": self.writer.process.name.as_deref(),
            "file_writer_parent": self.writer.process.parent.as_deref(),
            "file_writer_uid": self.writer.process.uid,
            "file_content": self.explained.as_ref().map(|e| e.kind),
            "file_content_of": self.explained.as_ref().and_then(|e| e.of.as_ref()).map(text),
            "binary_traits": self.gained,
            "binary_origin": self.writer.origin.map(|o| o.as_str()),
            "binary_writer": &*self.writer.command,
            "file_writer": &*self.writer.command,
            "file_writer_pid": self.writer.pid,
            "file_provenance": self.provenance().to_string(),
            "file_work": self.work.map(|work| work.to_string()),
            "container_drifts": self.drifts,
            "file_during": during.filter(|_| !self.proved),
            "pkg_manager": during.filter(|_| self.proved),
            // Read back by the engine: what is proved here counts when it runs.
            "file_inode": self.inode,
            "file_looked_at": self.looked_at,
        })
    }
}

impl FileReport {
    /// Where the file comes from.
    fn provenance(&self) -> Provenance {
        match (self.change, self.writer.during.filter(|_| self.proved)) {
            // The content is the image's.
            (Change::Metadata | Change::Deleted | Change::Renamed | Change::Reverted | Change::None, _) => {
                Provenance::Image
            }
            (_, Some(during)) => Provenance::Package(during.manager),
            (_, None) => Provenance::Written,
        }
    }
}

/// Of a payload that is read back: the container, the inode, whether a package accounts for the file, and
/// when it was looked at.
pub(crate) fn proof(payload: &Payload) -> Option<(&str, u64, bool, u64)> {
    let text = |key: &str| payload.get(key).and_then(Value::as_str);
    let number = |key: &str| payload.get(key).and_then(Value::as_u64);
    let proved = text("file_provenance").is_some_and(|from| from.starts_with("package:"));
    Some((text("container_id")?, number("file_inode")?, proved, number("file_looked_at")?))
}
