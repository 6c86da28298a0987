//! Tier 4: real Falco, where one is installed (`FALCO_BIN`, or `falco` in PATH). Never needed: what it shows is shown
//! in libsinsp as well; what it adds is Falco's own rule loader and output.

// Helpers of tests: a failure there is a failure of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::PathBuf;
use std::process::Command;
use testkit::alerts::evaluate;
use testkit::engine::{Choice, Engine, Replay};
use testkit::skip::skip_optional;

fn falco(test: &str) -> Option<Engine> {
    match Engine::find(&Choice::Falco) {
        Ok(engine) => Some(engine),
        Err(why) => {
            skip_optional(test, &format!("{why:#}"));
            None
        }
    }
}

fn rules() -> PathBuf {
    testkit::workspace_dir().join("rules/drift_rules.yaml")
}

#[test]
fn falco_takes_the_rules_without_a_warning() {
    let Some(engine) = falco("falco: rules") else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = common::engine_config(dir.path(), &testkit::plugin_library().unwrap(), "{}");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}json_output: true\nstdout_output: {{enabled: true}}\n")).unwrap();
    let command = engine.command();
    let output = Command::new(&command[0])
        .args(&command[1..])
        .arg("-c")
        .arg(&config)
        .arg("-V")
        .arg(rules())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let json = text.lines().find(|l| l.starts_with('{')).unwrap();
    let verdict: serde_json::Value = serde_json::from_str(json).unwrap();
    let results = verdict["falco_load_results"].as_array().unwrap();
    assert!(!results.is_empty());
    for result in results {
        assert_eq!(result["successful"], true, "{result}");
        assert_eq!(result["warnings"].as_array().map(Vec::len), Some(0), "{result}");
    }
}

#[test]
fn falco_alerts_as_the_evaluator_does() {
    let Some(engine) = falco("falco: alerts") else { return };
    let Some(captures) = common::captures("falco: alerts") else { return };
    let nowhere = tempfile::tempdir().unwrap();
    let config = format!(
        "host_root: {}\nmanifests:\n  - path: {}\n    containers: [\"*\"]\n",
        nowhere.path().display(),
        captures.join("image.mtree.gz").display()
    );
    let library = testkit::plugin_library().unwrap();
    let capture = captures.join("binary.scap");
    let replay = Replay { plugin: Some(&library), init_config: &config, capture: &capture };
    let brief = |mut alerts: Vec<(String, String)>| {
        alerts.sort();
        alerts
    };
    let by_falco = engine.falco_alerts(&replay, &rules()).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let by_falco = brief(by_falco.iter().map(|a| (text(&a["rule"]), text(&a["time"]))).collect());
    let evaluation = evaluate(&Engine::sysdig().unwrap(), &replay, &rules()).unwrap();
    let by_us = brief(evaluation.alerts.into_iter().map(|a| (a.rule, a.time)).collect());
    assert!(!by_us.is_empty());
    assert_eq!(by_falco, by_us);
}
