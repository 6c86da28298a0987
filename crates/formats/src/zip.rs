//! The directory of a zip archive (jar, war, wheel): which members it holds, of which size and checksum.
//!
//! Format: PKWARE APPNOTE.TXT, 4.3.12 (central directory) and 4.3.16 (its end). Archives of 4 GiB and more
//! (zip64) are not read. Invariants: the directory is bounded in bytes and members; offsets are checked
//! before they are used.

use crate::read_at::{le16, le32, ReadAt};
use std::io::{self, Read};

const END: u32 = 0x0605_4b50;
const MEMBER: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
const END_BYTES: usize = 22;
const MEMBER_BYTES: usize = 46;
const LOCAL_BYTES: u64 = 30;
/// Longest comment after the directory's end.
const MAX_COMMENT: u64 = 0xffff;
/// Largest directory read, bytes.
const MAX_DIRECTORY: u32 = 32 << 20;

/// How a member is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As it is.
    Stored,
    /// By deflate.
    Deflated,
    /// In another way, which is not read.
    Other,
}

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name, as stored; not checked.
    pub name: Vec<u8>,
    /// CRC-32 of the content.
    pub crc: u32,
    /// Bytes in the archive.
    pub packed: u32,
    /// Bytes of the content.
    pub size: u32,
    /// How it is stored.
    pub method: Method,
    /// Offset of its local header.
    offset: u32,
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A part of something, read as if it were the whole: an archive stored in another.
#[derive(Debug)]
pub struct Part<'a> {
    of: &'a dyn ReadAtDebug,
    start: u64,
    len: u64,
}

/// [`ReadAt`] that can be shown in a test's message.
pub trait ReadAtDebug: ReadAt + std::fmt::Debug {}
impl<T: ReadAt + std::fmt::Debug + ?Sized> ReadAtDebug for T {}

impl<'a> Part<'a> {
    /// The whole, of this length.
    pub fn whole(of: &'a dyn ReadAtDebug, len: u64) -> Self {
        Self { of, start: 0, len }
    }

    /// Bytes of the part.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.len);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.of.read_at(self.start + offset, buf)
    }

    /// The members of the archive, in its order, at most `max`.
    ///
    /// # Errors
    /// The system's; `InvalidData` if this is not a zip archive, or one with more members or of 4 GiB and
    /// more.
    pub fn members(&self, max: usize) -> io::Result<Vec<Member>> {
        let tail_len = self.len.min(MAX_COMMENT + END_BYTES as u64);
        let mut tail = vec![0; usize::try_from(tail_len).map_err(|_| invalid("too long"))?];
        self.read(self.len - tail_len, &mut tail)?;
        let last = tail.len().checked_sub(END_BYTES).ok_or_else(|| invalid("not a zip archive"))?;
        let end = (0..=last)
            .rev()
            .find(|at| le32(&tail, *at) == Some(END))
            .ok_or_else(|| invalid("not a zip archive: no end of the central directory"))?;
        let count = le16(&tail, end + 10).ok_or(io::ErrorKind::UnexpectedEof)?;
        let bytes = le32(&tail, end + 12).ok_or(io::ErrorKind::UnexpectedEof)?;
        let start = le32(&tail, end + 16).ok_or(io::ErrorKind::UnexpectedEof)?;
        if count == u16::MAX || start == u32::MAX {
            return Err(invalid("a zip archive of 4 GiB, or of 65,535 members, and more"));
        }
        if usize::from(count) > max || bytes > MAX_DIRECTORY {
            return Err(invalid("a zip archive with too many members"));
        }
        let mut directory = vec![0; bytes as usize];
        self.read(start.into(), &mut directory)?;
        let (mut out, mut at) = (Vec::with_capacity(count.into()), 0usize);
        for _ in 0..count {
            let header = directory.get(at..at + MEMBER_BYTES).ok_or_else(|| invalid("a member is cut"))?;
            let short = |at| le16(header, at).map_or(0, usize::from);
            if le32(header, 0) != Some(MEMBER) {
                return Err(invalid("a member without its signature"));
            }
            let name = directory
                .get(at + MEMBER_BYTES..at + MEMBER_BYTES + short(28))
                .ok_or_else(|| invalid("a member's name is cut"))?;
            let long = |at| le32(header, at).unwrap_or(0);
            let method = match short(10) {
                0 => Method::Stored,
                8 => Method::Deflated,
                _ => Method::Other,
            };
            out.push(Member {
                name: name.to_vec(),
                crc: long(16),
                packed: long(20),
                size: long(24),
                method,
                offset: long(42),
            });
            at += MEMBER_BYTES + short(28) + short(30) + short(32);
        }
        Ok(out)
    }

    /// Where a member's bytes lie.
    ///
    /// # Errors
    /// The system's; `InvalidData` if no member is there.
    pub fn part(&self, member: &Member) -> io::Result<Part<'a>> {
        let mut header = [0; LOCAL_BYTES as usize];
        self.read(member.offset.into(), &mut header)?;
        if le32(&header, 0) != Some(LOCAL) {
            return Err(invalid("a member's local header is missing"));
        }
        let names = [26, 28].map(|at| le16(&header, at).map_or(0, u64::from));
        let start = u64::from(member.offset) + LOCAL_BYTES + names.iter().sum::<u64>();
        let len = u64::from(member.packed);
        if start.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(invalid("a member lies beyond the archive's end"));
        }
        Ok(Part { of: self.of, start: self.start + start, len })
    }

    /// Reads a member's content; no more than it claims.
    ///
    /// # Errors
    /// As [`Part::part`]; `Unsupported` for another method than deflate.
    pub fn content(&self, member: &Member) -> io::Result<Box<dyn Read + 'a>> {
        let part = PartReader { part: self.part(member)?, at: 0 };
        match member.method {
            Method::Stored => Ok(Box::new(part.take(member.size.into()))),
            Method::Deflated => {
                Ok(Box::new(flate2::read::DeflateDecoder::new(part).take(member.size.into())))
            }
            Method::Other => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

struct PartReader<'a> {
    part: Part<'a>,
    at: u64,
}

impl Read for PartReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.part.len - self.at).unwrap_or(usize::MAX);
        let want = buf.len().min(left).min(64 << 10);
        let into = buf.get_mut(..want).unwrap_or_default();
        self.part.read(self.at, into)?;
        self.at += want as u64;
        Ok(want)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// An archive of these members, deflated where that is asked for.
    pub(crate) fn archive(members: &[(&str, &[u8], bool)]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (name, content, deflate) in members {
            let mut crc = flate2::Crc::new();
            crc.update(content);
            let packed = match deflate {
                true => {
                    let mut z = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
                    z.write_all(content).unwrap();
                    z.finish().unwrap()
                }
                false => content.to_vec(),
            };
            let method: u16 = if *deflate { 8 } else { 0 };
            let sizes = [crc.sum(), packed.len() as u32, content.len() as u32].map(u32::to_le_bytes).concat();
            let offset = out.len() as u32;
            out.extend(
                [&LOCAL.to_le_bytes()[..], &[20, 0, 0, 0], &method.to_le_bytes(), &[0; 4], &sizes].concat(),
            );
            out.extend([&(name.len() as u16).to_le_bytes()[..], &[0, 0], name.as_bytes(), &packed].concat());
            directory
                .extend([&MEMBER.to_le_bytes()[..], &[20, 0, 20, 0, 0, 0], &method.to_le_bytes()].concat());
            directory.extend([&[0; 4][..], &sizes, &(name.len() as u16).to_le_bytes(), &[0; 12]].concat());
            directory.extend([&offset.to_le_bytes()[..], name.as_bytes()].concat());
        }
        let start = out.len() as u32;
        out.extend(&directory);
        let count = (members.len() as u16).to_le_bytes();
        out.extend([&END.to_le_bytes()[..], &[0; 4], &count, &count].concat());
        out.extend([(directory.len() as u32).to_le_bytes(), start.to_le_bytes()].concat());
        out.extend([0, 0]);
        out
    }

    #[test]
    fn members_are_listed_and_read_also_those_of_an_archive_in_an_archive() {
        let inner = archive(&[("native/libx.so", b"\x7fELF inner", true)]);
        let outer = archive(&[("a.txt", b"hello", true), ("lib/inner.jar", &inner, false)]);
        let whole = Part::whole(&outer, outer.len() as u64);
        let members = whole.members(10).unwrap();
        assert_eq!(
            members.iter().map(|m| m.name.as_slice()).collect::<Vec<_>>(),
            [&b"a.txt"[..], b"lib/inner.jar"]
        );
        let mut text = String::new();
        whole.content(&members[0]).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        let jar = whole.part(&members[1]).unwrap();
        let nested = jar.members(10).unwrap();
        let mut library = Vec::new();
        jar.content(&nested[0]).unwrap().read_to_end(&mut library).unwrap();
        assert_eq!((library.as_slice(), nested[0].size), (&b"\x7fELF inner"[..], 10));
        assert!(whole.members(1).is_err(), "more members than asked for");
    }

    #[test]
    fn what_is_not_an_archive_is_refused() {
        for bytes in [&b""[..], b"PK", &[0; 100], &archive(&[("a", b"b", false)])[..60]] {
            assert!(Part::whole(&bytes.to_vec(), bytes.len() as u64).members(10).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn damaged_archives_never_panic(at in 0usize..200, byte: u8, cut in 0usize..300) {
            let mut bytes = archive(&[("a.txt", b"hello hello hello", true), ("b", b"stored", false)]);
            if let Some(b) = bytes.get_mut(at) { *b = byte; }
            bytes.truncate(cut.max(22));
            let whole = Part::whole(&bytes, bytes.len() as u64);
            for member in whole.members(100).unwrap_or_default() {
                let _ = whole.content(&member).map(|mut r| r.read_to_end(&mut Vec::new()));
            }
        }
    }
}
