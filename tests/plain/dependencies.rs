//! What the library is made of besides its own code: where dependencies come from, under which licences, in
//! how many versions; and where its own code may do what the compiler does not check. The list of the latter
//! is in docs/security.md.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Licences that ask for no more than to be named. Apache-2.0 code may be linked with all of them.
const LICENCES: [&str; 9] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that the library may have in several versions, and why.
const SEVERAL_VERSIONS: [(&str, &str); 1] = [(
    "syn",
    "used by macros while compiling: serde's are further than the SDK's; nothing of it is in the library",
)];

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &target])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// Whether one of the alternatives in each part of a licence expression is allowed.
fn is_allowed(expression: &str) -> bool {
    expression.split(" AND ").all(|part| {
        let part = part.trim_matches(['(', ')']);
        part.split(" OR ").flat_map(|p| p.split('/')).any(|one| LICENCES.contains(&one.trim()))
    })
}

#[test]
fn licences_are_read_as_spdx_means_them() {
    for (expression, allowed) in [
        ("MIT OR Apache-2.0", true),
        ("MIT/Apache-2.0", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("GPL-3.0-only OR MIT", true),
        ("MIT AND GPL-3.0-only", false),
        ("AGPL-3.0", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression), allowed, "{expression}");
    }
}

#[test]
fn dependencies_come_from_the_registry_under_known_licences() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = format!("{} {}", text(package, "name"), text(package, "version"));
        if !is_allowed(text(package, "license")) {
            wrong.push(format!("{name}: licence {:?}", text(package, "license")));
        }
        let here = Path::new(text(package, "manifest_path")).starts_with(env!("CARGO_MANIFEST_DIR"));
        // No fork, no branch of a repository: what a name and version say is what is built, by the lock
        // file's checksum.
        let registry =
            package["source"].as_str().is_some_and(|s| s.starts_with("registry+") && s.contains("crates.io"));
        if !registry && !here {
            wrong.push(format!("{name}: from {}", package["source"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_library_has_one_version_of_each_crate() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let name_of = |id: &str| packages.iter().find(|p| text(p, "id") == id).map(|p| text(p, "name")).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let root = packages.iter().find(|p| text(p, "name") == "drift").map(|p| text(p, "id")).unwrap();
    let (mut linked, mut next) = (BTreeSet::new(), vec![root]);
    while let Some(id) = next.pop() {
        if linked.insert(id) {
            let node = nodes.iter().find(|n| text(n, "id") == id).unwrap();
            let of_library =
                |dep: &&Value| dep["dep_kinds"].as_array().unwrap().iter().any(|k| k["kind"].is_null());
            next.extend(node["deps"].as_array().unwrap().iter().filter(of_library).map(|d| text(d, "pkg")));
        }
    }
    assert!(linked.len() > 20, "{linked:?}");
    let mut versions: BTreeMap<&str, u32> = BTreeMap::new();
    linked.iter().for_each(|id| *versions.entry(name_of(id)).or_default() += 1);
    let several: Vec<&str> = versions.iter().filter(|(_, n)| **n > 1).map(|(name, _)| *name).collect();
    let known: Vec<&str> = SEVERAL_VERSIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(several, known, "crates in several versions");
}

/// Files of `src/` that have the word, comments and names of lints left out.
fn unsafe_files(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            unsafe_files(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.lines().filter_map(|line| line.split("//").next());
        let words = |line: &str| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').any(|w| w == "unsafe")
        };
        if code.into_iter().any(words) {
            let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
            found.insert(name.display().to_string());
        }
    }
}

#[test]
fn unsafe_code_is_where_the_security_page_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    ["src", "crates"].iter().for_each(|dir| unsafe_files(&root.join(dir), &mut found));
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let section = page.split("## Unsafe code").nth(1).expect("docs/security.md has a section on unsafe code");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let listed: BTreeMap<String, &str> = rows.map(|(file, why)| (file.to_owned(), why)).collect();
    assert_eq!(found, listed.keys().cloned().collect(), "in src/ and crates/, and in docs/security.md");
    assert!(listed.values().all(|why| why.len() > 20), "each with its reason: {listed:?}");
    for (file, lint) in [
        ("src/lib.rs", "#![deny(unsafe_code)]"),
        ("crates/core/src/lib.rs", "#![deny(unsafe_code)]"),
        ("crates/formats/src/lib.rs", "#![forbid(unsafe_code)]"),
        ("crates/cli/src/main.rs", "#![forbid(unsafe_code)]"),
    ] {
        assert!(std::fs::read_to_string(root.join(file)).unwrap().contains(lint), "{file} has {lint}");
    }
}
