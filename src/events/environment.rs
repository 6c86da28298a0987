//! The event `drift_environment`: a dangerous environment that could not be judged when its program was
//! started.

use super::{known, OwnEvent};
use crate::facts::{EarlyEnvironment, Process};
use drift_core::container::identity::Identity;
use drift_core::verdict::environment::EnvNames;
use serde_json::{json, Value};
use std::sync::Arc;

/// Such an environment, judged.
#[derive(Debug)]
pub struct EnvironmentReport {
    /// The environment.
    pub early: EarlyEnvironment,
    /// Names of its variables.
    pub names: EnvNames,
}

impl OwnEvent for EnvironmentReport {
    const NAME: &'static str = "drift_environment";

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
        let texts = |names: &[Box<[u8]>]| {
            names.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect::<Vec<_>>()
        };
        let EnvironmentReport { early, names } = self;
        json!({
            "container_id": early.container.id,
            "image": known(early.container.declaration.reference().as_deref()),
            "env_added": texts(&names.added),
            "env_changed": texts(&names.changed),
            "env_risky": texts(&names.risky),
            "process_cmdline": &*early.command,
            "binary_origin": early.origin.map(|origin| origin.as_str()),
        })
    }
}
