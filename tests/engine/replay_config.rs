//! Tier 2: environments and ports against what the image declares, in real libsinsp, over real captures.

use crate::recorded::{Recorded, EXECS};
use drift_formats::digest::Digest;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use testkit::engine::Event;
use testkit::expected::{expected, marker};

/// What captures/README.md says of the image.
const CONFIG: &str = r#"{"architecture":"amd64","os":"linux",
    "config":{"Cmd":["/bin/sleep","100000"],"User":"0:0",
    "Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","APP_ENV=production"],
    "ExposedPorts":{"8080/tcp":{}}},"rootfs":{"type":"layers","diff_ids":[]}}"#;

/// Writes an OCI layout with the image's configuration and no layer.
fn layout(dir: &Path) -> PathBuf {
    let put = |content: &str| {
        let digest = Digest::of(content.as_bytes());
        let blobs = dir.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(digest.hex()), content).unwrap();
        format!(r#""digest":"{digest}","size":{}"#, content.len())
    };
    let config = put(CONFIG);
    let kind = "application/vnd.oci.image";
    let manifest = put(&format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{kind}.config.v1+json",{config}}},"layers":[]}}"#
    ));
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{kind}.manifest.v1+json",{manifest}}}]}}"#
    );
    std::fs::write(dir.join("index.json"), index).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    dir.to_owned()
}

/// The captures, with that configuration.
fn recorded(test: &str) -> Option<Recorded> {
    Recorded::of_image(test, |_, dir| layout(dir))
}

/// What a rule says of a capture.
fn alerts(recorded: &Recorded, capture: &str, rule: &str) -> Vec<String> {
    let alerts = recorded.evaluate(capture).alerts;
    alerts.into_iter().filter(|a| a.rule == rule).map(|a| a.output).collect()
}

/// Scenario, alert and the other cells of `expected/<name>.tsv`.
fn rows(captures: &Path, name: &str) -> Vec<(String, bool, Vec<String>)> {
    expected(captures, name, |cells| {
        let others = cells[2..].iter().map(|cell| (*cell).to_owned()).collect();
        (cells[0].to_owned(), cells[1] == "1", others)
    })
}

#[test]
fn every_row_of_the_config_capture_is_right() {
    let Some(recorded) = recorded("replay: config.scap") else { return };
    let fields = ["proc.args", "drift.env_added", "drift.env_changed", "drift.env_risky"];
    let mut answers: BTreeMap<String, Event> = BTreeMap::new();
    for event in recorded.events("config.scap", EXECS, &fields) {
        if let Some(scenario) = marker(&event.text("proc.args").unwrap().unwrap_or_default(), "cfg-") {
            answers.insert(scenario, event);
        }
    }
    let mut alerted: BTreeMap<String, usize> = BTreeMap::new();
    for output in alerts(&recorded, "config.scap", "Drift dangerous environment") {
        *alerted.entry(marker(&output, "cfg-").unwrap_or(output)).or_default() += 1;
    }
    let mut wrong = Vec::new();
    for (scenario, alert, cells) in rows(&recorded.captures, "config") {
        let event = &answers[&scenario];
        let names = |field: &str| event.text(field).unwrap().unwrap_or_else(|| "-".to_owned());
        let strip = |list: String| list.trim_start_matches('(').trim_end_matches(')').to_owned();
        let got = (strip(names("drift.env_added")), strip(names("drift.env_changed")));
        if got != (cells[0].clone(), cells[1].clone()) {
            wrong.push(format!("{scenario}: {got:?}, expected {cells:?}"));
        }
        if alerted.remove(&scenario).unwrap_or(0) != usize::from(alert) {
            wrong.push(format!("{scenario}: alert expected: {alert}"));
        }
    }
    assert!(wrong.is_empty() && alerted.is_empty(), "{wrong:#?} {alerted:#?}");
}

#[test]
fn values_of_variables_appear_nowhere() {
    let Some(recorded) = recorded("replay: no values") else { return };
    let name = |name: &str| match name {
        "drift.pod_label" | "drift.pod_annotation" => format!("{name}[app]"),
        _ => name.to_owned(),
    };
    // A command line is shown as it is, as Falco's own `proc.cmdline`: one of the capture copies the library.
    let all = drift::extract::FIELDS.iter().filter(|f| f.name != "drift.process_cmdline");
    let names: Vec<String> = all.map(|f| name(f.name)).collect();
    let events = recorded.events("config.scap", EXECS, &names.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(events.len() > 8);
    for event in events {
        let text = format!("{event:?}");
        // Values in the capture: of LD_PRELOAD, of APP_ENV as changed and as declared.
        for value in ["evil.so", "debug", "production"] {
            assert!(!text.contains(value), "{text}");
        }
    }
    for output in alerts(&recorded, "config.scap", "Drift dangerous environment") {
        assert!(!output.contains("evil.so") && !output.contains("/tmp:"), "{output}");
    }
}

#[test]
fn every_row_of_the_network_capture_that_binds_a_port_is_right() {
    let Some(recorded) = recorded("replay: network.scap") else { return };
    let fields = ["fd.sport", "fd.l4proto", "drift.port_declared", "fd.type"];
    let events = recorded.events("network.scap", "evt.type = bind and evt.dir = <", &fields);
    let mut got: Vec<(String, String, Option<String>)> = Vec::new();
    for event in events {
        let text = |field: &str| event.text(field).unwrap();
        if text("fd.type").as_deref() == Some("unix") {
            assert_eq!(text("drift.port_declared"), None);
            continue;
        }
        let port = text("fd.sport").unwrap_or_default();
        got.push((port, text("fd.l4proto").unwrap_or_default(), text("drift.port_declared")));
    }
    let expected = |port: &str, protocol: &str, declared: bool| {
        let declared = Some(declared.to_string());
        let one = got.iter().filter(|g| (g.0.as_str(), g.1.as_str()) == (port, protocol));
        let answers: Vec<_> = one.map(|g| g.2.clone()).collect();
        assert!(!answers.is_empty() && answers.iter().all(|a| *a == declared), "{port} {protocol}: {got:#?}");
    };
    expected("8080", "tcp", true);
    expected("4444", "tcp", false);
    expected("5353", "udp", false);
    expected("8000", "tcp", false);
    let due = rows(&recorded.captures, "network").iter().filter(|row| row.1).count();
    let on_loopback = alerts(&recorded, "network.scap", "Drift undeclared loopback port");
    assert_eq!(on_loopback.len(), due, "{on_loopback:#?}");
    assert_eq!(alerts(&recorded, "network.scap", "Drift undeclared port"), [""; 0]);
}

/// The runtime's own mounts, which are in the captures' beginnings, are no changes of a running container.
#[test]
fn no_capture_has_a_mount_made_in_a_container() {
    let Some(recorded) = recorded("replay: mounts") else { return };
    for capture in ["binary.scap", "package.scap", "file.scap", "network.scap", "config.scap"] {
        let calls = recorded.events(capture, "evt.type = mount and evt.rawres = 0", &["proc.name"]);
        assert!(!calls.is_empty(), "{capture} has no mount at all");
        assert_eq!(alerts(&recorded, capture, "Drift mount in container"), [""; 0], "{capture}");
    }
}

/// Nobody is called unexpected where nobody has said who is expected.
#[test]
fn without_a_baseline_no_peer_is_unexpected() {
    let Some(recorded) = recorded("replay: peers") else { return };
    let fields = ["fd.name", "drift.peer_expected", "drift.peer"];
    let capture = "network.scap";
    let filter = "evt.type in (connect, accept, accept4) and fd.type in (ipv4, ipv6)";
    let events = recorded.events(capture, filter, &fields);
    assert!(!events.is_empty(), "{capture} has no connection");
    for event in events {
        let text = |field: &str| event.text(field).unwrap();
        let local = text("fd.name").is_some_and(|name| name.contains("127.0.0.1"));
        let answer = text("drift.peer_expected");
        assert!(answer.is_none() || (!local && answer.as_deref() == Some("unknown")), "{event:?}");
    }
    for rule in ["Drift unexpected outbound peer", "Drift unexpected inbound peer", "Drift peer learned"] {
        assert_eq!(alerts(&recorded, capture, rule), [""; 0], "{capture}");
    }
}
