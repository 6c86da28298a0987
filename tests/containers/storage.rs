//! Containers whose storage is laid out in another way than on a machine with one disk: the same programs,
//! scripts and files are judged as there.

use drift::config::{Config, RawConfig};
use drift_core::container::registry::{Container as Known, Registry};
use drift_core::container::running::running;
use drift_core::host::Host;
use drift_core::scan::processes::{scan, ProcessFinding};
use drift_core::scan::{FileChange, FileFinding, FileScan, Limits};
use drift_core::verdict::origin::Origin;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::live::{Container, Image, Runtime};

/// What runs in the container, each told by the number of seconds that it sleeps.
const SCRIPT: &str = "
cp /usr/bin/sleep /opt/dropped; /opt/dropped 1001 &
/usr/bin/sleep 1002 &
cat /usr/bin/sleep > /usr/bin/tac; echo >> /usr/bin/tac; /usr/bin/tac 1003 &
touch /usr/bin/tail; /usr/bin/tail -f /dev/null -s 1004 &
cp /usr/bin/sleep /opt/gone; /opt/gone 1005 & /usr/bin/sleep 0.3; rm /opt/gone
cp /usr/bin/sleep /scratch/onmem; /scratch/onmem 1006 &
printf 'sleep 1007\\n:\\n' > /opt/script; sh /opt/script &
echo x >> /etc/passwd
: > /scratch/ready
exec /usr/bin/sleep 1008
";

/// What more runs where an image is mounted at `/iv`, and may be written to.
const ON_IMAGE_VOLUME: &str = "
/iv/usr/bin/sleep 1009 &
cp /usr/bin/sleep /iv/new; /iv/new 1010 &
cat /usr/bin/sleep > /iv/usr/bin/tac; /iv/usr/bin/tac 1011 &
";

const IMAGE_VOLUME: [(&str, Origin); 3] =
    [("1009", Origin::ImageVolume), ("1010", Origin::Volume), ("1011", Origin::Volume)];

/// What is judged of each: the program's origin, the script's.
const PROGRAMS: [(&str, Origin); 6] = [
    ("1001", Origin::Added),
    ("1002", Origin::Image),
    ("1003", Origin::ImageModified),
    ("1004", Origin::ImageTouched),
    ("1005", Origin::Added),
    ("1006", Origin::Tmpfs),
];

const FILES: [(&str, FileChange); 4] = [
    ("/opt/dropped", FileChange::Created),
    ("/usr/bin/tac", FileChange::Modified),
    ("/usr/bin/tail", FileChange::Touched),
    ("/etc/passwd", FileChange::Modified),
];

fn known(container: &Container, host: &Host) -> Arc<Known> {
    let config = Config::try_from(RawConfig::default()).unwrap();
    let mut registry = Registry::new(host.clone(), config.registry(), Vec::new());
    registry.look_at_whole(container.id(), container.init_pid())
}

fn is_of(container: &Container, pid: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(container.id()))
}

/// The command of a container that runs the programs, and stays.
fn command(more: &str) -> [String; 3] {
    ["/bin/sh".to_owned(), "-c".to_owned(), format!("{more}{SCRIPT}")]
}

fn start(options: &[&str], more: &str) -> Container {
    let command = command(more);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    Container::podman_with(&Image::debian().unwrap(), options, &command).unwrap()
}

/// As [`check`], of storage that has no writable layer of its own: that a process touched a file does not
/// show.
fn check_copy(container: &Container) {
    let programs = PROGRAMS.map(|(argument, want)| match want {
        Origin::ImageTouched => (argument, Origin::Image),
        want => (argument, want),
    });
    let files: Vec<_> = FILES.into_iter().filter(|(_, want)| *want != FileChange::Touched).collect();
    check_all(container, &programs, &files);
}

/// Compares the container's programs and files with its image, once they run.
fn check(container: &Container, more: &[(&str, Origin)]) {
    check_all(container, &[&PROGRAMS, more].concat(), &FILES);
}

fn check_all(container: &Container, programs: &[(&str, Origin)], files: &[(&str, FileChange)]) {
    let end = Instant::now() + Duration::from_secs(30);
    let ready = format!("/proc/{}/root/scratch/ready", container.init_pid());
    while !Path::new(&ready).exists() {
        assert!(Instant::now() < end, "the programs do not run");
        std::thread::sleep(Duration::from_millis(20));
    }
    let host = Host::new(Path::new("/"));
    let all = running(&host);
    let found = all.iter().find(|found| *found.id == *container.id());
    assert!(found.is_some_and(|found| found.pids.contains(&container.init_pid())), "{all:?}");
    let known = known(container, &host);
    assert!(known.image.is_ok(), "{:?}", known.image);
    let pids: Vec<i64> = host.pids().into_iter().filter(|pid| is_of(container, *pid)).collect();
    let mut by_argument: BTreeMap<String, ProcessFinding> = BTreeMap::new();
    scan(&host, &known, &pids, &mut || true, &mut |finding| {
        let line = std::fs::read(format!("/proc/{}/cmdline", finding.pid)).unwrap_or_default();
        let last = line.split(|b| *b == 0).rfind(|word| !word.is_empty()).unwrap_or_default();
        by_argument.insert(String::from_utf8_lossy(last).into_owned(), finding);
    });
    let wrong: Vec<String> = programs
        .iter()
        .filter(|(argument, want)| by_argument.get(*argument).is_none_or(|found| found.origin != *want))
        .map(|(argument, want)| format!("{argument}: not {want}: {:?}", by_argument.get(*argument)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let script = by_argument.get("/opt/script").and_then(|finding| finding.script.as_ref());
    assert_eq!(script.map(|(_, origin)| *origin), Some(Origin::Added), "{by_argument:#?}");

    let mut changes = BTreeMap::new();
    let scan = FileScan::open(&host, &known, None, Limits::default()).unwrap();
    scan.run(None, &mut || true, &mut |f: FileFinding| {
        changes.insert(String::from_utf8_lossy(f.path.as_bytes()).into_owned(), f.change);
    });
    for (path, want) in files {
        assert_eq!(changes.get(*path), Some(want), "{path}: {changes:#?}");
    }
    let image_files = changes.keys().filter(|path| path.starts_with("/usr/")).count();
    assert!(image_files <= 4, "{changes:#?}");
}

fn usable(test: &str) -> bool {
    Runtime::Podman.usable(test, &[])
}

#[test]
fn layers_on_another_disk_than_the_containers_own() {
    if usable("storage: two disks") {
        let command = command("");
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let image = Image::debian().unwrap();
        check(&Container::podman_on_two_disks(&image, &[], &command).unwrap(), &[]);
    }
}

#[test]
fn one_disk_and_an_image_volume_that_is_written_to() {
    if usable("storage: one disk") {
        let image = Image::debian().unwrap();
        let volume = format!("type=image,source={},destination=/iv,rw=true", image.reference());
        check(&start(&["--mount", &volume], ON_IMAGE_VOLUME), &IMAGE_VOLUME);
    }
}

#[test]
fn layers_that_are_mounted_with_other_ids() {
    if usable("storage: user namespace") {
        let options = ["--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536"];
        check(&start(&options, ""), &[]);
    }
}

#[test]
fn a_copy_of_the_image_for_each_container() {
    if usable("storage: vfs") {
        let command = command("");
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        check_copy(&Container::podman_in_vfs(&Image::debian().unwrap(), &[], &command).unwrap());
    }
}

#[test]
fn a_plain_name_in_a_namespace_and_the_native_snapshotter() {
    if Runtime::Containerd.usable("storage: native snapshotter", &[]) {
        let command = command("");
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let options = ["--snapshotter", "native"];
        let image = Image::debian().unwrap();
        let container = Container::containerd_named("worker.", &image, &options, &command).unwrap();
        check_copy(&container);
    }
}
