//! States against an image of one layer on disk; the container's root is a directory.

use super::*;
use crate::image::disk::XattrSpace;
use crate::image::layer::Layer;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

fn write(dir: &Path, path: &str, content: &str) {
    let full = dir.join(path);
    std::fs::create_dir_all(full.parent().unwrap()).unwrap();
    std::fs::write(full, content).unwrap();
}

fn chmod(dir: &Path, path: &str, mode: u32) {
    std::fs::set_permissions(dir.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
}

/// What an image and a container's root share before anything happens.
fn populate(dir: &Path) {
    write(dir, "etc/passwd", "root\n");
    write(dir, "usr/bin/tool", "#!/bin/sh\n");
    write(dir, "usr/bin/su", "su");
    chmod(dir, "usr/bin/su", 0o4755);
    chmod(dir, "usr/bin/tool", 0o755);
    symlink("usr/bin", dir.join("bin")).unwrap();
    symlink("passwd", dir.join("etc/link")).unwrap();
}

struct Case {
    layer: tempfile::TempDir,
    root: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let case = Self { layer: tempfile::tempdir().unwrap(), root: tempfile::tempdir().unwrap() };
        populate(case.layer.path());
        populate(case.root.path());
        case
    }
    fn image(&self) -> Image {
        Image::new(vec![Arc::new(Layer::on_disk(self.layer.path().into(), XattrSpace::Trusted))])
    }
    fn at(&self, path: &str, follow: bool) -> Result<(String, Change, Vec<&'static str>), Incomparable> {
        let root = RootDir::open(self.root.path()).unwrap();
        let located = locate(&root, &ImagePath::lexical(b"/", path.as_bytes()).unwrap(), follow)?;
        let real = String::from_utf8(located.path.as_bytes().to_vec()).unwrap();
        let compared = compare(&self.image(), located, 1 << 20, &mut || true)?;
        Ok((real, compared.change, compared.gained))
    }
}

#[test]
fn states_are_told_apart() {
    type Act = fn(&Path);
    let rows: Vec<(&str, Act, &str, &str, Change)> = vec![
        ("untouched", |_| {}, "/etc/passwd", "/etc/passwd", Change::None),
        ("never there", |_| {}, "/etc/none", "/etc/none", Change::None),
        ("no directory", |_| {}, "/no/such/file", "/no/such/file", Change::None),
        ("appended", |d| write(d, "etc/passwd", "root\nx\n"), "/etc/passwd", "/etc/passwd", Change::Modified),
        ("same size", |d| write(d, "etc/passwd", "toor\n"), "/etc/passwd", "/etc/passwd", Change::Modified),
        (
            "rewritten the same",
            |d| write(d, "etc/passwd", "root\n"),
            "/etc/passwd",
            "/etc/passwd",
            Change::None,
        ),
        ("created", |d| write(d, "etc/new", ""), "/etc/new", "/etc/new", Change::Created),
        ("created through a link", |d| write(d, "bin/new", ""), "/bin/new", "/usr/bin/new", Change::Created),
        (
            "deleted",
            |d| std::fs::remove_file(d.join("bin/tool")).unwrap(),
            "/bin/tool",
            "/usr/bin/tool",
            Change::Deleted,
        ),
        ("a directory", |d| std::fs::create_dir(d.join("new")).unwrap(), "/new", "/new", Change::None),
        ("plain chmod", |d| chmod(d, "usr/bin/tool", 0o700), "/usr/bin/tool", "/usr/bin/tool", Change::None),
        ("setuid", |d| chmod(d, "usr/bin/tool", 0o4755), "/usr/bin/tool", "/usr/bin/tool", Change::Metadata),
        (
            "setgid without x",
            |d| chmod(d, "usr/bin/tool", 0o2644),
            "/usr/bin/tool",
            "/usr/bin/tool",
            Change::None,
        ),
        ("had it before", |d| chmod(d, "usr/bin/su", 0o4711), "/usr/bin/su", "/usr/bin/su", Change::None),
        ("followed", |d| write(d, "etc/passwd", "x"), "/etc/link", "/etc/passwd", Change::Modified),
        (
            "another type",
            |d| {
                std::fs::remove_file(d.join("etc/passwd")).unwrap();
                symlink("/tmp", d.join("etc/passwd")).unwrap();
            },
            "/etc/passwd",
            "/tmp",
            Change::None,
        ),
    ];
    for (name, act, path, real, want) in rows {
        let case = Case::new();
        if name == "another type" {
            std::fs::create_dir(case.root.path().join("tmp")).unwrap();
        }
        act(case.root.path());
        let (at, change, _) = case.at(path, true).unwrap();
        assert_eq!((at.as_str(), change), (real, want), "{name}");
    }
}

#[test]
fn links_themselves_are_compared_by_target() {
    let case = Case::new();
    let root = case.root.path();
    assert_eq!(case.at("/etc/link", false).unwrap().1, Change::None);
    std::fs::remove_file(root.join("etc/link")).unwrap();
    symlink("/tmp/elsewhere", root.join("etc/link")).unwrap();
    assert_eq!(case.at("/etc/link", false).unwrap(), ("/etc/link".into(), Change::Modified, vec![]));
    std::fs::remove_file(root.join("etc/passwd")).unwrap();
    symlink("/tmp", root.join("etc/passwd")).unwrap();
    assert_eq!(case.at("/etc/passwd", false).unwrap().1, Change::Modified, "another type");
}

#[test]
fn gained_privileges_are_named() {
    let case = Case::new();
    chmod(case.root.path(), "usr/bin/tool", 0o6755);
    assert_eq!(case.at("/usr/bin/tool", true).unwrap().2, ["setuid", "setgid"]);
    write(case.root.path(), "opt/new", "");
    chmod(case.root.path(), "opt/new", 0o4755);
    assert_eq!(case.at("/opt/new", true).unwrap(), ("/opt/new".into(), Change::Created, vec!["setuid"]));
    assert_eq!(case.at("/usr/bin/su", true).unwrap().2, [""; 0]);
}

#[test]
fn a_renamed_file_is_known_by_its_content() {
    let case = Case::new();
    let root = RootDir::open(case.root.path()).unwrap();
    let old = ImagePath::lexical(b"/", b"/etc/passwd").unwrap();
    for (content, want) in [("root\n", true), ("toor\n", false)] {
        write(case.root.path(), "etc/new", content);
        let now = root.find_here(b"/etc/new", true).unwrap();
        assert_eq!(is_images_file(&case.image(), &old, &now, 1 << 20, &mut || true), Ok(want));
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let case = Case::new();
    let root = RootDir::open(case.root.path()).unwrap();
    let passwd = ImagePath::lexical(b"/", b"/etc/passwd").unwrap();
    let located = |root| locate(root, &passwd, true).unwrap();
    let small = compare(&case.image(), located(&root), 4, &mut || true).unwrap_err();
    assert_eq!(small, Incomparable::Unreadable, "larger than what is read");
    let stopped = compare(&case.image(), located(&root), 1 << 20, &mut || false).unwrap_err();
    assert_eq!(stopped, Incomparable::Stopped);
    let proc = ImagePath::lexical(b"/", b"/proc/self/status").unwrap();
    let real = RootDir::open(Path::new("/")).unwrap();
    assert_eq!(locate(&real, &proc, true).unwrap_err(), Incomparable::OtherMount);
}

#[test]
fn kinds_go_by_path_then_content() {
    let case = Case::new();
    let root = RootDir::open(case.root.path()).unwrap();
    write(case.root.path(), "plain", "text");
    std::fs::copy("/proc/self/exe", case.root.path().join("elf")).unwrap();
    for (path, content, want) in [
        ("/usr/bin/tool", "/usr/bin/tool", "script"),
        ("/etc/passwd", "/etc/passwd", "config"),
        ("/etc/init.d/x", "/usr/bin/tool", "script"),
        ("/var/lib/dpkg/status", "/plain", "package_db"),
        ("/usr/lib/apk/db/installed", "/plain", "package_db"),
        ("/opt/py/site-packages/six-1.dist-info/METADATA", "/plain", "package_db"),
        ("/app/node_modules/.package-lock.json", "/plain", "package_db"),
        ("/var/lib/dpkg/lock", "/plain", "other"),
        ("/var/lib/apt/lists/deb_Packages", "/plain", "other"),
        ("/srv/x", "/plain", "other"),
        ("/srv/x", "/elf", "elf_exec"),
        ("/etc", "/etc", "config"),
    ] {
        let found = root.find_here(content.as_bytes(), true).unwrap();
        let path = ImagePath::lexical(b"/", path.as_bytes()).unwrap();
        assert_eq!(file_kind(&path, Some(&found)), want, "{path:?}");
    }
    assert_eq!(file_kind(&ImagePath::lexical(b"/", b"/etc/x").unwrap(), None), "config", "gone");
}
