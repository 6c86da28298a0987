//! The event `drift_container`: what was declared of a container, once that is known.

use super::{known, OwnEvent, Payload};
use crate::facts::{can_follow_packages, Process};
use drift_core::container::declared::Declared;
use drift_core::container::identity::Identity;
use drift_core::container::registry::{Container, ImageFacts};
use drift_core::policy::approved::Approval;
use drift_formats::digest::Digest;
use serde_json::{json, Value};
use std::sync::Arc;

/// What was declared of a container, for the event `drift_container`.
#[derive(Debug)]
pub struct ContainerReport {
    /// The container.
    pub container: Arc<Container>,
    /// What was declared.
    pub declared: Arc<Declared>,
    /// Its image.
    pub image: Arc<ImageFacts>,
    /// What the list says of the image; `None` without a list.
    pub approval: Option<Approval>,
    /// Whether the first process runs what was declared; `None` where that is not known.
    pub entrypoint_match: Option<bool>,
    /// A process of the container.
    pub tid: i64,
}

impl OwnEvent for ContainerReport {
    const NAME: &'static str = "drift_container";

    fn tid(&self) -> i64 {
        self.tid
    }

    fn identity(&self) -> Option<Arc<Identity>> {
        self.container.declaration.identity()
    }

    fn process(&self) -> Option<&Process> {
        None
    }

    fn payload(&self) -> Value {
        let digest = |digest: Option<Digest>| digest.map_or("unknown".to_owned(), |d| d.to_string());
        json!({
            "container_id": self.container.id,
            "image": known(self.image.identity.reference.as_deref()),
            "image_id": digest(self.image.identity.id),
            "image_digest": digest(self.image.digest),
            "image_pinned": self.image.pinned,
            "image_approved": self.approval.map(|a| a.as_str()),
            "runtime_overrides": self.declared.overrides,
            "entrypoint_match": self.entrypoint_match,
            "rootfs_readonly": self.container.live.as_ref().map(|l| l.read_only),
            // For replays of the capture: what package managers do to it is told by events of their own.
            "pkg_followed": can_follow_packages(&self.container),
        })
    }
}

/// Of a recording with drift at work: the container, if what package managers did to it is in the recording
/// as well.
pub(crate) fn recorded_as_followed(payload: &Payload) -> Option<&str> {
    let followed = payload.get("pkg_followed").and_then(Value::as_bool);
    payload.get("container_id").and_then(Value::as_str).filter(|_| followed == Some(true))
}

/// Of a recording with drift at work: the container, and who it is.
pub(crate) fn recorded_identity(payload: &Payload) -> Option<(&str, Identity)> {
    let identity = Identity::from_payload(|key| payload.get(key));
    let id = payload.get("container_id").and_then(Value::as_str)?;
    (!identity.is_empty()).then_some((id, identity))
}
