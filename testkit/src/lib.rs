//! What drift's demo and tests need around the plugin: the engine, the rules, real containers.
//!
//! Nothing here is part of the plugin. [`engine`] finds a real Falco or sysdig (or unpacks Debian's), [`rules`]
//! turns a rules file into plain filters, [`alerts`] evaluates them over a capture as Falco does, [`skip`]
//! reports the tests that this machine cannot run.

use std::path::{Path, PathBuf};

pub mod alerts;
pub mod engine;
pub mod format;
pub mod live;
pub mod rules;
pub mod skip;
pub mod yaml;

/// The top of the source tree: the folder that holds the workspace's `Cargo.toml`.
pub fn workspace_dir() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's output folder: `CARGO_TARGET_DIR` (when relative, below the workspace, where `make` runs cargo), else
/// `target/` in the workspace.
pub fn target_dir() -> PathBuf {
    let dir = std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty());
    workspace_dir().join(dir.map_or_else(|| PathBuf::from("target"), PathBuf::from))
}

/// The folder with the captures that are too large for the repository: `DRIFT_SHARED`, else `../shared` beside the
/// checkout. `None` when neither is a folder.
pub fn shared_dir() -> Option<PathBuf> {
    let dir = match std::env::var_os("DRIFT_SHARED") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => workspace_dir().parent()?.join("shared"),
    };
    dir.is_dir().then_some(dir)
}
