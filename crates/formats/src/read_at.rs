//! Databases that are read where they lie: with a bound on what is read of each, whatever their pages say.

use std::cell::Cell;
use std::os::unix::fs::FileExt;

/// The most bytes read of one database. The package databases of full desktop systems have some 300 MB.
const MAX_READ: u64 = 1 << 30;

/// A database that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The kernel's answer.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is not what the format demands.
    #[error("{0}")]
    Format(&'static str),
    /// It asks for more than is read of one database.
    #[error("more than {0}")]
    Limit(&'static str),
}

/// Something that can be read at an offset.
pub trait ReadAt {
    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// The kernel's; `UnexpectedEof` where the data ends before `buf` is full.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()>;
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        let from = usize::try_from(offset).ok();
        let part = from.and_then(|from| self.get(from..from.checked_add(buf.len())?));
        buf.copy_from_slice(part.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.as_slice().read_at(offset, buf)
    }
}

impl ReadAt for std::fs::File {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.read_exact_at(buf, offset)
    }
}

/// Reads, and counts: a few pages that point at each other must not keep a thread busy for ever.
pub(crate) struct Metered<'a> {
    inner: &'a dyn ReadAt,
    left: Cell<u64>,
}

impl<'a> Metered<'a> {
    pub(crate) fn new(inner: &'a dyn ReadAt) -> Self {
        Self { inner, left: Cell::new(MAX_READ) }
    }

    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Broken> {
        let left = self.left.get().checked_sub(buf.len() as u64);
        self.left.set(left.ok_or(Broken::Limit("1 GiB of a database to read"))?);
        Ok(self.inner.read_at(offset, buf)?)
    }

    /// Appends `len` bytes to `out`. Memory grows as the data is found to be there, not by what is claimed.
    pub(crate) fn append(&self, mut offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), Broken> {
        let mut left = len;
        while left > 0 {
            let part = left.min(64 << 10);
            let at = out.len();
            out.resize(at + part, 0);
            self.read(offset, out.get_mut(at..).unwrap_or_default())?;
            offset += part as u64;
            left -= part;
        }
        Ok(())
    }
}

/// A little-endian number at an offset; `None` where the bytes end before.
pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// As [`le32`], of 16 bits.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// As [`le32`], big-endian.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    le32(bytes, at).map(u32::swap_bytes)
}

/// As [`be32`], of 16 bits.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}
