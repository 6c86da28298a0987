//! What container engines put into a container's root before its first process: entries of the user that it
//! runs as, the link to the table of mounts, places to mount at.

use crate::host::{FoundFile, RootDir};
use crate::image::view::{Image, Presence};
use drift_formats::entry::ImagePath;
use rustix::fs::FileType;
use std::fs::File;
use std::io::Read;

/// Largest `/etc/passwd` or `/etc/group` read, bytes.
const MAX: u64 = 1 << 20;
/// Most lines that an engine adds.
const MAX_ADDED: usize = 4;

/// Whether an engine made the file as it is. `uid` is the user that the container was declared to run as.
pub fn is_engines(image: &Image, root: &RootDir, path: &ImagePath, uid: Option<u32>, covered: bool) -> bool {
    let Ok(found) = root.find_here(path.as_bytes(), false) else { return false };
    match (path.as_bytes(), found.kind) {
        (b"/etc/mtab", FileType::Symlink) => {
            matches!(
                found.link_target().as_deref(),
                Some(b"/proc/mounts" | b"/proc/self/mounts" | b"../proc/self/mounts")
            )
        }
        // podman adds a line for a user that the image does not name (libpod, generatePasswdEntry).
        (b"/etc/passwd" | b"/etc/group", FileType::RegularFile) => adds_only_user(image, path, &found, uid),
        // Something is mounted over it: what lies underneath is a place to mount at as long as it is empty.
        (_, FileType::RegularFile) => covered && found.size == 0,
        _ => false,
    }
}

fn adds_only_user(image: &Image, path: &ImagePath, found: &FoundFile, uid: Option<u32>) -> bool {
    let Presence::Present { layer, .. } = image.lookup(path) else { return false };
    let Some(layer) = image.layers().get(layer) else { return false };
    let before = layer.open_file(path).ok().and_then(|fd| content(File::from(fd)));
    let now = found.open().ok().and_then(content);
    let (Some(before), Some(now), Some(uid)) = (before, now, uid) else { return false };
    let Some(added) = now.strip_prefix(before.as_slice()) else { return false };
    let mut lines = added.split(|b| *b == b'\n').filter(|line| !line.is_empty()).peekable();
    let is_user = |line: &[u8]| {
        let mut parts = line.split(|b| *b == b':');
        let (_, password, id) = (parts.next(), parts.next(), parts.next());
        let id = id.and_then(|id| std::str::from_utf8(id).ok()?.parse::<u32>().ok());
        // An entry that opens a way in has a password, none at all, or is root's.
        matches!(password, Some(b"*" | b"x" | b"!")) && id == Some(uid) && uid != 0
    };
    lines.peek().is_some() && added.iter().filter(|b| **b == b'\n').count() <= MAX_ADDED && lines.all(is_user)
}

fn content(file: File) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= MAX).then_some(bytes)
}
