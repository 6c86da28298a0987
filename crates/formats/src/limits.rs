//! How much a manifest source may hold: what bounds the work and the memory of every parser here.

use std::io::{self, Read};

/// Bounds for reading one source (an mtree file, or one layer of an image).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub max_files: u64,
    /// Bytes of all paths and link targets together.
    pub max_name_bytes: u64,
    /// Bytes in one line of a text manifest, continuation lines included.
    pub max_line: u64,
    /// Bytes after decompression.
    pub max_unpacked: u64,
    /// Bytes of one JSON document (index, manifest, config).
    pub max_json: u64,
}

impl Default for Limits {
    /// Twice to ten times what the largest images seen in practice need.
    fn default() -> Self {
        Self {
            max_files: 4_000_000,
            max_name_bytes: 512 << 20,
            // A path and a link target of 4096 bytes each, every byte written as four (`\040`), and keywords.
            max_line: 64 << 10,
            max_unpacked: 64 << 30,
            max_json: 4 << 20,
        }
    }
}

/// Reads at most `limit` bytes and fails on the next, instead of ending as if the input were complete.
#[derive(Debug)]
pub struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Bounded<R> {
    /// Lets `limit` bytes through.
    pub fn new(inner: R, limit: u64) -> Self {
        Self { inner, left: limit, limit }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            // At the limit exactly is fine, if nothing follows.
            let mut one = [0u8; 1];
            return match self.inner.read(&mut one)? {
                0 => Ok(0),
                _ => Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("unpacks to more than {} bytes", self.limit),
                )),
            };
        }
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let (head, _) = buf.split_at_mut(want);
        let got = self.inner.read(head)?;
        self.left = self.left.saturating_sub(got as u64);
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_fails_past_its_limit_and_not_at_it() {
        let mut out = Vec::new();
        assert_eq!(Bounded::new(&b"12345"[..], 5).read_to_end(&mut out).unwrap(), 5);
        let err = Bounded::new(&b"123456"[..], 5).read_to_end(&mut out).unwrap_err();
        assert!(err.to_string().contains("more than 5 bytes"), "{err}");
        assert_eq!(Bounded::new(&b""[..], 0).read_to_end(&mut out).unwrap(), 0);
    }
}
