//! What the kernel reports of an executable: the layer it lies in, and which inode it is.

/// Where the kernel says the executable lives, and what it is (`PPM_EXE_*` flags).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ExeFlags {
    /// In the writable layer of an overlay (`PPM_EXE_UPPER_LAYER`).
    pub upper: bool,
    /// In a lower layer of an overlay (`PPM_EXE_LOWER_LAYER`); older probes never set it.
    pub lower: bool,
    /// A memfd (`PPM_EXE_FROM_MEMFD`).
    pub memfd: bool,
}

impl ExeFlags {
    const UPPER: u32 = 1 << 1;
    const MEMFD: u32 = 1 << 2;
    const LOWER: u32 = 1 << 3;

    /// The flags of an event (`PPM_EXE_*`).
    pub fn from_bits(bits: u32) -> Self {
        Self {
            upper: bits & Self::UPPER != 0,
            lower: bits & Self::LOWER != 0,
            memfd: bits & Self::MEMFD != 0,
        }
    }
}

/// Inode number and times of an executable.
///
/// The times are compared with [`InodeId::agrees`] only: on kernels since 6.11 the probes of libs 0.20 to
/// 0.23 read 8 bytes where the kernel keeps 4 bytes of nanoseconds, so that what follows in `struct inode`
/// lands in the upper half: `i_generation` in the change time, the change time's nanoseconds in the
/// modification time. Since 6.13 bit 31 of the change time's nanoseconds may also be the kernel's own "was
/// queried" mark (`I_CTIME_QUERIED`). Seen in captures of Falco 0.43.1 on Linux 6.18.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct InodeId {
    /// Inode number; 0 where not known.
    pub ino: u64,
    /// Change time in nanoseconds since the epoch, as reported.
    pub ctime: u64,
    /// Modification time, likewise.
    pub mtime: u64,
}

impl InodeId {
    /// Whether a file found later is the one that was executed: the same inode number, and times that differ
    /// from the reported ones by nothing but the probes' known errors.
    pub fn agrees(&self, found: &Self) -> bool {
        self.ino != 0 && self.ino == found.ino && self.times_agree(found)
    }

    /// Whether the times alone agree: 63 bits that nobody in a container can set (utimensat(2) sets no change
    /// time).
    ///
    /// For files on an overlay this is the test: after a copy-up of a file with several links, the overlay's
    /// inode keeps the lower file's number, which events carry, while stat(2) gives the upper file's
    /// (fs/overlayfs/inode.c, `ovl_getattr`; seen with Debian's /usr/bin/perl on Linux 6.18).
    pub(crate) fn times_agree(&self, found: &Self) -> bool {
        const LOW_31: u64 = (1 << 31) - 1;
        const LOW_32: u64 = (1 << 32) - 1;
        self.ctime != 0
            && self.ctime.wrapping_sub(found.ctime) & LOW_31 == 0
            && self.mtime.wrapping_sub(found.mtime) & LOW_32 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_agree_up_to_the_probes_known_errors() {
        let real = InodeId { ino: 7, ctime: 1_795_457_631_705_280_538, mtime: 1_663_687_647_000_000_000 };
        assert!(real.agrees(&real));
        let generation = InodeId { ctime: real.ctime.wrapping_add(0xdead_beef << 32), ..real };
        assert!(generation.agrees(&real), "i_generation in the upper half of the change time");
        let queried = InodeId { ctime: real.ctime.wrapping_add(1 << 31), ..real };
        assert!(queried.agrees(&real), "I_CTIME_QUERIED");
        let nanos = InodeId { mtime: real.mtime.wrapping_add(705_280_538 << 32), ..real };
        assert!(nanos.agrees(&real), "change time's nanoseconds in the upper half of the modification time");
        assert!(!InodeId { ino: 8, ..real }.agrees(&real));
        assert!(InodeId { ino: 8, ..real }.times_agree(&real), "overlay, several links, copied up");
        assert!(!InodeId::default().times_agree(&InodeId::default()), "no time is no proof");
        assert!(!InodeId { ctime: real.ctime + 1, ..real }.agrees(&real));
        assert!(!InodeId { mtime: real.mtime + 4_000_000, ..real }.agrees(&real));
        assert!(!InodeId { ino: 0, ..real }.agrees(&InodeId { ino: 0, ..real }), "no inode is no proof");
    }
}
