//! Tier 3: package managers in real podman and containerd containers, followed by the shipped plugin in a real, live
//! libsinsp, and judged by the shipped rules.
//!
//! `scenario`: the recorded scenarios and their expected alerts. `managers`: installations with dependencies, by apt, pip,
//! npm and gem. `others`: databases that something else changes, and attempts.

// Helpers of tests: a failure there is a failure of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod managers;
mod others;
mod scenario;

use common::engine_config;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use testkit::alerts::Alert;
use testkit::engine::{Engine, Replay};
use testkit::live::session::Line;
use testkit::live::{self, Container, Facts, Image, Session, Spec};
use testkit::skip::skip;

#[derive(Debug, Clone, Copy)]
enum Runtime {
    Podman,
    Containerd,
}

impl Runtime {
    fn start(self) -> Container {
        let image = Image::packages().unwrap();
        match self {
            Self::Podman => Container::podman(&image).unwrap(),
            Self::Containerd => Container::containerd(&image).unwrap(),
        }
    }

    /// Whether the test can run here; says and counts why not.
    fn usable(self, test: &str) -> bool {
        let tools = match self {
            Self::Podman => live::PODMAN_TOOLS,
            Self::Containerd => live::CONTAINERD_TOOLS,
        };
        let missing = live::missing(&[tools, live::PACKAGE_TOOLS].concat());
        if let Some(why) = &missing {
            skip(test, why);
        }
        missing.is_none()
    }
}

/// The fields read of drift's own events.
const FIELDS: &[&str] = &[
    "drift.container_id",
    "drift.pkg_manager",
    "drift.pkg_action",
    "drift.pkg_names",
    "drift.pkg_effect",
    "drift.pkg_added",
    "drift.pkg_removed",
    "drift.pkg_upgraded",
    "drift.pkg_reinstalled",
    "drift.pkg_command",
    "drift.pkg_ancestors",
    "drift.pkg_uid",
    "drift.binary_provenance",
    "drift.binary_writer",
    "drift.pkg_role",
    "drift.script_path",
    "drift.script_provenance",
    "drift.script_package",
];

/// What a command in a container led to.
#[derive(Debug)]
struct Outcome {
    /// The events `drift_packages`.
    told: Vec<Line>,
    /// Package managers that were started by none that changes packages.
    started: Vec<Line>,
    /// Programs that were started.
    executed: Vec<Line>,
    alerts: Vec<Alert>,
    _dir: tempfile::TempDir,
}

/// How long drift may be silent before it is taken to have told all.
const QUIET: Duration = Duration::from_secs(8);
/// How long all of it may take after the command's end.
const LIMIT: Duration = Duration::from_secs(120);

/// One at a time: what is one transaction depends on pauses, which a loaded machine stretches.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `script` while the engine watches, and evaluates the shipped rules on what it saw.
fn watch(container: &Container, script: &str) -> Outcome {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let library = testkit::plugin_library().unwrap();
    let source = testkit::source_library().unwrap();
    let engine = Engine::sysdig().unwrap();
    let rules_file = testkit::workspace_dir().join("rules/drift_rules.yaml");
    let rules = testkit::rules::load(&rules_file).unwrap();
    // The rules by which the engine asks drift about files, libraries and package managers.
    let asks = ["Drift file watch", "Drift library watch", "Drift package manager changed container"];
    let conditions = rules.iter().filter(|rule| asks.contains(&rule.name.as_str()));
    let conditions: Vec<String> = conditions.map(|rule| format!("({})", rule.filter)).collect();
    assert_eq!(conditions.len(), asks.len());
    let own = "evt.type in (drift_binary, drift_container, drift_file, drift_library, drift_packages)";
    let dir = tempfile::tempdir().unwrap();
    let spec = Spec {
        program: engine.command().iter().map(PathBuf::from).collect(),
        plugin_config: Some(engine_config(dir.path(), &library, "")),
        filter: format!(
            "{own} or (evt.type in (execve, execveat) and evt.rawres = 0) or {}",
            conditions.join(" or ")
        ),
        fields: FIELDS.iter().map(|field| (*field).to_owned()).collect(),
    };
    let script = format!("exec > /vol/.log 2>&1\n{script}");
    let script = container.put("test.sh", script.as_bytes()).unwrap();
    let mut session = Session::start(&spec, &source, &container.table().unwrap()).unwrap();
    let facts = Facts { files: true, ..Facts::default() };
    live::trace(container, &format!("sh {script}"), facts, &mut |event| session.feed(event)).unwrap();
    session.settle(QUIET, LIMIT).unwrap();
    let capture = dir.path().join("told.scap");
    session.write_capture(&capture).unwrap();
    let replay = Replay { plugin: Some(&library), init_config: "", capture: &capture };
    let alerts = testkit::alerts::evaluate(&engine, &replay, &rules_file).unwrap().alerts;
    let of = |kind: &str| {
        let lines = session.lines().iter().filter(|line| line.text("evt.type") == Some(kind));
        lines.cloned().collect::<Vec<Line>>()
    };
    let (told, executed) = (of("drift_packages"), of("execve"));
    let started = executed.iter().filter(|line| line.text("drift.pkg_role") == Some("manager")).cloned();
    let started = started.collect();
    for line in &told {
        assert_eq!(line.text("drift.container_id"), Some(container.id()), "{line:?}");
    }
    // No event is passed over, and none alerts twice.
    let rules = alerts
        .iter()
        .filter(|a| a.rule.starts_with("Drift package ") && a.rule != "Drift package index refreshed");
    assert_eq!(rules.count(), told.len(), "{told:#?}\n{alerts:#?}");
    let log = std::fs::read(container.vol().join(".log")).unwrap_or_default();
    eprintln!("{}", String::from_utf8_lossy(&log));
    Outcome { told, started, executed, alerts, _dir: dir }
}

impl Outcome {
    /// The alerts above INFO, as `rule: manager action names`.
    fn serious(&self) -> Vec<String> {
        let above = |alert: &&Alert| !matches!(alert.priority.as_str(), "Informational" | "Debug");
        let mut all: Vec<String> = self.alerts.iter().filter(above).map(shown).collect();
        all.sort();
        all
    }
}

fn shown(alert: &Alert) -> String {
    match alert.output_fields.get("drift.pkg_manager").filter(|_| alert.rule.contains("ackage")) {
        Some(_) => {
            let words = ["manager", "action", "names"]
                .map(|name| list(&alert.output_fields[&format!("drift.pkg_{name}")]).join(" "));
            format!("{}: {}", alert.rule, words.join(" "))
        }
        None => alert.output.clone(),
    }
}

/// The values of a field.
fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(all) => all.iter().flat_map(list).collect(),
        Value::String(one) => vec![one.clone()],
        Value::Null => Vec::new(),
        other => vec![other.to_string()],
    }
}
