use super::*;
use proptest::prelude::*;
use std::io::Read;

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../../tests/fixtures/declared/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut out).unwrap();
    out
}

fn get(db: &[u8], path: &[&[u8]]) -> Result<Option<Vec<u8>>, BoltError> {
    ask(&db, |db| db.get(path))
}

#[test]
fn values_of_a_real_database_are_found() {
    // containerd 1.6's, with 260 leases, so that buckets have pages of branches.
    let db = fixture("containerd-meta.db.gz");
    let image = get(&db, &[b"v1", b"probe", b"containers", b"c1", b"image"]).unwrap();
    assert_eq!(image.as_deref(), Some(&b"localhost/probe:1"[..]));
    for i in 1..=260 {
        let lease = format!("lease-with-a-long-name-to-fill-pages-{i:03}");
        let path: [&[u8]; 6] = [b"v1", b"probe", b"leases", lease.as_bytes(), b"labels", b"k"];
        assert_eq!(get(&db, &path).unwrap().as_deref(), Some(&b"v"[..]), "{lease}");
    }
    let absent: [&[&[u8]]; 6] = [
        &[],
        &[b"v2"],
        &[b"v1"],
        &[b"v1", b"probe", b"containers", b"c2", b"image"],
        &[b"v1", b"version", b"x"],
        &[b"v1", b"probe", b"leases", b"zzz", b"labels"],
    ];
    for path in absent {
        assert_eq!(get(&db, path).unwrap(), None, "{path:?}");
    }
}

#[test]
fn one_of_two_meta_pages_is_enough() {
    let whole = fixture("containerd-meta.db.gz");
    let path: [&[u8]; 5] = [b"v1", b"probe", b"containers", b"c1", b"snapshotter"];
    let mut good = 0;
    for page in [0, 4096] {
        let mut db = whole.clone();
        db[page + HEADER + 60] ^= 1;
        good += usize::from(get(&db, &path).unwrap().is_some());
    }
    // The older root still knows the container.
    assert_eq!(good, 2);
    let mut neither = whole.clone();
    neither[HEADER + 60] ^= 1;
    neither[4096 + HEADER + 60] ^= 1;
    assert!(matches!(get(&neither, &path), Err(BoltError::Damaged(_))));
    assert!(get(b"", &path).is_err() && get(&whole[..100], &path).is_err());
}

#[test]
fn lengths_that_promise_more_than_there_is_take_no_memory() {
    let file = tempfile::tempfile().unwrap();
    assert_eq!(Pages::read_at(&file, 0, usize::MAX).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(Pages::read_at(&file, u64::MAX, 2).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_database_that_changes_meanwhile_is_asked_again() {
    struct Changing(std::cell::RefCell<Vec<u8>>, std::cell::Cell<u32>);
    impl Pages for Changing {
        fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
            let mut db = self.0.borrow_mut();
            if offset != 0 && offset != 4096 && self.1.get() > 0 {
                // A commit while a page is read: the older meta page is written with the next number.
                self.1.set(self.1.get() - 1);
                let number = |db: &[u8], page| u64_at(db, page + HEADER + 48).unwrap();
                let (old, new) = if number(&db, 0) < number(&db, 4096) { (0, 4096) } else { (4096, 0) };
                let next = number(&db, new) + 1;
                db.copy_within(new + HEADER..new + HEADER + META_SUMMED, old + HEADER);
                db[old + HEADER + 48..old + HEADER + 56].copy_from_slice(&next.to_ne_bytes());
                let sum = fnv1a(&db[old + HEADER..old + HEADER + META_SUMMED]);
                db[old + HEADER + 56..old + HEADER + 64].copy_from_slice(&sum.to_ne_bytes());
            }
            (&db[..]).read_at(offset, len)
        }
    }
    let path: [&[u8]; 5] = [b"v1", b"probe", b"containers", b"c1", b"image"];
    let changing = |times| Changing(fixture("containerd-meta.db.gz").into(), std::cell::Cell::new(times));
    assert!(ask(&changing(2), |db| db.get(&path)).unwrap().is_some());
    assert!(matches!(ask(&changing(u32::MAX), |db| db.get(&path)), Err(BoltError::Busy)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_is_an_error_or_absence_never_a_panic(
        at in prop::collection::vec((0usize..131_072, any::<u8>()), 1..40), cut in 0usize..=131_072
    ) {
        let mut db = fixture("containerd-meta.db.gz");
        for (at, byte) in at {
            let len = db.len();
            db[at % len] = byte;
        }
        db.truncate(cut.max(1));
        let _ = get(&db, &[b"v1", b"probe", b"containers", b"c1", b"image"]);
    }

    #[test]
    fn any_bytes_are_no_database(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(get(&bytes, &[b"v1"]).is_err());
    }
}
