//! The init container's image: built from scratch and run, both without a network, with buildah and podman on
//! storage of this test's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::host;
use testkit::skip::skip;
use testkit::workspace_dir;

/// Storage for images and containers, emptied and removed with its owner.
struct Storage {
    root: tempfile::TempDir,
    /// Its path must be short: sockets lie in it.
    run: tempfile::TempDir,
}

impl Storage {
    fn options(&self) -> Vec<String> {
        let of = |name: &str, path: &Path| format!("--{name}={}", path.display());
        vec![
            of("root", self.root.path()),
            of("runroot", self.run.path()),
            // One layer of three files needs no overlay, and leaves no mount.
            "--storage-driver=vfs".into(),
        ]
    }

    fn podman(&self, arguments: &[&str]) -> Output {
        Command::new("podman")
            .args(self.options())
            .args(["--cgroup-manager", "cgroupfs", "--runtime", "runc", "--events-backend", "none"])
            .args(arguments)
            .output()
            .unwrap()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success())
}

/// A folder that anybody may write to, as an emptyDir is.
fn volume() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_image_copies_the_files_into_falcos_volumes() {
    let _turn = crate::turns::take(module_path!());
    let test = "image: built from scratch and run";
    if !is_root() {
        return skip(test, "needs root");
    }
    for program in ["buildah", "podman", "runc", "rustc"] {
        if !is_there(program) {
            return skip(test, &format!("{program} is not installed"));
        }
    }
    let storage = Storage { root: tempfile::tempdir().unwrap(), run: tempfile::tempdir().unwrap() };
    let library = host::library::path();
    let build = || {
        let output = Command::new(workspace_dir().join("scripts/image.sh"))
            .arg("localhost/drift-init:test")
            .env("LIBRARY", &library)
            .env("COMMAND", testkit::command::drift())
            .env("BUILDAH", format!("buildah {}", storage.options().join(" ")))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let id = storage.podman(&["image", "inspect", "--format", "{{.Id}}", "localhost/drift-init:test"]);
        text(&id)
    };
    let id = build();
    assert_eq!(id, build(), "the same files give the same image");

    let (plugins, rules) = (volume(), volume());
    // What a restarted init container finds: an old file, and a link where it writes.
    std::fs::write(plugins.path().join("libdrift.so"), "old").unwrap();
    let outside = rules.path().join("outside");
    std::fs::write(&outside, "not ours").unwrap();
    std::os::unix::fs::symlink(&outside, plugins.path().join(".libdrift.so")).unwrap();
    let mount = |from: &Path, to: &str| format!("--volume={}:{to}", from.display());
    let run = |more: &[&str]| {
        let (plugins, rules) = (mount(plugins.path(), "/plugins"), mount(rules.path(), "/rulesfiles"));
        let mut arguments =
            vec!["run", "--rm", "--network=none", "--pull=never", "--read-only", "--log-driver=none"];
        // Limits that a container in a container may have.
        arguments.extend(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]);
        // As pod security `restricted` has it.
        arguments.extend(["--cap-drop=all", "--security-opt=no-new-privileges", &plugins, &rules]);
        arguments.push("localhost/drift-init:test");
        arguments.extend(more);
        storage.podman(&arguments)
    };
    let output = run(&[]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(names(plugins.path()), ["drift", "libdrift.so"]);
    let said = Command::new(plugins.path().join("drift")).arg("--version").output().unwrap();
    assert_eq!(text(&said), concat!("drift ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(std::fs::read(plugins.path().join("libdrift.so")).unwrap(), std::fs::read(&library).unwrap());
    assert_eq!(names(rules.path()), ["drift_rules.yaml", "drift_source_rules.yaml", "outside"]);
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "not ours");
    for name in ["drift_rules.yaml", "drift_source_rules.yaml"] {
        let shipped: PathBuf = workspace_dir().join("rules").join(name);
        assert_eq!(
            std::fs::read(rules.path().join(name)).unwrap(),
            std::fs::read(shipped).unwrap(),
            "{name}"
        );
    }

    let refused = run(&["/plugins", "/nowhere"]);
    assert!(!refused.status.success() && text(&refused).contains("/nowhere"), "{}", text(&refused));
    let refused = run(&["a", "b", "c"]);
    assert!(!refused.status.success() && text(&refused).contains("usage"), "{}", text(&refused));
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
