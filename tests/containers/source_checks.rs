//! What each check of the event source `drift` finds, on real podman and containerd containers that had
//! drifted before it was opened; that it is told to be gone; that files are exactly those that diff(1) finds;
//! and what it costs.

use serde_json::{json, Value};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use testkit::host::opened::{in_container, lines, Open};
use testkit::live::{Container, Image, Runtime};
use testkit::mount::Mounted;

/// Drift of every kind, and secrets where drift looks.
const CHANGES: &str = r#"
cp -p /var/lib/dpkg/status /vol/status
mkdir -p /opt/tool
cp /bin/sleep /opt/tool/x
/opt/tool/x 1000 &
echo $! > /vol/pids
rm /usr/bin/tty
printf 'Package: evil\nStatus: install ok installed\nVersion: 6.6\nArchitecture: all\n\n' \
    >> /var/lib/dpkg/status
printf 'planted in a file' > /etc/secret.conf
printf 'planted on a volume' > /vol/secret
printf 'planted on a tmpfs' > /scratch/secret
TOKEN=planted-in-environment LD_PRELOAD=/planted.so sleep 1000 2>/dev/null &
echo $! >> /vol/pids
sh -c 'sleep 1000; :' --password=planted-in-arguments &
perl -MIO::Socket::INET -e '
    my %all = (LocalAddr => "0.0.0.0", Listen => 1);
    my %udp = (LocalAddr => "127.0.0.1", Proto => "udp");
    my $declared = IO::Socket::INET->new(%all, LocalPort => 8080) or die;
    my $tcp = IO::Socket::INET->new(%all, LocalPort => 4444) or die;
    my $udp = IO::Socket::INET->new(%udp, LocalPort => 5353) or die;
    my $client = IO::Socket::INET->new(%udp, LocalPort => 45000) or die;
    open(my $f, ">", "/vol/listening"); sleep 1000;' &
echo $! >> /vol/pids
until [ -e /vol/listening ]; do sleep 0.1; done
"#;

const EXPECTED: [&str; 11] = [
    "environment - - /usr/bin/sleep",
    "file created added /etc/secret.conf",
    "file created added /opt/tool/x",
    "file deleted image /usr/bin/tty",
    "file modified image_modified /var/lib/dpkg/status",
    "image unapproved - -",
    "package added - dpkg:evil",
    "port - - 4444/tcp",
    "port - - 5353/udp",
    "process - added /opt/tool/x",
    "rootfs - - /",
];

const UNDO: &str =
    "kill $(cat /vol/pids)\ncat /vol/status > /var/lib/dpkg/status\nrm /etc/secret.conf\nsleep 0.5";

const GONE: [&str; 9] = [
    "resolved - - /",
    "resolved - - /usr/bin/sleep",
    "resolved - - 4444/tcp",
    "resolved - - 5353/udp",
    "resolved - added /opt/tool/x",
    "resolved added - dpkg:evil",
    "resolved created added /etc/secret.conf",
    "resolved modified image_modified /var/lib/dpkg/status",
    "rootfs - - /",
];

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|l| (*l).to_owned()).collect()
}

/// Remounts the container's root file system, from within as far as the kernel is concerned.
fn remount(container: &Container, how: &str) {
    let pid = container.init_pid().to_string();
    let options = format!("remount,bind,{how}");
    let status = Command::new("nsenter").args(["-t", &pid, "-m", "mount", "-o", &options, "/"]).status();
    assert!(status.unwrap().success());
}

/// One at a time: what a source costs is read from this process's threads.
static ONE_SOURCE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_SOURCE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run_in(container: &Container, image: &Image) {
    let _alone = alone();
    in_container(container, "changes", CHANGES);
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("approved.txt");
    let other = image.reference().rsplit_once(':').unwrap().0;
    std::fs::write(&list, format!("{other}:another\n")).unwrap();
    let config = json!({ "approved_images": [list] }).to_string();
    let source = Open::with_config(r#"{"interval_seconds":1,"cpu_percent":100}"#, &config).unwrap();
    let first = source.settled(container.id(), Duration::from_secs(5));
    assert_eq!(lines(&first), set(&EXPECTED), "{first:#?}");
    assert_eq!(first.len(), EXPECTED.len(), "each once, over several rounds: {first:#?}");

    let of = |kind: &str, subject: &str| {
        let is_it =
            |e: &&Value| e["type"] == kind && lines(&[(*e).clone()]).iter().any(|l| l.ends_with(subject));
        first.iter().find(is_it).unwrap_or_else(|| panic!("{kind} {subject}"))
    };
    let port = of("port", "4444/tcp");
    assert_eq!(port["path"], "/usr/bin/perl");
    assert_eq!((&port["actual"], &port["expected"]), (&json!("0.0.0.0"), &json!("8080/tcp")));
    assert_eq!(of("port", "5353/udp")["actual"], "127.0.0.1");
    let package = of("package", "dpkg:evil");
    assert_eq!((&package["expected"], &package["actual"]), (&json!("absent"), &json!("6.6")));
    let environment = of("environment", "/usr/bin/sleep");
    assert_eq!(environment["env_names"], json!(["LD_PRELOAD", "TOKEN"]));
    assert_eq!(environment["env_risky"], json!(["LD_PRELOAD"]));
    assert_eq!(of("rootfs", "/")["expected"], "writable");
    assert_eq!(of("file", "/opt/tool/x")["before_start"], true);
    assert_eq!(of("process", "/opt/tool/x")["before_start"], true);
    assert!(first.iter().all(|e| e["image"] == image.reference()), "{first:#?}");

    let few =
        Open::new(r#"{"once":true,"max_findings":1,"cpu_percent":100,"checks":["ports","files"]}"#).unwrap();
    let events = few.settled(container.id(), Duration::from_secs(10));
    let mut kinds: Vec<_> =
        events.iter().map(|e| (e["check"].as_str().unwrap(), e["type"].as_str().unwrap())).collect();
    kinds.sort_unstable();
    kinds.retain(|kind| *kind != ("files", "file"));
    let want = [("files", "incomplete"), ("ports", "incomplete"), ("ports", "port")];
    assert_eq!(kinds, want, "what is more is said to be missing: {events:#?}");
    drop(few);

    in_container(container, "undo", UNDO);
    remount(container, "ro");
    let mut second = source.settled(container.id(), Duration::from_secs(5));
    remount(container, "rw");
    second.extend(source.settled(container.id(), Duration::from_secs(5)));
    // The script that undid it runs from a volume: rightly told where a round falls into it.
    second.retain(|e| e["path"] != "/corpus/undo");
    let told = lines(&second);
    assert_eq!(told, set(&GONE), "{second:#?}");

    let all = serde_json::to_string(&[first, second]).unwrap();
    assert!(!all.contains("planted"), "a secret is told: {all}");
}

#[test]
fn podman_containers() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Podman.usable("source: checks in podman", &[]) {
        return;
    }
    let image = Image::debian().unwrap();
    run_in(&Runtime::Podman.start(&image).unwrap(), &image);
}

#[test]
fn containerd_containers() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Containerd.usable("source: checks in containerd", &[]) {
        return;
    }
    let image = Image::debian().unwrap();
    run_in(&Runtime::Containerd.start(&image).unwrap(), &image);
}

/// What was deployed read-only, and is writable by now.
#[test]
fn a_read_only_root_that_was_made_writable() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Podman.usable("source: read-only root", &[]) {
        return;
    }
    let _alone = alone();
    let image = Image::debian().unwrap();
    let container = Runtime::Podman.start_with(&image, &["--read-only"], &["/bin/sleep", "1000"]).unwrap();
    let source = Open::new(r#"{"interval_seconds":1,"cpu_percent":100,"checks":["rootfs"]}"#).unwrap();
    let first = source.within(container.id(), Duration::from_secs(5));
    assert!(first.is_empty(), "{first:#?}");
    remount(&container, "rw");
    let second = source.settled(container.id(), Duration::from_secs(5));
    let told: Vec<_> = second.iter().map(|e| (&e["type"], &e["expected"], &e["actual"])).collect();
    assert_eq!(told, [(&json!("rootfs"), &json!("read-only"), &json!("writable"))], "{second:#?}");
    remount(&container, "ro");
    assert_eq!(lines(&source.settled(container.id(), Duration::from_secs(5))), set(&["resolved - - /"]));
}

/// 20,000 files and changes of every kind that diff(1) can see.
const MANY: &str = r#"
d=0
while [ $d -lt 200 ]; do
    mkdir -p /srv/many/$d
    i=0
    while [ $i -lt 100 ]; do echo $d.$i > /srv/many/$d/f$i; i=$((i+1)); done
    d=$((d+1))
done
for f in /usr/share/doc/*/copyright; do echo changed >> $f; done
for f in /usr/bin/[a-f]*; do touch $f; done
chmod 0700 /usr/sbin
rm -rf /usr/share/common-licenses /etc/cron.daily /usr/bin/tty /etc/debian_version
rm -rf /etc/apt
mkdir /etc/apt
echo new > /etc/apt/sources.list
cp -a /usr/lib/os-release /tmp/os-release
ln -sf /tmp/os-release /etc/os-release
mv /etc/skel /etc/skeleton
rm -f /etc/issue
mkdir /etc/issue
echo file > /etc/issue/file
"#;

/// What `diff -r` says of the image's layers and the container's: `change path` for all but directories that
/// are new.
fn by_diff(container: &Container) -> BTreeSet<String> {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let lower: Vec<String> =
        container.lower_dirs().unwrap().iter().map(|l| l.display().to_string()).collect();
    let upper = container.upper_dir().unwrap().display().to_string();
    let (image, live) = (at("image"), at("live"));
    let _image = Mounted::overlay(&image, &format!("ro,lowerdir={}", lower.join(":")));
    let _live = Mounted::overlay(&live, &format!("ro,lowerdir={upper}:{}", lower.join(":")));
    let mut diff = Command::new("diff");
    diff.args(["-rq", "--no-dereference"]).arg(&image).arg(&live).env("LC_ALL", "C");
    let output = String::from_utf8(diff.output().unwrap().stdout).unwrap();
    let mut found = BTreeSet::new();
    let inside =
        |root: &Path, path: &str| format!("/{}", Path::new(path).strip_prefix(root).unwrap().display());
    for line in output.lines() {
        if let Some((dir, name)) = line.strip_prefix("Only in ").and_then(|rest| rest.split_once(": ")) {
            let path = format!("{dir}/{name}");
            match dir.starts_with(image.to_str().unwrap()) {
                true => drop(found.insert(format!("deleted {}", inside(&image, &path)))),
                false => below(Path::new(&path), &mut |p| {
                    found.insert(format!("created {}", inside(&live, p.to_str().unwrap())));
                }),
            }
            continue;
        }
        // `Files A and B differ`, `Symbolic links A and B differ`,
        // `File A is a directory while file B is ...`
        let path = line
            .split(' ')
            .find(|w| w.starts_with(live.to_str().unwrap()))
            .unwrap_or_else(|| panic!("{line}"));
        found.insert(format!("modified {}", inside(&live, path)));
        if line.contains("while file") {
            below(Path::new(path), &mut |p| {
                found.insert(format!("created {}", inside(&live, p.to_str().unwrap())));
            });
        }
    }
    found
}

/// Everything at and below a path that is no directory.
fn below(path: &Path, tell: &mut dyn FnMut(&Path)) {
    if !path.symlink_metadata().unwrap().is_dir() {
        return tell(path);
    }
    for entry in std::fs::read_dir(path).unwrap() {
        below(&entry.unwrap().path(), tell);
    }
}

/// CPU time that this process's thread of that name has had, seconds.
fn cpu_of(name: &str) -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let is_it = |t: &std::fs::DirEntry| {
        std::fs::read_to_string(t.path().join("comm")).is_ok_and(|c| c.trim() == name)
    };
    let nanos = |t: std::fs::DirEntry| -> f64 {
        let text = std::fs::read_to_string(t.path().join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    tasks.filter(is_it).map(nanos).sum::<f64>() / 1e9
}

#[test]
fn files_are_those_that_diff_finds_within_the_share_of_cpu() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Podman.usable("source: 20,000 files", &[]) {
        return;
    }
    let container = Runtime::Podman.start(&Image::debian().unwrap()).unwrap();
    in_container(&container, "many", MANY);
    let _alone = alone();
    let percent = 20;
    let params = json!({"once": true, "cpu_percent": percent, "checks": ["files"], "max_findings": 50_000});
    let source = Open::new(&params.to_string()).unwrap();
    let (opened, mut last) = (Instant::now(), None::<(Instant, f64)>);
    let mut found = Vec::new();
    loop {
        let (events, more) = source.next();
        let before = found.len();
        found.extend(events.into_iter().filter(|e| e["container_id"] == container.id()));
        if found.len() > before {
            last = Some((Instant::now(), cpu_of("drift-source")));
        }
        let quiet = last.map_or(opened, |(at, _)| at).elapsed();
        if !more || quiet > Duration::from_secs(if last.is_some() { 10 } else { 120 }) {
            break;
        }
    }
    let word = |e: &Value, key: &str| e[key].as_str().unwrap().to_owned();
    assert!(found.iter().all(|e| e["type"] == "file"), "{:?}", found.iter().find(|e| e["type"] != "file"));
    let ours: BTreeSet<String> =
        found.iter().map(|e| format!("{} {}", word(e, "change"), word(e, "path"))).collect();
    assert_eq!(ours.len(), found.len(), "each once");
    let mut wanted = by_diff(&container);
    assert!(wanted.len() > 20_000, "{}", wanted.len());
    // Made by podman: files to mount something on, and a link to /proc.
    for own in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab", "/run/.containerenv"] {
        wanted.remove(&format!("created {own}"));
        wanted.remove(&format!("modified {own}"));
    }
    // diff knows no renames: a directory under another name is one that is gone and one that is new.
    if ours.contains("renamed /etc/skeleton") {
        wanted.retain(|line| !line.contains(" /etc/skel"));
        wanted.insert("renamed /etc/skeleton".to_owned());
    }
    let differ: Vec<_> = wanted.symmetric_difference(&ours).take(20).collect();
    assert!(differ.is_empty(), "{differ:?}");

    let (at, cpu) = last.unwrap();
    let share = cpu / at.duration_since(opened).as_secs_f64();
    // A slice is measured by the clock, so that a busy machine makes the share smaller, never larger.
    assert!(share < f64::from(percent) / 100.0 + 0.05, "{share:.3} of a CPU, {cpu:.1} s");
}
