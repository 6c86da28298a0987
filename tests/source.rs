//! The event source `drift` on a real container: through the C interface as an engine drives it, and in real sysdig.

// Helpers of tests: a failure there is a failure of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod host;

use falco_plugin::api::{ss_instance_t, ss_plugin_event};
use host::library::{self, Instance};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::engine::Engine;
use testkit::live::{self, Container, Image};
use testkit::skip::skip;

const SUCCESS: i32 = 0;
const TIMEOUT: i32 = -1;
const EOF: i32 = 2;

/// The source, open, without an engine.
struct Open<'a> {
    plugin: Instance<'a>,
    source: *mut ss_instance_t,
}

impl Open<'_> {
    fn new(params: &str) -> Result<Self, String> {
        let plugin = Instance::new(library::api(), "{}")?;
        let params = CString::new(params).unwrap();
        let mut rc = -1;
        // SAFETY: the instance and the pointers live for the call.
        let source = unsafe {
            library::api().__bindgen_anon_1.open.unwrap()(plugin.pointer(), params.as_ptr(), &mut rc)
        };
        match rc {
            SUCCESS => Ok(Self { plugin, source }),
            _ => Err(plugin.last_error()),
        }
    }

    /// The next payloads, and whether there are more to come.
    fn next(&self) -> (Vec<Value>, bool) {
        let (mut count, mut events): (u32, *mut *mut ss_plugin_event) = (0, std::ptr::null_mut());
        let next = library::api().__bindgen_anon_1.next_batch.unwrap();
        // SAFETY: the instance and the source live; the pointers are valid for the call.
        let rc = unsafe { next(self.plugin.pointer(), self.source, &mut count, &mut events) };
        match rc {
            SUCCESS => {}
            TIMEOUT => return (Vec::new(), true),
            EOF => return (Vec::new(), false),
            rc => panic!("rc {rc}: {}", self.plugin.last_error()),
        }
        let payload = |i: usize| {
            // SAFETY: the plugin gave so many events, good until the next call.
            unsafe {
                let event = *events.add(i);
                let len = (*event).len as usize;
                let bytes = std::slice::from_raw_parts(event.cast::<u8>(), len);
                let event = drift::event::raw::SyscallEvent::from_bytes(bytes).unwrap();
                let data = event.source_payload(drift::source::PLUGIN_ID).unwrap();
                serde_json::from_slice(data).unwrap()
            }
        };
        ((0..count as usize).map(payload).collect(), true)
    }

    /// All events of a container until there is none for a while.
    fn settled(&self, container: &str, quiet: Duration) -> Vec<Value> {
        let mut all = Vec::new();
        let mut last = Instant::now();
        while last.elapsed() < quiet {
            let (events, more) = self.next();
            let ours: Vec<_> = events.into_iter().filter(|e| e["container_id"] == container).collect();
            if !ours.is_empty() {
                last = Instant::now();
            }
            all.extend(ours);
            if !more {
                break;
            }
        }
        all
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // SAFETY: it came from `open` and is closed once.
        unsafe { library::api().__bindgen_anon_1.close.unwrap()(self.plugin.pointer(), self.source) }
    }
}

fn lines(events: &[Value]) -> BTreeSet<String> {
    let word = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    events
        .iter()
        .map(|e| {
            format!("{} {} {} {}", word(&e["type"]), word(&e["change"]), word(&e["origin"]), word(&e["path"]))
        })
        .collect()
}

fn in_container(container: &Container, name: &str, script: &str) {
    let done = container.vol().join(name);
    let script = container.put(name, format!("{script}\ntouch /vol/{name}\n").as_bytes()).unwrap();
    container.run(&format!("sh {script}")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done.exists() {
        assert!(Instant::now() < deadline, "{name} is not done");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const CHANGES: &str = "mkdir -p /opt/tool\ncp /bin/sleep /opt/tool/x\n/opt/tool/x 1000 &\nrm /usr/bin/tty\n\
                       echo x >> /etc/passwd\nchmod u+s /bin/cat\nchmod 700 /bin/ls\nSECRET=planted-secret sleep 999 &";

const EXPECTED: [&str; 5] = [
    "file created added /opt/tool/x",
    "file deleted image /usr/bin/tty",
    "file metadata image_touched /usr/bin/cat",
    "file modified image_modified /etc/passwd",
    "process - added /opt/tool/x",
];

#[test]
fn findings_are_told_once_and_again_when_they_change_or_go() {
    let test = "source: podman";
    if let Some(why) = live::missing(live::PODMAN_TOOLS) {
        return skip(test, &why);
    }
    let container = Container::podman(&Image::debian().unwrap()).unwrap();
    in_container(&container, "changes", CHANGES);
    let source = Open::new(r#"{"interval_seconds":1,"cpu_percent":100}"#).unwrap();
    let first = source.settled(container.id(), Duration::from_secs(4));
    assert_eq!(lines(&first), EXPECTED.map(str::to_owned).into(), "{first:#?}");
    assert_eq!(first.len(), 5, "each once, over several rounds");
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
    for (params, why) in
        [("{\"interval\":5}", "interval_seconds"), ("x", "JSON object"), ("{\"checks\":[\"x\"]}", "files")]
    {
        let said = Open::new(params).err().unwrap();
        assert!(said.contains(why), "{params}: {said}");
    }
}

#[test]
fn closing_ends_the_thread_at_once() {
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks.filter(|t| std::fs::read(t.path().join("comm")).is_ok_and(|c| c == b"drift-source\n")).count()
    };
    let before = Instant::now();
    for _ in 0..5 {
        let source = Open::new("").unwrap();
        source.next();
        assert!(threads() > 0);
        drop(source);
    }
    assert!(before.elapsed() < Duration::from_secs(5));
}

/// Real libsinsp opens the source, and fields come from the events' payloads; a rule's condition filters them.
#[test]
fn sysdig_reads_the_source() {
    let test = "source: sysdig";
    if let Some(why) = live::missing(live::CONTAINERD_TOOLS) {
        return skip(test, &why);
    }
    let container = Container::containerd(&Image::debian().unwrap()).unwrap();
    in_container(&container, "changes", CHANGES);
    let dir = tempfile::tempdir().unwrap();
    let config = common::engine_config(dir.path(), &testkit::plugin_library().unwrap(), "cache: {}");
    let engine = Engine::sysdig().unwrap();
    let command = engine.command();
    let format = "*%drift.event.type %drift.event.change %drift.event.origin %drift.event.path \
                  %drift.event.package %drift.event.container_id %drift.binary_origin";
    let run = |filter: &str| {
        let output = Command::new(&command[0])
            .args(&command[1..])
            .arg("--plugin-config-file")
            .arg(&config)
            .args(["-I", r#"drift:{"once":true,"cpu_percent":100}"#, "-j", "-p", format, filter])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let text = String::from_utf8(output.stdout).unwrap();
        let rows: Vec<Value> = text
            .lines()
            .filter(|l| l.starts_with('{'))
            .map(|l| serde_json::from_str::<Value>(l).unwrap())
            .filter(|e| e["drift.event.container_id"] == container.id())
            .collect();
        assert!(output.status.success(), "{said}");
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
