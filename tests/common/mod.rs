//! What the replay and live tests share: the expected answers, and the setting to run them in.

// Each test file uses its own part of this module.
#![allow(dead_code)]

pub mod cases;
pub mod generated;
pub mod http;
pub mod mount;
pub mod tools;

use std::path::{Path, PathBuf};
use testkit::skip::skip;

/// One row of `expected/binary.tsv`.
#[derive(Debug, Clone)]
pub struct Row {
    /// `scn-NN`.
    pub scenario: String,
    /// Whether the pack alerts, live; `None` where nothing runs.
    pub alert: Option<bool>,
    /// Live origin of the executable.
    pub binary: String,
    /// Origin of the script; `None` where there is none.
    pub script: Option<String>,
    /// Origin of the executable in a replay.
    pub replay: String,
}

/// The folder with captures and expected answers; says and counts why there is none.
pub fn captures(test: &str) -> Option<PathBuf> {
    let dir = testkit::shared_dir().map(|d| d.join("captures"));
    if dir.is_none() {
        skip(test, "no captures beside the checkout (set DRIFT_SHARED)");
    }
    dir
}

/// Reads `expected/binary.tsv`.
pub fn binary_rows(captures: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(captures.join("expected/binary.tsv")).unwrap();
    let given = |cell: &str| (cell != "-").then(|| cell.to_owned());
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            Row {
                scenario: cells[0].to_owned(),
                alert: given(cells[1]).map(|a| a == "1"),
                binary: cells[2].to_owned(),
                script: given(cells[3]),
                replay: given(cells[4]).unwrap_or_else(|| cells[2].to_owned()),
            }
        })
        .collect()
}

/// The exec that a scenario is about, among all that carry its marker: the script's own for scn-15, whose child
/// carries the marker too, else the last one (perl, env or chroot exec first and then the program itself).
pub fn the_exec<'a, T>(scenario: &str, execs: &'a [T]) -> Option<&'a T> {
    if scenario == "scn-15" {
        execs.first()
    } else {
        execs.last()
    }
}

/// Finds `scn-NN` in a text.
pub fn marker(text: &str) -> Option<String> {
    let at = text.find("scn-")?;
    text.get(at..at + 6).map(str::to_owned)
}

/// A Falco configuration that loads the plugin, as a file.
pub fn engine_config(dir: &Path, library: &Path, init_config: &str) -> PathBuf {
    let indented: String = init_config.lines().map(|l| format!("      {l}\n")).collect();
    let text = format!(
        "plugins:\n  - name: drift\n    library_path: {}\n    init_config:\n{}load_plugins: [drift]\n",
        library.display(),
        indented
    );
    let path = dir.join("falco.yaml");
    std::fs::write(&path, text).unwrap();
    path
}
