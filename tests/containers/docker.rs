//! Tier 3: real Docker containers on overlay2: what starts in them, what is copied into them, and what Docker
//! keeps of them.

use crate::live::{condition, copy_in, engine, evaluate, first_program, run, session};
use drift_core::container::declared::read::read;
use drift_core::container::live::Live;
use drift_core::container::volume::VolumeKind;
use drift_core::host::Host;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::expected::{binary_rows, captures, the_exec};
use testkit::live::session::Line;
use testkit::live::{self, Container, Facts, Image, Runtime, Session, Stream};

/// What every event of the container says of it.
const OF_CONTAINER: [&str; 4] =
    ["drift.container_id", "drift.image", "drift.image_id", "drift.entrypoint_match"];

#[test]
fn every_execution_has_its_origin() {
    let _turn = crate::turns::take(module_path!());
    const TEST: &str = "live docker: executions";
    if !Runtime::Docker.usable(TEST, &[]) {
        return;
    }
    let Some(captures) = captures(TEST) else { return };
    let image = Image::debian().unwrap();
    let script = std::fs::read(captures.join("scenarios/binary.sh")).unwrap();
    // scn-22 removes a file while another process starts it; when the removal comes first, there is nothing
    // to judge.
    let play = |_| {
        let container = Runtime::Docker.start(&image).unwrap();
        let answers = executions(&container, &script);
        answers.contains_key("scn-22").then_some((container, answers))
    };
    let (container, answers) = (0..10).find_map(play).expect("scn-22 in one of ten runs");
    let mut wrong = Vec::new();
    for row in binary_rows(&captures).iter().filter(|row| row.alert.is_some()) {
        let Some(answer) = answers.get(&row.scenario).and_then(|execs| the_exec(&row.scenario, execs)) else {
            wrong.push(format!("{}: no exec seen", row.scenario));
            continue;
        };
        let got = (answer["drift.binary_origin"].as_str(), answer["drift.script_origin"].as_str());
        if got != (Some(row.binary.as_str()), row.script.as_deref()) {
            wrong.push(format!("{}: {got:?}, expected {row:?}: {answer}", row.scenario));
        }
        if answer["drift.container_id"] != container.id() || answer["drift.image"] != image.reference() {
            wrong.push(format!("{}: {answer}", row.scenario));
        }
        let id = answer["drift.image_id"].as_str().unwrap_or_default();
        if id.strip_prefix("sha256:").is_none_or(|hex| hex.len() != 64) {
            wrong.push(format!("{}: {answer}", row.scenario));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Answers by scenario.
fn executions(container: &Container, script: &[u8]) -> BTreeMap<String, Vec<Value>> {
    let dir = tempfile::tempdir().unwrap();
    let fields = [&OF_CONTAINER[..], &["proc.args", "drift.binary_origin", "drift.script_origin"]].concat();
    let spec = engine(dir.path(), "").asking("evt.type = execve", &fields);
    let mut streams = [Stream::new(&spec, &container.table().unwrap()).unwrap()];
    let script = container.put("binary.sh", script).unwrap();
    let mut answers = BTreeMap::<String, Vec<Value>>::new();
    live::trace(container, &format!("sh {script}"), Facts::default(), &mut |event| {
        let lines = Stream::feed_all(&mut streams, event)?;
        if let Some(scenario) = event.exec().and(event.marker()) {
            answers.entry(scenario.to_owned()).or_default().extend(lines[0].iter().cloned());
        }
        Ok(())
    })
    .unwrap();
    answers
}

/// `docker cp`: the process that writes is the host's, and its paths do not say whose file it is.
#[test]
fn files_that_are_copied_in_are_told() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Docker.usable("live docker: cp", &[]) {
        return;
    }
    let image = Image::debian().unwrap();
    let container = Runtime::Docker.start(&image).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let filter = format!("({}) or evt.type in (drift_file, execve)", condition("Drift internal: file watch"));
    let fields = [
        &OF_CONTAINER[..],
        &["drift.manifest_state", "drift.file_path", "drift.file_change", "drift.binary_writer"],
    ]
    .concat();
    let mut session = session(&engine(dir.path(), "").asking(&filter, &fields), &container);
    let facts = Facts { files: true, ..Facts::default() };
    // The container becomes known by what runs in it.
    let exec = |session: &mut Session| {
        run(&container, "/bin/true", facts, &mut [session]);
    };
    exec(&mut session);
    for (path, content) in
        [("/etc/copied", "from the host\n"), ("/etc/passwd", "root:x:0:0::/root:/bin/sh\n")]
    {
        let file = dir.path().join("file");
        std::fs::write(&file, content).unwrap();
        copy_in(&container, &file, path, &mut session);
    }
    session.settle(Duration::from_secs(5), Duration::from_secs(40)).unwrap();
    exec(&mut session);
    session.answered().unwrap();
    let text = |line: &Line, field: &str| line.text(field).unwrap_or_default().to_owned();
    let mut told = Vec::new();
    for line in session.lines() {
        assert_eq!(text(line, "drift.container_id"), container.id(), "{line:?}");
        if line.text("evt.type") == Some("drift_file") {
            assert_eq!(text(line, "drift.image"), image.reference(), "{line:?}");
            assert!(!text(line, "drift.binary_writer").is_empty(), "{line:?}");
            told.push(format!("{} {}", text(line, "drift.file_change"), text(line, "drift.file_path")));
        }
    }
    // By now the image is indexed.
    let mut execs = session.lines().iter().filter(|line| line.text("evt.type") == Some("execve"));
    let last = execs.next_back().unwrap();
    assert_eq!(text(last, "drift.manifest_state"), "ready", "{last:?}");
    assert_eq!(sorted(told), ["created /etc/copied", "modified /etc/passwd"]);
    let (_, alerts) = evaluate(&session, dir.path());
    let of_files = alerts.into_iter().filter(|alert| alert.tags.iter().any(|tag| tag == "filesystem"));
    let rules = sorted(of_files.map(|alert| alert.rule).collect());
    assert_eq!(rules, ["Drift file created in sensitive directory", "Drift image file modified"]);
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

/// How a container is deployed: Docker's options, the command (none: the image's), and what that overrides.
/// Privileged ones are left out: where the machine itself lacks a capability, Docker 20.10 cannot start them.
type Deployment = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

const DEPLOYMENTS: &[Deployment] = &[
    ("as the image says", &["--volume", "named:/named", "--mount", "type=tmpfs,dst=/tf"], &[], &[]),
    ("with an init program", &["--init"], &[], &[]),
    (
        "much at once",
        &[
            "--network",
            "host",
            "--pid",
            "host",
            "--user",
            "1000:1000",
            "--cap-add",
            "NET_ADMIN",
            "--volume",
            "/etc:/x",
        ],
        &["/bin/sleep", "200000"],
        &["cap_add:NET_ADMIN", "command", "host_network", "host_pid", "hostpath_rw:/etc", "user"],
    ),
    (
        "another entry point, ports",
        &["--entrypoint", "/bin/sh", "--expose", "9000/udp", "--read-only", "--env", "APP_ENV=test"],
        &["-c", "sleep 100000"],
        &["command"],
    ),
];

#[test]
fn what_docker_keeps_is_read() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Docker.usable("live docker: deployments", &[]) {
        return;
    }
    let image = Image::debian().unwrap();
    let mut wrong = Vec::new();
    for deployment in DEPLOYMENTS {
        let container = Runtime::Docker.start_with(&image, deployment.1, deployment.2).unwrap();
        wrong.extend(
            check(deployment, &image, &container).into_iter().map(|what| format!("{}: {what}", deployment.0)),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn check(deployment: &Deployment, image: &Image, container: &Container) -> Vec<String> {
    use drift_formats::ports::Protocol::{Tcp, Udp};
    let (name, _, _, overrides) = *deployment;
    let host = Host::new(Path::new("/"));
    let (live, _) = Live::look(&host, container.init_pid(), container.id()).unwrap();
    let declared = read(&host, container.id(), &live, &[], &[]);
    let mut wrong = Vec::new();
    let mut expect = |what: &str, right: bool, got: String| {
        if !right {
            wrong.push(format!("{what}: {got}; not known: {:?}", declared.missing));
        }
    };
    // Every container of the tests has this one.
    let vol = format!("hostpath_rw:{}", container.vol().display());
    let found = sorted(declared.overrides.clone().unwrap_or_default());
    let want = sorted(overrides.iter().map(|o| (*o).to_owned()).chain([vol]).collect());
    expect("overrides", found == want, format!("{found:?}, expected {want:?}"));
    expect("image", declared.image.reference.as_deref() == Some(image.reference()), format!("{declared:?}"));
    expect("image's id", declared.image.id.is_some() && declared.config.is_some(), format!("{declared:?}"));
    let ports = [(Tcp, 8080, true), (Udp, 9000, name.contains("ports")), (Tcp, 8081, false)];
    for (protocol, port, is) in ports {
        let known = declared.declares_port(protocol, port);
        expect("port", known == Some(is), format!("{protocol:?} {port}: {known:?}"));
    }
    let argv = first_program(container);
    let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    expect("first program", declared.runs_entrypoint(&argv) == Some(true), format!("{argv:?}"));
    expect("another program", declared.runs_entrypoint(&[b"/tmp/miner"]) == Some(false), String::new());
    let kinds: BTreeMap<String, Option<VolumeKind>> = live
        .mounts()
        .iter()
        .map(|m| (String::from_utf8_lossy(&m.mount_point).into_owned(), live.volume_kind(&host, m)))
        .collect();
    let mut volumes =
        vec![("/vol", VolumeKind::Bind), ("/corpus", VolumeKind::Bind), ("/scratch", VolumeKind::Tmpfs)];
    if name == "as the image says" {
        volumes.extend([
            ("/named", VolumeKind::Bind),
            ("/tf", VolumeKind::Tmpfs),
            ("/etc/hosts", VolumeKind::Bind),
        ]);
    }
    for (at, kind) in volumes {
        expect("kind of volume", kinds.get(at) == Some(&Some(kind)), format!("{at} of {kinds:?}"));
    }
    // Nothing was done in it: not even what Docker itself puts there may show.
    let (status, report) = diff(container.id());
    expect("difference", status == Some(0), report.to_string());
    expect("container", report["container_id"] == container.id(), report.to_string());
    let origins: Vec<&str> =
        report["processes"].as_array().unwrap().iter().filter_map(|p| p["origin"].as_str()).collect();
    let allowed: &[&str] = if name.contains("init") { &["image", "runtime"] } else { &["image"] };
    let right = !origins.is_empty() && origins.iter().all(|origin| allowed.contains(origin));
    expect("processes", right, report.to_string());
    wrong
}

/// The command `drift diff`, with all that it knows.
fn diff(id: &str) -> (Option<i32>, Value) {
    let args = ["diff", "--full", "--json", id];
    let out = Command::new(testkit::command::drift()).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    (out.status.code(), serde_json::from_slice(&out.stdout).unwrap_or(Value::from(text)))
}
