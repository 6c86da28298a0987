//! Helm values, the operator's resources, the systemd drop-in and the registry's files: names, versions and
//! orders that have to agree with each other, with the rules and with `scripts/publish.sh`.

use super::{at, documents, keys, list, read, text, texts};
use std::collections::BTreeSet;
use testkit::yaml::Node;

const VALUES: &str = "deploy/helm/values.yaml";
const LEAST: &str = "deploy/helm/values-least-privileged.yaml";
const INIT: &str = "deploy/helm/values-init-container.yaml";
const OPERATOR: &str = "deploy/operator/drift.yaml";

/// The artifacts that `scripts/publish.sh` pushes, below a registry and a prefix.
const ARTIFACTS: [&str; 3] = ["plugin/drift", "ruleset/drift", "ruleset/drift-source"];

/// Keys of the values of Falco's chart that are used here. The chart ignores what it does not know, without a
/// word.
const CHART: &[&str] = &[
    "driver.kind",
    "driver.modernEbpf.leastPrivileged",
    "collectors.containerEngine.enabled",
    "falcoctl.config.artifact.allowedTypes",
    "falcoctl.config.artifact.install.resolveDeps",
    "falcoctl.config.artifact.install.refs",
    "falcoctl.config.artifact.follow.refs",
    "falco.rules_files",
    "falco.load_plugins",
    "falco.plugins",
    "falco.json_output",
    "falco.json_include_output_fields_property",
    "falco.json_include_tags_property",
    "falco.append_output",
    "metrics.enabled",
    "metrics.interval",
    "metrics.pluginsMetricsEnabled",
    "resources.requests.cpu",
    "resources.requests.memory",
    "resources.limits.cpu",
    "resources.limits.memory",
    "falcosidekick.enabled",
    "containerSecurityContext.privileged",
    "containerSecurityContext.capabilities.drop",
    "containerSecurityContext.capabilities.add",
    "extra.initContainers",
];

fn values(name: &str) -> Node {
    documents(name).remove(0)
}

/// The paths of all leaves.
fn leaves(prefix: &str, node: &Node, found: &mut Vec<String>) {
    match node {
        Node::Map(pairs) => {
            for (key, value) in pairs {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                leaves(&path, value, found);
            }
        }
        _ => found.push(prefix.to_owned()),
    }
}

#[test]
fn helm_values_have_keys_of_falcos_chart() {
    for name in [VALUES, LEAST, INIT] {
        let mut found = Vec::new();
        leaves("", &values(name), &mut found);
        for path in found {
            assert!(CHART.contains(&path.as_str()), "{name}: {path}");
        }
    }
}

/// That Drift's rules come before Falco's, for an order of names.
fn drift_before_falco(names: &[&str]) {
    let of = |part: &str| names.iter().position(|n| n.contains(part)).unwrap_or_else(|| panic!("no {part}"));
    assert!(of("drift_rules.yaml") < of("/falco_rules.yaml"), "{names:?}");
}

#[test]
fn helm_loads_plugins_and_rules_in_order() {
    let values = values(VALUES);
    let files = texts(at(&values, "falco.rules_files"));
    drift_before_falco(&files);
    assert!(files.contains(&"/etc/falco/drift_source_rules.yaml"), "falcoctl unpacks it there: {files:?}");
    assert_eq!(texts(at(&values, "falco.load_plugins")), ["container", "drift"]);
    let plugin = &list(at(&values, "falco.plugins"))[0];
    assert_eq!((text(plugin, "name"), text(plugin, "library_path")), ("drift", "libdrift.so"));
    // The same order as the documents and the example tell.
    drift_before_falco(&texts(at(&documents("falco.yaml.example")[0], "rules_files")));
}

/// `0.1` of `0.1.0`.
fn floating() -> String {
    let version = env!("CARGO_PKG_VERSION");
    version.rsplit_once('.').unwrap().0.to_owned()
}

#[test]
fn helm_brings_what_publish_pushes() {
    let values = values(VALUES);
    let wanted = |artifacts: &[&str]| -> Vec<String> {
        let drift = artifacts.iter().map(|a| format!("registry.example/drift/{a}:{}", floating()));
        std::iter::once("falco-rules:5".to_owned()).chain(drift).collect()
    };
    assert_eq!(texts(at(&values, "falcoctl.config.artifact.install.refs")), wanted(&ARTIFACTS));
    // A plugin is not replaced under a running Falco.
    assert_eq!(texts(at(&values, "falcoctl.config.artifact.follow.refs")), wanted(&ARTIFACTS[1..]));
    let script = read("scripts/publish.sh");
    for artifact in ARTIFACTS {
        assert!(script.contains(&format!("\"$prefix/{artifact}:$version\"")), "{artifact}");
    }
    for artifact in list(&values_of_refs(INIT)) {
        assert!(!artifact.text().unwrap().contains("drift"), "the init container brings them");
    }
}

fn values_of_refs(name: &str) -> Node {
    at(&values(name), "falcoctl.config.artifact.install.refs").clone()
}

#[test]
fn the_init_container_is_as_restricted_as_can_be() {
    let values = values(INIT);
    let container = &list(at(&values, "extra.initContainers"))[0];
    let image = text(container, "image");
    assert!(image.ends_with(concat!("drift-init:", env!("CARGO_PKG_VERSION"))), "{image}");
    super::kubernetes::restricted(container, "init container");
    let mounts: Vec<&str> =
        list(at(container, "volumeMounts")).iter().map(|m| text(m, "mountPath")).collect();
    assert_eq!(texts(at(container, "args")), mounts, "it copies into what is mounted");
    let names: Vec<&str> = list(at(container, "volumeMounts")).iter().map(|m| text(m, "name")).collect();
    assert_eq!(names, ["plugins-install-dir", "rulesfiles-install-dir"], "as the chart names them");
}

#[test]
fn least_privileges_are_the_documented_ones() {
    let values = values(LEAST);
    let given: BTreeSet<&str> =
        texts(at(&values, "containerSecurityContext.capabilities.add")).into_iter().collect();
    assert_eq!(
        given,
        ["BPF", "PERFMON", "SYS_RESOURCE", "SYS_PTRACE", "DAC_READ_SEARCH", "SYS_ADMIN"].into()
    );
    assert_eq!(text(&values, "containerSecurityContext.privileged"), "false");
    // systemd's as well, and what Falco as a service writes.
    let unit = read("deploy/systemd/drift.conf");
    let line = unit.lines().find_map(|l| l.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let service: BTreeSet<&str> = line.split(' ').map(|c| c.strip_prefix("CAP_").unwrap()).collect();
    assert_eq!(service, given.iter().copied().chain(["DAC_OVERRIDE"]).collect());
    // docs/troubleshooting.md tells what each of Drift's is for.
    for capability in ["SYS_PTRACE", "DAC_READ_SEARCH", "SYS_ADMIN"] {
        assert!(read("docs/troubleshooting.md").contains(&format!("| CAP_{capability} |")), "{capability}");
    }
}

#[test]
fn systemd_reads_the_drop_in() {
    let test = "deploy: systemd-analyze verify";
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("drift-test.service");
    std::fs::write(&unit, "[Service]\nExecStart=/bin/true\n").unwrap();
    let drop_in = folder.path().join("drift-test.service.d");
    std::fs::create_dir(&drop_in).unwrap();
    std::fs::write(drop_in.join("drift.conf"), read("deploy/systemd/drift.conf")).unwrap();
    let output =
        std::process::Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output();
    let Ok(output) = output else {
        return testkit::skip::skip_optional(test, "systemd-analyze is not installed");
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = said.lines().filter(|l| l.contains("drift")).collect();
    assert!(ours.is_empty(), "{said}");
}

#[test]
fn the_operators_resources_agree() {
    let resources = documents(OPERATOR);
    let kinds: Vec<&str> = resources.iter().map(|r| text(r, "kind")).collect();
    assert_eq!(kinds, ["Falco", "Plugin", "Plugin", "Rulesfile", "Rulesfile", "Rulesfile", "Config"]);
    let mut priorities = Vec::new();
    let mut pulled = BTreeSet::new();
    for resource in &resources {
        let group = if text(resource, "kind") == "Falco" { "instance" } else { "artifact" };
        assert_eq!(text(resource, "apiVersion"), format!("{group}.falcosecurity.dev/v1alpha1"));
        assert_eq!(keys(resource), ["apiVersion", "kind", "metadata", "spec"]);
        let spec = resource.get("spec").unwrap();
        if text(resource, "kind") == "Rulesfile" {
            priorities.push(text(spec, "priority").parse::<u32>().unwrap());
        }
        if let Some(artifact) = spec.get("ociArtifact") {
            if text(artifact, "image.repository").starts_with("drift/") {
                assert_eq!(text(artifact, "image.tag"), env!("CARGO_PKG_VERSION"));
                pulled.insert(text(artifact, "image.repository").strip_prefix("drift/").unwrap().to_owned());
            }
        }
    }
    assert_eq!(pulled, ARTIFACTS.map(str::to_owned).into());
    // Falco's own rules have 50, and exceptions come after the rules that they change.
    assert!(
        priorities.windows(2).all(|w| w[0] < w[1]) && priorities.iter().all(|p| *p < 50),
        "{priorities:?}"
    );
    // The exception names a list that there is.
    let tuned = text(&list(at(resources[5].get("spec").unwrap(), "inlineRules"))[0], "list");
    assert!(read("rules/drift_rules.yaml").contains(&format!("- list: {tuned}\n")), "{tuned}");
}

#[test]
fn the_registrys_files_name_the_artifacts() {
    let index = &documents("deploy/registry/index.yaml")[0];
    let wanted = [
        ("drift", "plugin", ARTIFACTS[0]),
        ("drift-rules", "rulesfile", ARTIFACTS[1]),
        ("drift-source-rules", "rulesfile", ARTIFACTS[2]),
    ];
    assert_eq!(list(index).len(), wanted.len());
    for (entry, (name, kind, repository)) in list(index).iter().zip(wanted) {
        assert_eq!((text(entry, "name"), text(entry, "type")), (name, kind));
        assert_eq!(text(entry, "repository"), format!("drift/{repository}"));
        assert_eq!(text(entry, "license"), "Apache-2.0");
        for key in ["registry", "description", "home"] {
            assert!(!text(entry, key).is_empty());
        }
        assert!(!list(at(entry, "maintainers")).is_empty() && !list(at(entry, "keywords")).is_empty());
    }

    let registry = documents("deploy/registry/plugin.yaml");
    let plugin = &list(at(&registry[0], "plugins"))[0];
    assert_eq!(text(plugin, "name"), "drift");
    let source = drift::source::NAME.to_str().unwrap();
    assert_eq!(text(plugin, "capabilities.sourcing.source"), source);
    assert_eq!(texts(at(plugin, "capabilities.extraction.sources")), ["syscall", source]);
    // Not of the range for private use, which must not be registered, and not the one reserved for tests.
    let id: u32 = text(plugin, "capabilities.sourcing.id").parse().unwrap();
    assert!(id > 0 && id != 999 && id < 1_073_741_824);
}
