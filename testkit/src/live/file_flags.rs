//! The kernel's flags on files as the probe numbers them (`ppm_flag_helpers.h`, `ppm_events_public.h`).

use nix::libc;

pub(super) const O_CREAT: u32 = libc::O_CREAT as u32;
pub(super) const O_EXCL: u32 = libc::O_EXCL as u32;
pub(super) const O_NOFOLLOW: u32 = libc::O_NOFOLLOW as u32;
pub(super) const O_TMPFILE: u32 = libc::O_TMPFILE as u32;
pub(super) const O_CLOEXEC: u32 = libc::O_CLOEXEC as u32;
pub(super) const PROT_EXEC: u64 = libc::PROT_EXEC as u64;

pub(super) const PPM_O_RDONLY: u32 = 1;
/// The call made the file.
pub(super) const PPM_O_F_CREATED: u32 = 1 << 14;
/// The opened file is in an overlay's upper layer.
pub(super) const PPM_FD_UPPER_LAYER: u32 = 1 << 15;
/// The opened file is in one of an overlay's lower layers.
pub(super) const PPM_FD_LOWER_LAYER: u32 = 1 << 16;

/// `open_flags_to_scap`: a flag of several bits counts when any of them is set, as there; so a directory's
/// open carries the probe's `O_TMPFILE`.
pub(super) fn open(flags: u32) -> u32 {
    // Larger than 32 bits on no architecture; of 64-bit programs O_LARGEFILE is 0 in libc but not in the
    // kernel.
    const LARGEFILE: u32 = if cfg!(target_arch = "aarch64") { 0o400_000 } else { 0o100_000 };
    let table = [
        (O_CREAT, 1 << 2),
        (O_TMPFILE, 1 << 13),
        (libc::O_APPEND as u32, 1 << 3),
        (libc::O_DSYNC as u32, 1 << 4),
        (O_EXCL, 1 << 5),
        (libc::O_NONBLOCK as u32, 1 << 6),
        (libc::O_SYNC as u32, 1 << 7),
        (libc::O_TRUNC as u32, 1 << 8),
        (libc::O_DIRECT as u32, 1 << 9),
        (libc::O_DIRECTORY as u32, 1 << 10),
        (LARGEFILE, 1 << 11),
        (O_CLOEXEC, 1 << 12),
    ];
    let access = match flags as i32 & libc::O_ACCMODE {
        libc::O_WRONLY => 2,
        libc::O_RDWR => 3,
        _ => PPM_O_RDONLY,
    };
    table.iter().filter(|(kernels, _)| flags & kernels != 0).fold(access, |all, (_, probes)| all | probes)
}

/// `openat2_resolve_to_scap`.
pub(super) fn resolve(flags: u64) -> u32 {
    let table = [
        (libc::RESOLVE_BENEATH, 1),
        (libc::RESOLVE_IN_ROOT, 1 << 1),
        (libc::RESOLVE_NO_MAGICLINKS, 1 << 2),
        (libc::RESOLVE_NO_SYMLINKS, 1 << 3),
        (libc::RESOLVE_NO_XDEV, 1 << 4),
        (libc::RESOLVE_CACHED, 1 << 5),
    ];
    table.iter().filter(|(kernels, _)| flags & kernels != 0).fold(0, |all, (_, probes)| all | probes)
}

/// `mknod_mode_to_scap`: no type is a regular file.
pub(super) fn node_mode(mode: u32) -> u32 {
    let kind = match mode & libc::S_IFMT {
        0 => libc::S_IFREG,
        kind => kind,
    };
    kind | (mode & 0o7777)
}

/// `fcntl_cmd_to_scap`, for the commands on descriptors and flags; the others (locks, leases) are told as
/// unknown.
pub(super) fn fcntl_command(command: u32) -> u8 {
    match command as i32 {
        libc::F_DUPFD => 1,
        libc::F_GETFD => 2,
        libc::F_SETFD => 3,
        libc::F_GETFL => 4,
        libc::F_SETFL => 5,
        libc::F_DUPFD_CLOEXEC => 26,
        _ => 0,
    }
}

/// `mmap_flags_to_scap`, the flags that are the same on all architectures.
pub(super) fn mmap(flags: u32) -> u32 {
    let table = [
        (libc::MAP_SHARED, 1),
        (libc::MAP_PRIVATE, 1 << 1),
        (libc::MAP_FIXED, 1 << 2),
        (libc::MAP_ANONYMOUS, 1 << 3),
        (libc::MAP_NORESERVE, 1 << 6),
        (libc::MAP_POPULATE, 1 << 7),
        (libc::MAP_NONBLOCK, 1 << 8),
        (libc::MAP_GROWSDOWN, 1 << 9),
        (libc::MAP_DENYWRITE, 1 << 10),
        (libc::MAP_EXECUTABLE, 1 << 11),
        (libc::MAP_LOCKED, 1 << 14),
    ];
    table.iter().filter(|(kernels, _)| flags & *kernels as u32 != 0).fold(0, |all, (_, probes)| all | probes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_of_a_real_capture() {
        // As Falco 0.43.1's probe recorded them, without what the opened file adds.
        let (rdonly, wronly) = (libc::O_RDONLY as u32, libc::O_WRONLY as u32);
        let (directory, nonblock) = (libc::O_DIRECTORY as u32, libc::O_NONBLOCK as u32);
        let cases = [
            (wronly | O_CREAT | libc::O_TRUNC as u32, 49414 & 0x3fff),
            (wronly | O_CREAT | O_CLOEXEC, 53254 & 0x3fff),
            (rdonly | directory | nonblock | O_CLOEXEC, 78913 & 0x3fff),
            (wronly | O_TMPFILE | O_CLOEXEC, 46082 & 0x3fff),
        ];
        for (flags, expected) in cases {
            assert_eq!(open(flags), expected, "{flags:o}");
        }
    }

    #[test]
    fn nodes_without_a_type_are_files() {
        assert_eq!(node_mode(0o644), 0o100_644);
        assert_eq!(node_mode(0o010_600), 0o010_600);
    }
}
