//! Where the content of a file comes from that the image does not have at its path: the image itself, all the
//! same.
//!
//! Images copy their files about when they start, unpack archives, compile modules. The path is then new, the
//! content is not. Everything here is by content; a name, a place or a writer is never enough. Invariants:
//! the image's side is read from its layers, the container's beneath its root; reads are bounded by the
//! caller's `max`.

mod archive;
mod bytecode;
mod catalog;
mod engine;
mod volume;

pub use bytecode::compiled_from;
pub use catalog::build;
pub use engine::is_engines;
pub use volume::Reader;

use crate::host::{FoundFile, RootDir};
use crate::image::layer::Layer;
use crate::image::view::{Image, Presence};
use crate::verdict::compare::{same_content, Comparison};
use drift_formats::entry::{FileKind, ImagePath};
use rustix::fs::FileType;
use std::fs::File;

/// Where content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of the image has it.
    Copied(ImagePath),
    /// A member of an archive of the image has it.
    Unpacked(ImagePath),
    /// Compiled from a source of the image.
    Derived(ImagePath),
}

impl Source {
    /// The kind's name, as fields give it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Copied(_) => "copied",
            Self::Unpacked(_) => "unpacked",
            Self::Derived(_) => "derived",
        }
    }

    /// The image's file.
    pub fn of(&self) -> &ImagePath {
        match self {
            Self::Copied(path) | Self::Unpacked(path) | Self::Derived(path) => path,
        }
    }

    /// Whether a copy goes under another name than the image's: what masquerading does, too.
    pub fn is_renamed(&self, path: &ImagePath) -> bool {
        matches!(self, Self::Copied(from) if from.file_name() != path.file_name())
    }
}

/// Why content that the image does not have at a path is no surprise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The value of `drift.binary_content`.
    pub kind: &'static str,
    /// The image's file.
    pub of: Option<ImagePath>,
}

impl Explained {
    /// Of a file at this path.
    pub fn of(source: Source, path: &ImagePath) -> Self {
        // A program under another name is what masquerading looks like.
        let kind = if source.is_renamed(path) { "renamed" } else { source.as_str() };
        Self { kind, of: Some(source.of().clone()) }
    }
}

/// Most files of the image that one file is compared with.
const MAX_CANDIDATES: usize = 64;

/// Where a regular file's content comes from; `None` if the image does not have it, or that is not known.
///
/// Content is found in layers whose catalog was built ([`build`]). `max` is the largest file that is read,
/// bytes.
pub fn source_of(
    image: &Image,
    root: &RootDir,
    path: &ImagePath,
    found: &FoundFile,
    max: u64,
    keep_going: &mut dyn FnMut() -> bool,
) -> Option<Source> {
    if found.kind != FileType::RegularFile || found.size == 0 || found.size > max {
        return None;
    }
    if let Some(from) = bytecode::source(image, root, path, found) {
        return Some(Source::Derived(from));
    }
    let mut tried = 0;
    for (number, layer) in image.layers().iter().enumerate() {
        let Some(catalog) = layer.catalog() else { continue };
        // A copy that keeps its name is found first: a renamed one is worth an alert.
        let name = path.file_name();
        let (same, other): (Vec<_>, Vec<_>) =
            catalog.files(found.size).take(MAX_CANDIDATES).partition(|from| from.file_name() == name);
        for from in same.into_iter().chain(other) {
            tried += 1;
            if tried > MAX_CANDIDATES || !keep_going() {
                return None;
            }
            if is_images(image, number, from) && has_content(layer, from, found) {
                return Some(Source::Copied(from.clone()));
            }
        }
    }
    for (number, layer) in image.layers().iter().enumerate() {
        let Some(catalog) = layer.catalog() else { continue };
        for (from, member) in catalog.members(found.size).take(MAX_CANDIDATES) {
            if !keep_going() {
                return None;
            }
            if is_images(image, number, from) && archive::has_content(layer, from, member, found) {
                return Some(Source::Unpacked(from.clone()));
            }
        }
    }
    None
}

/// Most words of a command, and most directories of a path, that [`named_source`] looks at.
const MAX_NAMED: usize = 8;

/// The file of the image that a copy was made of, by the command that wrote it: before the layers' catalogs are
/// built, the words of `cp -a /template/. /app` say where to look. The content decides, and the name has to be
/// the same.
///
/// Bounded: a few lookups, and one comparison of a file of the same size.
pub fn named_source(image: &Image, command: &[u8], path: &ImagePath, found: &FoundFile) -> Option<Source> {
    if found.kind != FileType::RegularFile || found.size == 0 {
        return None;
    }
    let words = command.split(|b| *b == b' ').skip(1).filter(|word| word.starts_with(b"/"));
    let is_sized = |from: &ImagePath| match image.lookup(from) {
        Presence::Present { layer, entry } if entry.kind == FileKind::Regular => {
            entry.size.is_none_or(|size| size == found.size).then_some(layer)
        }
        _ => None,
    };
    let (layer, from) = words.take(MAX_NAMED).find_map(|word| {
        let word = ImagePath::lexical(b"/", word).ok()?;
        let itself = (word.file_name() == path.file_name()).then(|| word.clone());
        let below = tails(path.as_bytes()).filter_map(|tail| ImagePath::lexical(word.as_bytes(), tail).ok());
        let mut names = itself.into_iter().chain(below).filter(|from| from != path);
        names.find_map(|from| Some((is_sized(&from)?, from)))
    })?;
    let original = image.layers().get(layer)?;
    has_content(original, &from, found).then_some(Source::Copied(from))
}

/// The last part of a path, its last two, and so on.
fn tails(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = path.iter().enumerate().rev().filter(|(_, b)| **b == b'/').map(|(at, _)| at + 1);
    starts.take(MAX_NAMED).filter_map(|at| path.get(at..))
}

/// Whether the image has a regular file at this path, in this very layer: no upper one replaces or removes
/// it.
fn is_images(image: &Image, number: usize, path: &ImagePath) -> bool {
    matches!(image.lookup(path), Presence::Present { layer, entry }
        if layer == number && entry.kind == FileKind::Regular)
}

fn has_content(layer: &Layer, path: &ImagePath, found: &FoundFile) -> bool {
    let Ok(mut now) = found.open() else { return false };
    let Ok(original) = layer.open_file(path) else { return false };
    matches!(same_content(&mut now, &mut File::from(original), || true), Ok(Comparison::Same))
        && !layer.is_metacopy(path)
}

#[cfg(test)]
mod tests;
