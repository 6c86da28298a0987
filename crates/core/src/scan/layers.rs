//! What a layer's directory on this host holds, with digests: for a manifest of a container's image.

use crate::host::FoundFile;
use crate::image::layer::Layer;
use crate::image::listing::{LayerListing, Listing};
use crate::scan::walk::{Item, Walk};
use crate::verdict::compare::sha256;
use drift_formats::entry::{Entry, FileKind, ImagePath, LayerSink};
use rustix::fs::FileType;

/// Largest file that is hashed, bytes; a larger one is listed without a digest.
const MAX_HASHED: u64 = 16 << 30;

/// Lists an image whose layers are on disk. Layers come top-most first.
///
/// # Errors
/// A layer that cannot be read whole: a listing with holes would call what it lacks added.
pub fn list(
    layers: &[std::sync::Arc<Layer>],
    max_files: u64,
    keep_going: &mut dyn FnMut() -> bool,
) -> Result<Listing, String> {
    let mut listing = Listing::default();
    for layer in layers.iter().rev() {
        let mut here = LayerListing::new(max_files);
        list_layer(layer, &mut here, keep_going).map_err(|why| {
            format!("layer {}: {why}", layer.dir().unwrap_or(std::path::Path::new("?")).display())
        })?;
        listing.add(here);
    }
    Ok(listing)
}

fn list_layer(
    layer: &Layer,
    sink: &mut dyn LayerSink,
    keep_going: &mut dyn FnMut() -> bool,
) -> Result<(), String> {
    let dir = layer.open().map_err(|e| e.to_string())?;
    let walk =
        Walk::new(&dir, Some(dir.xattr_space()), crate::scan::walk::MAX_DEPTH).map_err(|e| e.to_string())?;
    let too_much = |e: drift_formats::entry::LimitExceeded| e.to_string();
    for item in walk {
        if !keep_going() {
            return Err("stopped".to_owned());
        }
        match item {
            Item::Leave => {}
            Item::Whiteout(path) => sink.whiteout(&path).map_err(too_much)?,
            Item::Mount(path) => return Err(format!("{path:?} is a mount")),
            Item::Problem(path, why) => return Err(format!("{path:?}: {why}")),
            Item::Enter(path, found, marks) => {
                if marks.redirect.is_some() {
                    return Err(format!("{path:?} is a renamed directory, which is not followed"));
                }
                if marks.opaque {
                    sink.opaque(&path).map_err(too_much)?;
                }
                let entry =
                    Entry { kind: FileKind::Directory, mode: found.mode, size: 0, link: None, sha256: None };
                sink.entry(&path, entry).map_err(too_much)?;
            }
            Item::File(path, found) => {
                if layer.is_metacopy(&path) {
                    return Err(format!("{path:?} has its content in another layer"));
                }
                let entry = file_entry(&path, &found, keep_going)?;
                sink.entry(&path, entry).map_err(too_much)?;
            }
        }
    }
    Ok(())
}

fn file_entry(
    path: &ImagePath,
    found: &FoundFile,
    keep_going: &mut dyn FnMut() -> bool,
) -> Result<Entry, String> {
    let entry = Entry { kind: FileKind::Other, mode: found.mode, size: 0, link: None, sha256: None };
    let unreadable = |e: String| format!("{path:?}: {e}");
    match found.kind {
        FileType::RegularFile => {
            let mut file = found.open().map_err(|e| unreadable(e.to_string()))?;
            let sha256 = sha256(&mut file, MAX_HASHED, keep_going).map_err(|e| unreadable(e.to_string()))?;
            Ok(Entry { kind: FileKind::Regular, size: found.size, sha256, ..entry })
        }
        FileType::Symlink => {
            let link = found.link_target().ok_or_else(|| unreadable("link unreadable".to_owned()))?;
            Ok(Entry { kind: FileKind::Symlink, link: Some(link.into()), ..entry })
        }
        _ => Ok(entry),
    }
}
