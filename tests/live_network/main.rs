//! Tier 3: ports, peers and mounts of real podman and containerd containers, told by the shipped plugin to a real, live
//! libsinsp, with the shipped rules' own conditions.
//!
//! `ports`: the recorded scenarios, and more kinds of sockets. `peers`: baselines, learned and reviewed. `mounts`.

// Helpers of tests: a failure there is a failure of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod mounts;
mod peers;
mod ports;

use common::engine_config;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::engine::Engine;
use testkit::live::{self, Container, Facts, Image, Session, Spec};
use testkit::skip::skip;

#[derive(Debug, Clone, Copy)]
enum Runtime {
    Podman,
    Containerd,
}

impl Runtime {
    fn start(self) -> Container {
        let image = Image::network().unwrap();
        match self {
            Self::Podman => Container::podman(&image).unwrap(),
            Self::Containerd => Container::containerd(&image).unwrap(),
        }
    }

    /// Whether the test can run here; says and counts why not.
    fn usable(self, test: &str) -> bool {
        let mut tools = vec!["ip", "nsenter"];
        tools.extend(match self {
            Self::Podman => live::PODMAN_TOOLS,
            Self::Containerd => live::CONTAINERD_TOOLS,
        });
        let missing = live::missing(&tools);
        if let Some(why) = &missing {
            skip(test, why);
        }
        missing.is_none()
    }
}

/// Condition of a shipped rule.
fn rule(name: &str) -> String {
    let rules = testkit::rules::load(&testkit::workspace_dir().join("rules/drift_rules.yaml")).unwrap();
    rules.into_iter().find(|rule| rule.name == name).expect(name).filter
}

/// An engine with the plugin that prints these fields of what passes the filter.
fn session(container: &Container, dir: &Path, init_config: &str, filter: &str, fields: &[&str]) -> Session {
    let spec = Spec {
        program: Engine::sysdig().unwrap().command(),
        plugin_config: Some(engine_config(dir, &testkit::plugin_library().unwrap(), init_config)),
        filter: filter.to_owned(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    };
    let source = testkit::source_library().unwrap();
    Session::start(&spec, &source, &container.table().unwrap()).unwrap()
}

/// Runs a script in the container while the engines watch.
fn run(container: &Container, sessions: &mut [&mut Session], script: &str) {
    let script = container.put("script.sh", script.as_bytes()).unwrap();
    let facts = Facts { files: true, sockets: true, ..Facts::default() };
    live::trace(container, &format!("sh {script}"), facts, &mut |event| {
        sessions.iter_mut().try_for_each(|session| session.feed(event))
    })
    .unwrap();
    for session in sessions {
        session.settle(Duration::from_millis(500), Duration::from_secs(20)).unwrap();
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
