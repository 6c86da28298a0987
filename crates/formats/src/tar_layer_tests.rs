use std::collections::BTreeMap;

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::digest::Digest;

/// What a sink was told, by path.
#[derive(Debug, Default, PartialEq)]
struct Told {
    entries: BTreeMap<String, Entry>,
    whiteouts: Vec<String>,
    opaque: Vec<String>,
}

fn text(path: &ImagePath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}

impl LayerSink for Told {
    fn entry(&mut self, path: &ImagePath, entry: Entry) -> Result<(), LimitExceeded> {
        self.entries.insert(text(path), entry);
        Ok(())
    }
    fn whiteout(&mut self, path: &ImagePath) -> Result<(), LimitExceeded> {
        self.whiteouts.push(text(path));
        Ok(())
    }
    fn opaque(&mut self, dir: &ImagePath) -> Result<(), LimitExceeded> {
        self.opaque.push(text(dir));
        Ok(())
    }
}

fn told(tar: &[u8]) -> Result<Told, LayerError> {
    let mut sink = Told::default();
    read_tar(tar, &Limits::default(), &mut sink)?;
    Ok(sink)
}

/// A header whose name is put in as it is: the tar crate refuses the names that matter here.
fn header(kind: EntryType, name: &[u8], mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_cksum();
    header
}

fn link(kind: EntryType, name: &[u8], target: &[u8]) -> Header {
    let mut header = header(kind, name, 0o777, 0);
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
    header.set_cksum();
    header
}

fn archive(build: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().unwrap()
}

#[test]
fn files_links_and_directories() {
    let tar = archive(|b| {
        b.append(&header(EntryType::Directory, b"usr/", 0o755, 0), &[][..]).unwrap();
        b.append(&header(EntryType::Regular, b"./usr/a", 0o104755, 3), &b"abc"[..]).unwrap();
        b.append(&header(EntryType::Regular, b"usr/empty", 0o600, 0), &[][..]).unwrap();
        b.append(&link(EntryType::Link, b"usr/hard", b"usr/a"), &[][..]).unwrap();
        b.append(&link(EntryType::Symlink, b"usr/sym", b"../../etc/x"), &[][..]).unwrap();
        b.append(&link(EntryType::Link, b"usr/hardsym", b"./usr/sym"), &[][..]).unwrap();
        b.append(&header(EntryType::Char, b"dev/null", 0o666, 0), &[][..]).unwrap();
        b.append(&header(EntryType::Fifo, b"p", 0o600, 0), &[][..]).unwrap();
    });
    let told = told(&tar).unwrap();
    let file = Entry {
        kind: FileKind::Regular,
        mode: 0o4755,
        size: 3,
        link: None,
        sha256: Some(*Digest::of(b"abc").as_bytes()),
    };
    assert_eq!(told.entries["/usr"].kind, FileKind::Directory);
    assert_eq!(told.entries["/usr/a"], file);
    assert_eq!(told.entries["/usr/hard"], file);
    assert_eq!(told.entries["/usr/empty"].sha256, Some(*Digest::of(b"").as_bytes()));
    assert_eq!(told.entries["/usr/sym"].link.as_deref(), Some(&b"../../etc/x"[..]));
    assert_eq!(told.entries["/usr/hardsym"], told.entries["/usr/sym"]);
    assert_eq!(told.entries["/dev/null"].kind, FileKind::Other);
    assert_eq!(told.entries["/p"].kind, FileKind::Other);
    assert_eq!(told.entries.len(), 8);
}

#[test]
fn whiteouts_and_opaque_directories() {
    let tar = archive(|b| {
        for name in
            [&b"etc/.wh.passwd"[..], b".wh.top", b"opt/.wh..wh..opq", b".wh..wh..opq", b".wh..wh.plnk"]
        {
            b.append(&header(EntryType::Regular, name, 0, 0), &[][..]).unwrap();
        }
    });
    let told = told(&tar).unwrap();
    assert_eq!(told.whiteouts, ["/etc/passwd", "/top"]);
    assert_eq!(told.opaque, ["/opt", "/"]);
    assert!(told.entries.is_empty());
    for name in [&b"a/.wh."[..], b"a/.wh..", b"a/.wh..."] {
        let tar = archive(|b| b.append(&header(EntryType::Regular, name, 0, 0), &[][..]).unwrap());
        assert!(matches!(super::tests::told(&tar), Err(LayerError::Whiteout(_))), "{name:?}");
    }
}

#[test]
fn long_names_of_gnu_and_pax() {
    let long = format!("opt/{}/{}", "d".repeat(120), "f".repeat(200));
    let target = format!("/{}", "t".repeat(300));
    let tar = archive(|b| {
        // The tar crate writes GNU long names where a name does not fit.
        let mut h = header(EntryType::Regular, b"", 0o644, 1);
        b.append_data(&mut h, &long, &b"x"[..]).unwrap();
        let mut h = header(EntryType::Symlink, b"", 0o777, 0);
        b.append_link(&mut h, "sym", &target).unwrap();
        b.append_pax_extensions([
            ("path", "päx/name".as_bytes()),
            ("size", b"5"),
            ("SCHILY.xattr.security.capability", b"\x01\x00\n=\x02"),
        ])
        .unwrap();
        // What the ustar header says is overridden, its size too.
        let mut data = header(EntryType::Regular, b"short", 0o755, 5);
        data.set_size(0);
        data.set_cksum();
        b.get_mut().extend_from_slice(data.as_bytes());
        b.get_mut().extend_from_slice(b"hello");
        b.get_mut().extend_from_slice(&[0; 507]);
        b.append_pax_extensions([("linkpath", b"pax target".as_slice())]).unwrap();
        b.append(&link(EntryType::Symlink, b"l", b"short"), &[][..]).unwrap();
        b.append(&header(EntryType::XGlobalHeader, b"pax_global_header", 0, 0), &[][..]).unwrap();
        b.append(&header(EntryType::Regular, b"after", 0o644, 0), &[][..]).unwrap();
    });
    let told = told(&tar).unwrap();
    assert_eq!(told.entries[&format!("/{long}")].size, 1);
    assert_eq!(told.entries["/sym"].link.as_deref(), Some(target.as_bytes()));
    assert_eq!(told.entries["/päx/name"].sha256, Some(*Digest::of(b"hello").as_bytes()));
    assert_eq!(told.entries["/päx/name"].size, 5);
    assert_eq!(told.entries["/l"].link.as_deref(), Some(&b"pax target"[..]));
    assert!(told.entries.contains_key("/after") && !told.entries.contains_key("/short"));
    assert_eq!(told.entries.len(), 5);
}

#[test]
fn empty_number_fields_are_zero() {
    let mut h = header(EntryType::Directory, b"d", 0, 0);
    h.as_old_mut().mode = [0; 8];
    h.as_old_mut().size = [0; 12];
    h.set_cksum();
    let tar = archive(|b| b.append(&h, &[][..]).unwrap());
    assert_eq!(told(&tar).unwrap().entries["/d"].mode, 0);
}

#[test]
fn ustar_prefix_is_part_of_the_name() {
    let mut h = Header::new_ustar();
    h.set_path(format!("{}/name", "p".repeat(120))).unwrap();
    h.set_size(0);
    h.set_mode(0o644);
    h.set_cksum();
    let tar = archive(|b| b.append(&h, &[][..]).unwrap());
    assert!(told(&tar).unwrap().entries.contains_key(&format!("/{}/name", "p".repeat(120))));
}

#[test]
fn paths_out_of_the_image_are_refused() {
    for name in [&b"../etc/passwd"[..], b"usr/../../x", b"usr/..", b"../.wh.x"] {
        let tar = archive(|b| b.append(&header(EntryType::Regular, name, 0o644, 0), &[][..]).unwrap());
        let err = told(&tar).unwrap_err().to_string();
        assert!(err.contains("`..`") && err.contains(std::str::from_utf8(name).unwrap()), "{err}");
    }
    let tar = archive(|b| b.append(&link(EntryType::Link, b"a", b"../x"), &[][..]).unwrap());
    assert!(matches!(told(&tar), Err(LayerError::Path { .. })));
    let tar = archive(|b| b.append(&link(EntryType::Link, b"a", b"nowhere"), &[][..]).unwrap());
    assert!(told(&tar).unwrap_err().to_string().contains("\"nowhere\", which is not in this layer"));
}

#[test]
fn broken_archives_are_errors() {
    let tar = archive(|b| {
        b.append(&header(EntryType::Regular, b"f", 0o644, 2000), &[7u8; 2000][..]).unwrap();
    });
    assert!(told(&tar).is_ok());
    // Without the end marker and the last padding it still is whole; below that it is not.
    assert!(told(&tar[..512 + 2000]).is_ok());
    for cut in [100, 511, 513, 512 + 1999] {
        assert!(told(&tar[..cut]).unwrap_err().to_string().contains("cut short"), "cut at {cut}");
    }
    let mut flipped = tar.clone();
    flipped[0] ^= 1;
    assert!(told(&flipped).unwrap_err().to_string().contains("checksum does not match"));
    assert!(told(&[b'x'; 512]).is_err());
    assert_eq!(told(b"").unwrap(), Told::default());

    let mut sparse = header(EntryType::GNUSparse, b"s", 0o644, 0);
    sparse.set_cksum();
    let tar = archive(|b| b.append(&sparse, &[][..]).unwrap());
    assert!(told(&tar).unwrap_err().to_string().contains("sparse"));
    let tar = archive(|b| b.append(&header(EntryType::new(b'Z'), b"z", 0o644, 0), &[][..]).unwrap());
    assert!(told(&tar).unwrap_err().to_string().contains("'Z'"));
    // A long name that claims a gigabyte is refused before it is read.
    let tar = archive(|b| {
        b.get_mut().extend_from_slice(header(EntryType::GNULongName, b"n", 0, 1 << 30).as_bytes())
    });
    assert!(told(&tar).unwrap_err().to_string().contains("exceed 1 MiB"));
    for bad in [&b"5 a=b\n"[..], b"99 path=x\n", b"x path=x\n", b"7 pathx\n", b"18446744073709551616 a=b\n"] {
        let tar = archive(|b| {
            b.append(&header(EntryType::XHeader, b"x", 0, bad.len() as u64), bad).unwrap();
            b.append(&header(EntryType::Regular, b"f", 0, 0), &[][..]).unwrap();
        });
        assert!(told(&tar).unwrap_err().to_string().contains("malformed"), "{bad:?}");
    }
}

#[test]
fn limits_hold() {
    let tar = archive(|b| {
        for name in [&b"a"[..], b"bb", b"ccc"] {
            b.append(&header(EntryType::Regular, name, 0o644, 0), &[][..]).unwrap();
        }
    });
    let with = |limits: Limits| read_tar(&tar[..], &limits, &mut Told::default()).map_err(|e| e.to_string());
    assert!(with(Limits { max_files: 3, max_name_bytes: 6, ..Limits::default() }).is_ok());
    assert!(with(Limits { max_files: 2, ..Limits::default() }).unwrap_err().contains("more than 2 files"));
    assert!(with(Limits { max_name_bytes: 5, ..Limits::default() })
        .unwrap_err()
        .contains("more than 5 bytes of names"));
}

proptest! {
    #[test]
    fn never_panics(raw in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = told(&raw);
    }

    /// Any bytes in the header's fields, with a checksum that lets them be looked at.
    #[test]
    fn never_panics_on_odd_headers(
        edits in prop::collection::vec((0usize..512, any::<u8>()), 0..12),
        flag in prop::sample::select(&b"0123457LKxgS\0"[..]),
        data in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut h = header(EntryType::new(flag), b"some/name", 0o644, data.len() as u64);
        for (at, byte) in edits {
            h.as_mut_bytes()[at] = byte;
        }
        h.set_cksum();
        let mut tar = h.as_bytes().to_vec();
        tar.extend_from_slice(&data);
        tar.resize(tar.len().next_multiple_of(512), 0);
        tar.extend_from_slice(header(EntryType::Regular, b"end", 0o644, 0).as_bytes());
        if let Ok(told) = told(&tar) {
            prop_assert!(told.entries.keys().all(|p| p.starts_with('/') && !p.split('/').any(|c| c == "..")));
        }
    }
}
