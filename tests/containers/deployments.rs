//! Tier 3: what podman and containerd really keep of containers that were deployed in all kinds of ways, and
//! what drift reads there.

use crate::live::first_program;
use drift_core::container::declared::read::read;
use drift_core::container::declared::Declared;
use drift_core::container::live::Live;
use drift_core::host::Host;
use std::path::Path;
use testkit::live::{Container, Image, Runtime};

/// How a container is deployed: the engine's options, the command (none: the image's), and what that
/// overrides.
type Deployment = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

const SLEEP: &[&str] = &["/bin/sleep", "200000"];

const PODMAN: &[Deployment] = &[
    ("as the image says", &[], &[], &[]),
    ("another command", &[], SLEEP, &["command"]),
    ("a shell", &["--entrypoint", "/bin/sh"], &["-c", "sleep 100000"], &["command"]),
    ("another user", &["--user", "1000:1000"], &[], &["user"]),
    ("privileged", &["--privileged"], &[], &["privileged"]),
    (
        "a capability",
        &["--cap-add", "NET_ADMIN,SYS_PTRACE"],
        &[],
        &["cap_add:NET_ADMIN", "cap_add:SYS_PTRACE"],
    ),
    ("fewer capabilities", &["--cap-drop", "ALL"], &[], &[]),
    ("the host's network", &["--network", "host"], &[], &["host_network"]),
    ("the host's processes", &["--pid", "host"], &[], &["host_pid"]),
    ("the host's root", &["-v", "/:/host"], &[], &["hostpath_rw:/"]),
    ("the host's root, to read", &["-v", "/:/host:ro"], &[], &[]),
    (
        "much at once",
        &["--network", "host", "-v", "/etc:/x"],
        SLEEP,
        &["command", "host_network", "hostpath_rw:/etc"],
    ),
    ("a read-only root", &["--read-only"], &[], &[]),
];

const CONTAINERD: &[Deployment] = &[
    ("as the image says", &[], &[], &[]),
    ("another command", &[], SLEEP, &["command"]),
    ("privileged", &["--privileged"], &[], &["privileged"]),
    ("a capability", &["--cap-add", "CAP_NET_ADMIN"], &[], &["cap_add:NET_ADMIN"]),
    ("the host's network", &["--net-host"], &[], &["host_network"]),
    ("the host's root", &["--mount", "type=bind,src=/,dst=/host,options=rbind:rw"], &[], &["hostpath_rw:/"]),
    ("the host's root, to read", &["--mount", "type=bind,src=/,dst=/host,options=rbind:ro"], &[], &[]),
    ("a read-only root", &["--read-only"], &[], &[]),
];

fn declared(container: &Container) -> (Declared, Live) {
    let host = Host::new(Path::new("/"));
    let (live, _) = Live::look(&host, container.init_pid(), container.id()).unwrap();
    (read(&host, container.id(), &live, &[], &[]), live)
}

fn check(
    name: &str,
    image: &Image,
    container: &Container,
    command: &[&str],
    overrides: &[&str],
) -> Vec<String> {
    let (declared, live) = declared(container);
    let mut wrong = Vec::new();
    let mut expect = |what: &str, right: bool, got: String| {
        if !right {
            wrong.push(format!("{name}: {what}: {got}; not known: {:?}", declared.missing));
        }
    };
    // Every container of the tests has this one.
    let vol = format!("hostpath_rw:{}", container.vol().display());
    let mut found = declared.overrides.clone().unwrap_or_default();
    let has_vol = found.contains(&vol);
    found.retain(|o| *o != vol);
    found.sort();
    expect("overrides", has_vol && found == overrides, format!("{found:?}, expected {overrides:?}"));
    let identity = &declared.image;
    expect("image", identity.reference.as_deref() == Some(image.reference()), format!("{identity:?}"));
    expect("digests", identity.id.is_some() && !identity.digests.is_empty(), format!("{identity:?}"));
    let read_only = name == "a read-only root";
    expect("read-only root", live.read_only == read_only, live.read_only.to_string());
    let argv = first_program(container);
    let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    expect(
        "first program",
        declared.runs_entrypoint(&argv) == Some(true),
        format!("{argv:?} for {:?}", declared.args),
    );
    expect("another program", declared.runs_entrypoint(&[b"/tmp/miner"]) == Some(false), String::new());
    if !command.is_empty() && !argv.contains(&b"-c".as_slice()) {
        let args = declared.args.clone().unwrap_or_default();
        expect("command", args == command, format!("{args:?}"));
    }
    let names = declared.environment.as_ref().map(|e| e.len()).unwrap_or_default();
    expect("environment", names >= 2, format!("{names} variables"));
    wrong
}

fn check_all(test: &str, runtime: Runtime, deployments: &[Deployment]) {
    if !runtime.usable(test, &[]) {
        return;
    }
    let image = Image::debian().unwrap();
    let mut wrong = Vec::new();
    for (name, options, command, overrides) in deployments {
        let container = runtime.start_with(&image, options, command).unwrap();
        wrong.extend(check(name, &image, &container, command, overrides));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn podmans_records_are_read() {
    let _turn = crate::turns::take(module_path!());
    check_all("live: deployments, podman", Runtime::Podman, PODMAN);
}

#[test]
fn containerds_records_are_read() {
    let _turn = crate::turns::take(module_path!());
    check_all("live: deployments, containerd", Runtime::Containerd, CONTAINERD);
}
