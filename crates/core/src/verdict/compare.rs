//! Comparison of a file's content with the image's.
//!
//! Bounded: a file that differs in size is not read; others are read in pieces, up to the size that the first
//! look gave, whatever the file does meanwhile.

use rustix::fs::FileType;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};

/// Bytes read at a time.
const PIECE: usize = 64 << 10;

/// How two contents compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Byte for byte the same.
    Same,
    /// Not the same.
    Different,
}

/// Compares two open regular files by size, then by content.
///
/// # Errors
/// Reading failed, one of them is no regular file, or `keep_going` said stop (`Interrupted`).
pub fn same_content(
    a: &mut File,
    b: &mut File,
    mut keep_going: impl FnMut() -> bool,
) -> io::Result<Comparison> {
    let (size_a, size_b) = (regular_size(a)?, regular_size(b)?);
    if size_a != size_b {
        return Ok(Comparison::Different);
    }
    let (mut piece_a, mut piece_b) = (vec![0; PIECE], vec![0; PIECE]);
    let mut left = size_a;
    while left > 0 {
        if !keep_going() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let want = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let (Some(into_a), Some(into_b)) = (piece_a.get_mut(..want), piece_b.get_mut(..want)) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (got_a, got_b) = (read_full(a, into_a)?, read_full(b, into_b)?);
        if got_a != got_b || into_a.get(..got_a) != into_b.get(..got_b) {
            return Ok(Comparison::Different);
        }
        if got_a < want {
            // Both were cut short at the same place since they were looked at.
            return Ok(Comparison::Same);
        }
        left -= want as u64;
    }
    Ok(Comparison::Same)
}

/// SHA-256 of a file's first `max` bytes; `None` if it is longer.
///
/// # Errors
/// Reading failed, it is no regular file, or `keep_going` said stop (`Interrupted`).
pub fn sha256(
    file: &mut File,
    max: u64,
    mut keep_going: impl FnMut() -> bool,
) -> io::Result<Option<[u8; 32]>> {
    if regular_size(file)? > max {
        return Ok(None);
    }
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut read = 0u64;
    loop {
        if !keep_going() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let got = file.read(&mut piece)?;
        if got == 0 {
            return Ok(Some(hasher.finalize().into()));
        }
        read += got as u64;
        if read > max {
            return Ok(None);
        }
        hasher.update(piece.get(..got).unwrap_or_default());
    }
}

fn regular_size(file: &File) -> io::Result<u64> {
    let stat = rustix::fs::fstat(file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(u64::try_from(stat.st_size).unwrap_or(0)),
        other => Err(io::Error::other(format!("{other:?} is not a regular file"))),
    }
}

fn read_full(file: &mut File, into: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = into.get_mut(got..).filter(|r| !r.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> File {
        use std::io::{Seek, Write};
        let mut f = tempfile::tempfile().unwrap();
        f.write_all(content).unwrap();
        f.rewind().unwrap();
        f
    }

    #[test]
    fn contents_compare_by_size_then_bytes() {
        let big = vec![7u8; PIECE * 2 + 13];
        let mut other = big.clone();
        *other.last_mut().unwrap() = 8;
        for (a, b, want) in [
            (&b""[..], &b""[..], Comparison::Same),
            (b"abc", b"abc", Comparison::Same),
            (b"abc", b"abd", Comparison::Different),
            (b"abc", b"abcd", Comparison::Different),
            (&big, &big, Comparison::Same),
            (&big, &other, Comparison::Different),
        ] {
            assert_eq!(same_content(&mut file(a), &mut file(b), || true).unwrap(), want);
        }
        let mut pieces = 0;
        let stopped = same_content(&mut file(&big), &mut file(&big), || {
            pieces += 1;
            pieces < 2
        });
        assert_eq!(stopped.unwrap_err().kind(), io::ErrorKind::Interrupted, "between two pieces");
    }

    #[test]
    fn digests_are_bounded_and_right() {
        // NIST FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(drift_formats::bytes::hex(&sha256(&mut file(b"abc"), 3, || true).unwrap().unwrap()), abc);
        assert_eq!(sha256(&mut file(b"abc"), 2, || true).unwrap(), None);
        assert_eq!(sha256(&mut file(b"abc"), 3, || false).unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert!(sha256(&mut File::open("/").unwrap(), 3, || true).is_err());
    }
}
