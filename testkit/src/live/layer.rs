//! Which overlayfs layer a running executable lies on, as the kernel would say.
//!
//! The kernel probe asks overlayfs for the inode's upper part. That is not visible from outside, so it is
//! worked out here: the mount that the executable was opened through says whether it is an overlay and where
//! its upper directory is, and a file is upper exactly if the upper directory has it at its path, not as a
//! whiteout. A file that was removed while it runs is upper unless a lower directory still has that very
//! inode.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

/// Where a file lies, in the words of the kernel probe's flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layer {
    /// On no overlay: a volume, a tmpfs, memory.
    #[default]
    None,
    /// In one of the image's layers.
    Lower,
    /// In the container's writable layer.
    Upper,
}

/// One line of a process's mountinfo, proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Mount id.
    pub id: u64,
    /// The directory (or file) of the file system that is mounted: `/`, or another one in a bind mount.
    pub root: PathBuf,
    /// Mount point, in the process's mount namespace.
    pub point: PathBuf,
    /// File system type.
    pub fs_type: String,
    /// Options of the file system itself.
    pub super_options: Vec<u8>,
}

impl Mount {
    /// The value of the super option `name`, with backslash escapes of commas and colons kept.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&[u8]> {
        split_unescaped(&self.super_options, b',')
            .into_iter()
            .find_map(|option| option.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    /// The upper directory of an overlay, as a path on the host.
    #[must_use]
    pub fn upper(&self) -> Option<PathBuf> {
        (self.fs_type == "overlay").then(|| self.option("upperdir").map(path_of))?
    }

    /// The lower directories of an overlay, uppermost first.
    #[must_use]
    pub fn lower(&self) -> Vec<PathBuf> {
        let list = self.option("lowerdir").unwrap_or_default();
        let mut dirs: Vec<PathBuf> =
            split_unescaped(list, b':').into_iter().filter(|dir| !dir.is_empty()).map(path_of).collect();
        // Mounts made by the new mount API show each layer as an option of its own.
        for option in split_unescaped(&self.super_options, b',') {
            if let Some(dir) = option.strip_prefix(b"lowerdir+=") {
                dirs.push(path_of(dir));
            }
        }
        dirs
    }

    /// The file system itself is read-only.
    #[must_use]
    pub fn read_only(&self) -> bool {
        split_unescaped(&self.super_options, b',').contains(&b"ro".as_slice())
    }
}

fn path_of(escaped: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte });
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

fn split_unescaped(list: &[u8], separator: u8) -> Vec<&[u8]> {
    let mut escaped = false;
    list.split(|&byte| {
        let ends = byte == separator && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
    .collect()
}

/// Undoes the octal escapes of mountinfo (`\040` for a space).
fn unescape_octal(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'\\' {
            if let Some((digits, after)) = tail.split_at_checked(3) {
                let text = std::str::from_utf8(digits).ok();
                if let Some(value) = text.and_then(|text| u8::from_str_radix(text, 8).ok()) {
                    out.push(value);
                    rest = after;
                    continue;
                }
            }
        }
        out.push(byte);
    }
    out
}

/// Reads the mounts out of a mountinfo file's bytes; lines that are none are left out.
#[must_use]
pub fn parse_mounts(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(parse_mount).collect()
}

fn parse_mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let root = unescape_octal(fields.nth(2)?);
    let point = unescape_octal(fields.next()?);
    fields.find(|field| *field == b"-")?;
    let fs_type = String::from_utf8_lossy(fields.next()?).into_owned();
    let super_options = unescape_octal(fields.nth(1)?);
    let path = |bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes));
    Some(Mount { id, root: path(root), point: path(point), fs_type, super_options })
}

/// The mounts of process `pid`.
///
/// # Errors
/// Its mountinfo cannot be read: the process is gone or not ours to look at.
pub fn mounts(pid: i64) -> Result<Vec<Mount>> {
    let path = format!("/proc/{pid}/mountinfo");
    Ok(parse_mounts(&std::fs::read(&path).with_context(|| format!("reading {path}"))?))
}

/// The root mount of process `pid`'s mount namespace (its own root, not a chroot's).
///
/// # Errors
/// The mounts cannot be read or none is at `/`.
pub fn root_mount(pid: i64) -> Result<Mount> {
    mounts(pid)?
        .into_iter()
        .rfind(|mount| mount.point == Path::new("/"))
        .with_context(|| format!("process {pid} has no mount at /"))
}

/// The layer of the open file `fd` (an `O_PATH` descriptor of the caller) that process `pid` sees at `path`,
/// which is absolute in its mount namespace, and the mount it was opened through.
///
/// # Errors
/// The process's mounts cannot be read or do not hold the file's mount.
pub fn layer_of(pid: i64, fd: &std::fs::File, path: &Path) -> Result<(Layer, Option<Mount>)> {
    use std::os::fd::AsRawFd;
    let info = std::fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", fd.as_raw_fd()))
        .context("reading the mount id of an open file")?;
    let id: u64 = info
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))
        .and_then(|id| id.trim().parse().ok())
        .context("an open file's fdinfo has no mnt_id")?;
    let Some(mount) = mounts(namespace_head(pid))?.into_iter().find(|mount| mount.id == id) else {
        return Ok((Layer::None, None)); // memfd and the like: on an internal mount
    };
    let Some(upper) = mount.upper() else {
        let layer = if mount.fs_type == "overlay" { Layer::Lower } else { Layer::None };
        return Ok((layer, Some(mount)));
    };
    let relative = path.strip_prefix(&mount.point).unwrap_or(path);
    let relative = mount.root.join(relative);
    let relative: PathBuf =
        relative.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let stat = fd.metadata().context("stat of an open file")?;
    let layer = match upper.join(&relative).symlink_metadata() {
        Ok(found) if !is_whiteout(&found) && stat.nlink() > 0 => Layer::Upper,
        _ if stat.nlink() > 0 => Layer::Lower,
        _ if mount.lower().iter().any(|dir| has_inode(&dir.join(&relative), stat.ino())) => Layer::Lower,
        _ => Layer::Upper,
    };
    Ok((layer, Some(mount)))
}

/// The oldest ancestor of `pid` in its mount namespace. A chrooted process is shown only the mounts below its
/// own root, and their points relative to that; the oldest ancestor, a container's init, sees all of them.
fn namespace_head(pid: i64) -> i64 {
    let namespace = |pid: i64| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let parent = |pid: i64| -> Option<i64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
    };
    let own = namespace(pid);
    let mut head = pid;
    while let Some(above) = parent(head).filter(|&above| above > 0 && namespace(above) == own) {
        head = above;
    }
    head
}

fn is_whiteout(found: &std::fs::Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == 0
}

fn has_inode(path: &Path, ino: u64) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.ino() == ino)
}

/// A path's bytes.
#[must_use]
pub fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mountinfo_line_is_read() {
        // proc_pid_mountinfo(5): id, parent, device, root, mount point, options, optional fields, "-", type,
        // source.
        let options = r"rw,lowerdir=/a\134:b:/c\040d,upperdir=/u\134,p,workdir=/w";
        let line =
            format!(r"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 shared:2 - overlay over {options}");
        let mounts = parse_mounts(line.as_bytes());
        assert_eq!(mounts.len(), 1);
        assert_eq!((mounts[0].id, mounts[0].point.to_str()), (36, Some("/mnt 2")));
        assert_eq!(mounts[0].upper(), Some(PathBuf::from("/u,p")));
        assert_eq!(mounts[0].lower(), [PathBuf::from("/a:b"), PathBuf::from("/c d")]);
        assert!(!mounts[0].read_only());
    }

    #[test]
    fn other_mounts_have_no_layers() {
        let mounts = parse_mounts(b"1 1 0:1 / /scratch rw - tmpfs tmpfs ro,upperdir=/x\ngarbage\n");
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].upper(), None);
        assert!(mounts[0].read_only());
    }
}
