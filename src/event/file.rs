//! Calls that name or change a file: what the event says of them. No I/O.
//!
//! Codes and parameters: falcosecurity/libs `driver/event_table.c`, the same from tag 0.20.0 on. The codes in
//! use now are decoded; the `EF_OLD_VERSION` ones of captures older than libs 0.10 are not. `truncate` and
//! `ftruncate` have no event of their own: the engine sees them as `PPME_GENERIC_X`, without a path
//! ([`changes_unnamed`]).

use super::raw::SyscallEvent;

/// Event codes of the calls (`ppm_events_public.h`, exit events).
mod code {
    pub const GENERIC: u16 = 1;
    pub const OPEN: u16 = 3;
    pub const CREAT: u16 = 59;
    pub const RENAME: u16 = 175;
    pub const RENAMEAT: u16 = 177;
    pub const SYMLINK: u16 = 179;
    pub const SYMLINKAT: u16 = 181;
    pub const MKDIR: u16 = 277;
    pub const RMDIR: u16 = 279;
    pub const UNLINK: u16 = 301;
    pub const UNLINKAT: u16 = 303;
    pub const MKDIRAT: u16 = 305;
    pub const OPENAT: u16 = 307;
    pub const LINK: u16 = 309;
    pub const LINKAT: u16 = 311;
    pub const FCHMODAT: u16 = 313;
    pub const CHMOD: u16 = 315;
    pub const FCHMOD: u16 = 317;
    pub const RENAMEAT2: u16 = 319;
    pub const OPENAT2: u16 = 327;
    pub const CHOWN: u16 = 379;
    pub const LCHOWN: u16 = 381;
    pub const FCHOWN: u16 = 383;
    pub const FCHOWNAT: u16 = 385;
    pub const MKNOD: u16 = 415;
    pub const MKNODAT: u16 = 417;
}

/// `PPM_O_WRONLY`.
const O_WRONLY: u32 = 1 << 1;
/// `PPM_O_TRUNC`.
const O_TRUNC: u32 = 1 << 8;
/// `PPM_O_TMPFILE`.
const O_TMPFILE: u32 = 1 << 13;
/// `PPM_O_F_CREATED`: set by the probe when the call made the file.
const O_F_CREATED: u32 = 1 << 14;
/// `PPM_AT_FDCWD`.
const AT_FDCWD: i64 = -100;
/// `PPM_AT_SYMLINK_NOFOLLOW`.
const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// `PPM_RESOLVE_IN_ROOT`.
const RESOLVE_IN_ROOT: u32 = 1 << 1;
/// `PPM_RENAME_EXCHANGE`.
const RENAME_EXCHANGE: u32 = 1 << 1;

/// Device of the file system that a call opened a file for writing on, major and minor number; `None` for
/// other calls, failed ones, and where the probe tells none.
pub fn written_device(event: &SyscallEvent<'_>) -> Option<(u32, u32)> {
    // The parameter before the inode's number. The probe encodes it as stat(2) does (`encode_dev`,
    // driver/ppm_fillers.h).
    let device = match event.code {
        code::OPEN => 4,
        code::OPENAT => 5,
        code::OPENAT2 => 6,
        code::CREAT => 3,
        _ => return None,
    };
    FileCall::from_event(event)?.inode?;
    let device = u64::from(event.u32_param(device)?);
    Some((rustix::fs::major(device), rustix::fs::minor(device)))
}

/// Whether a call changed a file that its event does not name: of calls that libs has no event for, only the
/// number is told (`PPME_GENERIC_X`, whose first parameter is one of `ppm_sc_code`).
pub fn changes_unnamed(event: &SyscallEvent<'_>) -> bool {
    /// `PPM_SC_TRUNCATE`, `SETXATTR`, `LSETXATTR`, `FSETXATTR`, `FCHMODAT2`, `SETXATTRAT`.
    const CALLS: [u16; 6] = [57, 141, 142, 143, 413, 447];
    event.code == code::GENERIC
        && event
            .param(0)
            .is_some_and(|id| matches!(*id, [a, b] if CALLS.contains(&u16::from_ne_bytes([a, b]))))
}

/// Descriptor of the file that a call opened; `None` for other calls and failed ones.
pub fn opened_descriptor(event: &SyscallEvent<'_>) -> Option<i64> {
    let opens = matches!(event.code, code::OPEN | code::OPENAT | code::OPENAT2 | code::CREAT);
    event.i64_param(0).filter(|fd| opens && *fd >= 0)
}

/// What a call did to a file, as far as the call alone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Made it.
    Created,
    /// Made a file without a name in that directory (`O_TMPFILE`); it shows when it is linked in.
    Temporary,
    /// Opened it for writing; what is written is not known yet.
    Opened,
    /// As `Opened` or `Created`: `creat`, whose event does not tell them apart.
    OpenedOrCreated,
    /// Took its name away.
    Deleted,
    /// Gave it another name.
    Renamed,
    /// Swapped two names.
    Exchanged,
    /// Changed its mode or its owner.
    Metadata,
}

/// How the call named a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// A path, from the working directory where it is relative.
    Path(&'a [u8]),
    /// A path, from the directory with this descriptor where it is relative.
    At(i64, &'a [u8]),
    /// The file with this descriptor.
    Fd(i64),
}

impl<'a> Named<'a> {
    /// A path and the descriptor of the directory it begins at, `AT_FDCWD` for the working directory.
    pub fn at(dir: i64, path: &'a [u8]) -> Self {
        match dir {
            AT_FDCWD => Self::Path(path),
            dir => Self::At(dir, path),
        }
    }
}

/// A successful call that changed a file, or may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileCall<'a> {
    /// What it did.
    pub act: Act,
    /// The file: of a rename its old name, of a link the name that was made.
    pub file: Named<'a>,
    /// The new name of a renamed file.
    pub to: Option<Named<'a>>,
    /// Of a link that was made, the name that the file had.
    pub linked: Option<Named<'a>>,
    /// Whether a symbolic link as the last component was followed.
    pub follows: bool,
    /// Whether the file is a directory for sure (`mkdir`, `rmdir`).
    pub directory: bool,
    /// Inode number of a file that was opened for writing, where the probe tells it.
    pub inode: Option<u64>,
    /// The mode that it was given, by `chmod` and the like.
    pub mode: Option<u16>,
}

impl<'a> FileCall<'a> {
    /// Decodes an event; `None` if it is no such call, failed, changed nothing (an open for reading), or
    /// lacks a parameter.
    pub fn from_event(event: &SyscallEvent<'a>) -> Option<Self> {
        let path = |i| event.str_param(i).filter(|p| !p.is_empty()).map(Named::Path);
        let at = |fd, name| {
            let (fd, name) = (event.i64_param(fd)?, event.str_param(name)?);
            match (fd, name) {
                (AT_FDCWD, b"") => None,
                // AT_EMPTY_PATH: the descriptor itself.
                (fd, b"") => Some(Named::Fd(fd)),
                (fd, name) => Some(Named::at(fd, name)),
            }
        };
        let call = |act, file: Option<Named<'a>>| {
            Some(Self {
                act,
                file: file?,
                to: None,
                linked: None,
                follows: false,
                directory: false,
                inode: None,
                mode: None,
            })
        };
        let open = |act, file: Option<Named<'a>>, inode| {
            let inode = event.u64_param(inode).filter(|inode| *inode != 0);
            call(act, file).map(|c| Self { follows: true, inode, ..c })
        };
        let followed = |act, file| call(act, file).map(|c| Self { follows: true, ..c });
        // The probe's bits are those of stat(2) (`chmod_mode_to_scap`, driver/ppm_flag_helpers.h).
        let mode = |at: usize| event.u32_param(at).and_then(|mode| u16::try_from(mode & 0o7777).ok());
        let chmod = |file, at| followed(Act::Metadata, file).map(|c| Self { mode: mode(at), ..c });
        let dir = |act, file| call(act, file).map(|c| Self { directory: true, ..c });
        let renamed = |act, from, to: Option<Named<'a>>| call(act, from).map(|c| Self { to, ..c });
        let linked = |linked, name| call(Act::Created, name).map(|c| Self { linked, ..c });
        let changes_link =
            |flags: usize| event.u32_param(flags).is_some_and(|f| f & AT_SYMLINK_NOFOLLOW != 0);
        if !matches!(event.code, code::OPEN..=code::MKNODAT) {
            return None;
        }
        // First of all: most opens are for reading, and of a failed call nothing else counts.
        event.i64_param(0).filter(|result| *result >= 0)?;
        match event.code {
            code::OPEN => open(opened(event.u32_param(2)?)?, path(1), 5),
            code::OPENAT => open(opened(event.u32_param(3)?)?, at(1, 2), 6),
            code::OPENAT2 => {
                // The directory is the root: an absolute path begins there too.
                let in_root = event.u32_param(5).is_some_and(|resolve| resolve & RESOLVE_IN_ROOT != 0);
                let name = event.str_param(2).filter(|_| in_root);
                let below = name.and_then(|name| name.strip_prefix(b"/"));
                let file = match below {
                    Some(below) => event.i64_param(1).map(|dir| Named::at(dir, below)),
                    None => at(1, 2),
                };
                open(opened(event.u32_param(3)?)?, file, 7)
            }
            code::CREAT => open(Act::OpenedOrCreated, path(1), 4),
            code::RENAME => renamed(Act::Renamed, path(1), path(2)),
            code::RENAMEAT => renamed(Act::Renamed, at(1, 2), at(3, 4)),
            code::RENAMEAT2 => {
                let exchange = event.u32_param(5).is_some_and(|f| f & RENAME_EXCHANGE != 0);
                renamed(if exchange { Act::Exchanged } else { Act::Renamed }, at(1, 2), at(3, 4))
            }
            code::SYMLINK => call(Act::Created, path(2)),
            code::SYMLINKAT => call(Act::Created, at(2, 3)),
            code::LINK => linked(path(1), path(2)),
            code::LINKAT => linked(at(1, 2), at(3, 4)),
            code::MKNOD => call(Act::Created, path(1)),
            code::MKNODAT => call(Act::Created, at(1, 2)),
            code::MKDIR => dir(Act::Created, path(1)),
            code::MKDIRAT => dir(Act::Created, at(1, 2)),
            code::RMDIR => dir(Act::Deleted, path(1)),
            code::UNLINK => call(Act::Deleted, path(1)),
            code::UNLINKAT => call(Act::Deleted, at(1, 2)),
            code::CHMOD => chmod(path(1), 2),
            code::CHOWN => followed(Act::Metadata, path(1)),
            code::LCHOWN => call(Act::Metadata, path(1)),
            code::FCHMODAT => chmod(at(1, 2), 3),
            code::FCHOWNAT if changes_link(5) => call(Act::Metadata, at(1, 2)),
            code::FCHOWNAT => followed(Act::Metadata, at(1, 2)),
            code::FCHMOD => chmod(event.i64_param(1).map(Named::Fd), 2),
            code::FCHOWN => followed(Act::Metadata, event.i64_param(1).map(Named::Fd)),
            _ => None,
        }
    }
}

/// Whether an open with these flags can change the file, or has.
pub(super) fn writes(flags: u32) -> bool {
    opened(flags).is_some()
}

fn opened(flags: u32) -> Option<Act> {
    // The probe sets it for directories too, whose flag is a part of it; a file without a name is opened for
    // writing.
    if flags & O_TMPFILE != 0 && flags & O_WRONLY != 0 {
        Some(Act::Temporary)
    } else if flags & O_F_CREATED != 0 {
        Some(Act::Created)
    } else {
        (flags & (O_WRONLY | O_TRUNC) != 0).then_some(Act::Opened)
    }
}

#[cfg(test)]
mod tests {
    use super::super::raw::tests::event;
    use super::*;
    use proptest::prelude::*;

    fn i(n: i64) -> Vec<u8> {
        n.to_ne_bytes().to_vec()
    }
    fn u(n: u32) -> Vec<u8> {
        n.to_ne_bytes().to_vec()
    }
    fn s(text: &str) -> Vec<u8> {
        [text.as_bytes(), b"\0"].concat()
    }
    fn decoded(code: u16, params: &[Vec<u8>]) -> Option<String> {
        let params: Vec<&[u8]> = params.iter().map(Vec::as_slice).collect();
        let bytes = event(code, 7, &params);
        let event = SyscallEvent::from_bytes(&bytes).unwrap();
        let call = FileCall::from_event(&event)?;
        let name = |n| match n {
            Named::Path(p) => String::from_utf8_lossy(p).into_owned(),
            Named::At(fd, p) => format!("{fd}:{}", String::from_utf8_lossy(p)),
            Named::Fd(fd) => format!("fd {fd}"),
        };
        let to = call.to.map(|t| format!(" to {}", name(t))).unwrap_or_default();
        let marks = format!(
            "{}{}",
            if call.follows { " follows" } else { "" },
            if call.directory { " dir" } else { "" }
        );
        Some(format!("{:?} {}{to}{marks}", call.act, name(call.file)))
    }

    #[test]
    fn calls_are_decoded() {
        let (fd, cwd, ok, no) = (i(3), i(-100), i(0), i(-13));
        let (creat, wr, rd, made) = (u(0b110), u(0b10), u(1), u(0b110 | 1 << 14));
        let (rdwr, tmp, trunc) = (u(3), u(0b10 | 1 << 13), u(1 | 1 << 8));
        let listed = u(1 | 1 << 10 | 1 << 13);
        let (a, b, m) = (s("/a"), s("b"), u(0o644));
        let (zero, exchange, nofollow, empty_path, empty) = (u(0), u(2), u(0x100), u(0x1000), s(""));
        type Row<'a> = (u16, Vec<&'a Vec<u8>>, Option<&'a str>);
        #[rustfmt::skip]
        let rows: Vec<Row<'_>> = vec![
            (3, vec![&fd, &a, &wr, &m], Some("Opened /a follows")),
            (3, vec![&fd, &a, &rd, &m], None),
            (3, vec![&no, &a, &wr, &m], None),
            (3, vec![&fd, &a, &creat, &m], Some("Opened /a follows")),
            (3, vec![&fd, &a, &made, &m], Some("Created /a follows")),
            (3, vec![&fd, &a, &trunc, &m], Some("Opened /a follows")),
            (3, vec![&fd, &a], None),
            (307, vec![&fd, &cwd, &b, &rdwr, &m], Some("Opened b follows")),
            (307, vec![&fd, &fd, &b, &made, &m], Some("Created 3:b follows")),
            (307, vec![&fd, &cwd, &a, &tmp, &m], Some("Temporary /a follows")),
            (307, vec![&fd, &cwd, &a, &listed, &m], None),
            (327, vec![&fd, &fd, &b, &wr, &m], Some("Opened 3:b follows")),
            (59, vec![&fd, &a, &m], Some("OpenedOrCreated /a follows")),
            (301, vec![&ok, &a], Some("Deleted /a")),
            (301, vec![&no, &a], None),
            (303, vec![&ok, &fd, &b, &m], Some("Deleted 3:b")),
            (279, vec![&ok, &a], Some("Deleted /a dir")),
            (277, vec![&ok, &a, &m], Some("Created /a dir")),
            (305, vec![&ok, &cwd, &b, &m], Some("Created b dir")),
            (175, vec![&ok, &a, &b], Some("Renamed /a to b")),
            (177, vec![&ok, &fd, &b, &cwd, &a], Some("Renamed 3:b to /a")),
            (319, vec![&ok, &cwd, &a, &fd, &b, &zero], Some("Renamed /a to 3:b")),
            (319, vec![&ok, &cwd, &a, &cwd, &b, &exchange], Some("Exchanged /a to b")),
            (309, vec![&ok, &a, &b], Some("Created b")),
            (311, vec![&ok, &cwd, &a, &fd, &b, &zero], Some("Created 3:b")),
            (179, vec![&ok, &b, &a], Some("Created /a")),
            (181, vec![&ok, &a, &fd, &b], Some("Created 3:b")),
            (315, vec![&ok, &a, &m], Some("Metadata /a follows")),
            (317, vec![&ok, &fd, &m], Some("Metadata fd 3 follows")),
            (313, vec![&ok, &fd, &b, &m], Some("Metadata 3:b follows")),
            (379, vec![&ok, &a, &m, &m], Some("Metadata /a follows")),
            (381, vec![&ok, &a, &m, &m], Some("Metadata /a")),
            (383, vec![&ok, &fd, &m, &m], Some("Metadata fd 3 follows")),
            (385, vec![&ok, &fd, &b, &m, &m, &zero], Some("Metadata 3:b follows")),
            (385, vec![&ok, &fd, &b, &m, &m, &nofollow], Some("Metadata 3:b")),
            (385, vec![&ok, &fd, &empty, &m, &m, &empty_path], Some("Metadata fd 3 follows")),
            (415, vec![&ok, &a, &m, &m], Some("Created /a")),
            (417, vec![&ok, &cwd, &b, &m, &m], Some("Created b")),
            (293, vec![&ok, &a], None),
        ];
        for (code, params, want) in rows {
            let params: Vec<Vec<u8>> = params.into_iter().cloned().collect();
            assert_eq!(decoded(code, &params).as_deref(), want, "{code} {params:?}");
        }
    }

    #[test]
    fn the_device_of_a_written_file() {
        // Minor 300 of major 8: the minor's upper bits are above the major.
        let device = u(300 & 0xff | 8 << 8 | (300 & !0xff) << 12);
        let of = |flags: u32, result: i64| {
            let params = [
                i(result),
                i(-100),
                s("b"),
                u(flags),
                u(0o644),
                device.clone(),
                77u64.to_ne_bytes().to_vec(),
            ];
            let params: Vec<&[u8]> = params.iter().map(Vec::as_slice).collect();
            let bytes = event(307, 7, &params);
            written_device(&SyscallEvent::from_bytes(&bytes).unwrap())
        };
        assert_eq!(of(2, 3), Some((8, 300)));
        assert_eq!(of(1, 3), None, "for reading");
        assert_eq!(of(2, -13), None, "failed");
    }

    #[test]
    fn calls_without_an_event_of_their_own_are_known_by_number() {
        let is = |code: u16, id: u16| {
            let bytes = event(code, 1, &[&id.to_ne_bytes(), &76u16.to_ne_bytes()]);
            changes_unnamed(&SyscallEvent::from_bytes(&bytes).unwrap())
        };
        assert!(is(1, 57), "truncate");
        assert!(is(1, 413), "fchmodat2");
        assert!(!is(1, 58), "ftruncate: the file was opened for writing");
        assert!(!is(0, 57), "the enter event");
    }

    proptest! {
        #[test]
        fn never_panics(code in 0u16..450, params in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..8)) {
            let _ = decoded(code, &params);
        }
    }
}
