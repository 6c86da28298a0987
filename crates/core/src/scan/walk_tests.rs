use super::*;
use crate::host::RootDir;
use crate::image::index::IndexBuilder;
use crate::image::layer::Layer;
use crate::image::view::Image;
use crate::scan::{FileChange, FileFinding, FileScan, Limits, Summary};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

fn items(root: &Path, depth: usize) -> Vec<String> {
    let root = RootDir::open(root).unwrap();
    let walk = Walk::new(&root, Some(XattrSpace::User), depth).unwrap();
    let mut lines = Vec::new();
    for item in walk {
        let show = |p: &ImagePath| String::from_utf8_lossy(p.as_bytes()).into_owned();
        lines.push(match &item {
            Item::Whiteout(p) => format!("gone {}", show(p)),
            Item::File(p, f) => format!("{:?} {}", f.kind, show(p)),
            Item::Enter(p, _, marks) => {
                format!("dir {} {}", show(p), if marks.opaque { "opaque" } else { "" })
            }
            Item::Leave | Item::Mount(_) => continue,
            Item::Problem(p, why) => format!("{why} {}", show(p)),
        });
    }
    lines.sort();
    lines
}

fn empty_image() -> Image {
    Image::new(vec![Arc::new(Layer::indexed(None, IndexBuilder::new(10).build()))])
}

fn scan(root: &Path, limits: Limits) -> (Vec<FileFinding>, Summary) {
    let scan = FileScan::of_upper(empty_image(), root, XattrSpace::User, limits).unwrap();
    let mut findings = Vec::new();
    let summary = scan.run(None, &mut || true, &mut |f| findings.push(f));
    (findings, summary)
}

#[test]
fn hostile_trees_are_walked_without_opening_anything() {
    let tmp = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let root = tmp.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/new\nline\x1b[0m"), "x").unwrap();
    symlink("/etc", root.join("escape")).unwrap();
    symlink(".", root.join("a/loop")).unwrap();
    // Opening it for reading would wait for a writer for ever.
    let fifo = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), FileType::Fifo, fifo, 0).unwrap();
    // As large as a file can be, and empty.
    fs::File::create(root.join("sparse")).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(
        items(root, 10),
        [
            "Fifo /fifo",
            "RegularFile /a/new\nline\x1b[0m",
            "RegularFile /sparse",
            "Symlink /a/loop",
            "Symlink /escape",
            "dir /a ",
            "dir /a/b ",
        ]
    );
    let (findings, summary) = scan(root, Limits::default());
    assert_eq!(findings.len(), 7);
    assert!(findings.iter().all(|f| f.change == FileChange::Created), "{findings:?}");
    assert!(summary.is_complete());
    assert_eq!(summary.bytes, 0, "what the image does not have is not read");
}

#[test]
fn overlay_marks_are_read() {
    let tmp = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let root = tmp.path();
    fs::create_dir_all(root.join("opaque")).unwrap();
    fs::create_dir_all(root.join("marked")).unwrap();
    fs::write(root.join("marked/gone"), "").unwrap();
    fs::write(root.join("marked/empty"), "").unwrap();
    let set = |path: &str, key: &str, value: &[u8]| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(root.join(path), format!("user.overlay.{key}"), value, flags).unwrap();
    };
    set("opaque", "opaque", b"y");
    set("marked", "opaque", b"x");
    set("marked/gone", "whiteout", b"");
    assert_eq!(
        items(root, 10),
        ["RegularFile /marked/empty", "dir /marked ", "dir /opaque opaque", "gone /marked/gone"]
    );
}

#[test]
fn deep_trees_are_cut_and_say_so() {
    let tmp = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    // Deeper than a path can name: made step by step.
    let mut dir = rustix::fs::open(tmp.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let name = c"a-directory-with-a-name-of-some-length-so-that-the-path-grows";
    let rwx = Mode::from_raw_mode(0o700);
    for _ in 0..400 {
        rustix::fs::mkdirat(&dir, name, rwx).unwrap();
        dir = rustix::fs::openat(&dir, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let (findings, summary) = scan(tmp.path(), Limits::default());
    // The path's length is the nearer limit here.
    assert!(findings.len() > 50 && findings.len() < 256, "{}", findings.len());
    assert_eq!(summary.gap_count, 1, "{summary:?}");
    let (findings, summary) = scan(tmp.path(), Limits { max_depth: 10, ..Limits::default() });
    assert_eq!(findings.len(), 9);
    assert_eq!(summary.gaps[0].1, "deeper than 10 directories");
    fs::remove_dir_all(tmp.path()).unwrap();
}

#[test]
fn limits_end_a_scan_and_it_says_so() {
    let tmp = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    for n in 0..100 {
        fs::write(tmp.path().join(format!("f{n}")), "x").unwrap();
    }
    let (findings, summary) = scan(tmp.path(), Limits { max_entries: 40, ..Limits::default() });
    assert_eq!((findings.len(), summary.cut.as_deref()), (40, Some("more than 40 entries")));
    let (findings, summary) = scan(tmp.path(), Limits { max_findings: 30, ..Limits::default() });
    assert_eq!((findings.len(), summary.cut.as_deref()), (30, Some("more than 30 findings")));
    let scan = FileScan::of_upper(empty_image(), tmp.path(), XattrSpace::User, Limits::default()).unwrap();
    let mut steps = 0;
    let summary = scan.run(
        None,
        &mut || {
            steps += 1;
            steps < 20
        },
        &mut |_| {},
    );
    assert_eq!(summary.cut.as_deref(), Some("stopped"));
}

#[test]
fn content_beyond_the_limits_is_unknown_and_never_the_same() {
    let tmp = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let (lower, upper) = (tmp.path().join("lower"), tmp.path().join("upper"));
    for dir in [&lower, &upper] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("large"), vec![7; 5000]).unwrap();
        fs::write(dir.join("small"), "same").unwrap();
    }
    let image = Image::new(vec![Arc::new(Layer::on_disk(lower, XattrSpace::User))]);
    for (limits, why) in [
        (Limits { max_file: 1000, ..Limits::default() }, "larger than what is compared"),
        (Limits { max_bytes: 1000, ..Limits::default() }, "the scan has read as much as it may"),
    ] {
        let scan = FileScan::of_upper(image.clone(), &upper, XattrSpace::User, limits).unwrap();
        let mut found = Vec::new();
        let summary = scan.run(None, &mut || true, &mut |f| found.push((f.path, f.change, f.why)));
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let path = |p: &str| ImagePath::from_archive(p.as_bytes()).unwrap();
        assert_eq!(found[0], (path("large"), FileChange::Unknown, why.to_owned()));
        assert_eq!((&found[1].0, found[1].1), (&path("small"), FileChange::Touched));
        assert!(!summary.is_complete());
    }
}

#[test]
fn a_listing_tells_what_is_gone_from_a_whole_root() {
    let tmp = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let root = tmp.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/kept"), "kept").unwrap();
    fs::write(root.join("etc/added"), "x").unwrap();
    symlink("/etc", root.join("lib")).unwrap();
    let listing = tmp.path().join("image.mtree");
    let digest = "79f076abf8a17ef7a9b3a2b9b3b3f3c3d3e3f30313233343536373839303132ab".get(..64).unwrap();
    let text = format!(
        "#mtree\n./etc type=dir mode=0755\n./etc/kept type=file mode=0644 size=4 sha256={digest}\n\
         ./etc/gone type=file mode=0644 size=1\n./opt type=dir mode=0755\n./opt/app type=dir mode=0755\n\
         ./opt/app/x type=file mode=0755 size=1\n./lib type=dir mode=0755\n./lib/y type=file mode=0755 size=1\n"
    );
    fs::write(&listing, text).unwrap();
    let (image, _) = crate::image::load::load(&listing, &drift_formats::limits::Limits::default()).unwrap();
    let scan = FileScan::of_root(image, &root, Some(&listing), Limits::default()).unwrap();
    let mut found = Vec::new();
    let summary = scan.run(None, &mut || true, &mut |f| {
        found.push(format!("{} {}", f.change.as_str(), String::from_utf8_lossy(f.path.as_bytes())));
    });
    found.sort();
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(
        found,
        ["created /etc/added", "deleted /etc/gone", "deleted /opt", "modified /etc/kept", "modified /lib"]
    );
}
