//! The fenced blocks of the documents, by what their commands need.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use testkit::workspace_dir;

/// What a block's commands need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A machine with the project built.
    Plain,
    /// Root, and a container.
    Root,
    /// An installed Falco.
    Falco,
    /// Nothing but time: targets of the Makefile.
    Make,
    /// Nothing but time: calls of cargo.
    Cargo,
    /// A Kubernetes cluster.
    Cluster,
    /// Registries, images, servers.
    Network,
}

/// A block of commands.
#[derive(Debug, Clone)]
pub struct Block {
    /// `docs/file.md:line`.
    pub place: String,
    /// What it needs.
    pub kind: Kind,
    /// The commands.
    pub text: String,
}

impl Block {
    /// A block that a test makes.
    pub fn plain(text: &str) -> Self {
        Self { place: "test".to_owned(), kind: Kind::Plain, text: text.to_owned() }
    }
}

/// README.md, CONTRIBUTING.md, ARCHITECTURE.md and the pages in docs/.
pub fn documents() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(workspace_dir().join("docs")).unwrap().map(|e| e.unwrap().path());
    let mut found: Vec<PathBuf> = docs.filter(|p| p.extension().is_some_and(|e| e == "md")).collect();
    found.extend(["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"].map(|name| workspace_dir().join(name)));
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(workspace_dir()).unwrap().display().to_string()
}

/// Every fenced block of all documents: place, what stands after the fence, text.
fn fenced() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for path in documents() {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut open: Option<(String, String, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", name(&path), number + 1);
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(info), None) => open = Some((place, info.trim().to_owned(), String::new())),
                (Some(_), Some(_)) => found.extend(open.take()),
                (None, Some((.., text))) => {
                    text.push_str(line);
                    text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{open:?} is not closed");
    }
    found
}

/// Every block of commands.
pub fn blocks() -> Vec<Block> {
    let mut found = Vec::new();
    for (place, info, text) in fenced() {
        let kind = match info.as_str() {
            "sh" => Kind::Plain,
            "sh root" => Kind::Root,
            "sh falco" => Kind::Falco,
            "sh make" => Kind::Make,
            "sh cargo" => Kind::Cargo,
            "sh cluster" => Kind::Cluster,
            "sh network" => Kind::Network,
            "text" | "json" | "yaml" => continue,
            other => panic!("{place}: a block says what it is (sh ..., yaml, json, text), not {other:?}"),
        };
        found.push(Block { place, kind, text });
    }
    found
}

/// The targets that the Makefile names as such.
pub fn targets() -> BTreeSet<String> {
    let makefile = std::fs::read_to_string(workspace_dir().join("Makefile")).unwrap();
    let phony = makefile.lines().filter_map(|l| l.strip_prefix(".PHONY: "));
    let targets: BTreeSet<String> = phony.flat_map(|l| l.split(' ')).map(str::to_owned).collect();
    for target in &targets {
        assert!(
            makefile
                .lines()
                .any(|l| l.split(':').next().is_some_and(|names| names.split(' ').any(|n| n == target))),
            "the Makefile has no rule for {target}"
        );
    }
    targets
}

/// Every target that a document names in backquotes, with its place.
pub fn named_targets() -> Vec<(String, String)> {
    let mut found = Vec::new();
    // That page is about compiles of other projects' sources.
    for path in documents().into_iter().filter(|p| !p.ends_with("docs/false-positives.md")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in text.split('`').skip(1).step_by(2) {
            if let Some(target) = word.strip_prefix("make ").filter(|t| !t.contains([' ', '='])) {
                found.push((name(&path), target.to_owned()));
            }
        }
    }
    assert!(found.len() > 5, "{found:?}");
    found
}

/// YAML that a document shows can be read.
#[test]
fn yaml_is_yaml() {
    let mut count = 0;
    for (place, info, text) in fenced() {
        if info == "yaml" {
            testkit::yaml::parse(&text).unwrap_or_else(|e| panic!("{place}: {e:#}"));
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}
