//! Traits of an executable: from its first bytes and its inode.

use crate::host::FoundFile;

/// The traits of a file that could be found.
pub fn of(file: &FoundFile) -> Vec<&'static str> {
    let mut traits = Vec::new();
    if file.mode & 0o4000 != 0 {
        traits.push("setuid");
    }
    if file.mode & 0o2000 != 0 {
        traits.push("setgid");
    }
    if file.has_file_capabilities() {
        traits.push("filecaps");
    }
    traits
}
