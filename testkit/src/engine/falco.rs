//! Replay with Falco: it evaluates the rules itself and prints its alerts as JSON lines.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{anyhow, Context, Result};
use serde_json::Value;

use super::{plugin_config, Engine, Replay};

/// One of Falco's JSON lines, as it was printed.
pub type FalcoAlert = serde_json::Map<String, Value>;

pub(super) fn replay(engine: &Engine, replay: &Replay, rules: &Path) -> Result<Vec<FalcoAlert>> {
    let dir = tempfile::Builder::new().prefix("drift-falco-").tempdir()?;
    let path = dir.path().join("falco.yaml");
    std::fs::write(&path, config(replay, rules)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let output = engine
        .output(&[OsStr::new("-c"), path.as_os_str()])
        .with_context(|| format!("replay of {} with {}", replay.capture.display(), rules.display()))?;
    Ok(alerts(&String::from_utf8_lossy(&output.stdout)))
}

/// Only what a replay needs: no web server, no other plugin, no other rules, alerts on stdout.
pub(super) fn config(replay: &Replay, rules: &Path) -> Result<String> {
    let absolute = |path: &Path| -> Result<String> {
        let path = std::fs::canonicalize(path).with_context(|| path.display().to_string())?;
        Ok(serde_json::to_string(path.to_str().ok_or_else(|| anyhow!("{} is not UTF-8", path.display()))?)?)
    };
    let mut yaml = format!(
        "engine:\n  kind: replay\n  replay:\n    capture_file: {}\nrules_files:\n  - {}\n",
        absolute(replay.capture)?,
        absolute(rules)?,
    );
    yaml.push_str(
        "rule_matching: first\npriority: debug\njson_output: true\njson_include_output_property: true\n\
         json_include_tags_property: true\nstdout_output:\n  enabled: true\n\
         syslog_output:\n  enabled: false\n\
         log_syslog: false\nlog_stderr: true\nlog_level: warning\nwatch_config_files: false\n\
         webserver:\n  enabled: false\n",
    );
    if let Some(plugin) = replay.plugin {
        yaml.push_str(&plugin_config(plugin, replay.init_config)?);
    }
    Ok(yaml)
}

/// The alerts among what Falco prints (it adds its counts of events and rules at the end).
pub(super) fn alerts(stdout: &str) -> Vec<FalcoAlert> {
    stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<FalcoAlert>(line).ok())
        .filter(|alert| alert.contains_key("rule") && alert.contains_key("output_fields"))
        .collect()
}
