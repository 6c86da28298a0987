//! The event `drift_binary`: the final verdict on an executable.

use super::{known, text, OwnEvent};
use crate::facts::Process;
use drift_core::container::identity::Identity;
use drift_core::verdict::binary::BinaryKey;
use drift_core::verdict::origin::Origin;
use drift_formats::bytes::hex;
use drift_formats::entry::ImagePath;
use serde_json::{json, Value};
use std::sync::Arc;

/// What a comparison, or the hashing, of an executable came to.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Whose verdict it is.
    pub key: BinaryKey,
    /// The container's id.
    pub container: Box<str>,
    /// Reference of its image, where known.
    pub image: Option<String>,
    /// Who the container is.
    pub identity: Option<Arc<Identity>>,
    /// Path compared; `None` where the file was hashed only.
    pub path: Option<ImagePath>,
    /// The final origin; `None` where the file was hashed only.
    pub origin: Option<Origin>,
    /// Image layer that has the path, as users see it.
    pub layer: Option<String>,
    /// Package that owns the path in the image, where known.
    pub package: Option<String>,
    /// Whether it could not be done, several times. The origin is `image_unverified` then.
    pub failed: bool,
    /// SHA-256 of the content.
    pub sha256: Option<[u8; 32]>,
    /// Thread whose event asked.
    pub tid: i64,
    /// Its process.
    pub process: Arc<Process>,
}

impl OwnEvent for Finding {
    const NAME: &'static str = "drift_binary";

    fn tid(&self) -> i64 {
        self.tid
    }

    fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.clone()
    }

    fn process(&self) -> Option<&Process> {
        Some(&self.process)
    }

    fn payload(&self) -> Value {
        json!({
            "container_id": self.container,
            "image": known(self.image.as_deref()),
            "binary_origin": self.origin.map(|o| o.as_str()),
            "binary_layer": self.layer,
            "binary_package": self.package,
            "binary_sha256": self.sha256.as_ref().map(|d| hex(d)),
            "file_path": self.path.as_ref().map(text),
        })
    }
}
