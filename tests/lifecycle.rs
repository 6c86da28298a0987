//! Falco makes and destroys a plugin many times in one process: for `--list`, dry runs, each source, each
//! reload. Nothing may stay behind. One test in a process of its own, because it counts the process's threads
//! and descriptors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use testkit::host;
use testkit::host::library::{self, Instance};

/// Number of the process's threads.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Asserts the number of threads. The kernel lists a thread a moment longer than it lets others wait for its
/// end.
fn expect_threads(want: usize) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(2);
    while threads() != want && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(threads(), want, "threads");
}

/// Open descriptors: what each is, the one that lists them left out.
fn descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = entries.filter_map(|e| std::fs::read_link(e.unwrap().path()).ok());
    let own = format!("/proc/{}/fd", std::process::id());
    let mut names: Vec<String> = links.map(|l| l.display().to_string()).filter(|name| *name != own).collect();
    names.sort();
    names
}

/// Memory in use, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// One round of what Falco does.
fn round(api: &falco_plugin::api::plugin_api, host: &Path, good: &str) {
    // `--list`, `--plugin-info`, dry run: never started.
    let dry = Instance::new(api, good).unwrap();
    assert!(dry.metrics() > 0);
    drop(dry);
    for bad in [r#"{"no": 1}"#, r#"{"manifests": [{"path": "/nonexistent", "containers": ["*"]}]}"#, "{"] {
        assert!(Instance::new(api, bad).is_err());
    }
    // Two sources: two instances at the same time.
    let before = threads();
    let one = Instance::new(api, good).unwrap();
    assert_eq!(threads(), before, "a new instance has a thread");
    let two = Instance::new(api, &serde_json::json!({ "host_root": host }).to_string()).unwrap();
    one.set_async(true);
    assert!(threads() > before, "this test would not see a thread that stays");
    two.set_async(true);
    two.set_async(false);
    two.set_async(true);
    one.set_async(false);
    drop(one);
    // Destroyed without a stop, as after a failed start.
    drop(two);
    expect_threads(before);
}

/// How many rounds, of six instances each, between two looks at the memory: 100, or what
/// DRIFT_LIFECYCLE_ROUNDS says.
fn rounds() -> u32 {
    std::env::var("DRIFT_LIFECYCLE_ROUNDS").map_or(100, |n| n.parse().expect("a number of rounds"))
}

#[test]
fn nothing_stays_behind() {
    let dir = host::no_host();
    let manifest = host::manifest(dir.path());
    let good = host::config(dir.path(), &manifest, "*").to_string();
    let api = library::api();

    (0..20).for_each(|_| round(api, dir.path(), &good));
    let (threads_before, descriptors_before) = (threads(), descriptors());
    // The allocator takes memory for each thread that it meets, when they happen to run at the same time:
    // that ends. A leak goes on, and shows each time: a table or a queue of an instance, of which a round
    // makes six, is larger than this. With 400 rounds the growth is the same as with 100.
    let bound = u64::from(rounds()) * 32;
    let grown: Vec<u64> = (0..6)
        .map(|_| {
            let before = resident();
            (0..rounds()).for_each(|_| round(api, dir.path(), &good));
            resident().saturating_sub(before)
        })
        .collect();
    expect_threads(threads_before);
    assert_eq!(descriptors(), descriptors_before);
    assert!(grown.iter().any(|kib| *kib < bound), "KiB more after each hundred rounds or so: {grown:?}");

    // Also with the library itself closed and opened again.
    for _ in 0..5 {
        let library = library::open();
        round(&library::functions(&library), dir.path(), &good);
        library.close().unwrap();
    }
    expect_threads(threads_before);
    assert_eq!(descriptors(), descriptors_before);
}
