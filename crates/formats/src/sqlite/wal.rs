//! SQLite's write-ahead log (sqlite.org/fileformat2.html#the_write_ahead_log): pages that were committed, but
//! not written into the database yet.
//!
//! rpm writes the log into the database when it closes it, unless somebody else is reading. A log may also
//! hold what the database has already: its pages are then the same.

use crate::read_at::{be32, le32, Broken, Metered};
use std::collections::HashMap;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The last bit says in which order checksums take the words: 1 for big-endian.
const MAGIC: u32 = 0x377f_0682;
/// The most pages of a log. rpm writes a log into the database after 10,000.
const MAX_FRAMES: u64 = 1 << 18;

/// The newest committed version of each page in a log.
pub(super) struct Wal<'a> {
    file: Metered<'a>,
    /// Offsets of pages by their number.
    pages: HashMap<u32, u64>,
}

impl<'a> Wal<'a> {
    /// Reads a log up to its last commit. What follows is of transactions that did not end, or of an earlier
    /// use of the file: it is told by its salt and checksum. An empty log, or one whose header is damaged,
    /// has no pages, as SQLite takes it.
    ///
    /// # Errors
    /// [`Broken`].
    pub(super) fn read(file: Metered<'a>, page_size: usize) -> Result<Self, Broken> {
        let mut wal = Self { file, pages: HashMap::new() };
        let mut header = [0; HEADER];
        match wal.file.read(0, &mut header) {
            Err(Broken::Io(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(wal),
            other => other?,
        }
        let magic = be32(&header, 0).unwrap_or_default();
        if magic & !1 != MAGIC || be32(&header, 8) != u32::try_from(page_size).ok() {
            return Ok(wal);
        }
        let big_endian = magic & 1 == 1;
        let mut sum = checksum((0, 0), header.get(..24).unwrap_or_default(), big_endian);
        if sum_at(&header, 24) != Some(sum) {
            return Ok(wal);
        }
        let salt = header.get(16..24).unwrap_or_default().to_vec();
        let mut frame = vec![0; FRAME_HEADER + page_size];
        let mut uncommitted = Vec::new();
        let mut offset = HEADER as u64;
        for _ in 0..MAX_FRAMES {
            match wal.file.read(offset, &mut frame) {
                Err(Broken::Io(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(wal),
                other => other?,
            }
            let (head, page) = frame.split_at_checked(FRAME_HEADER).unwrap_or_default();
            sum = checksum(sum, head.get(..8).unwrap_or_default(), big_endian);
            sum = checksum(sum, page, big_endian);
            if head.get(8..16) != Some(salt.as_slice()) || sum_at(head, 16) != Some(sum) {
                return Ok(wal);
            }
            uncommitted.push((be32(head, 0).unwrap_or_default(), offset + FRAME_HEADER as u64));
            // The size of the database after a commit; 0 in all other frames.
            if be32(head, 4) != Some(0) {
                wal.pages.extend(uncommitted.drain(..));
            }
            offset += frame.len() as u64;
        }
        Err(Broken::Limit("262144 pages in an SQLite log"))
    }

    /// Reads a page; false where the log has none of that number.
    pub(super) fn page(&self, number: u32, into: &mut [u8]) -> Result<bool, Broken> {
        match self.pages.get(&number) {
            Some(offset) => self.file.read(*offset, into).map(|()| true),
            None => Ok(false),
        }
    }
}

fn sum_at(bytes: &[u8], at: usize) -> Option<(u32, u32)> {
    Some((be32(bytes, at)?, be32(bytes, at + 4)?))
}

fn checksum(start: (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let word = |at| if big_endian { be32(bytes, at) } else { le32(bytes, at) }.unwrap_or_default();
    (0..bytes.len()).step_by(8).fold(start, |(s0, s1), at| {
        let s0 = s0.wrapping_add(word(at)).wrapping_add(s1);
        (s0, s1.wrapping_add(word(at + 4)).wrapping_add(s0))
    })
}
