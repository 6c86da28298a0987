//! The event `drift_packages`: what became of a container's packages.

use super::{known, OwnEvent};
use crate::facts::{Agent, Process};
use drift_core::command::manager::Action;
use drift_core::container::identity::Identity;
use drift_core::container::registry::Container;
use serde_json::{json, Value};
use std::sync::Arc;

/// What became of a container's packages, as the event `drift_packages` tells it.
#[derive(Debug)]
pub struct PackageReport {
    /// The container.
    pub container: Arc<Container>,
    /// Who did it.
    pub agent: Arc<Agent>,
    /// What was done.
    pub effect: Effect,
    /// Drift seen in the container so far, these packages included.
    pub drifts: u64,
}

/// What a transaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// `name=version` of packages that are new.
    pub added: Vec<String>,
    /// `name=version` of packages that are gone.
    pub removed: Vec<String>,
    /// `name=old->new` of packages in another version.
    pub upgraded: Vec<String>,
    /// `name=version` of packages that were installed again in the same version.
    pub reinstalled: Vec<String>,
    /// `name=version` of packages of a new virtual environment that came from the image's own wheels.
    pub bundled: Vec<String>,
    /// Where packages of languages have changed: virtual environments, or the directories of the packages.
    pub roots: Vec<String>,
    /// Names of all of them.
    pub names: Vec<String>,
    /// How many there are, those that are not listed too.
    pub(crate) total: u64,
    /// What it comes to.
    pub action: Option<Action>,
    /// Why this may not be all; `None` where it is.
    pub unknown: Option<String>,
}

impl Effect {
    /// Whether it may be more than this.
    pub fn is_incomplete(&self) -> bool {
        self.unknown.is_some()
    }

    /// How many packages are not what they were.
    pub fn changed(&self) -> u64 {
        self.total
    }
}

impl std::fmt::Display for Effect {
    /// The value of `drift.pkg_effect`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.total, &self.unknown) {
            (0, None) if !self.bundled.is_empty() => f.write_str("bundled"),
            (0, None) => f.write_str("none"),
            (0, Some(why)) => write!(f, "unknown:{why}"),
            (_, None) => f.write_str("changed"),
            (_, Some(why)) => write!(f, "partial:{why}"),
        }
    }
}

impl OwnEvent for PackageReport {
    const NAME: &'static str = "drift_packages";

    fn tid(&self) -> i64 {
        self.agent.pid
    }

    fn identity(&self) -> Option<Arc<Identity>> {
        self.container.declaration.identity()
    }

    fn process(&self) -> Option<&Process> {
        Some(&self.agent.process)
    }

    fn payload(&self) -> Value {
        let PackageReport { container, agent, effect, drifts } = self;
        let action = effect.action.or(agent.action.filter(|action| action.changes()));
        // What was done; of an attempt, what was to be.
        let names: Vec<&str> = match effect.names.is_empty() {
            false => effect.names.iter().map(String::as_str).collect(),
            true => agent.names.iter().map(|name| &**name).collect(),
        };
        let (provenance, writer) = agent.provenance.clone().unzip();
        json!({
            "container_id": container.id,
            "container_drifts": drifts,
            "image": known(container.declaration.reference().as_deref()),
            "pkg_manager": agent.manager.map_or("unknown", |manager| manager.as_str()),
            "pkg_action": action.map(|action| action.as_str()),
            "pkg_names": names,
            "pkg_followed": agent.followed || agent.manager.is_none(),
            "pkg_effect": effect.to_string(),
            "pkg_added": effect.added,
            "pkg_removed": effect.removed,
            "pkg_upgraded": effect.upgraded,
            "pkg_reinstalled": effect.reinstalled,
            "pkg_bundled": effect.bundled,
            "pkg_root": effect.roots,
            "pkg_command": (!agent.command.is_empty()).then_some(&*agent.command),
            "pkg_pcommand": agent.parent_command,
            "pkg_ancestors": agent.ancestors,
            "pkg_uid": agent.user,
            "binary_origin": agent.origin.map(|origin| origin.as_str()),
            "binary_provenance": provenance,
            "binary_writer": writer.flatten().map(|writer| writer.chars().take(1024).collect::<String>()),
        })
    }
}
