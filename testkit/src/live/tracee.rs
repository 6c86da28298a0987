//! What a tracer reads of a thread that stands still: its memory, its open files, whether a path of its leads
//! somewhere.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;

use nix::libc;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::layer::{self, Layer};

/// Stands for the working directory, for the kernel and the probe.
pub(super) const AT_FDCWD: i64 = -100;
/// The longest path that the probe reads, its zero included.
const PATH_MAX: usize = 4096;

/// The text at `address`, without its zero and cut as the probe cuts it; `None` where there is nothing to
/// read.
pub(super) fn text(tid: i64, address: u64) -> Option<Vec<u8>> {
    if address == 0 {
        return None;
    }
    let memory = File::open(format!("/proc/{tid}/mem")).ok()?;
    let mut found = Vec::new();
    while found.len() < PATH_MAX {
        // Not across a page's end: the next page may not be there.
        let at = address + found.len() as u64;
        let mut page = vec![0u8; (4096 - (at % 4096) as usize).min(PATH_MAX - found.len())];
        let count = memory.read_at(&mut page, at).unwrap_or(0);
        let read = page.get(..count).unwrap_or_default();
        match read.iter().position(|&byte| byte == 0) {
            Some(end) => {
                found.extend(read.iter().take(end));
                return Some(found);
            }
            None if count == 0 => return None,
            None => found.extend(read),
        }
    }
    found.truncate(PATH_MAX - 1);
    Some(found)
}

/// Memory from `address` on; as much as can be read in one piece, at most `length` bytes.
pub(super) fn bytes(tid: i64, address: u64, length: usize) -> Vec<u8> {
    let mut found = vec![0u8; length];
    let read = File::open(format!("/proc/{tid}/mem")).and_then(|memory| memory.read_at(&mut found, address));
    found.truncate(read.unwrap_or(0));
    found
}

/// Three words of memory; zeros where they cannot be read.
pub(super) fn words(tid: i64, address: u64) -> [u64; 3] {
    let mut bytes = [0u8; 24];
    let read =
        File::open(format!("/proc/{tid}/mem")).and_then(|memory| memory.read_exact_at(&mut bytes, address));
    if read.is_err() {
        return [0; 3];
    }
    let mut words = [0u64; 3];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_ne_bytes(chunk.try_into().unwrap_or_default());
    }
    words
}

/// An open file, as the probe tells of it.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// The file system, as the kernel numbers devices for programs.
    pub(super) dev: u32,
    pub(super) ino: u64,
    pub(super) layer: Layer,
}

/// The file that thread `tid` has open as `fd`; empty where that cannot be read.
pub(super) fn opened(tid: i64, fd: i64) -> Opened {
    let link = PathBuf::from(format!("/proc/{tid}/fd/{fd}"));
    let found = || -> Option<Opened> {
        let file = File::from(rustix::fs::open(&link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?);
        let stat = file.metadata().ok()?;
        let path = std::fs::read_link(&link).ok()?;
        let layer = layer::layer_of(tid, &file, &path).map(|found| found.0).unwrap_or_default();
        let (major, minor) = (libc::major(stat.dev()), libc::minor(stat.dev()));
        let dev = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
        Some(Opened { dev, ino: stat.ino(), layer })
    };
    found().unwrap_or_default()
}

/// Whether `path`, relative to the directory `dirfd` of thread `tid`, leads to a file now; a last symlink is
/// followed or not. Resolved inside the thread's own root.
pub(super) fn exists(tid: i64, dirfd: i64, path: &[u8], follow: bool) -> bool {
    find(tid, dirfd, path, follow).is_some()
}

fn find(tid: i64, dirfd: i64, path: &[u8], follow: bool) -> Option<OwnedFd> {
    let mut how = OFlags::PATH | OFlags::CLOEXEC;
    if !follow {
        how |= OFlags::NOFOLLOW;
    }
    let open = |link: &str| rustix::fs::open(link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok();
    let root = open(&format!("/proc/{tid}/root"))?;
    let in_root = |path: &[u8]| {
        rustix::fs::openat2(root.as_fd(), OsStr::from_bytes(path), how, Mode::empty(), ResolveFlags::IN_ROOT)
            .ok()
    };
    if path.first() == Some(&b'/') {
        return in_root(path);
    }
    let link = match dirfd {
        AT_FDCWD => format!("/proc/{tid}/cwd"),
        fd => format!("/proc/{tid}/fd/{fd}"),
    };
    // Without a symlink on the way the root does not matter, and a path of any length will do.
    let begin = open(&link)?;
    let plain = ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(begin.as_fd(), OsStr::from_bytes(path), how, Mode::empty(), plain) {
        Ok(file) => return Some(file),
        Err(rustix::io::Errno::LOOP) => {}
        Err(_) => return None,
    }
    let own_root = std::fs::read_link(format!("/proc/{tid}/root")).ok()?.into_os_string().into_vec();
    let whole = std::fs::read_link(link).ok()?.into_os_string().into_vec();
    let own_root = own_root.strip_suffix(b"/").unwrap_or(&own_root);
    let mut from_root = whole.strip_prefix(own_root).unwrap_or(&whole).to_vec();
    from_root.push(b'/');
    from_root.extend(path);
    in_root(&from_root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_memory_ends_at_its_zero() {
        let me = i64::from(std::process::id());
        let text_here = c"some/path";
        assert_eq!(text(me, text_here.as_ptr() as u64).as_deref(), Some(&b"some/path"[..]));
        assert_eq!(text(me, 0), None);
        assert_eq!(text(me, 1), None);
        let long = vec![b'x'; 3 * PATH_MAX];
        assert_eq!(text(me, long.as_ptr() as u64).map(|t| t.len()), Some(PATH_MAX - 1));
    }

    #[test]
    fn paths_are_found_from_where_they_begin() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("there"), "").unwrap();
        std::os::unix::fs::symlink("there", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
        let me = i64::from(std::process::id());
        let handle = File::open(dir.path()).unwrap();
        let fd = i64::from(std::os::fd::AsRawFd::as_raw_fd(&handle));
        let cases = [
            ("there", true, true),
            ("link", true, true),
            ("gone", true, false),
            ("dangling", true, false),
            ("dangling", false, true),
        ];
        for (name, follow, expected) in cases {
            assert_eq!(exists(me, fd, name.as_bytes(), follow), expected, "{name}");
            let whole = dir.path().join(name);
            assert_eq!(exists(me, AT_FDCWD, whole.as_os_str().as_bytes(), follow), expected, "{name}");
        }
    }
}
