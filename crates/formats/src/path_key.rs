//! Keyed hashes of image paths.
//!
//! Indexes store hashes, not paths: 8 bytes a file. The key is random for each process, so nobody who chooses
//! file names can make two of them collide (invariant of DESIGN: no crafted collision). The hash of a path is
//! chained from its parent's, so that all prefixes of a path cost one pass over it.

use crate::entry::ImagePath;
use siphasher::sip::SipHasher13;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

/// The hash of one path.
pub type PathKey = u64;

fn process_key() -> (u64, u64) {
    static KEY: OnceLock<(u64, u64)> = OnceLock::new();
    // RandomState takes its keys from the operating system; hashing nothing and one byte gives two secret
    // words.
    *KEY.get_or_init(|| {
        let state = RandomState::new();
        let first = state.build_hasher().finish();
        let mut hasher = state.build_hasher();
        hasher.write_u8(1);
        (first, hasher.finish())
    })
}

/// The key of the root directory.
pub fn root_key() -> PathKey {
    child_key(0, b"/")
}

/// The key of `name` in the directory with key `parent`.
pub fn child_key(parent: PathKey, name: &[u8]) -> PathKey {
    let (k0, k1) = process_key();
    let mut hasher = SipHasher13::new_with_keys(k0, k1);
    hasher.write_u64(parent);
    hasher.write(name);
    hasher.finish()
}

/// The hash of a value that is to be compared without being kept.
pub fn value_key(value: &[u8]) -> u64 {
    let (k0, k1) = process_key();
    let mut hasher = SipHasher13::new_with_keys(k0, !k1);
    hasher.write(value);
    hasher.finish()
}

/// The keys of a path and all directories above it, from the root down; the last is the path's own.
#[derive(Debug, Clone)]
pub struct PathKeys(Vec<PathKey>);

impl PathKeys {
    /// Hashes `path`.
    pub fn new(path: &ImagePath) -> Self {
        let mut keys = Vec::with_capacity(8);
        let mut key = root_key();
        keys.push(key);
        for component in path.components() {
            key = child_key(key, component);
            keys.push(key);
        }
        Self(keys)
    }

    /// The path's own key.
    pub fn own(&self) -> PathKey {
        self.0.last().copied().unwrap_or_else(root_key)
    }

    /// Keys of the directories above the path, from the root down.
    pub fn ancestors(&self) -> &[PathKey] {
        self.0.split_last().map(|(_, above)| above).unwrap_or(&[])
    }
}

/// The key of one path.
pub fn path_key(path: &ImagePath) -> PathKey {
    path.components().fold(root_key(), child_key)
}
