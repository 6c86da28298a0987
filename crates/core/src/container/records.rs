//! Where a container's layers lie by its runtime's records, when its root file system does not say it: a copy
//! of the image (`vfs`, containerd's native snapshotter), a snapshot that the file system made (btrfs), an
//! overlay in user space, an overlay whose lower directories were idmapped copies that are gone.
//!
//! The host's mount table says where the root lies on the host. The name of that directory leads to the
//! engine's records beside it:
//!
//! - containers/storage (drivers/{overlay,vfs,btrfs}): `<root>/<driver>-layers/layers.json` has the parent of
//!   each layer, `overlay/<id>/lower` the names of all below.
//! - Docker (layer/filestore.go): `<root>/image/<driver>/layerdb/mounts/<container>/parent` names the image's
//!   layers, `layerdb/sha256/<chain>/cache-id` the directory that has them.
//! - containerd (core/snapshots/storage/bolt.go): `metadata.db` has the parent of each snapshot.
//!
//! Invariants: what is asked is the host's alone, and believed only of a directory that is the very root of
//! the container, or its writable layer; everything read is bounded. It takes milliseconds: not for the event
//! thread.

use crate::container::init_layer::is_init_layer;
use crate::container::live::Live;
use crate::container::mounts::is_local;
use crate::host::{Host, RootDir};
use crate::image::cache::LayerCache;
use crate::image::disk::XattrSpace;
use crate::image::view::Image;
use drift_formats::bolt::{self, Pages};
use drift_formats::mountinfo::{is_at_or_below, Mount};
use drift_formats::overlay_options::OverlayLayers;
use serde::Deserialize;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Largest record that is read, bytes: `layers.json` has all the layers of a host.
const MAX_RECORD: usize = 64 << 20;

/// Most layers of a container; overlayfs takes no more.
const MAX_LAYERS: usize = 500;

/// Most mounts of one device that are tried for where the root lies.
const MAX_MOUNTS: usize = 64;

/// A container's layers, as the records have them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layers {
    /// Directories of the host, the topmost first. One that has all of the image is a layer by itself.
    lower: Vec<PathBuf>,
    /// The writable layer, where it is a directory of its own.
    upper: Option<PathBuf>,
}

/// The image of a container, and its writable layer as the host names it, by the records of whoever runs it.
///
/// # Errors
/// Why there is none.
pub fn image_of(
    host: &Host,
    container: &str,
    live: &Live,
    cache: &LayerCache,
) -> Result<(Image, Option<Vec<u8>>), String> {
    let mounts = live.mounts();
    let root = mounts.root().ok_or("the container has no root")?;
    let dir = on_host(host, live, root)?;
    let found = Reader { host, container }.layers(&dir)?;
    // containers/storage unpacks layers so for an overlay in user space (drivers/overlay/overlay.go).
    let marks = if is_local(root) { XattrSpace::Trusted } else { XattrSpace::Names };
    let table = host.init_mounts(live.looked_at());
    let mut layers = Vec::with_capacity(found.lower.len());
    for (depth, layer) in found.lower.iter().enumerate() {
        let real = std::fs::canonicalize(host.path(layer.as_os_str().as_bytes()))
            .map_err(|why| format!("layer {}: {why}", layer.display()))?;
        let lies_on = table.as_ref().and_then(|t| t.table.covering(layer.as_os_str().as_bytes()));
        if !lies_on.is_none_or(is_local) {
            return Err(format!("layer {} is on a remote file system", layer.display()));
        }
        if !is_init_layer(&real, depth == 0) {
            layers.push(cache.layer(&real, marks));
        }
    }
    if layers.is_empty() {
        return Err("the records name no layer".to_owned());
    }
    let upper = found.upper.map(|dir| dir.as_os_str().as_bytes().to_vec());
    Ok((Image::new(layers), upper))
}

/// The directory of the host that is the container's root, or its overlay's writable layer.
fn on_host(host: &Host, live: &Live, root: &Mount) -> Result<PathBuf, String> {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    if root.fstype == b"overlay" {
        let options = OverlayLayers::parse(&root.super_options).map_err(|why| why.to_string())?;
        let upper = options.upper.filter(|upper| !upper.is_relative());
        let upper = upper.ok_or("the overlay names no writable layer by its whole path")?;
        return match live.root_shows(host, &host.path(upper.as_bytes())) {
            Some(true) => Ok(path(upper.as_bytes())),
            _ => Err("the root is not what its layers' names say".to_owned()),
        };
    }
    let table = host.init_mounts(live.looked_at()).ok_or("the host's mounts cannot be read")?;
    let same = table.table.iter().filter(|mount| mount.dev == root.dev);
    let mut below = same.take(MAX_MOUNTS).filter(|mount| is_at_or_below(&root.root, &mount.root));
    let is_there = |dir: &PathBuf| {
        // A file system in user space is the very one: its device is no other's.
        !is_local(root)
            || RootDir::open(&host.path(dir.as_os_str().as_bytes())).is_ok_and(|dir| live.is_root(&dir))
    };
    below
        .find_map(|mount| {
            let base = mount.root.strip_suffix(b"/").unwrap_or(&mount.root);
            let rest = root.root.strip_prefix(base)?;
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            let at = path(&mount.mount_point);
            Some(if rest.is_empty() { at } else { at.join(OsStr::from_bytes(rest)) }).filter(&is_there)
        })
        .ok_or_else(|| "the host has no directory that is the container's root".to_owned())
}

struct Reader<'h> {
    host: &'h Host,
    container: &'h str,
}

impl Reader<'_> {
    fn layers(&self, dir: &Path) -> Result<Layers, String> {
        let parts: Vec<&[u8]> = dir.iter().rev().take(3).map(OsStr::as_bytes).collect();
        let above = |n: usize| dir.ancestors().nth(n).unwrap_or(Path::new("/"));
        match parts.as_slice() {
            // `<root>/overlay/<id>/diff`, and what is mounted beside it.
            [b"diff" | b"merged", ..] => self.overlay(above(1), above(2)),
            // `<snapshotter>/snapshots/<n>/fs`
            [b"fs", n, b"snapshots"] => {
                let chain = self.snapshots(above(3), number(n)?)?;
                let lower = chain.iter().map(|n| above(2).join(n.to_string()).join("fs")).collect();
                Ok(Layers { lower, upper: Some(dir.to_owned()) })
            }
            // `<root>/vfs/dir/<id>`, `<root>/btrfs/subvolumes/<id>`
            [id, b"dir", b"vfs"] => self.whole(above(3), "vfs", id, above(1)),
            [id, b"subvolumes", b"btrfs"] => self.whole(above(3), "btrfs", id, above(1)),
            // containerd's: `<snapshotter>/snapshots/<n>`; of btrfs the writable one is `active/<n>`.
            [n, b"snapshots" | b"active", ..] if number(n).is_ok() => {
                let chain = self.snapshots(above(2), number(n)?)?;
                let parent = chain.first().ok_or("the snapshot has no parent")?;
                Ok(Layers { lower: vec![above(2).join("snapshots").join(parent.to_string())], upper: None })
            }
            _ => Err(format!("no engine is known that keeps containers in {}", dir.display())),
        }
    }

    /// Of containers/storage and Docker: `lower` has the layers below, relative to the driver's directory.
    fn overlay(&self, layer: &Path, driver: &Path) -> Result<Layers, String> {
        let names = self.file(&layer.join("lower"))?;
        let names = names.strip_suffix(b"\n").unwrap_or(&names);
        let lower: Vec<PathBuf> = names
            .split(|b| *b == b':')
            .filter(|name| !name.is_empty())
            .take(MAX_LAYERS)
            .map(|name| driver.join(OsStr::from_bytes(name)))
            .collect();
        Ok(Layers { lower, upper: Some(layer.join("diff")) })
    }

    /// Drivers whose directories have all of the image each.
    fn whole(&self, root: &Path, driver: &str, id: &[u8], dirs: &Path) -> Result<Layers, String> {
        let id = std::str::from_utf8(id).map_err(|_| "a layer's name is no text")?;
        let name = match self.parent_by_layerdb(&root.join("image").join(driver).join("layerdb"))? {
            Some(name) => name,
            None => self.parent_in_storage(&root.join(format!("{driver}-layers")), id)?,
        };
        if name.is_empty() || name.contains(['/', '\0']) || name.bytes().all(|b| b == b'.') {
            return Err(format!("{name:?} is no name of a layer"));
        }
        Ok(Layers { lower: vec![dirs.join(name)], upper: None })
    }

    /// Docker's: the directory of the image's layers; `None` where there is no such record.
    fn parent_by_layerdb(&self, db: &Path) -> Result<Option<String>, String> {
        let text = |path: &Path| -> Result<Option<String>, String> {
            let read = self.host.read_state(path.as_os_str().as_bytes(), 4096);
            let read = read.map_err(|why| format!("{}: {why}", path.display()))?;
            Ok(read.and_then(|bytes| String::from_utf8(bytes).ok()))
        };
        let Some(chain) = text(&db.join("mounts").join(self.container).join("parent"))? else {
            return Ok(None);
        };
        let chain = drift_formats::digest::Digest::parse(chain.trim()).map_err(|why| why.to_string())?;
        let dir = text(&db.join("sha256").join(chain.hex()).join("cache-id"))?;
        dir.map(|dir| Some(dir.trim().to_owned())).ok_or_else(|| "the image's layer has no record".to_owned())
    }

    /// Name of the layer below one of containers/storage.
    fn parent_in_storage(&self, layers: &Path, id: &str) -> Result<String, String> {
        let mut why = "no record of the container's layer".to_owned();
        for name in ["layers.json", "volatile-layers.json"] {
            match self.file(&layers.join(name)).and_then(|json| parent_in(&json, id)) {
                Ok(Some(parent)) => return Ok(parent),
                Ok(None) => {}
                Err(failed) => why = failed,
            }
        }
        Err(why)
    }

    fn file(&self, path: &Path) -> Result<Vec<u8>, String> {
        match self.host.read_state(path.as_os_str().as_bytes(), MAX_RECORD) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(format!("{} is not there", path.display())),
            Err(why) => Err(format!("{}: {why}", path.display())),
        }
    }

    /// Numbers of the snapshots below one of a snapshotter of containerd, the topmost first.
    fn snapshots(&self, snapshotter: &Path, n: u64) -> Result<Vec<u64>, String> {
        let path = snapshotter.join("metadata.db");
        let database = self.host.open_state(path.as_os_str().as_bytes());
        let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let database = database.map_err(|why| failed(&why))?.ok_or_else(|| failed(&"not there"))?;
        snapshots_below(&database, n).map_err(|why| failed(&why))
    }
}

fn number(name: &[u8]) -> Result<u64, String> {
    std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or("no number of a snapshot".into())
}

/// The parent of a layer in `layers.json`; `None` where the layer is not in it.
fn parent_in(json: &[u8], id: &str) -> Result<Option<String>, String> {
    #[derive(Deserialize)]
    struct Layer {
        id: String,
        #[serde(default)]
        parent: String,
    }
    let layers: Vec<Layer> = serde_json::from_slice(json).map_err(|why| why.to_string())?;
    let found = layers.into_iter().find(|layer| layer.id == id);
    Ok(found.map(|layer| layer.parent).filter(|parent| !parent.is_empty()))
}

/// Follows the bucket `parents`, whose keys are a parent's number, a zero byte and its child's number.
fn snapshots_below<P: Pages>(database: &P, n: u64) -> Result<Vec<u64>, bolt::BoltError> {
    bolt::ask(database, |db| {
        let (mut below, mut at) = (Vec::new(), n);
        while below.len() < MAX_LAYERS {
            let is_its = |key: &[u8]| parent_and_child(key).is_some_and(|(_, child)| child == at);
            let Some(key) = db.find_key(&[b"v1", b"parents"], is_its)? else { break };
            let Some((parent, _)) = parent_and_child(&key) else { break };
            below.push(parent);
            at = parent;
        }
        Ok(below)
    })
}

fn parent_and_child(key: &[u8]) -> Option<(u64, u64)> {
    let (parent, rest) = uvarint(key)?;
    let (child, rest) = uvarint(rest.strip_prefix(b"\0")?)?;
    rest.is_empty().then_some((parent, child))
}

/// A number as Go's `binary.PutUvarint` writes it, and what follows.
fn uvarint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(7 * i).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(i + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_storage_name_the_layer_below() {
        let json = br#"[{"id":"a"},{"id":"b","parent":"a","created":"x"},{"id":"c","parent":""}]"#;
        for (id, want) in [("b", Some("a")), ("a", None), ("c", None), ("d", None)] {
            assert_eq!(parent_in(json, id).unwrap().as_deref(), want, "{id}");
        }
        assert!(parent_in(b"[{", "a").is_err());
    }

    #[test]
    fn keys_of_parents_are_two_numbers() {
        for (key, want) in [
            (&[1u8, 0, 2][..], Some((1, 2))),
            (&[0xac, 2, 0, 7], Some((300, 7))),
            (&[1, 2], None),
            (&[1, 0, 2, 3], None),
            (&[0x80], None),
            (&[], None),
        ] {
            assert_eq!(parent_and_child(key), want, "{key:?}");
        }
    }

    #[test]
    fn names_of_directories_lead_to_the_records() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let chain = "0a".repeat(32);
        write("s/overlay/c/lower", "l/TOP:l/BASE");
        write(
            "s/vfs-layers/layers.json",
            r#"[{"id":"img"},{"id":"rw","parent":"img"},{"id":"out","parent":"../x"}]"#,
        );
        write("d/image/btrfs/layerdb/mounts/cid/parent", &format!("sha256:{chain}"));
        write(&format!("d/image/btrfs/layerdb/sha256/{chain}/cache-id"), "dir1");
        let host = Host::new(root.path());
        let ask = |dir: &str| Reader { host: &host, container: "cid" }.layers(Path::new(dir));
        let lower = |dir: &str| ask(dir).map(|found| found.lower);
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let overlay = ask("/s/overlay/c/merged").unwrap();
        assert_eq!(overlay.lower, paths(&["/s/overlay/l/TOP", "/s/overlay/l/BASE"]));
        assert_eq!(overlay.upper, Some("/s/overlay/c/diff".into()));
        assert_eq!(lower("/s/vfs/dir/rw").unwrap(), paths(&["/s/vfs/dir/img"]));
        assert_eq!(lower("/d/btrfs/subvolumes/x").unwrap(), paths(&["/d/btrfs/subvolumes/dir1"]));
        for dir in [
            "/s/vfs/dir/img",
            "/s/vfs/dir/out",
            "/s/overlay/none/diff",
            "/srv/rootfs",
            "/",
            "/x/snapshots/3/fs",
        ] {
            assert!(ask(dir).is_err(), "{dir}");
        }
    }
}
