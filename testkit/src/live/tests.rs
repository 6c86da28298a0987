//! The live machinery against itself: real containers, a real engine, core fields only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;

use super::layer::Layer;
use super::*;
use crate::engine::Engine;
use crate::shared_dir;
use crate::skip::skip;

/// The engine's command line, or why there is none.
fn engine() -> Result<Vec<PathBuf>, String> {
    Engine::sysdig().map(|engine| engine.command()).map_err(|e| format!("no engine: {e:#}"))
}

/// The scenario script, or why there is none.
fn scenario() -> Result<Vec<u8>, String> {
    let dir = shared_dir().ok_or("no captures beside the checkout (DRIFT_SHARED)")?;
    std::fs::read(dir.join("captures/scenarios/binary.sh")).map_err(|e| e.to_string())
}

struct Setup {
    engine: Vec<PathBuf>,
    script: Vec<u8>,
    image: Image,
}

/// What a test needs; prints why it is skipped when something is missing.
fn setup(runtime: Runtime) -> Option<Setup> {
    let ready = match missing(runtime.tools()) {
        Some(why) => Err(why),
        None => engine().and_then(|engine| Ok((engine, scenario()?))),
    };
    match ready {
        Ok((engine, script)) => Some(Setup { engine, script, image: Image::debian().unwrap() }),
        Err(why) => {
            skip("testkit::live", &why);
            None
        }
    }
}

const FIELDS: [&str; 10] = [
    "proc.exepath",
    "proc.args",
    "proc.is_exe_upper_layer",
    "proc.is_exe_lower_layer",
    "proc.is_exe_from_memfd",
    "proc.exe_ino",
    "proc.pid",
    "thread.cgroup.memory",
    "proc.pname",
    "evt.arg.filename",
];

/// One exec as the tracer saw it and as the engine printed it.
#[derive(Debug)]
struct Seen {
    process: Process,
    line: Value,
    /// The process still stood at its exec when the engine answered.
    alive: bool,
}

/// Runs the script and gives each marker's last exec.
fn run(setup: &Setup, container: &Container, facts: Facts) -> BTreeMap<String, Seen> {
    let spec = Spec {
        program: setup.engine.clone(),
        filter: "evt.type = execve".to_owned(),
        fields: FIELDS.map(str::to_owned).to_vec(),
        ..Spec::default()
    };
    let begun = Instant::now();
    let mut stream = Stream::new(&spec, &container.table().unwrap()).unwrap();
    let started = begun.elapsed();
    let script = container.put("binary.sh", &setup.script).unwrap();
    let mut seen = BTreeMap::new();
    let mut answers = Vec::new();
    let begun = Instant::now();
    let status = trace(container, &format!("sh {script}"), facts, &mut |event| {
        let asked = Instant::now();
        let lines = stream.feed(event)?;
        if let Some(process) = event.exec() {
            answers.push(asked.elapsed());
            assert_eq!(lines.len(), 1, "one exec, one line: {process:?} {lines:?}");
            assert_eq!(lines[0]["proc.pid"], process.pid, "{lines:?}");
            let alive = Path::new(&format!("/proc/{}", process.pid)).exists();
            if let Some(marker) = event.marker() {
                let exec = Seen { process: process.clone(), line: lines[0].clone(), alive };
                seen.insert(marker.to_owned(), exec);
            }
        }
        Ok(())
    })
    .unwrap();
    let traced = begun.elapsed();
    assert_eq!(status, 0, "the script's last command ends well");
    assert!(stream.finish().unwrap().is_empty());
    answers.sort_unstable();
    println!(
        "engine up in {started:?}; script in {traced:?}; {} execs, answer median {:?}, longest {:?}",
        answers.len(),
        answers[answers.len() / 2],
        answers[answers.len() - 1]
    );
    seen
}

fn expected_markers() -> BTreeSet<String> {
    // scn-14 lies on a mount without execution: its exec fails.
    (1..=37).filter(|&n| n != 14).map(|n| format!("scn-{n:02}")).collect()
}

/// What the kernel says of each scenario's executable, from the scenarios' own description.
fn check(seen: &BTreeMap<String, Seen>, container: &Container, flags: Flags) {
    assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), expected_markers());
    let lower = [1, 11, 15, 16, 17, 18, 19, 20, 29, 30, 36, 37];
    let none = [12, 13, 21];
    for (marker, exec) in seen {
        let Seen { process, line, .. } = exec;
        let number: u32 = marker["scn-".len()..].parse().unwrap();
        let layer = if lower.contains(&number) {
            Layer::Lower
        } else if none.contains(&number) {
            Layer::None
        } else {
            Layer::Upper
        };
        assert_eq!(process.exe.layer, layer, "{marker}: {:?}", process.exe);
        let said = flags == Flags::Present;
        assert_eq!(line["proc.is_exe_upper_layer"], said && layer == Layer::Upper, "{marker}: {line}");
        assert_eq!(line["proc.is_exe_lower_layer"], said && layer == Layer::Lower, "{marker}: {line}");
        assert_eq!(line["proc.is_exe_from_memfd"], said && number == 21, "{marker}: {line}");
        assert_eq!(line["proc.exe_ino"], process.exe.ino, "{marker}: {line}");
        assert!(
            process.exe.ino > 0 && process.exe.writable,
            "root may write its own files: {:?}",
            process.exe
        );
        let cgroup = line["thread.cgroup.memory"].as_str().unwrap();
        assert!(cgroup.contains(container.id()), "{marker}: {cgroup}");
        if number != 34 {
            let exepath = String::from_utf8(process.exe.path.clone()).unwrap();
            assert_eq!(line["proc.exepath"], exepath, "{marker}: {line}");
        }
    }
    let paths = [
        ("scn-01", "/usr/bin/basename"),
        ("scn-02", "/tmp/b02"),
        ("scn-11", "/usr/bin/basename"),
        ("scn-12", "/scratch/b12"),
        ("scn-13", "/vol/b13"),
        ("scn-18", "/usr/bin/dash"),
        ("scn-21", "memfd:x"),
        ("scn-22", "/tmp/b22"),
        ("scn-28", "/tmp/j28/usr/bin/basename"),
        ("scn-32", "/tmp/sp ace32"),
        ("scn-37", "/usr/bin/basename"),
    ];
    for (marker, path) in paths {
        assert_eq!(seen[marker].line["proc.exepath"], path);
    }
    let asked = [
        ("scn-11", "/tmp/sym11"),
        ("scn-16", "/usr/bin/sh"),
        ("scn-25", "/tmp/b25"),
        ("scn-28", "/usr/bin/basename"),
        ("scn-36", "/usr/bin/../bin/./basename"),
        ("scn-37", "/bin/basename"),
    ];
    // The engine itself resolves a relative name, so it must know the working directory.
    for (marker, path) in asked {
        assert_eq!(seen[marker].line["evt.arg.filename"], path, "{marker}");
    }
    assert_eq!(seen["scn-34"].process.exe.path, b"/tmp/bad\xff-34");
    assert_eq!(seen["scn-01"].line["proc.pname"], "sh", "the parent is known");
}

fn whole(runtime: Runtime, facts: Facts) {
    let Some(setup) = setup(runtime) else { return };
    let begun = Instant::now();
    let container = runtime.start(&setup.image).unwrap();
    println!("container {} up in {:?}", container.id(), begun.elapsed());
    assert!(container.lower_dirs().unwrap().len() >= 3);
    let (id, upper) = (container.id().to_owned(), container.upper_dir().unwrap());
    assert!(upper.is_dir());
    let seen = run(&setup, &container, facts);
    check(&seen, &container, facts.flags);
    for (marker, exec) in &seen {
        assert_eq!(exec.alive, facts.delay == Delay::None, "{marker} at the engine's answer");
    }
    assert!(container.vol().join("b13").is_file());
    let init = container.init_pid();
    drop(container);
    assert!(!Path::new(&format!("/proc/{init}")).exists(), "container {id} is removed");
    assert!(!upper.exists(), "container {id}'s writable layer is removed");
}

#[test]
fn a_podman_container_is_told_as_it_is() {
    whole(Runtime::Podman, Facts::default());
}

#[test]
fn a_containerd_container_is_told_as_it_is() {
    whole(Runtime::Containerd, Facts::default());
}

#[test]
fn an_old_kernel_with_garbled_times_is_told_late() {
    let facts =
        Facts { flags: Flags::Absent, delay: Delay::AfterExit, garbled_times: true, ..Facts::default() };
    whole(Runtime::Podman, facts);
}

#[test]
fn several_engines_judge_the_same_event() {
    let Some(setup) = setup(Runtime::Containerd) else { return };
    let container = Container::containerd(&setup.image).unwrap();
    let table = container.table().unwrap();
    let filters = [
        "evt.type = execve and proc.exepath = /usr/local/bin/second",
        "evt.type = execve and proc.name = second",
        "evt.type = procexit",
    ];
    let mut streams: Vec<Stream> = filters
        .iter()
        .map(|filter| {
            let spec = Spec {
                program: setup.engine.clone(),
                filter: (*filter).to_owned(),
                fields: vec!["proc.name".to_owned()],
                ..Spec::default()
            };
            Stream::new(&spec, &table).unwrap()
        })
        .collect();
    let second =
        container.lower_dirs().unwrap().iter().position(|dir| dir.join("usr/local/bin/second").is_file());
    assert_eq!(second, Some(1), "the file lies in the middle layer");
    for round in 0..2 {
        let mut counts = [0; 3];
        trace(&container, "second", Facts::default(), &mut |event| {
            for (count, lines) in counts.iter_mut().zip(Stream::feed_all(&mut streams, event)?) {
                *count += lines.len();
            }
            Ok(())
        })
        .unwrap();
        // The second file of the image is a script, so the shell is what runs, under the script's name. The
        // end of a process comes after its exec, so the first round's end is seen with the second round's
        // exec.
        assert_eq!(counts, [0, 1, round]);
    }
}

/// What the end of a command does to init reaches it while the next one is waiting to be read.
#[test]
fn commands_may_follow_each_other_at_once() {
    let Some(setup) = setup(Runtime::Podman) else { return };
    let container = Container::podman(&setup.image).unwrap();
    for _ in 0..40 {
        assert_eq!(trace(&container, "second", Facts::default(), &mut |_| Ok(())).unwrap(), 0);
    }
}

#[test]
fn what_the_caller_says_ends_the_trace() {
    let Some(setup) = setup(Runtime::Podman) else { return };
    let container = Container::podman(&setup.image).unwrap();
    let error = trace(&container, "true", Facts::default(), &mut |_| anyhow::bail!("enough")).unwrap_err();
    assert_eq!(error.to_string(), "enough");
    let spec =
        Spec { program: setup.engine.clone(), filter: "no.such.field = 1".to_owned(), ..Spec::default() };
    let error = Stream::new(&spec, &container.table().unwrap()).unwrap_err().to_string();
    assert!(error.contains("no.such.field"), "{error}");
}
