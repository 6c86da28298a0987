//! rpm's containers and headers: the first byte says which.
#![no_main]
use drift::packages::rpm::header::Header;
use drift::packages::rpm::{Backend, ReadAt};

/// Bytes as a file.
struct File<'a>(&'a [u8]);

impl ReadAt for File<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, buf)
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    // A log needs a database beside it: the input's halves.
    let (database, log) = match which {
        3 => bytes.split_at(bytes.len() / 2),
        _ => (bytes, &b""[..]),
    };
    let backend = match which {
        0 => Backend::Ndb,
        1 => Backend::Bdb,
        2 | 3 => Backend::Sqlite,
        _ => {
            if let Ok(header) = Header::parse(bytes) {
                let _ = header.package();
                header.each_file(&mut |path| assert!(path.starts_with(b"/")));
            }
            return;
        }
    };
    let _ = backend.packages(&File(database), Some(&File(log)));
});
