//! An rpm header as databases keep it: two counts, an index, and the data that the index points into (rpm's
//! docs/manual/format_header.md; a database leaves the magic of a package file out).

use crate::entry::MAX_PATH;
use crate::packages::{show, word, Checksum};
use crate::read_at::be32;
use crate::rpm::MAX_HEADER;

/// rpm's own limit (`HEADER_TAGS_MAX` in lib/header.c).
const MAX_ENTRIES: u32 = 65_535;

/// The most bytes of file paths given: each is a directory's and a name of its own, so that a small header
/// could otherwise grow to gigabytes.
const MAX_PATH_BYTES: usize = 256 << 20;

// Tags and types (include/rpm/rpmtag.h).
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const INSTALL_TIME: u32 = 1008;
const ARCH: u32 = 1022;
const OLD_FILE_NAMES: u32 = 1027;
const FILE_DIGESTS: u32 = 1035;
const DIR_INDEXES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIR_NAMES: u32 = 1118;
const INT32: u32 = 4;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;

/// An installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RpmPackage {
    /// `NAME`.
    pub name: String,
    /// As rpm shows it: `epoch:version-release`, without the epoch where there is none.
    pub version: String,
    /// `ARCH`; empty where the header has none, as with imported keys (`gpg-pubkey`).
    pub architecture: String,
    /// `INSTALLTIME`, seconds since the epoch; empty where the header has none.
    pub installed: String,
}

/// A header.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

/// A line of the index.
struct Entry {
    kind: u32,
    offset: usize,
    count: u32,
}

impl<'a> Header<'a> {
    /// Splits a header into index and data.
    ///
    /// # Errors
    /// Its counts are not those of the bytes given.
    pub fn parse(blob: &'a [u8]) -> Result<Self, String> {
        let (Some(entries), Some(len)) = (be32(blob, 0), be32(blob, 4)) else {
            return Err(format!("{} bytes are no header", blob.len()));
        };
        let rest = blob.get(8..).unwrap_or_default();
        if entries > MAX_ENTRIES || len as usize > MAX_HEADER {
            return Err(format!("{entries} entries and {len} bytes are more than a header may have"));
        }
        let split = rest.split_at_checked(entries as usize * 16);
        match split.and_then(|(index, data)| Some((index, data.get(..len as usize)?))) {
            Some((index, data)) => Ok(Self { index, data }),
            None => Err(format!("cut short: {entries} entries, {len} bytes of data")),
        }
    }

    /// The entry of a tag. Later ones replace earlier ones: what rpm adds at installation follows what was
    /// signed.
    fn entry(&self, tag: u32) -> Option<Entry> {
        let line = self.index.chunks_exact(16).rev().find(|line| be32(line, 0) == Some(tag))?;
        Some(Entry { kind: be32(line, 4)?, offset: be32(line, 8)? as usize, count: be32(line, 12)? })
    }

    fn string(&self, tag: u32) -> Option<&'a [u8]> {
        let entry = self.entry(tag).filter(|e| e.kind == STRING)?;
        self.data.get(entry.offset..)?.split(|b| *b == 0).next()
    }

    fn strings(&self, tag: u32) -> Option<impl Iterator<Item = &'a [u8]>> {
        let entry = self.entry(tag).filter(|e| e.kind == STRING_ARRAY)?;
        let data = self.data.get(entry.offset..)?;
        Some(data.split(|b| *b == 0).take(entry.count as usize))
    }

    fn numbers(&self, tag: u32) -> Option<impl Iterator<Item = u32> + 'a> {
        let entry = self.entry(tag).filter(|e| e.kind == INT32)?;
        let data = self.data.get(entry.offset..)?;
        Some(data.chunks_exact(4).take(entry.count as usize).filter_map(|four| be32(four, 0)))
    }

    /// Which package it is.
    ///
    /// # Errors
    /// It has no name or version, or they are none that rpm would take.
    pub fn package(&self) -> Result<RpmPackage, String> {
        let need = |tag, what| {
            let raw = self.string(tag).ok_or_else(|| format!("no {what}"))?;
            word(raw).ok_or_else(|| format!("{what} is {}", show(raw)))
        };
        let (name, version, release) =
            (need(NAME, "NAME")?, need(VERSION, "VERSION")?, need(RELEASE, "RELEASE")?);
        let epoch = self.numbers(EPOCH).and_then(|mut numbers| numbers.next());
        let version = match epoch {
            Some(epoch) => format!("{epoch}:{version}-{release}"),
            None => format!("{version}-{release}"),
        };
        let architecture = self.string(ARCH).and_then(word).unwrap_or_default();
        let installed = self.numbers(INSTALL_TIME).and_then(|mut numbers| numbers.next());
        let installed = installed.map_or_else(String::new, |at| at.to_string());
        Ok(RpmPackage { name, version, architecture, installed })
    }

    /// Gives the absolute paths of the package's files and directories to `each`, as listed.
    pub fn each_file(&self, each: &mut dyn FnMut(&[u8])) {
        self.each_file_with_sum(&mut |path, _| each(path));
    }

    /// As [`Self::each_file`], with the digest of each regular file. Which algorithm it is
    /// (`FILEDIGESTALGO`), its length tells.
    pub fn each_file_with_sum(&self, each: &mut dyn FnMut(&[u8], Option<Checksum>)) {
        let mut room = MAX_PATH_BYTES;
        let mut sums = self.strings(FILE_DIGESTS);
        let mut give = |dir: &[u8], name: &[u8]| {
            let sum = sums.as_mut().and_then(Iterator::next).and_then(Checksum::from_hex);
            if dir.len() + name.len() <= MAX_PATH && dir.len() + name.len() <= room {
                room -= dir.len() + name.len();
                let path = [dir, name].concat();
                if path.starts_with(b"/") {
                    each(&path, sum);
                }
            }
        };
        let dirs: Vec<&[u8]> = self.strings(DIR_NAMES).map(Iterator::collect).unwrap_or_default();
        match (self.strings(BASE_NAMES), self.numbers(DIR_INDEXES)) {
            (Some(names), Some(indexes)) => {
                for (name, dir) in names.zip(indexes) {
                    // A directory's own entry may have no name beside its directory (`/` of filesystem).
                    let dir = dirs.get(dir as usize).copied();
                    // Each has its digest, those without a directory too: `give` lets those go.
                    let Some(dir) = dir else {
                        give(b"", b"");
                        continue;
                    };
                    give(dir, name);
                }
            }
            // Before rpm 4: whole paths.
            _ => self.strings(OLD_FILE_NAMES).into_iter().flatten().for_each(|path| give(b"", path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{build_header, Tag};
    use super::*;
    use proptest::prelude::*;

    fn files(header: &Header<'_>) -> Vec<String> {
        let mut out = Vec::new();
        header.each_file(&mut |path| out.push(String::from_utf8_lossy(path).into_owned()));
        out
    }

    #[test]
    fn a_package_and_its_files() {
        let blob = build_header(&[
            (NAME, Tag::Text("bash")),
            (VERSION, Tag::Text("5.2.15")),
            (RELEASE, Tag::Text("1.fc38")),
            (EPOCH, Tag::Numbers(&[2])),
            (ARCH, Tag::Text("x86_64")),
            (DIR_INDEXES, Tag::Numbers(&[0, 1, 0, 7])),
            (BASE_NAMES, Tag::Texts(&["bash", "bash.1.gz", "sh", "lost"])),
            (DIR_NAMES, Tag::Texts(&["/usr/bin/", "/usr/share/man/man1/"])),
        ]);
        let header = Header::parse(&blob).unwrap();
        let package = header.package().unwrap();
        assert_eq!(
            (package.name.as_str(), package.version.as_str(), package.architecture.as_str()),
            ("bash", "2:5.2.15-1.fc38", "x86_64")
        );
        assert_eq!(files(&header), ["/usr/bin/bash", "/usr/share/man/man1/bash.1.gz", "/usr/bin/sh"]);
    }

    #[test]
    fn whole_paths_and_later_entries() {
        let blob = build_header(&[
            (NAME, Tag::Text("old")),
            (NAME, Tag::Text("new")),
            (VERSION, Tag::Text("1")),
            (RELEASE, Tag::Text("2")),
            (OLD_FILE_NAMES, Tag::Texts(&["/etc/x", "relative"])),
        ]);
        let header = Header::parse(&blob).unwrap();
        let package = header.package().unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("new", "1-2"));
        assert_eq!(files(&header), ["/etc/x"]);
    }

    #[test]
    fn broken_headers_say_why() {
        let fine = build_header(&[(NAME, Tag::Text("a")), (VERSION, Tag::Text("1"))]);
        for (blob, want) in [
            (b"abc".to_vec(), "3 bytes are no header"),
            (fine[..fine.len() - 1].to_vec(), "cut short"),
            ([&[0xff; 8][..], &[0; 64]].concat(), "more than a header may have"),
            (fine, "no RELEASE"),
            (build_header(&[(NAME, Tag::Text("../x"))]), "NAME is \"../x\""),
            (build_header(&[(NAME, Tag::Numbers(&[1]))]), "no NAME"),
        ] {
            let got = Header::parse(&blob).and_then(|h| h.package()).unwrap_err();
            assert!(got.contains(want), "{got}");
        }
    }

    #[test]
    fn paths_are_bounded() {
        let dir = format!("/{}/", "d".repeat(4000));
        let names = vec!["x"; 100_000];
        let indexes = vec![0; 100_000];
        let blob = build_header(&[
            (DIR_INDEXES, Tag::Numbers(&indexes)),
            (BASE_NAMES, Tag::Texts(&names)),
            (DIR_NAMES, Tag::Texts(&[&dir])),
        ]);
        let mut bytes = 0;
        Header::parse(&blob).unwrap().each_file(&mut |path| bytes += path.len());
        assert!(bytes <= MAX_PATH_BYTES && bytes > MAX_PATH_BYTES - MAX_PATH);
    }

    proptest! {
        #[test]
        fn never_panics(tags in prop::collection::vec((0u32..12, 0u32..10, any::<u32>(), 0u32..20), 0..20), data in prop::collection::vec(any::<u8>(), 0..200)) {
            let known = [NAME, VERSION, RELEASE, EPOCH, ARCH, OLD_FILE_NAMES, DIR_INDEXES, BASE_NAMES, DIR_NAMES];
            let mut blob = Vec::new();
            blob.extend((tags.len() as u32).to_be_bytes());
            blob.extend((data.len() as u32).to_be_bytes());
            for (tag, kind, offset, count) in tags {
                let tag = known.get(tag as usize).copied().unwrap_or(tag);
                let offset = if offset % 4 == 0 { offset } else { offset % 220 };
                for word in [tag, kind, offset, count] {
                    blob.extend(word.to_be_bytes());
                }
            }
            blob.extend(data);
            let header = Header::parse(&blob).unwrap();
            let _ = header.package();
            header.each_file(&mut |path| assert!(path.starts_with(b"/")));
        }
    }
}
