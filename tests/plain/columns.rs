//! Lines end at 110 columns, those of comments and of Markdown as well. rustfmt looks after code only, and
//! not where a text is in it.

use std::path::{Path, PathBuf};
use testkit::workspace_dir;

const COLUMNS: usize = 110;

/// How many lines may still be longer, by the kind of file. These numbers only ever fall.
const ALLOWED: [(&str, usize); 3] = [("product", 868), ("tests", 0), ("pages", 0)];

fn kind(path: &Path) -> &'static str {
    let product = ["src", "crates"].map(|folder| workspace_dir().join(folder));
    match path.extension() {
        Some(end) if end == "md" => "pages",
        _ if product.iter().any(|folder| path.starts_with(folder)) => "product",
        _ => "tests",
    }
}

/// Where no lines of ours are.
const PASSED_OVER: [&str; 4] = ["target", "fuzz/target", "fuzz/artifacts", "fuzz/corpus"];

/// All sources and pages below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(workspace_dir()).unwrap();
        let hidden = path.file_name().unwrap().to_str().unwrap().starts_with('.');
        if path.is_symlink() || hidden || PASSED_OVER.iter().any(|passed| name == Path::new(passed)) {
            continue;
        } else if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs" || end == "md") {
            found.push(path);
        }
    }
}

/// The numbers of lines that are too long. Tables, blocks of code and lines with addresses in Markdown are as
/// long as they must be, and so is a line with a word that fills most of it.
fn too_long(text: &str, markdown: bool) -> Vec<usize> {
    let mut code = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        code ^= markdown && line.trim_start().starts_with("```");
        let unbroken = line.trim_start().starts_with(['|', '[', '<', '!']);
        let as_it_must = markdown && (code || unbroken || line.contains("](") || line.contains("://"));
        let longest = line.split_whitespace().map(|word| word.chars().count()).max();
        if line.chars().count() > COLUMNS && !as_it_must && longest < Some(COLUMNS - 30) {
            found.push(number);
        }
    }
    found
}

#[test]
fn lines_end_at_110_columns() {
    let mut all = Vec::new();
    files(&workspace_dir(), &mut all);
    all.sort();
    let mut wrong = String::new();
    for (kind_of, allowed) in ALLOWED {
        let mut found = Vec::new();
        for path in all.iter().filter(|path| kind(path) == kind_of) {
            let text = std::fs::read_to_string(path).unwrap();
            let markdown = kind_of == "pages";
            found.extend(too_long(&text, markdown).iter().map(|n| format!("{}:{n}\n", path.display())));
        }
        println!("{kind_of}: {} lines are longer than {COLUMNS} columns", found.len());
        if found.len() > allowed {
            wrong += &format!("{kind_of}: {}, {allowed} allowed:\n{}", found.len(), found.concat());
        }
    }
    assert!(wrong.is_empty(), "longer than {COLUMNS} columns: {wrong}");
}

#[test]
fn what_must_be_long_may_be() {
    let (plain, word) = ("a ".repeat(56), "a".repeat(111));
    let code = format!("```\n{plain}\n```\n");
    for (text, rust, markdown) in [
        ("a ".repeat(55), 0, 0),
        (plain.clone(), 1, 1),
        (format!("é{}", "a ".repeat(55)), 1, 1),
        (format!("| {plain}"), 1, 0),
        (format!("{plain} https://example.org"), 1, 0),
        (format!("{plain} [page](page.md)"), 1, 0),
        (word, 0, 0),
        (code, 1, 0),
        (format!("```\n```\n{plain}"), 1, 1),
    ] {
        assert_eq!((too_long(&text, false).len(), too_long(&text, true).len()), (rust, markdown), "{text}");
    }
}
