//! Where an overlay's lower directories are, when the mount does not say it as the host would.
//!
//! The kernel shows names as they were given to mount(2). A runtime that gives a container a user namespace
//! of its own mounts idmapped copies of the layers, and takes these copies away once the overlay is mounted;
//! the originals lie where the names still tell:
//!
//! - containers/storage: `<home>/<id>/mapped/<n>/<rel>` is a copy of `<home>/<rel>`
//!   (drivers/overlay/overlay.go,
//!   `getMappedMountRoot`),
//! - containerd 2: `…/ovl-idmapped<random>/<n>/fs` is one of `<snapshots>/<n>/fs`, the directory that the
//!   writable layer
//!   is in as well (core/mount/mount_linux.go, `doPrepareIDMappedOverlay`). Of an image of one layer the name
//!   is lost.
//!
//! Invariant: a directory that is there and shows nothing, while the root shows otherwise, is no layer
//! (composefs, which mounts data alone): then nothing is known, rather than all of the image taken for new.

use crate::host::Host;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Most names of a root that are looked for in its layers.
const MAX_NAMES: usize = 1024;

/// Where the original of an idmapped copy lies, by the copy's name and that of the writable layer; `None` for
/// any other directory.
pub(super) fn original_of(lower: &[u8], upper: Option<&[u8]>) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> = lower.split(|b| *b == b'/').collect();
    if let Some(at) = parts.iter().position(|part| part.starts_with(b"ovl-idmapped")) {
        let [n, b"fs"] = parts.get(at + 1..)?.split_last_chunk::<2>().map(|(_, last)| last)? else {
            return None;
        };
        // `<snapshots>/<n>/fs`
        let snapshots = upper?.strip_suffix(b"/fs")?.rsplitn(2, |b| *b == b'/').nth(1)?;
        return Some([snapshots, b"/", n, b"/fs"].concat());
    }
    let at = parts.iter().position(|part| *part == b"mapped").filter(|at| *at > 1)?;
    let (id, n, rel) = (parts.get(at - 1)?, parts.get(at + 1)?, parts.get(at + 2..)?);
    let is_copy = id.len() == 64 && n.iter().all(u8::is_ascii_digit) && !n.is_empty() && !rel.is_empty();
    is_copy.then(|| [parts.get(..at - 1).unwrap_or_default(), rel].concat().join(&b'/'))
}

/// Whether a layer's directory is empty, and the root shows names that no layer has.
pub(super) fn show_nothing(host: &Host, pid: i64, layers: &[&Path]) -> bool {
    if !layers.iter().any(|layer| is_empty(layer)) {
        return false;
    }
    let names =
        host.root_of(pid).and_then(|root| root.find_here(b"/", true)?.names(MAX_NAMES)).unwrap_or_default();
    let is_in_none = |name: &Vec<u8>| {
        !layers.iter().any(|layer| layer.join(OsStr::from_bytes(name)).symlink_metadata().is_ok())
    };
    names.iter().any(is_in_none)
}

/// An empty directory has no links but its own, on file systems that count those of directories below.
fn is_empty(dir: &Path) -> bool {
    std::fs::metadata(dir).is_ok_and(|found| found.nlink() <= 2)
        && std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_named_after_their_originals() {
        let id = "0a".repeat(32);
        let fill = |path: &str| path.replace("ID", &id).into_bytes();
        let (overlay, snapshot) = ("/s/overlay/ID/diff", "/c/snapshots/57/fs");
        for (lower, upper, want) in [
            ("/s/overlay/ID/mapped/0/l/ABC", overlay, Some("/s/overlay/l/ABC")),
            ("/s/overlay/ID/mapped/1/ID/diff", overlay, Some("/s/overlay/ID/diff")),
            ("/s/overlay/ID/diff", overlay, None),
            ("/s/overlay/x/mapped/0/l/ABC", overlay, None),
            ("/s/overlay/ID/mapped/0", overlay, None),
            ("/mapped/0/l/ABC", overlay, None),
            ("/tmp/ovl-idmapped123/13/fs", snapshot, Some("/c/snapshots/13/fs")),
            ("/tmp/ovl-idmapped123/0/2/fs", snapshot, Some("/c/snapshots/2/fs")),
            ("/tmp/ovl-idmapped123", snapshot, None),
            ("/tmp/ovl-idmapped123/fs", snapshot, None),
            ("/c/snapshots/13/fs", snapshot, None),
        ] {
            let got = original_of(&fill(lower), Some(&fill(upper)));
            assert_eq!(got, want.map(fill), "{lower}");
        }
    }
}
