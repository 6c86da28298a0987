//! The comparison without events, in a container that has littered itself (`tests/fixtures/litter.sh`) and
//! goes on swapping a directory for a link out: everything is told or said to be a gap, in bounded time and
//! memory, and nothing of the host is opened.

use super::{alone, opened, prepare, race_seconds, start, Outside, Watch};
use drift::config::{Config, RawConfig};
use drift_core::container::registry::Registry;
use drift_core::host::Host;
use drift_core::packages::inventory::{database_of, Database, Ecosystem, Inventory, LiveTree, Packages};
use drift_core::scan::{FileChange, FileFinding, FileScan, Limits, Summary};
use drift_formats::entry::ImagePath;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::live::{Container, Runtime};

/// How many files lie in one directory: 5,000, or what DRIFT_MANY_FILES says.
fn many() -> u64 {
    std::env::var("DRIFT_MANY_FILES").map_or(5_000, |n| n.parse().expect("a number of files"))
}

/// Most memory in use so far, KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn wait_for(path: &Path) {
    let end = Instant::now() + Duration::from_secs(600);
    while !path.exists() {
        assert!(Instant::now() < end, "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Seen {
    changes: BTreeMap<Vec<u8>, FileChange>,
    in_many: u64,
    summary: Summary,
}

fn scan(container: &Container) -> (Seen, Inventory) {
    let host = Host::new(Path::new("/"));
    let config = Arc::new(Config::try_from(RawConfig::default()).unwrap());
    let mut registry = Registry::new(host.clone(), config.registry(), Vec::new());
    let (known, _) = registry.look_at(container.id(), container.init_pid());
    let scan = FileScan::open(&host, &known, None, Limits::default()).unwrap();
    let (mut changes, mut in_many) = (BTreeMap::new(), 0);
    let mut tell = |f: FileFinding| {
        let path = f.path.as_bytes();
        if path.starts_with(b"/tmp/many/") {
            in_many += 1;
        } else if !path.starts_with(b"/tmp/d/") {
            changes.insert(path.to_vec(), f.change);
        }
    };
    let summary = scan.run(None, &mut || true, &mut tell);
    let root = known.live.as_ref().unwrap().root(&host, &[]).unwrap();
    let tree = LiveTree::new(&root);
    let paths = [
        "/var/lib/dpkg/status",
        "/var/lib/rpm/rpmdb.sqlite",
        "/usr/lib/apk/db/installed",
        "/usr/lib/node_modules/.package-lock.json",
    ];
    let path = |p: &str| ImagePath::from_archive(p.as_bytes()).unwrap();
    let databases: Vec<Database> = paths.iter().map(|p| database_of(&path(p)).expect(p)).collect();
    (Seen { changes, in_many, summary }, Inventory::read(&tree, &databases))
}

#[test]
fn a_littered_container_is_compared_within_bounds() {
    const TEST: &str = "hostile: a littered container";
    let _alone = alone();
    let Some(container) = start(TEST, Runtime::Podman) else { return };
    prepare(&container);
    let outside = Outside::new();
    let script = container.put("litter.sh", include_bytes!("../fixtures/litter.sh")).unwrap();
    // The race goes on while drift looks.
    let seconds = 60 + race_seconds().parse::<u64>().unwrap();
    container.run(&format!("sh {script} {} {seconds} {}", many(), outside.dir().display())).unwrap();
    wait_for(&container.upper_dir().unwrap().join("tmp/littered"));

    let (before, started) = (peak(), Instant::now());
    let watch = Watch::start();
    let (seen, inventory) = scan(&container);
    let (took, grown) = (started.elapsed(), peak() - before);
    let opens = watch.stop();
    println!(
        "{TEST}: {} entries in {took:?}, {grown} KiB more, {:?}",
        seen.summary.entries, seen.summary.gaps
    );

    assert!(grown < 200 << 10, "{grown} KiB more at the peak");
    assert_eq!(seen.in_many, many());
    let told = |path: &[u8]| seen.changes.get(path).copied();
    for (path, change) in [
        (&b"/etc/out"[..], FileChange::Created),
        (b"/etc/root", FileChange::Created),
        (b"/etc/magic", FileChange::Created),
        (b"/etc/issue", FileChange::Modified),
        (b"/usr/bin/ldd", FileChange::Modified),
        (b"/etc/debian_version", FileChange::Modified),
        (b"/usr/bin/savelog", FileChange::Modified),
        (b"/etc/a\nFAKE ALERT\x1b[2J\x80", FileChange::Created),
        (b"/usr/bin/absurd", FileChange::Created),
        (b"/var/lib/dpkg/status", FileChange::Modified),
    ] {
        assert_eq!(told(path), Some(change), "{}", path.escape_ascii());
    }
    // Directories deeper than anybody can name are a gap, and said to be one.
    assert!(!seen.summary.is_complete(), "{:?}", seen.summary);
    for (database, read) in &inventory.databases {
        match database.ecosystem {
            // A link to a path that the container does not have: no database.
            Ecosystem::Npm => assert_eq!(read, &Ok(Packages::default())),
            _ => assert!(read.is_err(), "{database:?} is read as {read:?}"),
        }
    }
    let mut wrong: Vec<String> = outside.opened();
    wrong.extend(opened::not_allowed(&opens, &super::allowed(&container)));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
