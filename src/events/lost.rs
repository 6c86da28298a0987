//! The event `drift_lost`: verdicts that a container has lost, by its own flood or by what cannot be read.

use super::{known, OwnEvent};
use crate::facts::Process;
use drift_core::container::identity::Identity;
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was lost of a container since the last such event.
#[derive(Debug, Clone)]
pub struct LostReport {
    /// The container's id.
    pub container: Box<str>,
    /// Reference of its image, where known.
    pub image: Option<String>,
    /// Who the container is.
    pub identity: Option<Arc<Identity>>,
    /// How many, by what they were to be: `programs`, `files`, `libraries`, `packages`, `ports`, `peers`.
    pub counts: BTreeMap<&'static str, u64>,
}

impl OwnEvent for LostReport {
    const NAME: &'static str = "drift_lost";

    fn tid(&self) -> i64 {
        // Of no thread.
        0
    }

    fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.clone()
    }

    fn process(&self) -> Option<&Process> {
        None
    }

    fn payload(&self) -> Value {
        json!({
            "container_id": self.container,
            "image": known(self.image.as_deref()),
            "lost": self.counts.iter().map(|(what, count)| format!("{what}:{count}")).collect::<Vec<_>>(),
            "lost_count": self.counts.values().sum::<u64>(),
        })
    }
}
