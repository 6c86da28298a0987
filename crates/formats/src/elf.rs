//! What an executable's first bytes say about it: how it was linked, and whether it looks packed.
//!
//! Invariant: hostile headers cost a bounded walk and no allocation that they choose; what lies beyond the
//! bytes at hand is `None`, never a guess. Goblin reads single headers; its whole-file parser, which follows
//! every table, is not used.

use std::ops::Range;

use goblin::container::{Container, Ctx};
use goblin::elf::header::{Header, EI_CLASS, EI_DATA, ELFCLASS32, ELFDATA2MSB, ET_DYN};
use goblin::elf::program_header::{ProgramHeader, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE};
use goblin::elf::section_header::{SectionHeader, SHT_SYMTAB};
use goblin::elf::Elf;

/// How many bytes from the start of a file are worth passing to [`traits`].
pub const HEAD: usize = 1 << 20;

/// The most program headers looked at: Linux refuses to start a file with more than 64 KiB of them.
const MAX_PROGRAM_HEADERS: usize = 65536 / 32;

/// The most section headers looked at; a build with one section per function has some thousands.
const MAX_SECTIONS: u64 = 65536;

/// The most entries of a dynamic section looked at.
const MAX_DYNAMIC: usize = 4096;

/// Where UPX's loader information lies: right behind the program headers.
const UPX_WITHIN: usize = 1024;

/// Bits per byte above which code counts as compressed or encrypted. Machine code has about 6, packed data
/// near 8.
const PACKED_ENTROPY: f64 = 7.2;

/// What is known of an executable; `None` where it depends on bytes that were not at hand, or it is no ELF
/// file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ElfTraits {
    /// An ELF file.
    pub elf: bool,
    /// Begins with `#!`.
    pub script: bool,
    /// A program that needs no interpreter (dynamic loader) and no library; static-pie counts.
    pub static_linked: Option<bool>,
    /// Has no symbol table.
    pub stripped: Option<bool>,
    /// Packed by UPX; or has no section table or a segment both writable and executable, and executable
    /// segments of an entropy that code does not have.
    pub packed: Option<bool>,
    /// Built by Go's toolchain: has its build id note. A build with an empty build id is not recognised.
    pub go: Option<bool>,
    /// For another kind of processor than this machine's.
    pub foreign_arch: Option<bool>,
    /// A shared library: position-independent, without an interpreter and without the PIE flag.
    pub shared: Option<bool>,
}

impl ElfTraits {
    /// The names, as `drift.binary_traits` lists them, of the traits that are known to hold.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [
            ("static", self.static_linked),
            ("stripped", self.stripped),
            ("packed", self.packed),
            ("go", self.go),
            ("script", Some(self.script)),
            ("foreign_arch", self.foreign_arch),
        ]
        .into_iter()
        .filter_map(|(name, holds)| (holds == Some(true)).then_some(name))
    }
}

/// Reads the traits from a file's first bytes: all of it, or [`HEAD`] bytes of a larger one. `file_size` is
/// the size of the whole file, in bytes.
pub fn traits(bytes: &[u8], file_size: u64) -> ElfTraits {
    let mut found = ElfTraits { script: bytes.starts_with(b"#!"), ..ElfTraits::default() };
    if !bytes.starts_with(b"\x7fELF") {
        return found;
    }
    found.elf = true;
    let Some(file) = File::new(bytes, file_size) else { return found };
    found.foreign_arch = host_machine().map(|host| (file.header.e_machine, file.ctx.le.is_little()) != host);
    found.stripped = file.symbol_table().map(|has| !has);
    let Some(segments) = file.segments() else { return found };
    let interpreter = segments.clone().any(|s| s.p_type == PT_INTERP);
    let dynamic = file.dynamic(segments.clone());
    found.shared = match file.header.e_type {
        ET_DYN if !interpreter => dynamic.map(|d| !d.pie),
        _ => Some(false),
    };
    found.static_linked = match (interpreter, found.shared) {
        (true, _) | (_, Some(true)) => Some(false),
        _ => dynamic.map(|d| !d.needed),
    };
    found.go = file.go_note(segments.clone());
    found.packed = file.packed(segments);
    found
}

/// Where the section headers of a large file lie, which are mostly at its end: a range of bytes in the file,
/// some KiB.
///
/// `None` where [`traits`] answers without it (it is at hand, or there is none) or where it cannot be known.
pub fn section_table(bytes: &[u8], file_size: u64) -> Option<Range<u64>> {
    let file = File::new(bytes, file_size).filter(|_| bytes.starts_with(b"\x7fELF"))?;
    let at = file.section_table().ok()??;
    (at.end <= file_size && at.end > bytes.len() as u64).then_some(at)
}

/// [`ElfTraits::stripped`] of a large file, from its first bytes and the bytes of its [`section_table`].
pub fn stripped(bytes: &[u8], file_size: u64, table: &[u8]) -> Option<bool> {
    let at = section_table(bytes, file_size)?;
    let whole = at.end.checked_sub(at.start)? == table.len() as u64;
    whole.then(|| File::new(bytes, file_size).map(|file| !file.has_symbols(table))).flatten()
}

/// The processor that this code runs on: ELF's machine number, and whether it is little-endian.
fn host_machine() -> Option<(u16, bool)> {
    use goblin::elf::header as h;
    let machine = match std::env::consts::ARCH {
        "x86_64" => h::EM_X86_64,
        "x86" => h::EM_386,
        "aarch64" => h::EM_AARCH64,
        "arm" => h::EM_ARM,
        "powerpc64" => h::EM_PPC64,
        "s390x" => h::EM_S390,
        "riscv64" => h::EM_RISCV,
        "loongarch64" => h::EM_LOONGARCH,
        _ => return None,
    };
    Some((machine, cfg!(target_endian = "little")))
}

struct File<'a> {
    bytes: &'a [u8],
    file_size: u64,
    header: Header,
    ctx: Ctx,
}

/// Not to be known from the bytes at hand.
struct Unknown;

/// What a dynamic section says.
#[derive(Debug, Clone, Copy, Default)]
struct Dynamic {
    needed: bool,
    pie: bool,
}

impl<'a> File<'a> {
    fn new(bytes: &'a [u8], file_size: u64) -> Option<Self> {
        let header = Elf::parse_header(bytes).ok()?;
        let container = if header.e_ident.get(EI_CLASS) == Some(&ELFCLASS32) {
            Container::Little
        } else {
            Container::Big
        };
        let endian = match header.e_ident.get(EI_DATA) {
            Some(&ELFDATA2MSB) => goblin::container::Endian::Big,
            _ => goblin::container::Endian::Little,
        };
        Some(Self { bytes, file_size, header, ctx: Ctx::new(container, endian) })
    }

    fn is_32(&self) -> bool {
        matches!(self.ctx.container, Container::Little)
    }

    /// The bytes of a table or segment; `None` where they are not all at hand.
    fn range(&self, offset: u64, size: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(offset).ok()?;
        self.bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)
    }

    /// The program headers; `None` where they are not all at hand or could not be started from.
    fn segments(&self) -> Option<impl Iterator<Item = ProgramHeader> + Clone + '_> {
        let entry = ProgramHeader::size(self.ctx);
        let count = usize::from(self.header.e_phnum);
        if count > MAX_PROGRAM_HEADERS || (count > 0 && usize::from(self.header.e_phentsize) != entry) {
            return None;
        }
        let table = self.range(self.header.e_phoff, (count * entry) as u64)?;
        Some(table.chunks_exact(entry).filter_map(move |raw| {
            ProgramHeader::parse(raw, 0, 1, self.ctx).ok().and_then(|one| one.into_iter().next())
        }))
    }

    /// Where the section headers lie; `Ok(None)` where there are none, `Err` where that is not known.
    fn section_table(&self) -> Result<Option<Range<u64>>, Unknown> {
        let entry = SectionHeader::size(self.ctx);
        let offset = self.header.e_shoff;
        // A table behind the file's end is none: the file was cut off before it.
        if offset == 0 || offset >= self.file_size {
            return Ok(None);
        }
        if usize::from(self.header.e_shentsize) != entry {
            return Err(Unknown);
        }
        let count = match u64::from(self.header.e_shnum) {
            // More than fit the header's field: the first section's size is the number.
            0 => {
                let first = self.range(offset, entry as u64).and_then(|raw| self.section(raw));
                first.ok_or(Unknown)?.sh_size
            }
            count => count,
        };
        if count > MAX_SECTIONS {
            return Err(Unknown);
        }
        let end = offset.checked_add(count * entry as u64).ok_or(Unknown)?;
        Ok(Some(offset..end))
    }

    fn section(&self, raw: &[u8]) -> Option<SectionHeader> {
        SectionHeader::parse_from(raw, 0, 1, self.ctx).ok()?.into_iter().next()
    }

    fn has_symbols(&self, table: &[u8]) -> bool {
        table
            .chunks_exact(SectionHeader::size(self.ctx))
            .filter_map(|raw| self.section(raw))
            .any(|section| section.sh_type == SHT_SYMTAB)
    }

    /// Whether there is a symbol table; `None` where the section headers are not at hand.
    fn symbol_table(&self) -> Option<bool> {
        match self.section_table().ok()? {
            None => Some(false),
            Some(at) => Some(self.has_symbols(self.range(at.start, at.end.checked_sub(at.start)?)?)),
        }
    }

    /// What the dynamic section says, the default where there is none; `None` where it is not at hand.
    fn dynamic(&self, mut segments: impl Iterator<Item = ProgramHeader>) -> Option<Dynamic> {
        const DT_NULL: u64 = 0;
        const DT_NEEDED: u64 = 1;
        const DT_FLAGS_1: u64 = 0x6fff_fffb;
        const DF_1_PIE: u64 = 0x0800_0000;
        let mut found = Dynamic::default();
        let Some(segment) = segments.find(|s| s.p_type == PT_DYNAMIC) else { return Some(found) };
        let word = if self.is_32() { 4 } else { 8 };
        let data = self.range(segment.p_offset, segment.p_filesz)?;
        for entry in data.chunks_exact(word * 2).take(MAX_DYNAMIC) {
            let (tag, value) = entry.split_at(word);
            match (self.number(tag), self.number(value)) {
                (DT_NULL, _) => return Some(found),
                (DT_NEEDED, _) => found.needed = true,
                (DT_FLAGS_1, flags) => found.pie = flags & DF_1_PIE != 0,
                _ => {}
            }
        }
        Some(found)
    }

    /// Whether a note's owner is Go; `None` where none is found and some are not at hand.
    fn go_note(&self, segments: impl Iterator<Item = ProgramHeader>) -> Option<bool> {
        let mut unread = false;
        for segment in segments.filter(|s| s.p_type == PT_NOTE) {
            // Notes are small; one that claims more is looked at up to this.
            let size = segment.p_filesz.min(64 << 10);
            match self.range(segment.p_offset, size) {
                Some(notes) if self.has_go_note(notes) => return Some(true),
                Some(_) => {}
                None => unread = true,
            }
        }
        (!unread).then_some(false)
    }

    fn has_go_note(&self, mut notes: &[u8]) -> bool {
        // Name size, descriptor size, type; then name and descriptor, each padded to four bytes.
        while let Some((head, rest)) = notes.split_at_checked(12) {
            let mut sizes = head.chunks_exact(4).map(|raw| self.number(raw));
            let (Some(name), Some(desc)) = (sizes.next(), sizes.next()) else { return false };
            if rest.starts_with(b"Go\0\0") && name == 4 {
                return true;
            }
            let next = name.next_multiple_of(4).saturating_add(desc.next_multiple_of(4));
            let Some(after) = usize::try_from(next).ok().and_then(|n| rest.get(n..)) else { return false };
            notes = after;
        }
        false
    }

    fn packed(&self, segments: impl Iterator<Item = ProgramHeader> + Clone) -> Option<bool> {
        let head = self.bytes.get(..UPX_WITHIN).unwrap_or(self.bytes);
        if head.windows(4).any(|w| w == b"UPX!") {
            return Some(true);
        }
        let code = segments.filter(|s| s.p_type == PT_LOAD && s.p_flags & PF_X != 0 && s.p_filesz > 0);
        let writable = code.clone().any(|s| s.p_flags & PF_W != 0);
        let sections = self.header.e_shoff != 0 && self.header.e_shoff < self.file_size;
        if sections && !writable {
            return Some(false);
        }
        let mut counts = [0u32; 256];
        let mut total = 0u32;
        for segment in code {
            let start = usize::try_from(segment.p_offset).ok().unwrap_or(usize::MAX);
            let size = usize::try_from(segment.p_filesz).unwrap_or(usize::MAX);
            let at_hand = self.bytes.get(start..).unwrap_or_default();
            // Overlapping segments could have the same bytes read again and again.
            let size = size.min(HEAD.saturating_sub(total as usize));
            for byte in at_hand.iter().take(size) {
                if let Some(count) = counts.get_mut(usize::from(*byte)) {
                    *count += 1;
                }
                total += 1;
            }
        }
        // Too little to tell.
        if total < 4096 {
            return None;
        }
        Some(entropy(&counts, total) > PACKED_ENTROPY)
    }

    /// An unsigned number of four or eight bytes.
    fn number(&self, raw: &[u8]) -> u64 {
        let step = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
        if self.ctx.le.is_little() {
            raw.iter().rev().fold(0, step)
        } else {
            raw.iter().fold(0, step)
        }
    }
}

/// Shannon entropy, in bits per byte.
fn entropy(counts: &[u32; 256], total: u32) -> f64 {
    let total = f64::from(total);
    counts.iter().filter(|c| **c > 0).map(|c| f64::from(*c) / total).map(|p| -p * p.log2()).sum()
}

#[cfg(test)]
#[path = "elf_tests.rs"]
mod tests;
