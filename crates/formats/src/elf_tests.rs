use proptest::prelude::*;

use super::*;

const ET_EXEC: u16 = 2;
const INTERP: u32 = 3;
const DYNAMIC: u32 = 2;
const NOTE: u32 = 4;
const LOAD: u32 = 1;
const R: u32 = 4;
const RX: u32 = 5;
const RWX: u32 = 7;

/// A little-endian ELF64 file of these segments (type, flags, content), as the ELF specification lays it out,
/// with a section table of these types behind them; none where there are no types.
fn elf(kind: u16, machine: u16, segments: &[(u32, u32, &[u8])], sections: &[u32]) -> Vec<u8> {
    let data_at = 64 + 56 * segments.len();
    let data_len: usize = segments.iter().map(|(_, _, data)| data.len()).sum();
    let sections_at = if sections.is_empty() { 0 } else { data_at + data_len };
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    out.extend(kind.to_le_bytes());
    out.extend(machine.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend(0u64.to_le_bytes());
    out.extend(64u64.to_le_bytes());
    out.extend((sections_at as u64).to_le_bytes());
    out.extend(0u32.to_le_bytes());
    for half in [64, 56, segments.len(), 64, sections.len(), 0] {
        out.extend((half as u16).to_le_bytes());
    }
    let mut at = data_at as u64;
    for (kind, flags, data) in segments {
        out.extend(kind.to_le_bytes());
        out.extend(flags.to_le_bytes());
        for field in [at, 0, 0, data.len() as u64, data.len() as u64, 1] {
            out.extend(field.to_le_bytes());
        }
        at += data.len() as u64;
    }
    for (_, _, data) in segments {
        out.extend_from_slice(data);
    }
    for kind in sections {
        out.extend([0u8; 4]);
        out.extend(kind.to_le_bytes());
        out.extend([0u8; 56]);
    }
    out
}

fn whole(bytes: &[u8]) -> ElfTraits {
    traits(bytes, bytes.len() as u64)
}

fn dynamic(entries: &[(u64, u64)]) -> Vec<u8> {
    entries.iter().flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat()).collect()
}

fn note(name: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [name.len() as u32, desc.len() as u32, kind] {
        out.extend(word.to_le_bytes());
    }
    out.extend_from_slice(name);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(desc);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// Bytes of about 8 bits of entropy: a linear congruential generator's high bytes.
fn noise(len: usize) -> Vec<u8> {
    let mut x = 1u64;
    std::iter::repeat_with(|| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    })
    .take(len)
    .collect()
}

fn host() -> u16 {
    host_machine().expect("tests run on a machine with a known processor").0
}

#[test]
fn no_elf() {
    assert_eq!(whole(b""), ElfTraits::default());
    assert_eq!(whole(b"MZ\x90"), ElfTraits::default());
    let script = whole(b"#!/bin/sh\n");
    assert!(script.script && !script.elf);
    assert_eq!(script.names().collect::<Vec<_>>(), ["script"]);
    assert_eq!(whole(b"\x7fELF"), ElfTraits { elf: true, ..ElfTraits::default() });
}

#[test]
fn linking() {
    let needed = dynamic(&[(1, 5), (0, 0)]);
    let pie_needed = dynamic(&[(1, 5), (0x6fff_fffb, 0x0800_0001), (0, 0)]);
    let static_pie = dynamic(&[(0x6fff_fffb, 0x0800_0001), (0, 0), (1, 5)]);
    type Row<'a> = (&'a str, u16, Vec<(u32, u32, &'a [u8])>, bool, bool);
    let rows: Vec<Row> = vec![
        // (what, type, segments, static, shared)
        ("static", ET_EXEC, vec![(LOAD, RX, b"code")], true, false),
        ("dynamic", ET_EXEC, vec![(INTERP, R, b"/lib/ld.so\0"), (DYNAMIC, R, &needed)], false, false),
        ("pie", ET_DYN, vec![(INTERP, R, b"/lib/ld.so\0"), (DYNAMIC, R, &pie_needed)], false, false),
        (
            "interpreter without libraries",
            ET_DYN,
            vec![(INTERP, R, b"/lib/ld.so\0"), (DYNAMIC, R, &static_pie)],
            false,
            false,
        ),
        ("static-pie", ET_DYN, vec![(DYNAMIC, R, &static_pie)], true, false),
        ("library", ET_DYN, vec![(DYNAMIC, R, &needed)], false, true),
        ("library without libraries", ET_DYN, vec![(DYNAMIC, R, b"")], false, true),
    ];
    for (what, kind, segments, is_static, shared) in rows {
        let found = whole(&elf(kind, host(), &segments, &[0]));
        assert_eq!((found.static_linked, found.shared), (Some(is_static), Some(shared)), "{what}");
        assert_eq!(found.foreign_arch, Some(false), "{what}");
    }
}

#[test]
fn symbols() {
    let make = |sections: &[u32]| elf(ET_EXEC, host(), &[(LOAD, RX, b"code")], sections);
    assert_eq!(whole(&make(&[0, 1, 2, 3])).stripped, Some(false));
    assert_eq!(whole(&make(&[0, 1, 11])).stripped, Some(true), "a dynamic symbol table alone");
    assert_eq!(whole(&make(&[])).stripped, Some(true));
    let with = make(&[0, 2]);
    let head = &with[..with.len() - 1];
    assert_eq!(traits(head, with.len() as u64).stripped, None, "the table is cut off");
    let before = &with[..64 + 56 + 4];
    assert_eq!(traits(before, with.len() as u64).stripped, None, "the table lies behind the bytes at hand");
    assert_eq!(whole(before).stripped, Some(true), "the table lies behind the file's end");
    // Read apart, the table tells.
    let at = section_table(before, with.len() as u64).unwrap();
    assert_eq!(at, 124..124 + 128);
    assert_eq!(stripped(before, with.len() as u64, &with[124..252]), Some(false));
    assert_eq!(stripped(before, with.len() as u64, &with[124..251]), None);
    assert_eq!(section_table(&with, with.len() as u64), None, "it is at hand");
    assert_eq!(section_table(before, before.len() as u64), None, "there is none");
    // Segments are still read.
    assert_eq!(traits(before, with.len() as u64).static_linked, Some(true));
}

#[test]
fn go() {
    let gnu = note(b"GNU\0", 3, &[1; 20]);
    let go = note(b"Go\0\0", 4, b"build-id/x");
    let both = [gnu.clone(), go.clone()].concat();
    for (notes, want) in [(&go, true), (&both, true), (&gnu, false)] {
        assert_eq!(whole(&elf(ET_EXEC, host(), &[(NOTE, R, notes)], &[])).go, Some(want));
    }
    let bytes = elf(ET_EXEC, host(), &[(NOTE, R, &go)], &[]);
    assert_eq!(traits(&bytes[..64 + 56 + 5], bytes.len() as u64).go, None);
}

#[test]
fn packed() {
    let noise = noise(64 << 10);
    let plain = b"\x48\x89\xe5\x0f\x1f\x44\x00\x00".repeat(4096);
    let upx = [&b"\0\0\0\0UPX!"[..], &[0; 100]].concat();
    let row = |flags, data: &[u8], sections: &[u32]| {
        whole(&elf(ET_EXEC, host(), &[(LOAD, flags, data)], sections)).packed
    };
    assert_eq!(row(RX, &upx, &[]), Some(true), "UPX's loader information");
    assert_eq!(row(RX, &noise, &[]), Some(true), "no sections, and noise for code");
    assert_eq!(row(RWX, &noise, &[0, 1]), Some(true), "writable code that is noise");
    assert_eq!(row(RX, &noise, &[0, 1]), Some(false), "an ordinary file with packed data in it");
    assert_eq!(row(RX, &plain, &[]), Some(false));
    assert_eq!(row(RX, b"short", &[]), None, "too little to tell");
    assert_eq!(row(R, &noise, &[]), None, "no code at all");
}

#[test]
fn other_machines() {
    let other = if host() == 62 { 183 } else { 62 };
    assert_eq!(whole(&elf(ET_EXEC, other, &[], &[])).foreign_arch, Some(true));
    // The same machine number in the other byte order, 32 bits wide.
    let mut big = elf(ET_EXEC, host(), &[], &[]);
    big[5] = 2;
    big[16..20].copy_from_slice(&[0, 2, (host() >> 8) as u8, host() as u8]);
    assert_eq!(whole(&big).foreign_arch, Some(true));
}

#[test]
fn absurd_headers_cost_nothing() {
    let mut many = elf(ET_EXEC, host(), &[(LOAD, RX, b"code")], &[0]);
    many[56..58].copy_from_slice(&u16::MAX.to_le_bytes());
    assert_eq!(whole(&many).static_linked, None);
    let mut far = elf(ET_EXEC, host(), &[(LOAD, RX, b"code")], &[0]);
    far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(whole(&far).static_linked, None);
    // e_shnum 0 with a table: the first section's size is the count, here 2^64 - 1.
    let mut extended = elf(ET_EXEC, host(), &[], &[0]);
    extended[60..62].fill(0);
    let at = extended.len() - 64 + 32;
    extended[at..at + 8].fill(0xff);
    assert_eq!(whole(&extended).stripped, None);
    // Hundreds of segments over the same noise are counted once.
    let noise = noise(1 << 20);
    let mut file = elf(ET_EXEC, host(), &[(LOAD, RWX, &noise[..])], &[]);
    let header: Vec<u8> = file[64..120].to_vec();
    let at = file.len();
    for _ in 0..2000 {
        file.extend_from_slice(&header);
    }
    file[32..40].copy_from_slice(&(at as u64).to_le_bytes());
    file[56..58].copy_from_slice(&2000u16.to_le_bytes());
    let start = std::time::Instant::now();
    assert_eq!(whole(&file).packed, Some(true));
    assert!(start.elapsed().as_secs() < 5);
}

fn own_bytes() -> (Vec<u8>, u64) {
    let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let size = bytes.len() as u64;
    (bytes, size)
}

#[test]
fn this_test_program() {
    let (bytes, size) = own_bytes();
    let found = traits(&bytes, size);
    assert!(found.elf && !found.script);
    assert_eq!((found.stripped, found.packed, found.go), (Some(false), Some(false), Some(false)));
    assert_eq!((found.foreign_arch, found.shared), (Some(false), Some(false)));
    if cfg!(target_env = "gnu") {
        assert_eq!(found.static_linked, Some(false));
    }
    // From the head alone: the same, or not known.
    let head = traits(&bytes[..HEAD.min(bytes.len())], size);
    assert!(head.stripped.is_none_or(|s| !s) && head.static_linked == found.static_linked);
}

proptest! {
    #[test]
    fn never_panics(raw in prop::collection::vec(any::<u8>(), 0..400), size in any::<u64>()) {
        let elf = [b"\x7fELF\x02\x01\x01", &raw[..]].concat();
        let _ = (traits(&raw, size), traits(&elf, size), whole(&elf), stripped(&elf, size, &raw));
    }

    #[test]
    fn never_panics_on_mutated_headers(
        edits in prop::collection::vec((0usize..800, prop_oneof![any::<u8>(), Just(0), Just(0xff)]), 1..20),
        cut in 0usize..3000,
        class in 1u8..=2,
        data in 1u8..=2,
    ) {
        let (bytes, size) = {
            static OWN: std::sync::OnceLock<(Vec<u8>, u64)> = std::sync::OnceLock::new();
            let (bytes, size) = OWN.get_or_init(|| { let (mut b, s) = own_bytes(); b.truncate(4096); (b, s) });
            (bytes.clone(), *size)
        };
        let mut bytes = bytes;
        bytes[4] = class;
        bytes[5] = data;
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        let _ = traits(&bytes, size);
        bytes.truncate(cut);
        let _ = traits(&bytes, size);
        let _ = whole(&bytes);
    }
}
