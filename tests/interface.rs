//! The built library through its C interface, driven by a small engine: what it exports, and what it answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod host;

use host::event::{async_event, event, Exec, EXECVE_19_E, LOWER, MEMFD, NOW, OPENAT_2_X, UPPER};
use host::threads::{self, Thread};
use host::{library, Host, PYTHON_SHA256};

/// A container that the manifest describes, as Docker names its control group.
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// One that it does not.
const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
/// A thread id above the largest that Linux gives (`PID_MAX_LIMIT`, 4194304).
const TID: i64 = 5_000_000;

const FIELDS: [&str; 81] = [
    "container_id",
    "container_age",
    "container_drifts",
    "manifest_state",
    "rootfs_readonly",
    "image",
    "image_id",
    "image_digest",
    "image_pinned",
    "image_approved",
    "runtime_overrides",
    "entrypoint_match",
    "env_added",
    "env_changed",
    "env_risky",
    "port_declared",
    "port_new",
    "peer_expected",
    "peer_baseline",
    "peer_new",
    "peer",
    "peer_direction",
    "peer_name",
    "name_watch",
    "image_has_file",
    "file_path",
    "file_new_path",
    "file_change",
    "file_origin",
    "file_kind",
    "file_package",
    "file_writer",
    "file_writer_pid",
    "file_provenance",
    "volume_kind",
    "library_watch",
    "process_cmdline",
    "binary_origin",
    "binary_package",
    "binary_layer",
    "binary_sha256",
    "binary_traits",
    "binary_writer",
    "binary_provenance",
    "binary_runs",
    "script_path",
    "script_origin",
    "script_package",
    "script_writer",
    "script_provenance",
    "script_runs",
    "pkg_manager",
    "pkg_action",
    "pkg_names",
    "pkg_role",
    "pkg_followed",
    "pkg_effect",
    "pkg_added",
    "pkg_removed",
    "pkg_upgraded",
    "pkg_reinstalled",
    "pkg_command",
    "pkg_pcommand",
    "pkg_ancestors",
    "pkg_uid",
    "event.type",
    "event.check",
    "event.container_id",
    "event.image",
    "event.path",
    "event.change",
    "event.origin",
    "event.kind",
    "event.package",
    "event.port",
    "event.env_names",
    "event.env_risky",
    "event.before_start",
    "event.detail",
    "event.expected",
    "event.actual",
];

fn group(id: &str) -> String {
    format!("/docker/{id}")
}

/// An engine with the test image's manifest for the containers whose id matches.
fn start(containers: &str) -> (Host, tempfile::TempDir) {
    let dir = host::no_host();
    let manifest = host::manifest(dir.path());
    (Host::start(&host::config(dir.path(), &manifest, containers)), dir)
}

fn answers(host: &mut Host, event: &falco_plugin_runner::Event) -> Vec<(&'static str, Option<String>)> {
    FIELDS.iter().map(|field| (*field, host.text(event, field))).collect()
}

#[test]
fn names_versions_and_subscriptions() {
    let library = library::open();
    let api = library::functions(&library);
    assert_eq!(library::text(api.get_name), "drift");
    assert_eq!(library::text(api.get_required_api_version), "3.11.0", "Falco 0.41");
    assert_eq!(
        library::event_schema_version(&library).as_deref(),
        Some("4.0.0"),
        "else libs 0.22 refuse it live"
    );
    assert_eq!(library::text(api.get_version), env!("CARGO_PKG_VERSION"));
    assert_eq!(library::text(api.__bindgen_anon_2.get_extract_event_sources), r#"["drift","syscall"]"#);
    assert_eq!(library::text(api.__bindgen_anon_3.get_parse_event_sources), r#"["syscall"]"#);
    assert_eq!(library::text(api.__bindgen_anon_4.get_async_event_sources), r#"["syscall"]"#);
    assert_eq!(
        library::text(api.__bindgen_anon_4.get_async_events),
        r#"["drift_binary","drift_file","drift_library","drift_container","drift_packages","drift_peer"]"#
    );

    let every: Vec<u16> = vec![];
    assert_eq!(library::codes(api.__bindgen_anon_2.get_extract_event_types), every, "fields on any event");
    let mut parsed = library::codes(api.__bindgen_anon_3.get_parse_event_types);
    parsed.sort_unstable();
    // procexit; clone, fork, vfork; execve; execveat; clone3; async. Any other would switch a syscall on.
    assert_eq!(parsed, [186, 223, 225, 227, 293, 331, 335, 402]);
    // Events of the source are the plugin's own, with an id that is free for private use.
    assert_eq!(library::text(api.__bindgen_anon_1.get_event_source), "drift");
    // SAFETY: it needs no instance.
    let id = unsafe { api.__bindgen_anon_1.get_id.unwrap()() };
    assert!((1_073_741_824..=2_147_483_647).contains(&id));
    assert!(api.__bindgen_anon_5.capture_open.is_none());
}

#[test]
fn the_schema_lists_the_fields() {
    let schema: serde_json::Value =
        serde_json::from_str(&library::text(library::api().__bindgen_anon_2.get_fields)).unwrap();
    let fields = schema.as_array().unwrap();
    let names: Vec<String> = fields
        .iter()
        .map(|f| f["name"].as_str().unwrap().strip_prefix("drift.").unwrap().to_owned())
        .collect();
    assert_eq!(names, FIELDS);
    for field in fields {
        assert!(!field["desc"].as_str().unwrap().is_empty());
        let keyed = field["name"] == "drift.image_has_file";
        assert_eq!(field["arg"]["isKey"].as_bool(), keyed.then_some(true), "{field}");
        assert_ne!(field["arg"]["isRequired"], true);
    }
}

/// What is expected of an exec in the container that the manifest describes, replayed: nothing of it is on the host.
struct Case {
    name: &'static str,
    path: &'static str,
    flags: u32,
    argv: &'static [&'static str],
    cwd: &'static str,
    origin: &'static str,
    sha256: &'static str,
    layer: Option<&'static str>,
    in_image: Option<&'static str>,
    script: Option<(&'static str, &'static str)>,
}

const CASE: Case = Case {
    name: "from a lower layer, and in the manifest",
    path: "/usr/bin/python3",
    flags: LOWER,
    argv: &["python3"],
    cwd: "/",
    origin: "image",
    sha256: PYTHON_SHA256,
    layer: Some("0"),
    in_image: Some("true"),
    script: None,
};

const CASES: &[Case] = &[
    CASE,
    Case {
        name: "written into the container",
        path: "/tmp/evil",
        flags: UPPER,
        argv: &["/tmp/evil"],
        origin: "added",
        sha256: "unknown",
        layer: None,
        in_image: Some("false"),
        ..CASE
    },
    Case {
        name: "copied up: the content cannot be compared in a replay",
        path: "/usr/bin/bash",
        flags: UPPER,
        argv: &["bash"],
        origin: "image_unverified",
        sha256: "unknown",
        ..CASE
    },
    Case {
        name: "a memfd",
        path: "memfd:x",
        flags: MEMFD,
        argv: &["x"],
        origin: "memfd",
        sha256: "unknown",
        layer: None,
        in_image: Some("false"),
        ..CASE
    },
    Case {
        name: "a memfd, by the kernel's flag alone",
        path: "/x",
        flags: MEMFD,
        argv: &["x"],
        origin: "memfd",
        sha256: "unknown",
        layer: None,
        in_image: Some("false"),
        ..CASE
    },
    Case {
        name: "no flags: a volume, or an old kernel",
        flags: 0,
        origin: "unknown",
        sha256: "unknown",
        layer: None,
        ..CASE
    },
    Case {
        name: "a lower layer, but of which the manifest has nothing: not this image",
        path: "/usr/bin/perl",
        argv: &["perl"],
        origin: "unknown",
        sha256: "unknown",
        layer: None,
        in_image: Some("false"),
        ..CASE
    },
    Case {
        name: "a script that the image does not have",
        argv: &["python3", "-u", "evil.py", "-c", "x"],
        cwd: "/tmp/",
        script: Some(("/tmp/evil.py", "added")),
        ..CASE
    },
    Case {
        name: "a script that the image has: whether it was changed is not known in a replay",
        argv: &["python3", "/app/run.py"],
        script: Some(("/app/run.py", "unknown")),
        ..CASE
    },
    Case { name: "code on the command line is no script", argv: &["python3", "-c", "print(1)"], ..CASE },
];

#[test]
fn an_exec_is_judged_and_the_thread_remembers() {
    let (mut host, _dir) = start("0123*");
    for (tid, case) in (TID..).zip(CASES) {
        let mut exec = Exec::new(tid, "", case.path, case.flags, case.argv);
        let cgroup = group(ID);
        (exec.cgroup, exec.cwd) = (&cgroup, case.cwd);
        let event = host.feed(exec.bytes());
        let wants = [
            ("container_id", Some(ID)),
            ("container_age", None),
            ("manifest_state", Some("ready")),
            ("rootfs_readonly", None),
            ("image_has_file", case.in_image),
            ("volume_kind", None),
            ("binary_origin", Some(case.origin)),
            ("binary_layer", case.layer),
            ("binary_sha256", Some(case.sha256)),
            ("binary_traits", None),
            ("script_path", case.script.map(|s| s.0)),
            ("script_origin", case.script.map(|s| s.1)),
        ];
        for (field, want) in wants {
            assert_eq!(host.text(&event, field).as_deref(), want, "{}: {field}", case.name);
        }
        let first = answers(&mut host, &event);
        assert_eq!(first, answers(&mut host, &event), "{}: asked again", case.name);

        // The engine knows the thread now, and something else happens on it.
        let mut thread = Thread::new(tid, &cgroup, case.path, case.argv);
        (thread.upper, thread.lower) = (case.flags & UPPER != 0, case.flags & LOWER != 0);
        (thread.memfd, thread.cwd) = (case.flags & MEMFD != 0, case.cwd);
        threads::set(tid, thread);
        let later = host.feed(host::event::event(OPENAT_2_X, tid, &[&3i64.to_ne_bytes()]));
        let expected: Vec<_> = first
            .iter()
            // Of the event, not of the process.
            .map(|(field, answer)| {
                let of_the_process = !matches!(*field, "image_has_file" | "file_path");
                (*field, answer.clone().filter(|_| of_the_process))
            })
            .collect();
        assert_eq!(answers(&mut host, &later), expected, "{}: later", case.name);
        assert_eq!(answers(&mut host, &later), expected, "{}: later, asked again", case.name);
    }
    assert_eq!(host.metric("panics_caught"), 0);
}

#[test]
fn runs_of_what_is_not_the_images_are_counted_once_for_each_exec() {
    let (mut host, _dir) = start("0123*");
    let cgroup = group(ID);
    // Path, flags, arguments, and the numbers of the run of the executable and of the script.
    type Row<'a> = (&'a str, u32, &'a [&'a str], [Option<&'a str>; 2]);
    let execs: [Row<'_>; 6] = [
        ("/tmp/x", UPPER, &["x"], [Some("1"), None]),
        ("/tmp/x", UPPER, &["x", "again"], [Some("2"), None]),
        ("/tmp/y", UPPER, &["y"], [Some("1"), None]),
        ("/tmp/x", UPPER, &["x"], [Some("3"), None]),
        (CASE.path, LOWER, &["python3", "/tmp/s"], [None, Some("1")]),
        (CASE.path, LOWER, &["python3", "/tmp/s"], [None, Some("2")]),
    ];
    for (tid, (path, flags, argv, wants)) in (TID + 3000..).zip(execs) {
        let mut exec = Exec::new(tid, "", path, flags, argv);
        exec.cgroup = &cgroup;
        let event = host.feed(exec.bytes());
        let later = host.feed(host::event::event(OPENAT_2_X, tid, &[&3i64.to_ne_bytes()]));
        for event in [&event, &event, &later] {
            for (field, want) in ["binary_runs", "script_runs"].into_iter().zip(wants) {
                assert_eq!(host.text(event, field).as_deref(), want, "{argv:?}: {field}");
            }
        }
    }
}

#[test]
fn a_thread_whose_exec_was_not_seen_is_read_from_the_table() {
    let (mut host, _dir) = start("0123*");
    for (tid, case) in (TID + 1000..).zip(CASES) {
        let mut thread = Thread::new(tid, &group(ID), case.path, case.argv);
        (thread.upper, thread.lower) = (case.flags & UPPER != 0, case.flags & LOWER != 0);
        (thread.memfd, thread.cwd) = (case.flags & MEMFD != 0, case.cwd);
        (thread.vtid, thread.pidns_init_start) = (17, NOW - 90_000_000_000);
        threads::set(tid, thread);
        // A thread of that process, which only has its process's executable.
        threads::set(-tid, Thread { pid: tid, ..Thread::new(-tid, &group(ID), case.path, case.argv) });
        for tid in [tid, -tid] {
            let event = host.feed(event(OPENAT_2_X, tid, &[&3i64.to_ne_bytes()]));
            let wants = [
                ("container_id", Some(ID)),
                ("image_has_file", None),
                ("binary_origin", Some(case.origin)),
                ("binary_layer", case.layer),
                ("binary_sha256", Some(case.sha256)),
                ("script_path", case.script.map(|s| s.0)),
                ("script_origin", case.script.map(|s| s.1)),
            ];
            for (field, want) in wants {
                assert_eq!(host.text(&event, field).as_deref(), want, "{}: {field} of {tid}", case.name);
            }
        }
        let event = host.feed(event(OPENAT_2_X, tid, &[&3i64.to_ne_bytes()]));
        assert_eq!(
            host.ask(&event, "container_age"),
            falco_plugin_runner::ExtractedField::RelTime(std::time::Duration::from_secs(90))
        );
    }
}

#[test]
fn whether_the_image_has_a_path() {
    let (mut host, _dir) = start("0123*");
    let event = host.feed(Exec::new(TID, &group(ID), "/tmp/evil", UPPER, &["evil"]).bytes());
    for (path, want) in [
        ("/usr/bin/bash", Some("true")),
        ("/bin/bash", Some("true")),
        ("/usr/bin/../bin/./bash", Some("true")),
        ("/app", Some("true")),
        ("/usr/bin/perl", Some("false")),
        ("/../../etc/passwd", Some("false")),
        ("usr/bin/bash", Some("true")),
    ] {
        assert_eq!(host.text(&event, &format!("image_has_file[{path}]")).as_deref(), want, "{path}");
    }
}

#[test]
fn a_container_without_a_manifest_is_not_known() {
    let (mut host, _dir) = start("0123*");
    for (path, flags) in [("/usr/bin/python3", LOWER), ("/usr/bin/python3", UPPER), ("/usr/bin/python3", 0)] {
        let event = host.feed(Exec::new(TID, &group(OTHER), path, flags, &["python3", "/x.py"]).bytes());
        assert_eq!(host.text(&event, "container_id").as_deref(), Some(OTHER));
        assert_eq!(host.text(&event, "binary_origin").as_deref(), Some("unknown"), "{flags}");
        assert_eq!(host.text(&event, "script_origin").as_deref(), Some("unknown"), "{flags}");
        assert_eq!(host.text(&event, "image_has_file"), None);
        let state = host.text(&event, "manifest_state").unwrap();
        assert!(state.starts_with("unavailable:"), "{state}");
    }
    assert!(host.metric("unknown_no_image") > 0);
    let event = host.feed(Exec::new(TID, &group(OTHER), "memfd:x", MEMFD, &["x"]).bytes());
    assert_eq!(host.text(&event, "binary_origin").as_deref(), Some("memfd"), "the kernel's word is enough");
}

#[test]
fn processes_of_the_host_have_no_container() {
    let (mut host, _dir) = start("*");
    for cgroup in ["/", "/system.slice/ssh.service", "/user.slice/user-0.slice/session-1.scope"] {
        let exec = Exec::new(TID, cgroup, "/usr/bin/python3", UPPER, &["python3", "/tmp/x.py"]);
        let event = host.feed(exec.bytes());
        for (field, answer) in answers(&mut host, &event) {
            assert_eq!(answer.as_deref(), (field == "binary_origin").then_some("host"), "{cgroup}: {field}");
        }
        assert_eq!(host.text(&event, "image_has_file[/usr/bin/bash]"), None);
    }
}

#[test]
fn an_exec_that_has_not_happened_changes_nothing() {
    let (mut host, _dir) = start("0123*");
    let cgroup = group(ID);
    let mut thread = Thread::new(TID, &cgroup, "/usr/bin/bash", &["bash", "-i"]);
    thread.lower = true;
    threads::set(TID, thread);
    let failed = Exec { result: -2, ..Exec::new(TID, &cgroup, "/tmp/evil", UPPER, &["python3", "/evil.py"]) };
    let entered = event(EXECVE_19_E, TID, &[b"/tmp/evil\0"]);
    for bytes in [entered, failed.bytes()] {
        let event = host.feed(bytes);
        assert_eq!(host.text(&event, "container_id").as_deref(), Some(ID));
        assert_eq!(host.text(&event, "binary_origin").as_deref(), Some("image"), "of the process as it is");
        assert_eq!(host.text(&event, "image_has_file"), None);
        assert_eq!(host.text(&event, "script_path"), None);
        assert_eq!(host.text(&event, "script_origin"), None);
    }
}

#[test]
fn a_new_process_with_an_old_id_is_another() {
    let (mut host, _dir) = start("*");
    let event = host.feed(Exec::new(TID, &group(ID), "/tmp/evil", UPPER, &["evil"]).bytes());
    assert_eq!(host.text(&event, "binary_origin").as_deref(), Some("added"));
    host.feed(host::event::event(host::event::PROCEXIT_1_E, TID, &[]));
    // The id comes back in another container, as a copy of a process that runs from the image.
    let mut thread = Thread::new(TID, &group(OTHER), "/usr/bin/bash", &["bash"]);
    thread.lower = true;
    threads::set(TID, thread);
    let event = host.feed(host::event::event(host::event::CLONE_20_X, TID, &[&0i64.to_ne_bytes()]));
    assert_eq!(host.text(&event, "container_id").as_deref(), Some(OTHER));
    assert_eq!(host.text(&event, "binary_origin").as_deref(), Some("image"));
}

#[test]
fn unknown_threads_have_no_answers() {
    let (mut host, _dir) = start("*");
    for tid in [-1, 0, TID] {
        let event = host.feed(event(OPENAT_2_X, tid, &[]));
        for (field, answer) in answers(&mut host, &event) {
            assert_eq!(answer, None, "{field} of thread {tid}");
        }
    }
}

#[test]
fn a_call_that_changes_a_file_names_it() {
    let (mut host, _dir) = start("0123*");
    let mut thread = Thread::new(TID, &group(ID), "/usr/bin/python3", &["python3"]);
    (thread.lower, thread.cwd, thread.fds) = (true, "/etc", vec![(9, "/opt/dir")]);
    threads::set(TID, thread);
    let (fd, dir, cwd) = (3i64.to_ne_bytes(), 9i64.to_ne_bytes(), (-100i64).to_ne_bytes());
    let (ok, failed) = (0i64.to_ne_bytes(), (-13i64).to_ne_bytes());
    // PPM_O_WRONLY, with PPM_O_CREAT and PPM_O_F_CREATED; PPM_O_RDONLY.
    let (write, made, read) = (2u32.to_ne_bytes(), 0x4006u32.to_ne_bytes(), 1u32.to_ne_bytes());
    type Row<'a> = (u16, Vec<&'a [u8]>, Option<(&'a str, &'a str, Option<&'a str>)>);
    let rows: Vec<Row<'_>> = vec![
        (OPENAT_2_X, vec![&fd, &cwd, b"../app/./x\0", &write], Some(("/app/x", "opened", None))),
        (OPENAT_2_X, vec![&fd, &dir, b"new\0", &made], Some(("/opt/dir/new", "created", None))),
        (OPENAT_2_X, vec![&fd, &cwd, b"/app/x\0", &read], None),
        (OPENAT_2_X, vec![&failed, &cwd, b"/app/x\0", &write], None),
        (OPENAT_2_X, vec![&fd, &cwd, b"/proc/self/x\0", &write], None),
        // unlink, rename, fchmod.
        (301, vec![&ok, b"passwd\0"], Some(("/etc/passwd", "deleted", None))),
        (175, vec![&ok, b"/a\0", b"b\0"], Some(("/a", "renamed", Some("/etc/b")))),
        (317, vec![&ok, &dir, &write], Some(("/opt/dir", "metadata", None))),
    ];
    for (code, params, want) in rows {
        let event = host.feed(host::event::event(code, TID, &params));
        for _ in 0..2 {
            let mut answer = |field| host.text(&event, field);
            let got = (answer("file_path"), answer("file_change"), answer("file_new_path"));
            let want =
                want.map(|(path, change, to)| (path.to_owned(), change.to_owned(), to.map(str::to_owned)));
            assert_eq!(
                got.0.zip(got.1).map(|(path, change)| (path, change, got.2)),
                want,
                "{code} {params:?}"
            );
        }
    }
    assert_eq!(host.metric("panics_caught"), 0);
}

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
        "container_id": ID, "binary_origin": "image_modified", "binary_sha256": digest, "binary_path": "/bin/x",
    });
    let payload = format!("{payload}\0");
    let event = host.feed(async_event(TID, "drift_binary", payload.as_bytes()));
    for (field, answer) in answers(&mut host, &event) {
        let want = match field {
            "container_id" => Some(ID),
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
    assert_eq!(host.text(&event, "binary_origin").as_deref(), Some("unknown"));
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
    let payload = r#"{"container_id":"c1","image":"app:1","image_id":"unknown","image_digest":"sha256:00","image_pinned":false,
        "image_approved":"unlisted","runtime_overrides":["user","cap_add:NET_ADMIN"],"entrypoint_match":null}"#;
    let event = host.feed(async_event(TID, "drift_container", payload.as_bytes()));
    for (field, want) in [
        ("container_id", Some("c1")),
        ("image", Some("app:1")),
        ("image_id", Some("unknown")),
        ("image_digest", Some("sha256:00")),
        ("image_pinned", Some("false")),
        ("image_approved", Some("unlisted")),
        ("entrypoint_match", None),
        ("env_added", None),
    ] {
        assert_eq!(host.text(&event, field).as_deref(), want, "{field}");
    }
    let overrides = host.text(&event, "runtime_overrides").unwrap();
    assert!(overrides.contains("user") && overrides.contains("cap_add:NET_ADMIN"), "{overrides}");
}

#[test]
fn the_container_plugin_tells_the_image_where_nothing_else_does() {
    let (mut host, _dir) = start("*");
    let id = "sha256:5cee8aabe7e0f989bbbd07828c4e5fd92b982d77d9ca1f7146c38f434b67b77a";
    let told = format!(
        r#"{{"container":{{"full_id":"{ID}","image":"app:1","imageid":"{}","imagedigest":"{id}","env":["TOKEN=planted"]}}}}"#,
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
    let payload = r#"{"container_id":"c1","image":"app:1","pkg_manager":"apt","pkg_action":"install","pkg_names":["a","b"],
        "pkg_followed":true,"pkg_effect":"changed","pkg_added":["a=1"],"pkg_removed":[],"pkg_upgraded":["b=1->2"],
        "pkg_command":"apt-get install a","pkg_ancestors":["sh","web"],"pkg_uid":0,"binary_provenance":"image"}"#;
    let event = host.feed(async_event(TID, "drift_packages", payload.as_bytes()));
    for (field, want) in [
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
    ] {
        assert_eq!(host.text(&event, field).as_deref(), want, "{field}");
    }
    for (field, want) in [("pkg_names", "b"), ("pkg_upgraded", "b=1->2"), ("pkg_ancestors", "web")] {
        assert!(host.text(&event, field).unwrap().contains(want), "{field}");
    }
}

/// A capture in which drift tells what package managers did is replayed with one alert for each, as it was live.
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
    let event = host.feed(exec(&there, TID + 2));
    assert_eq!(host.text(&event, "pkg_followed").as_deref(), Some("false"), "another container");
    let cargo = Exec::new(TID + 3, &here, "/usr/bin/cargo", LOWER, &["cargo", "install", "x"]).bytes();
    let event = host.feed(cargo);
    assert_eq!(host.text(&event, "pkg_followed").as_deref(), Some("false"), "leaves no database");
}
