//! The event source `drift` on a real container: through the C interface as an engine drives it, and in real
//! sysdig.

use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::engine::{write_config, Engine};
use testkit::host::library;
use testkit::host::opened::{in_container, lines, Open};
use testkit::live::{Image, Runtime};

const CHANGES: &str = "mkdir -p /opt/tool\ncp /bin/sleep /opt/tool/x\n/opt/tool/x 1000 &\nrm /usr/bin/tty\n\
                       echo x >> /etc/passwd\nchmod u+s /bin/cat\nchmod 700 /bin/ls\n\
                       SECRET=planted-secret sleep 999 &";

const EXPECTED: [&str; 7] = [
    // The variable SECRET, which nobody declared.
    "environment - - /usr/bin/sleep",
    "file created added /opt/tool/x",
    "file deleted image /usr/bin/tty",
    "file metadata image_touched /usr/bin/cat",
    "file modified image_modified /etc/passwd",
    "process - added /opt/tool/x",
    "rootfs - - /",
];

#[test]
fn findings_are_told_once_and_again_when_they_change_or_go() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Podman.usable("source: podman", &[]) {
        return;
    }
    let container = Runtime::Podman.start(&Image::debian().unwrap()).unwrap();
    in_container(&container, "changes", CHANGES);
    let source = Open::new(r#"{"interval_seconds":1,"cpu_percent":100}"#).unwrap();
    let first = source.settled(container.id(), Duration::from_secs(4));
    assert_eq!(lines(&first), EXPECTED.map(str::to_owned).into(), "{first:#?}");
    assert_eq!(first.len(), EXPECTED.len(), "each once, over several rounds");
    let cat = first.iter().find(|e| e["path"] == "/usr/bin/cat").unwrap();
    assert_eq!(cat["package"], "dpkg:coreutils");
    assert!(cat["expected"].as_str().unwrap().starts_with("file mode=0755"), "{cat}");
    assert!(cat["actual"].as_str().unwrap().starts_with("file mode=4755"), "{cat}");
    assert!(!serde_json::to_string(&first).unwrap().contains("planted-secret"));

    in_container(&container, "undo", "chmod u-s /bin/cat\necho y >> /etc/passwd\nrm /opt/tool/x\n");
    let second = source.settled(container.id(), Duration::from_secs(4));
    assert_eq!(
        lines(&second),
        [
            "file modified image_modified /etc/passwd",
            "process - added /opt/tool/x",
            "resolved created added /opt/tool/x",
            "resolved metadata image_touched /usr/bin/cat",
        ]
        .map(str::to_owned)
        .into(),
        "{second:#?}"
    );
    let process = second.iter().find(|e| e["type"] == "process").unwrap();
    assert!(process["detail"].as_str().unwrap().contains("deleted"), "its file is gone, it runs on");
}

#[test]
fn bad_parameters_are_refused_with_the_reason() {
    let _turn = crate::turns::take(module_path!());
    for (params, why) in
        [("{\"interval\":5}", "interval_seconds"), ("x", "JSON object"), ("{\"checks\":[\"x\"]}", "files")]
    {
        let said = Open::new(params).err().unwrap();
        assert!(said.contains(why), "{params}: {said}");
    }
}

/// Names of this process's threads.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .filter_map(|t| Some(std::fs::read_to_string(t.path().join("comm")).ok()?.trim().to_owned()))
        .collect()
}

fn has_thread(name: &str) -> bool {
    threads().iter().any(|t| t == name)
}

#[test]
fn closing_ends_the_thread_at_once() {
    let _turn = crate::turns::take(module_path!());
    let before = Instant::now();
    for _ in 0..5 {
        // Whoever waited for the next round would be here for hours.
        let source = Open::new(r#"{"interval_seconds":3600}"#).unwrap();
        source.next();
        assert!(has_thread("drift-source"));
        drop(source);
    }
    assert!(before.elapsed() < Duration::from_secs(60));
}

#[test]
fn without_a_rule_nothing_is_compared() {
    let _turn = crate::turns::take(module_path!());
    let source = Open::new("").unwrap();
    let until = Instant::now() + Duration::from_secs(2);
    let mut events = Vec::new();
    while Instant::now() < until {
        events.extend(source.next().0);
    }
    let types: Vec<_> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["started"], "the source asks whether anybody reads it, and waits");
}

/// Falco makes an instance for each source, and starts the background of both.
#[test]
fn the_instance_of_the_source_has_no_threads_for_system_calls() {
    let _turn = crate::turns::take(module_path!());
    let source = Open::new("").unwrap();
    source.plugin().set_async(true);
    assert!(!has_thread("drift-indexer"), "{:?}", threads());
    let other = library::Instance::new(library::api(), "{}").unwrap();
    other.set_async(true);
    assert!(has_thread("drift-indexer"), "this test would not see the thread");
    other.set_async(false);
    source.plugin().set_async(false);
}

/// Real libsinsp opens the source, and fields come from the events' payloads; a rule's condition filters
/// them.
#[test]
fn sysdig_reads_the_source() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Containerd.usable("source: sysdig", &[]) {
        return;
    }
    let container = Runtime::Containerd.start(&Image::debian().unwrap()).unwrap();
    in_container(&container, "changes", CHANGES);
    let dir = tempfile::tempdir().unwrap();
    let config = write_config(dir.path(), "cache: {}").unwrap();
    let engine = Engine::sysdig().unwrap();
    let command = engine.command();
    let format = "*%drift.event.type %drift.event.change %drift.event.origin %drift.event.path \
                  %drift.event.package %drift.event.container_id %drift.binary_origin";
    let sysdig = |arguments: &[&str]| {
        let output = Command::new(&command[0])
            .args(&command[1..])
            .arg("--plugin-config-file")
            .arg(&config)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        (String::from_utf8(output.stdout).unwrap(), said)
    };
    // Taken once, and read for each rule: what a capture holds replays with the same answers.
    let capture = dir.path().join("source.scap");
    let capture = capture.to_str().unwrap();
    sysdig(&["-I", r#"drift:{"once":true,"cpu_percent":100}"#, "-w", capture]);
    let run = |filter: &str| {
        let (text, said) = sysdig(&["-r", capture, "-j", "-p", format, filter]);
        let rows: Vec<Value> = text
            .lines()
            .filter(|l| l.starts_with('{'))
            .map(|l| serde_json::from_str::<Value>(l).unwrap())
            .filter(|e| e["drift.event.container_id"] == container.id())
            .collect();
        (rows, said)
    };
    let (rows, said) = run("drift.event.type exists");
    let got: BTreeSet<String> = rows
        .iter()
        .map(|e| {
            let word = |key: &str| e[key].as_str().unwrap_or("-").to_owned();
            let [a, b, c, d] =
                ["type", "change", "origin", "path"].map(|k| word(&format!("drift.event.{k}")));
            format!("{a} {b} {c} {d}")
        })
        .collect();
    assert_eq!(got, EXPECTED.map(str::to_owned).into(), "{rows:#?} {said}");
    assert!(rows.iter().all(|e| e["drift.binary_origin"].is_null()), "fields of syscalls are absent");
    let rules = testkit::workspace_dir().join("rules/drift_source_rules.yaml");
    let mut alerts = BTreeSet::new();
    for rule in testkit::rules::load(&rules).unwrap().iter().filter(|r| r.enabled) {
        for row in run(&rule.filter).0 {
            alerts.insert(format!("{}: {}", rule.name, row["drift.event.path"].as_str().unwrap()));
        }
    }
    assert_eq!(
        alerts,
        [
            "Drift found container file added: /opt/tool/x",
            "Drift found container file gained privilege: /usr/bin/cat",
            "Drift found image file changed: /etc/passwd",
            "Drift found image file changed: /usr/bin/tty",
            "Drift found process not from image: /opt/tool/x",
        ]
        .map(str::to_owned)
        .into()
    );
}
