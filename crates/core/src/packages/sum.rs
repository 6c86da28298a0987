//! Checksums of files, against those that package databases record.

use drift_formats::packages::Checksum;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;

/// Bytes read at a time.
const PIECE: usize = 64 << 10;

/// Whether a file has a checksum; `None` where it is longer than `max`, or cannot be read.
pub(crate) fn has_sum(
    file: &mut File,
    sum: Checksum,
    max: u64,
    keep_going: &mut dyn FnMut() -> bool,
) -> Option<bool> {
    let mut digest = |hasher: &mut dyn FnMut(&[u8])| {
        let (mut piece, mut left) = (vec![0; PIECE], max);
        while keep_going() {
            match file.read(&mut piece).ok()? {
                0 => return Some(()),
                n => {
                    left = left.checked_sub(n as u64)?;
                    hasher(piece.get(..n)?);
                }
            }
        }
        None
    };
    match sum {
        Checksum::Md5(want) => {
            let mut hasher = Md5::new();
            digest(&mut |bytes| hasher.update(bytes))?;
            Some(hasher.finalize().as_slice() == want)
        }
        Checksum::Sha1(want) => {
            let mut hasher = Sha1::new();
            digest(&mut |bytes| hasher.update(bytes))?;
            Some(hasher.finalize().as_slice() == want)
        }
        Checksum::Sha256(want) => {
            let mut hasher = Sha256::new();
            digest(&mut |bytes| hasher.update(bytes))?;
            Some(hasher.finalize().as_slice() == want)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_long_proves_nothing() {
        let tmp = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(tmp.path(), "hello").unwrap();
        for (sum, want) in [
            ("5d41402abc4b2a76b9719d911017c592", true),
            ("aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", true),
            ("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", true),
            ("5d41402abc4b2a76b9719d911017c593", false),
        ] {
            let sum = Checksum::from_hex(sum.as_bytes()).unwrap();
            let has = |max| has_sum(&mut File::open(tmp.path()).unwrap(), sum, max, &mut || true);
            assert_eq!((has(5), has(4)), (Some(want), None), "{sum:?}");
        }
    }
}
