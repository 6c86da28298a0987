//! The files of a layer that can run or hold what can run, by size: where to look for a given content.

use drift_formats::entry::ImagePath;

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Bytes of its content.
    pub size: u64,
    /// What its content is known by.
    pub mark: Mark,
    /// Position of the archive among the archives of the catalog.
    pub archive: u32,
    /// Position of the archive's member that is itself an archive and holds this one.
    pub nested: Option<u32>,
}

/// What the content of an archive's member is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Its CRC-32, and its position in the directory of a zip archive.
    Zip(u32, u32),
    /// Its SHA-256.
    Sha256([u8; 32]),
}

/// The files of a layer by size. Sorted when built, then never changed.
#[derive(Debug, Default)]
pub struct Catalog {
    files: Vec<(u64, ImagePath)>,
    archives: Vec<ImagePath>,
    members: Vec<Member>,
}

impl Catalog {
    /// Most files, and most members of archives, of one layer.
    pub const MAX: usize = 100_000;

    /// A catalog of these.
    pub fn new(mut files: Vec<(u64, ImagePath)>, archives: Vec<ImagePath>, mut members: Vec<Member>) -> Self {
        files.sort_unstable_by_key(|(size, _)| *size);
        members.sort_unstable_by_key(|member| member.size);
        Self { files, archives, members }
    }

    /// Files of this size.
    pub fn files(&self, size: u64) -> impl Iterator<Item = &ImagePath> {
        let from = self.files.partition_point(|(s, _)| *s < size);
        let here = self.files.iter().skip(from);
        here.take_while(move |(s, _)| *s == size).map(|(_, path)| path)
    }

    /// Members of archives of this size, each with its archive.
    pub fn members(&self, size: u64) -> impl Iterator<Item = (&ImagePath, &Member)> {
        let from = self.members.partition_point(|m| m.size < size);
        let here = self.members.iter().skip(from).take_while(move |m| m.size == size);
        here.filter_map(|m| Some((self.archives.get(m.archive as usize)?, m)))
    }

    /// Heap bytes, about.
    pub fn bytes(&self) -> usize {
        let paths = self.files.iter().map(|(_, p)| p).chain(&self.archives);
        let names: usize = paths.map(|p| p.as_bytes().len() + 32).sum();
        names + self.members.len() * std::mem::size_of::<Member>()
    }
}
