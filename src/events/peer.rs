//! The event `drift_peer`: an unexpected peer that a container had before its image was known.

use super::{known, OwnEvent};
use crate::facts::{EarlyPeer, Process};
use drift_core::container::identity::Identity;
use drift_core::network::baseline::Shown;
use drift_core::network::Opinion;
use serde_json::{json, Value};
use std::sync::Arc;

/// An unexpected peer, for the event `drift_peer`.
#[derive(Debug)]
pub struct PeerReport {
    /// Whose peer it is.
    pub early: EarlyPeer,
    /// What is thought of it.
    pub opinion: Opinion,
}

impl OwnEvent for PeerReport {
    const NAME: &'static str = "drift_peer";

    fn tid(&self) -> i64 {
        self.early.tid
    }

    fn identity(&self) -> Option<Arc<Identity>> {
        self.early.container.declaration.identity()
    }

    fn process(&self) -> Option<&Process> {
        Some(&self.early.process)
    }

    fn payload(&self) -> Value {
        let peer = &self.early.peer;
        let shown = Shown { address: peer.address, port: peer.port, protocol: Some(peer.protocol) };
        json!({
            "container_id": self.early.container.id,
            "image": known(self.early.container.declaration.reference().as_deref()),
            "peer": shown.to_string(),
            "peer_direction": peer.direction.as_str(),
            "peer_name": peer.name.as_deref(),
            "peer_expected": self.opinion.expected.as_str(),
            "peer_baseline": self.opinion.origin.map(|o| o.as_str()),
            "peer_new": true,
        })
    }
}
