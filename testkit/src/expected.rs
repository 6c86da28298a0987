//! The recorded captures and the answers that are expected of them.

// A failure here is a failure of the test.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use crate::skip::skip;

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
    let dir = crate::shared_dir().map(|d| d.join("captures"));
    if dir.is_none() {
        skip(test, "no captures beside the checkout (set DRIFT_SHARED)");
    }
    dir
}

/// The cells of a table: tab-separated, `#` starts a comment line.
pub fn cells(table: &str) -> Vec<Vec<&str>> {
    let rows = table.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    rows.map(|line| line.split('\t').collect()).collect()
}

/// The table `expected/<name>.tsv`.
pub fn expected_table(captures: &Path, name: &str) -> String {
    let path = captures.join("expected").join(name).with_extension("tsv");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What `read` makes of each row's cells in that table.
pub fn expected<T>(captures: &Path, name: &str, read: impl Fn(&[&str]) -> T) -> Vec<T> {
    cells(&expected_table(captures, name)).iter().map(|row| read(row)).collect()
}

/// A cell's text; `None` for `-`.
pub fn given(cell: &str) -> Option<String> {
    (cell != "-").then(|| cell.to_owned())
}

/// Reads `expected/binary.tsv`.
pub fn binary_rows(captures: &Path) -> Vec<Row> {
    expected(captures, "binary", |cells| Row {
        scenario: cells[0].to_owned(),
        alert: given(cells[1]).map(|a| a == "1"),
        binary: cells[2].to_owned(),
        script: given(cells[3]),
        replay: given(cells[4]).unwrap_or_else(|| cells[2].to_owned()),
    })
}

/// The exec that a scenario is about, among all that carry its marker: the script's own for scn-15, whose
/// child carries the marker too, else the last one (perl, env or chroot exec first and then the program
/// itself).
pub fn the_exec<'a, T>(scenario: &str, execs: &'a [T]) -> Option<&'a T> {
    if scenario == "scn-15" {
        execs.first()
    } else {
        execs.last()
    }
}

/// Finds the marker of a scenario in a text: `scn-`, `cfg-` and the like, and two digits.
pub fn marker(text: &str, prefix: &str) -> Option<String> {
    let at = text.find(prefix)?;
    text.get(at..at + prefix.len() + 2).map(str::to_owned)
}
