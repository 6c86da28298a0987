//! An overlayfs lower directory on disk: point look-ups and the walk that indexes it.
//!
//! Invariant: every look-up stays beneath the layer's own directory and never follows a symbolic link inside
//! it (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`); layers hold what image authors wrote,
//! links to the host included.
//!
//! Whiteouts and opaque directories as in the kernel's Documentation/filesystems/overlayfs.rst: a character
//! device 0/0; since 6.7 also an empty regular file with the xattr `overlay.whiteout` in a directory whose
//! `overlay.opaque` is `x`; `overlay.opaque` = `y` hides what the layers underneath hold. The xattrs live in
//! `trusted.`, or in `user.` where the mount says `userxattr`. Reading `trusted.` needs CAP_SYS_ADMIN, and
//! without it the kernel answers ENODATA (fs/xattr.c, `xattr_permission`), as if there were none: callers
//! that lack the capability must treat every layer as partial.

use crate::host::FoundFile;
use crate::image::index::{IndexBuilder, LayerIndex};
use crate::image::looked::Said;
use drift_formats::entry::{FileKind, ImagePath};
use drift_formats::path_key::{child_key, root_key, PathKey};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where a layer's overlay xattrs live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum XattrSpace {
    /// `trusted.overlay.*`, the default.
    Trusted,
    /// `user.overlay.*`, for mounts with the option `userxattr`.
    User,
    /// None: files named `.wh.<name>` and `.wh..wh..opq` are the marks, as in an image's archives. What
    /// containers/storage unpacks for an overlay in user space (fuse-overlayfs, which makes and reads both
    /// kinds).
    Names,
}

impl XattrSpace {
    /// The full name of an overlay xattr, such as `opaque`.
    pub fn name(self, key: &str) -> String {
        match self {
            Self::Trusted => format!("trusted.overlay.{key}"),
            Self::User => format!("user.overlay.{key}"),
            Self::Names => format!("user.fuseoverlayfs.{key}"),
        }
    }

    /// Where a name is a mark: the name that it removes; `Some(None)` where it speaks of the directory, or is
    /// the unpacker's own.
    pub(crate) fn mark(self, name: &CStr) -> Option<Option<&[u8]>> {
        let removed = name.to_bytes().strip_prefix(WHITEOUT_PREFIX).filter(|_| self == Self::Names)?;
        let is_of_directory =
            removed.is_empty() || removed.starts_with(WHITEOUT_PREFIX) || removed == b".opq";
        Some(Some(removed).filter(|_| !is_of_directory))
    }

    /// Whether a file in a directory hides what layers underneath have in it.
    pub(crate) fn has_opaque_name(self, directory: &OwnedFd) -> bool {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        self == Self::Names && rustix::fs::statx(directory, OPAQUE_NAME, flags, StatxFlags::TYPE).is_ok()
    }
}

/// What a file begins with that removes the one of the rest of its name.
const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The file in a directory that hides what layers underneath have in it.
const OPAQUE_NAME: &CStr = c".wh..wh..opq";

/// What a layer's directory answers about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskAnswer {
    /// The layer holds it.
    Entry(FileKind),
    /// The layer removes it, or has something other than a directory above it.
    Hidden,
    /// Nothing of that name here; an opaque directory above is not looked for.
    Silent,
}

impl DiskAnswer {
    /// The answer that a path's directory gives already; `None` where the path has to be looked at.
    pub(super) fn of_directory(said: Said) -> Option<Self> {
        match said {
            Said::Silent => Some(Self::Silent),
            Said::Hidden => Some(Self::Hidden),
            Said::Nothing | Said::MayBeThere => None,
        }
    }
}

/// An open lower directory.
#[derive(Debug)]
pub struct LayerDir {
    fd: OwnedFd,
    xattrs: XattrSpace,
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

fn relative(path: &ImagePath) -> &[u8] {
    match path.as_bytes() {
        b"/" => b".",
        bytes => bytes.get(1..).unwrap_or(b"."),
    }
}

impl AsFd for LayerDir {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl LayerDir {
    /// Opens a layer's directory. The path is the runtime's own (it may hold links such as Docker's `l/`), so
    /// links in it are followed.
    ///
    /// # Errors
    /// Whatever the kernel says of the path.
    pub fn open(path: &Path, xattrs: XattrSpace) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { fd, xattrs })
    }

    /// Looks one path up: one `openat2` and one `statx` when it is there.
    ///
    /// # Errors
    /// What the kernel says when it is neither there nor absent (EACCES, EIO, ESTALE…).
    pub fn lookup(&self, path: &ImagePath) -> Result<DiskAnswer, Errno> {
        let fd = match self.open_path(relative(path), OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(fd) => fd,
            Err(Errno::NOENT) if self.is_removed_by_name(path) => return Ok(DiskAnswer::Hidden),
            Err(Errno::NOENT) => return Ok(DiskAnswer::Silent),
            // A component above is a whiteout, a file or a link: this layer replaced the directory.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(DiskAnswer::Hidden),
            Err(e) => return Err(e),
        };
        let stat = rustix::fs::statx(&fd, "", EMPTY_PATH, StatxFlags::TYPE | StatxFlags::SIZE)?;
        if self.is_whiteout(&stat, path) {
            return Ok(DiskAnswer::Hidden);
        }
        Ok(DiskAnswer::Entry(file_kind(FileType::from_raw_mode(stat.stx_mode.into()))))
    }

    /// Opens a directory of the layer, to read it.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub(super) fn open_directory(&self, dir: &ImagePath) -> Result<OwnedFd, Errno> {
        self.open_path(relative(dir), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
    }

    /// Whether an open directory of the layer hides what layers underneath have in it.
    pub(super) fn is_opaque(&self, directory: &OwnedFd) -> bool {
        read_xattr(directory, &self.xattrs.name("opaque")).is_some_and(|v| v == b"y")
            || self.xattrs.has_opaque_name(directory)
    }

    /// Whether a file beside a path removes it, or one beside a directory above it.
    fn is_removed_by_name(&self, path: &ImagePath) -> bool {
        let mut at = Some(path.clone()).filter(|_| self.xattrs == XattrSpace::Names);
        while let Some(here) = at {
            let dir = here.parent();
            if let (Some(dir), Some(name)) = (&dir, here.file_name()) {
                let mark = dir.join(&[WHITEOUT_PREFIX, name].concat());
                if mark.is_ok_and(|mark| {
                    self.open_path(relative(&mark), OFlags::PATH | OFlags::NOFOLLOW).is_ok()
                }) {
                    return true;
                }
            }
            at = dir;
        }
        false
    }

    /// Opens a regular file of the layer for reading, without blocking on a FIFO or device.
    ///
    /// # Errors
    /// The kernel's; `Errno::INVAL` when it is not a regular file.
    pub fn open_file(&self, path: &ImagePath) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.open_path(relative(path), flags)?;
        let stat = rustix::fs::fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(fd),
            _ => Err(Errno::INVAL),
        }
    }

    /// Where the layer's overlay xattrs are.
    pub(crate) fn xattr_space(&self) -> XattrSpace {
        self.xattrs
    }

    /// Names in a directory of the layer, no more than `max`, in no order.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub fn names(&self, dir: &ImagePath, max: usize) -> Result<Vec<Vec<u8>>, Errno> {
        let fd = self.open_directory(dir)?;
        let name = |name: &CStr| match self.xattrs.mark(name) {
            Some(removed) => removed.map(<[u8]>::to_vec),
            None => Some(name.to_bytes().to_vec()),
        };
        let entries = Dir::new(fd)?.filter_map(Result::ok).filter_map(|e| name(e.file_name()));
        Ok(entries.filter(|name| name != b"." && name != b"..").take(max).collect())
    }

    /// What the layer has in a directory: each name, and whether the layer holds it (`true`) or removes it
    /// (`false`), in no order; one more than `max` names where there are more.
    ///
    /// # Errors
    /// As [`Self::lookup`]; also where an entry cannot be looked at, since it may be a whiteout.
    pub fn list(&self, dir: &ImagePath, max: usize) -> Result<Vec<(Vec<u8>, bool)>, Errno> {
        let fd = self.open_directory(dir)?;
        let opaque = read_xattr(&fd, &self.xattrs.name("opaque"));
        let mut level = Level { dir: Dir::new(fd)?, key: root_key(), xattr_whiteouts: opaque.is_some() };
        let mut out = Vec::new();
        while let Some(item) = level.dir.next() {
            let item = item?;
            let name = item.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if let Some(mark) = self.xattrs.mark(name) {
                out.extend(mark.map(|removed| (removed.to_vec(), false)));
                continue;
            }
            let kind = classify(self, &level, name, item.file_type())?;
            out.push((name.to_bytes().to_vec(), kind.is_some()));
            if out.len() > max {
                break;
            }
        }
        Ok(out)
    }

    /// The target of a symbolic link of the layer.
    pub fn read_link(&self, path: &ImagePath) -> Option<Vec<u8>> {
        let fd = self.open_path(relative(path), OFlags::PATH | OFlags::NOFOLLOW).ok()?;
        Some(rustix::fs::readlinkat(&fd, c"", Vec::new()).ok()?.into_bytes())
    }

    /// Mode, owner, size and times of a path of the layer; links are not followed.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub fn stat(&self, path: &ImagePath) -> Result<rustix::fs::Statx, Errno> {
        let fd = self.open_path(relative(path), OFlags::PATH | OFlags::NOFOLLOW)?;
        rustix::fs::statx(&fd, "", EMPTY_PATH, StatxFlags::BASIC_STATS)
    }

    /// A path of the layer, held; links are not followed.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub fn find(&self, path: &ImagePath) -> Result<FoundFile, Errno> {
        FoundFile::from_fd(self.open_path(relative(path), OFlags::PATH | OFlags::NOFOLLOW)?)
    }

    /// Whether the file holds only metadata, its content being in another layer (`metacopy=on`, composefs).
    pub fn is_metacopy(&self, path: &ImagePath) -> bool {
        self.xattr(relative(path), "metacopy").is_some()
    }

    fn is_whiteout(&self, stat: &Statx, path: &ImagePath) -> bool {
        let kind = FileType::from_raw_mode(stat.stx_mode.into());
        (kind == FileType::CharacterDevice && stat.stx_rdev_major == 0 && stat.stx_rdev_minor == 0)
            || (may_be_xattr_whiteout(stat) && self.is_xattr_whiteout(path))
    }

    fn open_path(&self, rel: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        rustix::fs::openat2(&self.fd, rel, flags | OFlags::CLOEXEC, Mode::empty(), BENEATH)
    }

    fn is_xattr_whiteout(&self, path: &ImagePath) -> bool {
        let marked = path
            .parent()
            .is_some_and(|d| self.xattr(relative(&d), "opaque").is_some_and(|v| v == b"x" || v == b"y"));
        marked && self.xattr(relative(path), "whiteout").is_some()
    }

    /// An overlay xattr of a file or directory of the layer, up to 16 bytes.
    fn xattr(&self, rel: &[u8], key: &str) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.open_path(rel, flags).ok()?;
        read_xattr(&fd, &self.xattrs.name(key))
    }
}

/// Looks a path up in the layer at `dir`: one `statx`. Only of a path whose directory is known to be one of
/// the layer, with no link on the way: layers never change. `None` where that does not say all.
pub(super) fn lookup_in_known(dir: &Path, path: &ImagePath) -> Option<DiskAnswer> {
    match stat_in_known(dir, path) {
        Ok(stat) if may_be_xattr_whiteout(&stat) => None,
        Ok(stat) => match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::CharacterDevice => None,
            kind => Some(DiskAnswer::Entry(file_kind(kind))),
        },
        // Gone, or the whole layer is: only its own directory tells.
        Err(_) => None,
    }
}

/// As [`LayerDir::stat`], of such a path.
///
/// # Errors
/// The kernel's.
pub(super) fn stat_in_known(dir: &Path, path: &ImagePath) -> Result<Statx, Errno> {
    let whole = dir.join(OsStr::from_bytes(relative(path)));
    rustix::fs::statx(rustix::fs::CWD, whole, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
}

fn may_be_xattr_whiteout(stat: &Statx) -> bool {
    FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile && stat.stx_size == 0
}

const EMPTY_PATH: AtFlags = AtFlags::EMPTY_PATH;

/// An xattr of an open file, up to 16 bytes; an empty value for a longer one.
pub(crate) fn read_xattr(fd: impl AsFd, name: &str) -> Option<Vec<u8>> {
    let mut value = [0u8; 16];
    match rustix::fs::fgetxattr(fd, name, &mut value[..]) {
        Ok(n) => value.get(..n).map(<[u8]>::to_vec),
        // A longer value (metacopy carries a digest) is there all the same.
        Err(Errno::RANGE) => Some(Vec::new()),
        Err(_) => None,
    }
}

fn file_kind(kind: FileType) -> FileKind {
    match kind {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

/// Limits of a walk.
#[derive(Debug, Clone, Copy)]
pub struct WalkLimits {
    /// Most paths in one layer.
    pub max_files: u64,
    /// Deepest directory; `PATH_MAX` allows no more than 2,048.
    pub max_depth: usize,
}

impl Default for WalkLimits {
    fn default() -> Self {
        Self { max_files: 5_000_000, max_depth: 2_048 }
    }
}

/// One directory that the walk is in.
struct Level {
    dir: Dir,
    key: PathKey,
    /// Set where the directory's `overlay.opaque` is `x`: empty files in it may be whiteouts.
    xattr_whiteouts: bool,
}

/// Walks a layer's directory and indexes it. What cannot be read is left out and named in the index's
/// `partial`.
///
/// `keep_going` is asked between directories: the indexer paces itself there. `None` when it said stop.
pub fn index_dir(
    layer: &LayerDir,
    limits: WalkLimits,
    mut keep_going: impl FnMut() -> bool,
) -> Option<LayerIndex> {
    let mut builder = IndexBuilder::new(limits.max_files);
    match walk(layer, limits, &mut keep_going, &mut builder) {
        Ok(()) => {}
        Err(Stop::Asked) => return None,
        Err(Stop::Because(why)) => builder.mark_partial(&why),
    }
    Some(builder.build())
}

/// Why a walk ended early.
enum Stop {
    /// The caller said so.
    Asked,
    /// The layer could not be walked further.
    Because(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

fn walk(
    layer: &LayerDir,
    limits: WalkLimits,
    keep_going: &mut dyn FnMut() -> bool,
    builder: &mut IndexBuilder,
) -> Result<(), Stop> {
    let root = layer
        .open_path(b".", OFlags::RDONLY | OFlags::DIRECTORY)
        .map_err(|e| format!("layer unreadable: {e}"))?;
    let mut levels = vec![enter(layer, root, root_key(), builder)?];
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { return Ok(()) };
        let item = match level.dir.next() {
            None => {
                levels.pop();
                continue;
            }
            Some(Ok(item)) => item,
            Some(Err(e)) => {
                builder.mark_partial(&format!("directory unreadable: {e}"));
                levels.pop();
                continue;
            }
        };
        let name = item.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if let Some(mark) = layer.xattrs.mark(name) {
            if let Some(removed) = mark {
                builder.whiteout_key(child_key(level.key, removed)).map_err(|e| e.to_string())?;
            }
            continue;
        }
        let key = child_key(level.key, name.to_bytes());
        match item.file_type() {
            FileType::Directory => {
                builder.add_key(key, FileKind::Directory).map_err(|e| e.to_string())?;
                if depth >= limits.max_depth {
                    builder.mark_partial("directories nested too deep");
                    continue;
                }
                if !keep_going() {
                    return Err(Stop::Asked);
                }
                match descend(level, name) {
                    Ok(fd) => {
                        let next = enter(layer, fd, key, builder)?;
                        levels.push(next);
                    }
                    Err(e) => builder.mark_partial(&format!("directory unreadable: {e}")),
                }
            }
            kind => {
                let what = classify(layer, level, name, kind).map_err(|e| format!("file unreadable: {e}"))?;
                match what {
                    Some(FileKind::Symlink) => {
                        builder.add_key(key, FileKind::Symlink).map_err(|e| e.to_string())?;
                        if let Some(target) = read_link(level, name) {
                            builder.link_key(key, &target);
                        }
                    }
                    Some(kind) => builder.add_key(key, kind).map_err(|e| e.to_string())?,
                    None => builder.whiteout_key(key).map_err(|e| e.to_string())?,
                }
            }
        }
    }
}

fn enter(layer: &LayerDir, fd: OwnedFd, key: PathKey, builder: &mut IndexBuilder) -> Result<Level, String> {
    let opaque = read_xattr(&fd, &layer.xattrs.name("opaque"));
    if opaque.as_deref() == Some(b"y") || layer.xattrs.has_opaque_name(&fd) {
        builder.opaque_key(key).map_err(|e| e.to_string())?;
    }
    let dir = Dir::new(fd).map_err(|e| format!("directory unreadable: {e}"))?;
    Ok(Level { dir, key, xattr_whiteouts: opaque.is_some() })
}

fn descend(level: &Level, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(level.dir.fd()?, name, flags, Mode::empty())
}

fn read_link(level: &Level, name: &std::ffi::CStr) -> Option<Vec<u8>> {
    let target: CString = rustix::fs::readlinkat(level.dir.fd().ok()?, name, Vec::new()).ok()?;
    Some(target.into_bytes())
}

/// The kind of a directory entry; `None` for a whiteout.
fn classify(
    layer: &LayerDir,
    level: &Level,
    name: &std::ffi::CStr,
    kind: FileType,
) -> Result<Option<FileKind>, Errno> {
    let dir = level.dir.fd()?;
    let stat = |dir| {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statx(dir, name, flags, StatxFlags::TYPE | StatxFlags::SIZE)
    };
    match kind {
        FileType::CharacterDevice | FileType::Unknown => {
            let s = stat(dir)?;
            let real = FileType::from_raw_mode(s.stx_mode.into());
            if real == FileType::CharacterDevice && s.stx_rdev_major == 0 && s.stx_rdev_minor == 0 {
                return Ok(None);
            }
            Ok(Some(file_kind(real)))
        }
        FileType::RegularFile if level.xattr_whiteouts && stat(dir)?.stx_size == 0 => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
            match read_xattr(&fd, &layer.xattrs.name("whiteout")) {
                Some(_) => Ok(None),
                None => Ok(Some(FileKind::Regular)),
            }
        }
        other => Ok(Some(file_kind(other))),
    }
}

/// Whether this process may read `trusted.` xattrs: it holds CAP_SYS_ADMIN (bit 21, linux/capability.h).
pub(crate) fn may_read_trusted_xattrs() -> bool {
    rustix::thread::capabilities(None)
        .map(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN))
        .unwrap_or(false)
}

/// A path as bytes, for callers that hold a [`Path`].
pub fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::index::LayerAnswer;
    use super::*;
    use drift_formats::path_key::PathKeys;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn p(path: &str) -> ImagePath {
        ImagePath::from_archive(path.as_bytes()).unwrap()
    }

    /// A layer with a file, links out of it, and (in `user.` xattrs, which need no privilege) an opaque
    /// directory and a whiteout.
    fn layer() -> (tempfile::TempDir, LayerDir) {
        let tmp = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let root = tmp.path();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/ls"), "x").unwrap();
        symlink("/etc", root.join("escape")).unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        fs::create_dir_all(root.join("opt/app")).unwrap();
        fs::create_dir(root.join("marked")).unwrap();
        fs::write(root.join("marked/gone"), "").unwrap();
        fs::write(root.join("marked/empty"), "").unwrap();
        let set = |path: &str, key: &str, value: &[u8]| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(root.join(path), format!("user.overlay.{key}"), value, flags).unwrap();
        };
        set("opt/app", "opaque", b"y");
        set("marked", "opaque", b"x");
        set("marked/gone", "whiteout", b"");
        let dir = LayerDir::open(root, XattrSpace::User).unwrap();
        (tmp, dir)
    }

    #[test]
    fn disk_and_index_say_the_same() {
        let (_tmp, dir) = layer();
        let index = index_dir(&dir, WalkLimits::default(), || true).unwrap();
        assert_eq!(index.partial(), None);
        for (path, want) in [
            ("/usr/bin/ls", DiskAnswer::Entry(FileKind::Regular)),
            ("/usr/bin", DiskAnswer::Entry(FileKind::Directory)),
            ("/bin", DiskAnswer::Entry(FileKind::Symlink)),
            ("/usr/bin/cat", DiskAnswer::Silent),
            ("/escape/passwd", DiskAnswer::Hidden),
            ("/usr/bin/ls/x", DiskAnswer::Hidden),
            ("/marked/gone", DiskAnswer::Hidden),
            ("/marked/empty", DiskAnswer::Entry(FileKind::Regular)),
        ] {
            assert_eq!(dir.lookup(&p(path)).unwrap(), want, "{path} on disk");
            let indexed = match index.lookup(&PathKeys::new(&p(path))) {
                LayerAnswer::Entry(e) => DiskAnswer::Entry(e.kind),
                LayerAnswer::Hidden => DiskAnswer::Hidden,
                LayerAnswer::Silent => DiskAnswer::Silent,
            };
            assert_eq!(indexed, want, "{path} indexed");
        }
        assert_eq!(index.lookup(&PathKeys::new(&p("/opt/app/x"))), LayerAnswer::Hidden);
        assert_eq!(dir.read_link(&p("/bin")).unwrap(), b"usr/bin");
    }

    #[test]
    fn files_open_only_as_regular_files_beneath_the_layer() {
        let (tmp, dir) = layer();
        assert!(dir.open_file(&p("/usr/bin/ls")).is_ok());
        assert!(dir.open_file(&p("/escape/passwd")).is_err(), "a link out of the layer is not followed");
        assert_eq!(dir.open_file(&p("/usr/bin")).unwrap_err(), Errno::INVAL);
        let fifo = tmp.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(dir.open_file(&p("/fifo")).unwrap_err(), Errno::INVAL, "a FIFO is not waited for");
    }

    #[test]
    fn lists_tell_whiteouts() {
        let (_tmp, dir) = layer();
        let list = |path: &str| {
            let mut all = dir.list(&p(path), 100).unwrap();
            all.sort();
            all
        };
        assert_eq!(list("/marked"), [(b"empty".to_vec(), true), (b"gone".to_vec(), false)]);
        assert_eq!(list("/usr/bin"), [(b"ls".to_vec(), true)]);
        assert_eq!(dir.list(&p("/"), 2).unwrap().len(), 3, "more than two");
        assert_eq!(dir.list(&p("/none"), 2).unwrap_err(), Errno::NOENT);
        assert!(dir.list(&p("/escape"), 2).is_err() && dir.list(&p("/usr/bin/ls"), 2).is_err());
    }

    #[test]
    fn limits_and_vanished_layers_make_the_index_partial() {
        let (tmp, dir) = layer();
        let small = index_dir(&dir, WalkLimits { max_files: 2, max_depth: 10 }, || true).unwrap();
        assert_eq!(small.partial(), Some("more than 2 files"));
        let flat = index_dir(&dir, WalkLimits { max_files: 100, max_depth: 1 }, || true).unwrap();
        assert_eq!(flat.partial(), Some("directories nested too deep"));
        fs::remove_dir_all(tmp.path()).unwrap();
        let gone = index_dir(&dir, WalkLimits::default(), || true).unwrap();
        // An unlinked directory still opens by descriptor and is empty; a path look-up fails.
        assert!(gone.is_empty());
    }
}
