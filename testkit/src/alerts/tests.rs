use super::*;
use crate::skip::skip;

const RULES: &str = r#"
- macro: execution
  condition: (evt.type in (execve, execveat) and evt.rawres = 0)
- list: copies
  items: [b02, b03]
- rule: Copied binary
  desc: the corpus copies binaries to b02 and b03
  condition: execution and proc.name in (copies)
  output: copied binary (exe=%proc.exepath upper=%proc.is_exe_upper_layer fd=%fd.name)
  priority: WARNING
  tags: [b, a]
- rule: Marked
  desc: the first three scenarios
  condition: >
    execution and (proc.args contains scn-01 or proc.args contains scn-02 or proc.args contains scn-03)
  output: marked %proc.args
  priority: INFO
- rule: Off
  desc: matches all
  condition: execution
  output: off
  priority: ERROR
  enabled: false
- rule: Elsewhere
  desc: another source
  condition: evt.num > 0
  output: elsewhere
  priority: ERROR
  source: drift
"#;

#[test]
fn rules_over_a_real_capture() {
    let engine = match Engine::sysdig() {
        Ok(engine) => engine,
        Err(e) => return skip("rules_over_a_real_capture", &format!("{e:#}")),
    };
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yaml");
    std::fs::write(&rules, RULES).unwrap();
    let capture = crate::workspace_dir().join("demo/binary.scap");
    let replay = Replay { plugin: None, init_config: "", capture: &capture };
    let evaluation = evaluate(&engine, &replay, &rules).unwrap();

    assert_eq!(evaluation.events, Some(52_729), "the number in the captures' README");
    assert_eq!(evaluation.skipped, ["Elsewhere"]);
    let got: Vec<(&str, Option<&str>)> = evaluation
        .alerts
        .iter()
        .map(|a| (a.rule.as_str(), a.output_fields.get("proc.exepath").and_then(Value::as_str)))
        .collect();
    // In the order of events; the first rule wins where both match.
    let want = [
        ("Marked", None),
        ("Copied binary", Some("/tmp/b02")),
        ("Copied binary", Some("/usr/local/bin/b03")),
    ];
    assert_eq!(got, want);
    let alert = serde_json::to_value(&evaluation.alerts[2]).unwrap();
    let clock = &alert["time"].as_str().unwrap()[11..29];
    let text = "copied binary (exe=/usr/local/bin/b03 upper=true fd=<NA>)";
    assert_eq!(alert["output"], format!("{clock}: Warning {text}"));
    assert_eq!(alert["tags"], serde_json::json!(["a", "b"]));
    assert_eq!(alert["output_fields"]["fd.name"], Value::Null);
    assert!(alert["output_fields"]["evt.time"].is_u64());
    assert_eq!(totals(&evaluation), "3 alerts in 52,729 events: 2 Warning, 1 Informational");
}

#[test]
fn numbers_are_grouped() {
    for (number, want) in
        [(0, "0"), (999, "999"), (1000, "1,000"), (52_729, "52,729"), (1_234_567, "1,234,567")]
    {
        assert_eq!(grouped(number), want);
    }
}

#[test]
fn falcos_own_alerts_are_read() {
    // As printed in https://falco.org/docs/concepts/outputs/formatting/
    let text = r#"{"hostname":"h",
        "output":"16:31:56.746609046: Error File below a known binary directory opened for writing",
        "priority":"Error","rule":"Write below binary dir","source":"syscall",
        "tags":["filesystem","mitre_persistence"],"time":"2017-10-09T23:31:56.746609046Z",
        "output_fields":{"user.name":"root","evt.time":1507591916746609046,"fd.name":"/bin/hack",
        "proc.cmdline":"touch /bin/hack"}}"#;
    let alert = from_falco(serde_json::from_str(text).unwrap()).unwrap();
    assert_eq!((alert.rule.as_str(), alert.priority.as_str()), ("Write below binary dir", "Error"));
    assert_eq!(alert.tags, ["filesystem", "mitre_persistence"]);
    assert_eq!(serde_json::to_value(&alert).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    assert!(from_falco(serde_json::from_str(r#"{"rule":"x"}"#).unwrap()).is_err());
}
