//! Tier 3: a container that does its worst (`tests/fixtures/hostile.sh`), told to the plugin's C interface
//! event by event while each process stands at its exec. Drift answers as the table says, opens nothing
//! outside of what it may (`opened`), and is left with no more than it had. A process of its own: strace
//! looks at all that the process does, and its threads and descriptors are counted.

// Helpers of tests: a failure there is a failure of the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod control_groups;
mod fake_root;
mod mounted;
mod opened;
mod scan;
mod table;
mod unanswering;
mod vanished;

use control_groups::Forged;
use opened::{Outside, Watch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use table::Case;
use testkit::host::Host;
use testkit::live::{self, Container, Event, Facts, Image, Runtime};

/// A container; `None`, said and counted, where the test cannot run.
fn start(test: &str, runtime: Runtime) -> Option<Container> {
    start_with(test, runtime, &[])
}

/// The same, with options of the runtime's.
fn start_with(test: &str, runtime: Runtime, options: &[&str]) -> Option<Container> {
    let start = || runtime.start_with(&Image::debian().unwrap(), options, &live::container::INIT).unwrap();
    runtime.usable(test, &["strace"]).then(start)
}

/// One at a time: the calls of the whole process are looked at.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long the race goes on: two seconds, or what DRIFT_RACE_SECONDS says.
fn race_seconds() -> String {
    std::env::var("DRIFT_RACE_SECONDS").unwrap_or_else(|_| "2".to_owned())
}

/// An executable that runs, and whose section headers are where no file ends, as many as can be said.
fn absurd_elf() -> Vec<u8> {
    let mut elf = std::fs::read("/bin/true").unwrap();
    elf[40..48].copy_from_slice(&0x7fff_ffff_ffff_ff00_u64.to_le_bytes()); // e_shoff
    elf[58..64].copy_from_slice(&[64, 0, 0xff, 0xff, 0xfe, 0xff]); // e_shentsize, e_shnum, e_shstrndx
    elf
}

/// Where the scripts are put: `/corpus`, which the container cannot write to.
fn prepare(container: &Container) -> String {
    container.put("absurd", &absurd_elf()).unwrap();
    container.put("hostile.sh", include_bytes!("../fixtures/hostile.sh")).unwrap()
}

/// The marker of an exec, `hst-NN`.
fn marker(event: &Event) -> Option<String> {
    let args = &event.exec()?.cmdline;
    let of = |arg: &[u8]| std::str::from_utf8(arg).ok().filter(|a| a.starts_with("hst-")).map(str::to_owned);
    args.split(|byte| *byte == 0).find_map(of)
}

/// What a container's executions were answered with, by marker.
type Answers = BTreeMap<String, Vec<Answer>>;

#[derive(Debug, Clone)]
struct Answer {
    container: Option<String>,
    binary: Option<String>,
    script: Option<String>,
    path: Option<String>,
}

fn ask(host: &mut Host, event: &Event) -> Answer {
    let fed = host.feed(event.raw().to_vec());
    // Asked for what it makes drift read, too.
    for field in ["binary_traits", "binary_package", "binary_writer", "image_has_file", "manifest_state"] {
        let _ = host.text(&fed, field);
    }
    for path in ["/tmp/h02", "/proc/1/root/etc/passwd", "/tmp/loop0", "/tmp/race/d/x", "/../../etc/shadow"] {
        let _ = host.text(&fed, &format!("image_has_file[{path}]"));
    }
    Answer {
        container: host.text(&fed, "container_id"),
        binary: host.text(&fed, "binary_origin"),
        script: host.text(&fed, "script_origin"),
        path: host.text(&fed, "script_path"),
    }
}

/// Plays the scenario and gives what drift answered, and what it opened meanwhile.
fn play(container: &Container, outside: &Outside) -> (Answers, Vec<String>) {
    let script = prepare(container);
    let mut host = Host::start(&serde_json::json!({}));
    let watch = Watch::start();
    let mut answers = Answers::new();
    let command = format!("sh {script} {} {}", race_seconds(), outside.dir().display());
    let (threads, descriptors) = (count("task"), count("fd"));
    let mut forged = None;
    live::trace(container, &command, Facts::default(), &mut |event| {
        if let Some(marker) = marker(event) {
            if marker == "hst-25" {
                // On a thread whose opens are not counted as drift's.
                let tid = event.tid;
                forged = std::thread::spawn(move || Forged::around(tid)).join().ok();
            }
            answers.entry(marker).or_default().push(ask(&mut host, event));
        } else {
            host.feed(event.raw().to_vec());
        }
        Ok(())
    })
    .unwrap();
    assert!(forged.is_some_and(|f| f.is_somewhere()), "no control group could be made");
    assert!(count("task") <= threads && count("fd") <= descriptors + 8, "something stays behind");
    assert_eq!(host.metric("panics_caught"), 0);
    (answers, watch.stop())
}

fn count(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count()
}

/// Whether a case is there in this runtime's container.
fn applies(case: &Case, runtime: Runtime) -> bool {
    // podman gives no capability to make devices, and its seccomp profile allows no user namespaces;
    // containerd's default, as Kubernetes uses it, has neither.
    case.needs.is_empty() || runtime == Runtime::Containerd
}

fn run(test: &str, runtime: Runtime) {
    let _alone = alone();
    let Some(container) = start(test, runtime) else { return };
    let outside = Outside::new();
    let (answers, opens) = play(&container, &outside);
    let mut wrong = Vec::new();
    for case in table::read().iter().filter(|case| applies(case, runtime)) {
        let Some(found) = answers.get(&case.marker) else {
            wrong.push(format!("{}: no exec seen: {}", case.marker, case.what));
            continue;
        };
        // chroot and unshare exec first, and then the program itself; in the race each one counts.
        let from = if case.marker == "hst-40" { 0 } else { found.len() - 1 };
        wrong.extend(found[from..].iter().filter(|a| !case.allows(a)).map(|a| format!("{case:?}: {a:?}")));
    }
    for answer in answers.values().flatten() {
        if answer.container.as_deref() != Some(container.id()) {
            wrong.push(format!("another container: {answer:?}"));
        }
        let shown = answer.path.as_deref().unwrap_or_default();
        if shown.chars().any(char::is_control) {
            wrong.push(format!("a control character would be printed: {answer:?}"));
        }
    }
    let named = answers.get("hst-13").and_then(|all| all.last()?.path.clone());
    assert_eq!(named.as_deref(), Some("/tmp/h13\\nFAKE ALERT\\033[2Jx"));
    wrong.extend(outside.opened());
    wrong.extend(opened::not_allowed(&opens, &allowed(&container)));
    assert!(opens.len() > 100, "strace saw {} opens only", opens.len());
    assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
    let raced = answers.get("hst-40").map_or(0, Vec::len);
    eprintln!("{test}: {} opens, {raced} execs in the race", opens.len());
}

/// Directories of the host that are the container's own.
fn allowed(container: &Container) -> Vec<PathBuf> {
    let mut dirs = container.lower_dirs().unwrap();
    dirs.extend(container.upper_dir());
    // podman mounts layers by short names, which are links.
    let real: Vec<PathBuf> = dirs.iter().map(|dir| std::fs::canonicalize(dir).unwrap()).collect();
    dirs.extend(real);
    dirs
}

#[test]
fn podman_container_does_its_worst() {
    run("hostile: podman", Runtime::Podman);
}

#[test]
fn containerd_container_does_its_worst() {
    run("hostile: containerd", Runtime::Containerd);
}

#[test]
fn markers_and_cases_are_one_list() {
    let script = include_str!("../fixtures/hostile.sh");
    let cases = table::read();
    for case in &cases {
        assert!(script.contains(&case.marker), "{} is in the table alone", case.marker);
    }
    for at in script.match_indices("hst-").map(|(at, _)| &script[at..at + 6]).filter(|m| *m != "hst-99") {
        assert!(cases.iter().any(|case| case.marker == at), "{at} is in the script alone");
    }
    assert!(Path::new("/proc/self/task").exists());
}
