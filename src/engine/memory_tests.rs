//! What all tables take when they are full, by the bounds of a default configuration: the numbers in
//! docs/performance.md, "Memory".

use super::*;
use crate::config::RawConfig;
use crate::workers::memory::{self, BLOCK, PATH};
use drift_core::verdict::binary::Binary;
use std::mem::size_of;

/// What an instance takes beside its tables, at its start: code, stacks, queues (docs/performance.md).
const START: usize = (87 << 20) / 10;
/// What is known of a container with 28 mounts.
const CONTAINER: usize = 10 << 10;
/// A command line, behind a shared pointer.
const COMMAND: usize = 96 + BLOCK;

/// A table, and its bytes when it is full.
fn tables() -> Vec<(&'static str, usize)> {
    let config = Arc::new(Config::try_from(RawConfig::default()).unwrap());
    let cache = config.cache;
    let State { processes, files, libraries, loads, ports, peers, repeats, .. } =
        Engine::new(config, Vec::new(), Lists::default(), Arc::default()).state;
    let (verdicts, runs) = processes.programs.bytes_when_full();
    let binary = size_of::<Binary>() + 2 * size_of::<usize>() + BLOCK + 2 * PATH;
    let mut tables = vec![
        ("threads", processes.threads.bytes_when_full() + cache.max_threads * COMMAND),
        ("verdicts", verdicts + cache.max_verdicts * binary),
        ("writers of files", processes.writers.bytes_when_full()),
        ("runs", runs + processes.scripts.bytes_when_full()),
        ("contents", processes.contents.bytes_when_full()),
        ("libraries", libraries.bytes_when_full()),
        ("code", loads.bytes_when_full()),
        ("changed secrets", files.bytes_when_full().0),
        ("other names", files.bytes_when_full().1),
        ("ports", ports.bytes_when_full()),
        ("repeated runs", repeats.bytes_when_full()),
        ("peers and names", peers.bytes_when_full()),
        ("paths asked of images", processes.threads.containers.bytes_when_full()),
        ("containers", cache.max_containers * CONTAINER),
        ("findings of the source", crate::source::MAX_KEPT_BYTES),
    ];
    tables.extend(memory::tables());
    tables
}

#[test]
fn full_tables_take_what_the_documentation_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md")).unwrap();
    let tables = tables();
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    tables.iter().for_each(|(table, bytes)| println!("{table}: {:.1} MiB", mib(*bytes)));
    for (table, bytes) in &tables {
        let row = page.lines().find(|line| line.starts_with(&format!("| {table} |")));
        let said = row.and_then(|row| row.rsplit('|').nth(1)).and_then(|cell| cell.trim().split(' ').next());
        let said: f64 = said.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no row of {table}"));
        let now = mib(*bytes);
        assert!((now - said).abs() <= 0.3, "{table}: {now:.1} MiB, and docs/performance.md says {said}");
    }
    let sum: usize = tables.iter().map(|(_, bytes)| bytes).sum();
    println!("together: {:.1} MiB", mib(sum));
    assert!(START + sum <= 64 << 20, "all tables together: {sum} bytes");
}
