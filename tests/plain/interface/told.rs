//! What others' events tell: drift's own, whose payloads answer, and the container plugin's.

use super::{answers, assert_answers, group, start, ID, OTHER, TID};
use testkit::host::event::{async_event, event, Exec, LOWER, OPENAT_2_X};
use testkit::host::threads::{self, Thread};
use testkit::host::{self, Host};

#[test]
fn drifts_own_events_answer_from_their_payload() {
    let (mut host, _dir) = start("*");
    // The thread itself would say otherwise.
    let cgroup = group(OTHER);
    let exec = Exec::new(TID, &cgroup, "/usr/bin/python3", LOWER, &["python3", "/tmp/x.py"]);
    let before = host.feed(exec.bytes());
    assert_eq!(host.text(&before, "binary_origin").as_deref(), Some("image"));

    let digest = "ab".repeat(32);
    let payload = serde_json::json!({
        "container_id": ID, "binary_origin": "image_modified", "binary_sha256": digest,
        "binary_path": "/bin/x",
    });
    let payload = format!("{payload}\0");
    let event = host.feed(async_event(TID, "drift_binary", payload.as_bytes()));
    for (field, answer) in answers(&mut host, &event) {
        let want = match field {
            "container_id" => Some(ID),
            "where" | "container_short_id" => Some("0123456789ab"),
            "binary_origin" => Some("image_modified"),
            "binary_sha256" => Some(digest.as_str()),
            _ => None,
        };
        assert_eq!(answer.as_deref(), want, "{field}");
    }

    for payload in ["", "\0", "{}\0", "[]", "null\0", "{\"container_id\": 7}\0", "{\"container_id\": \"x"] {
        let event = host.feed(async_event(TID, "drift_binary", payload.as_bytes()));
        for (field, answer) in answers(&mut host, &event) {
            assert_eq!(answer, None, "{field} from {payload:?}");
        }
    }
    let event = host.feed(async_event(TID, "another", payload.as_bytes()));
    for (field, answer) in answers(&mut host, &event) {
        assert_eq!(answer, None, "{field} of another plugin's event");
    }
}

#[test]
fn the_container_plugins_event_names_the_image() {
    let dir = host::no_host();
    let manifest = host::manifest(dir.path());
    let config = serde_json::json!({
        "host_root": dir.path(),
        "manifests": [{ "path": manifest, "images": ["registry.example/app*"] }],
    });
    let mut host = Host::start(&config);
    let cgroup = group(ID);
    let exec = Exec::new(TID, &cgroup, "/usr/bin/python3", LOWER, &["python3"]);
    let event = host.feed(exec.bytes());
    assert_ne!(host.text(&event, "manifest_state").as_deref(), Some("ready"));
    let container = serde_json::json!({"container": {
        "full_id": ID, "id": &ID[..12], "image": "registry.example/app:1.2", "type": 0,
    }});
    host.feed(async_event(-1, "container", format!("{container}\0").as_bytes()));
    let event = host.feed(Exec { tid: TID + 1, ..exec }.bytes());
    assert_eq!(host.text(&event, "manifest_state").as_deref(), Some("ready"));
    assert_eq!(host.text(&event, "binary_origin").as_deref(), Some("image"));
    let event = host.feed(event_of(TID));
    assert_eq!(
        host.text(&event, "manifest_state").as_deref(),
        Some("ready"),
        "also for those that ran before"
    );
}

fn event_of(tid: i64) -> Vec<u8> {
    event(OPENAT_2_X, tid, &[])
}

#[test]
fn what_was_declared_is_read_from_drifts_own_event() {
    let (mut host, _dir) = start("*");
    let payload = r#"{"container_id":"c1","image":"app:1","image_id":"unknown",
        "image_digest":"sha256:00","image_pinned":false,"image_approved":"unlisted",
        "runtime_overrides":["user","cap_add:NET_ADMIN"],"entrypoint_match":null}"#;
    let event = host.feed(async_event(TID, "drift_container", payload.as_bytes()));
    let wants = [
        ("container_id", Some("c1")),
        ("image", Some("app:1")),
        ("image_id", Some("unknown")),
        ("image_digest", Some("sha256:00")),
        ("image_pinned", Some("false")),
        ("image_approved", Some("unlisted")),
        ("entrypoint_match", None),
        ("env_added", None),
    ];
    assert_answers(&mut host, &event, &wants, payload);
    let overrides = host.text(&event, "runtime_overrides").unwrap();
    assert!(overrides.contains("user") && overrides.contains("cap_add:NET_ADMIN"), "{overrides}");
}

#[test]
fn the_container_plugin_tells_the_image_where_nothing_else_does() {
    let (mut host, _dir) = start("*");
    let id = "sha256:5cee8aabe7e0f989bbbd07828c4e5fd92b982d77d9ca1f7146c38f434b67b77a";
    let told = format!(
        r#"{{"container":{{"full_id":"{ID}","image":"app:1","imageid":"{}","imagedigest":"{id}",
            "env":["TOKEN=planted"]}}}}"#,
        &id[7..]
    );
    host.feed(async_event(-1, "container", told.as_bytes()));
    let cgroup = group(ID);
    let event = host.feed(Exec::new(TID, &cgroup, "/usr/bin/python3", LOWER, &["python3"]).bytes());
    assert_eq!(host.text(&event, "image").as_deref(), Some("app:1"));
    assert_eq!(host.text(&event, "image_id").as_deref(), Some(id));
    assert_eq!(host.text(&event, "image_digest").as_deref(), Some(id));
    assert_eq!(host.text(&event, "image_pinned").as_deref(), Some("false"));
    // Told later, about a container that is known.
    host.feed(async_event(-1, "container", told.replace("app:1", "app:2").as_bytes()));
    assert_eq!(host.text(&event, "image").as_deref(), Some("app:2"));
    for (field, answer) in answers(&mut host, &event) {
        assert!(!answer.is_some_and(|a| a.contains("planted") || a.contains("hunter2")), "{field}");
    }
}

#[test]
fn what_became_of_packages_is_read_from_drifts_own_event() {
    let (mut host, _dir) = start("*");
    let payload = r#"{"container_id":"c1","image":"app:1","pkg_manager":"apt","pkg_action":"install",
        "pkg_names":["a","b"],"pkg_followed":true,"pkg_effect":"changed","pkg_added":["a=1"],"pkg_removed":[],
        "pkg_upgraded":["b=1->2"],"pkg_command":"apt-get install a","pkg_ancestors":["sh","web"],"pkg_uid":0,
        "binary_provenance":"image"}"#;
    let event = host.feed(async_event(TID, "drift_packages", payload.as_bytes()));
    let wants = [
        ("container_id", Some("c1")),
        ("image", Some("app:1")),
        ("pkg_manager", Some("apt")),
        ("pkg_action", Some("install")),
        ("pkg_followed", Some("true")),
        ("pkg_effect", Some("changed")),
        ("pkg_removed", None),
        ("pkg_reinstalled", None),
        ("pkg_command", Some("apt-get install a")),
        ("pkg_uid", Some("0")),
        ("binary_provenance", Some("image")),
    ];
    assert_answers(&mut host, &event, &wants, payload);
    for (field, want) in [("pkg_names", "b"), ("pkg_upgraded", "b=1->2"), ("pkg_ancestors", "web")] {
        assert!(host.text(&event, field).unwrap().contains(want), "{field}");
    }
}

/// A capture in which drift tells what package managers did is replayed with one alert for each, as it was
/// live.
#[test]
fn a_recording_says_which_installations_are_told_at_their_end() {
    let (mut host, _dir) = start("*");
    let install = ["apt-get", "install", "nmap"];
    let (here, there) = (group(ID), group(OTHER));
    let exec = |cgroup: &str, tid: i64| Exec::new(tid, cgroup, "/usr/bin/apt-get", LOWER, &install).bytes();
    let event = host.feed(exec(&here, TID));
    assert_eq!(host.text(&event, "pkg_followed").as_deref(), Some("false"), "nothing says so yet");
    let told = format!(r#"{{"container_id":"{ID}","pkg_followed":true}}"#);
    host.feed(async_event(-1, "drift_container", told.as_bytes()));
    let event = host.feed(exec(&here, TID + 1));
    assert_eq!(host.text(&event, "pkg_followed").as_deref(), Some("true"));
    assert_eq!(host.text(&event, "pkg_command"), None, "the engine has no such thread");
    // The first one was told when it started: not again at its end. The second one was not.
    for (tid, followed) in [(TID, "false"), (TID + 1, "true")] {
        let ended = format!(r#"{{"container_id":"{ID}","pkg_manager":"apt","pkg_followed":true}}"#);
        let event = host.feed(async_event(tid, "drift_packages", ended.as_bytes()));
        assert_eq!(host.text(&event, "pkg_followed").as_deref(), Some(followed), "{tid}");
    }
    let event = host.feed(exec(&there, TID + 2));
    assert_eq!(host.text(&event, "pkg_followed").as_deref(), Some("false"), "another container");
    // One whose start the recording does not have was told by nobody yet.
    threads::set(TID + 4, Thread::new(TID + 4, &there, "/usr/bin/apt-get", &install));
    let event = host.feed(event_of(TID + 4));
    assert_eq!(host.text(&event, "pkg_manager").as_deref(), Some("apt"));
    let event =
        host.feed(async_event(TID + 4, "drift_packages", br#"{"pkg_manager":"apt","pkg_followed":true}"#));
    assert_eq!(host.text(&event, "pkg_followed").as_deref(), Some("true"));
    let cargo = Exec::new(TID + 3, &here, "/usr/bin/cargo", LOWER, &["cargo", "install", "x"]).bytes();
    let event = host.feed(cargo);
    assert_eq!(host.text(&event, "pkg_followed").as_deref(), Some("false"), "leaves no database");
}
