//! Read access to a bolt database that another process has open: containerd's `meta.db`, podman's
//! `bolt_state.db`.
//!
//! Format: go.etcd.io/bbolt, `internal/common` (`page.go`, `meta.go`, `bucket.go`). A database is a B+ tree
//! of pages in the machine's byte order; two meta pages take turns naming the root.
//!
//! Invariants: nothing is written, locked or mapped; every page, depth and number of pages is bounded. The
//! writer goes on meanwhile, so an answer counts only if no later transaction was committed while it was
//! looked for: a transaction leaves alone the pages of the one before it, and those of the one before that
//! are reused only once it is committed.

use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const HEADER: usize = 16;
const ELEMENT: usize = 16;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const IS_BUCKET: u32 = 0x01;
/// Bytes of a meta page that its checksum covers.
const META_SUMMED: usize = 56;
/// Largest page with what it overflows into: values (a container's whole specification) lie in leaves.
const MAX_PAGE: u64 = 16 << 20;
/// Deepest tree; a full one of this depth does not fit on a disk.
const MAX_DEPTH: usize = 24;
/// Most keys of a bucket that are looked through, and pages on the way.
const MAX_KEYS: usize = 1 << 20;
/// How often an answer is looked for while the database keeps changing.
const TRIES: usize = 5;

/// Why a database gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum BoltError {
    /// It could not be read.
    #[error("reading the database: {0}")]
    Io(#[from] io::Error),
    /// It is no bolt database, or a damaged or half-written one.
    #[error("not a whole bolt database: {0}")]
    Damaged(&'static str),
    /// It changed faster than it could be read.
    #[error("the database keeps changing")]
    Busy,
}

/// What pages are read from.
pub trait Pages {
    /// Reads exactly this many bytes at this offset.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` past the end.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;
}

impl Pages for std::fs::File {
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        // A length field may promise more than the file holds: no memory is taken for that.
        let size = self.metadata()?.len();
        if offset.checked_add(len as u64).is_none_or(|end| end > size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut buf = vec![0; len];
        self.read_exact_at(&mut buf, offset)?;
        Ok(buf)
    }
}

impl Pages for &[u8] {
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }
}

/// Answers `question` from one state of the database.
///
/// # Errors
/// [`BoltError`], the question's own included.
pub fn ask<P: Pages, T>(
    pages: &P,
    question: impl Fn(&Bolt<'_, P>) -> Result<T, BoltError>,
) -> Result<T, BoltError> {
    for _ in 0..TRIES {
        let bolt = Bolt::open(pages)?;
        let answer = question(&bolt);
        // A read that met a page in the middle of its next use may have failed for that alone.
        if Bolt::open(pages)?.tx == bolt.tx {
            return answer;
        }
    }
    Err(BoltError::Busy)
}

/// One state of a database.
#[derive(Debug)]
pub struct Bolt<'p, P> {
    pages: &'p P,
    page_size: u64,
    root: u64,
    tx: u64,
}

/// A node of the tree: a page, or the part of a value that stands for one.
struct Node(Vec<u8>);

enum Found {
    Value(Vec<u8>),
    Bucket(Vec<u8>),
}

impl<'p, P: Pages> Bolt<'p, P> {
    fn open(pages: &'p P) -> Result<Self, BoltError> {
        let first = Self::meta(pages, 0);
        // The second meta page is at the size of a page, which the first tells; where the first was cut short
        // by a crash, any size that a system has is tried.
        let second = match &first {
            Ok(meta) => Self::meta(pages, meta.page_size),
            Err(_) => (12..=16)
                .map(|bits| Self::meta(pages, 1 << bits))
                .find(Result::is_ok)
                .unwrap_or(Err(BoltError::Damaged("no meta page"))),
        };
        match (first, second) {
            (Ok(a), Ok(b)) => Ok(if a.tx > b.tx { a } else { b }),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
            (Err(why), Err(_)) => Err(why),
        }
    }

    fn meta(pages: &'p P, offset: u64) -> Result<Self, BoltError> {
        let page = pages.read_at(offset, HEADER + META_SUMMED + 8)?;
        let meta = page.get(HEADER..).unwrap_or_default();
        if u32_at(meta, 0) != Some(MAGIC) || u32_at(meta, 4) != Some(VERSION) {
            return Err(BoltError::Damaged("no meta page"));
        }
        if u64_at(meta, META_SUMMED) != meta.get(..META_SUMMED).map(fnv1a) {
            return Err(BoltError::Damaged("checksum of the meta page"));
        }
        let number = |at| u64_at(meta, at).ok_or(BoltError::Damaged("meta page"));
        let page_size = u64::from(u32_at(meta, 8).unwrap_or(0));
        if !(512..=65_536).contains(&page_size) || !page_size.is_power_of_two() {
            return Err(BoltError::Damaged("size of pages"));
        }
        Ok(Self { pages, page_size, root: number(16)?, tx: number(48)? })
    }

    fn node(&self, id: u64) -> Result<Node, BoltError> {
        let offset = id.checked_mul(self.page_size).ok_or(BoltError::Damaged("number of a page"))?;
        let header = self.pages.read_at(offset, HEADER)?;
        let overflow = u64::from(u32_at(&header, 12).unwrap_or(0));
        let size = overflow.saturating_add(1).saturating_mul(self.page_size);
        if u64_at(&header, 0) != Some(id) || size > MAX_PAGE {
            return Err(BoltError::Damaged("header of a page"));
        }
        let size = usize::try_from(size).map_err(|_| BoltError::Damaged("size of a page"))?;
        Ok(Node(self.pages.read_at(offset, size)?))
    }

    /// The value under `path`: names of buckets, then the key. `None` where there is no such thing.
    ///
    /// # Errors
    /// [`BoltError`].
    pub fn get(&self, path: &[&[u8]]) -> Result<Option<Vec<u8>>, BoltError> {
        let Some((key, buckets)) = path.split_last() else { return Ok(None) };
        let Some(node) = self.bucket(buckets)? else { return Ok(None) };
        match self.find(node, key)? {
            Some(Found::Value(value)) => Ok(Some(value)),
            Some(Found::Bucket(_)) | None => Ok(None),
        }
    }

    /// The first key of a bucket of which `is_it` holds, in the order of keys; `None` where there is none.
    ///
    /// # Errors
    /// [`BoltError`]; a bucket of more than `MAX_KEYS` keys is not searched to its end.
    pub fn find_key(
        &self,
        buckets: &[&[u8]],
        is_it: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>, BoltError> {
        let Some(node) = self.bucket(buckets)? else { return Ok(None) };
        let mut left = MAX_KEYS;
        // Nodes on the way down, each with the next of its elements.
        let mut way = vec![(node, 0)];
        while let Some((node, at)) = way.last_mut() {
            let i = *at;
            if i >= node.count() {
                way.pop();
                continue;
            }
            *at += 1;
            left = left.checked_sub(1).ok_or(BoltError::Damaged("more keys than are looked through"))?;
            match node.flags() {
                Some(LEAF) => {
                    let key = node.key(i)?;
                    if is_it(key) {
                        return Ok(Some(key.to_vec()));
                    }
                }
                Some(BRANCH) => {
                    let child = u64_at(node.element(i)?, 8).ok_or(BoltError::Damaged("an element"))?;
                    if way.len() >= MAX_DEPTH {
                        return Err(BoltError::Damaged("depth of the tree"));
                    }
                    way.push((self.node(child)?, 0));
                }
                _ => return Err(BoltError::Damaged("kind of a page")),
            }
        }
        Ok(None)
    }

    /// The topmost node of a bucket; `None` where there is none.
    fn bucket(&self, buckets: &[&[u8]]) -> Result<Option<Node>, BoltError> {
        let mut node = self.node(self.root)?;
        for bucket in buckets {
            let Some(Found::Bucket(value)) = self.find(node, bucket)? else { return Ok(None) };
            node = match u64_at(&value, 0).ok_or(BoltError::Damaged("a bucket"))? {
                // A small bucket lies in the value itself, as a page behind the bucket's header.
                0 => Node(value.get(HEADER..).unwrap_or_default().to_vec()),
                root => self.node(root)?,
            };
        }
        Ok(Some(node))
    }

    fn find(&self, mut node: Node, key: &[u8]) -> Result<Option<Found>, BoltError> {
        for _ in 0..MAX_DEPTH {
            match node.flags() {
                Some(LEAF) => return node.leaf(key),
                Some(BRANCH) => match node.branch(key)? {
                    Some(child) => node = self.node(child)?,
                    None => return Ok(None),
                },
                _ => return Err(BoltError::Damaged("kind of a page")),
            }
        }
        Err(BoltError::Damaged("depth of the tree"))
    }
}

impl Node {
    fn flags(&self) -> Option<u16> {
        Some(u16::from_ne_bytes(self.0.get(8..10)?.try_into().ok()?))
    }

    fn count(&self) -> usize {
        let count = self.0.get(10..12).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes);
        usize::from(count)
    }

    /// The bytes of element `i`, at the offset and of the length in its header.
    fn part(&self, i: usize, pos: u32, skip: u32, len: u32) -> Result<&[u8], BoltError> {
        let start = HEADER + i * ELEMENT;
        let start = start.saturating_add(pos as usize).saturating_add(skip as usize);
        let end = start.saturating_add(len as usize);
        self.0.get(start..end).ok_or(BoltError::Damaged("an element"))
    }

    fn element(&self, i: usize) -> Result<&[u8], BoltError> {
        self.0.get(HEADER + i * ELEMENT..HEADER + (i + 1) * ELEMENT).ok_or(BoltError::Damaged("an element"))
    }

    /// The key of element `i` of a leaf.
    fn key(&self, i: usize) -> Result<&[u8], BoltError> {
        let element = self.element(i)?;
        let number = |at| u32_at(element, at).unwrap_or(0);
        self.part(i, number(4), 0, number(8))
    }

    fn leaf(&self, key: &[u8]) -> Result<Option<Found>, BoltError> {
        for i in 0..self.count() {
            let element = self.element(i)?;
            let number = |at| u32_at(element, at).unwrap_or(0);
            let (flags, pos, klen, vlen) = (number(0), number(4), number(8), number(12));
            if self.part(i, pos, 0, klen)? == key {
                let value = self.part(i, pos, klen, vlen)?.to_vec();
                let bucket = flags & IS_BUCKET != 0;
                return Ok(Some(if bucket { Found::Bucket(value) } else { Found::Value(value) }));
            }
        }
        Ok(None)
    }

    /// The page below which `key` is: that of the last element whose key is not greater.
    fn branch(&self, key: &[u8]) -> Result<Option<u64>, BoltError> {
        let mut below = None;
        for i in 0..self.count() {
            let element = self.element(i)?;
            let number = |at| u32_at(element, at).unwrap_or(0);
            if self.part(i, number(0), 0, number(4))? > key {
                break;
            }
            below = u64_at(element, 8);
        }
        Ok(below)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[path = "bolt_tests.rs"]
mod tests;
