//! mtree(5) manifests: what `bsdtar --format=mtree` and umoci (go-mtree) write of a tree.
//!
//! Invariant: a path given to the sink never left the tree: `..` in a name is refused, and so is a `..` line
//! above the root. A manifest that cannot be read in full is an error, never a shorter manifest: what it does
//! not list would count as added.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::entry::{Entry, FileKind, ImagePath, LayerSink, LimitExceeded, PathError};
use crate::limits::{Bounded, Limits};
use crate::vis::unvis;

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries told to the sink.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Regular files with a SHA-256.
    pub hashed: u64,
    /// Bytes of all paths and link targets.
    pub name_bytes: u64,
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum MtreeError {
    /// The file could not be opened or read, or its gzip data is corrupt, cut short or too large.
    #[error("reading the mtree manifest: {0}")]
    Io(#[from] io::Error),
    /// Neither plain text nor gzip.
    #[error("the mtree manifest is compressed with {0}; only gzip and plain text are read")]
    Compression(&'static str),
    /// Not a regular file.
    #[error("the mtree manifest is not a regular file")]
    NotAFile,
    /// A line that cannot be taken as mtree(5).
    #[error("line {line} of the mtree manifest: {problem}")]
    Line {
        /// Line number, from 1; of a continued line its first.
        line: u64,
        /// What is wrong with it.
        problem: Problem,
    },
    /// More than [`Limits`] allow.
    #[error("the mtree manifest has {0}")]
    Limit(#[from] LimitExceeded),
    /// No entry at all: an empty or unrelated file.
    #[error("the mtree manifest lists no file")]
    Empty,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A path that no image can hold.
    #[error("path {path:?}: {why}")]
    Path {
        /// The path, as written.
        path: String,
        /// What is wrong with it.
        why: PathError,
    },
    /// A name without a slash that decodes to more than a name.
    #[error("name {0:?} has an escaped slash or is `..` in disguise")]
    Name(String),
    /// `..` where there is no directory to leave.
    #[error("`..` goes above the root of the tree")]
    AboveRoot,
    /// An escape that vis(3) does not write.
    #[error("{0:?} has an escape that is not of vis(3), such as \\040")]
    Escape(String),
    /// A keyword's value that is not what the keyword takes.
    #[error("{keyword}={value:?} is not {want}")]
    Value {
        /// The keyword.
        keyword: &'static str,
        /// Its value, as written.
        value: String,
        /// What it has to be.
        want: &'static str,
    },
    /// A keyword that this kind of entry needs, neither on the line nor set before.
    #[error("{path:?} has no {keyword}=, and no /set before it gives one")]
    Missing {
        /// The entry's path.
        path: String,
        /// The keyword.
        keyword: &'static str,
    },
    /// Longer than [`Limits::max_line`].
    #[error("longer than {0} bytes")]
    TooLong(u64),
}

/// Opens a manifest, plain or gzip by its first bytes, and parses it.
///
/// # Errors
/// As [`parse`]; corrupt or truncated gzip, other compression, or more than [`Limits::max_unpacked`] bytes.
pub fn open(path: &Path, limits: &Limits, sink: &mut dyn LayerSink) -> Result<Summary, MtreeError> {
    // Asked before opening, which would wait for a FIFO's writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(MtreeError::NotAFile);
    }
    read(BufReader::new(File::open(path)?), limits, sink)
}

/// As [`open`], from bytes that are already at hand.
///
/// # Errors
/// As [`open`].
pub fn read(
    mut input: impl BufRead,
    limits: &Limits,
    sink: &mut dyn LayerSink,
) -> Result<Summary, MtreeError> {
    match input.fill_buf()? {
        [0x1f, 0x8b, ..] => {
            let plain = Bounded::new(MultiGzDecoder::new(input), limits.max_unpacked);
            parse(BufReader::with_capacity(64 << 10, plain), limits, sink)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(MtreeError::Compression("zstd")),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Err(MtreeError::Compression("xz")),
        [b'B', b'Z', b'h', ..] => Err(MtreeError::Compression("bzip2")),
        _ => parse(BufReader::new(Bounded::new(input, limits.max_unpacked)), limits, sink),
    }
}

/// Parses mtree(5) text and tells each entry to the sink, line by line.
///
/// Names with a slash are paths from the root; names without one are relative to the current directory, which
/// a directory's own line enters and `..` leaves. Regular files need `mode` and `size`, directories `mode`,
/// links `link`; keywords without a place in [`Entry`] (`time`, `uid`, `optional`, `nochange`, …) are passed
/// over.
///
/// # Errors
/// A line or path that is refused, a limit, a read error, or no entry at all: [`MtreeError`].
pub fn parse(input: impl BufRead, limits: &Limits, sink: &mut dyn LayerSink) -> Result<Summary, MtreeError> {
    let mut lines = Lines { input, next: 1, max: limits.max_line, buf: Vec::new() };
    let mut parser = Parser {
        limits,
        defaults: Keywords::default(),
        cwd: Vec::new(),
        ups: Vec::new(),
        summary: Summary::default(),
    };
    while let Some(line) = lines.read()? {
        let text = lines.buf.as_slice();
        match parser.line(text, sink) {
            Ok(()) => {}
            Err(Refused::Problem(problem)) => return Err(MtreeError::Line { line, problem }),
            Err(Refused::Limit(limit)) => return Err(limit.into()),
        }
    }
    if parser.summary.entries == 0 {
        return Err(MtreeError::Empty);
    }
    Ok(parser.summary)
}

/// Logical lines: a backslash before the newline continues one.
struct Lines<R> {
    input: R,
    next: u64,
    max: u64,
    buf: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Fills `buf` with the next line and gives its number; `None` at the end.
    fn read(&mut self) -> Result<Option<u64>, MtreeError> {
        self.buf.clear();
        let first = self.next;
        let mut comment = false;
        loop {
            let room = self.max.saturating_sub(self.buf.len() as u64) + 1;
            let got = (&mut self.input).take(room).read_until(b'\n', &mut self.buf)?;
            if got == 0 {
                return Ok((!self.buf.is_empty()).then_some(first));
            }
            if self.buf.len() as u64 > self.max {
                return Err(MtreeError::Line { line: first, problem: Problem::TooLong(self.max) });
            }
            self.next += 1;
            if self.buf.last() == Some(&b'\n') {
                self.buf.pop();
            }
            if self.next == first + 1 {
                comment = self.buf.trim_ascii_start().first() == Some(&b'#');
            }
            let backslashes = self.buf.iter().rev().take_while(|b| **b == b'\\').count();
            // An even number is escaped backslashes at the end of a name.
            if backslashes % 2 == 0 || comment {
                return Ok(Some(first));
            }
            self.buf.pop();
            self.buf.push(b' ');
        }
    }
}

/// The keywords that an [`Entry`] is made of.
#[derive(Debug, Clone, Default)]
struct Keywords {
    kind: Option<FileKind>,
    mode: Option<u16>,
    size: Option<u64>,
    link: Option<Box<[u8]>>,
    sha256: Option<[u8; 32]>,
}

enum Refused {
    Problem(Problem),
    Limit(LimitExceeded),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<LimitExceeded> for Refused {
    fn from(limit: LimitExceeded) -> Self {
        Self::Limit(limit)
    }
}

struct Parser<'a> {
    limits: &'a Limits,
    defaults: Keywords,
    /// The current directory, decoded, without a leading slash.
    cwd: Vec<u8>,
    /// For each directory entered, the length that `cwd` had before.
    ups: Vec<usize>,
    summary: Summary,
}

impl Parser<'_> {
    fn line(&mut self, text: &[u8], sink: &mut dyn LayerSink) -> Result<(), Refused> {
        let mut words = text.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
        let Some(name) = words.next() else { return Ok(()) };
        match name {
            [b'#', ..] => Ok(()),
            b"/set" => words.try_for_each(|word| self.defaults.take(word)).map_err(Refused::from),
            b"/unset" => {
                words.for_each(|word| self.defaults.forget(word));
                Ok(())
            }
            b".." => match self.ups.pop() {
                Some(len) => {
                    self.cwd.truncate(len);
                    Ok(())
                }
                None => Err(Problem::AboveRoot.into()),
            },
            _ => {
                let mut keywords = self.defaults.clone();
                words.try_for_each(|word| keywords.take(word))?;
                self.entry(name, keywords, sink)
            }
        }
    }

    fn entry(&mut self, name: &[u8], keywords: Keywords, sink: &mut dyn LayerSink) -> Result<(), Refused> {
        let decoded = unvis(name).ok_or_else(|| Problem::Escape(show(name)))?;
        let full = name.contains(&b'/');
        let path = if full {
            image_path(&decoded)?
        } else {
            if decoded.contains(&b'/') || decoded == b".." || decoded.is_empty() {
                return Err(Problem::Name(show(name)).into());
            }
            let mut path = self.cwd.clone();
            path.push(b'/');
            path.extend_from_slice(&decoded);
            image_path(&path)?
        };
        let entry = keywords.entry(&path)?;

        let link = entry.link.as_ref().map_or(0, |l| l.len());
        self.summary.name_bytes += (path.as_bytes().len() + link) as u64;
        self.summary.entries += 1;
        if entry.kind == FileKind::Regular {
            self.summary.files += 1;
            self.summary.hashed += u64::from(entry.sha256.is_some());
        }
        if self.summary.entries > self.limits.max_files {
            return Err(LimitExceeded { what: "files", limit: self.limits.max_files }.into());
        }
        if self.summary.name_bytes > self.limits.max_name_bytes {
            return Err(LimitExceeded { what: "bytes of names", limit: self.limits.max_name_bytes }.into());
        }
        // Only a name without a slash enters its directory; `.` enters where it is, and a `..` leaves it
        // again.
        if !full && entry.kind == FileKind::Directory {
            self.ups.push(self.cwd.len());
            if decoded != b"." {
                self.cwd.push(b'/');
                self.cwd.extend_from_slice(&decoded);
            }
            // Each `.` may enter a level without making the path longer; the path limit bounds the others.
            if self.ups.len() > crate::entry::MAX_PATH {
                return Err(LimitExceeded {
                    what: "levels of directories",
                    limit: crate::entry::MAX_PATH as u64,
                }
                .into());
            }
        }
        sink.entry(&path, entry).map_err(Refused::from)
    }
}

fn image_path(decoded: &[u8]) -> Result<ImagePath, Problem> {
    ImagePath::from_archive(decoded).map_err(|why| Problem::Path { path: show(decoded), why })
}

/// For messages: lossy and short.
fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).into_owned()
}

impl Keywords {
    /// Takes one `keyword=value`, or passes over one that does not matter here.
    fn take(&mut self, word: &[u8]) -> Result<(), Problem> {
        let Some(at) = word.iter().position(|b| *b == b'=') else { return Ok(()) };
        let (keyword, value) = (word.get(..at).unwrap_or_default(), word.get(at + 1..).unwrap_or_default());
        let bad = |keyword, want| Problem::Value { keyword, value: show(value), want };
        match keyword {
            b"type" => {
                self.kind = Some(match value {
                    b"file" => FileKind::Regular,
                    b"dir" => FileKind::Directory,
                    b"link" => FileKind::Symlink,
                    b"block" | b"char" | b"fifo" | b"socket" => FileKind::Other,
                    _ => return Err(bad("type", "one of file, dir, link, block, char, fifo, socket")),
                });
            }
            b"mode" => {
                let mode = number(value, 8).ok_or_else(|| bad("mode", "an octal number"))?;
                self.mode = Some((mode & 0o7777) as u16);
            }
            b"size" => self.size = Some(number(value, 10).ok_or_else(|| bad("size", "a number of bytes"))?),
            b"link" => {
                let target = unvis(value).ok_or_else(|| Problem::Escape(show(value)))?;
                self.link = Some(target.into_boxed_slice());
            }
            b"sha256" | b"sha256digest" => {
                self.sha256 = Some(hex(value).ok_or_else(|| bad("sha256", "64 hexadecimal digits"))?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Undoes a default, as `/unset keyword` asks.
    fn forget(&mut self, word: &[u8]) {
        match word {
            b"all" => *self = Self::default(),
            b"type" => self.kind = None,
            b"mode" => self.mode = None,
            b"size" => self.size = None,
            b"link" => self.link = None,
            b"sha256" | b"sha256digest" => self.sha256 = None,
            _ => {}
        }
    }

    fn entry(self, path: &ImagePath) -> Result<Entry, Problem> {
        let missing = |keyword| Problem::Missing { path: show(path.as_bytes()), keyword };
        let kind = self.kind.ok_or_else(|| missing("type"))?;
        let mode = match kind {
            FileKind::Regular | FileKind::Directory => self.mode.ok_or_else(|| missing("mode"))?,
            FileKind::Symlink => self.mode.unwrap_or(0o777),
            FileKind::Other => self.mode.unwrap_or(0),
        };
        let regular = kind == FileKind::Regular;
        Ok(Entry {
            kind,
            mode,
            size: if regular { self.size.ok_or_else(|| missing("size"))? } else { 0 },
            link: match kind {
                FileKind::Symlink => Some(self.link.ok_or_else(|| missing("link"))?),
                _ => None,
            },
            sha256: self.sha256.filter(|_| regular),
        })
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?;
    u64::from_str_radix(digits, radix).ok()
}

/// 64 hexadecimal digits.
fn hex(digits: &[u8]) -> Option<[u8; 32]> {
    let mut out = [0u8; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(number(pair, 16)?).ok()?;
    }
    Some(out)
}

#[cfg(test)]
#[path = "mtree_tests.rs"]
mod tests;
