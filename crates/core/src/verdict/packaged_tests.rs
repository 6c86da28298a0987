use super::*;
use crate::packages::installed::after;
use crate::packages::inventory::{changes, Database, Ecosystem, Inventory, LiveTree};
use md5::{Digest, Md5};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

const OURS: i64 = 7;

fn path(path: &str) -> ImagePath {
    ImagePath::from_archive(path.as_bytes()).unwrap()
}

fn md5(content: &str) -> String {
    drift_formats::bytes::hex(&Md5::digest(content.as_bytes()))
}

/// A container in which dpkg has just installed `hello`, and other things were done meanwhile.
#[test]
fn only_what_the_database_says_a_package_brought_is_its() {
    let tmp = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = tmp.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("var/lib/dpkg/status", "Package: hello\nStatus: install ok installed\nVersion: 2\n");
    let list = "/usr/bin/hello\n/usr/bin/changed\n/etc/hello.conf\n/etc/cron.d/hello\n/usr/bin/ls\n/usr/bin/setuid\n";
    put("var/lib/dpkg/info/hello.list", list);
    let sums = [("usr/bin/hello", "hello"), ("usr/bin/changed", "as packed"), ("usr/bin/ls", "ls")];
    let sums: String = sums.iter().map(|(path, text)| format!("{}  {path}\n", md5(text))).collect();
    put("var/lib/dpkg/info/hello.md5sums", &sums);
    for (path, text) in [
        ("usr/bin/hello", "hello"),
        ("usr/bin/changed", "by the hook"),
        ("usr/bin/ls", "ls"),
        ("usr/bin/setuid", ""),
        ("usr/bin/dropped", ""),
        ("etc/hello.conf", ""),
        ("etc/cron.d/hello", ""),
        ("etc/ld.so.cache", ""),
        ("root/.ssh/authorized_keys", ""),
    ] {
        put(path, text);
    }
    symlink("/usr/bin/hello", tmp.path().join("usr/bin/alternative")).unwrap();
    symlink("/usr/bin/dropped", tmp.path().join("usr/bin/link")).unwrap();
    symlink("/nowhere", tmp.path().join("usr/bin/dangling")).unwrap();

    let root = RootDir::open(tmp.path()).unwrap();
    let tree = LiveTree::new(&root);
    let all = BTreeSet::from([Database { ecosystem: Ecosystem::Dpkg, dir: path("/var/lib/dpkg") }]);
    let came = changes(&Inventory::default(), &Inventory::read(&tree, &all));
    let installed = after(&Installed::default(), &tree, &tree, &all, &came, OURS);
    let nothing = after(&Installed::default(), &tree, &tree, &all, &Default::default(), OURS);

    let created = Change::Created;
    // Path, change, owner in the image, writer, whether it is the package's.
    for (at, change, image_owner, writer, want) in [
        ("/usr/bin/hello", created, None, "dpkg", true),
        ("/usr/bin/hello", Change::Modified, Some("dpkg:hello"), "dpkg", true),
        ("/etc/hello.conf", created, None, "dpkg", true),
        ("/usr/bin/alternative", created, None, "update-alternatives", true),
        ("/etc/ld.so.cache", Change::Modified, None, "ldconfig", true),
        ("/var/lib/dpkg/info/hello.list", created, None, "dpkg", true),
        // What a hook did meanwhile.
        ("/usr/bin/changed", created, None, "dpkg", false),
        ("/usr/bin/dropped", created, None, "cp /payload /usr/bin/dropped", false),
        ("/usr/bin/link", created, None, "ln", false),
        ("/usr/bin/dangling", created, None, "ln", false),
        ("/usr/bin/alternative", Change::Modified, None, "ln", false),
        ("/etc/ld.so.cache", Change::Modified, None, "ldconfig -f /tmp/x", false),
        ("/etc/cron.d/hello", created, None, "dpkg", false),
        ("/root/.ssh/authorized_keys", created, None, "dpkg", false),
        // Another package's in the image.
        ("/usr/bin/ls", Change::Modified, Some("dpkg:coreutils"), "dpkg", false),
        ("/usr/bin/gone", Change::Deleted, Some("dpkg:coreutils"), "dpkg", false),
    ] {
        let at = path(at);
        let subject = Subject { path: &at, change, gained: &[], image_owner, writer, transaction: OURS };
        let by = |installed: &Installed, subject: &Subject<'_>| {
            brought_by(installed, &root, subject, 1 << 20, &mut || true).is_some()
        };
        assert_eq!(by(&installed, &subject), want, "{subject:?}");
        assert!(!by(&nothing, &subject), "nothing was installed: {subject:?}");
        let other = Subject { transaction: OURS + 1, ..subject };
        assert!(!by(&installed, &other), "another transaction: {subject:?}");
        let privileged = Subject { gained: &["setuid"], ..subject };
        assert!(!by(&installed, &privileged), "privileges: {subject:?}");
    }
}
