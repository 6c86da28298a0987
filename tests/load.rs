//! 100,000 events a second through the C interface while containers come and go: nothing grows without bound,
//! and no verdict is lost without being counted.
//!
//! Runs for 2 seconds, or DRIFT_LOAD_SECONDS. Unoptimised it does not reach the rate and says what it
//! reached; `make load` runs it with the release build for ten minutes. One test in a process of its own,
//! because it measures the process's memory, threads and descriptors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};
use testkit::host;
use testkit::host::direct::Direct;
use testkit::host::event::{event, Exec, CLONE_20_X, LOWER, PROCEXIT_1_E, UPPER};
use testkit::host::library;

/// Events a second.
const RATE: u64 = 100_000;
/// Events between two looks at the clock.
const BATCH: u64 = 500;
/// How many processes a container has in its life.
const PROCESSES: u64 = 40;

fn seconds() -> u64 {
    std::env::var("DRIFT_LOAD_SECONDS").map_or(2, |s| s.parse().expect("a number of seconds"))
}

/// Memory in use, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn count(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count()
}

/// Everything that drift counts as not known.
fn unknowns(drift: &Direct<'_>) -> u64 {
    let counters = ["unknown_no_image", "unknown_layer", "unknown_mount", "unknown_other"];
    counters.iter().map(|name| drift.metric(name)).sum()
}

/// The container that the nth process is in: a new one every [`PROCESSES`]. Of one in eight the image is not
/// known.
fn container(process: u64) -> String {
    let number = process / PROCESSES;
    let known = if number % 8 == 7 { "ffff" } else { "0123" };
    format!("{known}{number:060x}")
}

#[test]
fn nothing_grows_and_nothing_is_lost() {
    let dir = host::no_host();
    let manifest = host::manifest(dir.path());
    let mut config = host::config(dir.path(), &manifest, "0123*");
    config["cache"] = serde_json::json!({ "max_containers": 256, "max_threads": 4096, "max_verdicts": 4096 });
    let api = library::api();
    let mut drift = Direct::start(api, &config);
    let fields = ["binary_origin", "script_origin", "container_id", "manifest_state"].map(|f| drift.field(f));
    let (threads, descriptors) = (count("task"), count("fd"));
    let length = Duration::from_secs(seconds());
    let started = Instant::now();
    let (mut events, mut process) = (0u64, 0u64);
    let (mut unknown, mut answered) = (0u64, 0u64);
    let mut memory: Vec<u64> = Vec::new();
    while started.elapsed() < length {
        while events < (memory.len() as u64 + 1) * RATE / 2 {
            for _ in 0..BATCH / 5 {
                process += 1;
                let tid = 1000 + (process % 30_000) as i64;
                let id = container(process);
                let cgroup = format!("/docker/{id}");
                let (path, flags, argv): (&str, u32, &[&str]) = match process % 5 {
                    0 => ("/usr/bin/python3", LOWER, &["python3", "/app/run.py"]),
                    1 => ("/usr/bin/bash", LOWER, &["bash"]),
                    2 => ("/usr/bin/python3", UPPER, &["python3"]),
                    3 => ("/tmp/new", UPPER, &["new"]),
                    _ => ("/usr/bin/nothing", LOWER, &["nothing"]),
                };
                drift.feed(&event(CLONE_20_X, tid, &[&0i64.to_ne_bytes()]), &[], &mut |_, _| {});
                let exec = Exec { ino: 1000 + process % 997, ..Exec::new(tid, &cgroup, path, flags, argv) };
                let bytes = exec.bytes();
                for _ in 0..3 {
                    drift.feed(&bytes, &fields, &mut |field, answer| {
                        let text = answer.map(|a| a.to_str().unwrap());
                        match field {
                            f if f == fields[0] => {
                                answered += 1;
                                assert!(text.is_some(), "{path} has no verdict");
                                unknown += u64::from(text == Some("unknown"));
                            }
                            f if f == fields[2] => assert_eq!(text, Some(id.as_str())),
                            _ => {}
                        }
                    });
                }
                drift.feed(&event(PROCEXIT_1_E, tid, &[&0i64.to_ne_bytes()]), &[], &mut |_, _| {});
                events += 5;
            }
            if started.elapsed() > length * 2 {
                break;
            }
        }
        memory.push(resident());
        // Half a second's events are through: the other half second's come when it is time.
        let due = Duration::from_millis(500 * memory.len() as u64);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
    }
    let rate = events as f64 / started.elapsed().as_secs_f64();
    println!("{events} events, {rate:.0} a second, {} containers, KiB: {memory:?}", process / PROCESSES);

    assert!(answered >= events / 5 * 3 && process > PROCESSES * 10);
    assert_eq!(drift.metric("panics_caught"), 0);
    assert_eq!(drift.metric("containers"), 256.min(process / PROCESSES + 1), "containers are bounded");
    // Each exec is judged once; the questions that follow are answered from memory, and not counted again.
    let counted = unknowns(&drift);
    assert!(unknown > 0 && counted * 3 >= unknown, "{unknown} verdicts unknown, {counted} counted");
    assert!(count("task") <= threads && count("fd") <= descriptors, "threads or descriptors grow");
    if let [.., middle, _, _, last] = memory[..] {
        // What came in the beginning is there to stay: caches fill up to their bounds.
        assert!(last < middle + 4096, "memory grows: {memory:?}");
    }
    let (half, last) = (memory[memory.len() / 2], memory[memory.len() - 1]);
    assert!(last < half + (8 << 10), "memory grows: {memory:?}");
}
