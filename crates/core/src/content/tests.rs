use super::*;
use crate::image::disk::XattrSpace;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

fn put(dir: &Path, path: &str, content: &[u8], mode: u32) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// An image of one layer, and a container's root that holds what it holds.
struct Pair {
    layer: tempfile::TempDir,
    root: tempfile::TempDir,
}

impl Pair {
    fn new(files: &[(&str, &[u8], u32)]) -> Self {
        let here = || tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let (layer, root) = (here(), here());
        for dir in [layer.path(), root.path()] {
            files.iter().for_each(|(path, content, mode)| put(dir, path, content, *mode));
        }
        Self { layer, root }
    }

    fn source(&self, path: &str) -> Option<(&'static str, String)> {
        let image = Image::new(vec![Arc::new(Layer::on_disk(self.layer.path().into(), XattrSpace::User))]);
        image.layers().iter().for_each(|layer| build(layer, &mut || true));
        let root = RootDir::open(self.root.path()).unwrap();
        let path = ImagePath::from_archive(path.as_bytes()).unwrap();
        let found = root.find_itself(path.as_bytes()).unwrap();
        let source = source_of(&image, &root, &path, &found, 1 << 20, &mut || true)?;
        Some((source.as_str(), String::from_utf8(source.of().as_bytes().to_vec()).unwrap()))
    }
}

#[test]
fn copies_are_found_by_content_and_by_nothing_else() {
    let tool = b"#!/bin/sh\necho tool\n";
    let pair = Pair::new(&[("usr/share/app/start.sh", tool, 0o755), ("etc/passwd", b"root:x:0:0\n", 0o644)]);
    let copied = Some(("copied", "/usr/share/app/start.sh".to_owned()));
    for (path, content, want) in [
        ("app/start.sh", &tool[..], copied.clone()),
        ("app/renamed", tool, copied.clone()),
        ("app/other.sh", b"#!/bin/sh\necho evil\n", None),
        ("app/longer.sh", b"#!/bin/sh\necho tool\n\n", None),
        ("app/empty", b"", None),
    ] {
        put(pair.root.path(), path, content, 0o755);
        assert_eq!(pair.source(path), want, "{path}");
    }
    let from = Source::Copied(ImagePath::from_archive(b"/usr/share/app/start.sh").unwrap());
    for (path, renamed) in [("/app/start.sh", false), ("/app/renamed", true)] {
        assert_eq!(from.is_renamed(&ImagePath::from_archive(path.as_bytes()).unwrap()), renamed, "{path}");
    }
}

#[test]
fn members_of_archives_are_found_and_a_file_of_the_same_checksum_is_not() {
    let pair = Pair::new(&[]);
    put(pair.root.path(), "in/bin/run", b"#!/bin/sh\necho run\n", 0o755);
    let archive = pair.layer.path().join("app.tar.gz");
    let made = Command::new("tar")
        .arg("-czf")
        .arg(&archive)
        .arg("-C")
        .arg(pair.root.path().join("in"))
        .arg(".")
        .status();
    assert!(made.unwrap().success());
    put(pair.root.path(), "opt/run", b"#!/bin/sh\necho run\n", 0o755);
    assert_eq!(pair.source("opt/run"), Some(("unpacked", "/app.tar.gz".to_owned())));
    put(pair.root.path(), "opt/run", b"#!/bin/sh\necho RUN\n", 0o755);
    assert_eq!(pair.source("opt/run"), None);
}

#[test]
fn byte_code_has_to_fit_its_source_and_use_nothing_else() {
    let fixture = |name: &str| {
        fs::read(format!("{}/../../tests/fixtures/bytecode/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let (source, good, bad) =
        (fixture("module.py"), fixture("module.cpython-311.pyc"), fixture("poisoned.cpython-311.pyc"));
    let pair = Pair::new(&[("usr/lib/module.py", &source, 0o644)]);
    // 2024-01-02 03:04:05: what the header says.
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_704_164_645);
    let set_time = |path: &str| {
        let file = fs::File::options().write(true).open(pair.root.path().join(path)).unwrap();
        file.set_modified(at).unwrap();
    };
    set_time("usr/lib/module.py");
    let compiled = "usr/lib/__pycache__/module.cpython-311.pyc";
    for (content, want) in [(&good, Some(("derived", "/usr/lib/module.py".to_owned()))), (&bad, None)] {
        put(pair.root.path(), compiled, content, 0o644);
        assert_eq!(pair.source(compiled), want);
    }
    put(pair.root.path(), compiled, &good, 0o644);
    put(pair.root.path(), "usr/lib/module.py", &[&source[..], b"#"].concat(), 0o644);
    set_time("usr/lib/module.py");
    assert_eq!(pair.source(compiled), None, "the source is not the image's any more");
    put(pair.root.path(), "opt/__pycache__/module.cpython-311.pyc", &good, 0o644);
    assert_eq!(pair.source("opt/__pycache__/module.cpython-311.pyc"), None, "no source beside it");
}

#[test]
fn what_is_listed_by_size() {
    for (name, mode, listed) in
        [("x", 0o755, true), ("libc.so.6", 0o644, true), ("run", 0o644, true), ("changelog.gz", 0o644, false)]
    {
        assert_eq!(catalog::can_run(name.as_bytes(), mode), listed, "{name}");
    }
}

#[test]
fn what_engines_put_into_a_root() {
    let passwd = b"root:x:0:0:root:/root:/bin/bash\n";
    let pair = Pair::new(&[("etc/passwd", passwd, 0o644)]);
    std::os::unix::fs::symlink("/proc/mounts", pair.root.path().join("etc/mtab")).unwrap();
    std::os::unix::fs::symlink("/tmp/x", pair.root.path().join("etc/link")).unwrap();
    put(pair.root.path(), "etc/hosts", b"", 0o644);
    put(pair.root.path(), "etc/resolv.conf", b"nameserver 1.2.3.4\n", 0o644);
    let image = Image::new(vec![Arc::new(Layer::on_disk(pair.layer.path().into(), XattrSpace::User))]);
    let root = RootDir::open(pair.root.path()).unwrap();
    let is = |path: &str, uid, covered| {
        is_engines(&image, &root, &ImagePath::from_archive(path.as_bytes()).unwrap(), uid, covered)
    };
    assert!(is("/etc/mtab", None, false));
    assert!(!is("/etc/link", None, false));
    assert!(is("/etc/hosts", None, true));
    assert!(!is("/etc/hosts", None, false), "nothing is mounted over it");
    assert!(!is("/etc/resolv.conf", None, true), "it holds something");
    for (added, uid, expected) in [
        ("1234:*:1234:0:container user:/:/bin/sh\n", Some(1234), true),
        ("1234:*:1234:0:container user:/:/bin/sh\n", Some(1000), false),
        ("1234:*:1234:0:container user:/:/bin/sh\n", None, false),
        ("toor:*:0:0::/:/bin/sh\n", Some(0), false),
        ("1234::1234:0::/:/bin/sh\n", Some(1234), false),
        ("1234:$6$x$y:1234:0::/:/bin/sh\n", Some(1234), false),
        ("1234:*:1234:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n", Some(1234), false),
        ("", Some(1234), false),
    ] {
        put(pair.root.path(), "etc/passwd", &[&passwd[..], added.as_bytes()].concat(), 0o644);
        assert_eq!(is("/etc/passwd", uid, false), expected, "{added:?} {uid:?}");
    }
    put(pair.root.path(), "etc/passwd", b"root::0:0:root:/root:/bin/bash\n1234:*:1234:0::/:/bin/sh\n", 0o644);
    assert!(!is("/etc/passwd", Some(1234), false), "the image's own lines are not as they were");
}

/// A pair of each: what `cp` was told to copy, and what only looks like it.
#[test]
fn a_copy_is_found_by_the_command_that_made_it_before_any_catalog_is_built() {
    let run = b"#!/bin/sh\nexec serve\n";
    let pair = Pair::new(&[("template/web/run", run, 0o755), ("usr/bin/tool", b"tool", 0o755)]);
    let image = Image::new(vec![Arc::new(Layer::on_disk(pair.layer.path().into(), XattrSpace::User))]);
    let root = RootDir::open(pair.root.path()).unwrap();
    let evil = b"#!/bin/sh\nexec evil!\n";
    for (command, path, content, want) in [
        ("cp -a /template/. /run/s", "run/s/web/run", &run[..], Some("/template/web/run")),
        ("cp -a /template/. /run/s", "run/s/web/run", evil, None),
        ("cp /usr/bin/tool /tmp", "tmp/tool", b"tool", Some("/usr/bin/tool")),
        ("cp /usr/bin/tool /tmp/sshd", "tmp/sshd", b"tool", None),
        ("curl -o /run/s/web/run http://x/template", "run/s/web/run", run, None),
        ("sh -c x", "run/s/web/run", run, None),
    ] {
        put(pair.root.path(), path, content, 0o755);
        let path = ImagePath::from_archive(path.as_bytes()).unwrap();
        let found = root.find_itself(path.as_bytes()).unwrap();
        let source = named_source(&image, command.as_bytes(), &path, &found);
        let want = want.map(|from| Source::Copied(ImagePath::from_archive(from.as_bytes()).unwrap()));
        assert_eq!(source, want, "{command}");
    }
}
