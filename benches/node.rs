//! A node: hundreds of containers, dozens of images that share base layers, more than a million files. How long the engine
//! is held up at its start, how long the images take to be indexed and at what share of a CPU, what memory it takes, and
//! whether that stays so while containers come and go.
//!
//! The node is one of plain directories (`common::node`), like `common::image`: every look-up meets a real file system.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod common;

use common::abi::{drift, Engine, Question};
use common::event::{exec, openat};
use common::node::{Node, Size};
use common::report::{quick, Report};
use std::time::{Duration, Instant};

/// Resident memory of this process, MiB.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0 / f64::from(1 << 20)
}

/// CPU seconds of this process, all threads.
fn cpu() -> f64 {
    // SAFETY: a plain C struct, filled by the kernel.
    let time = unsafe {
        let mut time = std::mem::zeroed::<libc::timespec>();
        assert_eq!(libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time), 0);
        time
    };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn field(name: &str) -> (Question, &'static str) {
    let full = format!("drift.{name}");
    let (def, id) = drift::extract::FIELDS.iter().zip(0u32..).find(|(def, _)| def.name == full).unwrap();
    (Question::new(id, None), def.field_type.as_str())
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

    // The containers do what containers do: each event lets one more be looked at.
    let mut slowest = 0.0f64;
    for n in 0..node.processes() {
        let call = openat(node.pid(n));
        let asked = Instant::now();
        engine.parse(&call, 10 + n as u64);
        slowest = slowest.max(asked.elapsed().as_secs_f64() * 1e6);
    }
    report.add("node/slowest event while containers are found", slowest, "us", None);
    let (mut state, kind) = field("manifest_state");
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

    // A day: every container is replaced every hour by one of the same image.
    let (mut origin, kind) = field("binary_origin");
    let mut first_hours = 0.0;
    for hour in 0..if quick() { 4 } else { 24 } {
        for n in 0..size.containers {
            let (old, new) = node.replace(n, hour);
            engine.parse(&common::event::exit(old), 0);
            let event = exec(new, &node.cgroup_of(n, hour), "/usr/bin/app", &[], node.app());
            engine.parse(&event, 1_000_000 + (hour * size.containers + n) as u64);
            let answer = engine.text(&mut origin, kind, &event, 2_000_000 + n as u64);
            assert_eq!(answer.as_deref(), Some("image"), "hour {hour}, container {n}");
        }
        if hour == 1 {
            first_hours = resident();
        }
    }
    report.add("node/memory after a day over after an hour", resident() / first_hours, "x", None);
    engine.background(false);
    report.write();
}
