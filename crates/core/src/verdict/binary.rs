//! The verdict on an executable, and what it is remembered by.

use crate::host::{ExeFlags, InodeId};
use crate::verdict::judge::Judgement;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

/// What a verdict is remembered by: the container, the path and the very inode in its state then.
///
/// Id and path are keyed hashes, so that looking one up copies nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BinaryKey {
    container: u64,
    path: u64,
    inode: InodeId,
    flags: ExeFlags,
}

impl BinaryKey {
    /// The key of an executable.
    pub fn new(container: &str, path: &[u8], inode: InodeId, flags: ExeFlags) -> Self {
        Self { container: Self::container_key(container), path: hasher().hash_one(path), inode, flags }
    }

    /// What keys have in place of a container's id.
    pub fn container_key(container: &str) -> u64 {
        hasher().hash_one(container)
    }

    /// The key of the same path in another state.
    pub fn of_state(self, inode: InodeId, flags: ExeFlags) -> Self {
        Self { inode, flags, ..self }
    }

    /// What the kernel said of where it lies.
    pub fn flags(&self) -> ExeFlags {
        self.flags
    }

    /// [`Self::container_key`] of its container.
    pub fn container(&self) -> u64 {
        self.container
    }
}

fn hasher() -> &'static RandomState {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new)
}

/// An executable and the verdict on it.
#[derive(Debug, Clone)]
pub struct Binary {
    /// What it is remembered by.
    pub key: BinaryKey,
    /// Path as the kernel gave it.
    pub path: Box<[u8]>,
    /// Inode as the kernel gave it.
    pub inode: InodeId,
    /// The verdict.
    pub judgement: Judgement,
    /// SHA-256 of the content, once known.
    pub sha256: Option<[u8; 32]>,
    /// Set once the background was asked for the digest.
    pub hashing: OnceLock<()>,
    /// Traits, once asked for and found.
    pub traits: OnceLock<Arc<[&'static str]>>,
    /// Package that owns it, once asked for and found out; `None` where no package does.
    pub package: OnceLock<Option<Box<str>>>,
}
