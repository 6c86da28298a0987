//! rpm's database: one header (`header`) for each installed package, kept in one of three containers, of
//! which a directory has one: SQLite ([`crate::sqlite`], since Fedora 33), ndb (`ndb`, SUSE), Berkeley DB
//! (`bdb`, before).
//!
//! Containers are read where they lie, one header in memory at a time: a database may be larger than what
//! Drift wants to hold. A container that is damaged gives an error and no packages: half a list would look
//! like removed packages.
//!
//! SQLite's own library is not used: its `sqlite3_deserialize` refuses a database in WAL mode, as rpm keeps
//! it, so the log would have to be laid over the database here in any case. What is then left to do is one
//! table's b-tree: less code than the settings that make a megabyte of C safe on a hostile file.

pub mod bdb;
pub mod header;
pub mod ndb;

use crate::packages::Parsed;
use crate::sqlite;
use header::{Header, RpmPackage};

pub use crate::read_at::{Broken, ReadAt};

/// The largest header read, bytes. rpm allows 256 MB; those of kernels and texlive have a few.
pub(crate) const MAX_HEADER: usize = 32 << 20;

/// The most packages read.
const MAX_PACKAGES: usize = 100_000;

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
            Self::Sqlite => sqlite_headers(database, log, each),
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

/// The headers of the table `Packages` (rpm's lib/backend/sqlite.c). A database that rpm has just made, and
/// not filled yet, has no tables.
fn sqlite_headers(
    database: &dyn ReadAt,
    log: Option<&dyn ReadAt>,
    each: &mut EachHeader<'_>,
) -> Result<(), Broken> {
    let mut packages = 0;
    sqlite::each_row(database, log, b"Packages", &mut |row| {
        packages += 1;
        if packages > MAX_PACKAGES {
            return Err(Broken::Limit("100000 packages"));
        }
        // hnum (which is the row's own number, so that the column is NULL), blob.
        each(sqlite::column(row, 1).ok_or(Broken::Format("an SQLite row without a header"))?);
        Ok(())
    })
}

#[cfg(test)]
#[path = "rpm_tests.rs"]
mod tests;
