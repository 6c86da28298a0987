//! `make install` and `make uninstall`, by the script that they run: into a folder that stands for a machine
//! with Falco's package.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::workspace_dir;

const DROP_IN: &str = "etc/falco/config.d/falco.drift_plugin.yaml";
const RULES: &str = "etc/falco/drift_rules.yaml";
const SOURCE_RULES: &str = "etc/falco/rules.d/drift_source_rules.yaml";
const LIBRARY: &str = "usr/share/falco/plugins/libdrift.so";
const COMMAND: &str = "usr/local/bin/drift";
const MAN: &str = "usr/local/share/man/man1/drift.1";
const FALCO_YAML: &str = "etc/falco/falco.yaml";

/// A machine's root, and an unpacked archive of some version.
struct Machine {
    root: tempfile::TempDir,
    archive: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { root: tempfile::tempdir().unwrap(), archive: tempfile::tempdir().unwrap() };
        for (from, name) in [
            ("scripts/install.sh", "install.sh"),
            ("falco.drift_plugin.yaml", "falco.drift_plugin.yaml"),
            ("rules/drift_rules.yaml", "drift_rules.yaml"),
            ("rules/drift_source_rules.yaml", "drift_source_rules.yaml"),
        ] {
            std::fs::copy(workspace_dir().join(from), machine.archive.path().join(name)).unwrap();
        }
        machine.ship("libdrift.so", "library 1");
        machine.ship("drift", "command 1");
        std::fs::create_dir_all(machine.archive.path().join("share/man/man1")).unwrap();
        machine.ship("share/man/man1/drift.1", "page");
        machine
    }

    /// Changes a file of the archive, as another version of it does.
    fn ship(&self, name: &str, text: &str) {
        std::fs::write(self.archive.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, what: &str) -> String {
        let output = Command::new("sh")
            .arg(self.archive.path().join("install.sh"))
            .arg(what)
            .env("DESTDIR", self.root.path())
            .env_remove("SYSCONFDIR")
            .env_remove("DATADIR")
            .env_remove("BINDIR")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// Every file, with its inode: a file that is written anew gets another one.
    fn files(&self) -> BTreeMap<PathBuf, (u64, u32)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let meta = std::fs::symlink_metadata(&path).unwrap();
                if meta.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.root.path()).unwrap().to_owned();
                    found.insert(name, (meta.ino(), meta.permissions().mode() & 0o7777));
                }
            }
        }
        found
    }
}

#[test]
fn installs_where_falco_looks_and_a_second_time_changes_nothing() {
    let machine = Machine::new();
    let said = machine.run("install");
    let files = machine.files();
    for (name, mode) in [
        (DROP_IN, 0o644),
        (RULES, 0o644),
        (SOURCE_RULES, 0o644),
        (LIBRARY, 0o755),
        (COMMAND, 0o755),
        (MAN, 0o644),
    ] {
        assert_eq!(files[Path::new(name)].1, mode, "{name}");
        assert!(said.contains(&format!("new        {}", machine.path(name).display())), "{said}");
    }
    assert!(said.contains("falco --dry-run") && said.contains("systemctl restart falco"), "{said}");
    // Falco reads every file in config.d, and every YAML file in rules.d.
    for folder in ["etc/falco/config.d", "etc/falco/rules.d"] {
        assert_eq!(files.keys().filter(|p| p.starts_with(folder)).count(), 1, "{files:?}");
    }

    let again = machine.run("install");
    assert_eq!(machine.files(), files);
    assert!(!again.contains("new  ") && !again.contains("updated  "), "{again}");
}

#[test]
fn an_upgrade_replaces_what_nobody_changed_and_keeps_the_rest() {
    let machine = Machine::new();
    machine.run("install");
    let own = format!("{}\n# ours\n", machine.read(RULES));
    machine.write(RULES, &own);

    machine.ship("libdrift.so", "library 2");
    machine.ship("drift_rules.yaml", "# rules 2\n");
    machine.ship("drift_source_rules.yaml", "# source rules 2\n");
    let before = machine.files()[Path::new(LIBRARY)];
    let said = machine.run("install");
    assert_eq!(machine.read(LIBRARY), "library 2");
    // A new file: a running Falco has the old one mapped.
    assert_ne!(machine.files()[Path::new(LIBRARY)].0, before.0);
    assert_eq!(machine.read(SOURCE_RULES), "# source rules 2\n");
    assert_eq!(machine.read(RULES), own);
    assert_eq!(machine.read("usr/share/falco/drift/drift_rules.yaml"), "# rules 2\n");
    assert!(said.contains("KEPT") && said.contains("diff -u"), "{said}");

    // Kept at the next one too, and no longer once the change is undone.
    machine.ship("drift_rules.yaml", "# rules 3\n");
    assert!(machine.run("install").contains("KEPT"));
    assert_eq!(machine.read(RULES), own);
    machine.write(RULES, "# rules 3\n");
    machine.ship("drift_rules.yaml", "# rules 4\n");
    assert!(!machine.run("install").contains("KEPT"));
    assert_eq!(machine.read(RULES), "# rules 4\n");
}

#[test]
fn says_where_the_rules_belong() {
    let first = "rules_files:\n  - /etc/falco/drift_rules.yaml\n  - /etc/falco/falco_rules.yaml\n";
    let late =
        "rules_files:\n  # Falco's own\n  - /etc/falco/falco_rules.yaml\n\n  - /etc/falco/drift_rules.yaml\n";
    let cases = [
        ("", Some("does not read Drift's rules yet")),
        ("rules_files:\n  - /etc/falco/falco_rules.yaml\n", Some("does not read Drift's rules yet")),
        ("# - /etc/falco/drift_rules.yaml\nrules_files:\n  - /etc/falco/rules.d\n", Some("not read Drift's")),
        (first, None),
        (late, Some("move it to the top")),
        (&format!("rule_matching: all\n{late}"), None),
        (&format!("{late}rule_matching: all\n"), None),
        ("plugins:\n  - name: drift_rules.yaml\n", Some("does not read")),
    ];
    for (config, want) in cases {
        let machine = Machine::new();
        machine.write(FALCO_YAML, config);
        let said = machine.run("install");
        match want {
            Some(want) => assert!(said.contains(want), "{config}\n{said}"),
            None => assert!(!said.contains("One edit"), "{config}\n{said}"),
        }
        assert_eq!(machine.read(FALCO_YAML), config, "falco.yaml is the user's");
    }
}

#[test]
fn uninstall_takes_out_what_install_put_there() {
    let machine = Machine::new();
    machine.write(FALCO_YAML, "rules_files:\n  - /etc/falco/drift_rules.yaml\n");
    machine.write("usr/share/falco/plugins/libcontainer.so", "another plugin");
    let before = machine.files();
    machine.run("install");
    let said = machine.run("uninstall");
    assert_eq!(machine.files(), before);
    assert!(said.contains("2:  - /etc/falco/drift_rules.yaml"), "{said}");
    // Nothing left to do, and no error.
    assert!(!machine.run("uninstall").contains("removed"), "idempotent");
}

#[test]
fn uninstall_saves_what_was_changed_where_falco_does_not_read_it() {
    let machine = Machine::new();
    machine.run("install");
    machine.write(DROP_IN, "plugins: []\n");
    let said = machine.run("uninstall");
    assert!(said.contains("SAVED"), "{said}");
    assert!(!machine.path(DROP_IN).exists());
    assert_eq!(machine.read("etc/falco/falco.drift_plugin.yaml.saved"), "plugins: []\n");
}

#[test]
fn says_what_is_missing() {
    let machine = Machine::new();
    std::fs::remove_file(machine.archive.path().join("drift")).unwrap();
    machine.run("install");
    assert!(!machine.path(COMMAND).exists(), "the command is optional");

    for (setting, value, want) in [("LIBRARY", "/nowhere.so", "/nowhere.so is not there"), ("X", "", "usage")]
    {
        let output = Command::new("sh")
            .arg(machine.archive.path().join("install.sh"))
            .args((setting == "LIBRARY").then_some("install"))
            .env("DESTDIR", machine.root.path())
            .env(setting, value)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(want), "{text}");
    }
}

#[test]
fn make_installs_from_the_source_tree() {
    let root = tempfile::tempdir().unwrap();
    let library = root.path().join("libdrift.so");
    std::fs::write(&library, "library").unwrap();
    let script = workspace_dir().join("scripts/install.sh");
    let output = Command::new("sh")
        .arg(script)
        .arg("install")
        .env("DESTDIR", root.path().join("root"))
        .env("LIBRARY", &library)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let installed = root.path().join("root").join(RULES);
    assert_eq!(
        std::fs::read(installed).unwrap(),
        std::fs::read(workspace_dir().join("rules/drift_rules.yaml")).unwrap()
    );
    let makefile = std::fs::read_to_string(workspace_dir().join("Makefile")).unwrap();
    for target in
        ["install: build\n\tscripts/install.sh install", "uninstall:\n\tscripts/install.sh uninstall"]
    {
        assert!(makefile.contains(target), "{target}");
    }
}
