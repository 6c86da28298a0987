//! The comparison of a container's files with its image against the kernel as the oracle: thousands of random
//! changes made through a real overlay, then both trees walked as the kernel merges them, and every
//! difference told exactly.

use drift_core::image::disk::{WalkLimits, XattrSpace};
use drift_core::image::layer::Layer;
use drift_core::image::view::Image;
use drift_core::scan::{FileChange, FileFinding, FileScan, Limits, Memory, Summary};
use drift_formats::entry::ImagePath;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::mount::Mounted;
use testkit::random::Random;
use testkit::skip::skip;

type Found = BTreeMap<Vec<u8>, FileChange>;

fn may_mount(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(test, "mounting needs root");
    }
    root
}

/// One path of a tree: kind, content (a link's target), set-id bits, device.
#[derive(Debug, PartialEq, Eq)]
struct Node {
    kind: u32,
    content: Vec<u8>,
    setid: u32,
    rdev: u64,
}

/// Every path under `root`, by walking the mount.
fn tree(root: &Path) -> BTreeMap<Vec<u8>, Node> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                dirs.push(path.clone());
            }
            let content = match () {
                () if meta.is_file() => std::fs::read(&path).unwrap(),
                () if meta.is_symlink() => std::fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
                () => Vec::new(),
            };
            let setid = if meta.is_file() { meta.mode() & 0o4000 } else { 0 };
            let node = Node { kind: meta.mode() & 0o170000, content, setid, rdev: meta.rdev() };
            let inside = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
            found.insert([b"/", inside].concat(), node);
        }
    }
    found
}

const DIRECTORY: u32 = 0o040000;

/// What differs between two trees.
fn oracle(image: &Path, container: &Path) -> Found {
    let (image, container) = (tree(image), tree(container));
    let mut found = Found::new();
    for (path, now) in &container {
        let change = match image.get(path) {
            None => FileChange::Created,
            Some(was) if (was.kind, &was.content, was.rdev) != (now.kind, &now.content, now.rdev) => {
                FileChange::Modified
            }
            Some(was) if now.setid & !was.setid != 0 => FileChange::Metadata,
            Some(_) => continue,
        };
        found.insert(path.clone(), change);
    }
    for path in image.keys().filter(|p| !container.contains_key(*p)) {
        let parent = &path[..path.iter().rposition(|b| *b == b'/').unwrap()];
        // Of a directory that is gone or replaced only the uppermost path is told.
        if parent.is_empty() || container.get(parent).is_some_and(|n| n.kind == DIRECTORY) {
            found.insert(path.clone(), FileChange::Deleted);
        }
    }
    found
}

fn run(scan: &FileScan, memory: Option<&mut Memory>) -> (Vec<FileFinding>, Summary) {
    let mut findings = Vec::new();
    let summary = scan.run(memory, &mut || true, &mut |f| findings.push(f));
    (findings, summary)
}

fn drift(findings: &[FileFinding]) -> Found {
    let mut found = Found::new();
    for f in findings.iter().filter(|f| f.change != FileChange::Touched) {
        let twice = found.insert(f.path.as_bytes().to_vec(), f.change);
        assert_eq!(twice, None, "{:?} told twice", f.path);
    }
    found
}

fn assert_same(got: &Found, want: &Found, how: &str) {
    let show = |(path, change): (&Vec<u8>, &FileChange)| {
        format!("{} {}", change.as_str(), String::from_utf8_lossy(path))
    };
    let missed: Vec<_> = want.iter().filter(|(p, c)| got.get(*p) != Some(c)).map(show).collect();
    let extra: Vec<_> = got.iter().filter(|(p, c)| want.get(*p) != Some(c)).map(show).collect();
    assert!(missed.is_empty() && extra.is_empty(), "{how}: missed {missed:#?}, wrong {extra:#?}");
}

/// A stack of layers and a container on it.
struct Stack {
    dir: tempfile::TempDir,
    lower: Vec<PathBuf>,
    userxattr: bool,
}

impl Stack {
    fn new(userxattr: bool) -> Self {
        let dir = tempfile::tempdir_in(testkit::target_dir()).unwrap();
        let base = dir.path().join("base");
        std::fs::create_dir(&base).unwrap();
        Self { dir, lower: vec![base], userxattr }
    }

    fn options(&self, upper: Option<&str>, more: &str) -> String {
        let list: Vec<_> = self.lower.iter().map(|p| p.display().to_string()).collect();
        let mut options = format!("lowerdir={}", list.join(":"));
        if let Some(name) = upper {
            let dirs = ["upper", "work", "merged"].map(|kind| self.dir.path().join(format!("{name}-{kind}")));
            dirs.iter().for_each(|d| std::fs::create_dir(d).unwrap());
            options += &format!(",upperdir={},workdir={}", dirs[0].display(), dirs[1].display());
        }
        let user = if self.userxattr { ",userxattr" } else { "" };
        format!("{options}{user}{more}")
    }

    fn part(&self, name: &str, kind: &str) -> PathBuf {
        self.dir.path().join(format!("{name}-{kind}"))
    }

    fn mount(&self, name: &str, more: &str) -> Mounted {
        let options = self.options(Some(name), more);
        Mounted::overlay(&self.part(name, "merged"), &options)
    }

    /// Makes a layer by changing what the layers so far hold.
    fn layer(&mut self, name: &str, change: impl FnOnce(&Path)) {
        let mounted = self.mount(name, "");
        change(&self.part(name, "merged"));
        drop(mounted);
        self.lower.insert(0, self.part(name, "upper"));
    }

    /// The image alone, mounted.
    fn image_mount(&self) -> (Option<Mounted>, PathBuf) {
        if let [only] = self.lower.as_slice() {
            return (None, only.clone());
        }
        let at = self.dir.path().join("image");
        std::fs::create_dir_all(&at).unwrap();
        (Some(Mounted::overlay(&at, &self.options(None, ""))), at)
    }

    fn space(&self) -> XattrSpace {
        if self.userxattr {
            XattrSpace::User
        } else {
            XattrSpace::Trusted
        }
    }

    fn image(&self) -> Image {
        let space = self.space();
        Image::new(self.lower.iter().map(|d| Arc::new(Layer::on_disk(d.clone(), space))).collect())
    }

    fn scan(&self, name: &str) -> FileScan {
        FileScan::of_upper(self.image(), &self.part(name, "upper"), self.space(), Limits::default()).unwrap()
    }
}

/// Makes `files` files in directories of fifty.
fn fill(root: &Path, files: u64, content: &str) {
    for n in 0..files {
        let dir = root.join(format!("d{}/s{}", n / 500, n / 50 % 10));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("f{}", n % 50)), format!("{content}{}", n % 7)).unwrap();
    }
}

/// Changes a mounted tree of `files` files, `count` times. What cannot be done is left.
fn change(random: &mut Random, root: &Path, files: u64, count: u64) {
    let place = |random: &mut Random| {
        let n = random.below(files);
        let mut path = root.join(format!("d{}", n / 500));
        if random.below(40) > 0 {
            path.push(format!("s{}", n / 50 % 10));
            if random.below(20) > 0 {
                path.push(format!("f{}", n % 50 + random.below(3)));
                if random.below(20) == 0 {
                    path.push("deeper");
                }
            }
        }
        path
    };
    for _ in 0..count {
        let path = place(random);
        let is_file = path.symlink_metadata().is_ok_and(|m| m.is_file());
        let _ = match random.below(14) {
            0 => std::fs::create_dir_all(&path),
            // Not into a FIFO, which would wait for a reader.
            1 | 2 if is_file || !path.exists() => std::fs::write(&path, format!("new{}", random.below(5))),
            // The same content again, and other content of the same size.
            3 if is_file => std::fs::read(&path).and_then(|old| std::fs::write(&path, old)),
            4 if is_file => std::fs::read(&path).and_then(|old| std::fs::write(&path, vec![b'z'; old.len()])),
            5 | 6 => std::fs::remove_file(&path),
            7 if random.below(4) == 0 => std::fs::remove_dir_all(&path),
            8 => std::os::unix::fs::symlink("../f1", &path),
            9 => std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4755)),
            10 => std::fs::rename(&path, place(random)),
            11 => std::fs::hard_link(&path, place(random)),
            12 => {
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
                    .map_err(Into::into)
            }
            // Removed and made again: the new directory is opaque.
            _ if path.is_dir() && random.below(3) == 0 => {
                std::fs::remove_dir_all(&path).and_then(|()| std::fs::create_dir(&path))
            }
            _ => std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)),
        };
    }
}

fn random_run(seed: u64, files: u64, changes: u64, userxattr: bool) {
    let mut random = Random(seed);
    let mut stack = Stack::new(userxattr);
    fill(&stack.lower[0], files, "x");
    for name in ["1", "2"] {
        stack.layer(name, |root| change(&mut random, root, files, changes / 4));
    }
    let mounted = stack.mount("c", "");
    let merged = stack.part("c", "merged");
    change(&mut random, &merged, files, changes);
    let (image_mount, image_at) = stack.image_mount();
    let want = oracle(&image_at, &merged);
    drop(image_mount);
    assert!(!want.is_empty());

    let scan = stack.scan("c");
    let (findings, summary) = run(&scan, None);
    assert!(summary.is_complete(), "{summary:?}");
    assert_same(&drift(&findings), &want, &format!("seed {seed}, writable layer"));
    // The same from indexes, and again with what was remembered.
    for layer in scan_layers(&stack) {
        layer.build_index(WalkLimits::default(), || true).unwrap();
    }
    let mut memory = Memory::default();
    let (first, summary) = run(&scan, Some(&mut memory));
    assert_same(&drift(&first), &want, &format!("seed {seed}, remembering"));
    let (second, again) = run(&scan, Some(&mut memory));
    assert_eq!(sorted(&first), sorted(&second), "seed {seed}, remembered");
    let least = if files < 2000 { summary.bytes } else { summary.bytes - 1 };
    assert!(again.bytes <= least, "{summary:?} {again:?}");

    // The whole root, as if there were no writable layer to look at.
    let scan = FileScan::of_root(stack.image(), &merged, None, Limits::default()).unwrap();
    let (findings, summary) = run(&scan, None);
    assert!(summary.is_complete(), "{summary:?}");
    assert_same(&drift(&findings), &want, &format!("seed {seed}, whole root"));
    drop(mounted);
}

fn scan_layers(stack: &Stack) -> Vec<Arc<Layer>> {
    stack.image().layers().to_vec()
}

fn sorted(findings: &[FileFinding]) -> Vec<String> {
    let mut lines: Vec<_> = findings.iter().map(|f| format!("{f:?}")).collect();
    lines.sort();
    lines
}

#[test]
fn every_difference_is_found_as_the_kernel_shows_it() {
    if !may_mount("scan: kernel as oracle") {
        return;
    }
    for seed in 0..4 {
        random_run(seed, 1500, 400, false);
        random_run(seed + 1000, 1500, 400, true);
    }
}

#[test]
fn twenty_thousand_files() {
    if !may_mount("scan: 20,000 files") {
        return;
    }
    random_run(7, 20_000, 20_000, false);
}

/// Findings as text: change, path, path in the image.
fn told(findings: &[FileFinding]) -> Vec<String> {
    let show = |p: &ImagePath| String::from_utf8_lossy(p.as_bytes()).into_owned();
    let mut lines: Vec<_> = findings
        .iter()
        .filter(|f| f.change != FileChange::Touched)
        .map(|f| match &f.image_path {
            Some(image) => format!("{} {} < {}", f.change.as_str(), show(&f.path), show(image)),
            None => format!("{} {}", f.change.as_str(), show(&f.path)),
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn renamed_directories_are_one_finding() {
    if !may_mount("scan: redirects") {
        return;
    }
    let mut stack = Stack::new(false);
    fill(&stack.lower[0], 200, "x");
    stack.layer("1", |root| std::fs::write(root.join("d0/s0/more"), "more").unwrap());
    let _mounted = stack.mount("c", ",redirect_dir=on,metacopy=off");
    let merged = stack.part("c", "merged");
    std::fs::rename(merged.join("d0/s0"), merged.join("d0/other")).unwrap();
    std::fs::rename(merged.join("d0/s1"), merged.join("moved")).unwrap();
    std::fs::write(merged.join("d0/other/f1"), "changed").unwrap();
    std::fs::write(merged.join("d0/other/new"), "new").unwrap();
    std::fs::remove_file(merged.join("moved/f2")).unwrap();
    std::fs::remove_dir_all(merged.join("d0/s2")).unwrap();
    let (findings, summary) = run(&stack.scan("c"), None);
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(
        told(&findings),
        [
            "created /d0/other/new",
            "deleted /d0/s2",
            "deleted /moved/f2 < /d0/s1/f2",
            "modified /d0/other/f1 < /d0/s0/f1",
            "renamed /d0/other < /d0/s0",
            "renamed /moved < /d0/s1",
        ]
    );
}

#[test]
fn copies_of_metadata_alone_are_not_read() {
    if !may_mount("scan: metacopy") {
        return;
    }
    let mut stack = Stack::new(false);
    fill(&stack.lower[0], 50, "x");
    stack.layer("1", |root| std::fs::write(root.join("d0/s0/more"), "more").unwrap());
    let _mounted = stack.mount("c", ",metacopy=on,redirect_dir=on");
    let at = stack.part("c", "merged").join("d0/s0");
    let mode =
        |name: &str, mode| std::fs::set_permissions(at.join(name), PermissionsExt::from_mode(mode)).unwrap();
    mode("f1", 0o600);
    mode("f2", 0o4755);
    mode("f3", 0o600);
    std::fs::write(at.join("f3"), "other").unwrap();
    std::fs::rename(at.join("f4"), at.join("renamed")).unwrap();
    let (findings, summary) = run(&stack.scan("c"), None);
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(
        told(&findings),
        ["metadata /d0/s0/f2", "modified /d0/s0/f3", "renamed /d0/s0/renamed < /d0/s0/f4"]
    );
    let touched: Vec<_> = findings.iter().filter(|f| f.change == FileChange::Touched).collect();
    assert_eq!(touched.len(), 1);
    assert_eq!(touched[0].path.as_bytes(), b"/d0/s0/f1");
    assert_eq!(touched[0].now.unwrap().mode, 0o600);
    assert_eq!(touched[0].before.unwrap().mode, 0o644);
}
