//! Databases of the real tools (`tests/fixtures/packages/rpm/README.md`), and large or broken ones made here.

use super::*;
use crate::read_at::be16;
use proptest::prelude::*;
use std::cell::Cell;
use std::io::Read;

/// A value of a header's tag.
pub(super) enum Tag<'a> {
    Text(&'a str),
    Texts(&'a [&'a str]),
    Numbers(&'a [u32]),
}

/// A header as databases keep it, without the regions and signatures that nothing here reads.
pub(super) fn build_header(tags: &[(u32, Tag<'_>)]) -> Vec<u8> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, value) in tags {
        if matches!(value, Tag::Numbers(_)) {
            data.resize(usize::next_multiple_of(data.len(), 4), 0);
        }
        let offset = data.len() as u32;
        let mut text = |text: &str| data.extend([text.as_bytes(), b"\0"].concat());
        let (kind, count) = match value {
            Tag::Text(one) => {
                text(one);
                (6, 1)
            }
            Tag::Texts(many) => {
                many.iter().for_each(|one| text(one));
                (8, many.len())
            }
            Tag::Numbers(many) => {
                many.iter().for_each(|n| data.extend(n.to_be_bytes()));
                (4, many.len())
            }
        };
        for word in [*tag, kind, offset, count as u32] {
            index.extend(word.to_be_bytes());
        }
    }
    let counts = [(tags.len() as u32).to_be_bytes(), (data.len() as u32).to_be_bytes()].concat();
    [counts, index, data].concat()
}

fn header_of(number: usize) -> Vec<u8> {
    let name = format!("package-{number}");
    // Of many lengths: some fit on a page, some go on elsewhere.
    let long = "x".repeat(number % 9 * 1000);
    build_header(&[
        (1000, Tag::Text(&name)),
        (1001, Tag::Text("1.0")),
        (1002, Tag::Text("1")),
        (1005, Tag::Text(&long)),
    ])
}

/// An ndb database of these headers.
fn build_ndb(headers: &[Vec<u8>]) -> Vec<u8> {
    let pages = (headers.len() + 2).div_ceil(256);
    let mut slots =
        [b"RpmP".to_vec(), vec![0; 8], (pages as u32).to_le_bytes().to_vec(), vec![0; 16]].concat();
    let mut blobs = Vec::new();
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    for (i, header) in headers.iter().enumerate() {
        let whole = (16 + header.len() + 12).next_multiple_of(16);
        let block = (pages * 4096 + blobs.len()) / 16;
        slots.extend(b"Slot");
        slots.extend(words(&[i as u32 + 1, block as u32, whole as u32 / 16]));
        blobs.extend(b"BlbS");
        blobs.extend(words(&[i as u32 + 1, 0, header.len() as u32]));
        blobs.extend(header);
        blobs.resize(blobs.len() + whole - 28 - header.len(), 0);
        blobs.extend(words(&[0, header.len() as u32]));
        blobs.extend(b"BlbE");
    }
    while slots.len() < pages * 4096 {
        slots.extend([&b"Slot"[..], &[0; 12]].concat());
    }
    [slots, blobs].concat()
}

/// A Berkeley DB hash of these headers, all in one bucket; each on overflow pages.
fn build_bdb(headers: &[Vec<u8>]) -> Vec<u8> {
    const PAGE: usize = 4096;
    let set = |page: &mut [u8], at: usize, value: u32| page[at..at + 4].copy_from_slice(&value.to_le_bytes());
    let set16 = |page: &mut [u8], at: usize, value: usize| {
        page[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes())
    };
    // Page 0 is the meta page; the chain of the bucket's pages begins at 1.
    let mut pages = vec![vec![0; PAGE], vec![0; PAGE]];
    let (mut at, mut items, mut end) = (1, 0, PAGE);
    pages[1][25] = 13;
    set(&mut pages[1], 8, 1);
    for (i, header) in headers.iter().enumerate() {
        let first = pages.len() as u32;
        for (part, bytes) in header.chunks(PAGE - 26).enumerate() {
            let mut page = vec![0; PAGE];
            set(&mut page, 8, first + part as u32);
            let more = (part + 1) * (PAGE - 26) < header.len();
            set(&mut page, 16, if more { first + part as u32 + 1 } else { 0 });
            set16(&mut page, 22, bytes.len());
            page[25] = 7;
            page[26..26 + bytes.len()].copy_from_slice(bytes);
            pages.push(page);
        }
        if end < 26 + 2 * (items + 2) + 17 {
            let next = pages.len();
            let mut page = vec![0; PAGE];
            page[25] = 13;
            set(&mut page, 8, next as u32);
            set(&mut pages[at], 16, next as u32);
            pages.push(page);
            (at, items, end) = (next, 0, PAGE);
        }
        let page = &mut pages[at];
        page[end - 5] = 1;
        set(page, end - 4, i as u32 + 1);
        page[end - 17] = 3;
        set(page, end - 13, first);
        set(page, end - 9, header.len() as u32);
        set16(page, 26 + 2 * items, end - 5);
        set16(page, 28 + 2 * items, end - 17);
        (items, end) = (items + 2, end - 17);
        set16(page, 20, items);
    }
    let last = pages.len() as u32 - 1;
    for (at, value) in [(12, 0x61561), (16, 9), (20, PAGE as u32), (32, last), (72, 0), (96, 1)] {
        set(&mut pages[0], at, value);
    }
    pages[0][25] = 8;
    pages.concat()
}

/// An SQLite database with a table `Packages` of these headers: leaves, and as many levels above as it takes.
fn build_sqlite(headers: &[Vec<u8>]) -> Vec<u8> {
    const PAGE: usize = 1024;
    fn varint(value: usize) -> Vec<u8> {
        let mut out = vec![(value & 0x7f) as u8];
        let mut rest = value >> 7;
        while rest > 0 {
            out.insert(0, (rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        out
    }
    fn page_of(kind: u8, right: u32, cells: &[Vec<u8>], start: usize) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        page[start] = kind;
        page[start + 3..start + 5].copy_from_slice(&(cells.len() as u16).to_be_bytes());
        let header = if kind == 5 { 12 } else { 8 };
        if kind == 5 {
            page[start + 8..start + 12].copy_from_slice(&right.to_be_bytes());
        }
        let mut end = PAGE;
        for (i, cell) in cells.iter().enumerate() {
            end -= cell.len();
            page[end..end + cell.len()].copy_from_slice(cell);
            let at = start + header + 2 * i;
            page[at..at + 2].copy_from_slice(&(end as u16).to_be_bytes());
        }
        page
    }
    let mut pages: Vec<Vec<u8>> = vec![Vec::new()];
    let cell_of = |number: usize, row: &[u8], pages: &mut Vec<Vec<u8>>| {
        let (most, least) = (PAGE - 35, (PAGE - 12) * 32 / 255 - 23);
        let fitting = least + row.len().saturating_sub(least) % (PAGE - 4);
        let local = match (row.len() <= most, fitting <= most) {
            (true, _) => row.len(),
            (false, true) => fitting,
            (false, false) => least,
        };
        let mut cell = [varint(row.len()), varint(number), row[..local].to_vec()].concat();
        let rest: Vec<&[u8]> = row[local..].chunks(PAGE - 4).collect();
        if !rest.is_empty() {
            cell.extend((pages.len() as u32 + 1).to_be_bytes());
        }
        for (i, part) in rest.iter().enumerate() {
            let next = if i + 1 < rest.len() { pages.len() as u32 + 2 } else { 0 };
            let mut page = [&next.to_be_bytes()[..], part].concat();
            page.resize(PAGE, 0);
            pages.push(page);
        }
        cell
    };
    let mut cells = Vec::new();
    for (i, header) in headers.iter().enumerate() {
        // hnum: NULL; blob.
        let types = [vec![0], varint(12 + 2 * header.len())].concat();
        let row = [varint(types.len() + 1), types, header.clone()].concat();
        cells.push((i + 1, cell_of(i + 1, &row, &mut pages)));
    }
    // Each level's pages with their highest row number, until one page is left.
    let mut level: Vec<(usize, u32)> = Vec::new();
    let mut room: Vec<Vec<u8>> = Vec::new();
    let mut highest = 0;
    for (number, cell) in cells {
        let used: usize = room.iter().map(|c| c.len() + 2).sum();
        if used + cell.len() + 2 + 8 > PAGE {
            pages.push(page_of(13, 0, &room, 0));
            level.push((highest, pages.len() as u32));
            room.clear();
        }
        highest = number;
        room.push(cell);
    }
    pages.push(page_of(13, 0, &room, 0));
    level.push((highest, pages.len() as u32));
    while level.len() > 1 {
        level = level
            .chunks(60)
            .map(|children| {
                let (last, others) = children.split_last().unwrap();
                let cell = |(key, page): &(usize, u32)| [page.to_be_bytes().to_vec(), varint(*key)].concat();
                pages.push(page_of(5, last.1, &others.iter().map(cell).collect::<Vec<_>>(), 0));
                (last.0, pages.len() as u32)
            })
            .collect();
    }
    let root = level[0].1;
    let texts = ["table", "Packages", "Packages"];
    let types: Vec<u8> = texts.iter().map(|t| 13 + 2 * t.len() as u8).chain([4, 13]).collect();
    let schema = [vec![6], types, texts.concat().into_bytes(), root.to_be_bytes().to_vec()].concat();
    let schema = cell_of(1, &schema, &mut pages);
    pages[0] = page_of(13, 0, &[schema], 100);
    pages[0][..16].copy_from_slice(b"SQLite format 3\0");
    pages[0][16..18].copy_from_slice(&(PAGE as u16).to_be_bytes());
    pages.concat()
}

fn fixture(name: &str) -> Vec<u8> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/packages/rpm");
    let mut out = Vec::new();
    let file = std::fs::File::open(format!("{dir}/{name}.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut out).unwrap();
    out
}

const INSTALLED: &str = include_str!("../../../../tests/fixtures/packages/rpm/installed.txt");
const WITH_WAL: &str = include_str!("../../../../tests/fixtures/packages/rpm/installed-with-wal.txt");

/// Packages as the fixtures' lists have them.
fn listed(backend: Backend, database: &[u8], log: Option<&[u8]>) -> String {
    let log: Option<Box<dyn ReadAt>> = log.map(|l| Box::new(Bytes(l.to_vec())) as Box<dyn ReadAt>);
    let parsed = backend.packages(&Bytes(database.to_vec()), log.as_deref()).unwrap();
    assert_eq!(parsed.warnings, Vec::<String>::new());
    let mut lines: Vec<String> =
        parsed.value.iter().map(|p| format!("{} {} {}\n", p.name, p.version, p.architecture)).collect();
    lines.sort();
    lines.concat()
}

struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.0.as_slice().read_at(offset, buf)
    }
}

#[test]
fn databases_of_the_real_tools() {
    assert_eq!(INSTALLED.lines().count(), 33);
    for (backend, name) in [
        (Backend::Ndb, "Packages.db"),
        (Backend::Bdb, "Packages"),
        (Backend::Bdb, "Packages.big-endian"),
        (Backend::Sqlite, "rpmdb.sqlite"),
    ] {
        assert_eq!(listed(backend, &fixture(name), None), INSTALLED, "{name}");
    }
}

#[test]
fn the_log_is_read_as_far_as_it_is_committed() {
    let (database, log) = (fixture("rpmdb.sqlite"), fixture("rpmdb.sqlite-wal"));
    assert_eq!(listed(Backend::Sqlite, &database, Some(&log)), WITH_WAL);
    assert_eq!(listed(Backend::Sqlite, &database, Some(b"")), INSTALLED, "a log that was written back");
    assert_eq!(listed(Backend::Sqlite, &database, Some(&log[..40])), INSTALLED);
    // The last commit of the transactions is the last frame; without it, or with a damaged one, the one
    // before counts.
    let frame = 24 + 4096;
    let cut = listed(Backend::Sqlite, &database, Some(&log[..log.len() - frame]));
    assert!(cut != WITH_WAL && cut.lines().any(|l| l.starts_with("gamma ")), "{cut}");
    let mut damaged = log.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(listed(Backend::Sqlite, &database, Some(&damaged)), cut);
    damaged[17] ^= 1;
    assert_eq!(listed(Backend::Sqlite, &database, Some(&damaged)), INSTALLED, "a damaged header");
}

#[test]
fn files_of_a_package() {
    let mut files = Vec::new();
    let mut each = |blob: &[u8]| {
        let header = Header::parse(blob).unwrap();
        if header.package().unwrap().name == "beta" {
            header.each_file(&mut |path| files.push(String::from_utf8(path.to_vec()).unwrap()));
        }
    };
    ndb::each_header(&Bytes(fixture("Packages.db")), &mut each).unwrap();
    let want = include_str!("../../../../tests/fixtures/packages/rpm/files-of-beta.txt");
    assert_eq!(files, want.lines().collect::<Vec<_>>());
}

/// Counts bytes and calls.
struct Counting(Vec<u8>, Cell<u64>);

impl ReadAt for Counting {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.1.set(self.1.get() + buf.len() as u64);
        self.0.as_slice().read_at(offset, buf)
    }
}

#[test]
fn ten_thousand_packages_are_read_once() {
    let headers: Vec<Vec<u8>> = (0..10_000).map(header_of).collect();
    for (backend, bytes) in [
        (Backend::Ndb, build_ndb(&headers)),
        (Backend::Bdb, build_bdb(&headers)),
        (Backend::Sqlite, build_sqlite(&headers)),
    ] {
        let file = Counting(bytes, Cell::new(0));
        let started = std::time::Instant::now();
        let parsed = backend.packages(&file, None).unwrap();
        assert_eq!((parsed.value.len(), parsed.warnings.len()), (10_000, 0), "{backend:?}");
        let mut names: Vec<String> = parsed.value.into_iter().map(|p| p.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 10_000);
        assert!(file.1.get() <= file.0.len() as u64 + 512, "{backend:?}: {} bytes read", file.1.get());
        assert!(started.elapsed().as_secs() < 10, "{backend:?}: {:?}", started.elapsed());
    }
}

#[test]
fn what_is_no_database_says_so() {
    for backend in Backend::ALL {
        let e = backend.packages(&Bytes(vec![b'x'; 5000]), None).unwrap_err();
        assert!(matches!(e, Broken::Format(_)), "{e}");
        let e = backend.packages(&Bytes(Vec::new()), None).unwrap_err();
        assert!(matches!(e, Broken::Io(_)), "{e}");
    }
    let headers: Vec<Vec<u8>> = (0..20).map(header_of).collect();
    for (backend, bytes) in [
        (Backend::Ndb, build_ndb(&headers)),
        (Backend::Bdb, build_bdb(&headers)),
        (Backend::Sqlite, build_sqlite(&headers)),
    ] {
        assert!(backend.packages(&Bytes(bytes[..bytes.len() - 2000].to_vec()), None).is_err(), "{backend:?}");
    }
}

#[test]
fn circles_end() {
    let mut bdb = build_bdb(&[header_of(1)]);
    bdb[4096 + 16..4096 + 20].copy_from_slice(&1u32.to_le_bytes());
    let e = Backend::Bdb.packages(&Bytes(bdb), None).unwrap_err();
    assert!(e.to_string().contains("circle"), "{e}");
    let headers: Vec<Vec<u8>> = (0..200).map(header_of).collect();
    let mut sqlite = build_sqlite(&headers);
    // The root of the table is the last page; every child of it is now the root itself.
    let pages = sqlite.len() / 1024;
    let root = &mut sqlite[(pages - 1) * 1024..];
    assert_eq!(root[0], 5);
    root[8..12].copy_from_slice(&(pages as u32).to_be_bytes());
    let cells = usize::from(be16(root, 3).unwrap());
    for i in 0..cells {
        let at = usize::from(be16(root, 12 + 2 * i).unwrap());
        root[at..at + 4].copy_from_slice(&(pages as u32).to_be_bytes());
    }
    let e = Backend::Sqlite.packages(&Bytes(sqlite), None).unwrap_err();
    assert!(e.to_string().contains("too deep"), "{e}");
    // Slots that all mean the same large header.
    let mut ndb = build_ndb(&[vec![0; 20 << 20]]);
    let slot = ndb[32..48].to_vec();
    for at in (48..4096).step_by(16) {
        ndb[at..at + 16].copy_from_slice(&slot);
    }
    let e = Backend::Ndb.packages(&Bytes(ndb), None).unwrap_err();
    assert!(matches!(e, Broken::Limit(_)), "{e}");
}

proptest! {
    #[test]
    fn damage_never_panics(
        which in 0usize..3,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let headers: Vec<Vec<u8>> = (0..12).map(header_of).collect();
        let backend = Backend::ALL[which];
        let mut bytes = match backend {
            Backend::Sqlite => build_sqlite(&headers),
            Backend::Ndb => build_ndb(&headers),
            Backend::Bdb => build_bdb(&headers),
        };
        for (at, value) in damage {
            // Half of it where the structure is.
            let len = if value % 2 == 0 { bytes.len() } else { 200 };
            let at = at.index(len);
            bytes[at] = value;
        }
        if let Ok(parsed) = backend.packages(&Bytes(bytes.clone()), Some(&Bytes(bytes))) {
            prop_assert!(parsed.value.len() <= MAX_PACKAGES);
        }
    }
}
