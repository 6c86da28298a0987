//! The framing of a tar archive: headers, with the long names of GNU tar and pax, and where their data lies.
//!
//! Invariant: nothing is held in memory but one header's names, and those are bounded. (The tar crate's own
//! iterator reads a long name of any size an archive claims, so only its header type is used.)

use std::io::{self, Read, Seek, SeekFrom};

/// A tar block, in bytes.
const BLOCK: usize = 512;

/// The most that one GNU long name or one pax header may hold, in bytes. Extended attributes live in pax
/// headers.
const MAX_EXTENDED: u64 = 1 << 20;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// Reading failed, or the data ended early.
    #[error("reading the tar archive: {0}")]
    Io(#[from] io::Error),
    /// A header that is not one.
    #[error("tar header at byte {at}: {what}")]
    Header {
        /// Offset in the uncompressed archive.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An entry kind that is not read.
    #[error("tar entry {path:?}: {what}")]
    Unsupported {
        /// Name as stored.
        path: String,
        /// What it is.
        what: String,
    },
}

/// What an archive entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TarKind {
    /// A regular file; its data follows.
    Regular,
    /// Another name for an entry of this archive.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A device or FIFO.
    Other,
}

/// One entry's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarHeader {
    /// Kind.
    pub kind: TarKind,
    /// Name, as stored.
    pub path: Vec<u8>,
    /// Target of a link, as stored; empty for anything else.
    pub link: Vec<u8>,
    /// Permission bits.
    pub mode: u16,
    /// Bytes of data that follow; 0 for anything but a regular file.
    pub size: u64,
}

/// Goes through an archive header by header.
#[derive(Debug)]
pub struct TarFrames<R> {
    input: R,
    /// Offset in the archive.
    at: u64,
    /// Bytes of the current entry's data not yet read, and of its padding.
    left: u64,
    padding: u64,
}

#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Read> TarFrames<R> {
    /// Begins at the archive's first byte.
    pub fn new(input: R) -> Self {
        Self { input, at: 0, left: 0, padding: 0 }
    }

    /// The reader, wherever it stands.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// Offset of the current entry's data.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Skips what is left of the current entry and reads the next header; `None` at the archive's end.
    ///
    /// # Errors
    /// [`TarError`]; the archive cannot be read further.
    pub fn next_header(&mut self) -> Result<Option<TarHeader>, TarError> {
        let rest = self.left.saturating_add(self.padding);
        let skipped = io::copy(&mut (&mut self.input).take(rest), &mut io::sink())?;
        self.at = self.at.saturating_add(skipped);
        // Padding may be missing at the very end of an archive; data may not.
        if skipped < self.left {
            return Err(cut_short());
        }
        self.header()
    }

    /// Reads from the current entry's data.
    ///
    /// # Errors
    /// Reading failed, or the archive ends within the data.
    pub fn read_data(&mut self, buf: &mut [u8]) -> Result<usize, TarError> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        if want == 0 {
            return Ok(0);
        }
        let (head, _) = buf.split_at_mut(want);
        let got = self.input.read(head)?;
        if got == 0 {
            return Err(cut_short());
        }
        self.left = self.left.saturating_sub(got as u64);
        self.at = self.at.saturating_add(got as u64);
        Ok(got)
    }

    fn header(&mut self) -> Result<Option<TarHeader>, TarError> {
        self.left = 0;
        self.padding = 0;
        let mut extended = Extended::default();
        loop {
            let start = self.at;
            let bad = |what| TarError::Header { at: start, what };
            let mut header = tar::Header::new_old();
            if !self.block(header.as_mut_bytes())? || header.as_bytes().iter().all(|b| *b == 0) {
                return Ok(None);
            }
            let declared = header.cksum().map_err(|_| bad("its checksum is not a number"))?;
            if declared != checksum(header.as_bytes()) {
                return Err(bad("its checksum does not match: not a tar archive, or a corrupt one"));
            }
            let size = match blank(&header.as_old().size) {
                true => 0,
                false => header.entry_size().map_err(|_| bad("its size is not a number"))?,
            };
            let flag = header.as_old().linkflag.first().copied().unwrap_or_default();
            match flag {
                b'L' => extended.path = Some(c_string(self.extended(size, start)?)),
                b'K' => extended.link = Some(c_string(self.extended(size, start)?)),
                b'x' => extended.pax(&self.extended(size, start)?, start)?,
                // Global records name no path in archives in use (git writes a comment).
                b'g' => drop(self.extended(size, start)?),
                _ => return self.entry(&header, flag, size, extended, start).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        header: &tar::Header,
        flag: u8,
        size: u64,
        extended: Extended,
        start: u64,
    ) -> Result<TarHeader, TarError> {
        let path = extended.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match flag {
            // Before POSIX a directory was a file whose name ends in a slash.
            0 if path.ends_with(b"/") => TarKind::Directory,
            0 | b'0' | b'7' => TarKind::Regular,
            b'1' => TarKind::HardLink,
            b'2' => TarKind::Symlink,
            b'5' => TarKind::Directory,
            b'3' | b'4' | b'6' => TarKind::Other,
            b'S' => return Err(unsupported(&path, "a sparse file, which layers do not hold".into())),
            other => {
                return Err(unsupported(&path, format!("entry type {:?} is not known", char::from(other))))
            }
        };
        let link = match kind {
            TarKind::HardLink | TarKind::Symlink => {
                extended.link.or_else(|| header.link_name_bytes().map(|l| l.into_owned())).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let mode = match blank(&header.as_old().mode) {
            true => 0,
            false => {
                header.mode().map_err(|_| TarError::Header { at: start, what: "its mode is not a number" })?
            }
        };
        // Only regular files have data, whatever the size field says (as Go's reader, which container engines
        // use).
        let size = if kind == TarKind::Regular { extended.size.unwrap_or(size) } else { 0 };
        self.left = size;
        self.padding = padding(size);
        Ok(TarHeader { kind, path, link, mode: (mode & 0o7777) as u16, size })
    }

    /// Fills one block; false at the end of the data.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|r| !r.is_empty()) {
            match self.input.read(rest) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.at = self.at.saturating_add(filled as u64);
        match filled {
            0 => Ok(false),
            BLOCK => Ok(true),
            _ => Err(cut_short()),
        }
    }

    /// The data of a header that extends the next one.
    fn extended(&mut self, size: u64, start: u64) -> Result<Vec<u8>, TarError> {
        if size > MAX_EXTENDED {
            return Err(TarError::Header { at: start, what: "its long name or pax records exceed 1 MiB" });
        }
        let padded = size.saturating_add(padding(size));
        let mut data = Vec::new();
        (&mut self.input).take(padded).read_to_end(&mut data)?;
        if data.len() as u64 != padded {
            return Err(cut_short());
        }
        self.at = self.at.saturating_add(padded);
        data.truncate(usize::try_from(size).unwrap_or(0));
        Ok(data)
    }
}

impl<R: Read + Seek> TarFrames<R> {
    /// As [`TarFrames::next_header`], but seeks over the data instead of reading it.
    ///
    /// # Errors
    /// As [`TarFrames::next_header`]. Data that ends early is found when it is read.
    pub fn next_header_by_seeking(&mut self) -> Result<Option<TarHeader>, TarError> {
        let rest = self.left.saturating_add(self.padding);
        let target = self.at.checked_add(rest).ok_or_else(cut_short)?;
        self.at = self.input.seek(SeekFrom::Start(target))?;
        self.header()
    }
}

impl Extended {
    /// pax records: `length key=value\n`, the length counting itself.
    fn pax(&mut self, mut data: &[u8], at: u64) -> Result<(), TarError> {
        let bad = || TarError::Header { at, what: "its pax records are malformed" };
        while !data.is_empty() {
            let space = data.iter().take(20).position(|b| *b == b' ').ok_or_else(bad)?;
            let digits = data.get(..space).and_then(|d| std::str::from_utf8(d).ok()).ok_or_else(bad)?;
            let length: usize = digits.parse().map_err(|_| bad())?;
            let record = data.get(space + 1..length).ok_or_else(bad)?;
            let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
            let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
            let (key, value) =
                (record.get(..equals).unwrap_or_default(), record.get(equals + 1..).unwrap_or_default());
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let text = std::str::from_utf8(value).map_err(|_| bad())?;
                    self.size = Some(text.parse().map_err(|_| bad())?);
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(TarError::Header { at, what: "a sparse file, which layers do not hold" });
                }
                _ => {}
            }
            data = data.get(length..).ok_or_else(bad)?;
        }
        Ok(())
    }
}

/// Whether a number's field was left empty, which means 0.
fn blank(field: &[u8]) -> bool {
    field.iter().all(|b| matches!(b, 0 | b' '))
}

/// The sum of a header's bytes, its checksum field taken as spaces.
fn checksum(header: &[u8; BLOCK]) -> u32 {
    let field = 148..156;
    header.iter().enumerate().map(|(at, b)| if field.contains(&at) { 32 } else { u32::from(*b) }).sum()
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// GNU tar ends a long name with a NUL.
fn c_string(mut data: Vec<u8>) -> Vec<u8> {
    if let Some(end) = data.iter().position(|b| *b == 0) {
        data.truncate(end);
    }
    data
}

fn cut_short() -> TarError {
    TarError::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut short"))
}

fn unsupported(path: &[u8], what: String) -> TarError {
    let path = String::from_utf8_lossy(path.get(..200).unwrap_or(path)).into_owned();
    TarError::Unsupported { path, what }
}
