//! Byte code that Python writes when it imports a module of the image for the first time.
//!
//! Images are built without it (docker-library's Python deletes all of it), so that every container of them
//! that runs as root writes some hundred files below /usr/lib or /usr/local/lib. Python believes a file whose
//! header names the source's time and size; an attacker can write such a header. So the code has to use no
//! name that its source lacks.

use crate::host::{FoundFile, RootDir};
use crate::image::view::Image;
use crate::verdict::change::{compare, locate, Change, Located};
use drift_formats::entry::ImagePath;
use drift_formats::python_bytecode::{header, names_missing_from, source_name, SourceStamp};
use rustix::fs::FileType;
use std::io::Read;

/// Largest source and compiled module read, bytes.
const MAX: u64 = 8 << 20;

/// The source of the image that a compiled module was made from; `None` if it is not one, or does not fit its
/// source.
pub(super) fn source(
    image: &Image,
    root: &RootDir,
    path: &ImagePath,
    found: &FoundFile,
) -> Option<ImagePath> {
    // The source as Python sees it now has to be the image's.
    let (located, now) = compiled_from(root, path, found)?;
    let source = located.path.clone();
    let compared = compare(image, located, MAX, &mut || true).ok()?;
    compared.now.filter(|_| compared.change == Change::None && now.kind == FileType::RegularFile)?;
    Some(source)
}

/// The source that a compiled module was made from, as it is now, whoever owns it; `None` if it is not one,
/// or does not fit its source.
pub fn compiled_from(root: &RootDir, path: &ImagePath, found: &FoundFile) -> Option<(Located, FoundFile)> {
    let cache = path.parent()?;
    if cache.file_name() != Some(b"__pycache__") || found.size > MAX {
        return None;
    }
    let source = ImagePath::lexical(cache.parent()?.as_bytes(), &source_name(path.file_name()?)?).ok()?;
    let located = locate(root, &source, true).ok()?;
    let now = locate(root, &located.path, false).ok()?.now?;
    let (text, compiled) = (content(&now)?, content(found)?);
    let SourceStamp::Timestamp { mtime, size } = header(&compiled)? else { return None };
    // Seconds, the lower 32 bits of each (PEP 552).
    let written = now.inode.mtime / 1_000_000_000;
    let fits = u64::from(mtime) == written & u64::from(u32::MAX)
        && u64::from(size) == now.size & u64::from(u32::MAX);
    (fits && names_missing_from(&text, &compiled).ok()?.is_none()).then_some((located, now))
}

fn content(file: &FoundFile) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    file.open().ok()?.take(MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
