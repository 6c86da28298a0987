//! The image's view against the kernel's: random changes made through real overlayfs mounts, layer upon
//! layer, and then every path asked of the layers, from disk and from indexes, with the merged mount as the
//! oracle.

use drift_core::image::disk::{WalkLimits, XattrSpace};
use drift_core::image::layer::Layer;
use drift_core::image::view::{Image, ManifestState, Presence};
use drift_formats::entry::{FileKind, ImagePath};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::mount::Mounted;
use testkit::random::Random;
use testkit::skip::skip;

/// One of a few paths, so that layers meet on the same names.
fn path(random: &mut Random, root: &Path) -> PathBuf {
    let mut path = root.to_owned();
    for _ in 0..=random.below(3) {
        path.push(["a", "b", "c"][random.index(3)]);
    }
    path
}

/// Changes a mounted tree: files, directories, links made, replaced and removed. What cannot be done is left.
fn change(random: &mut Random, root: &Path) {
    for _ in 0..30 {
        let path = path(random, root);
        let _ = match random.below(7) {
            0 | 1 => std::fs::create_dir_all(&path),
            2 => std::fs::write(&path, "x"),
            3 => std::fs::remove_file(&path),
            4 => std::fs::remove_dir_all(&path),
            5 => std::os::unix::fs::symlink("../b", &path),
            // Removed and made again in one layer: the new directory is opaque.
            _ => std::fs::remove_dir_all(&path).and_then(|()| std::fs::create_dir(&path)),
        };
    }
}

/// Every path under `root` with its kind, by walking the mount.
fn walk(root: &Path) -> BTreeMap<Vec<u8>, FileKind> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let kind = if kind.is_dir() {
                dirs.push(entry.path());
                FileKind::Directory
            } else if kind.is_symlink() {
                FileKind::Symlink
            } else {
                FileKind::Regular
            };
            let path = entry.path();
            let inside = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            found.insert([b"/".as_slice(), &inside].concat(), kind);
        }
    }
    found
}

/// Every path that any change could have named.
fn all_paths() -> Vec<Vec<u8>> {
    let mut paths = vec![Vec::new()];
    let mut all = Vec::new();
    for _ in 0..4 {
        paths = paths
            .iter()
            .flat_map(|p: &Vec<u8>| [b"/a", b"/b", b"/c"].map(|name| [p.as_slice(), name].concat()))
            .collect();
        all.extend(paths.clone());
    }
    all
}

fn compare(image: &Image, oracle: &BTreeMap<Vec<u8>, FileKind>, how: &str) {
    for path in all_paths() {
        let got = match image.lookup(&ImagePath::from_archive(&path).unwrap()) {
            Presence::Present { entry, .. } => Some(entry.kind),
            Presence::Absent => None,
            Presence::Unknown(why) => panic!("{how}: {}: {why}", String::from_utf8_lossy(&path)),
        };
        assert_eq!(got, oracle.get(&path).copied(), "{how}: {}", String::from_utf8_lossy(&path));
    }
    for dir in [vec![b"/".to_vec()], all_paths()].concat() {
        let got = image.list(&ImagePath::from_archive(&dir).unwrap(), 100).unwrap();
        let below = |path: &Vec<u8>| {
            let cut = path.iter().rposition(|b| *b == b'/').unwrap();
            (path[..cut.max(1)] == dir).then(|| path[cut + 1..].to_vec())
        };
        let is_dir = dir == b"/" || oracle.get(&dir) == Some(&FileKind::Directory);
        let want = is_dir.then(|| oracle.keys().filter_map(below).collect::<Vec<_>>());
        assert_eq!(got, want, "{how}: names in {}", String::from_utf8_lossy(&dir));
    }
}

fn run(seed: u64, user_xattrs: bool) {
    let tmp = tempfile::tempdir_in(testkit::target_dir()).unwrap();
    let mut random = Random(seed);
    let base = tmp.path().join("0");
    std::fs::create_dir(&base).unwrap();
    change(&mut random, &base);
    let mut lower = vec![base];
    let extra = if user_xattrs { ",userxattr" } else { "" };
    for n in 1..4 {
        let dirs = ["upper", "work", "merged"].map(|kind| tmp.path().join(format!("{n}-{kind}")));
        dirs.iter().for_each(|d| std::fs::create_dir(d).unwrap());
        let list: Vec<_> = lower.iter().map(|p| p.display().to_string()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}{extra}",
            list.join(":"),
            dirs[0].display(),
            dirs[1].display()
        );
        let mounted = Mounted::overlay(&dirs[2], &options);
        change(&mut random, &dirs[2]);
        let oracle = walk(&dirs[2]);
        drop(mounted);
        lower.insert(0, dirs[0].clone());
        let xattrs = if user_xattrs { XattrSpace::User } else { XattrSpace::Trusted };
        let layers: Vec<_> = lower.iter().map(|d| Arc::new(Layer::on_disk(d.clone(), xattrs))).collect();
        let image = Image::new(layers.clone());
        compare(&image, &oracle, &format!("seed {seed}, {n} layers, on disk"));
        compare(&image, &oracle, &format!("seed {seed}, {n} layers, on disk, their directories seen"));
        for (i, layer) in layers.iter().enumerate() {
            layer.build_index(WalkLimits::default(), || true).unwrap();
            compare(&image, &oracle, &format!("seed {seed}, {n} layers, {} indexed", i + 1));
        }
        assert_eq!(ManifestState(Ok(&image)).to_string(), "ready");
    }
}

#[test]
fn layers_answer_as_the_kernel_merges_them() {
    if !rustix::process::geteuid().is_root() {
        skip("overlay: kernel as oracle", "mounting needs root");
        return;
    }
    for seed in 0..25 {
        run(seed, false);
        run(seed + 1000, true);
    }
}

#[test]
fn a_layer_that_vanishes_while_it_is_indexed_is_partial() {
    let tmp = tempfile::tempdir_in(testkit::target_dir()).unwrap();
    let root = tmp.path().join("layer");
    for n in 0..50 {
        std::fs::create_dir_all(root.join(format!("d{n}/sub"))).unwrap();
        std::fs::write(root.join(format!("d{n}/sub/file")), "x").unwrap();
    }
    let layer = Arc::new(Layer::on_disk(root.clone(), XattrSpace::User));
    let mut steps = 0;
    let index = layer.build_index(WalkLimits::default(), || {
        steps += 1;
        if steps == 10 {
            std::fs::remove_dir_all(&root).unwrap();
        }
        true
    });
    let why = index.unwrap().partial().unwrap().to_owned();
    assert!(why.starts_with("directory unreadable"), "{why}");
    let image = Image::new(vec![layer]);
    assert_eq!(ManifestState(Ok(&image)).to_string(), format!("partial:{why}"));
    // A layer that is gone altogether cannot say no.
    let gone = image.lookup(&ImagePath::from_archive(b"/d49/sub/file").unwrap());
    assert!(matches!(gone, Presence::Unknown(_) | Presence::Present { .. }), "{gone:?}");
    let never = image.lookup(&ImagePath::from_archive(b"/nowhere").unwrap());
    assert_eq!(never, Presence::Unknown(why));
}
