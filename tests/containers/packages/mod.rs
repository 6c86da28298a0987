//! Tier 3: package managers in real podman and containerd containers, followed by the shipped plugin in a
//! real, live libsinsp, and judged by the shipped rules.
//!
//! `scenario`: the recorded scenarios and their expected alerts. `managers`: installations with dependencies,
//! by apt, pip, npm and gem. `others`: databases that something else changes, and attempts.

mod managers;
mod others;
mod scenario;

use crate::live::{condition, run, Watch};
use serde_json::Value;
use std::time::Duration;
use testkit::alerts::Alert;
use testkit::live::session::Line;
use testkit::live::{self, Container, Facts, Image, Runtime};

/// A container; `None`, said and counted, where the test cannot run.
fn start(test: &str, runtime: Runtime) -> Option<Container> {
    let usable = runtime.usable(test, live::PACKAGE_TOOLS);
    usable.then(|| runtime.start(&Image::packages().unwrap()).unwrap())
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
}

/// How long drift may be silent before it is taken to have told all.
const QUIET: Duration = Duration::from_secs(8);
/// How long all of it may take after the command's end.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs `script` while the engine watches, and evaluates the shipped rules on what it saw.
fn watch(container: &Container, script: &str) -> Outcome {
    // The rules by which the engine asks drift about files, libraries and package managers.
    let asks = ["Drift internal: file watch", "Drift package manager changed container"];
    let asks = asks.map(|rule| format!("({})", condition(rule))).join(" or ");
    let own = "evt.type in (drift_binary, drift_container, drift_file, drift_library, drift_packages)";
    let filter = format!("{own} or (evt.type in (execve, execveat) and evt.rawres = 0) or {asks}");
    let script = format!("exec > /vol/.log 2>&1\n{script}");
    let script = container.put("test.sh", script.as_bytes()).unwrap();
    let watch = Watch { filter: &filter, fields: FIELDS, quiet: QUIET, limit: LIMIT };
    let seen = watch.over(container, |session| {
        let facts = Facts { files: true, ..Facts::default() };
        // The recording says at its start that ends are told, as that of a container does which has run for a
        // moment: where it does not, its replay tells starts.
        run(container, "true", facts, &mut [session]);
        session.wait_for("drift_container", LIMIT).unwrap();
        run(container, &format!("sh {script}"), facts, &mut [session]);
    });
    let alerts = seen.alerts;
    let of = |kind: &str| {
        let lines = seen.lines.iter().filter(|line| line.text("evt.type") == Some(kind));
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
        .filter(|a| a.rule.starts_with("Drift package ") && a.rule != "Drift package index refreshed")
        // Of the command line, not of what it did.
        .filter(|a| a.rule != "Drift package manager with hooks");
    assert_eq!(rules.count(), told.len(), "{told:#?}\n{alerts:#?}");
    let log = std::fs::read(container.vol().join(".log")).unwrap_or_default();
    eprintln!("{}", String::from_utf8_lossy(&log));
    Outcome { told, started, executed, alerts }
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
        // Its output has no package manager: there is none.
        None if alert.rule == "Drift package database changed by another program" => {
            let added = list(&alert.output_fields["drift.pkg_added"]);
            let names: Vec<&str> = added.iter().filter_map(|package| package.split('=').next()).collect();
            format!("{}: unknown install {}", alert.rule, names.join(" "))
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
