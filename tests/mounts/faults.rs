//! What breaks around drift: layers that vanish under its hands, files that cannot be read or written, a host
//! that is gone, a clock that is set, nobody who takes its events. It says that it does not know, counts, and
//! goes on.
//!
//! A process that is gone: tests/containers/execs.rs, tests/hostile/vanished.rs. Privileges that are gone, no
//! host: tests/containers/execs.rs.

use drift::config::{Config, RawConfig};
use drift::events::Reporter;
use drift::facts::{Against, VerifyJob};
use drift::metrics::Metrics;
use drift::prebuilt::Lists;
use drift::workers::Workers;
use drift_core::container::registry::{LoadedManifest, Registry};
use drift_core::host::Host;
use drift_core::host::{ExeFlags, InodeId};
use drift_core::image::disk::{WalkLimits, XattrSpace};
use drift_core::image::layer::Layer;
use drift_core::image::view::{Image, Presence};
use drift_core::network::baseline::Peer;
use drift_core::network::learned::{Learned, LearnedPeer};
use drift_core::network::store;
use drift_core::network::Direction;
use drift_core::verdict::binary::BinaryKey;
use drift_core::verdict::compare::{same_content, sha256};
use drift_formats::entry::ImagePath;
use drift_formats::ports::Protocol;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::host;
use testkit::host::direct::Direct;
use testkit::host::event::{Exec, LOWER};
use testkit::host::library;
use testkit::skip::skip;

fn path(path: &str) -> ImagePath {
    ImagePath::from_archive(path.as_bytes()).unwrap()
}

/// A layer with 40 directories of 5 files.
fn fill(dir: &Path) {
    for n in 0..40 {
        let sub = dir.join(format!("usr/d{n}"));
        std::fs::create_dir_all(&sub).unwrap();
        (0..5).for_each(|file| std::fs::write(sub.join(format!("f{file}")), "x").unwrap());
    }
}

/// Indexes a layer and does something to it on the way; gives what is then said of the files that it had.
fn indexed_while(dir: &Path, fault: &mut dyn FnMut()) -> (Arc<Layer>, Vec<Presence>) {
    let layer = Arc::new(Layer::on_disk(dir.to_owned(), XattrSpace::User));
    let mut steps = 0;
    let built = layer.build_index(WalkLimits::default(), || {
        steps += 1;
        if steps == 10 {
            fault();
        }
        true
    });
    assert!(built.is_some() && steps >= 10);
    let image = Image::new(vec![Arc::clone(&layer)]);
    let files = (0..40).flat_map(|n| (0..5).map(move |f| path(&format!("/usr/d{n}/f{f}"))));
    let said = files.map(|file| image.lookup(&file)).collect();
    (layer, said)
}

/// "The image has no such file" would make drift of everything that the container runs.
fn assert_never_absent(said: &[Presence], how: &str) {
    let absent = said.iter().filter(|presence| **presence == Presence::Absent).count();
    assert_eq!(absent, 0, "{how}: {absent} of {} files are said not to be in the image", said.len());
}

#[test]
fn a_layer_that_is_removed_while_it_is_indexed_is_no_empty_layer() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("layer");
    fill(&dir);
    let (layer, said) = indexed_while(&dir, &mut || std::fs::remove_dir_all(&dir).unwrap());
    assert_never_absent(&said, "removed");
    assert_eq!(layer.is_partial(), Some(true));
}

#[test]
fn a_layer_that_is_replaced_while_it_is_indexed_is_no_other_layer() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("layer");
    fill(&dir);
    let (_, said) = indexed_while(&dir, &mut || {
        std::fs::rename(&dir, tmp.path().join("old")).unwrap();
        std::fs::create_dir(&dir).unwrap();
    });
    assert_never_absent(&said, "replaced");
}

#[test]
fn a_layer_that_is_unmounted_while_it_is_indexed_is_no_empty_layer() {
    if !rustix::process::geteuid().is_root() {
        return skip("faults: unmounted", "mounting needs root");
    }
    let tmp = tempfile::tempdir().unwrap();
    let run = |program: &str, args: &[&str]| {
        assert!(Command::new(program).args(args).arg(tmp.path()).status().unwrap().success(), "{program}");
    };
    run("mount", &["-t", "tmpfs", "tmpfs"]);
    let dir = tmp.path().join("layer");
    fill(&dir);
    let (_, said) = indexed_while(&dir, &mut || run("umount", &["-l"]));
    assert_never_absent(&said, "unmounted");
}

#[test]
fn what_is_no_directory_is_no_empty_layer() {
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let link = tmp.path().join("link");
    std::os::unix::fs::symlink("/nowhere", &link).unwrap();
    for dir in [file, link, tmp.path().join("none")] {
        let layer = Arc::new(Layer::on_disk(dir.clone(), XattrSpace::User));
        for indexed in [false, true] {
            let said = Image::new(vec![Arc::clone(&layer)]).lookup(&path("/usr/bin/x"));
            assert!(matches!(said, Presence::Unknown(_)), "{} indexed: {indexed}: {said:?}", dir.display());
            layer.build_index(WalkLimits::default(), || true);
        }
    }
}

/// A regular file whose reading fails with EIO: a process's memory at address 0.
const EIO: &str = "/proc/self/mem";

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_says_so() {
    let host = Host::new(Path::new("/"));
    let read = host.read_state(EIO.as_bytes(), 4096).unwrap_err();
    assert_eq!(read.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    let open = || File::open(EIO).unwrap();
    // Its size is 0, and the end is where the size said: nothing is read.
    assert!(same_content(&mut open(), &mut open(), || true).is_ok());
    assert!(sha256(&mut open(), 1 << 20, || true).is_err());
}

#[test]
fn output_that_cannot_be_written_ends_the_command_with_an_error() {
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let drift = |args: &[&str]| {
        let mut command = Command::new(testkit::command::drift());
        command.args(args).stdout(full()).stderr(Stdio::piped()).output().unwrap()
    };
    for args in [&["--help"][..], &["--version"]] {
        let output = drift(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("No space left on device") && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_full_disk_leaves_what_was_stored_before() {
    if !rustix::process::geteuid().is_root() {
        return skip("faults: full disk", "mounting needs root");
    }
    let tmp = tempfile::tempdir().unwrap();
    let run = |program: &str, args: &[&str]| {
        assert!(Command::new(program).args(args).arg(tmp.path()).status().unwrap().success(), "{program}");
    };
    run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs"]);
    let learned = |peers: u32| {
        let mut learned = Learned::new(3600);
        for n in 0..peers {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + n).into();
            let (direction, protocol) = (Direction::Outbound, Protocol::Tcp);
            let peer = Peer { direction, address, name: None, port: 443, protocol };
            learned.add(&format!("app:{}", n / 1000), LearnedPeer::of(&peer));
        }
        learned
    };
    let path = tmp.path().join("learned.yaml");
    let (few, many) = (learned(10), learned(20_000));
    assert!(many.to_yaml().len() > 64 << 10);
    store::save(&path, &few).unwrap();
    let refused = store::save(&path, &many).map_err(|why| why.raw_os_error());
    let left = std::fs::read_dir(tmp.path()).unwrap().count();
    let kept = store::load_learned(&path, 3600).map(|l| l.to_yaml());
    let again = store::save(&path, &few);
    run("umount", &["-l"]);
    assert_eq!(refused, Err(Some(rustix::io::Errno::NOSPC.raw_os_error())));
    assert_eq!(left, 1, "no half file is left");
    assert_eq!(kept.unwrap(), few.to_yaml());
    again.unwrap();
}

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn exec(ts: u64, tid: i64) -> Vec<u8> {
    let cgroup = format!("/docker/{ID}");
    let mut bytes = Exec::new(tid, &cgroup, "/usr/bin/bash", LOWER, &["bash"]).bytes();
    bytes[..8].copy_from_slice(&ts.to_ne_bytes());
    bytes
}

fn origin(drift: &mut Direct<'_>, bytes: &[u8]) -> Option<String> {
    let field = drift.field("binary_origin");
    let mut said = None;
    drift.feed(bytes, &[field], &mut |_, answer| said = answer.map(|a| a.to_str().unwrap().to_owned()));
    said
}

#[test]
fn a_clock_that_is_set_changes_no_verdict() {
    let dir = host::no_host();
    let config = host::config(dir.path(), &host::manifest(dir.path()), "0123*");
    let mut drift = Direct::start(library::api(), &config);
    const DAY: u64 = 86_400_000_000_000;
    let now = 1_700_000_000_000_000_000;
    for (i, ts) in [now, now + DAY, now - DAY, 0, u64::MAX, 1, now - 9000 * DAY, now].into_iter().enumerate()
    {
        for tid in [1000, 2000 + i as i64] {
            assert_eq!(origin(&mut drift, &exec(ts, tid)).as_deref(), Some("image"), "at {ts}");
        }
    }
    assert_eq!(drift.metric("panics_caught"), 0);
}

#[test]
fn a_host_that_goes_away_leaves_what_is_known_and_unknown_what_is_not() {
    let root = host::no_host();
    let proc = root.path().join("proc");
    std::os::unix::fs::symlink("/proc", &proc).unwrap();
    let manifests = host::no_host();
    let config = host::config(root.path(), &host::manifest(manifests.path()), "0123*");
    let mut drift = Direct::start(library::api(), &config);
    assert_eq!(origin(&mut drift, &exec(1, 1000)).as_deref(), Some("image"));
    std::fs::remove_dir_all(root.path()).unwrap();
    assert_eq!(origin(&mut drift, &exec(2, 1000)).as_deref(), Some("image"));
    let mut other = exec(3, 1001);
    let at = other.windows(4).position(|w| w == b"0123").unwrap();
    let _ = other.splice(at..at + 4, *b"ffff");
    let second = other.windows(4).rposition(|w| w == b"0123").unwrap();
    let _ = other.splice(second..second + 4, *b"ffff");
    // Of a container whose image cannot be read the kernel's flags are what is left: a lower layer.
    assert_eq!(origin(&mut drift, &other).as_deref(), Some("image"));
    assert_eq!(drift.metric("panics_caught"), 0);
}

/// A container whose image is a manifest with one file.
fn container() -> Arc<drift_core::container::registry::Container> {
    let dir = host::no_host();
    let raw = serde_json::from_value::<RawConfig>(serde_json::json!({
        "host_root": dir.path(),
        "manifests": [{ "path": host::manifest(dir.path()), "containers": ["*"] }],
    }));
    let config = Arc::new(Config::try_from(raw.unwrap()).unwrap());
    let manifests: Vec<LoadedManifest> = drift::prebuilt::load_all(&config).unwrap();
    let mut registry = Registry::new(Host::new(dir.path()), config.registry(), manifests);
    registry.look_at(ID, 1).0
}

/// The engine takes no events: a report hangs. The queue fills up, what does not fit is refused at once and
/// counted, and when the engine goes on so does the rest.
#[test]
fn a_full_queue_holds_nobody_up() {
    let metrics = Arc::new(Metrics::default());
    let raw = RawConfig { container_parts: Some(1), ..RawConfig::default() };
    let config = Arc::new(Config::try_from(raw).unwrap());
    let gate = Arc::new(Mutex::new(0u64));
    let (closed, told) = (gate.lock().unwrap(), Arc::clone(&gate));
    let reporter = Reporter::new(move |_, _, _| *told.lock().unwrap() += 1);
    let root: PathBuf = "/".into();
    let background =
        Workers::start(&Host::new(&root), &config, &metrics, Lists::default(), &reporter).unwrap();
    let tmp = tempfile::NamedTempFile::new().unwrap();
    let container = container();
    let (mut taken, mut refused) = (0u64, 0u64);
    // The gate is closed by this thread: a call that waited would never return.
    for tid in 0..1000 {
        let against = Against { layer: 0, path: path("/usr/bin/python3"), sha256: Some([0; 32]) };
        let job = VerifyJob {
            key: BinaryKey::new(ID, b"/x", InodeId::default(), ExeFlags::default()),
            container: Arc::clone(&container),
            file: tmp.reopen().unwrap(),
            against: Some(against),
            tid,
            process: Arc::default(),
        };
        match background.verify(job) {
            true => taken += 1,
            false => refused += 1,
        }
    }
    assert_eq!(taken + refused, 1000);
    // As many fit as the queue has places, and one is in the worker's hands.
    assert!(refused > 400, "{refused} refused");
    let by_reason = metrics.queue_full.get() + metrics.over_share.get();
    assert_eq!((by_reason, metrics.verifier_dropped.get()), (refused, refused));
    drop(closed);
    let end = Instant::now() + Duration::from_secs(30);
    while metrics.verified.get() < taken && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(metrics.verified.get(), taken, "what was taken is done");
    while *gate.lock().unwrap() < taken && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(background);
    assert_eq!(*gate.lock().unwrap(), taken, "and told");
    assert_eq!(metrics.panics_caught.get(), 0);
}

/// A file that cannot be read (EIO of a disk, here EBADF) is no finding, and is counted.
#[test]
fn a_file_that_cannot_be_read_is_counted() {
    let metrics = Arc::new(Metrics::default());
    let config = Arc::new(Config::try_from(RawConfig::default()).unwrap());
    let reported = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&reported);
    let reporter = Reporter::new(move |name, _, payload| {
        told.lock().unwrap().push(format!("{name} {}", payload["binary_origin"]));
    });
    let host = Host::new(Path::new("/"));
    let background = Workers::start(&host, &config, &metrics, Lists::default(), &reporter).unwrap();
    let tmp = tempfile::NamedTempFile::new().unwrap();
    let write_only = std::fs::OpenOptions::new().write(true).open(tmp.path()).unwrap();
    let job = VerifyJob {
        key: BinaryKey::new(ID, b"/x", InodeId::default(), ExeFlags::default()),
        container: container(),
        file: write_only,
        against: Some(Against { layer: 0, path: path("/usr/bin/python3"), sha256: Some([0; 32]) }),
        tid: 1,
        process: Arc::default(),
    };
    assert!(background.verify(job));
    let end = Instant::now() + Duration::from_secs(30);
    let mut findings = Vec::new();
    while findings.is_empty() && Instant::now() < end {
        findings.extend(background.findings());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((metrics.verify_failed.get(), metrics.verified.get()), (1, 0));
    assert!(findings.iter().all(|finding| finding.failed));
    // What was never found out is reported after the last try, for rules to go by.
    assert_eq!(*reported.lock().unwrap(), [r#"drift_binary "image_unverified""#]);
}
