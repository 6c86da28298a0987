//! Tier 3: ports, peers and mounts of real podman and containerd containers, told by the shipped plugin to a
//! real, live libsinsp, with the shipped rules' own conditions.
//!
//! `ports`: the recorded scenarios, and more kinds of sockets. `peers`: baselines, learned and reviewed.
//! `mounts`.

mod mounts;
mod peers;
mod ports;

use crate::live::{condition, engine};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::live::{Container, Facts, Image, Runtime, Session};

/// Programs that these tests need beside a runtime's.
const TOOLS: &[&str] = &["ip", "nsenter"];

/// A container; `None`, said and counted, where the test cannot run.
fn start(test: &str, runtime: Runtime) -> Option<Container> {
    runtime.usable(test, TOOLS).then(|| runtime.start(&Image::network().unwrap()).unwrap())
}

/// An engine with the plugin that prints these fields of what passes the filter.
fn session(container: &Container, dir: &Path, init_config: &str, filter: &str, fields: &[&str]) -> Session {
    crate::live::session(&engine(dir, init_config).asking(filter, fields), container)
}

/// Runs a script in the container while the engines watch.
fn run(container: &Container, sessions: &mut [&mut Session], script: &str) {
    let script = container.put("script.sh", script.as_bytes()).unwrap();
    let facts = Facts { files: true, sockets: true, ..Facts::default() };
    crate::live::run(container, &format!("sh {script}"), facts, sessions);
    for session in sessions {
        // What a container declares may be known late on a busy machine, and ports be told after that.
        session.settle(Duration::from_secs(2), Duration::from_secs(20)).unwrap();
    }
}

/// Gives the container's network more addresses of its own.
fn add_addresses(container: &Container, addresses: &[&str]) {
    for address in addresses {
        let mut command = Command::new("nsenter");
        command.args([
            "-t",
            &container.init_pid().to_string(),
            "-n",
            "ip",
            "address",
            "add",
            address,
            "dev",
            "lo",
        ]);
        if address.contains(':') {
            command.arg("nodad");
        }
        assert!(command.status().unwrap().success(), "{address}");
    }
    let up = ["-t", &container.init_pid().to_string(), "-n", "ip", "link", "set", "lo", "up"];
    assert!(Command::new("nsenter").args(up).status().unwrap().success());
}
