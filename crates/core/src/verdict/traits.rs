//! Traits of an executable: from its first bytes and its inode.

use crate::host::FoundFile;
use drift_formats::elf;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

/// Largest section header table read from a large file's end, bytes.
const MAX_SECTION_TABLE: u64 = 256 << 10;

/// The traits of a file that could be found. Reads [`elf::HEAD`] bytes at most, and a section header table.
pub fn of(file: &FoundFile) -> Vec<&'static str> {
    let mut names = Vec::new();
    if let Ok(mut content) = file.open() {
        names.extend(of_content(&mut content, file.size));
    }
    if file.mode & 0o4000 != 0 {
        names.push("setuid");
    }
    if file.mode & 0o2000 != 0 {
        names.push("setgid");
    }
    if file.has_file_capabilities() {
        names.push("filecaps");
    }
    names
}

fn of_content(content: &mut File, size: u64) -> Vec<&'static str> {
    let mut head = Vec::new();
    if content.take(elf::HEAD as u64).read_to_end(&mut head).is_err() {
        return Vec::new();
    }
    let mut found = elf::traits(&head, size);
    if found.stripped.is_none() {
        found.stripped =
            section_table(content, &head, size).and_then(|table| elf::stripped(&head, size, &table));
    }
    found.names().collect()
}

fn section_table(content: &File, head: &[u8], size: u64) -> Option<Vec<u8>> {
    let range = elf::section_table(head, size)?;
    let len = range.end.checked_sub(range.start).filter(|len| *len <= MAX_SECTION_TABLE)?;
    let mut table = vec![0; usize::try_from(len).ok()?];
    content.read_exact_at(&mut table, range.start).ok()?;
    Some(table)
}
