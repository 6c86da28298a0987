//! The mounts of one process, as `/proc/<pid>/mountinfo` lists them (proc_pid_mountinfo(5)).
//!
//! Invariant: [`MountTable::covering`] answers what the kernel's own path walk would answer for the process
//! the table was read from, whatever the order of the lines. It follows parent ids, not line order: since
//! Linux 6.8 the lines come sorted by a mount's unique id, before that in the order of the mount tree's list,
//! and a moved or propagated mount is in neither case where a reader expects it.

use std::collections::HashMap;

/// The most bytes read of one table; what is beyond is dropped and the table says so
/// ([`MountTable::is_cut`]).
pub const MAX_BYTES: usize = 32 << 20;

/// The most mounts kept of one table. The kernel's own default is 100000 for a mount namespace
/// (`fs.mount-max`).
pub(crate) const MAX_MOUNTS: usize = 100_000;

/// The longest line accepted, in bytes. An overlay of 500 layers with paths of 200 bytes each is about 100
/// KiB.
pub const MAX_LINE: usize = 1 << 20;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount's id, unique among those that exist at one time, and reused afterwards.
    pub id: u64,
    /// Id of the mount this one is mounted on; for the top of the tree an id that is not in the table, or its
    /// own.
    pub parent: u64,
    /// Device number (`st_dev`) of the files on it: major, minor.
    pub dev: (u32, u32),
    /// The directory or file of the file system that is mounted, as a path inside that file system. `/`
    /// unless it is a bind mount or a btrfs subvolume. The kernel adds `//deleted` when that directory has
    /// been removed.
    pub root: Vec<u8>,
    /// Where it is mounted, as seen from the process's root directory.
    pub mount_point: Vec<u8>,
    /// This mount is read-only (the file system may be writable through another mount).
    pub read_only: bool,
    /// File system type (`overlay`, `ext4`, `fuse.fuse-overlayfs`).
    pub fstype: Vec<u8>,
    /// What is mounted, as whoever mounted it named it. May be empty.
    pub source: Vec<u8>,
    /// The file system's own options, as printed: comma-separated, octal escapes not yet decoded.
    pub super_options: Vec<u8>,
    /// The file system itself is read-only.
    pub super_read_only: bool,
}

/// All mounts that one process can see.
#[derive(Debug, Clone, Default)]
pub struct MountTable {
    mounts: Vec<Mount>,
    by_id: HashMap<u64, usize>,
    /// Indexes of the mounts that lie on the mount with this id.
    children: HashMap<u64, Vec<usize>>,
    root: Option<usize>,
    /// First components of all mount points but `/`: of almost all paths they alone say that no mount but the
    /// root covers them. `None`: there are too many to go through.
    tops: Option<Vec<Box<[u8]>>>,
    bad_lines: usize,
    cut: bool,
}

/// Most first components that are gone through for a path.
const MAX_TOPS: usize = 32;

impl MountTable {
    /// Parses a whole `/proc/<pid>/mountinfo`.
    ///
    /// Lines that are not as proc(5) says are left out and counted ([`MountTable::bad_lines`]), as is a
    /// second line with an id that was already there. Work and memory are linear in the input, which is cut
    /// at [`MAX_BYTES`] and `MAX_MOUNTS`.
    pub fn parse(bytes: &[u8]) -> Self {
        let kept = bytes.get(..MAX_BYTES).unwrap_or(bytes);
        let mut table = Self { cut: kept.len() < bytes.len(), ..Self::default() };
        for line in kept.split(|b| *b == b'\n') {
            if line.is_empty() {
                continue;
            }
            if table.mounts.len() >= MAX_MOUNTS {
                table.cut = true;
                break;
            }
            match parse_line(line) {
                Some(mount) if !table.by_id.contains_key(&mount.id) => table.push(mount),
                _ => table.bad_lines += 1,
            }
        }
        table.root = table.find_root();
        table.tops = table.find_tops();
        table
    }

    fn find_tops(&self) -> Option<Vec<Box<[u8]>>> {
        let mut tops: Vec<Box<[u8]>> = Vec::new();
        for top in self.mounts.iter().map(|mount| top(&mount.mount_point)).filter(|top| !top.is_empty()) {
            if tops.iter().any(|known| **known == *top) {
                continue;
            }
            if tops.len() == MAX_TOPS {
                return None;
            }
            tops.push(top.into());
        }
        Some(tops)
    }

    fn push(&mut self, mount: Mount) {
        let index = self.mounts.len();
        self.by_id.insert(mount.id, index);
        if mount.parent != mount.id {
            self.children.entry(mount.parent).or_default().push(index);
        }
        self.mounts.push(mount);
    }

    /// The mount that is the process's root: at `/`, and not itself mounted on another mount at `/`.
    ///
    /// A mount on top of the root directory does not hide it: the kernel starts a path walk at the root
    /// directory the process holds, and does not step up to what is mounted over it (seen on Linux 6.18:
    /// after `mount -t tmpfs x /`, `/` still lists the old files). A process that did move onto the upper
    /// mount no longer sees the lower one in its table.
    fn find_root(&self) -> Option<usize> {
        self.mounts.iter().position(|m| {
            let over_root = m.parent != m.id && self.by_id(m.parent).is_some_and(|p| p.mount_point == b"/");
            m.mount_point == b"/" && !over_root
        })
    }

    /// The mount that holds the process's root directory.
    ///
    /// `None` when the table is empty, or when the process's root is not the top of any mount (a chroot into
    /// a plain directory: the kernel then lists only the mounts below that directory).
    pub fn root(&self) -> Option<&Mount> {
        self.mounts.get(self.root?)
    }

    /// The mount that an absolute path lies on, for a process whose root directory is the table's root.
    ///
    /// The path must be normalised (no `.`, `..`, `//`, trailing slash) and free of symbolic links: this is a
    /// look-up by name. `None` for a relative path, and when the table has no root and no mount covers the
    /// path.
    pub fn covering(&self, path: &[u8]) -> Option<&Mount> {
        if path.first() != Some(&b'/') {
            return None;
        }
        let mut current = match self.root {
            Some(index) if self.is_beside_all(path) => return self.mounts.get(index),
            Some(index) => index,
            None => self.highest_without_root(path)?,
        };
        // Each step goes to a child of `current`, and every mount but the root has exactly one parent, so no
        // mount is visited twice; the count bounds the walk even for a made-up table.
        for _ in 0..self.mounts.len() {
            let mount = self.mounts.get(current)?;
            let children = self.children.get(&mount.id).map_or(&[][..], Vec::as_slice);
            match self.nearest(children, path) {
                Some(next) => current = next,
                None => break,
            }
        }
        self.mounts.get(current)
    }

    /// Whether no mount but the root can cover this path, by its first component.
    fn is_beside_all(&self, path: &[u8]) -> bool {
        let top = top(path);
        self.tops.as_ref().is_some_and(|tops| !tops.iter().any(|mounted| **mounted == *top))
    }

    /// Of these mounts, the one that a walk along `path` meets first: the one with the shortest mount point.
    ///
    /// Two on the very same place of the same mount cannot be made by mount(2), only by propagation; the
    /// later line wins.
    fn nearest(&self, candidates: &[usize], path: &[u8]) -> Option<usize> {
        let mut best: Option<(usize, usize)> = None;
        for index in candidates.iter().copied().filter(|i| Some(*i) != self.root) {
            let Some(mount) = self.mounts.get(index) else { continue };
            // What lies over `/` is out of reach for a process whose root is below it.
            if mount.mount_point == b"/" || !is_at_or_below(path, &mount.mount_point) {
                continue;
            }
            let len = mount.mount_point.len();
            if best.is_none_or(|(_, shortest)| len <= shortest) {
                best = Some((index, len));
            }
        }
        best.map(|(index, _)| index)
    }

    /// Where a walk starts in a table without a root: a mount whose parent the process cannot see.
    fn highest_without_root(&self, path: &[u8]) -> Option<usize> {
        let tops: Vec<usize> = (0..self.mounts.len())
            .filter(|i| {
                self.mounts.get(*i).is_some_and(|m| m.parent == m.id || !self.by_id.contains_key(&m.parent))
            })
            .collect();
        self.nearest(&tops, path)
    }

    /// The mount with this id.
    pub fn by_id(&self, id: u64) -> Option<&Mount> {
        self.mounts.get(*self.by_id.get(&id)?)
    }

    /// All mounts, in the order of the lines.
    pub fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter()
    }

    /// The number of mounts.
    pub fn len(&self) -> usize {
        self.mounts.len()
    }

    /// There is no mount at all: the file was empty (a zombie's is) or held nothing that could be read.
    pub fn is_empty(&self) -> bool {
        self.mounts.is_empty()
    }

    /// Lines that were left out because they are not as proc(5) says.
    pub fn bad_lines(&self) -> usize {
        self.bad_lines
    }

    /// Lines were dropped because of [`MAX_BYTES`] or `MAX_MOUNTS`.
    pub fn is_cut(&self) -> bool {
        self.cut
    }
}

/// `path` is `dir` or lies below it. Both absolute and normalised.
pub fn is_at_or_below(path: &[u8], dir: &[u8]) -> bool {
    if dir == b"/" {
        return path.first() == Some(&b'/');
    }
    match path.strip_prefix(dir) {
        Some(rest) => rest.is_empty() || rest.first() == Some(&b'/'),
        None => false,
    }
}

/// The first component of an absolute path; empty for `/`.
fn top(path: &[u8]) -> &[u8] {
    let below = path.get(1..).unwrap_or_default();
    below.split(|b| *b == b'/').next().unwrap_or_default()
}

/// One line: `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
fn parse_line(line: &[u8]) -> Option<Mount> {
    if line.len() > MAX_LINE {
        return None;
    }
    let mut fields = line.split(|b| *b == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let dev = device(fields.next()?)?;
    let root = unescape_octal(fields.next()?);
    let mount_point = unescape_octal(fields.next()?);
    let options = fields.next()?;
    // Zero or more optional fields (`shared:1`, `master:2`, `unbindable`) end with a lone hyphen.
    loop {
        if fields.next()? == b"-" {
            break;
        }
    }
    let fstype = unescape_octal(fields.next()?);
    // Empty where the mount was made with an empty source: two spaces in a row.
    let source = unescape_octal(fields.next()?);
    // Some file systems print a space in an option as it is, so what is left belongs together.
    let super_options = fields.collect::<Vec<_>>().join(&b' ');
    if mount_point.first() != Some(&b'/') || fstype.is_empty() {
        return None;
    }
    Some(Mount {
        id,
        parent,
        dev,
        root,
        mount_point,
        read_only: has_option(options, b"ro"),
        fstype,
        source,
        super_read_only: has_option(&super_options, b"ro"),
        super_options,
    })
}

fn has_option(options: &[u8], name: &[u8]) -> bool {
    options.split(|b| *b == b',').any(|option| option == name)
}

/// A decimal number without sign.
fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    if field.is_empty() || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// `major:minor`.
fn device(field: &[u8]) -> Option<(u32, u32)> {
    let colon = field.iter().position(|b| *b == b':')?;
    Some((number(field.get(..colon)?)?, number(field.get(colon + 1..)?)?))
}

/// Decodes the kernel's octal escapes: a backslash and three octal digits stand for one byte.
///
/// The kernel writes `\040` space, `\011` tab, `\012` newline, `\134` backslash, `\043` hash, `\054` comma. A
/// backslash that is not followed by three octal digits of at most 377 stands for itself.
pub fn unescape_octal(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
#[path = "mountinfo_tests.rs"]
mod tests;
