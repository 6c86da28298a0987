//! rpm's database: one header (`header`) for each installed package, kept in one of three containers, of which a
//! directory has one: SQLite (`sqlite`, since Fedora 33), ndb (`ndb`, SUSE), Berkeley DB (`bdb`, before).
//!
//! Containers are read where they lie, one header in memory at a time: a database may be larger than what Drift wants
//! to hold. A container that is damaged gives an error and no packages: half a list would look like removed packages.
//!
//! SQLite's own library is not used: its `sqlite3_deserialize` refuses a database in WAL mode, as rpm keeps it, so the
//! log would have to be laid over the database here in any case (`wal`). What is then left to do is one table's b-tree:
//! less code than the settings that make a megabyte of C safe on a hostile file.

pub mod bdb;
pub mod header;
pub mod ndb;
pub mod sqlite;
mod wal;

use super::Parsed;
use header::{Header, RpmPackage};
use std::cell::Cell;
use std::os::unix::fs::FileExt;

/// The largest header read, bytes. rpm allows 256 MB; those of kernels and texlive have a few.
pub const MAX_HEADER: usize = 32 << 20;

/// The most bytes read of one database. Full desktop systems have some 300 MB.
const MAX_READ: u64 = 1 << 30;

/// The most packages read.
const MAX_PACKAGES: usize = 100_000;

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

impl ReadAt for std::fs::File {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.read_exact_at(buf, offset)
    }
}

/// Reads, and counts: a few pages that point at each other must not keep a thread busy for ever.
struct Metered<'a> {
    inner: &'a dyn ReadAt,
    left: Cell<u64>,
}

impl<'a> Metered<'a> {
    fn new(inner: &'a dyn ReadAt) -> Self {
        Self { inner, left: Cell::new(MAX_READ) }
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Broken> {
        let left = self.left.get().checked_sub(buf.len() as u64);
        self.left.set(left.ok_or(Broken::Limit("1 GiB of a package database to read"))?);
        Ok(self.inner.read_at(offset, buf)?)
    }

    /// Appends `len` bytes to `out`. Memory grows as the data is found to be there, not by what is claimed.
    fn append(&self, mut offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), Broken> {
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

/// Takes the headers of a database, one after the other.
pub type EachHeader<'a> = dyn FnMut(&[u8]) + 'a;

/// Which container a database is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// `rpmdb.sqlite`, and `rpmdb.sqlite-wal` beside it.
    Sqlite,
    /// `Packages.db`.
    Ndb,
    /// `Packages`.
    Bdb,
}

impl Backend {
    /// All of them, current ones first: rpm leaves old databases behind when it converts one.
    pub const ALL: [Self; 3] = [Self::Sqlite, Self::Ndb, Self::Bdb];

    /// The file with the headers.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Sqlite => "rpmdb.sqlite",
            Self::Ndb => "Packages.db",
            Self::Bdb => "Packages",
        }
    }

    /// The file with what has not been written into that one yet.
    pub fn log_name(self) -> Option<&'static str> {
        matches!(self, Self::Sqlite).then_some("rpmdb.sqlite-wal")
    }

    /// Gives every header of a database to `each`. `log` is the content of [`Self::log_name`]'s file.
    ///
    /// # Errors
    /// [`Broken`]; some headers may have been given by then.
    pub fn each_header(
        self,
        database: &dyn ReadAt,
        log: Option<&dyn ReadAt>,
        each: &mut EachHeader<'_>,
    ) -> Result<(), Broken> {
        match self {
            Self::Sqlite => sqlite::each_header(database, log, each),
            Self::Ndb => ndb::each_header(database, each),
            Self::Bdb => bdb::each_header(database, each),
        }
    }

    /// The packages of a database.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn packages(
        self,
        database: &dyn ReadAt,
        log: Option<&dyn ReadAt>,
    ) -> Result<Parsed<Vec<RpmPackage>>, Broken> {
        let mut parsed = Parsed::new(Vec::new());
        let mut number = 0;
        self.each_header(database, log, &mut |blob| {
            number += 1;
            match Header::parse(blob).and_then(|header| header.package()) {
                Ok(package) => parsed.value.push(package),
                Err(why) => parsed.warn_of(|| format!("header {number}: {why}")),
            }
        })?;
        Ok(parsed)
    }
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    le32(bytes, at).map(u32::swap_bytes)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

#[cfg(test)]
#[path = "rpm_tests.rs"]
mod tests;
