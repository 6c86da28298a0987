//! What drift's demo and tests need around the plugin: the engine, the rules, real containers.
//!
//! Nothing here is part of the plugin. [`engine`] finds a real Falco or sysdig (or unpacks Debian's),
//! [`rules`] turns a rules file into plain filters, [`alerts`] evaluates them over a capture as Falco does,
//! [`cases`] makes captures of what is written down, [`random`] makes up input, [`skip`] reports the tests
//! that this machine cannot run. [`host`] is a small engine that drives the plugin's C interface,
//! [`expected`] reads the expected answers of captures, [`generated`] writes parts of the documentation,
//! [`mount`] makes overlay mounts, [`syscalls`] counts the system calls of a thread.

use std::path::{Path, PathBuf};

pub mod alerts;
pub mod cases;
pub mod command;
pub mod engine;
pub mod expected;
pub mod format;
pub mod generated;
pub mod host;
pub mod live;
pub mod mount;
pub mod random;
pub mod rules;
pub mod skip;
pub mod syscalls;
pub mod yaml;

/// The top of the source tree: the folder that holds the workspace's `Cargo.toml`.
pub fn workspace_dir() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's output folder: `CARGO_TARGET_DIR` (when relative, below the workspace, where `make` runs cargo),
/// else `target/` in the workspace.
pub fn target_dir() -> PathBuf {
    let dir = std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty());
    workspace_dir().join(dir.map_or_else(|| PathBuf::from("target"), PathBuf::from))
}

/// The folder with the captures that are too large for the repository: `DRIFT_SHARED`, else `../shared`
/// beside the checkout. `None` when neither is a folder.
pub fn shared_dir() -> Option<PathBuf> {
    let dir = match std::env::var_os("DRIFT_SHARED") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => workspace_dir().parent()?.join("shared"),
    };
    dir.is_dir().then_some(dir)
}

/// The shipped rules on system calls.
pub fn rules_file() -> PathBuf {
    workspace_dir().join("rules/drift_rules.yaml")
}

/// The release build of the plugin, which engines load; checked to be newer than every source file.
///
/// # Errors
/// It was not built, or not since the sources changed: says how to build it.
pub fn plugin_library() -> anyhow::Result<PathBuf> {
    built("libdrift.so", &["src", "crates/core", "crates/formats"])
}

/// The release build of `testkit-source`, the plugin through which engines are fed live; checked as
/// [`plugin_library`].
///
/// # Errors
/// As [`plugin_library`].
pub fn source_library() -> anyhow::Result<PathBuf> {
    built("libtestkit_source.so", &["testkit/source/src"])
}

/// The release build of `file-call`, the program that makes one system call on files; checked as
/// [`plugin_library`].
///
/// # Errors
/// As [`plugin_library`].
pub fn file_call_program() -> anyhow::Result<PathBuf> {
    built("file-call", &["testkit/src/bin/file-call"])
}

/// A file of the release build that is newer than all of these sources.
fn built(name: &str, sources: &[&str]) -> anyhow::Result<PathBuf> {
    let library = target_dir().join("release").join(name);
    let library = std::path::absolute(&library).unwrap_or(library);
    let built = std::fs::metadata(&library)
        .and_then(|m| m.modified())
        .map_err(|e| anyhow::anyhow!("{}: {e}; run `make build`", library.display()))?;
    let mut folders: Vec<PathBuf> = sources.iter().map(|folder| workspace_dir().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::metadata(&path)?.modified()? > built {
                anyhow::bail!("{} is older than {}; run `make build`", library.display(), path.display());
            }
        }
    }
    Ok(library)
}
