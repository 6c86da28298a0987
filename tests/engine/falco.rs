//! Tier 4: real Falco, where one is installed (`FALCO_BIN`, or `falco` in PATH). Never needed: what it shows
//! is shown in libsinsp as well; what it adds is Falco's own rule loader and output.

use crate::recorded::Recorded;
use std::path::PathBuf;
use std::process::Command;
use testkit::engine::{write_config, Choice, Engine};
use testkit::rules_file;
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

/// Falco's own rules files, where they are: `FALCO_RULES_DIR`, else those of an installed package.
fn falcos_own_rules() -> Vec<PathBuf> {
    let folder =
        std::env::var_os("FALCO_RULES_DIR").map_or_else(|| PathBuf::from("/etc/falco"), PathBuf::from);
    ["falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"]
        .map(|name| folder.join(name))
        .into_iter()
        .filter(|path| path.is_file())
        .collect()
}

/// A list or macro that two files have is the last one's, for the rules of both.
#[test]
fn no_name_is_one_of_falcos() {
    let files = falcos_own_rules();
    if files.is_empty() {
        return skip_optional("falco: names", "no rules of Falco's own are here (set FALCO_RULES_DIR)");
    }
    let names = |path: &std::path::Path| -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let name = |line: &str| {
            ["- rule: ", "- macro: ", "- list: "]
                .iter()
                .any(|kind| line.starts_with(kind))
                .then(|| line.to_owned())
        };
        text.lines().filter_map(name).collect()
    };
    let ours: Vec<String> = packs().iter().flat_map(|path| names(path)).collect();
    assert!(ours.len() > 50, "{ours:?}");
    for file in files {
        let theirs = names(&file);
        assert!(theirs.len() > 10, "{}: {theirs:?}", file.display());
        let both: Vec<&String> = ours.iter().filter(|name| theirs.contains(name)).collect();
        assert!(both.is_empty(), "{}: {both:?}", file.display());
    }
}

fn packs() -> [PathBuf; 2] {
    [rules_file(), source_rules()]
}

fn source_rules() -> PathBuf {
    testkit::workspace_dir().join("rules/drift_source_rules.yaml")
}

#[test]
fn falco_takes_the_rules_without_a_warning() {
    let Some(engine) = falco("falco: rules") else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = write_config(dir.path(), "{}").unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}json_output: true\nstdout_output: {{enabled: true}}\n")).unwrap();
    let command = engine.command();
    let output = Command::new(&command[0])
        .args(&command[1..])
        .arg("-c")
        .arg(&config)
        .args(packs().iter().flat_map(|path| ["-V".into(), path.clone().into_os_string()]))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let json = text.lines().find(|l| l.starts_with('{')).unwrap();
    let verdict: serde_json::Value = serde_json::from_str(json).unwrap();
    let results = verdict["falco_load_results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for result in results {
        assert_eq!(result["successful"], true, "{result}");
        assert_eq!(result["warnings"].as_array().map(Vec::len), Some(0), "{result}");
    }
}

#[test]
fn falco_alerts_as_the_evaluator_does() {
    let Some(engine) = falco("falco: alerts") else { return };
    let Some(recorded) = Recorded::find("falco: alerts") else { return };
    let capture = "binary.scap";
    let brief = |mut alerts: Vec<(String, String)>| {
        alerts.sort();
        alerts
    };
    let by_falco = recorded.with(capture, |replay| engine.falco_alerts(replay, &rules_file()).unwrap());
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let by_falco = brief(by_falco.iter().map(|a| (text(&a["rule"]), text(&a["time"]))).collect());
    let evaluation = recorded.evaluate(capture);
    let by_us = brief(evaluation.alerts.into_iter().map(|a| (a.rule, a.time)).collect());
    assert!(!by_us.is_empty());
    assert_eq!(by_falco, by_us);
}
