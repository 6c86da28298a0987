//! A container that serves a file system to itself, runs a program from it, and then answers nobody any more:
//! what it runs and opens there is judged at once all the same, by where it lies.

use drift::config::{Config, RawConfig};
use drift_core::container::registry::Registry;
use drift_core::host::{ExeFlags, Host, InodeId};
use drift_core::verdict::judge::{Judge, Program};
use drift_core::verdict::origin::Origin;
use drift_core::verdict::script::Runner;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use testkit::host::event::{event, Exec, LOWER, OPENAT_2_X};
use testkit::host::threads::{self, Thread};
use testkit::skip::skip;

/// The longest that a judgement may hold Falco's event thread up. A busy machine may stop any thread for
/// longer, so that the fastest of a few counts.
const LONGEST: Duration = Duration::from_millis(5);
const TRIES: usize = 3;

struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    group: PathBuf,
}

impl Server {
    fn start(base: &Path, id: &str) -> Option<Self> {
        let hierarchy = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let group = hierarchy.iter().find_map(|top| {
            let group = Path::new(top).join("docker").join(id);
            std::fs::create_dir_all(&group).ok().and(group.join("cgroup.procs").exists().then_some(group))
        })?;
        let fixture = testkit::workspace_dir().join("tests/fixtures/unanswering.py");
        let mut child = Command::new("python3")
            .arg(fixture)
            .arg(base)
            .arg("/bin/sleep")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        std::fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self { child, output, group };
        (server.line() == "ready").then_some(server)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn tell(&mut self, command: &str) -> String {
        self.child.stdin.as_mut().unwrap().write_all(command.as_bytes()).unwrap();
        self.line()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in std::fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = Command::new("kill").args(["-9", pid]).status();
        }
        let _ = std::fs::remove_dir(&self.group);
    }
}

/// A server and its container's id; `None`, said and counted, where the test cannot run.
fn start(test: &str, number: u8) -> Option<(tempfile::TempDir, String, Server)> {
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        skip(test, "needs root and /dev/fuse");
        return None;
    }
    // On another file system than the root, which is a layer of the overlay.
    let tmp = tempfile::tempdir_in("/dev/shm").unwrap();
    for dir in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir_all(tmp.path().join(dir)).unwrap();
    }
    let id = format!("{}{number:x}{:024x}", "f".repeat(39), std::process::id());
    let Some(server) = Server::start(tmp.path(), &id) else {
        skip(test, "no python3, no control group, or FUSE cannot be mounted");
        return None;
    };
    Some((tmp, id, server))
}

/// Waits for a program to run.
fn wait_for(host: &Host, pid: i64, argv0: &[u8]) {
    let end = Instant::now() + Duration::from_secs(20);
    while host.command_line(pid).is_none_or(|line| !line.starts_with(argv0)) {
        assert!(Instant::now() < end, "the program does not run");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_lies_on_a_file_system_that_never_answers_is_judged_at_once() {
    const TEST: &str = "hostile: a file system that never answers";
    let Some((_tmp, id, mut server)) = start(TEST, 1) else { return };
    let host = Host::new(Path::new("/"));
    let config = Config::try_from(RawConfig::default()).unwrap();
    let mut registry = Registry::new(host.clone(), config.registry(), Vec::new());
    let (container, _) = registry.look_at(&id, i64::from(server.child.id()));
    assert!(container.live.is_some() && container.image.is_ok(), "{container:?}");
    let pid: i64 = server.tell("go\n").parse().unwrap();
    wait_for(&host, pid, b"x\0");
    assert_eq!(server.tell("hang\n"), "hanging");

    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let judge = Judge::new(host, 1 << 20);
        for _ in 0..TRIES {
            for path in [&b"/fuse/x"[..], b""] {
                let flags_given = true;
                let (flags, inode) = (ExeFlags::default(), InodeId { ino: 2, ctime: 1, mtime: 1 });
                let begun = Instant::now();
                let held = judge.host().hold_executable(pid).ok();
                let program = Program { pid, path, flags, flags_given, inode, held };
                let (judgement, found) = judge.judge_program(&container, program);
                send.send(("program", judgement.origin, found.is_some(), begun.elapsed())).unwrap();
            }
        }
        for argument in [&b"/fuse/x"[..], b"/fuse/none"].repeat(TRIES) {
            let begun = Instant::now();
            let script = judge.judge_script(&container, &Runner { pid, cwd: b"/" }, argument);
            send.send(("script", script.judgement.origin, script.ino != 0, begun.elapsed())).unwrap();
        }
    });
    let mut fastest = BTreeMap::new();
    for _ in 0..4 * TRIES {
        let (what, origin, found, took) =
            receive.recv_timeout(Duration::from_secs(20)).expect("a judgement waits for the server");
        assert_eq!((what, origin, found), (what, Origin::Volume, false));
        let known = fastest.entry(what).or_insert(took);
        *known = took.min(*known);
    }
    assert!(fastest.values().all(|took| *took <= LONGEST), "{fastest:?}");
}

/// Threads of this process that wait for a FUSE server.
fn waiting_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let asks = |dir: &PathBuf| {
        let at = std::fs::read_to_string(dir.join("wchan")).unwrap_or_default();
        at.contains("fuse") || at == "request_wait_answer"
    };
    let name = |dir: PathBuf| std::fs::read_to_string(dir.join("comm")).unwrap_or_default();
    tasks.map(|task| task.path()).filter(asks).map(name).collect()
}

/// What a container does with such a file system, and the fields that are asked about it.
fn events(runs: i64, opens: i64, cgroup: &str) -> Vec<(&'static str, Vec<u8>)> {
    let exec = |tid, path, flags, argv: &[&str], env, cwd| {
        Exec { env, cwd, ..Exec::new(tid, cgroup, path, flags, argv) }.bytes()
    };
    let open = |tid, fd: i64, path: &str, flags: u32| {
        let (dir, zero) = ((-100i64).to_ne_bytes(), [0u8; 4]);
        let path = format!("{path}\0").into_bytes();
        let flags = flags.to_ne_bytes();
        event(OPENAT_2_X, tid, &[&fd.to_ne_bytes(), &dir, &path, &flags, &zero, &zero, &[0; 8]])
    };
    // PPM_O_RDONLY | PPM_O_CLOEXEC; PPM_O_WRONLY | PPM_O_CREAT.
    let (like_a_loader, to_write) = (1 | 1 << 12, 1 << 1 | 1 << 2);
    let preload = "LD_PRELOAD=/fuse/x\0LD_LIBRARY_PATH=/fuse\0PYTHONPATH=/fuse/lib\0X=/fuse/x.so";
    vec![
        ("a program on it", exec(runs, "/fuse/x", 0, &["x", "600"], "A=b", "/")),
        ("the same without a name", exec(runs, "", 0, &["x", "600"], "A=b", "/")),
        ("a script on it", exec(opens, "/bin/sh", LOWER, &["sh", "/fuse/x"], "A=b", "/")),
        ("a script in it", exec(opens, "/bin/sh", LOWER, &["sh", "x"], "A=b", "/fuse")),
        ("a module in it", exec(opens, "/usr/bin/python3", LOWER, &["python3", "-m", "x"], "A=b", "/fuse")),
        ("an option with it", exec(opens, "/usr/bin/awk", LOWER, &["awk", "-f", "/fuse/x"], "A=b", "/")),
        ("an argument on it", exec(opens, "/bin/ls", LOWER, &["ls", "/fuse/x", "/fuse"], "A=b", "/fuse")),
        ("code for a loader", exec(opens, "/bin/ls", LOWER, &["ls"], preload, "/fuse")),
        ("a library on it", open(opens, 9, "/fuse/x", like_a_loader)),
        ("a library by its name", open(opens, 77, "/fuse/libx.so", like_a_loader)),
        ("a file on it", open(opens, 9, "/fuse/new", to_write)),
        ("a file in it", open(opens, 9, "new", to_write)),
    ]
}

/// The same through the C interface, with workers: neither the event thread nor any worker asks the server.
#[test]
fn nobody_asks_a_file_system_that_never_answers() {
    const TEST: &str = "hostile: a file system that never answers, with workers";
    let Some((tmp, id, mut server)) = start(TEST, 2) else { return };
    let of_host = Host::new(Path::new("/"));
    let mut host = testkit::host::Host::start(&serde_json::json!({ "files": { "interval_seconds": 1 } }));
    let cgroup = format!("/docker/{id}");
    // Known before the file system is mounted as well as after.
    let first = i64::from(server.child.id());
    let seen = host.feed(Exec::new(first, &cgroup, "/usr/bin/python3", LOWER, &["python3"]).bytes());
    assert_eq!(host.text(&seen, "container_id").as_ref(), Some(&id));
    let runs: i64 = server.tell("go\n").parse().unwrap();
    let opens: i64 = server.tell("open\n").parse().unwrap();
    wait_for(&of_host, runs, b"x\0");
    wait_for(&of_host, opens, b"sleep\0");
    assert_eq!(server.tell("hang\n"), "hanging");
    assert_eq!(waiting_threads(), [""; 0]);
    threads::set(runs, Thread::new(runs, &cgroup, "/fuse/x", &["x", "600"]));
    let of_open = Thread::new(opens, &cgroup, "/bin/sleep", &["sleep", "600"]);
    threads::set(opens, Thread { cwd: "/fuse", fds: vec![(9, "/fuse/x")], ..of_open });

    let fields: Vec<String> = drift::extract::FIELDS
        .iter()
        .map(|def| def.name.trim_start_matches("drift.").to_owned())
        .filter(|name| !name.starts_with("event."))
        .map(|name| match name.as_str() {
            "pod_label" | "pod_annotation" => format!("{name}[app]"),
            _ => name,
        })
        .collect();
    let mut fastest: BTreeMap<&str, Duration> = BTreeMap::new();
    for _ in 0..TRIES {
        for (what, event) in events(runs, opens, &cgroup) {
            let begun = Instant::now();
            let event = host.feed(event);
            fields.iter().for_each(|field| _ = host.text(&event, field));
            let took = begun.elapsed();
            let known = fastest.entry(what).or_insert(took);
            *known = took.min(*known);
        }
        // The workers look, and look again when a file is settled.
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(waiting_threads(), [""; 0], "they wait for the server");
    }
    assert_eq!(host.metric("panics_caught"), 0);
    let slow: Vec<_> = fastest.iter().filter(|(_, took)| **took > LONGEST * 4).collect();
    println!("{fastest:?}");
    assert!(slow.is_empty(), "all fields of one event: {slow:?}");
    let begun = Instant::now();
    drop(host);
    assert!(begun.elapsed() < Duration::from_secs(2), "the stop took {:?}", begun.elapsed());

    // And this test would have seen it.
    let path = format!("/proc/{first}/root/fuse/none");
    std::thread::spawn(move || _ = std::fs::metadata(path));
    let end = Instant::now() + Duration::from_secs(20);
    while waiting_threads().is_empty() {
        assert!(Instant::now() < end, "a thread that waits is not recognized");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop((server, tmp));
}
