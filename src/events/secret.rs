//! The event `drift_secret`: a change of a mounted secret or configuration.

use super::{known, text, OwnEvent};
use crate::facts::{Process, Tampering};
use drift_core::container::identity::Identity;
use serde_json::{json, Value};
use std::sync::Arc;

impl OwnEvent for Tampering {
    const NAME: &'static str = "drift_secret";

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
        let writer = &self.writer;
        json!({
            "container_id": self.container.id,
            "image": known(self.container.declaration.reference().as_deref()),
            "file_path": text(&self.path),
            "file_new_path": self.new_path.as_ref().map(text),
            "file_change": self.change,
            "volume_kind": self.volume.as_str(),
            "process_cmdline": &*writer.command,
            "binary_origin": writer.origin.map(|origin| origin.as_str()),
        })
    }
}
