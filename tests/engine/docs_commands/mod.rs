//! The commands in README.md, CONTRIBUTING.md and docs/: each is run here, or says by the words after `sh`
//! what it needs.
//!
//! | block | what this test does |
//! |---|---|
//! | `sh` | runs it, in a folder that looks like the source tree after `make build` |
//! | `sh root` | runs it as root, with a drifted container named by $CONTAINER, on a machine with podman |
//! | `sh falco` | runs it, where a Falco is (FALCO_BIN or PATH), with Drift installed below a folder |
//! | `sh make` | the targets exist; CI runs what they do |
//! | `sh cargo` | the tests that it names exist; CI runs them all |
//! | `sh cluster`, `sh network` | needs these: checks programs, options and files |
//!
//! Each command of a block must succeed (`sh -eu`). A block without any word of a language is refused.

mod blocks;
mod elsewhere;

use blocks::{blocks, Block, Kind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::engine::{Choice, Engine};
use testkit::live::{self, Container, Image};
use testkit::skip::{skip, skip_optional};
use testkit::workspace_dir;

/// A folder that looks like the source tree with what `make build` built, and `drift` in its PATH.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for entry in std::fs::read_dir(workspace_dir()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "target" && entry.file_name() != ".git" {
                std::os::unix::fs::symlink(entry.path(), tree.0.path().join(entry.file_name())).unwrap();
            }
        }
        let release = tree.0.path().join("target/release");
        std::fs::create_dir_all(&release).unwrap();
        let drift = testkit::command::drift().as_path();
        std::os::unix::fs::symlink(drift, release.join("drift")).unwrap();
        let beside = ["libdrift.so", "deps/libdrift.so"].map(|name| drift.with_file_name(name));
        let library = beside.iter().find(|path| path.is_file()).expect("cargo builds the library too");
        std::os::unix::fs::symlink(library, release.join("libdrift.so")).unwrap();
        tree
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs a block's text; the error is what it printed.
    fn run(&self, block: &Block, variables: &[(&str, &str)]) -> Result<String, String> {
        let path = std::env::var_os("PATH").unwrap();
        let own = [self.path().join("bin"), self.path().join("target/release")];
        let path = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path))).unwrap();
        let output = Command::new("sh")
            .args(["-eu", "-c", &block.text])
            .current_dir(self.path())
            .env_remove("CARGO_TARGET_DIR")
            .env("PATH", path)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            Ok(said)
        } else {
            Err(format!("{}: {}\n{}\n{said}", block.place, output.status, block.text))
        }
    }
}

fn of_kind(kind: Kind) -> Vec<Block> {
    let found: Vec<Block> = blocks().into_iter().filter(|b| b.kind == kind).collect();
    assert!(!found.is_empty(), "no block of kind {kind:?}");
    found
}

#[test]
fn plain_commands_run() {
    for block in of_kind(Kind::Plain) {
        if let Err(why) = Tree::new().run(&block, &[]) {
            panic!("{why}");
        }
    }
}

#[test]
fn make_has_the_targets() {
    for block in of_kind(Kind::Make) {
        for line in block.text.lines() {
            let targets: Vec<&str> =
                line.strip_prefix("make ").unwrap_or_else(|| panic!("{line}")).split(' ').collect();
            for target in targets {
                assert!(blocks::targets().contains(target), "{}: no target {target}", block.place);
            }
        }
    }
    // Wherever a document names one.
    for (place, target) in blocks::named_targets() {
        assert!(blocks::targets().contains(target.as_str()), "{place}: no target {target}");
    }
}

#[test]
fn cargo_has_the_tests() {
    let manifest = std::fs::read_to_string(workspace_dir().join("Cargo.toml")).unwrap();
    for block in of_kind(Kind::Cargo) {
        for line in block.text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[0], "cargo", "{}: {line}", block.place);
            for test in words.windows(2).filter(|pair| pair[0] == "--test").map(|pair| pair[1]) {
                let places = [format!("tests/{test}.rs"), format!("tests/{test}/main.rs")];
                let there = places.iter().any(|place| workspace_dir().join(place).is_file())
                    || manifest.contains(&format!("name = \"{test}\""));
                assert!(there, "{}: no test {test}", block.place);
            }
        }
    }
}

#[test]
fn commands_for_responders_run_on_a_container() {
    let test = "docs: commands that need a container";
    if let Some(why) = live::missing(&["podman", "runc", "umoci", "debootstrap"]) {
        return skip(test, &why);
    }
    let container = Container::podman(&Image::debian().unwrap()).unwrap();
    let script = container.put("drift.sh", b"echo drifted > /opt/drifted; touch /vol/done").unwrap();
    container.run(&format!("sh {script}")).unwrap();
    let done = container.vol().join("done");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done.exists() {
        assert!(Instant::now() < deadline, "the container does not drift");
        std::thread::sleep(Duration::from_millis(50));
    }
    let tree = Tree::new();
    let mut said = String::new();
    for block in of_kind(Kind::Root) {
        match tree.run(&block, &[("CONTAINER", container.id()), ("HOST_ROOT", "/")]) {
            Ok(text) => said.push_str(&text),
            Err(why) => panic!("{why}"),
        }
    }
    assert!(said.contains("/opt/drifted"), "{said}");
}

/// Falco, with Drift installed by the script that `make install` runs, below a folder: `/etc/falco` means it
/// there.
fn falco_below(tree: &Tree, engine: &Engine) {
    let root = tree.path().join("root");
    let etc = root.join("etc/falco");
    std::fs::create_dir_all(etc.join("rules.d")).unwrap();
    let library = testkit::plugin_library().unwrap();
    let install = Block::plain("scripts/install.sh install");
    let variables = [("DESTDIR", root.to_str().unwrap()), ("LIBRARY", library.to_str().unwrap())];
    tree.run(&install, &variables).unwrap();
    let drop_in = etc.join("config.d/falco.drift_plugin.yaml");
    let text = std::fs::read_to_string(&drop_in).unwrap();
    let library = root.join("usr/share/falco/plugins/libdrift.so");
    std::fs::write(&drop_in, text.replace("libdrift.so", library.to_str().unwrap())).unwrap();
    std::fs::write(
        etc.join("falco.yaml"),
        format!(
            "config_files: [{0}/config.d]\nrules_files: [{0}/drift_rules.yaml, {0}/rules.d]\n\
             stdout_output: {{enabled: true}}\n",
            etc.display()
        ),
    )
    .unwrap();
    // The file that docs/tuning.md checks.
    let tuning = "- list: drift_allowed_binaries\n  items: [/opt/agent]\n  override:\n    items: append\n";
    std::fs::write(etc.join("rules.d/drift_tuning.yaml"), tuning).unwrap();

    let command: Vec<String> = engine.command().iter().map(|word| format!("'{}'", word.display())).collect();
    let wrapper = format!(
        "#!/bin/sh\nfor word; do shift; set -- \"$@\" \"$(printf %s \"$word\" \
         | sed 's,^/etc/falco,{0},')\"; done\nexec {1} -c {0}/falco.yaml \"$@\"\n",
        etc.display(),
        command.join(" ")
    );
    let bin: PathBuf = tree.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join("falco"), wrapper).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(bin.join("falco"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn commands_of_falco_run_where_it_is() {
    let engine = match Engine::find(&Choice::Falco) {
        Ok(engine) => engine,
        Err(why) => return skip_optional("docs: commands that need Falco", &format!("{why:#}")),
    };
    let tree = Tree::new();
    falco_below(&tree, &engine);
    for block in of_kind(Kind::Falco) {
        match tree.run(&block, &[]) {
            Ok(said) => assert!(!said.contains("LOAD_ERR"), "{}: {said}", block.place),
            Err(why) => panic!("{why}"),
        }
    }
}
