//! Tables of SQLite databases that others write (sqlite.org/fileformat2.html): rpm's, podman's.
//!
//! Only what a walk through a table needs: no indexes, no text encodings (the schema's names are compared as
//! ASCII), no rollback journal (both have a write-ahead log). `crate::rpm` says why SQLite's own library is
//! not used.

mod wal;

use crate::read_at::{be16, be32, Broken, Metered, ReadAt};
use wal::Wal;

/// Length of the file's header, at the beginning of page 1.
const FILE_HEADER: usize = 100;
const INTERIOR: u8 = 0x05;
const LEAF: u8 = 0x0d;
/// Deepest tree. SQLite's own limit (`BTCURSOR_MAX_DEPTH`).
const MAX_DEPTH: usize = 20;
/// The largest row: what is read of an rpm header, and its other columns.
const MAX_ROW: usize = (32 << 20) + 4096;

/// Gives every row of a table to `each`, for [`column()`]; none where there is no such table. `log` is the
/// write-ahead log beside the database.
///
/// # Errors
/// [`Broken`]; some rows may have been given by then.
pub fn each_row(
    database: &dyn ReadAt,
    log: Option<&dyn ReadAt>,
    table: &[u8],
    each: &mut dyn FnMut(&[u8]) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let database = Database::open(Metered::new(database), log)?;
    let mut root = None;
    database.each_row(1, &mut |row| {
        // type, name, tbl_name, rootpage, sql.
        if column(row, 0) == Some(b"table") && column(row, 1) == Some(table) {
            let number = column(row, 3).filter(|n| n.len() <= 4).unwrap_or_default();
            root = Some(number.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
        }
        Ok(())
    })?;
    match root {
        Some(root) => database.each_row(root, each),
        None => Ok(()),
    }
}

struct Database<'a> {
    file: Metered<'a>,
    log: Option<Wal<'a>>,
    page_size: usize,
    /// Bytes of a page that are in use; extensions reserve the rest.
    usable: usize,
}

/// A page of the tree that the walk is in.
struct Level {
    page: Vec<u8>,
    /// Where the page's header begins.
    start: usize,
    /// The next cell.
    next: usize,
}

impl<'a> Database<'a> {
    fn open(file: Metered<'a>, log: Option<&'a dyn ReadAt>) -> Result<Self, Broken> {
        let mut header = [0; FILE_HEADER];
        file.read(0, &mut header)?;
        if !header.starts_with(b"SQLite format 3\0") {
            return Err(Broken::Format("not an SQLite database"));
        }
        let page_size = match be16(&header, 16) {
            Some(1) => 65_536,
            size => usize::from(size.unwrap_or_default()),
        };
        if !page_size.is_power_of_two() || page_size < 512 {
            return Err(Broken::Format("an SQLite page size that is none"));
        }
        let usable = page_size - usize::from(header.get(20).copied().unwrap_or_default());
        if usable < 480 {
            return Err(Broken::Format("SQLite pages with no room"));
        }
        let log = log.map(|log| Wal::read(Metered::new(log), page_size)).transpose()?;
        Ok(Self { file, log, page_size, usable })
    }

    fn page(&self, number: u32, into: &mut [u8]) -> Result<(), Broken> {
        if let Some(log) = &self.log {
            if log.page(number, into)? {
                return Ok(());
            }
        }
        let before = number.checked_sub(1).ok_or(Broken::Format("an SQLite page 0"))?;
        self.file.read(u64::from(before) * self.page_size as u64, into)
    }

    fn level(&self, number: u32) -> Result<Level, Broken> {
        let mut page = vec![0; self.page_size];
        self.page(number, &mut page)?;
        Ok(Level { page, start: if number == 1 { FILE_HEADER } else { 0 }, next: 0 })
    }

    /// Gives the rows of a table, in the order of their numbers. A tree that leads back into itself ends at
    /// the depth limit, or at the limit of bytes read.
    fn each_row(&self, root: u32, each: &mut dyn FnMut(&[u8]) -> Result<(), Broken>) -> Result<(), Broken> {
        let short = Broken::Format("an SQLite page cut short");
        let mut levels = vec![self.level(root)?];
        let mut row = Vec::new();
        while let Some(level) = levels.last_mut() {
            let (kind, cells) = level.head().ok_or(Broken::Format("an SQLite page cut short"))?;
            let at = level.next;
            level.next += 1;
            let child = match kind {
                LEAF if at < cells => {
                    let cell = level.cell(at, 8).ok_or(Broken::Format("an SQLite cell off its page"))?;
                    self.row(cell, &mut row)?;
                    each(&row)?;
                    continue;
                }
                INTERIOR if at < cells => level.cell(at, 12).and_then(|cell| be32(cell, 0)),
                // The child behind the last key.
                INTERIOR if at == cells => be32(&level.page, level.start + 8),
                LEAF | INTERIOR => {
                    levels.pop();
                    continue;
                }
                _ => return Err(Broken::Format("an SQLite page that is not of a table")),
            };
            let Some(child) = child else { return Err(short) };
            if levels.len() >= MAX_DEPTH {
                return Err(Broken::Format("an SQLite tree that is too deep"));
            }
            levels.push(self.level(child)?);
        }
        Ok(())
    }

    /// The whole content of a leaf's cell: on the page, and on overflow pages behind it.
    fn row(&self, cell: &[u8], row: &mut Vec<u8>) -> Result<(), Broken> {
        const SHORT: Broken = Broken::Format("an SQLite row cut short");
        let (len, rest) = varint(cell).ok_or(SHORT)?;
        let (_, rest) = varint(rest).ok_or(SHORT)?;
        let len = usize::try_from(len).ok().filter(|l| *l <= MAX_ROW);
        let len = len.ok_or(Broken::Limit("32 MiB in one row"))?;
        // The names are the format's: the most and the least of a row that is kept on its page.
        let most = self.usable - 35;
        let local = if len <= most {
            len
        } else {
            let least = (self.usable - 12) * 32 / 255 - 23;
            let fitting = least + (len - least) % (self.usable - 4);
            if fitting <= most {
                fitting
            } else {
                least
            }
        };
        row.clear();
        row.extend_from_slice(rest.get(..local).ok_or(SHORT)?);
        let mut number = if local < len { be32(rest, local).ok_or(SHORT)? } else { 0 };
        let mut page = vec![0; if local < len { self.page_size } else { 0 }];
        while row.len() < len {
            self.page(number, &mut page)?;
            let part = page.get(4..self.usable).unwrap_or_default();
            row.extend_from_slice(part.get(..len - row.len()).unwrap_or(part));
            number = be32(&page, 0).ok_or(SHORT)?;
        }
        Ok(())
    }
}

impl Level {
    /// Kind of page, and number of cells.
    fn head(&self) -> Option<(u8, usize)> {
        let kind = *self.page.get(self.start)?;
        Some((kind, usize::from(be16(&self.page, self.start + 3)?)))
    }

    /// A cell, up to the end of the page; their offsets follow the page's header of `header` bytes.
    fn cell(&self, number: usize, header: usize) -> Option<&[u8]> {
        let offset = be16(&self.page, self.start + header + 2 * number)?;
        self.page.get(usize::from(offset)..)
    }
}

/// A number of one to nine bytes, seven bits each, the ninth whole.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        if at == 8 {
            return Some((value << 8 | u64::from(*byte), bytes.get(9..)?));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

/// The bytes of a row's column: text, a blob, or a big-endian number. `None` for NULL, and where there is
/// none.
pub fn column(row: &[u8], want: usize) -> Option<&[u8]> {
    let (header, _) = varint(row)?;
    let header = usize::try_from(header).ok()?;
    let mut types = row.get(..header)?;
    types = varint(types)?.1;
    let mut at = header;
    for number in 0..=want {
        let (kind, rest) = varint(types)?;
        types = rest;
        let len = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            text_or_blob => (text_or_blob - 12) / 2,
        };
        let end = at.checked_add(usize::try_from(len).ok()?)?;
        if number == want {
            return row.get(at..end).filter(|_| kind != 0);
        }
        at = end;
    }
    None
}
