//! Makes a layer's catalog: a walk through its directory, and through the archives in it.

use super::archive;
use crate::image::catalog::Catalog;
use crate::image::layer::Layer;
use crate::scan::walk::{Item, Walk, MAX_DEPTH};
use rustix::fs::FileType;

/// Most archives of a layer that are looked into.
const MAX_ARCHIVES: usize = 2_000;

/// Builds the catalog of a layer on disk, once; a worker calls this. Nothing is kept when `keep_going` said
/// stop.
pub fn build(layer: &Layer, keep_going: &mut dyn FnMut() -> bool) {
    if layer.catalog().is_some() {
        return;
    }
    let Ok(dir) = layer.open_dir() else { return };
    let Ok(walk) = Walk::new(&dir, Some(dir.xattr_space()), MAX_DEPTH) else { return };
    let (mut files, mut archives, mut members) = (Vec::new(), Vec::new(), Vec::new());
    for item in walk {
        if !keep_going() {
            return;
        }
        let Item::File(path, found) = item else { continue };
        if found.kind != FileType::RegularFile || found.size == 0 {
            continue;
        }
        let Some(name) = path.file_name() else { continue };
        if archive::is_archive(name) && archives.len() < MAX_ARCHIVES {
            let number = u32::try_from(archives.len()).unwrap_or(u32::MAX);
            let listed = found.open().map_err(std::io::Error::from);
            match listed.and_then(|file| archive::list(name, file, number, keep_going)) {
                Ok(listed) => {
                    let room = Catalog::MAX.saturating_sub(members.len());
                    members.extend(listed.into_iter().take(room));
                    archives.push(path.clone());
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => return,
                // Not an archive in spite of its name, or a damaged one: nothing is unpacked from it.
                Err(_) => {}
            }
        }
        if can_run(name, found.mode) && files.len() < Catalog::MAX {
            files.push((found.size, path));
        }
    }
    layer.set_catalog(Catalog::new(files, archives, members));
}

/// Whether a file can run, be loaded or be interpreted, by its mode and name.
pub(super) fn can_run(name: &[u8], mode: u16) -> bool {
    const ENDINGS: [&[u8]; 11] =
        [b".sh", b".bash", b".py", b".pl", b".rb", b".js", b".php", b".lua", b".jar", b".run", b".tcl"];
    let is_library = name.windows(3).any(|part| part == b".so");
    mode & 0o111 != 0 || is_library || ENDINGS.iter().any(|end| name.ends_with(end)) || !name.contains(&b'.')
}
