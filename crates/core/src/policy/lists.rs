//! Files with lists, and folders of them, that the configuration names and that are read again when they
//! change.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Most files of all folders.
const MAX_FILES: usize = 20_000;

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A file or folder could not be read.
    #[error("{path}: {why}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's words.
        why: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {why}")]
    Content {
        /// Which.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
    /// More files or entries than are kept.
    #[error("more than {0}")]
    TooMany(String),
}

/// The files, and when each was changed: what tells that a list is to be read anew.
pub type State = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// What the files are like now.
pub fn state(paths: &[PathBuf]) -> State {
    let files = list(paths).unwrap_or_default();
    let look = |path: PathBuf| {
        let metadata = std::fs::metadata(&path).ok();
        let (time, size) = metadata.map_or((None, 0), |m| (m.modified().ok(), m.len()));
        (path, time, size)
    };
    files.into_iter().map(look).collect()
}

/// The files that are meant: of a folder all that are not hidden (a mounted ConfigMap has its own machinery
/// there).
///
/// # Errors
/// One is missing, or there are too many.
pub fn list(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ListError> {
    let mut found = Vec::new();
    for path in paths {
        let io = |why| ListError::Io { path: path.clone(), why };
        let metadata = std::fs::metadata(path).map_err(io)?;
        if metadata.is_file() {
            found.push(path.clone());
            continue;
        }
        if !metadata.is_dir() {
            return Err(io(std::io::ErrorKind::InvalidInput.into()));
        }
        for entry in std::fs::read_dir(path).map_err(io)? {
            let entry = entry.map_err(io)?.path();
            if is_shown(&entry) && entry.is_file() {
                found.push(entry);
            }
            if found.len() > MAX_FILES {
                return Err(ListError::TooMany(format!("{MAX_FILES} files")));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_shown(path: &Path) -> bool {
    path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))
}

/// Reads a text of at most `max` bytes.
///
/// # Errors
/// It cannot be read, is too large, no regular file, or no UTF-8.
pub(crate) fn read_text(path: &Path, max: u64) -> Result<String, ListError> {
    let io = |why| ListError::Io { path: path.to_owned(), why };
    // A FIFO in a file's place does not hold anybody up.
    let file =
        std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(io(std::io::ErrorKind::InvalidInput.into()));
    }
    let mut text = Vec::new();
    if file.take(max + 1).read_to_end(&mut text).map_err(io)? as u64 > max {
        return Err(io(std::io::ErrorKind::FileTooLarge.into()));
    }
    String::from_utf8(text)
        .map_err(|e| ListError::Content { path: path.to_owned(), why: e.utf8_error().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        std::fs::write(dir.path().join("large"), "12345").unwrap();
        std::fs::write(dir.path().join("binary"), [0xff]).unwrap();
        for (name, why) in [
            ("fifo", "fifo: invalid"),
            ("large", "too large"),
            ("binary", "utf-8"),
            ("none", "none: No such"),
        ] {
            let error = read_text(&dir.path().join(name), 4).unwrap_err().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        assert!(list(&[fifo]).is_err());
        assert!(list(&[dir.path().join("none")]).is_err());
    }
}
