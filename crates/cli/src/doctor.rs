//! `drift doctor`: whether everything is as Drift needs it on this node, and how to fix what is not.

use crate::arguments::{Doctor, Global};
use crate::containers::{Node, Target};
use crate::falco_config::{Order, Settings};
use crate::json;
use crate::output::printable;
use crate::style::{paint, BAD, DIM, GOOD, HEAD, WARN};
use anyhow::Result;
use drift_core::host::Host;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Ok,
    Warning,
    Failure,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    level: Level,
    what: &'static str,
    found: String,
    /// What to do; empty where it is as it should be.
    fix: &'static str,
}

impl Check {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, found: found.into(), fix: "" }
    }

    fn warning(what: &'static str, found: impl Into<String>, fix: &'static str) -> Self {
        Self { level: Level::Warning, what, found: found.into(), fix }
    }

    fn failure(what: &'static str, found: impl Into<String>, fix: &'static str) -> Self {
        Self { level: Level::Failure, what, found: found.into(), fix }
    }
}

/// Where runtimes keep layers.
const STORAGE: [(&str, &str); 6] = [
    ("containerd", "/var/lib/containerd"),
    ("k3s", "/var/lib/rancher/k3s/agent/containerd"),
    ("MicroK8s", "/var/snap/microk8s/common/var/lib/containerd"),
    ("Docker", "/var/lib/docker"),
    ("podman, CRI-O", "/var/lib/containers/storage"),
    ("LXC", "/var/lib/lxc"),
];

/// Capabilities that Drift uses: number, name, and what is lost without it.
const CAPABILITIES: [(u32, &str, &str); 3] = [
    (19, "CAP_SYS_PTRACE", "containers cannot be looked at: run as root, or grant it to Falco's container"),
    (2, "CAP_DAC_READ_SEARCH", "layers and files of other users cannot be read: run as root, or grant it"),
    (21, "CAP_SYS_ADMIN", "directories that were removed and made again are not seen: grant it"),
];

/// Checks, and prints; `true` where anything fails.
pub(crate) fn run(global: &Global, options: &Doctor) -> Result<bool> {
    let mut node = Node::open(global, None)?;
    let falco = falco(&node.host);
    let mut sections = vec![
        ("node", of_node(&node.host, falco)),
        ("containers", of_containers(&mut node)),
        ("Falco", of_falco(&node.host, falco, options)),
    ];
    sections.retain(|(_, checks)| !checks.is_empty());
    let worst = sections.iter().flat_map(|(_, checks)| checks).map(|c| c.level).max();
    match options.format.is_json() {
        true => {
            let row = |section: &str, c: &Check| {
                let level = c.level.as_str();
                json!({"section": section, "level": level, "what": c.what, "found": c.found, "fix": c.fix})
            };
            let rows = sections.iter().flat_map(|(name, checks)| checks.iter().map(move |c| row(name, c)));
            json::write(&json!({"version": 1, "checks": rows.collect::<Vec<_>>()}))?;
        }
        false => write!(anstream::stdout().lock(), "{}", text(&sections))?,
    }
    Ok(worst == Some(Level::Failure))
}

fn text(sections: &[(&'static str, Vec<Check>)]) -> String {
    let mut out = String::new();
    let mut counts = [0usize; 3];
    for (name, checks) in sections {
        out += &format!("{}\n", paint(HEAD, name));
        for check in checks {
            let (style, count) = match check.level {
                Level::Ok => (GOOD, 0),
                Level::Warning => (WARN, 1),
                Level::Failure => (BAD, 2),
            };
            if let Some(count) = counts.get_mut(count) {
                *count += 1;
            }
            let level = paint(style, &format!("{:<8}", check.level.as_str()));
            out += &format!("  {level} {:<22} {}\n", check.what, printable(check.found.as_bytes()));
            if !check.fix.is_empty() {
                out += &format!("{:>34}{}\n", "", paint(DIM, &format!("-> {}", check.fix)));
            }
        }
        out.push('\n');
    }
    let [ok, warnings, failures] = counts;
    out + &format!("{ok} ok, {warnings} warnings, {failures} failures\n")
}

/// The process of Falco, where one runs.
fn falco(host: &Host) -> Option<i64> {
    let is_falco = |pid: &i64| {
        let arguments = host.arguments(*pid).unwrap_or_default();
        let program = arguments.split(|b| *b == 0).next().unwrap_or_default();
        program.rsplit(|b| *b == b'/').next() == Some(b"falco")
    };
    host.pids().into_iter().find(is_falco)
}

fn of_node(host: &Host, falco: Option<i64>) -> Vec<Check> {
    let mut checks = Vec::new();
    let release = read(host, "/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map_while(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    checks.push(match version {
        (0, _) => Check::warning("kernel", "not known: /proc is not the host's", "mount the host's /proc"),
        v if v >= (5, 8) => Check::ok("kernel", release),
        _ => {
            Check::warning("kernel", release, "before 5.8 Falco's modern eBPF probe does not load: use kmod")
        }
    });
    checks.push(match host.path(b"/sys/fs/cgroup/cgroup.controllers").exists() {
        true => Check::ok("control groups", "version 2"),
        false => Check::ok("control groups", "version 1, or not seen here"),
    });
    let processes = host.pids().len();
    checks.push(match (processes, host.root_of(1)) {
        (0, _) => Check::failure("host root", "no process is seen", "mount the host's /proc, set HOST_ROOT"),
        (n, Ok(_)) => Check::ok("host root", format!("{n} processes, the host's files can be reached")),
        (n, Err(why)) => Check::warning(
            "host root",
            format!("{n} processes, the host's files cannot be reached: {why}"),
            "run as root with CAP_SYS_PTRACE, in the host's PID namespace",
        ),
    });
    checks.extend(capabilities(host, falco));
    let there = |path: &str| host.path(path.as_bytes()).is_dir();
    let found: Vec<&str> = STORAGE.iter().filter(|(_, path)| there(path)).map(|(name, _)| *name).collect();
    checks.push(match found.is_empty() {
        false => Check::ok("storage of runtimes", found.join(", ")),
        true => Check::warning(
            "storage of runtimes",
            "none at the usual places",
            "layers are found by the containers' mounts; set storage_roots if these are relative",
        ),
    });
    checks
}

/// Those of Falco where it runs, else this process's own.
fn capabilities(host: &Host, falco: Option<i64>) -> Vec<Check> {
    let path = falco.map_or("/proc/self/status".to_owned(), |pid| format!("/proc/{pid}/status"));
    let status = match falco {
        Some(_) => read(host, &path),
        // This process is not below the host's /proc by that name.
        None => std::fs::read_to_string(path).ok(),
    };
    let line = status.as_deref().and_then(|s| s.lines().find_map(|l| l.strip_prefix("CapEff:")));
    let Some(effective) = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) else {
        return vec![Check::warning("capabilities", "not known", "run as root")];
    };
    let whose = if falco.is_some() { "of Falco" } else { "of this process" };
    let check = |(number, name, lost): &(u32, &'static str, &'static str)| match effective >> number & 1 {
        1 => Check::ok(name, whose),
        _ if *number == 21 => Check::warning(name, format!("missing, {whose}"), lost),
        _ => Check::failure(name, format!("missing, {whose}"), lost),
    };
    CAPABILITIES.iter().map(check).collect()
}

const NO_LAYERS: &str = "make a manifest of the image (drift manifest) and name it in `manifests`";

fn of_containers(node: &mut Node) -> Vec<Check> {
    let mut checks = Vec::new();
    for running in node.running() {
        let id: String = running.id.chars().take(12).collect();
        match node.look_at(running) {
            Ok(target) => checks.push(source(&target)),
            Err(why) => checks.push(Check::failure("container", format!("{id}: {why:#}"), "run as root")),
        }
    }
    if checks.is_empty() {
        checks.push(Check::warning(
            "containers",
            "none runs, or none is seen",
            "if some run: HOST_ROOT must be the host's root, and /proc the host's",
        ));
    }
    checks
}

/// Which source of its image's layers a container has.
fn source(target: &Target) -> Check {
    let container = &target.container;
    let title = target.title();
    let state = container.manifest_state().to_string();
    match &container.image {
        Ok(image) => {
            let from = match container.from_manifest {
                true => "a manifest".to_owned(),
                false => format!("{} layers on disk", image.layers().len()),
            };
            match state.starts_with("partial") {
                false => Check::ok("image view", format!("{title}: {from}")),
                true => Check::warning("image view", format!("{title}: {from}, {state}"), NO_LAYERS),
            }
        }
        Err(why) if container.rests_on_flags() => {
            Check::warning("image view", format!("{title}: the kernel's flags alone: {why}"), NO_LAYERS)
        }
        Err(why) => Check::failure("image view", format!("{title}: none: {why}"), NO_LAYERS),
    }
}

fn of_falco(host: &Host, falco: Option<i64>, options: &Doctor) -> Vec<Check> {
    let mut checks = Vec::new();
    let root = match (falco, &options.falco_config) {
        (Some(pid), None) => match host.root_of(pid) {
            Ok(root) => {
                checks.push(Check::ok("Falco", format!("runs, process {pid}")));
                Some(root)
            }
            Err(why) => {
                let found = format!("runs, process {pid}, its files cannot be reached: {why}");
                checks.push(Check::warning("Falco", found, "run as root with CAP_SYS_PTRACE"));
                None
            }
        },
        (_, Some(_)) => None,
        (None, None) => {
            checks.push(Check::warning(
                "Falco",
                "no process of it is seen",
                "start Falco, or check it elsewhere",
            ));
            host.root_of(1).ok()
        }
    };
    let path = match (&options.falco_config, falco) {
        (Some(path), _) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        (None, Some(pid)) => config_of(&host.arguments(pid).unwrap_or_default()),
        (None, None) => "/etc/falco/falco.yaml".into(),
    };
    let root = match &options.falco_config {
        Some(_) => drift_core::host::RootDir::open(Path::new("/")).ok(),
        None => root,
    };
    let Some(root) = root else { return checks };
    match Settings::read(&root, &path) {
        Ok(settings) => checks.extend(of_settings(&settings)),
        Err(why) => checks.push(Check::warning(
            "configuration",
            format!("{}: {why:#}", path.display()),
            "name Falco's configuration with --falco-config",
        )),
    }
    checks
}

/// The file that Falco was started with.
fn config_of(arguments: &[u8]) -> std::path::PathBuf {
    let mut words = arguments.split(|b| *b == 0).map(String::from_utf8_lossy);
    while let Some(word) = words.next() {
        let value = match &*word {
            "-c" | "--config" => words.next().map(|w| w.into_owned()),
            word => word
                .strip_prefix("--config=")
                .or_else(|| word.strip_prefix("-c").filter(|w| !w.is_empty()))
                .map(str::to_owned),
        };
        if let Some(value) = value {
            return value.into();
        }
    }
    "/etc/falco/falco.yaml".into()
}

fn of_settings(settings: &Settings) -> Vec<Check> {
    let mut checks = vec![Check::ok("configuration", settings.files.join(", "))];
    checks.push(match (&settings.library, settings.is_loaded) {
        (None, _) => Check::failure(
            "plugin drift",
            "not in `plugins`",
            "copy falco.drift_plugin.yaml to /etc/falco/config.d (make install)",
        ),
        (Some(_), false) => {
            Check::failure("plugin drift", "not in `load_plugins`", "add it there: load_plugins: [drift]")
        }
        (Some(path), true) => Check::ok("plugin drift", path),
    });
    checks.push(match settings.order {
        Order::Missing => Check::failure(
            "rules of Drift",
            "drift_rules.yaml is not in `rules_files`",
            "put it first in rules_files",
        ),
        Order::Late if !settings.matches_all => Check::failure(
            "rules of Drift",
            "after falco_rules.yaml, with `rule_matching: first`: Falco's rules hide them",
            "put drift_rules.yaml first in rules_files, or set rule_matching: all",
        ),
        Order::Late | Order::First => Check::ok("rules of Drift", "loaded where they are seen"),
    });
    let matching = if settings.matches_all { "all" } else { "first" };
    checks.push(Check::ok("rule_matching", matching));
    checks.push(match settings.has_container_plugin {
        true => Check::ok("container plugin", "loaded: its suggested fields are in the alerts"),
        false => Check::ok("container plugin", "not loaded: Drift's own fields name container and pod"),
    });
    checks.push(match settings.json_output {
        true => Check::ok("json_output", "on"),
        false => {
            Check::warning("json_output", "off", "set json_output: true for drift explain and drift triage")
        }
    });
    match settings.lost {
        None => {}
        Some(0) => checks.push(Check::ok("losses", "none in the last alerts of file_output")),
        Some(lost) => checks.push(Check::warning(
            "losses",
            format!("{lost} alerts \"Drift verdicts lost\" among the last of file_output"),
            "look at these containers (drift diff); for ordinary load see docs/performance.md",
        )),
    }
    checks
}

fn read(host: &Host, path: &str) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(host.path(path.as_bytes())).ok()?;
    file.take(64 << 10).read_to_string(&mut text).ok()?;
    Some(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falcos_configuration_is_the_one_it_was_started_with() {
        for (arguments, path) in [
            (&b"falco\0-c\0/x.yaml\0"[..], "/x.yaml"),
            (b"falco\0--config=/x.yaml\0-U", "/x.yaml"),
            (b"/usr/bin/falco\0-c/x.yaml", "/x.yaml"),
            (b"falco\0-pk\0", "/etc/falco/falco.yaml"),
            (b"falco\0-c", "/etc/falco/falco.yaml"),
        ] {
            assert_eq!(config_of(arguments).to_str(), Some(path));
        }
    }

    #[test]
    fn each_line_that_is_not_ok_has_a_fix() {
        let sections = vec![("Falco", of_settings(&Settings { order: Order::Late, ..Settings::default() }))];
        let checks = &sections[0].1;
        assert!(checks.iter().all(|c| (c.level == Level::Ok) == c.fix.is_empty()), "{checks:?}");
        let text = anstream::adapter::strip_str(&text(&sections)).to_string();
        assert!(text.contains("failure  plugin drift           not in `plugins`"), "{text}");
        assert!(text.ends_with("3 ok, 1 warnings, 2 failures\n"), "{text}");
    }
}
