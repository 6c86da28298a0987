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

#[test]
fn what_lies_on_a_file_system_that_never_answers_is_judged_at_once() {
    const TEST: &str = "hostile: a file system that never answers";
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        return skip(TEST, "needs root and /dev/fuse");
    }
    // On another file system than the root, which is a layer of the overlay.
    let tmp = tempfile::tempdir_in("/dev/shm").unwrap();
    for dir in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir_all(tmp.path().join(dir)).unwrap();
    }
    let id = "f".repeat(40) + &format!("{:024x}", std::process::id());
    let Some(mut server) = Server::start(tmp.path(), &id) else {
        return skip(TEST, "no python3, no control group, or FUSE cannot be mounted");
    };
    let host = Host::new(Path::new("/"));
    let config = Config::try_from(RawConfig::default()).unwrap();
    let mut registry = Registry::new(host.clone(), config.registry(), Vec::new());
    let (container, _) = registry.look_at(&id, i64::from(server.child.id()));
    assert!(container.live.is_some() && container.image.is_ok(), "{container:?}");
    let pid: i64 = server.tell("go\n").parse().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while host.command_line(pid).is_none_or(|line| !line.starts_with(b"x\0")) {
        assert!(Instant::now() < end, "the program does not run");
        std::thread::sleep(Duration::from_millis(10));
    }
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
