//! The comparison of a running container with its image, without any event: what is there that the image did
//! not ship, whoever put it there and whenever.
//!
//! Invariants: everything in the container is hostile ([`walk`]); what could not be looked at, or not all of
//! it, is said ([`Summary`]), so that no finding means "the same", never "not seen"; findings are told one by
//! one and not kept, so that memory does not grow with what a container writes.

pub mod environment;
pub mod files;
pub mod finding;
pub mod layers;
pub mod packages;
pub mod ports;
pub mod processes;
pub mod sockets;
mod tree;
mod upper;
pub mod walk;

pub use environment::{environment_of, EnvironmentFinding};
pub use files::FileScan;
pub use finding::{Attributes, FileChange, FileFinding};
pub use ports::PortFinding;
pub use processes::ProcessFinding;

use crate::host::InodeId;
use drift_formats::entry::ImagePath;
use drift_formats::path_key::PathKey;
use std::collections::HashMap;

/// Bounds of one scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most entries of directories looked at.
    pub max_entries: u64,
    /// Deepest directory.
    pub max_depth: usize,
    /// Most findings told.
    pub max_findings: u64,
    /// Largest file whose content is compared, bytes.
    pub max_file: u64,
    /// Most content that is read of all files together, bytes.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_entries: 5_000_000,
            max_depth: walk::MAX_DEPTH,
            max_findings: 1_000_000,
            max_file: 1 << 30,
            max_bytes: 64 << 30,
        }
    }
}

/// Most gaps kept by name; the others are counted.
const MAX_GAPS: usize = 100;

/// What a scan did, and what it could not do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries looked at.
    pub entries: u64,
    /// Bytes of content read for comparison, of the container's files.
    pub bytes: u64,
    /// Findings told.
    pub findings: u64,
    /// What could not be looked at, and why; the first [`Summary::gap_count`] of them up to a bound.
    pub gaps: Vec<(ImagePath, String)>,
    /// Number of gaps.
    pub gap_count: u64,
    /// The scan ended early, and why.
    pub cut: Option<String>,
}

impl Summary {
    /// Whether everything was looked at.
    pub fn is_complete(&self) -> bool {
        self.gap_count == 0 && self.cut.is_none()
    }

    fn gap(&mut self, path: ImagePath, why: String) {
        self.gap_count += 1;
        if self.gaps.len() < MAX_GAPS {
            self.gaps.push((path, why));
        }
    }
}

/// Files that were found to have the image's content, by path and state: they are not read again while the
/// state is the same. A change time is the kernel's own and cannot be set back from within a container.
#[derive(Debug, Default)]
pub struct Memory {
    same: HashMap<PathKey, (InodeId, u64)>,
}

/// Most files remembered of one container.
const MAX_REMEMBERED: usize = 200_000;

impl Memory {
    fn is_same(&self, key: PathKey, state: (InodeId, u64)) -> bool {
        self.same.get(&key) == Some(&state)
    }

    fn note_same(&mut self, key: PathKey, state: (InodeId, u64)) {
        if self.same.len() < MAX_REMEMBERED || self.same.contains_key(&key) {
            self.same.insert(key, state);
        }
    }
}
