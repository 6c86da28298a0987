//! One layer's contents as an immutable index: sorted keys beside columns.
//!
//! Memory: 9 bytes a file for a layer walked on disk (8 key, 1 kind); sources that record size, mode or
//! digest add 8, 2 or 32 bytes a file. Invariant: built once, then read without locks by every container that
//! shares the layer.

use drift_formats::entry::{Entry, FileKind, ImagePath, LayerSink, LimitExceeded};
use drift_formats::path_key::{path_key, PathKey, PathKeys};

const KIND_MASK: u8 = 0b0000_0111;
const WHITEOUT: u8 = 0b0000_0111;
const OPAQUE: u8 = 0b1000_0000;

/// What one layer answers about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerAnswer {
    /// The layer holds it.
    Entry(IndexedEntry),
    /// The layer removes it, or something above it: layers underneath do not count.
    Hidden,
    /// The layer says nothing; the next one is asked.
    Silent,
}

/// What an index keeps of an [`Entry`]. `None` where the source does not record it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedEntry {
    /// Kind of file.
    pub kind: FileKind,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Permission bits.
    pub mode: Option<u16>,
    /// SHA-256 of the content.
    pub sha256: Option<[u8; 32]>,
    /// Target of a symbolic link.
    pub link: Option<Box<[u8]>>,
}

impl IndexedEntry {
    /// An entry of which nothing but its kind is known.
    pub fn of_kind(kind: FileKind) -> Self {
        Self { kind, size: None, mode: None, sha256: None, link: None }
    }
}

/// A layer's index.
#[derive(Debug, Default)]
pub struct LayerIndex {
    keys: Box<[PathKey]>,
    kinds: Box<[u8]>,
    sizes: Box<[u64]>,
    modes: Box<[u16]>,
    digests: Box<[[u8; 32]]>,
    links: Box<[(PathKey, Box<[u8]>)]>,
    partial: Option<Box<str>>,
}

fn kind_of(bits: u8) -> FileKind {
    match bits & KIND_MASK {
        0 => FileKind::Regular,
        1 => FileKind::Directory,
        2 => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

impl LayerIndex {
    /// Number of paths, whiteouts included.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the layer says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        self.keys.len() * 8
            + self.kinds.len()
            + self.sizes.len() * 8
            + self.modes.len() * 2
            + self.digests.len() * 32
            + self.links.iter().map(|(_, l)| l.len() + 24).sum::<usize>()
    }

    /// Why the index may lack entries, if it may.
    pub fn partial(&self) -> Option<&str> {
        self.partial.as_deref()
    }

    /// What the layer says of a path.
    pub fn lookup(&self, path: &PathKeys) -> LayerAnswer {
        let own = self.find(path.own());
        if let Some((i, bits)) = own {
            if bits & KIND_MASK != WHITEOUT {
                return LayerAnswer::Entry(self.entry(i, bits));
            }
            return LayerAnswer::Hidden;
        }
        for key in path.ancestors() {
            // Archives may leave directories out, so a missing one decides nothing.
            let Some((_, bits)) = self.find(*key) else { continue };
            if bits & OPAQUE != 0 || kind_of(bits) != FileKind::Directory || bits & KIND_MASK == WHITEOUT {
                return LayerAnswer::Hidden;
            }
        }
        LayerAnswer::Silent
    }

    fn find(&self, key: PathKey) -> Option<(usize, u8)> {
        let i = self.keys.binary_search(&key).ok()?;
        Some((i, *self.kinds.get(i)?))
    }

    fn entry(&self, i: usize, bits: u8) -> IndexedEntry {
        let link = self.keys.get(i).and_then(|key| {
            let at = self.links.binary_search_by_key(key, |(k, _)| *k).ok()?;
            self.links.get(at).map(|(_, target)| target.clone())
        });
        IndexedEntry {
            kind: kind_of(bits),
            size: self.sizes.get(i).copied().filter(|s| *s != u64::MAX),
            mode: self.modes.get(i).copied(),
            sha256: self.digests.get(i).copied().filter(|d| *d != [0; 32]),
            link,
        }
    }
}

/// One row while an index is built.
#[derive(Debug, Clone, Copy)]
struct Row {
    key: PathKey,
    bits: u8,
    /// Index into `IndexBuilder::details`, plus one; 0 for none.
    detail: u32,
}

#[derive(Debug, Clone, Copy)]
struct Detail {
    size: u64,
    mode: u16,
    sha256: Option<[u8; 32]>,
}

/// Collects a layer's entries and turns them into a [`LayerIndex`].
#[derive(Debug)]
pub struct IndexBuilder {
    rows: Vec<Row>,
    details: Vec<Detail>,
    links: Vec<(PathKey, Box<[u8]>)>,
    partial: Option<Box<str>>,
    max_files: u64,
}

impl IndexBuilder {
    /// A builder that takes at most `max_files` paths.
    pub fn new(max_files: u64) -> Self {
        Self { rows: Vec::new(), details: Vec::new(), links: Vec::new(), partial: None, max_files }
    }

    /// Notes that entries may be missing, and why; the first reason stays.
    pub(crate) fn mark_partial(&mut self, why: &str) {
        self.partial.get_or_insert_with(|| why.into());
    }

    /// Adds a path by key with nothing but its kind known: what a walk on disk records.
    ///
    /// # Errors
    /// More than the builder's limit of paths.
    pub(crate) fn add_key(&mut self, key: PathKey, kind: FileKind) -> Result<(), LimitExceeded> {
        self.push(Row { key, bits: kind as u8, detail: 0 })
    }

    /// Adds a whiteout by key.
    ///
    /// # Errors
    /// More than the builder's limit of paths.
    pub(crate) fn whiteout_key(&mut self, key: PathKey) -> Result<(), LimitExceeded> {
        self.push(Row { key, bits: WHITEOUT, detail: 0 })
    }

    /// Marks a directory as opaque by key.
    ///
    /// # Errors
    /// More than the builder's limit of paths.
    pub(crate) fn opaque_key(&mut self, key: PathKey) -> Result<(), LimitExceeded> {
        self.push(Row { key, bits: OPAQUE | FileKind::Directory as u8, detail: 0 })
    }

    /// Remembers a symbolic link's target.
    pub(crate) fn link_key(&mut self, key: PathKey, target: &[u8]) {
        self.links.push((key, target.into()));
    }

    fn push(&mut self, row: Row) -> Result<(), LimitExceeded> {
        if self.rows.len() as u64 >= self.max_files {
            return Err(LimitExceeded { what: "files", limit: self.max_files });
        }
        self.rows.push(row);
        Ok(())
    }

    /// Builds the index. Where a path was given twice, the last entry counts (as in a tar archive); a
    /// whiteout beside an entry of the same layer means "replaced", so a directory becomes opaque.
    pub fn build(mut self) -> LayerIndex {
        self.rows.sort_by_key(|r| r.key);
        let mut rows = self.rows;
        rows.dedup_by(|row, last| {
            let same = row.key == last.key;
            if same {
                *last = merge(*last, *row);
            }
            same
        });
        let has = |pick: fn(&Detail) -> bool| self.details.iter().any(pick);
        let detail = |row: &Row| (row.detail as usize).checked_sub(1).and_then(|i| self.details.get(i));
        let sizes: Vec<u64> = match self.details.is_empty() {
            true => Vec::new(),
            false => rows.iter().map(|r| detail(r).map_or(u64::MAX, |d| d.size)).collect(),
        };
        let modes: Vec<u16> = match self.details.is_empty() {
            true => Vec::new(),
            false => rows.iter().map(|r| detail(r).map_or(0, |d| d.mode)).collect(),
        };
        let digests: Vec<[u8; 32]> = match has(|d| d.sha256.is_some()) {
            false => Vec::new(),
            true => rows.iter().map(|r| detail(r).and_then(|d| d.sha256).unwrap_or([0; 32])).collect(),
        };
        self.links.sort_by_key(|(key, _)| *key);
        self.links.dedup_by_key(|(key, _)| *key);
        LayerIndex {
            keys: rows.iter().map(|r| r.key).collect(),
            kinds: rows.iter().map(|r| r.bits).collect(),
            sizes: sizes.into_boxed_slice(),
            modes: modes.into_boxed_slice(),
            digests: digests.into_boxed_slice(),
            links: self.links.into_boxed_slice(),
            partial: self.partial,
        }
    }
}

fn merge(old: Row, new: Row) -> Row {
    let whiteout = |r: Row| r.bits & KIND_MASK == WHITEOUT;
    match (whiteout(old), whiteout(new)) {
        (true, true) => new,
        (true, false) => Row { bits: new.bits | OPAQUE, ..new },
        (false, true) => Row { bits: old.bits | OPAQUE, ..old },
        (false, false) => {
            let opaque = (old.bits | new.bits) & OPAQUE;
            // An opaque mark alone carries no details: keep those of the directory's own entry.
            let detail = if new.detail == 0 { old.detail } else { new.detail };
            Row { bits: (new.bits & KIND_MASK) | opaque, detail, ..new }
        }
    }
}

impl LayerSink for IndexBuilder {
    fn entry(&mut self, path: &ImagePath, entry: Entry) -> Result<(), LimitExceeded> {
        let key = path_key(path);
        self.details.push(Detail { size: entry.size, mode: entry.mode, sha256: entry.sha256 });
        let detail = u32::try_from(self.details.len()).unwrap_or(0);
        if let Some(target) = entry.link {
            self.links.push((key, target));
        }
        self.push(Row { key, bits: entry.kind as u8, detail })
    }

    fn whiteout(&mut self, path: &ImagePath) -> Result<(), LimitExceeded> {
        self.whiteout_key(path_key(path))
    }

    fn opaque(&mut self, dir: &ImagePath) -> Result<(), LimitExceeded> {
        self.opaque_key(path_key(dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(p: &str) -> ImagePath {
        ImagePath::from_archive(p.as_bytes()).unwrap()
    }
    fn ask(index: &LayerIndex, p: &str) -> LayerAnswer {
        index.lookup(&PathKeys::new(&path(p)))
    }
    fn file() -> Entry {
        Entry { kind: FileKind::Regular, mode: 0o755, size: 7, link: None, sha256: Some([1; 32]) }
    }
    fn dir() -> Entry {
        Entry { kind: FileKind::Directory, mode: 0o755, size: 0, link: None, sha256: None }
    }

    #[test]
    fn a_layer_answers_entry_hidden_or_silent() {
        let mut b = IndexBuilder::new(100);
        b.entry(&path("/usr"), dir()).unwrap();
        b.entry(&path("/usr/bin"), dir()).unwrap();
        b.entry(&path("/usr/bin/ls"), file()).unwrap();
        b.entry(&path("/usr/lib"), file()).unwrap();
        b.whiteout(&path("/usr/share")).unwrap();
        b.entry(&path("/opt"), dir()).unwrap();
        b.opaque(&path("/opt")).unwrap();
        let i = b.build();
        match ask(&i, "/usr/bin/ls") {
            LayerAnswer::Entry(e) => {
                assert_eq!((e.kind, e.size, e.mode), (FileKind::Regular, Some(7), Some(0o755)));
                assert_eq!(e.sha256, Some([1; 32]));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(ask(&i, "/usr/bin/cat"), LayerAnswer::Silent);
        assert_eq!(ask(&i, "/etc/passwd"), LayerAnswer::Silent);
        assert_eq!(ask(&i, "/usr/share"), LayerAnswer::Hidden, "whiteout");
        assert_eq!(ask(&i, "/usr/share/doc/x"), LayerAnswer::Hidden, "below a whiteout");
        assert_eq!(ask(&i, "/opt/x/y"), LayerAnswer::Hidden, "below an opaque directory");
        assert_eq!(ask(&i, "/usr/lib/x"), LayerAnswer::Hidden, "below something that is no directory here");
        assert!(matches!(ask(&i, "/opt"), LayerAnswer::Entry(_)), "an opaque directory itself is there");
    }

    #[test]
    fn a_whiteout_beside_an_entry_means_replaced() {
        for whiteout_first in [true, false] {
            let mut b = IndexBuilder::new(100);
            if whiteout_first {
                b.whiteout(&path("/d")).unwrap();
            }
            b.entry(&path("/d"), dir()).unwrap();
            if !whiteout_first {
                b.whiteout(&path("/d")).unwrap();
            }
            let i = b.build();
            assert!(matches!(ask(&i, "/d"), LayerAnswer::Entry(_)));
            assert_eq!(ask(&i, "/d/old"), LayerAnswer::Hidden);
        }
    }

    #[test]
    fn the_file_limit_holds() {
        let mut b = IndexBuilder::new(1);
        b.entry(&path("/a"), file()).unwrap();
        let err = b.entry(&path("/b"), file()).unwrap_err();
        assert_eq!(err.to_string(), "more than 1 files");
    }
}
