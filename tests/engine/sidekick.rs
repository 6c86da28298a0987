//! The pack's real alerts, sent through a real falcosidekick with the shipped configuration to a receiver on
//! this machine: every field arrives, on the routes of its priority and on no others.

use crate::http::{free_port, request, Receiver, Service};
use crate::recorded::replay_config;
use crate::tools::FALCOSIDEKICK;
use serde_json::{json, Value};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use testkit::alerts::{evaluate, Alert};
use testkit::engine::{Choice, Engine, Replay};
use testkit::rules_file;
use testkit::workspace_dir;

fn read(name: &str) -> String {
    std::fs::read_to_string(workspace_dir().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What `make demo` alerts on; evaluated once.
fn alerts() -> &'static [Value] {
    static ALERTS: OnceLock<Vec<Value>> = OnceLock::new();
    ALERTS.get_or_init(evaluate_demo)
}

fn evaluate_demo() -> Vec<Value> {
    let library = testkit::plugin_library().unwrap();
    let engine = Engine::find(&Choice::Sysdig).unwrap();
    let nowhere = tempfile::tempdir().unwrap();
    let init_config = replay_config(nowhere.path(), &workspace_dir().join("demo/image.mtree.gz"));
    let capture = workspace_dir().join("demo/binary.scap");
    let replay = Replay { plugin: Some(&library), init_config: &init_config, capture: &capture };
    let found = evaluate(&engine, &replay, &rules_file()).unwrap();
    let alerts: Vec<Value> = found.alerts.iter().map(|a: &Alert| serde_json::to_value(a).unwrap()).collect();
    assert!(alerts.len() > 15, "{} alerts", alerts.len());
    alerts
}

/// The TEMPLATEDFIELDS of the file for Defender's pipelines.
fn defender() -> String {
    let text = read("deploy/falcosidekick/defender.env");
    let lines: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("TEMPLATEDFIELDS=")).collect();
    assert_eq!(lines.len(), 1);
    lines[0].to_owned()
}

/// falcosidekick with the shipped configuration, all addresses those of the receiver.
fn sidekick(program: &Path, receiver: &Receiver, folder: &Path, defender_too: bool) -> (Service, String) {
    let mut config = read("deploy/falcosidekick/config.yaml");
    for (name, path) in [
        ("http://alertmanager.example:9093", "/alertmanager"),
        ("http://falco-talon.example:2803", "/talon"),
        ("http://loki.example:3100", "/loki"),
        ("http://siem.example:8080/falco", "/siem"),
    ] {
        assert!(config.contains(name), "{name}");
        config = config.replace(name, &format!("{}{path}", receiver.url()));
    }
    assert!(!config.contains(".example"), "an address is left");
    let file = folder.join("config.yaml");
    std::fs::write(&file, config).unwrap();
    let (port, metrics) = (free_port(), free_port());
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("LISTENADDRESS", "127.0.0.1").env("LISTENPORT", port.to_string());
    command.env("TLSSERVER_NOTLSPORT", metrics.to_string());
    command.env("SLACK_WEBHOOKURL", format!("{}/slack", receiver.url()));
    if defender_too {
        command.env("TEMPLATEDFIELDS", defender());
    }
    let address = format!("127.0.0.1:{port}");
    (Service::start(&mut command, &address, "/ping"), address)
}

/// An alert of each priority: those of the capture, and copies with the priorities that it has none of.
fn of_every_priority(alerts: &[Value]) -> Vec<Value> {
    ["Critical", "Error", "Warning", "Notice", "Informational"]
        .into_iter()
        .map(|priority| {
            let mut alert = alerts.iter().find(|a| a["priority"] == priority).unwrap_or(&alerts[0]).clone();
            alert["priority"] = priority.into();
            alert
        })
        .collect()
}

#[test]
fn every_field_arrives_on_the_routes_of_its_priority() {
    let test = "falcosidekick: routes and fields";
    let Some(program) = FALCOSIDEKICK.find(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start();
    let (_service, address) = sidekick(&program, &receiver, folder.path(), false);

    let real = alerts();
    for alert in real {
        let (status, body) = request(&address, "POST", "/", &alert.to_string()).unwrap();
        assert!(status.contains("200"), "{status}{body}{alert}");
    }
    // Every field of every alert, with its value, at the route that takes all.
    let arrived = receiver.wait("/siem", real.len());
    assert_eq!(arrived.len(), real.len());
    let mut arrived: Vec<Value> = arrived.iter().map(|b| serde_json::from_str(b).unwrap()).collect();
    for alert in real {
        let number = |a: &Value| a["output_fields"]["evt.time"].clone();
        let same = |a: &Value| number(a) == number(alert) && a["rule"] == alert["rule"];
        let at = arrived.iter().position(same).unwrap_or_else(|| panic!("did not arrive: {alert}"));
        let mut got = arrived.swap_remove(at);
        let fields = got["output_fields"].as_object_mut().unwrap();
        assert_eq!(fields.remove("cluster"), Some(json!("production")));
        assert_eq!(fields.remove("team"), Some(json!("platform")));
        assert!(fields.remove("drift_actor").is_some_and(|a| a == "" || a == "person" || a == "package"));
        assert!(got.as_object_mut().unwrap().remove("uuid").is_some());
        // Go writes no zeros at the end of a second's fraction.
        let time = got["time"].as_str().unwrap().trim_end_matches('Z').to_owned();
        assert!(
            alert["time"].as_str().unwrap().trim_end_matches('Z').trim_end_matches('0') == time,
            "{time}"
        );
        got["time"] = alert["time"].clone();
        assert_eq!(&got, alert);
    }
}

/// falcosidekick cuts fields over 512 bytes of payloads over 4 KiB (its `types/types.go`, `handlers.go`): an
/// alert is only cut if a value is that long by itself, as a path may be that someone chose.
#[test]
fn alerts_are_small_enough_for_falcosidekick() {
    let is_long = |value: &Value| value.to_string().len() > 512;
    for alert in alerts().iter().filter(|a| !a["output_fields"].as_object().unwrap().values().any(is_long)) {
        let text = alert.to_string();
        assert!(text.len() < 4096, "{} bytes: {text}", text.len());
    }
}

#[test]
fn an_alert_takes_the_routes_of_its_priority() {
    let Some(program) = FALCOSIDEKICK.find("falcosidekick: priorities") else { return };
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start();
    let (_service, address) = sidekick(&program, &receiver, folder.path(), false);
    for alert in of_every_priority(alerts()) {
        request(&address, "POST", "/", &alert.to_string()).unwrap();
    }
    // An alert for every route, after which no more of the others are due.
    let mut last = alerts()[0].clone();
    (last["priority"], last["rule"]) = ("Critical".into(), "last".into());
    // How many of the five priorities each route takes.
    for (path, count) in [
        ("/siem", 5),
        ("/loki/loki/api/v1/push", 4),
        ("/slack", 3),
        ("/talon", 2),
        ("/alertmanager/api/v2/alerts", 2),
    ] {
        assert_eq!(receiver.wait(path, count).len(), count, "{path}");
    }
    request(&address, "POST", "/", &last.to_string()).unwrap();
    assert_eq!(receiver.wait("/talon", 3).len(), 3);
}

#[test]
fn templates_tell_who_and_where() {
    let Some(program) = FALCOSIDEKICK.find("falcosidekick: templates") else { return };
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start();
    let (_service, address) = sidekick(&program, &receiver, folder.path(), false);
    let cases = [
        ("drift.binary_provenance", json!("package:apt"), "package"),
        ("drift.script_provenance", json!("written"), "person"),
        ("drift.file_provenance", json!("unknown"), ""),
        ("drift.file_provenance", Value::Null, ""),
    ];
    for (field, value, _) in &cases {
        let mut alert = alerts()[0].clone();
        alert["priority"] = "Warning".into();
        let fields = alert["output_fields"].as_object_mut().unwrap();
        fields.retain(|name, _| !name.ends_with("_provenance"));
        fields.insert((*field).to_owned(), value.clone());
        fields.insert("k8s.ns.name".to_owned(), "shop".into());
        fields.insert("k8s.pod.name".to_owned(), "cart-1".into());
        request(&address, "POST", "/", &alert.to_string()).unwrap();
    }
    // Alerts may overtake each other.
    let mut got: Vec<String> = receiver
        .wait("/siem", cases.len())
        .iter()
        .map(|b| serde_json::from_str::<Value>(b).unwrap()["output_fields"]["drift_actor"].to_string())
        .collect();
    got.sort();
    let mut want: Vec<String> = cases.iter().map(|(.., actor)| json!(actor).to_string()).collect();
    want.sort();
    assert_eq!(got, want);
    for message in receiver.wait("/slack", cases.len()) {
        let text = serde_json::from_str::<Value>(&message).unwrap()["text"].clone();
        assert!(
            text.as_str().is_some_and(|t| t.starts_with("Drift: *Drift ") && t.ends_with(" in shop/cart-1")),
            "{text}"
        );
    }
}

#[test]
fn drifted_binaries_arrive_in_defenders_shape() {
    let Some(program) = FALCOSIDEKICK.find("falcosidekick: Defender's shape") else { return };
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start();
    let (_service, address) = sidekick(&program, &receiver, folder.path(), true);
    let real = alerts();
    for alert in real {
        request(&address, "POST", "/", &alert.to_string()).unwrap();
    }
    let mut drifted = 0;
    for body in receiver.wait("/siem", real.len()) {
        let alert: Value = serde_json::from_str(&body).unwrap();
        let fields = &alert["output_fields"];
        let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
        let drifted_now = ["added", "image_modified", "added_or_modified", "memfd", "detached"];
        let is_program = !text("drift.binary_provenance").is_empty();
        let is_script = !is_program && !text("drift.script_provenance").is_empty();
        if (is_program && drifted_now.contains(&text("drift.binary_origin")))
            || (is_script && ["added", "image_modified"].contains(&text("drift.script_origin")))
            || ["added", "image_modified"].contains(&text("drift.event.origin"))
        {
            drifted += 1;
            assert_eq!(fields["alertType"], "K8S.NODE_ImageBinaryDrift");
            assert_eq!(fields["severity"], "Medium");
            assert!(!fields["description"].as_str().unwrap().is_empty());
            let steps = fields["remediationSteps"].as_str().unwrap();
            for word in ["origin", "purpose", "compromised", "clean image", "readOnlyRootFilesystem"] {
                assert!(steps.contains(word), "{steps}");
            }
        } else {
            for name in ["alertType", "alertDisplayName", "severity", "description", "remediationSteps"] {
                assert_eq!(fields[name], "", "{alert}");
            }
        }
        assert_eq!(fields["cluster"], "production", "config.yaml counts beside it");
    }
    assert!(drifted > 5, "{drifted}");
}

/// The templates, by Go's own package: this runs where falcosidekick is not to be had.
#[test]
fn go_renders_the_templates() {
    let config = testkit::yaml::parse(&read("deploy/falcosidekick/config.yaml")).unwrap();
    let actor = config.get("templatedfields").unwrap().get("drift_actor").unwrap().text().unwrap().to_owned();
    let mut cases: Vec<(String, Value, String)> = [
        (json!({"drift.binary_provenance": "package:apt"}), "package"),
        (json!({"drift.binary_provenance": null, "drift.script_provenance": "written"}), "person"),
        (json!({"drift.file_provenance": "unknown"}), ""),
        (json!({"proc.name": "sh"}), ""),
    ]
    .into_iter()
    .map(|(fields, text)| (actor.clone(), fields, text.to_owned()))
    .collect();
    for field in defender().split(',') {
        let (name, template) = field.split_once(':').unwrap();
        for origin in [json!("added"), json!("image_modified"), json!("volume"), Value::Null] {
            let is_drift = matches!(origin.as_str(), Some("added" | "image_modified"));
            let want = match name {
                "alertType" if is_drift => "K8S.NODE_ImageBinaryDrift",
                "severity" if is_drift => "Medium",
                _ if is_drift => "*",
                _ => "",
            };
            for fields in [
                json!({"drift.binary_origin": origin, "drift.binary_provenance": "written"}),
                json!({"drift.script_origin": origin, "drift.script_provenance": "written",
                    "drift.binary_origin": "image"}),
                json!({"drift.event.origin": origin}),
            ] {
                cases.push((template.to_owned(), fields, want.to_owned()));
            }
            // The program that changed a file or opened a port.
            cases.push((template.to_owned(), json!({"drift.binary_origin": origin}), String::new()));
        }
        let memory = json!({"drift.binary_origin": "memfd", "drift.binary_provenance": "memory"});
        let want = if name == "severity" { "Medium" } else { "*" };
        cases.push((template.to_owned(), memory, want.to_owned()));
        cases.push((template.to_owned(), json!({}), String::new()));
    }
    let input: Vec<Value> =
        cases.iter().map(|(template, fields, _)| json!({"template": template, "fields": fields})).collect();
    let program = workspace_dir().join("tests/fixtures/templates.go");
    let input_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(input_file.path(), serde_json::to_vec(&input).unwrap()).unwrap();
    let output = Command::new("go")
        .arg("run")
        .arg(program)
        .stdin(std::fs::File::open(input_file.path()).unwrap())
        .output();
    let Ok(output) = output else {
        return testkit::skip::skip_optional("falcosidekick: templates by Go", "Go is not installed");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let texts: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    for ((template, fields, want), got) in cases.iter().zip(&texts) {
        let holds = if want == "*" { !got.is_empty() } else { got == want };
        assert!(holds, "{template}\n{fields}\n{got:?}, not {want:?}");
    }
    assert_eq!(texts.len(), cases.len());
}

/// What holds of the files by themselves: this runs everywhere.
#[test]
fn the_files_keep_falcosidekicks_rules() {
    // In the environment, commas separate fields and one colon separates a field from its template.
    for field in defender().split(',') {
        assert_eq!(field.matches(':').count(), 1, "{field}");
        let (open, close) = (field.matches("{{").count(), field.matches("}}").count());
        assert!(open > 0 && open == close, "{field}");
        assert_eq!(field.matches("{{ end }}").count(), 7, "an if of three, each a with and an if: {field}");
    }
    let config = testkit::yaml::parse(&read("deploy/falcosidekick/config.yaml")).unwrap();
    for (output, priority) in [
        ("pagerduty", "critical"),
        ("alertmanager", "error"),
        ("talon", "warning"),
        ("slack", "warning"),
        ("loki", "notice"),
        ("webhook", ""),
    ] {
        let minimum = config.get(output).and_then(|o| o.get("minimumpriority")).and_then(|p| p.text());
        assert_eq!(minimum, Some(priority), "{output}");
    }
    // No secrets, and names that survive: falcosidekick makes them lower case and splits them at dots.
    for (map, count) in [("customfields", 2), ("templatedfields", 1)] {
        let Some(testkit::yaml::Node::Map(pairs)) = config.get(map) else { panic!("{map}") };
        assert_eq!(pairs.len(), count);
        for (name, _) in pairs {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        }
    }
    for (output, key) in [("pagerduty", "routingKey"), ("slack", "webhookurl")] {
        let value = config.get(output).and_then(|o| o.get(key)).and_then(|v| v.text());
        assert_eq!(value, Some(""), "{output}.{key} comes from the environment");
    }
}
