use std::collections::BTreeMap;
use std::io::Write;

use flate2::{write::GzEncoder, Compression};
use proptest::prelude::*;

use super::*;

/// What a sink was told, by path.
#[derive(Default)]
struct Told(BTreeMap<Vec<u8>, Entry>);

impl LayerSink for Told {
    fn entry(&mut self, path: &ImagePath, entry: Entry) -> Result<(), LimitExceeded> {
        self.0.insert(path.as_bytes().to_vec(), entry);
        Ok(())
    }
    fn whiteout(&mut self, _: &ImagePath) -> Result<(), LimitExceeded> {
        unreachable!("mtree has no whiteouts")
    }
    fn opaque(&mut self, _: &ImagePath) -> Result<(), LimitExceeded> {
        unreachable!("mtree has no opaque directories")
    }
}

fn told(text: &[u8]) -> (Told, Summary) {
    let mut sink = Told::default();
    let summary = read(text, &Limits::default(), &mut sink).unwrap();
    (sink, summary)
}

fn refused(text: &[u8]) -> String {
    read(text, &Limits::default(), &mut Told::default()).unwrap_err().to_string()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(data).unwrap();
    out.finish().unwrap()
}

/// The tree that every fixture lists: path, kind, mode, size, link, first byte of the SHA-256.
fn check_fixture_tree(sink: &Told, usr_bin_mode: u16) {
    use FileKind::{Directory as D, Other as O, Regular as F, Symlink as L};
    type Row<'a> = (&'a [u8], FileKind, u16, u64, Option<&'a [u8]>, Option<u8>);
    // SHA-256 of "hi\n" is 98ea6e…, of "q\n" 4adc33…, of "u\n" ea4674…, of "n\n" a4fb62…, of "z" 594e51….
    let rows: &[Row] = &[
        (b"/", D, 0o755, 0, None, None),
        (b"/null", O, 0o644, 0, None, None),
        (b"/pipe", O, 0o644, 0, None, None),
        (b"/a dir", D, 0o755, 0, None, None),
        (b"/a dir/b#c\td=e", F, 0o644, 2, None, Some(0x4a)),
        ("/a dir/ü\\x*[?]".as_bytes(), F, 0o644, 2, None, Some(0xea)),
        (b"/deep", D, 0o755, 0, None, None),
        (b"/deep/\x01\x7f\xff", F, 0o644, 1, None, Some(0x59)),
        (b"/deep/l", L, 0o777, 0, Some(b"to space#x"), None),
        (b"/deep/er", D, 0o755, 0, None, None),
        (b"/deep/er/new\nline", F, 0o644, 2, None, Some(0xa4)),
        (b"/usr", D, 0o755, 0, None, None),
        (b"/usr/lnk", L, 0o777, 0, Some(b"../bin/x"), None),
        (b"/usr/bin", D, usr_bin_mode, 0, None, None),
        (b"/usr/bin/hard", F, 0o4755, 3, None, Some(0x98)),
        (b"/usr/bin/x", F, 0o4755, 3, None, Some(0x98)),
    ];
    for (path, kind, mode, size, link, sha) in rows {
        let name = String::from_utf8_lossy(path);
        let entry = sink.0.get(*path).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!((entry.kind, entry.mode, entry.size), (*kind, *mode, *size), "{name}");
        assert_eq!(entry.link.as_deref(), *link, "{name}");
        assert_eq!(entry.sha256.map(|s| s[0]), *sha, "{name}");
    }
    assert_eq!(sink.0.len(), rows.len(), "{:?}", sink.0.keys());
}

#[test]
fn bsdtar_with_full_paths() {
    let (sink, summary) = told(include_bytes!("../../../tests/fixtures/mtree/bsdtar.mtree"));
    check_fixture_tree(&sink, 0o755);
    assert_eq!((summary.entries, summary.files, summary.hashed), (16, 6, 6));
}

#[test]
fn bsdtar_with_defaults_and_continued_lines() {
    check_fixture_tree(&told(include_bytes!("../../../tests/fixtures/mtree/bsdtar-set.mtree")).0, 0o755);
}

#[test]
fn bsdtar_classic_with_nested_names() {
    check_fixture_tree(&told(include_bytes!("../../../tests/fixtures/mtree/bsdtar-classic.mtree")).0, 0o755);
}

#[test]
fn umoci_with_nested_names() {
    check_fixture_tree(&told(include_bytes!("../../../tests/fixtures/mtree/umoci.mtree")).0, 0o755);
}

#[test]
fn small_things_of_the_format() {
    let hash = "AB".repeat(32);
    let text = format!(
        "#mtree\n\n   # indented comment \\\n/set type=file mode=0644\n\
         ./a size=1 nochange optional sha256={hash}\n\
         b\tsize=2\ttime=1.5 mode=100755\r\n\
         /unset mode\n\
         ./c type=link link=x\\040y\n\
         ./s type=socket\n\
         ./blk type=block mode=660 size=9\n\
         ./z type=file mode=600 \\\n  size=3 \\\n\n\
         ./tail\\\\ size=4 mode=1"
    );
    let (sink, summary) = told(text.as_bytes());
    let get = |p: &str| sink.0.get(p.as_bytes()).unwrap_or_else(|| panic!("{p}"));
    assert_eq!(get("/a").sha256, Some([0xab; 32]));
    assert_eq!((get("/b").mode, get("/b").size), (0o755, 2));
    assert_eq!(get("/c").link.as_deref(), Some(&b"x y"[..]));
    assert_eq!((get("/s").kind, get("/s").mode), (FileKind::Other, 0));
    assert_eq!((get("/blk").kind, get("/blk").size), (FileKind::Other, 0));
    assert_eq!((get("/z").mode, get("/z").size), (0o600, 3));
    assert_eq!(get("/tail\\").size, 4);
    assert_eq!((summary.entries, summary.files), (7, 4));
    // "/a" "/b" "/c" "/s" "/z" (2 each), "/blk" (4), "/tail\" (6), and the link's "x y" (3).
    assert_eq!(summary.name_bytes, 5 * 2 + 4 + 6 + 3);
}

#[test]
fn names_enter_and_leave_directories() {
    let (sink, _) = told(
        b"/set type=dir mode=755\n.\nusr\nbin\nls type=file size=1\n..\n./etc/full\nlib\n..\n..\nopt\n..\n..\n",
    );
    let paths: Vec<_> = sink.0.keys().map(|p| String::from_utf8_lossy(p).into_owned()).collect();
    // A full path does not move the current directory.
    assert_eq!(paths, ["/", "/etc/full", "/opt", "/usr", "/usr/bin", "/usr/bin/ls", "/usr/lib"]);
}

#[test]
fn paths_out_of_the_tree_are_refused_with_line_and_path() {
    for (text, want) in [
        ("#mtree\n./../etc/passwd type=file mode=644 size=1\n", "line 2"),
        ("./usr/../../etc/passwd type=file mode=644 size=1\n", "./usr/../../etc/passwd"),
        ("./\\056\\056/x type=file mode=644 size=1\n", "./../x"),
        ("\\056. type=file mode=644 size=1\n", "in disguise"),
        ("a\\057b type=file mode=644 size=1\n", "escaped slash"),
        ("a\\000b type=file mode=644 size=1\n", "NUL"),
        ("..\n", "above the root"),
        (". type=dir mode=755\n..\n..\n", "line 3 of the mtree manifest: `..` goes above the root"),
        ("./a type=dir mode=755\n..\n", "line 2"),
    ] {
        let got = refused(text.as_bytes());
        assert!(got.contains(want), "{text:?}: {got}");
    }
}

#[test]
fn bad_values_are_refused_by_name() {
    for (text, want) in [
        ("./a type=whatever mode=644\n", "type=\"whatever\" is not one of file"),
        ("./a type=file mode=u=rwx size=1\n", "mode=\"u=rwx\" is not an octal"),
        ("./a type=file mode=689 size=1\n", "mode=\"689\""),
        ("./a type=file mode=644 size=-1\n", "size=\"-1\""),
        ("./a type=file mode=644 size=+1\n", "size=\"+1\""),
        ("./a type=file mode=644 size=99999999999999999999\n", "size="),
        ("./a type=file mode=644 size=1 sha256=abc\n", "64 hexadecimal"),
        ("./a type=link mode=777\n", "\"/a\" has no link="),
        ("./a mode=644 size=1\n", "\"/a\" has no type="),
        ("./a type=file size=1\n", "\"/a\" has no mode="),
        ("./a type=file mode=644\n", "\"/a\" has no size="),
        ("./a\\q type=file mode=644 size=1\n", "vis(3)"),
        ("/set size=x\n", "line 1"),
        ("", "lists no file"),
        ("#mtree\n", "lists no file"),
        ("just some text\n", "has no type="),
    ] {
        let got = refused(text.as_bytes());
        assert!(got.contains(want), "{text:?}: {got}");
    }
}

#[test]
fn gzip_whole_cut_and_corrupt() {
    let text = include_bytes!("../../../tests/fixtures/mtree/bsdtar.mtree");
    let packed = gzip(text);
    check_fixture_tree(&told(&packed).0, 0o755);
    // Two members, one file: as `cat a.gz b.gz` makes.
    let (a, b) = text.split_at(300);
    check_fixture_tree(&told(&[gzip(a), gzip(b)].concat()).0, 0o755);

    for cut in [20, packed.len() / 2, packed.len() - 9, packed.len() - 1] {
        assert!(read(&packed[..cut], &Limits::default(), &mut Told::default()).is_err(), "cut at {cut}");
    }
    let mut corrupt = packed.clone();
    let at = corrupt.len() - 6;
    corrupt[at] ^= 0xff;
    let got = refused(&corrupt);
    assert!(got.contains("reading the mtree manifest"), "{got}");
    assert!(refused(&[0x28, 0xb5, 0x2f, 0xfd, 0]).contains("zstd"));
}

#[test]
fn limits_hold() {
    let text = "./aaaa type=dir mode=755\n".repeat(10);
    let with =
        |limits: Limits, input: &[u8]| read(input, &limits, &mut Told::default()).map_err(|e| e.to_string());
    assert!(with(Limits { max_files: 10, ..Limits::default() }, text.as_bytes()).is_ok());
    assert!(with(Limits { max_files: 9, ..Limits::default() }, text.as_bytes())
        .unwrap_err()
        .contains("more than 9 files"));
    assert!(with(Limits { max_name_bytes: 50, ..Limits::default() }, text.as_bytes()).is_ok());
    assert!(with(Limits { max_name_bytes: 49, ..Limits::default() }, text.as_bytes())
        .unwrap_err()
        .contains("more than 49 bytes of names"));
    assert!(with(Limits { max_line: 25, ..Limits::default() }, text.as_bytes()).is_ok());
    assert!(with(Limits { max_line: 24, ..Limits::default() }, text.as_bytes())
        .unwrap_err()
        .contains("line 1"));
    // A bomb: a small file that unpacks to far more than is allowed.
    let bomb = gzip("./aaaa type=dir mode=755\n".repeat(100_000).as_bytes());
    assert!(bomb.len() < 20_000);
    assert!(with(Limits { max_unpacked: 1 << 20, ..Limits::default() }, &bomb)
        .unwrap_err()
        .contains("more than 1048576 bytes"));
    // Continuation lines cannot make one line endless.
    let endless = "\\\n".repeat(100_000);
    assert!(with(Limits::default(), endless.as_bytes()).unwrap_err().contains("longer than"));
}

#[test]
fn depth_is_bounded() {
    let dots = format!("/set type=dir mode=755\n{}", ".\n".repeat(5000));
    assert!(refused(dots.as_bytes()).contains("levels of directories"));
    let names = format!("/set type=dir mode=755\n{}", "d\n".repeat(5000));
    assert!(refused(names.as_bytes()).contains("longer than 4096"));
}

#[test]
fn files_that_are_none_are_refused_on_opening() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(open(dir.path(), &Limits::default(), &mut Told::default()), Err(MtreeError::NotAFile)));
    let missing = open(&dir.path().join("no"), &Limits::default(), &mut Told::default()).unwrap_err();
    assert!(matches!(missing, MtreeError::Io(e) if e.kind() == std::io::ErrorKind::NotFound));
}

/// The image of the shared captures, where they are at hand (beside the checkout).
#[test]
fn manifest_of_the_captured_image() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/captures/image.mtree.gz");
    if !path.is_file() {
        return;
    }
    let mut sink = Told::default();
    let summary = open(&path, &Limits::default(), &mut sink).unwrap();
    assert_eq!(summary.entries, 14_413);
    assert_eq!((summary.files, summary.hashed), (11_577, 11_577));
    assert_eq!(sink.0.values().filter(|e| e.kind == FileKind::Symlink).count(), 1_110);
    assert_eq!(sink.0[&b"/bin"[..]].link.as_deref(), Some(&b"usr/bin"[..]));
}

proptest! {
    #[test]
    fn never_panics(raw in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&raw[..], &Limits::default(), &mut Told::default());
    }

    #[test]
    fn never_panics_on_what_looks_right(words in prop::collection::vec(prop_oneof![
        Just("/set "), Just("/unset "), Just("..\n"), Just(". "), Just("./a/b "), Just("name "), Just("\\040"),
        Just("type=dir "), Just("type=file "), Just("type=link "), Just("link=x "), Just("mode=755 "), Just("size=1 "),
        Just("sha256="), Just("\\\n"), Just("\n"), Just("#"), Just("="), Just("\\M"), Just("all"),
    ], 0..60)) {
        let text = words.concat();
        let mut sink = Told::default();
        let _ = read(text.as_bytes(), &Limits::default(), &mut sink);
        for path in sink.0.keys() {
            prop_assert!(path.starts_with(b"/") && !path.split(|b| *b == b'/').any(|c| c == b".."));
        }
    }

    /// Any names survive being written as bsdtar writes them.
    #[test]
    fn names_come_back(names in prop::collection::btree_set(
        prop::collection::vec(any::<u8>().prop_filter("no name has it", |b| *b != 0 && *b != b'/'), 1..20)
            .prop_filter("special", |n| n != b"." && n != b".."), 1..10)) {
        let mut text = String::from("#mtree\n");
        for name in &names {
            let escaped: String = name.iter().map(|b| format!("\\{b:03o}")).collect();
            text += &format!("./{escaped} type=file mode=644 size=0\n");
        }
        let (sink, _) = told(text.as_bytes());
        let got: Vec<_> = sink.0.keys().map(|p| p[1..].to_vec()).collect();
        prop_assert_eq!(got, names.into_iter().collect::<Vec<_>>());
    }
}
