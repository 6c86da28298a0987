//! Writes mtree(5) manifests as [`crate::mtree`] reads them.
//!
//! Invariant: what is written is read back the same, whatever bytes the names hold.

use crate::entry::{Entry, FileKind, ImagePath};
use crate::vis::vis;
use std::io::{self, Write};

/// Writes the first line.
///
/// # Errors
/// The output's.
pub fn write_head(out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"#mtree\n")
}

/// Writes one path. Names are full paths, so the order does not matter.
///
/// # Errors
/// The output's.
pub fn write_entry(out: &mut impl Write, path: &ImagePath, entry: &Entry) -> io::Result<()> {
    out.write_all(b"./")?;
    out.write_all(&vis(path.as_bytes().get(1..).unwrap_or_default()))?;
    let kind = match entry.kind {
        FileKind::Regular => "file",
        FileKind::Directory => "dir",
        FileKind::Symlink => "link",
        // Which of the others it is, an entry does not tell, and nothing that reads it asks.
        FileKind::Other => "char",
    };
    write!(out, " type={kind} mode={:04o}", entry.mode)?;
    if entry.kind == FileKind::Regular {
        write!(out, " size={}", entry.size)?;
    }
    if let Some(sha256) = &entry.sha256 {
        write!(out, " sha256={}", crate::bytes::hex(sha256))?;
    }
    if let Some(link) = &entry.link {
        out.write_all(b" link=")?;
        out.write_all(&vis(link))?;
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::super::entry::{LayerSink, LimitExceeded};
    use super::super::limits::Limits;
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Collect(Vec<(ImagePath, Entry)>);

    impl LayerSink for Collect {
        fn entry(&mut self, path: &ImagePath, entry: Entry) -> Result<(), LimitExceeded> {
            self.0.push((path.clone(), entry));
            Ok(())
        }
        fn whiteout(&mut self, _: &ImagePath) -> Result<(), LimitExceeded> {
            unreachable!("a listing has no whiteouts")
        }
        fn opaque(&mut self, _: &ImagePath) -> Result<(), LimitExceeded> {
            unreachable!("a listing has no opaque directories")
        }
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            any::<u8>(),
            Just(b'\n'),
            Just(b' '),
            Just(b'\\'),
            Just(b'#'),
            Just(b'='),
            Just(b'.')
        ];
        prop::collection::vec(byte.prop_filter("no name has it", |b| *b != 0 && *b != b'/'), 1..12)
            .prop_filter("these are no names", |n| n != b"." && n != b"..")
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let target = prop::collection::vec(any::<u8>().prop_filter("NUL", |b| *b != 0), 0..20);
        (0..4u8, 0..0o10000u16, any::<u64>(), target, any::<Option<[u8; 32]>>()).prop_map(
            |(kind, mode, size, link, sha256)| match kind {
                0 => Entry { kind: FileKind::Regular, mode, size, link: None, sha256 },
                1 => Entry { kind: FileKind::Directory, mode, size: 0, link: None, sha256: None },
                2 => Entry { kind: FileKind::Symlink, mode, size: 0, link: Some(link.into()), sha256: None },
                _ => Entry { kind: FileKind::Other, mode, size: 0, link: None, sha256: None },
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            rows in prop::collection::vec((prop::collection::vec(name(), 1..4), entry()), 1..20)
        ) {
            let mut text = Vec::new();
            write_head(&mut text).unwrap();
            let mut want = vec![(
                ImagePath::root(),
                Entry { kind: FileKind::Directory, mode: 0o755, size: 0, link: None, sha256: None },
            )];
            for (names, entry) in rows {
                let mut path = ImagePath::root();
                for name in names {
                    path = path.join(&name).unwrap();
                }
                want.push((path, entry));
            }
            for (path, entry) in &want {
                write_entry(&mut text, path, entry).unwrap();
            }
            let mut read = Collect::default();
            super::super::mtree::read(text.as_slice(), &Limits::default(), &mut read).unwrap();
            prop_assert_eq!(read.0, want);
        }
    }
}
