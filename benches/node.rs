//! A node: hundreds of containers, dozens of images that share base layers, more than a million files. How
//! long the engine is held up at its start, how long the images take to be indexed and at what share of a
//! CPU, what memory it takes, and whether that stays so while containers come and go.
//!
//! The node is one of plain directories (`common::node`), like `common::image`: every look-up meets a real
//! file system.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod common;

use common::abi::{drift, Engine, Question};
use common::event::{exec, exit, openat, openat_to_write};
use common::memory::resident;
use common::node::{Node, Size};
use common::report::{quick, Report};
use std::time::{Duration, Instant};

/// CPU seconds of this process, all threads.
fn cpu() -> f64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU seconds of this thread.
fn thread_cpu() -> f64 {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> f64 {
    // SAFETY: a plain C struct, filled by the kernel.
    let time = unsafe {
        let mut time = std::mem::zeroed::<libc::timespec>();
        assert_eq!(libc::clock_gettime(id, &mut time), 0);
        time
    };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn field(name: &str) -> (Question, &'static str) {
    let full = format!("drift.{name}");
    let (def, id) = drift::extract::FIELDS.iter().zip(0u32..).find(|(def, _)| def.name == full).unwrap();
    (Question::new(id, None), def.field_type.as_str())
}

/// Containers, and processes of each: more than are remembered by default.
const FULL: (usize, usize) = (1100, 32);
/// Most memory of it, with the indexes of the node's images.
const FULL_MIB: f64 = 96.0;
/// Programs that each container runs, and files that each writes.
const PROGRAMS: usize = 8;

/// What the containers do.
struct Work<'a> {
    engine: Engine,
    node: &'a Node,
    origin: (Question, &'static str),
    change: (Question, &'static str),
    number: u64,
}

impl<'a> Work<'a> {
    fn new(engine: Engine, node: &'a Node) -> Self {
        Self { engine, node, origin: field("binary_origin"), change: field("file_change"), number: 1_000_000 }
    }

    /// A program starts, and writes a file.
    fn program(&mut self, pid: i64, cgroup: &str, program: usize) {
        self.number += 2;
        let path = format!("/usr/lib/application/bin/program-{program}");
        let started = exec(pid, cgroup, &path, &["--config", "/etc/application.conf"], self.node.app());
        self.engine.parse(&started, self.number);
        let (question, kind) = &mut self.origin;
        let answer = self.engine.text(question, kind, &started, self.number);
        assert_eq!(answer.as_deref(), Some("image"), "process {pid}");
        self.engine.threads.put(pid, common::abi::thread(pid, cgroup, &path, self.node.app()));
        let written = openat_to_write(pid, &format!("/var/lib/application/file-{program}"), self.number);
        let (question, kind) = &mut self.change;
        let answer = self.engine.text(question, kind, &written, self.number + 1);
        assert!(answer.is_some(), "process {pid}");
        // The engine's table is no part of what is measured.
        self.engine.threads.take(pid);
    }

    /// A container ends, and another one of its image starts.
    fn replace(&mut self, n: usize, hour: usize) {
        let (old, new) = self.node.replace(n, hour);
        self.engine.parse(&exit(old), 0);
        let cgroup = self.node.cgroup_of(n, hour);
        self.program(new, &cgroup, 0);
        for program in 1..PROGRAMS {
            let pid = 10_000_000 + (n * PROGRAMS + program) as i64;
            self.node.run(pid);
            self.program(pid, &cgroup, program);
            self.node.end(pid);
            self.engine.parse(&exit(pid), 0);
        }
    }

    /// A container starts, and nothing of it ends.
    fn fill(&mut self, n: usize, processes: usize) {
        let first = 20_000_000 + (n * processes) as i64;
        self.node.add(n, first);
        for program in 0..processes {
            let pid = first + program as i64;
            if program > 0 {
                self.node.run(pid);
            }
            self.program(pid, &self.node.cgroup(n), program);
        }
    }

    /// Until the background is done with what waits there: what is declared of a container is read three
    /// times in six seconds.
    fn rest(&self) {
        std::thread::sleep(if quick() { Duration::from_millis(100) } else { Duration::from_secs(8) });
    }
}

fn main() {
    let size = if quick() {
        Size { containers: 10, images: 4, base_layers: 2, base_files: 300, own_files: 100 }
    } else {
        // 8 bases of 75,000 files and 40 images of 22,500 of their own: 1.5 million.
        Size { containers: 250, images: 40, base_layers: 8, base_files: 75_000, own_files: 22_500 }
    };
    let mut report = Report::default();
    let node = Node::new(size);
    println!("# {} containers, {} images, {} files", size.containers, size.images, node.files());
    let before = resident();
    // As it is configured by default.
    let config = serde_json::json!({ "host_root": node.root() }).to_string();
    let engine = Engine::new(drift(), &config);
    let (started, used) = (Instant::now(), cpu());
    engine.background(true);
    report.add("node/start holds the engine up", started.elapsed().as_secs_f64() * 1000.0, "ms", None);

    // The containers do what containers do: each event that is not passed over (of opens to read, one of
    // sixteen is not) lets one more be looked at. The background indexes meanwhile: of the wall time a part
    // is the scheduler's.
    let (mut slowest, mut slowest_cpu) = (0.0f64, 0.0f64);
    for n in 0..node.processes() {
        let call = openat(node.pid(n));
        let (asked, used) = (Instant::now(), thread_cpu());
        engine.parse(&call, 16 * (1 + n as u64));
        slowest_cpu = slowest_cpu.max((thread_cpu() - used) * 1e6);
        slowest = slowest.max(asked.elapsed().as_secs_f64() * 1e6);
    }
    report.add("node/slowest event while containers are found", slowest, "us", None);
    report.add("node/slowest event while containers are found, its CPU", slowest_cpu, "us", None);
    let (mut state, kind) = field("manifest_state");
    let background = resident() - before;
    report.add("node/memory of a node whose images are not indexed", background, "MiB", None);
    let deadline = Instant::now() + Duration::from_secs(600);
    for n in 0..size.containers {
        let event = exec(node.pid(n), &node.cgroup(n), "/usr/bin/app", &[], node.app());
        engine.parse(&event, 100_000 + n as u64);
        while engine.text(&mut state, kind, &event, 200_000 + n as u64).as_deref() == Some("building") {
            assert!(Instant::now() < deadline, "container {n} is not indexed");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let last = exec(node.pid(0), &node.cgroup(0), "/usr/bin/app", &[], node.app());
    let state_now = engine.text(&mut state, kind, &last, 300_000);
    assert_eq!(state_now.as_deref(), Some("ready"), "nothing is measured of images that are not indexed");
    let wall = started.elapsed().as_secs_f64();
    report.add("node/all indexed after", wall, "s", None);
    report.add("node/CPU meanwhile", (cpu() - used) / wall * 100.0, "%", None);
    let indexed = resident();
    report.add("node/memory above a process without the plugin", indexed - before, "MiB", None);
    report.add(
        "node/memory a file",
        (indexed - before) * f64::from(1 << 20) / node.files() as f64,
        "bytes",
        None,
    );

    // Two days: every container is replaced every hour by one of the same image.
    let hours: &[usize] = if quick() { &[1, 2, 3, 4] } else { &[1, 6, 12, 24, 48] };
    let mut work = Work::new(engine, &node);
    let mut after = Vec::new();
    for hour in 1..=hours[hours.len() - 1] {
        for n in 0..size.containers {
            work.replace(n, hour);
        }
        if hours.contains(&hour) {
            work.rest();
            report.add(&format!("node/memory after {hour} hours"), resident() - before, "MiB", None);
            after.push(resident());
        }
    }
    report.add("node/memory after 24 hours to after 12", after[3] / after[2], "x", None);
    report.add("node/memory after the last hour to after 12", after[after.len() - 1] / after[2], "x", None);
    report.add("node/memory after the last hour to after 1", after[after.len() - 1] / after[0], "x", None);

    // As many containers, processes and written files as are remembered, and more.
    let (containers, processes) = if quick() { (20, 2) } else { FULL };
    for n in size.containers..size.containers + containers {
        work.fill(n, processes);
    }
    work.rest();
    report.add("node/memory with all tables full", resident() - before, "MiB", None);
    if !quick() {
        assert!(resident() - before <= FULL_MIB, "more than docs/performance.md says");
    }
    let engine = work.engine;
    engine.background(false);
    report.write();
}
