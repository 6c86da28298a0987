//! Whether a mount that looks like an image's is one: the runtime made it, of a layer that the host has.
//!
//! Invariant: nothing that a container can make counts. It can mount overlays and binds, and name their
//! layers as it likes, also by links of its own that lead elsewhere inside than the same name does on the
//! host. So the mount has to be there when the container is first seen, its uppermost layer has to be what
//! the mount shows ([`shows_at`]), and to lie where the engine keeps the layers of this very container, but
//! not be its own writable one.

use crate::container::live::{shows_at, Live};
use crate::container::mounts::is_local;
use crate::host::{Host, RootDir};
use drift_formats::mountinfo::Mount;
use drift_formats::overlay_options::OverlayLayers;
use std::path::PathBuf;

impl Live {
    /// Whether a mount was there when the container was first seen.
    pub(crate) fn is_original(&self, mount: &Mount) -> bool {
        self.first_mounts().by_id(mount.id).is_some_and(|first| first == mount)
    }

    /// Whether a mount shows an image of the host's.
    pub(super) fn is_images(&self, host: &Host, mount: &Mount) -> bool {
        if !self.is_original(mount) || !is_local(mount) {
            return false;
        }
        match top_of(mount) {
            Some((top, _)) => self.is_engines(&top) && self.shows(host, mount, &top),
            None => self.is_engines(&mount.root) && self.shows(host, mount, &mount.root),
        }
    }

    /// The writable layer of a writable image volume, as this process reaches it.
    pub(crate) fn upper_of_volume(&self, host: &Host, mount: &Mount) -> Option<PathBuf> {
        top_of(mount).filter(|(_, is_upper)| *is_upper).map(|(top, _)| host.path(&top))
    }

    /// Whether the engine that made this container keeps layers in such a directory.
    fn is_engines(&self, dir: &[u8]) -> bool {
        let own = self.upper_on_host.as_deref() == Some(dir);
        !own && self.bases.iter().any(|base| dir.strip_prefix(base.as_slice()).is_some_and(is_layer))
    }

    fn shows(&self, host: &Host, mount: &Mount, dir: &[u8]) -> bool {
        let root = host.proc(self.pid(), "root");
        let Ok(root) = RootDir::open(&root) else { return false };
        let at = root.find_dir(&mount.mount_point).ok().filter(|at| at.mount_id == mount.id);
        at.is_some_and(|at| shows_at(&at, &host.path(dir)) == Some(true))
    }
}

/// The uppermost layer of an overlay, and whether it is a writable one.
fn top_of(mount: &Mount) -> Option<(Vec<u8>, bool)> {
    let layers = OverlayLayers::parse(&mount.super_options).ok().filter(|_| mount.fstype == b"overlay")?;
    let is_upper = layers.upper.is_some();
    let top = layers.upper.or_else(|| layers.lower.into_iter().next())?;
    Some((top.as_bytes().to_vec(), is_upper))
}

/// What a layer's directory is called below the engine's: `/<id>/diff`, `/<id>/merged`, `/l/<name>`,
/// `/<n>/fs`, and `-containers/<id>/userdata/overlay/<n>/<part>`, which podman makes of an image for one
/// container.
fn is_layer(below: &[u8]) -> bool {
    let parts: Vec<&[u8]> = below.split(|b| *b == b'/').collect();
    match parts.as_slice() {
        [b"", b"l", name] => !name.is_empty(),
        [b"", id, b"diff" | b"merged"] => id.len() >= 64,
        [b"", n, b"fs"] => !n.is_empty() && n.iter().all(u8::is_ascii_digit),
        [b"-containers", id, b"userdata", b"overlay", _, b"upper" | b"lower" | b"merge"] => id.len() == 64,
        _ => false,
    }
}

/// The directory below which an engine keeps its layers, by one of them.
pub(super) fn base_of(layer: &[u8]) -> Option<Vec<u8>> {
    let base = layer.rsplitn(3, |b| *b == b'/').nth(2)?;
    layer.strip_prefix(base).is_some_and(is_layer).then(|| base.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_lie_right_below_the_engines_directory() {
        let id = "0a".repeat(32);
        let base =
            |path: &str| base_of(path.replace("ID", &id).as_bytes()).map(|b| String::from_utf8(b).unwrap());
        for (path, want) in [
            ("/s/overlay/ID/diff", Some("/s/overlay")),
            ("/s/overlay/l/ABC", Some("/s/overlay")),
            ("/c/snapshots/12/fs", Some("/c/snapshots")),
            ("/c/snapshots/x/fs", None),
            ("/s/overlay/ID/diff/tmp/l", None),
            ("/diff", None),
            ("l", None),
        ] {
            assert_eq!(base(path).as_deref(), want, "{path}");
        }
        let is = |below: &str| is_layer(below.replace("ID", &id).as_bytes());
        assert!(is("-containers/ID/userdata/overlay/7/upper"));
        assert!(!is("-containers/ID/userdata/overlay/7/upper/x") && !is("/ID/diff/tmp"));
    }
}
