//! Tier 2: the shipped plugin and rules in real libsinsp, over real captures, against the expected answers.

use crate::recorded::{Recorded, EXECS};
use std::collections::{BTreeMap, BTreeSet};
use testkit::engine::Event;
use testkit::expected::{binary_rows, marker, the_exec};

#[test]
fn every_row_of_the_binary_capture_is_right() {
    let Some(recorded) = Recorded::find("replay: binary.scap") else { return };
    let fields = [
        "proc.args",
        "drift.binary_origin",
        "drift.script_origin",
        "drift.container_id",
        "drift.manifest_state",
        "drift.image_has_file",
    ];
    let mut by_marker: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for event in recorded.events("binary.scap", EXECS, &fields) {
        let args = event.text("proc.args").unwrap().unwrap_or_default();
        if let Some(scenario) = marker(&args, "scn-") {
            by_marker.entry(scenario).or_default().push(event);
        }
    }
    let id = "23baf534abe5fb1e2a30d57e49ea3cd98d34317027ec31e472c278e848ebdabd";
    let mut wrong = Vec::new();
    for row in binary_rows(&recorded.captures) {
        let execs = by_marker.get(&row.scenario).map_or(&[][..], Vec::as_slice);
        let Some(exec) = the_exec(&row.scenario, execs) else {
            assert_eq!(row.alert, None, "{} has no exec in the capture", row.scenario);
            continue;
        };
        // "the same for the script of scn-17" (captures/README.md): on a volume, which a replay cannot know.
        let script = match row.script.as_deref() {
            Some("volume") => Some("unknown".to_owned()),
            other => other.map(str::to_owned),
        };
        let got = (exec.text("drift.binary_origin").unwrap(), exec.text("drift.script_origin").unwrap());
        if got != (Some(row.replay.clone()), script.clone()) {
            wrong.push(format!("{}: {got:?}, expected {:?} {script:?}", row.scenario, row.replay));
        }
        assert_eq!(exec.text("drift.container_id").unwrap().as_deref(), Some(id));
        assert_eq!(exec.text("drift.manifest_state").unwrap().as_deref(), Some("ready"));
        let has = exec.text("drift.image_has_file").unwrap();
        let known = matches!(row.replay.as_str(), "image" | "image_unverified");
        assert_eq!(has.as_deref(), Some(if known { "true" } else { "false" }), "{}", row.scenario);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_pack_alerts_on_what_a_replay_can_know() {
    let Some(recorded) = Recorded::find("replay: alerts") else { return };
    let evaluation = recorded.evaluate("binary.scap");
    let mut alerts: BTreeMap<String, usize> = BTreeMap::new();
    for alert in &evaluation.alerts {
        *alerts.entry(marker(&alert.output, "scn-").unwrap_or(alert.output.clone())).or_default() += 1;
    }
    let drifted = ["added", "image_modified", "memfd", "tmpfs", "volume"];
    // What cannot be compared, or not be told, alerts as well: never less than the kernel's flags say.
    let open = ["image_unverified", "unknown"];
    for row in binary_rows(&recorded.captures) {
        let script_known = row.script.as_deref().is_some_and(|s| s != "volume" && drifted.contains(&s));
        let open = open.contains(&row.replay.as_str());
        let expected = usize::from(drifted.contains(&row.replay.as_str()) || script_known || open);
        assert_eq!(alerts.remove(&row.scenario).unwrap_or(0), expected, "{}", row.scenario);
        assert!(
            expected == 0 || open || row.alert == Some(true),
            "{}: an alert where live there is none",
            row.scenario
        );
    }
    assert!(alerts.is_empty(), "alerts that belong to no row: {alerts:?}");
}

#[test]
fn arguments_of_image_has_file_resolve_in_the_image() {
    let Some(recorded) = Recorded::find("replay: image_has_file") else { return };
    let cases = [
        ("/usr/bin/basename", "true"),
        ("/bin/basename", "true"),
        ("/bin/sh", "true"),
        ("/usr/bin/../bin/./basename", "true"),
        ("/usr/bin/nosuch", "false"),
        ("/tmp/b02", "false"),
        ("/etc", "true"),
    ];
    let names: Vec<String> = cases.iter().map(|(path, _)| format!("drift.image_has_file[{path}]")).collect();
    let fields: Vec<&str> = names.iter().map(String::as_str).collect();
    let events = recorded.events("config.scap", EXECS, &fields);
    assert!(!events.is_empty());
    for (field, (path, want)) in fields.iter().zip(cases) {
        assert_eq!(events[0].text(field).unwrap().as_deref(), Some(want), "{path}");
    }
}

#[test]
fn without_a_manifest_the_kernels_flags_decide() {
    let Some(mut recorded) = Recorded::find("replay: no manifest") else { return };
    recorded.config = recorded.config.lines().take(1).map(|l| format!("{l}\n")).collect();
    let fields =
        ["drift.binary_origin", "drift.script_origin", "drift.manifest_state", "drift.image_has_file"];
    let events = recorded.events("binary.scap", EXECS, &fields);
    let texts = |field: &str| events.iter().filter_map(|e| e.text(field).unwrap()).collect::<BTreeSet<_>>();
    let origins = ["added_or_modified", "image", "memfd", "volume"].map(str::to_owned);
    assert_eq!(texts("drift.binary_origin"), BTreeSet::from(origins));
    assert_eq!(texts("drift.script_origin"), BTreeSet::from(["unknown".to_owned()]));
    assert_eq!(texts("drift.image_has_file"), BTreeSet::new());
    let state = "unavailable:container not found on this host".to_owned();
    assert_eq!(texts("drift.manifest_state"), BTreeSet::from([state]));
}

#[test]
fn every_capture_replays_and_no_answer_comes_on_the_host() {
    let Some(recorded) = Recorded::find("replay: all captures") else { return };
    let names = ["binary", "package", "file", "network", "config", "busy"];
    for name in names {
        let events = recorded.events(
            &format!("{name}.scap"),
            "evt.num > 0",
            &["drift.container_id", "drift.binary_origin"],
        );
        assert!(events.len() > 500, "{name}: {}", events.len());
        for event in events {
            let id = event.text("drift.container_id").unwrap();
            let origin = event.text("drift.binary_origin").unwrap();
            assert!(id.is_some() || matches!(origin.as_deref(), None | Some("host")), "{name} {event:?}");
        }
    }
}
