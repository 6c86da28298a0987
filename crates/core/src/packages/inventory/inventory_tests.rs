//! Databases below a directory that stands for a container's root, and below layers.

use super::*;
use crate::host::RootDir;
use crate::image::disk::XattrSpace;
use crate::image::index::IndexBuilder;
use crate::image::layer::Layer;
use crate::image::view::Image;
use drift_formats::entry::ImagePath;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

fn put(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn db(ecosystem: Ecosystem, dir: &str) -> Database {
    Database { ecosystem, dir: ImagePath::from_archive(dir.as_bytes()).unwrap() }
}

fn fixture(name: &str) -> Vec<u8> {
    let bytes =
        fs::read(format!("{}/../../tests/fixtures/packages/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    match name.ends_with(".gz") {
        false => bytes,
        true => {
            let mut out = Vec::new();
            flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut out).unwrap();
            out
        }
    }
}

/// One of each.
fn populate(root: &Path) {
    put(root, "var/lib/dpkg/status", "Package: jq\nStatus: install ok installed\nVersion: 1.6\nArchitecture: amd64\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n");
    put(root, "var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2024a\n");
    put(root, "var/lib/dpkg/status.d/tzdata.md5sums", "x");
    put(root, "lib/apk/db/installed", "P:busybox\nV:1.36.1-r0\n\n");
    put(root, "var/lib/rpm/rpmdb.sqlite", fixture("rpm/rpmdb.sqlite.gz"));
    put(root, "var/lib/rpm/rpmdb.sqlite-wal", fixture("rpm/rpmdb.sqlite-wal.gz"));
    put(root, "py/six-1.16.0.dist-info/METADATA", fixture("pip/six-1.16.0.METADATA"));
    put(root, "py/Old.Egg_Thing-0.3.1-py3.11.egg-info/PKG-INFO", "Name: Old.Egg-Thing\nVersion: 0.3.1\n");
    put(root, "py/flat-1.2.egg-info", "Name: flat\nVersion: 1.2\n");
    put(root, "py/bare-3.0.dist-info/RECORD", "");
    put(root, "py/~ix-1.15.0.dist-info/METADATA", "Name: six\nVersion: 1.15.0\n");
    put(root, "app/node_modules/.package-lock.json", fixture("npm/package-lock.json"));
    put(root, "app/node_modules/left2/package.json", "not read: the lock has it");
    put(root, "app/node_modules/@x/by-hand/package.json", r#"{"name":"@x/by-hand","version":"6.6.6"}"#);
    put(root, "g/node_modules/npm/package.json", r#"{"name":"npm","version":"11.0.0"}"#);
    put(
        root,
        "g/node_modules/npm/node_modules/abbrev/package.json",
        r#"{"name":"abbrev","version":"2.0.0"}"#,
    );
    put(root, "g/node_modules/.bin/x", "");
    put(
        root,
        "gems/specifications/drift-fixture-1.2.0.pre.gemspec",
        fixture("gem/drift-fixture-1.2.0.pre.gemspec"),
    );
    put(
        root,
        "gems/specifications/default/json-2.6.1.gemspec",
        "# -*- encoding: utf-8 -*-\n# stub: json 2.6.1 ruby lib\n",
    );
    put(
        root,
        "c/conda-meta/wheel-0.41.2-py311_0.json",
        r#"{"name":"wheel","version":"0.41.2","subdir":"linux-64","files":[]}"#,
    );
    put(root, "c/conda-meta/history", "");
}

fn databases() -> Vec<Database> {
    vec![
        db(Ecosystem::Dpkg, "/var/lib/dpkg"),
        db(Ecosystem::Apk, "/lib/apk/db"),
        db(Ecosystem::Rpm, "/var/lib/rpm"),
        db(Ecosystem::Pip, "/py"),
        db(Ecosystem::Npm, "/app/node_modules"),
        db(Ecosystem::Npm, "/g/node_modules"),
        db(Ecosystem::Gem, "/gems/specifications"),
        db(Ecosystem::Conda, "/c/conda-meta"),
        db(Ecosystem::Conda, "/none"),
    ]
}

fn shown(inventory: &Inventory, database: &Database) -> Vec<String> {
    let packages = inventory.databases[database].as_ref().unwrap();
    let of = |p: &Package| {
        p.releases.iter().map(|r| format!("{} {} {}", p.name, r.version, r.architecture)).collect::<Vec<_>>()
    };
    packages.by_name.values().flat_map(of).map(|line| line.trim_end().to_owned()).collect()
}

fn check(inventory: &Inventory) {
    let all = databases();
    let at = |i: usize| shown(inventory, &all[i]);
    assert_eq!(at(0), ["jq 1.6 amd64", "tzdata 2024a"]);
    assert_eq!(at(1), ["busybox 1.36.1-r0"]);
    let rpm: Vec<String> =
        String::from_utf8(fixture("rpm/installed-with-wal.txt")).unwrap().lines().map(Into::into).collect();
    assert_eq!(at(2), rpm);
    assert_eq!(at(3), ["bare 3.0", "flat 1.2", "Old.Egg-Thing 0.3.1", "six 1.16.0"]);
    assert_eq!(at(4), ["@drift-fixture/scoped 2.1.0-beta.1", "@x/by-hand 6.6.6", "left-pad-fixture 1.0.0"]);
    assert_eq!(at(5), ["abbrev 2.0.0", "npm 11.0.0"]);
    assert_eq!(at(6), ["drift-fixture 1.2.0.pre", "json 2.6.1"]);
    assert_eq!(at(7), ["wheel 0.41.2 linux-64"]);
    assert_eq!(at(8), [""; 0], "a database that is not there");
    assert_eq!(
        inventory.databases[&all[3]].as_ref().unwrap().warnings,
        ["\"bare-3.0.dist-info\": no metadata"]
    );
}

#[test]
fn a_root_and_an_image_of_one_layer_say_the_same() {
    let tmp = tempfile::tempdir().unwrap();
    populate(tmp.path());
    let root = RootDir::open(tmp.path()).unwrap();
    let live = Inventory::read(&LiveTree::new(&root), &databases());
    check(&live);
    let layer = Arc::new(Layer::on_disk(tmp.path().into(), XattrSpace::User));
    let image = Image::new(vec![Arc::clone(&layer)]);
    let from_disk = Inventory::read(&image, &databases());
    check(&from_disk);
    layer.build_index(Default::default(), || true).unwrap();
    assert_eq!(Inventory::read(&image, &databases()), from_disk, "with an index");
    assert!(changes(&from_disk, &live).is_empty());
}

#[test]
fn layers_merge_with_whiteouts_and_opaque_directories() {
    let at = |_: &str| tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let (base, middle, top) = (at("base"), at("middle"), at("top"));
    let set = |path: std::path::PathBuf, key: &str, value: &[u8]| {
        rustix::fs::setxattr(path, format!("user.overlay.{key}"), value, rustix::fs::XattrFlags::empty())
            .unwrap();
    };
    for (package, version) in [("a", "1"), ("b", "1"), ("c", "1")] {
        let meta = format!("Name: {package}\nVersion: {version}\n");
        put(base.path(), &format!("lib/py/{package}-{version}.dist-info/METADATA"), &meta);
        put(base.path(), &format!("lib/opaque/{package}-{version}.dist-info/METADATA"), &meta);
    }
    std::os::unix::fs::symlink("lib/py", base.path().join("link")).unwrap();
    // The middle removes b; the top upgrades c.
    put(middle.path(), "lib/py/b-1.dist-info", "");
    set(middle.path().join("lib/py"), "opaque", b"x");
    set(middle.path().join("lib/py/b-1.dist-info"), "whiteout", b"");
    put(middle.path(), "lib/opaque/d-4.dist-info/METADATA", "Name: d\nVersion: 4\n");
    set(middle.path().join("lib/opaque"), "opaque", b"y");
    put(top.path(), "lib/py/c-1.dist-info", "");
    set(top.path().join("lib/py"), "opaque", b"x");
    set(top.path().join("lib/py/c-1.dist-info"), "whiteout", b"");
    put(top.path(), "lib/py/c-2.dist-info/METADATA", "Name: c\nVersion: 2\n");
    let layer = |dir: &tempfile::TempDir| Arc::new(Layer::on_disk(dir.path().into(), XattrSpace::User));
    let layers = vec![layer(&top), layer(&middle), layer(&base)];
    let image = Image::new(layers.clone());
    let (py, link, opaque) =
        (db(Ecosystem::Pip, "/lib/py"), db(Ecosystem::Pip, "/link"), db(Ecosystem::Pip, "/lib/opaque"));
    for indexed in [false, true] {
        if indexed {
            layers.iter().for_each(|l| drop(l.build_index(Default::default(), || true)));
        }
        let inventory = Inventory::read(&image, [&py, &link, &opaque]);
        assert_eq!(shown(&inventory, &py), ["a 1", "c 2"], "indexed: {indexed}");
        assert_eq!(shown(&inventory, &link), ["a 1", "c 2"], "through a link");
        assert_eq!(shown(&inventory, &opaque), ["d 4"], "indexed: {indexed}");
    }
    let before = Inventory::read(&Image::new(vec![layer(&base)]), [&py, &link]);
    let changed = changes(&before, &Inventory::read(&image, [&py, &link]));
    let show = |list: &[PackageChange]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(show(&changed.removed), ["b=1"]);
    assert_eq!(show(&changed.upgraded), ["c=1->2"]);
    assert!(changed.added.is_empty() && changed.unknown.is_empty());
}

#[test]
fn what_is_not_on_disk_is_unknown_never_empty() {
    let image = Image::new(vec![Arc::new(Layer::indexed(None, IndexBuilder::new(10).build()))]);
    let all = [db(Ecosystem::Pip, "/py"), db(Ecosystem::Gem, "/gems/specifications")];
    let inventory = Inventory::read(&image, &all);
    assert!(inventory.databases.values().all(Result::is_err), "{inventory:?}");
    let changed = changes(&inventory, &Inventory::default());
    assert_eq!((changed.unknown.len(), changed.is_empty()), (2, true));
}

#[test]
fn what_cannot_be_read_is_unknown() {
    let tmp = tempfile::tempdir().unwrap();
    let mk = |path: &str| {
        let path = tmp.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
    };
    mk("var/lib/dpkg/status");
    mk("py/x-1.0.dist-info/METADATA");
    put(tmp.path(), "var/lib/rpm/Packages.db", "not one");
    put(tmp.path(), "node_modules/.package-lock.json", "{");
    fs::create_dir_all(tmp.path().join("conda-meta/a-1-0.json")).unwrap();
    let root = RootDir::open(tmp.path()).unwrap();
    let tree = LiveTree::new(&root);
    for (database, want) in [
        (db(Ecosystem::Dpkg, "/var/lib/dpkg"), "not a regular file"),
        (db(Ecosystem::Rpm, "/var/lib/rpm"), "Packages.db: "),
        (db(Ecosystem::Npm, "/node_modules"), ".package-lock.json: "),
    ] {
        let got = Inventory::read(&tree, [&database]);
        let why = got.databases[&database].as_ref().unwrap_err().to_string();
        assert!(why.contains(want), "{why}");
    }
    // One record of many does not hide the others.
    let (py, conda) = (db(Ecosystem::Pip, "/py"), db(Ecosystem::Conda, "/conda-meta"));
    let got = Inventory::read(&tree, [&py, &conda]);
    assert_eq!(shown(&got, &py), ["x 1.0"]);
    assert_eq!(got.databases[&conda].as_ref().unwrap().warnings.len(), 1);
    // What is mounted there says nothing of the image.
    let host = RootDir::open(Path::new("/")).unwrap();
    let proc = db(Ecosystem::Pip, "/proc/self");
    let got = Inventory::read(&LiveTree::new(&host), [&proc]);
    assert!(got.databases[&proc].as_ref().unwrap_err().to_string().contains("another mount"));
}

fn inventory(rows: &[(&str, &str, &str)]) -> Inventory {
    let mut packages = Packages::default();
    for (name, version, architecture) in rows {
        let release = Release {
            version: (*version).into(),
            architecture: (*architecture).into(),
            stamp: String::new(),
        };
        let package = Package { name: (*name).into(), releases: BTreeSet::new() };
        packages.by_name.entry((*name).into()).or_insert(package).releases.insert(release);
    }
    Inventory { databases: [(db(Ecosystem::Dpkg, "/var/lib/dpkg"), Ok(packages))].into() }
}

#[test]
fn changes_are_told_apart() {
    let before = inventory(&[
        ("same", "1", "amd64"),
        ("up", "1", "amd64"),
        ("down", "2", "amd64"),
        ("gone", "1", "amd64"),
        ("libc6", "2.36", "amd64"),
        ("kernel", "5", "x"),
        ("kernel", "6", "x"),
        ("arch", "1", "all"),
    ]);
    let after = inventory(&[
        ("same", "1", "amd64"),
        ("up", "1.1", "amd64"),
        ("down", "1", "amd64"),
        ("new", "3", "all"),
        ("libc6", "2.36", "amd64"),
        ("libc6", "2.36", "i386"),
        ("kernel", "6", "x"),
        ("kernel", "7", "x"),
        ("arch", "2", "amd64"),
    ]);
    let got = changes(&before, &after);
    let show = |list: &[PackageChange]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(show(&got.added), ["libc6=2.36", "new=3"]);
    assert_eq!(got.added[0].new.as_ref().unwrap().architecture, "i386");
    assert_eq!(show(&got.removed), ["gone=1"]);
    assert_eq!(show(&got.upgraded), ["arch=1->2", "down=2->1", "kernel=5->7", "up=1->1.1"]);
    assert!(!got.is_empty() && changes(&after, &after).is_empty());
    assert_eq!(changes(&Inventory::default(), &before).added.len(), 8, "no database before");
}

#[test]
fn ten_thousand_packages_of_each() {
    let tmp = tempfile::tempdir().unwrap();
    let (mut status, mut installed) = (String::new(), String::new());
    for i in 0..10_000 {
        status.push_str(&format!("Package: p{i}\nStatus: install ok installed\nVersion: {i}\n\n"));
        installed.push_str(&format!("P:p{i}\nV:{i}\nF:bin\nR:x{i}\n\n"));
        put(tmp.path(), &format!("py/p{i}-{i}.dist-info/METADATA"), format!("Name: p{i}\nVersion: {i}\n"));
        put(tmp.path(), &format!("gems/p{i}-{i}.gemspec"), format!("# stub: p{i} {i} ruby lib\n"));
    }
    put(tmp.path(), "var/lib/dpkg/status", status);
    put(tmp.path(), "lib/apk/db/installed", installed);
    let root = RootDir::open(tmp.path()).unwrap();
    let all = [
        db(Ecosystem::Dpkg, "/var/lib/dpkg"),
        db(Ecosystem::Apk, "/lib/apk/db"),
        db(Ecosystem::Pip, "/py"),
        db(Ecosystem::Gem, "/gems"),
    ];
    let started = std::time::Instant::now();
    let got = Inventory::read(&LiveTree::new(&root), &all);
    for database in &all {
        let packages = got.databases[database].as_ref().unwrap();
        assert_eq!((packages.by_name.len(), packages.warnings.len()), (10_000, 0), "{database:?}");
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
