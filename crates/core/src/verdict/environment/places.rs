//! Where a path of a value leads: to the image's files, or to what others may have put there.

use crate::container::registry::Container;
use crate::host::Host;
use crate::image::view::Presence;
use drift_formats::entry::{FileKind, ImagePath};
use rustix::io::Errno;
use std::io::Read;

/// Directories that every process may write, wherever code is looked for in them.
const SCRATCH: [&[u8]; 6] = [b"/tmp", b"/var/tmp", b"/dev", b"/proc", b"/run", b"/var/run"];

/// File systems that answer without asking another machine or process.
const LOCAL: [&[u8]; 6] = [b"overlay", b"tmpfs", b"ext4", b"xfs", b"btrfs", b"zfs"];

/// Users, and how much is read of them, bytes.
const PASSWD: &[u8] = b"/etc/passwd";
const MAX_PASSWD: u64 = 64 << 10;

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The image has it.
    Image,
    /// A mount that nobody in the container can write: part of the deployment.
    Declared,
    /// A writable volume, a scratch directory, or a directory of the image that everyone may write.
    Writable,
    /// The image does not have it.
    Absent,
    /// The image is not known.
    Unknown,
}

/// What a verdict asks of a container's files.
pub trait Files {
    /// Where an absolute path leads.
    fn place(&self, path: &[u8]) -> Place;
    /// Whether something is at an absolute path in the running container; `None` where that is not known.
    fn exists(&self, path: &[u8]) -> Option<bool>;
    /// Whether a directory is the home of a user of the running container.
    fn is_users_home(&self, dir: &[u8]) -> bool;
}

/// The files of a container, as one of its processes sees them.
#[derive(Debug, Clone, Copy)]
pub struct OfContainer<'a> {
    /// The host.
    pub host: &'a Host,
    /// The container.
    pub container: &'a Container,
    /// The process.
    pub pid: i64,
}

impl Files for OfContainer<'_> {
    fn place(&self, path: &[u8]) -> Place {
        if path == b"/dev/null" {
            return Place::Image;
        }
        let Ok(path) = ImagePath::lexical(b"/", path) else { return Place::Unknown };
        if let Some(place) = self.outside_image(&path) {
            return place;
        }
        let (real, found) = match &self.container.image {
            Ok(image) => match image.resolve(&path) {
                // Archives may leave directories out that have files.
                (_, Presence::Absent) => (path.clone(), image.lookup(&path)),
                found => found,
            },
            Err(_) => return Place::Unknown,
        };
        // Links of the image may lead out of it.
        if let Some(place) = self.outside_image(&real) {
            return place;
        }
        match found {
            Presence::Absent if path.as_bytes() == b"/" => Place::Image,
            Presence::Absent => Place::Absent,
            Presence::Present { entry, .. } => {
                let is_open = entry.kind == FileKind::Directory && entry.mode.is_some_and(|m| m & 0o002 != 0);
                if is_open {
                    Place::Writable
                } else {
                    Place::Image
                }
            }
            Presence::Unknown(_) => Place::Unknown,
        }
    }

    fn exists(&self, path: &[u8]) -> Option<bool> {
        let live = self.container.live.as_ref()?;
        let path = ImagePath::lexical(b"/", path).ok()?;
        // Another file system's server may never answer.
        let mounts = live.mounts_now();
        let mount = mounts.covering(path.as_bytes())?;
        if !LOCAL.contains(&mount.fstype.as_slice()) {
            return None;
        }
        match live.root(self.host, &[self.pid])?.find(path.as_bytes()) {
            Ok(_) => Some(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Some(false),
            Err(_) => None,
        }
    }

    fn is_users_home(&self, dir: &[u8]) -> bool {
        // Another file system's server may never answer.
        if self.exists(PASSWD) != Some(true) {
            return false;
        }
        let root = self.container.live.as_ref().and_then(|live| live.root(self.host, &[self.pid]));
        let Some(found) = root.and_then(|root| root.find(PASSWD).ok()) else { return false };
        let mut users = Vec::new();
        let read = found.open().map(|file| file.take(MAX_PASSWD).read_to_end(&mut users));
        matches!(read, Ok(Ok(_))) && users.split(|b| *b == b'\n').any(|user| home_of(user) == Some(dir))
    }
}

/// The home directory of a line of `/etc/passwd`.
fn home_of(user: &[u8]) -> Option<&[u8]> {
    user.split(|b| *b == b':').nth(5).filter(|home| home.len() > 1)
}

impl OfContainer<'_> {
    /// Where a path leads that lies on a mount or in a scratch directory.
    fn outside_image(&self, path: &ImagePath) -> Option<Place> {
        if let Some(live) = &self.container.live {
            let mounts = live.mounts_now();
            let mount = mounts.covering(path.as_bytes()).filter(|m| m.dev != live.root_dev);
            if let Some(mount) = mount {
                return Some(if mount.read_only { Place::Declared } else { Place::Writable });
            }
        }
        SCRATCH.iter().any(|scratch| path.is_within(scratch)).then_some(Place::Writable)
    }
}
