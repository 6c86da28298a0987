//! Parts of the documentation that tests write: `UPDATE_DOCS=1` writes them anew, else they must be current.

#![allow(clippy::panic, clippy::unwrap_used)] // A failure here is a failure of the test.

use std::path::Path;

const END: &str = "<!-- end generated -->";

/// Text as a table's cell: one line, bars escaped.
pub fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// A table in Markdown.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut out = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|c| cell(c)).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}

/// Replaces what is between the markers of `name`.
pub fn with_part(text: &str, name: &str, part: &str) -> String {
    let marker = format!("<!-- generated: {name} -->\n");
    let (before, rest) = text.split_once(&marker).unwrap_or_else(|| panic!("no marker {marker:?}"));
    let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("no {END:?} after {marker:?}"));
    format!("{before}{marker}{part}{END}{after}")
}

/// Asserts that the parts of a file are current, or makes them so.
pub fn assert_current(path: &Path, parts: &[(&str, String)], test: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let fresh = parts.iter().fold(text.clone(), |text, (name, part)| with_part(&text, name, part));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, fresh).unwrap();
        return;
    }
    assert!(text == fresh, "{} is stale; run `UPDATE_DOCS=1 cargo test --test {test}`", path.display());
}
