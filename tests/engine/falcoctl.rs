//! The OCI artifacts, pushed by `scripts/publish.sh` to a registry on this machine with a real falcoctl, and
//! installed from there by name, through the shipped index.

use crate::http::{free_port, request, Service};
use crate::tools::{FALCOCTL, REGISTRY};
use serde_json::{json, Value};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use testkit::host;
use testkit::workspace_dir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// One file, as an archive.
fn pack(folder: &Path, archive: &str, file: &Path) {
    let parent = file.parent().unwrap();
    run(Command::new("tar")
        .arg("-czf")
        .arg(folder.join(archive))
        .arg("-C")
        .arg(parent)
        .arg(file.file_name().unwrap()));
}

/// What `make dist` leaves in `oci`, with the library of these tests for this machine.
fn dist(folder: &Path) {
    let oci = folder.join("oci");
    std::fs::create_dir(&oci).unwrap();
    let arch = std::env::consts::ARCH;
    pack(&oci, &format!("plugin-linux-{arch}.tar.gz"), &host::library::path());
    pack(&oci, "rules.tar.gz", &workspace_dir().join("rules/drift_rules.yaml"));
    pack(&oci, "source-rules.tar.gz", &workspace_dir().join("rules/drift_source_rules.yaml"));
    run(Command::new("python3").arg(workspace_dir().join("scripts/oci.py")).arg(VERSION).arg(&oci));
}

/// A registry with Drift's artifacts in it.
struct Published {
    falcoctl: PathBuf,
    home: tempfile::TempDir,
    address: String,
    _registry: Service,
}

impl Published {
    fn new(test: &str) -> Option<Self> {
        let (falcoctl, registry) = (FALCOCTL.find(test)?, REGISTRY.find(test)?);
        let home = tempfile::tempdir().unwrap();
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(registry);
        command.args(["-port", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Service::start(&mut command, &address, "/v2/");
        let published = Self { falcoctl, home, address, _registry: registry };
        // Without an index of its own falcoctl asks for Falco's, on the network.
        let empty = published.home.path().join("empty.yaml");
        std::fs::write(&empty, "[]\n").unwrap();
        let config = format!("indexes:\n- name: empty\n  url: file://{}\n  backend: file\n", empty.display());
        std::fs::write(published.home.path().join("falcoctl.yaml"), config).unwrap();

        dist(published.home.path());
        run(Command::new(workspace_dir().join("scripts/publish.sh"))
            .arg(format!("{}/drift", published.address))
            .env("FALCOCTL", &published.falcoctl)
            .env("DIST", published.home.path())
            .env("HOME", published.home.path())
            .env("PLAIN_HTTP", "1"));
        Some(published)
    }

    /// falcoctl with a home of its own.
    fn falcoctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.falcoctl);
        command.args(arguments).env("HOME", self.home.path()).current_dir(self.home.path());
        command.arg("--config").arg(self.home.path().join("falcoctl.yaml"));
        command
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = request(&self.address, "GET", path, "").unwrap();
        assert!(status.contains("200"), "{path}: {status}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }
}

#[test]
fn artifacts_carry_their_dependencies_and_requirements() {
    let Some(published) = Published::new("falcoctl: push") else { return };
    let config = |repository: &str| -> Value {
        let reference = format!("{}/drift/{repository}:{VERSION}", published.address);
        let said = run(&mut published.falcoctl(&["artifact", "config", &reference, "--plain-http"]));
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
    };
    for (repository, file) in
        [("plugin/drift", "plugin"), ("ruleset/drift", "rules"), ("ruleset/drift-source", "source-rules")]
    {
        let written = std::fs::read(published.home.path().join(format!("oci/{file}.json"))).unwrap();
        assert_eq!(config(repository), serde_json::from_slice::<Value>(&written).unwrap(), "{repository}");

        // What `falcoctl artifact follow` follows.
        let tags = published.get(&format!("/v2/drift/{repository}/tags/list"));
        let mut tags: Vec<&str> =
            tags["tags"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
        tags.sort_unstable();
        let (minor, major) = (VERSION.rsplit_once('.').unwrap().0, VERSION.split('.').next().unwrap());
        assert_eq!(tags, [major, minor, VERSION, "latest"], "{repository}");
    }
    // The plugin is for a platform, by Go's names of architectures.
    let index = published.get(&format!("/v2/drift/plugin/drift/manifests/{VERSION}"));
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!(index["manifests"][0]["platform"], json!({"architecture": arch, "os": "linux"}));
}

#[test]
fn falcoctl_installs_the_rules_and_the_plugin_that_they_need() {
    let Some(published) = Published::new("falcoctl: install") else { return };
    let index = std::fs::read_to_string(workspace_dir().join("deploy/registry/index.yaml")).unwrap();
    let file = published.home.path().join("index.yaml");
    std::fs::write(&file, index.replace("registry.example", &published.address)).unwrap();
    run(&mut published.falcoctl(&["index", "add", "drift", &format!("file://{}", file.display())]));
    let found = run(&mut published.falcoctl(&["artifact", "search", "drift"]));
    assert!(found.contains("drift-source-rules"), "{found}");

    let folder = |name: &str| {
        let folder = published.home.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let (plugins, rules, state) = (folder("plugins"), folder("rules"), folder("state"));
    let mut command = published.falcoctl(&["artifact", "install", "drift-rules", "drift-source-rules"]);
    command.args(["--plain-http", "--no-verify", "--resolve-deps"]);
    command
        .arg("--plugins-dir")
        .arg(&plugins)
        .arg("--rulesfiles-dir")
        .arg(&rules)
        .arg("--state-dir")
        .arg(&state);
    run(&mut command);

    let names = |folder: &Path| {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    // The plugin was not asked for: the rules depend on it.
    assert_eq!(names(&plugins), ["libdrift.so"]);
    assert_eq!(names(&rules), ["drift_rules.yaml", "drift_source_rules.yaml"]);
    let same = |a: &Path, b: &Path| {
        assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap(), "{}", a.display())
    };
    same(&plugins.join("libdrift.so"), &host::library::path());
    for name in ["drift_rules.yaml", "drift_source_rules.yaml"] {
        same(&rules.join(name), &workspace_dir().join("rules").join(name));
    }
}

#[test]
fn publish_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let publish = |arguments: &[&str], falcoctl: &str| {
        let output = Command::new(workspace_dir().join("scripts/publish.sh"))
            .args(arguments)
            .env("DIST", folder.path())
            .env("FALCOCTL", falcoctl)
            .output()
            .unwrap();
        assert!(!output.status.success());
        text(&output)
    };
    assert!(publish(&[], "true").contains("usage"));
    assert!(publish(&["registry.example/drift"], "/nowhere/falcoctl")
        .contains("/nowhere/falcoctl is not installed"));
    assert!(publish(&["registry.example/drift"], "true").contains("run `make dist`"));
}
