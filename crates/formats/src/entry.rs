//! What a layer says about one path, in the form every source (overlayfs walk, mtree, OCI tar) produces.
//!
//! Invariant: an [`ImagePath`] is absolute and normalised, so two sources that mean the same file spell it
//! the same.

use std::fmt;

/// The longest path accepted from any source, in bytes: Linux's `PATH_MAX`.
pub const MAX_PATH: usize = 4096;

/// The kind of a file in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FileKind {
    /// A regular file.
    Regular = 0,
    /// A directory.
    Directory = 1,
    /// A symbolic link.
    Symlink = 2,
    /// A device, FIFO or socket.
    Other = 3,
}

/// What a layer records of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Kind of file.
    pub kind: FileKind,
    /// Permission bits, `0o7777` at most.
    pub mode: u16,
    /// Size in bytes; 0 for anything but a regular file.
    pub size: u64,
    /// Target of a symbolic link, as stored (not resolved).
    pub link: Option<Box<[u8]>>,
    /// SHA-256 of the content, where the source records it (mtree) or it was computed while reading (tar).
    pub sha256: Option<[u8; 32]>,
}

/// Receives what a source says about one layer, in any order.
pub trait LayerSink {
    /// The layer holds this path.
    fn entry(&mut self, path: &ImagePath, entry: Entry) -> Result<(), LimitExceeded>;
    /// The layer removes this path (and all below it) from the layers underneath.
    fn whiteout(&mut self, path: &ImagePath) -> Result<(), LimitExceeded>;
    /// The layer hides everything that the layers underneath hold in this directory.
    fn opaque(&mut self, dir: &ImagePath) -> Result<(), LimitExceeded>;
}

/// A source gave more than the configured number of files or bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit} {what}")]
pub struct LimitExceeded {
    /// What there was too much of, in the plural ("files").
    pub what: &'static str,
    /// The limit that was passed.
    pub limit: u64,
}

/// A path inside an image: absolute, `/`-separated, without `.`, `..`, empty components or a trailing slash.
///
/// Bytes, not UTF-8: Linux names are any bytes but `/` and NUL. The root directory is `/`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImagePath(Box<[u8]>);

/// Why bytes are not an [`ImagePath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A `..` component, which in a manifest or an archive could point outside the image.
    #[error("path has a `..` component")]
    ParentComponent,
    /// A NUL byte, which no file name can have.
    #[error("path has a NUL byte")]
    Nul,
    /// Longer than [`MAX_PATH`].
    #[error("path is longer than 4096 bytes")]
    TooLong,
}

impl ImagePath {
    /// Normalises a path as a manifest or an archive spells it (`./usr/bin`, `usr/bin/`, `/usr//bin`).
    ///
    /// # Errors
    /// A `..` component, a NUL byte, or more than [`MAX_PATH`] bytes: [`PathError`].
    pub fn from_archive(raw: &[u8]) -> Result<Self, PathError> {
        if raw.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        if raw.contains(&0) {
            return Err(PathError::Nul);
        }
        let mut out = Vec::with_capacity(raw.len() + 1);
        for component in raw.split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(PathError::ParentComponent),
                name => {
                    out.push(b'/');
                    out.extend_from_slice(name);
                }
            }
        }
        if out.is_empty() {
            out.push(b'/');
        }
        Ok(Self(out.into_boxed_slice()))
    }

    /// Resolves a path as a process means it: `..` goes up lexically and stops at the root.
    ///
    /// Right only where no component before a `..` is a symbolic link: callers that can look at the file
    /// system resolve there instead. Relative paths are taken from `cwd`.
    ///
    /// # Errors
    /// A NUL byte, or more than [`MAX_PATH`] bytes: [`PathError`].
    pub fn lexical(cwd: &[u8], raw: &[u8]) -> Result<Self, PathError> {
        if raw.contains(&0) || cwd.contains(&0) {
            return Err(PathError::Nul);
        }
        // Most paths are spelled as they are meant: they are copied, and no more. This is done for each file
        // that is written. The engine's directories end with a slash.
        let dir = cwd.strip_suffix(b"/").unwrap_or(cwd);
        let out = match raw.first() {
            Some(b'/') if is_clean(raw) => raw.to_vec(),
            Some(b'/') => resolved(b"", raw),
            Some(_) if (cwd == b"/" || is_clean(dir)) && is_clean_below(raw) => [dir, b"/", raw].concat(),
            _ => resolved(cwd, raw),
        };
        if out.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        Ok(Self(out.into_boxed_slice()))
    }

    /// The root directory.
    pub fn root() -> Self {
        Self(b"/".as_slice().into())
    }

    /// The path of a name in this directory.
    ///
    /// # Errors
    /// As [`ImagePath::from_archive`]; a name with a slash is taken as a path.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        Self::from_archive(&[self.as_bytes(), b"/", name].concat())
    }

    /// The path's bytes, beginning with `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components below the root, in order; none for the root itself.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|c| !c.is_empty())
    }

    /// The last component; `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        self.0.rsplit(|b| *b == b'/').next().filter(|c| !c.is_empty())
    }

    /// The directory that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        self.file_name()?;
        let cut = self.0.iter().rposition(|b| *b == b'/')?;
        let head = self.0.get(..cut).filter(|h| !h.is_empty()).unwrap_or(b"/");
        Some(Self(head.into()))
    }

    /// Whether this path is `dir` or lies below it.
    pub fn is_within(&self, dir: &[u8]) -> bool {
        let dir = dir.strip_suffix(b"/").unwrap_or(dir);
        match self.0.strip_prefix(dir) {
            Some(rest) => rest.is_empty() || rest.first() == Some(&b'/'),
            None => false,
        }
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// The components of both, one after the other, without those that mean nothing; `..` takes away the one
/// before.
fn resolved(cwd: &[u8], raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(cwd.len() + raw.len() + 2);
    for component in cwd.split(|b| *b == b'/').chain(raw.split(|b| *b == b'/')) {
        match component {
            b"" | b"." => {}
            b".." => out.truncate(out.iter().rposition(|b| *b == b'/').unwrap_or(0)),
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// Whether a path is absolute and has nothing to take out: no `.`, `..` or empty component, no slash at the
/// end.
fn is_clean(path: &[u8]) -> bool {
    path.strip_prefix(b"/").is_some_and(is_clean_below)
}

/// As [`is_clean`], of a path without the slash in front. `false` as well for names that begin with a dot,
/// which a look at two bytes does not tell from the others.
fn is_clean_below(path: &[u8]) -> bool {
    let unclean = |before: u8, byte: u8| (before == b'/') & ((byte == b'/') | (byte == b'.'));
    let after = path.get(1..).unwrap_or_default();
    // Without an early end, so that the compiler takes many bytes at a time.
    let inside = path.iter().zip(after).fold(false, |found, (a, b)| found | unclean(*a, *b));
    !inside && !matches!(path.first(), None | Some(b'/' | b'.')) && path.last() != Some(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_paths_normalise() {
        for (raw, want) in [
            ("./usr/bin/ls", "/usr/bin/ls"),
            ("usr//bin/", "/usr/bin"),
            ("/usr/./bin", "/usr/bin"),
            (".", "/"),
            ("", "/"),
            ("/", "/"),
            ("...", "/..."),
        ] {
            assert_eq!(ImagePath::from_archive(raw.as_bytes()).unwrap().as_bytes(), want.as_bytes(), "{raw}");
        }
        assert_eq!(ImagePath::from_archive(b"../etc/passwd"), Err(PathError::ParentComponent));
        assert_eq!(ImagePath::from_archive(b"a/../b"), Err(PathError::ParentComponent));
        assert_eq!(ImagePath::from_archive(b"a\0b"), Err(PathError::Nul));
        assert_eq!(ImagePath::from_archive(&[b'a'; MAX_PATH + 1]), Err(PathError::TooLong));
    }

    #[test]
    fn process_paths_resolve_lexically() {
        for (cwd, raw, want) in [
            ("/tmp", "b25", "/tmp/b25"),
            ("/tmp/", "./b25", "/tmp/b25"),
            ("/usr/bin", "../../../../etc/passwd", "/etc/passwd"),
            ("/x", "/usr/bin/../bin/./basename", "/usr/bin/basename"),
            ("/", "..", "/"),
        ] {
            let got = ImagePath::lexical(cwd.as_bytes(), raw.as_bytes()).unwrap();
            assert_eq!(got.as_bytes(), want.as_bytes(), "{cwd} {raw}");
        }
    }

    #[test]
    fn parents_and_prefixes() {
        let p = ImagePath::from_archive(b"/usr/bin/ls").unwrap();
        assert_eq!(p.parent().unwrap().as_bytes(), b"/usr/bin");
        assert_eq!(p.parent().unwrap().parent().unwrap().parent().unwrap().as_bytes(), b"/");
        assert!(ImagePath::from_archive(b"/").unwrap().parent().is_none());
        assert!(p.is_within(b"/usr") && p.is_within(b"/") && p.is_within(b"/usr/bin/ls"));
        assert!(!p.is_within(b"/us") && !p.is_within(b"/usr/bin/ls/x"));
    }

    /// The rule as it is said, component by component.
    fn by_the_rule(cwd: &[u8], raw: &[u8]) -> Vec<u8> {
        let base = if raw.starts_with(b"/") { b"" } else { cwd };
        let mut parts: Vec<&[u8]> = Vec::new();
        for component in base.split(|b| *b == b'/').chain(raw.split(|b| *b == b'/')) {
            match component {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                name => parts.push(name),
            }
        }
        [b"/".as_slice(), &parts.join(&b'/')].concat()
    }

    fn spelled() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        let parts = proptest::sample::select(vec!["", ".", "..", "...", ".a", "a", "b.", "..b", "a.b", "/"]);
        proptest::strategy::Strategy::prop_map(proptest::collection::vec(parts, 0..6), |p| {
            p.join("/").into_bytes()
        })
    }

    proptest::proptest! {
        #[test]
        fn the_short_ways_change_nothing(cwd in spelled(), raw in spelled()) {
            let path = ImagePath::lexical(&cwd, &raw).unwrap();
            proptest::prop_assert_eq!(path.as_bytes(), by_the_rule(&cwd, &raw));
        }
    }
}
