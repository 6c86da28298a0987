//! Executions: judged when they happen, and remembered by the thread; threads and processes of all kinds.

use super::{answers, assert_answers, group, start, ID, OTHER, TID};
use testkit::host::event::{event, Exec, EXECVE_19_E, LOWER, MEMFD, NOW, OPENAT_2_X, UPPER};
use testkit::host::threads::{self, Thread};
use testkit::host::{self, PYTHON_SHA256};

/// What is expected of an exec in the container that the manifest describes, replayed: nothing of it is on
/// the host.
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
        assert_answers(&mut host, &event, &wants, case.name);
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
            .map(|(field, answer)| match *field {
                "image_has_file" | "file_path" => (*field, None),
                "binary_repeated" | "script_repeated" => (*field, answer.as_ref().map(|_| "true".into())),
                _ => (*field, answer.clone()),
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
            assert_answers(&mut host, &event, &wants, &format!("{} of {tid}", case.name));
        }
        let event = host.feed(event(OPENAT_2_X, tid, &[&3i64.to_ne_bytes()]));
        assert_eq!(
            host.ask(&event, "container_age"),
            falco_plugin_runner::ExtractedField::RelTime(std::time::Duration::from_secs(90))
        );
    }
}

#[test]
fn of_a_container_without_a_manifest_the_kernels_flags_decide() {
    let (mut host, _dir) = start("0123*");
    for (flags, origin) in [(0, "unknown"), (LOWER, "image"), (UPPER, "added_or_modified"), (0, "volume")] {
        let path = "/usr/bin/python3";
        let event = host.feed(Exec::new(TID, &group(OTHER), path, flags, &["python3", "/x.py"]).bytes());
        assert_eq!(host.text(&event, "container_id").as_deref(), Some(OTHER));
        assert_eq!(host.text(&event, "binary_origin").as_deref(), Some(origin), "{flags}");
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

/// What a clone returns to the parent is the child's id in the parent's PID namespace. On the host that is
/// another thread.
#[test]
fn a_clone_in_a_container_forgets_no_thread_of_the_host() {
    let (mut host, _dir) = start("*");
    let event = host.feed(Exec::new(TID, &group(ID), "/tmp/evil", UPPER, &["evil"]).bytes());
    assert_eq!(host.text(&event, "binary_origin").as_deref(), Some("added"));
    // What would be read of the thread if it was forgotten.
    let mut thread = Thread::new(TID, &group(OTHER), "/usr/bin/bash", &["bash"]);
    thread.lower = true;
    threads::set(TID, thread);
    host.feed(host::event::event(host::event::CLONE_20_X, TID + 1000, &[&TID.to_ne_bytes()]));
    let event = host.feed(event_of(TID));
    assert_eq!(host.text(&event, "container_id").as_deref(), Some(ID));
    assert_eq!(host.text(&event, "binary_origin").as_deref(), Some("added"));
}

fn event_of(tid: i64) -> Vec<u8> {
    event(OPENAT_2_X, tid, &[])
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
