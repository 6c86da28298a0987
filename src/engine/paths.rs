//! The paths that calls name: absolute, in the mount namespace of the process.
//!
//! Invariant: memory look-ups only, unless a directory is known to the kernel alone.

use super::context::Context;
use super::threads::Threads;
use crate::event::file::{opened_descriptor, Named};
use crate::event::threads::Place;
use drift_core::container::mounts::Sight;
use drift_core::container::registry::Container;
use drift_formats::entry::ImagePath;
use rustix::fs::FileType;

/// Length from which on the engine's working directories may be cut (`SCAP_MAX_PATH_SIZE` is 1024).
const MAX_EXACT: usize = 1000;

/// What a call named.
pub(super) struct NamedPath {
    /// `None`: the directory that it begins at is not known.
    pub(super) path: Option<ImagePath>,
    /// The engine does not know for sure where a relative name begins. The process itself was asked then, but
    /// by that time it may have been elsewhere.
    pub(super) is_doubtful: bool,
}

/// Where the paths of the event's thread begin.
pub(super) fn place(cx: &Context<'_>, threads: &Threads) -> Option<Place> {
    let tid = cx.event.tid;
    cx.table.place(tid, threads.peek(tid).map(|state| state.pid))
}

/// The absolute path of what a call named, in the mount namespace of the process; `container` is `None` on
/// the host.
pub(super) fn named(
    cx: &Context<'_>,
    container: Option<&Container>,
    place: &Place,
    named: Named<'_>,
) -> NamedPath {
    let absolute = |path: Option<Vec<u8>>| path.filter(|path| path.starts_with(b"/"));
    // The engine's table first: it knows the directory as it was at the event.
    let known = match named {
        Named::Path(path) | Named::At(_, path) if path.starts_with(b"/") => {
            let path = match (place.root.is_empty(), container) {
                // Almost no process has called chroot.
                (true, _) => ImagePath::lexical(b"/", path),
                (false, Some(container)) => below(&root_of(cx, container, place), path),
                (false, None) => below(&place.root, path),
            };
            return NamedPath { path: path.ok(), is_doubtful: false };
        }
        Named::Path(_) => absolute(cx.table.cwd(place.tid)),
        Named::At(fd, _) | Named::Fd(fd) => absolute(cx.table.fd_name(place.pid, fd)),
    };
    let is_doubtful = !known.as_deref().is_some_and(is_exact);
    let host = cx.host();
    let path = match named {
        Named::Path(path) => {
            // The engine's directories of a process in a chroot begin at that root.
            let own = if is_doubtful || !place.root.is_empty() { host.cwd_of(place.pid) } else { None };
            match own {
                Some(own) => ImagePath::lexical(&own, path).ok(),
                None => known.and_then(|cwd| below(&cwd, path).ok()),
            }
        }
        Named::At(fd, _) | Named::Fd(fd) => {
            let own = if is_doubtful { absolute(host.fd_path_of(place.pid, fd)) } else { None };
            own.or(known).and_then(|base| match named {
                Named::At(_, path) => below(&base, path).ok(),
                _ => ImagePath::lexical(b"/", &base).ok(),
            })
        }
    };
    NamedPath { path, is_doubtful }
}

/// A path that begins at a directory.
fn below(base: &[u8], path: &[u8]) -> Result<ImagePath, drift_formats::entry::PathError> {
    let relative = path.iter().position(|b| *b != b'/').and_then(|at| path.get(at..)).unwrap_or_default();
    ImagePath::lexical(base, relative)
}

/// Where a path through `/proc` (`/proc/self/fd/7`, `/proc/self/root/etc/passwd`) led the process: its own
/// links there mean nothing to any other, but the file it opened tells. Other paths are given back as they
/// are.
pub(super) fn behind_proc(cx: &Context<'_>, place: &Place, path: ImagePath) -> Option<ImagePath> {
    const LINKS: [&[u8]; 3] = [b"/fd/", b"/root/", b"/cwd/"];
    let through = path.is_within(b"/dev/fd")
        || (path.is_within(b"/proc")
            && LINKS.iter().any(|link| path.as_bytes().windows(link.len()).any(|part| part == *link)));
    if !through {
        return Some(path);
    }
    let fd = opened_descriptor(cx.event)?;
    let real = cx.host().fd_path_of(place.pid, fd).filter(|real| real.starts_with(b"/"))?;
    ImagePath::lexical(b"/", &real).ok()
}

/// Whether a process of the host has the container's root as its own, as those that copy files into
/// containers do.
pub(super) fn is_at_root_of(cx: &Context<'_>, container: &Container) -> bool {
    let root = cx.host().root_of(cx.event.tid);
    let live = container.live.as_ref();
    root.is_ok_and(|root| live.is_some_and(|live| live.root_dev == root.dev))
}

/// The root directory that absolute paths of a process begin at.
///
/// The engine follows chroot, but not what a runtime does to a root. The process itself knows while it lives;
/// after that the engine is believed if the container has such a directory.
fn root_of(cx: &Context<'_>, container: &Container, place: &Place) -> Vec<u8> {
    let host = cx.host();
    let known = place.root.as_slice();
    if matches!(known, b"" | b"/") {
        return b"/".to_vec();
    }
    let is_inside = || {
        let live = container.live.as_ref()?;
        let path = ImagePath::lexical(b"/", known).ok()?;
        match live.find(host, &container.id, live.pid(), &live.root(host, &[])?, &path, true).ok()? {
            Sight::File(dir, _) => (dir.kind == FileType::Directory).then_some(()),
            // Nobody looks at what is there.
            Sight::Mount(_) => Some(()),
        }
    };
    host.root_path_of(place.pid)
        .or_else(|| is_inside().map(|_| known.to_vec()))
        .unwrap_or_else(|| b"/".to_vec())
}

/// Whether a directory is as the engine found it: it replaces bytes that are not text, and cuts or gives up
/// on what is long.
///
/// libs before 0.25 put a dot for each such byte. One that leaves other letters beside it looks like a name;
/// of dots alone a followed path has none (`copy_and_sanitize_path`, userspace/libsinsp/utils.cpp).
fn is_exact(dir: &[u8]) -> bool {
    dir.is_ascii()
        && dir.len() < MAX_EXACT
        && !dir.starts_with(b"/DIR_TOO_LONG")
        && !dir.split(|b| *b == b'/').any(|part| !part.is_empty() && part.iter().all(|b| *b == b'.'))
}
