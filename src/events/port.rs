//! The event `drift_port`: an undeclared port that a container opened before it was known what it declares.

use super::{known, OwnEvent};
use crate::facts::{EarlyPort, Process};
use drift_core::container::identity::Identity;
use drift_formats::ports::Ports;
use serde_json::{json, Value};
use std::sync::Arc;

impl OwnEvent for EarlyPort {
    const NAME: &'static str = "drift_port";

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
        let port = Ports { protocol: self.protocol, first: self.port, last: self.port };
        json!({
            "container_id": self.container.id,
            "image": known(self.container.declaration.reference().as_deref()),
            "port": port.to_string(),
            "port_scope": self.scope.as_str(),
            "port_main": self.is_main,
            "port_declared": false,
            "port_new": true,
            "process_cmdline": &*self.command,
            "binary_origin": self.origin.map(|origin| origin.as_str()),
        })
    }
}
