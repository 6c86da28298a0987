//! The layer that Docker puts over every image: `/.dockerenv`, and what is mounted over (`/etc/hosts`). It is
//! no part of the image (moby `daemon/initlayer/setup_unix.go`).
//!
//! Docker's own storage names it `<layer>-init`. In containerd's it is a snapshot like any other, and is told
//! by what it holds. Invariant: a layer that holds anything else counts as the image's; a bounded number of
//! entries is looked at.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What Docker makes, unless the image has it.
const MADE: [&str; 11] = [
    "dev",
    "dev/console",
    "dev/pts",
    "dev/shm",
    "etc",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    "proc",
    "sys",
];

/// What it makes as well, and by which the layer is known: images hardly have it.
const MARK: &str = ".dockerenv";

/// Whether a directory is such a layer; `uppermost`: no other layer below the container's own lies over it.
pub(crate) fn is_init_layer(dir: &Path, uppermost: bool) -> bool {
    let parent = dir.parent().and_then(Path::file_name).map(OsStr::as_bytes);
    match dir.file_name().map(OsStr::as_bytes) {
        Some(b"diff") => parent.is_some_and(|name| name.ends_with(b"-init")),
        // `snapshots/<n>/fs`
        Some(b"fs") if uppermost => is_file(&dir.join(MARK)) && holds_only_made(dir, ""),
        _ => false,
    }
}

fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

/// Whether a directory of the layer, `below` its root, has nothing but what Docker makes. Ends at the first
/// other entry.
fn holds_only_made(layer: &Path, below: &str) -> bool {
    let Ok(mut entries) = std::fs::read_dir(layer.join(below)) else { return false };
    entries.all(|entry| {
        let Ok(entry) = entry else { return false };
        let name = entry.file_name();
        let Some(name) = name.to_str() else { return false };
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        path == MARK || (MADE.contains(&path.as_str()) && (!is_dir || holds_only_made(layer, &path)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_own_storage_names_it() {
        for (dir, want) in [
            ("/var/lib/docker/overlay2/0a-init/diff", true),
            ("/var/lib/docker/overlay2/0a/diff", false),
            ("/var/lib/docker/overlay2/l-init/fs", false),
            ("/", false),
        ] {
            assert_eq!(is_init_layer(Path::new(dir), false), want, "{dir}");
        }
    }

    #[test]
    fn containerds_is_told_by_what_it_holds() {
        let whole: &[&str] = &[
            ".dockerenv",
            "dev/console",
            "dev/pts/",
            "dev/shm/",
            "etc/hostname",
            "etc/hosts",
            "etc/mtab>/proc/mounts",
            "etc/resolv.conf",
            "proc/",
            "sys/",
        ];
        let cases: &[(&[&str], bool)] = &[
            (whole, true),
            (&[".dockerenv", "etc/mtab>/proc/mounts"], true),
            (&[".dockerenv"], true),
            (&[], false),
            (&["etc/hosts"], false),
            (&[".dockerenv", "etc/hosts", "etc/passwd"], false),
            (&[".dockerenv", "dev/shm/x"], false),
            (&[".dockerenv", "usr/bin/x"], false),
            (&[".dockerenv", "etc>/"], true),
            (&[".dockerenv>/etc/passwd", "etc/hosts"], false),
            (&[".dockerenv/", "etc/hosts"], false),
        ];
        for (paths, want) in cases {
            let root = tempfile::tempdir().unwrap();
            let layer = root.path().join("7/fs");
            std::fs::create_dir_all(&layer).unwrap();
            for path in *paths {
                let (path, target) = path.split_once('>').unwrap_or((path, ""));
                let at = layer.join(path);
                if path.ends_with('/') {
                    std::fs::create_dir_all(at).unwrap();
                    continue;
                }
                std::fs::create_dir_all(at.parent().unwrap()).unwrap();
                match target {
                    "" => std::fs::write(at, "").unwrap(),
                    target => std::os::unix::fs::symlink(target, at).unwrap(),
                }
            }
            assert_eq!(is_init_layer(&layer, true), *want, "{paths:?}");
            assert!(!is_init_layer(&layer, false), "{paths:?}");
        }
    }
}
