//! Calls by which a dynamic loader takes in a shared library: what the event says of them. No I/O.
//!
//! glibc and musl open a library with `O_RDONLY|O_CLOEXEC` (glibc elf/dl-load.c, `open_verify`; musl
//! ldso/dynlink.c, `load_library`) and map it with `PROT_EXEC`. Other programs open files the same way: what
//! is one is told by its content and by the process's mappings.
//!
//! Parameters: falcosecurity/libs `driver/event_table.c`. `mmap`'s are in the enter event up to libs 0.20,
//! and in the exit event since.

use super::file::Named;
use super::raw::SyscallEvent;

/// Event codes (`ppm_events_public.h`).
mod code {
    pub const OPEN: u16 = 3;
    pub const MMAP_E: u16 = 160;
    pub const MMAP_X: u16 = 161;
    pub const OPENAT: u16 = 307;
    pub const OPENAT2: u16 = 327;
}

/// `PPM_O_RDONLY`, `PPM_O_WRONLY`, `PPM_O_DIRECTORY`, `PPM_O_CLOEXEC`, `PPM_O_TMPFILE`, `PPM_O_F_CREATED`.
const LOOKED_AT: u32 = (1 << 0) | (1 << 1) | (1 << 10) | (1 << 12) | (1 << 13) | (1 << 14);
/// Of those, the ones a loader's open has: reading, and closed on exec.
const LOADERS: u32 = (1 << 0) | (1 << 12);
/// `PPM_FD_UPPER_LAYER` and `PPM_FD_LOWER_LAYER`.
const UPPER_LAYER: u32 = 1 << 15;
const LOWER_LAYER: u32 = 1 << 16;
/// `PPM_PROT_EXEC`.
const PROT_EXEC: u32 = 1 << 2;

/// A call that may take in a library that is not the image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LibraryCall<'a> {
    /// The file.
    pub file: Named<'a>,
    /// The descriptor that it was opened with.
    pub fd: i64,
    /// Inode number; 0 where the event has none.
    pub inode: u64,
    /// It was mapped to be executed: no doubt is left that it is loaded.
    pub mapped: bool,
}

impl<'a> LibraryCall<'a> {
    /// Decodes an event; `None` for other calls, failed ones, other ways to open a file, and files of an
    /// overlay's lower layer, where the kernel tells.
    pub fn from_event(event: &SyscallEvent<'a>) -> Option<Self> {
        let opened = |name: &dyn Fn() -> Option<Named<'a>>, flags: usize, inode: usize| {
            if !may_be_a_loaders(event.u32_param(flags)?) {
                return None;
            }
            let fd = event.i64_param(0).filter(|fd| *fd >= 0)?;
            let inode = event.u64_param(inode).unwrap_or(0);
            Some(Self { file: name()?, fd, inode, mapped: false })
        };
        let mapped = |prot: usize, fd: usize| {
            let executable = event.u32_param(prot)? & PROT_EXEC != 0;
            let fd = event.i64_param(fd).filter(|fd| *fd >= 0)?;
            executable.then_some(Self { file: Named::Fd(fd), fd, inode: 0, mapped: true })
        };
        let path = |i| event.str_param(i).filter(|p| !p.is_empty());
        let at = || Some(Named::at(event.i64_param(1)?, path(2)?));
        match event.code {
            code::OPEN => opened(&|| path(1).map(Named::Path), 2, 5),
            code::OPENAT => opened(&at, 3, 6),
            code::OPENAT2 => opened(&at, 3, 7),
            code::MMAP_E => mapped(2, 4),
            // The result is an address, or an error as a negative number.
            code::MMAP_X if event.i64_param(0)? > 0 || event.i64_param(0)? < -4095 => mapped(6, 8),
            _ => None,
        }
    }
}

/// Whether an open with these flags is like a loader's, of a file that need not be the image's.
pub(super) fn may_be_a_loaders(flags: u32) -> bool {
    let is_images = flags & LOWER_LAYER != 0 && flags & UPPER_LAYER == 0;
    flags & LOOKED_AT == LOADERS && !is_images
}

#[cfg(test)]
mod tests {
    use super::super::raw::tests::event;
    use super::*;

    fn decoded(code: u16, params: &[&[u8]]) -> Option<(i64, u64, bool)> {
        let bytes = event(code, 1, params);
        let event = SyscallEvent::from_bytes(&bytes).unwrap();
        LibraryCall::from_event(&event).map(|call| (call.fd, call.inode, call.mapped))
    }

    #[test]
    fn opens_like_a_loaders_and_executable_mappings_count() {
        let (fd, failed, cwd) = (3i64.to_ne_bytes(), (-2i64).to_ne_bytes(), (-100i64).to_ne_bytes());
        let (zero, inode) = (0u32.to_ne_bytes(), 77u64.to_ne_bytes());
        let open = |result: &[u8], flags: u32| {
            let flags = flags.to_ne_bytes();
            decoded(307, &[result, &cwd, b"/tmp/x.so\0", &flags, &zero, &zero, &inode])
        };
        let loader = 1 | 1 << 12;
        assert_eq!(open(&fd, loader | UPPER_LAYER), Some((3, 77, false)));
        assert_eq!(open(&fd, loader | 1 << 11), Some((3, 77, false)), "musl's O_LARGEFILE, on no overlay");
        assert_eq!(open(&fd, loader | LOWER_LAYER), None, "the image's");
        assert_eq!(open(&fd, 1 | UPPER_LAYER), None, "cat");
        assert_eq!(open(&fd, loader | 1 << 1), None, "written to");
        assert_eq!(open(&fd, loader | 1 << 10), None, "a directory");
        assert_eq!(open(&failed, loader | UPPER_LAYER), None);

        let (address, prot) = (0x7f00_0000_0000i64.to_ne_bytes(), 5u32.to_ne_bytes());
        let read = 1u32.to_ne_bytes();
        let none = (-1i64).to_ne_bytes();
        let map = |result: &[u8], prot: &[u8], fd: &[u8]| {
            decoded(161, &[result, &zero, &zero, &zero, &inode, &inode, prot, &zero, fd, &inode])
        };
        assert_eq!(map(&address, &prot, &fd), Some((3, 0, true)));
        assert_eq!(map(&address, &read, &fd), None);
        assert_eq!(map(&address, &prot, &none), None, "no file");
        assert_eq!(map(&(-12i64).to_ne_bytes(), &prot, &fd), None, "failed");
        assert_eq!(decoded(160, &[&inode, &inode, &prot, &zero, &fd, &inode]), Some((3, 0, true)));
        assert_eq!(decoded(161, &[&address, &zero, &zero, &zero]), None, "libs 0.20: the enter event has it");
    }
}
