//! Which package owns a file, and which packages there are: the databases that package managers leave in an
//! image or a container. Parsers take bytes; `owners` reads the databases of a layer, `inventory` those of an
//! image or a container's root, to compare them. And what processes do to packages: `manager`.
//!
//! Databases are as hostile as the container they come from: a malformed record is passed over with a
//! warning, names that a file name is made of are checked, and what is kept is bounded.
//!
//! A list may say `/bin/x` for what merged-/usr images hold as `/usr/bin/x`: paths are given as listed, and
//! the caller resolves them against the image's symbolic links.

pub mod apk;
mod checksum;
pub mod conda;
pub mod dpkg;
pub mod gem;
pub mod npm;
pub mod pip;

pub use checksum::Checksum;

/// The most warnings kept of one database.
const MAX_WARNINGS: usize = 20;

/// What was read of a database, and what was passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed<T> {
    /// What could be read.
    pub value: T,
    /// The first records that were passed over, each with its line and the reason.
    pub warnings: Vec<String>,
    /// How many further ones there were.
    pub more_warnings: u64,
}

impl<T> Parsed<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value, warnings: Vec::new(), more_warnings: 0 }
    }

    pub(crate) fn warn(&mut self, line: usize, why: impl FnOnce() -> String) {
        self.warn_of(|| format!("line {line}: {}", why()));
    }

    /// As [`Self::warn`], of a record that is no line.
    pub(crate) fn warn_of(&mut self, what: impl FnOnce() -> String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(what());
        } else {
            self.more_warnings += 1;
        }
    }
}

/// Lines with their numbers from 1, without line ends.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    bytes
        .split(|b| *b == b'\n')
        .enumerate()
        .map(|(at, line)| (at + 1, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// A package name, version or architecture as text; `None` if it is empty, longer than 200 bytes, or has a
/// byte that none of the managers allows (a slash above all: names become file names).
pub fn word(raw: &[u8]) -> Option<String> {
    word_with(b"+-._~:^", raw)
}

/// As [`word`], of letters, digits and `others`.
pub fn word_with(others: &[u8], raw: &[u8]) -> Option<String> {
    let fine = |b: &u8| b.is_ascii_alphanumeric() || others.contains(b);
    let raw = raw.trim_ascii();
    if raw.is_empty() || raw.len() > 200 || !raw.iter().all(fine) || raw.starts_with(b".") {
        return None;
    }
    String::from_utf8(raw.to_vec()).ok()
}

/// Bytes as text for a message, escaped and cut.
pub fn show(raw: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(raw.get(..80).unwrap_or(raw)))
}
