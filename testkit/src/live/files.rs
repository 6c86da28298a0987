//! The kernel probe's events of system calls on files: which calls there are, and their parameters as libs
//! 0.23's modern probe fills them in (`syscall_dispatched_events/*.bpf.c`); the order is that of
//! `event_table.c`.
//!
//! Every such event begins with the call's result, failed calls included. Paths are read when the call
//! returns, as the probe reads them.

use nix::libc;

use super::event::{Event, Kind};
use super::file_flags as flags;
use super::layer::Layer;
use super::scap::{event_type, Params};
use super::tracee::{self, Opened};

/// A parameter that follows the result: how it is made of the call's argument with that index.
#[derive(Debug, Clone, Copy)]
enum Param {
    /// A file descriptor.
    Fd(usize),
    /// A path, and where a relative one begins.
    Path(usize),
    /// 32 bits as they are.
    U32(usize),
    /// 64 bits as they are.
    U64(usize),
    /// 32 bits, of which these flags have the same value for the probe as for the kernel; others are dropped.
    Masked(usize, u32),
    /// A type and a mode.
    NodeMode(usize),
    /// `O_*`, for dup3: only `O_CLOEXEC` is kept.
    CloseOnExec(usize),
    /// fcntl's command, one byte.
    Command(usize),
}

/// A call: its number, its event, its parameters.
type Call = (libc::c_long, u16, &'static [Param]);

const PERMISSIONS: u32 = 0o7777;
const REMOVEDIR: u32 = 0x200;
const LINK_FLAGS: u32 = 0x400 | 0x1000;
const OWNER_FLAGS: u32 = 0x100 | 0x1000;
/// The two low flags of umount2 that the probe and the kernel number alike, and the two next.
const UMOUNT_FLAGS: u32 = 0xf;

/// The calls that all architectures have.
const CALLS: &[Call] = {
    use Param::{CloseOnExec, Command, Fd, Masked, NodeMode, Path, U32, U64};
    &[
        (libc::SYS_close, 5, &[Fd(0)]),
        (libc::SYS_dup, 367, &[Fd(0)]),
        (libc::SYS_dup3, 365, &[Fd(0), Fd(1), CloseOnExec(2)]),
        (libc::SYS_fcntl, 151, &[Fd(0), Command(1)]),
        (libc::SYS_unlinkat, 303, &[Fd(0), Path(1), Masked(2, REMOVEDIR)]),
        (libc::SYS_renameat2, 319, &[Fd(0), Path(1), Fd(2), Path(3), U32(4)]),
        (libc::SYS_linkat, 311, &[Fd(0), Path(1), Fd(2), Path(3), Masked(4, LINK_FLAGS)]),
        (libc::SYS_symlinkat, 181, &[Path(0), Fd(1), Path(2)]),
        (libc::SYS_fchmod, 317, &[Fd(0), Masked(1, PERMISSIONS)]),
        (libc::SYS_fchmodat, 313, &[Fd(0), Path(1), Masked(2, PERMISSIONS)]),
        (libc::SYS_fchown, 383, &[Fd(0), U32(1), U32(2)]),
        (libc::SYS_fchownat, 385, &[Fd(0), Path(1), U32(2), U32(3), Masked(4, OWNER_FLAGS)]),
        (libc::SYS_mknodat, 417, &[Fd(0), Path(1), NodeMode(2), U32(3)]),
        (libc::SYS_mkdirat, 305, &[Fd(0), Path(1), U32(2)]),
        (libc::SYS_chdir, event_type::CHDIR_X, &[Path(0)]),
        (libc::SYS_fchdir, 97, &[Fd(0)]),
        (libc::SYS_chroot, 267, &[Path(0)]),
        (libc::SYS_mount, 257, &[Path(0), Path(1), Path(2), U32(3)]),
        (libc::SYS_umount2, 391, &[Path(0), Masked(1, UMOUNT_FLAGS)]),
        (libc::SYS_copy_file_range, 333, &[Fd(2), U64(3), Fd(0), U64(1), U64(4)]),
    ]
};

/// The older calls that x86_64 has beside them.
#[cfg(target_arch = "x86_64")]
const OLDER_CALLS: &[Call] = {
    use Param::{Fd, Masked, NodeMode, Path, U32};
    &[
        (libc::SYS_dup2, 363, &[Fd(0), Fd(1)]),
        (libc::SYS_unlink, 301, &[Path(0)]),
        (libc::SYS_rmdir, 279, &[Path(0)]),
        (libc::SYS_rename, 175, &[Path(0), Path(1)]),
        (libc::SYS_renameat, 177, &[Fd(0), Path(1), Fd(2), Path(3)]),
        (libc::SYS_link, 309, &[Path(0), Path(1)]),
        (libc::SYS_symlink, 179, &[Path(0), Path(1)]),
        (libc::SYS_chmod, 315, &[Path(0), Masked(1, PERMISSIONS)]),
        (libc::SYS_chown, 379, &[Path(0), U32(1), U32(2)]),
        (libc::SYS_lchown, 381, &[Path(0), U32(1), U32(2)]),
        (libc::SYS_mknod, 415, &[Path(0), NodeMode(1), U32(2)]),
        (libc::SYS_mkdir, 277, &[Path(0), U32(1)]),
    ]
};
#[cfg(not(target_arch = "x86_64"))]
const OLDER_CALLS: &[Call] = &[];

/// The calls without an event of their own, with the probe's code of each (`PPM_SC_*`): their event has no
/// parameters.
const GENERIC: &[(libc::c_long, u16)] = &[
    (libc::SYS_truncate, 57),
    (libc::SYS_ftruncate, 58),
    (libc::SYS_fchmodat2, 413),
    (libc::SYS_move_mount, 340),
    (libc::SYS_mount_setattr, 341),
];

/// What kind of call is followed.
#[derive(Debug, Clone, Copy)]
enum Followed {
    Plain(&'static Call),
    Generic(u16),
    Mmap,
    Open(Open),
}

/// The calls that open, by where they have their arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    #[cfg(target_arch = "x86_64")]
    Plain,
    #[cfg(target_arch = "x86_64")]
    Creat,
    At,
    At2,
}

/// A call that has begun.
#[derive(Debug)]
pub(super) struct Entry {
    followed: Followed,
    number: i64,
    args: [u64; 6],
    /// The file was there before an open that may make it.
    existed: bool,
}

impl Entry {
    /// The call `number` of thread `tid`, which stands at its begin; `None` when it is not one of files.
    pub(super) fn new(tid: i64, number: u64, args: [u64; 6]) -> Option<Self> {
        let number = i64::try_from(number).ok()?;
        let followed = follow(number)?;
        if matches!(followed, Followed::Mmap) && arg(&args, 2) & flags::PROT_EXEC == 0 {
            return None;
        }
        let mut entry = Self { followed, number, args, existed: true };
        if let Followed::Open(open) = followed {
            let how = entry.how(tid, open);
            if how.flags & flags::O_CREAT != 0 {
                let no_follow = how.flags & (flags::O_EXCL | flags::O_NOFOLLOW) != 0;
                entry.existed = tracee::exists(tid, how.dirfd, &how.path.unwrap_or_default(), !no_follow);
            }
        }
        Some(entry)
    }

    /// The event of the call, which returns `result`: the thread stands there.
    pub(super) fn returned(&self, ts: u64, tid: i64, result: i64) -> Event {
        let block = match self.followed {
            Followed::Plain((_, kind, params)) => {
                let params = params
                    .iter()
                    .fold(Params::default().i64(result), |out, param| self.param(tid, *param, out));
                params.event(ts, tid, *kind)
            }
            Followed::Generic(code) => {
                let native = u16::try_from(self.number).unwrap_or(0);
                Params::default().u16(code).u16(native).event(ts, tid, event_type::GENERIC_X)
            }
            Followed::Mmap => self.mmap(ts, tid, result),
            Followed::Open(open) => self.open(ts, tid, open, result),
        };
        Event { ts, tid, kind: Kind::Call, block }
    }

    fn param(&self, tid: i64, param: Param, out: Params) -> Params {
        let narrow = |index: usize| self.arg(index) as u32;
        match param {
            Param::Fd(index) => out.i64(self.fd(index)),
            Param::Path(index) => match tracee::text(tid, self.arg(index)) {
                Some(path) => out.text(&path),
                None => out.bytes(b""),
            },
            Param::U32(index) => out.u32(narrow(index)),
            Param::U64(index) => out.u64(self.arg(index)),
            Param::Masked(index, mask) => out.u32(narrow(index) & mask),
            Param::NodeMode(index) => out.u32(flags::node_mode(narrow(index))),
            Param::CloseOnExec(index) => {
                out.u32(flags::open(narrow(index) & flags::O_CLOEXEC) & !flags::PPM_O_RDONLY)
            }
            Param::Command(index) => out.u8(flags::fcntl_command(narrow(index))),
        }
    }

    fn mmap(&self, ts: u64, tid: i64, result: i64) -> Vec<u8> {
        let mut params = Params::default().i64(result);
        for _ in 0..3 {
            params = params.u32(0); // sizes of the process's memory, which nothing here asks for
        }
        params
            .u64(self.arg(0))
            .u64(self.arg(1))
            .u32((self.arg(2) & 7) as u32)
            .u32(flags::mmap(self.arg(3) as u32))
            .i64(self.fd(4))
            .u64(self.arg(5))
            .event(ts, tid, event_type::MMAP_X)
    }

    fn open(&self, ts: u64, tid: i64, open: Open, result: i64) -> Vec<u8> {
        let how = self.how(tid, open);
        // The probe looks at descriptors above 0 only.
        let opened = if result > 0 { tracee::opened(tid, result) } else { Opened::default() };
        let created = result >= 0 && how.flags & flags::O_CREAT != 0 && !self.existed;
        let mut given = flags::open(how.flags) | if created { flags::PPM_O_F_CREATED } else { 0 };
        given |= match opened.layer {
            Layer::None => 0,
            Layer::Upper => flags::PPM_FD_UPPER_LAYER,
            Layer::Lower => flags::PPM_FD_LOWER_LAYER,
        };
        let makes = how.flags & (flags::O_CREAT | flags::O_TMPFILE) != 0;
        let mode = if makes { how.mode & PERMISSIONS } else { 0 };
        let path = |out: Params| match &how.path {
            Some(path) => out.text(path),
            None => out.bytes(b""),
        };
        let result = Params::default().i64(result);
        match open {
            #[cfg(target_arch = "x86_64")]
            Open::Plain => {
                path(result).u32(given).u32(mode).u32(opened.dev).u64(opened.ino).event(ts, tid, 3)
            }
            #[cfg(target_arch = "x86_64")]
            Open::Creat => {
                let layer = (given >> 15) & 3; // the same two flags, further down
                path(result).u32(mode).u32(opened.dev).u64(opened.ino).u16(layer as u16).event(ts, tid, 59)
            }
            Open::At => path(result.i64(how.dirfd))
                .u32(given)
                .u32(mode)
                .u32(opened.dev)
                .u64(opened.ino)
                .event(ts, tid, 307),
            Open::At2 => path(result.i64(how.dirfd))
                .u32(given)
                .u32(mode)
                .u32(flags::resolve(how.resolve))
                .u32(opened.dev)
                .u64(opened.ino)
                .event(ts, tid, 327),
        }
    }

    fn how(&self, tid: i64, open: Open) -> How {
        let at = |path: usize, flags: u64, mode: u64| How {
            dirfd: if path == 0 { tracee::AT_FDCWD } else { self.fd(0) },
            path: tracee::text(tid, self.arg(path)),
            flags: flags as u32,
            mode: mode as u32,
            resolve: 0,
        };
        match open {
            #[cfg(target_arch = "x86_64")]
            Open::Plain => at(0, self.arg(1), self.arg(2)),
            #[cfg(target_arch = "x86_64")]
            Open::Creat => at(0, u64::from(flags::O_CREAT), self.arg(1)),
            Open::At => at(1, self.arg(2), self.arg(3)),
            Open::At2 => {
                let [flags, mode, resolve] = tracee::words(tid, self.arg(2));
                How { resolve, ..at(1, flags, mode) }
            }
        }
    }

    fn arg(&self, index: usize) -> u64 {
        arg(&self.args, index)
    }

    /// A descriptor, 32 bits with a sign; `AT_FDCWD` is the probe's, too.
    fn fd(&self, index: usize) -> i64 {
        i64::from(self.arg(index) as i32)
    }
}

/// The arguments of an open.
struct How {
    dirfd: i64,
    path: Option<Vec<u8>>,
    flags: u32,
    mode: u32,
    resolve: u64,
}

fn arg(args: &[u64; 6], index: usize) -> u64 {
    args.get(index).copied().unwrap_or(0)
}

fn follow(number: i64) -> Option<Followed> {
    let plain = CALLS.iter().chain(OLDER_CALLS).find(|call| call.0 == number).map(Followed::Plain);
    plain
        .or_else(|| {
            let generic = GENERIC.iter().find(|call| call.0 == number);
            generic.map(|call| Followed::Generic(call.1))
        })
        .or(match number {
            libc::SYS_mmap => Some(Followed::Mmap),
            libc::SYS_openat => Some(Followed::Open(Open::At)),
            libc::SYS_openat2 => Some(Followed::Open(Open::At2)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => Some(Followed::Open(Open::Plain)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_creat => Some(Followed::Open(Open::Creat)),
            _ => None,
        })
}
