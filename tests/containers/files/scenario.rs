//! The scenarios of `captures/scenarios/file.sh`, each with the alert that is due.

use super::{start, watch, Outcome};
use serde_json::Value;
use std::path::Path;
use testkit::engine::{Engine, Replay};
use testkit::expected::{captures, expected};
use testkit::live::Runtime;

/// One row of `expected/file.tsv`.
#[derive(Debug)]
struct Row {
    scenario: String,
    /// `None` where nothing is changed.
    alert: Option<bool>,
    path: String,
    change: String,
    /// The other name of a rename.
    new_path: Option<String>,
}

fn rows(captures: &Path) -> Vec<Row> {
    expected(captures, "file", |cells| {
        let to = cells.get(4).and_then(|what| what.strip_prefix("to "));
        Row {
            scenario: cells[0].to_owned(),
            alert: (cells[1] != "-").then(|| cells[1] == "1"),
            path: cells[2].to_owned(),
            change: cells[3].to_owned(),
            new_path: to.filter(|_| cells[3] == "renamed").map(str::to_owned),
        }
    })
}

#[test]
fn podman_every_scenario() {
    let _turn = crate::turns::take(module_path!());
    run("live files: podman, scenarios", Runtime::Podman);
}

#[test]
fn containerd_every_scenario() {
    let _turn = crate::turns::take(module_path!());
    run("live files: containerd, scenarios", Runtime::Containerd);
}

fn run(test: &str, runtime: Runtime) {
    let Some(captures) = captures(test) else { return };
    let Some(container) = start(test, runtime) else { return };
    let script = std::fs::read(captures.join("scenarios/file.sh")).unwrap();
    let script = container.put("file.sh", &script).unwrap();
    let outcome = watch(&container, &format!("sh {script}"));
    let wrong = compare(&rows(&captures), &outcome);
    assert!(wrong.is_empty(), "{wrong:#?}\nall that was told:\n{}", listed(&outcome));
    as_recorded(&captures, &outcome);
}

/// The tracer's events are those that the real probe recorded of the same script on Debian 12.
fn as_recorded(captures: &Path, outcome: &Outcome) {
    let release = std::fs::read_to_string("/etc/os-release").unwrap();
    if !release.lines().any(|line| line == "VERSION_CODENAME=bookworm") {
        return; // other versions of the programs make other calls
    }
    let recorded = calls(&captures.join("file.scap"));
    let told = calls(outcome.capture());
    assert!(recorded.len() >= 40, "{recorded:#?}");
    let first = recorded.iter().zip(&told).find(|(recorded, told)| recorded != told);
    assert_eq!(first, None, "recorded and told");
    assert_eq!(recorded.len(), told.len());
}

/// The calls of a capture that name a file of the scenarios, without what differs from one machine to the
/// next.
fn calls(capture: &Path) -> Vec<String> {
    let engine = Engine::sysdig().unwrap();
    let replay = Replay { plugin: None, init_config: "", capture };
    let calls = "not evt.type in (execve, clone, vfork, clone3, prlimit, mount)";
    // What lies on a volume, or is only there with some runtimes (/etc/hostname), differs.
    let others = "not (evt.args contains drift_file or evt.args contains /vol/ or evt.args contains fil-19)";
    let filter = format!("{calls} and evt.args contains fil- and {others}");
    let fields = ["proc.name", "evt.type", "evt.args"];
    let differs = ["dev=", "ino=", "addr=", "vm_size=", "vm_rss=", "vm_swap="];
    let event = |event: &testkit::engine::Event| {
        let words = fields.map(|field| event.text(field).unwrap().unwrap_or_default()).join(" ");
        let same = words.split(' ').filter(|word| !differs.iter().any(|name| word.starts_with(name)));
        same.collect::<Vec<_>>().join(" ")
    };
    engine.replay(&replay, &filter, &fields).unwrap().events.iter().map(event).collect()
}

fn compare(rows: &[Row], outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let field = |alert: &testkit::alerts::Alert, name: &str| {
        alert.output_fields.get(name).and_then(Value::as_str).map(str::to_owned)
    };
    for row in rows {
        let Some(due) = row.alert else { continue };
        let alerts: Vec<_> = outcome
            .alerts
            .iter()
            .filter(|alert| field(alert, "drift.file_path").as_deref() == Some(&row.path))
            .collect();
        if alerts.len() != usize::from(due) {
            wrong.push(format!("{}: {} alerts, expected {due}: {row:?}", row.scenario, alerts.len()));
        }
        let told: Vec<_> = outcome.told.iter().filter(|told| told.path == row.path).collect();
        // What is no alert need not be told; an alert is told with these very values.
        let right = |change: &str, new: &Option<String>| change == row.change && *new == row.new_path;
        if told.len() > 1 || told.iter().any(|told| !right(&told.change, &told.new_path)) {
            wrong.push(format!("{}: told {told:?}, expected {row:?}", row.scenario));
        }
    }
    let known = |path: &str| rows.iter().any(|row| row.path == path);
    for alert in &outcome.alerts {
        let path = field(alert, "drift.file_path").unwrap_or_default();
        if !known(&path) {
            wrong.push(format!("an alert that is not due: {}", alert.output));
        }
    }
    wrong
}

fn listed(outcome: &Outcome) -> String {
    let told = outcome.told.iter().map(ToString::to_string);
    told.chain(outcome.alerts.iter().map(|alert| alert.output.clone())).collect::<Vec<_>>().join("\n")
}
