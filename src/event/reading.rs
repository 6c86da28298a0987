//! Opens by which a program may take in code that is not the image's: what the event says of them. No I/O.
//!
//! Two kinds of files can be such: those of an overlay's upper layer, by the kernel's own word, and those on
//! no overlay that a process of a container gave a name of code while this was watched ([`Marks`]).

use super::file::Named;
use super::raw::{code, SyscallEvent};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// `PPM_O_RDONLY`, `PPM_O_WRONLY`, `PPM_O_DIRECTORY`, `PPM_O_TMPFILE`, `PPM_O_F_CREATED`.
const LOOKED_AT: u32 = (1 << 0) | (1 << 1) | (1 << 10) | (1 << 13) | (1 << 14);
/// Of those, the one that an open to read has.
const TO_READ: u32 = 1 << 0;
/// `PPM_FD_UPPER_LAYER` and `PPM_FD_LOWER_LAYER`.
const UPPER_LAYER: u32 = 1 << 15;
const LOWER_LAYER: u32 = 1 << 16;

/// A call that may take in code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadCall<'a> {
    /// The file.
    pub file: Named<'a>,
    /// The descriptor that it was opened with.
    pub fd: i64,
    /// Inode number; 0 where the event has none.
    pub inode: u64,
    /// The file is one of an overlay's upper layer.
    pub upper: bool,
}

impl<'a> ReadCall<'a> {
    /// Decodes an event; `None` for other calls, failed ones, and files that cannot have changed.
    pub fn from_event(event: &SyscallEvent<'a>) -> Option<Self> {
        let (path, flags, inode) = match event.code {
            code::OPEN_X => (1, 2, 5),
            code::OPENAT_X => (2, 3, 6),
            code::OPENAT2_X => (2, 3, 7),
            _ => return None,
        };
        let flags = event.u32_param(flags)?;
        let fd = event.i64_param(0).filter(|fd| *fd >= 0 && may_be_changed(event, flags))?;
        let path = event.str_param(path).filter(|path| !path.is_empty())?;
        let file = match event.code {
            code::OPEN_X => Named::Path(path),
            _ => Named::at(event.i64_param(1)?, path),
        };
        let inode = event.u64_param(inode).unwrap_or(0);
        Some(Self { file, fd, inode, upper: flags & UPPER_LAYER != 0 })
    }

    /// The name, as it was given.
    pub fn name(&self) -> &'a [u8] {
        match self.file {
            Named::Path(path) | Named::At(_, path) => path,
            Named::Fd(_) => b"",
        }
    }
}

/// Whether an open with these flags is to read a file that may not be as the image or the deployment brought
/// it.
pub(super) fn may_be_changed(event: &SyscallEvent<'_>, flags: u32) -> bool {
    flags & LOOKED_AT == TO_READ
        && (flags & UPPER_LAYER != 0
            || (flags & LOWER_LAYER == 0 && !MARKS.is_empty() && file(event).is_some_and(|id| MARKS.has(id))))
}

/// Whether the file that was opened lies on an overlay.
pub fn is_on_overlay(event: &SyscallEvent<'_>) -> bool {
    let flags = if event.code == code::OPEN_X { 2 } else { 3 };
    event.u32_param(flags).is_some_and(|flags| flags & (UPPER_LAYER | LOWER_LAYER) != 0)
}

/// Device and inode number of the file that was opened, as the event has them.
pub fn file(event: &SyscallEvent<'_>) -> Option<(u32, u64)> {
    let device = match event.code {
        code::OPEN_X => 4,
        code::OPENAT_X => 5,
        code::OPENAT2_X => 6,
        _ => return None,
    };
    let id = (event.u32_param(device)?, event.u64_param(device + 1)?);
    (id != (0, 0)).then_some(id)
}

/// Files that processes of containers gave a name of code, on no overlay. Asked for each open to read, also
/// of the host's, by the C interface: so it is a set of bits, of which several files may share one.
#[derive(Debug)]
pub struct Marks {
    has_any: AtomicBool,
    bits: [AtomicU64; Self::WORDS],
}

/// The marks of this process, whose instances all follow the same kernel.
pub static MARKS: Marks = Marks::new();

impl Marks {
    /// 64 KiB of bits: a thousand files marked let through one other open in five hundred.
    const WORDS: usize = 8192;

    const fn new() -> Self {
        Self { has_any: AtomicBool::new(false), bits: [const { AtomicU64::new(0) }; Self::WORDS] }
    }

    fn is_empty(&self) -> bool {
        !self.has_any.load(Ordering::Relaxed)
    }

    fn place((device, inode): (u32, u64)) -> (usize, u64) {
        let hash = mix(inode ^ (u64::from(device) << 40));
        let word = usize::try_from(hash >> 51).unwrap_or(0);
        (word % Self::WORDS, 1 << ((hash >> 45) & 63))
    }

    fn has(&self, id: (u32, u64)) -> bool {
        let (word, bit) = Self::place(id);
        self.bits.get(word).is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Marks a file, by device (as events have it) and inode number.
    pub fn add(&self, id: (u32, u64)) {
        let (word, bit) = Self::place(id);
        if let Some(word) = self.bits.get(word) {
            word.fetch_or(bit, Ordering::Relaxed);
            self.has_any.store(true, Ordering::Relaxed);
        }
    }
}

/// Which threads have opened which files of late, so that the C interface passes over what was looked at. By
/// one place for each hash: what falls on a place that is taken replaces it, and is looked at again.
///
/// A file that was opened for writing since, or a thread that has executed another program, is looked at
/// again at once; what is written otherwise, after `Recent::WINDOW`.
#[derive(Debug)]
pub struct Recent {
    /// The upper half of the hash of thread and file, and when it was looked at.
    looked_at: [AtomicU64; Self::PLACES],
    /// When a file was opened for writing, or a thread executed a program.
    changed: [AtomicU32; Self::PLACES],
}

/// Those of this process.
pub static RECENT: Recent = Recent::new();

impl Recent {
    const PLACES: usize = 8192;
    /// In units of 2^20 nanoseconds: ten seconds.
    const WINDOW: u32 = 10_000;

    const fn new() -> Self {
        Self {
            looked_at: [const { AtomicU64::new(0) }; Self::PLACES],
            changed: [const { AtomicU32::new(0) }; Self::PLACES],
        }
    }

    /// A time of an event, never 0.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it goes round every fifty days, and is compared by difference"
    )]
    fn time(event: &SyscallEvent<'_>) -> u32 {
        (event.ts >> 20) as u32 | 1
    }

    fn of_file((device, inode): (u32, u64)) -> u64 {
        mix(inode ^ (u64::from(device) << 40))
    }

    fn of_thread(tid: i64) -> u64 {
        mix((tid as u64) ^ 0x7468_7265_6164_0000)
    }

    fn place<T>(places: &[T; Self::PLACES], hash: u64) -> Option<&T> {
        places.get(usize::try_from(hash >> 51).unwrap_or(0))
    }

    /// Notes that the event's open was looked at.
    pub fn note(&self, event: &SyscallEvent<'_>) {
        let Some(id) = file(event) else { return };
        let hash = mix(Self::of_file(id) ^ Self::of_thread(event.tid));
        if let Some(place) = Self::place(&self.looked_at, hash) {
            let time = u64::from(Self::time(event));
            place.store(hash << 32 | time, Ordering::Relaxed);
        }
    }

    /// Notes that the event's open may change its file.
    pub fn note_written(&self, event: &SyscallEvent<'_>) {
        if let Some(id) = file(event) {
            self.note_changed(Self::of_file(id), event);
        }
    }

    /// Notes that a thread has executed another program.
    pub fn note_exec(&self, event: &SyscallEvent<'_>) {
        self.note_changed(Self::of_thread(event.tid), event);
    }

    fn note_changed(&self, hash: u64, event: &SyscallEvent<'_>) {
        if let Some(place) = Self::place(&self.changed, hash) {
            place.store(Self::time(event), Ordering::Relaxed);
        }
    }

    /// Whether the event's open was looked at, and nothing has changed since.
    pub fn knows(&self, event: &SyscallEvent<'_>) -> bool {
        let Some(id) = file(event) else { return false };
        let (of_file, of_thread) = (Self::of_file(id), Self::of_thread(event.tid));
        let hash = mix(of_file ^ of_thread);
        let known = Self::place(&self.looked_at, hash).map_or(0, |place| place.load(Ordering::Relaxed));
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let at = known as u32;
        let age = Self::time(event).wrapping_sub(at);
        // Looked at in the same tick as it was changed counts as before.
        let is_later = |changed: &AtomicU32| {
            let changed = changed.load(Ordering::Relaxed);
            changed == 0 || (1..u32::MAX / 2).contains(&at.wrapping_sub(changed))
        };
        known >> 32 == hash & 0xffff_ffff
            && at != 0
            && age <= Self::WINDOW
            && [of_file, of_thread].iter().all(|hash| Self::place(&self.changed, *hash).is_none_or(is_later))
    }
}

/// A number whose upper bits depend on all of another's (splitmix64's finalizer).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::raw::tests::event;
    use super::*;

    #[test]
    fn opens_to_read_of_changed_files_count() {
        let (fd, failed, cwd) = (3i64.to_ne_bytes(), (-2i64).to_ne_bytes(), (-100i64).to_ne_bytes());
        let zero = 0u32.to_ne_bytes();
        let open = |result: &[u8], flags: u32, device: u32, inode: u64| {
            let (flags, device, inode) = (flags.to_ne_bytes(), device.to_ne_bytes(), inode.to_ne_bytes());
            let bytes =
                event(code::OPENAT_X, 1, &[result, &cwd, b"/srv/x.php\0", &flags, &zero, &device, &inode]);
            let event = SyscallEvent::from_bytes(&bytes).unwrap();
            ReadCall::from_event(&event).map(|call| (call.fd, call.inode, call.upper))
        };
        assert_eq!(open(&fd, 1 | UPPER_LAYER, 40, 77), Some((3, 77, true)));
        assert_eq!(open(&fd, 1 | UPPER_LAYER | 1 << 12, 40, 77), Some((3, 77, true)), "close on exec");
        assert_eq!(open(&fd, 1 | UPPER_LAYER | 1 << 10, 40, 77), None, "a directory");
        assert_eq!(open(&fd, 3 | UPPER_LAYER, 40, 77), None, "to be written, too");
        assert_eq!(open(&failed, 1 | UPPER_LAYER, 0, 0), None);
        assert_eq!(open(&fd, 1 | LOWER_LAYER, 40, 77), None, "the image's");
        assert_eq!(open(&fd, 1, 41, 770_077), None, "on a volume, and nobody wrote it");
        MARKS.add((41, 770_077));
        assert_eq!(open(&fd, 1, 41, 770_077), Some((3, 770_077, false)));
        assert_eq!(open(&fd, 1, 41, 770_078), None);
        assert_eq!(open(&fd, 1 | LOWER_LAYER, 41, 770_077), None);
    }

    #[test]
    fn marks_are_spread() {
        let marks = Marks::new();
        assert!(marks.is_empty());
        (0..1000).for_each(|inode| marks.add((8, inode)));
        let others = (1000..101_000).filter(|inode| marks.has((8, *inode))).count();
        assert!(others < 1000, "{others} of 100,000 others");
        assert!((0..1000).all(|inode| marks.has((8, inode))));
    }

    #[test]
    fn an_open_is_known_until_something_changes() {
        let recent = Recent::new();
        let open = |tid: i64, inode: u64, at: u64| {
            let (fd, cwd, zero) = (3i64.to_ne_bytes(), (-100i64).to_ne_bytes(), 0u32.to_ne_bytes());
            let params: [&[u8]; 7] = [&fd, &cwd, b"x\0", &zero, &zero, &zero, &inode.to_ne_bytes()];
            let mut bytes = event(code::OPENAT_X, tid, &params);
            bytes[..8].copy_from_slice(&(1_795_000_000_000_000_000 + at * 1_000_000).to_ne_bytes());
            bytes
        };
        let parsed = |bytes: &'static [u8]| SyscallEvent::from_bytes(bytes).unwrap();
        let at = |tid, inode, at| parsed(open(tid, inode, at).leak());
        assert!(!recent.knows(&at(7, 1, 0)));
        recent.note(&at(7, 1, 10));
        assert!(recent.knows(&at(7, 1, 20)));
        assert!(recent.knows(&at(7, 1, 10_000)));
        assert!(!recent.knows(&at(7, 1, 11_000)), "for a while");
        assert!(!recent.knows(&at(8, 1, 20)), "another thread");
        assert!(!recent.knows(&at(7, 2, 20)), "another file");
        recent.note_written(&at(9, 2, 30));
        assert!(recent.knows(&at(7, 1, 40)));
        recent.note_written(&at(9, 1, 50));
        assert!(!recent.knows(&at(7, 1, 60)), "written since");
        recent.note(&at(7, 1, 60));
        assert!(recent.knows(&at(7, 1, 70)));
        recent.note_exec(&at(7, 0, 80));
        assert!(!recent.knows(&at(7, 1, 90)), "another program");
    }
}
