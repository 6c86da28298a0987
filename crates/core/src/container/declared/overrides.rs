//! What a deployment changes against the image and against the engines' defaults: the values of
//! `drift.runtime_overrides`.

use crate::container::declared::spec::RunSpec;
use crate::container::volume::{is_kept_for_containers, INIT_PROGRAMS};
use drift_formats::image_config::ImageConfig;

/// What no specification tells alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Whether the container is in the host's network namespace; `None` where that could not be seen.
    pub host_network: Option<bool>,
    /// Likewise for process ids.
    pub host_pid: Option<bool>,
    /// The engine's own record says privileged.
    pub privileged: bool,
}

/// Most values; a longer list is cut.
const MAX_OVERRIDES: usize = 64;

/// Capabilities that Docker and containerd give by default; podman's and CRI-O's defaults are among them
/// (moby `daemon/pkg/oci/caps/defaults.go`, containerd `pkg/oci/spec.go`).
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// A command line without what `--init` put before it.
pub(crate) fn without_init(args: &[String]) -> &[String] {
    match args {
        [program, dashes, rest @ ..] if INIT_PROGRAMS.contains(&program.as_str()) && dashes == "--" => rest,
        all => all,
    }
}

/// What differs.
pub fn overrides(run: &RunSpec, image: Option<&ImageConfig>, known: Known) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(image) = image {
        command(without_init(&run.args), image, &mut found);
        if is_other_user(run, &image.user) {
            found.push("user".to_owned());
        }
    }
    let has = |name: &str| run.capabilities.contains(name);
    // `--privileged` gives all capabilities and hides nothing.
    let privileged = known.privileged
        || run.annotation("io.podman.annotations.privileged") == Some("TRUE")
        || (has("CAP_SYS_ADMIN") && has("CAP_SYS_MODULE") && has("CAP_SYS_RAWIO") && !run.masked);
    if privileged {
        found.push("privileged".to_owned());
    }
    if known.host_network == Some(true) {
        found.push("host_network".to_owned());
    }
    if known.host_pid == Some(true) {
        found.push("host_pid".to_owned());
    }
    if !privileged {
        let added = run.capabilities.iter().filter(|c| !DEFAULT_CAPABILITIES.contains(&c.as_str()));
        found.extend(added.map(|c| format!("cap_add:{}", c.strip_prefix("CAP_").unwrap_or(c))));
    }
    let writable = run.binds.iter().filter(|b| !b.read_only && is_hosts_own(&b.source));
    found.extend(writable.map(|b| format!("hostpath_rw:{}", b.source)));
    found.truncate(MAX_OVERRIDES);
    found
}

/// `entrypoint` where the image's is not what runs, `command` where its arguments are others.
fn command(args: &[String], image: &ImageConfig, found: &mut Vec<String>) {
    let (entrypoint, cmd) = (image.entrypoint.as_slice(), image.cmd.as_slice());
    if entrypoint.is_empty() && cmd.is_empty() {
        // The image says nothing; whatever runs is the deployment's.
        return;
    }
    match args.strip_prefix(entrypoint) {
        Some(rest) if rest == cmd => {}
        Some(_) => found.push("command".to_owned()),
        None => {
            found.push("entrypoint".to_owned());
            if !cmd.is_empty() && !args.ends_with(cmd) {
                found.push("command".to_owned());
            }
        }
    }
}

/// Whether the container runs as somebody else than the image says.
///
/// The image may name a user that only its own /etc/passwd has a number for. Such a user is taken for anyone
/// but root.
fn is_other_user(run: &RunSpec, user: &str) -> bool {
    let (user, group) = user.split_once(':').map_or((user, None), |(u, g)| (u, Some(g)));
    let other_group = |group: &str| match group {
        "root" => run.gid != 0,
        group => group.parse().is_ok_and(|gid: u32| gid != run.gid),
    };
    let other_user = match user {
        "" | "root" => run.uid != 0,
        user => user.parse().map_or(run.uid == 0, |uid: u32| uid != run.uid),
    };
    other_user || group.is_some_and(other_group)
}

/// Directories of the engines themselves, whose files they mount in containers.
const ENGINES: [&str; 4] = ["/run/containers/", "/var/run/containers/", "/run/secrets/", "/sbin/docker-init"];

/// Whether a directory is the host's own, and not one that an engine or kubelet keeps for containers.
fn is_hosts_own(source: &str) -> bool {
    source.starts_with('/')
        && !is_kept_for_containers(source.as_bytes())
        && !ENGINES.iter().any(|dir| source.starts_with(dir))
}

#[cfg(test)]
#[path = "overrides_tests.rs"]
mod tests;
