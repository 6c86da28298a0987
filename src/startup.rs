//! What an operator should know when Drift starts: what it sees of the host, and what it cannot see and what
//! that costs.

use crate::config::Config;
use drift_core::host::Host;
use std::path::{Path, PathBuf};

/// Where runtimes keep layers, beside what the configuration names.
const STORAGE: [(&str, &str); 6] = [
    ("containerd", "/var/lib/containerd"),
    ("containerd of k3s", "/var/lib/rancher/k3s/agent/containerd"),
    ("containerd of microk8s", "/var/snap/microk8s/common/var/lib/containerd"),
    ("Docker", "/var/lib/docker"),
    ("podman and CRI-O", "/var/lib/containers/storage"),
    ("LXC", "/var/lib/lxc"),
];

/// Logs it.
pub(crate) fn log_facts(host: &Host, config: &Config, has_threads: bool) {
    let root = config.host_root.display();
    let processes = host.pids().len();
    log::info!("version {}, host root {root}, {processes} processes", env!("CARGO_PKG_VERSION"));
    if !has_threads {
        log::info!(
            "no table of threads: no system calls are traced here, and the drift.* fields on them stay empty"
        );
    }
    if processes == 0 {
        log::error!(
            "no process is seen below {root}/proc: containers cannot be looked at, and verdicts are the kernel's \
             flags alone, or `unknown`. Mount the host's /proc there, or set init_config.host_root"
        );
    } else if let Err(why) = host.root_of(1) {
        log::warn!(
            "the root of the host's first process cannot be opened ({why}). If those of containers cannot be \
             either, their files are not compared, and verdicts are the kernel's flags alone, or `unknown`. Drift \
             needs CAP_SYS_PTRACE"
        );
    }
    let is_there = |path: &Path| host.path(path.as_os_str().as_encoded_bytes()).is_dir();
    let found: Vec<String> = STORAGE
        .iter()
        .filter(|(_, path)| is_there(Path::new(path)))
        .map(|(runtime, path)| format!("{runtime} ({path})"))
        .collect();
    match found.is_empty() {
        false => log::info!("storage of {}", found.join(", ")),
        true => log::info!(
            "no storage of a runtime at the usual places; layers are found by the containers' mounts"
        ),
    }
    let missing: Vec<&PathBuf> = config.storage_roots.iter().filter(|root| !is_there(root)).collect();
    if !missing.is_empty() {
        log::debug!("storage roots that are not there: {missing:?}");
    }
    log::info!(
        "{} manifests, approved images of {} files, baselines of {} files",
        config.manifests.len(),
        config.approved_images.len(),
        config.network_baselines.len()
    );
}
