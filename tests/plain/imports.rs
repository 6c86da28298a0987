//! Data flows one way: no part of the plugin imports another that imports it, over however many others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Imports = BTreeMap<String, BTreeSet<String>>;

/// What each file below a folder imports of the crate's other parts, tests left out.
fn read(dir: &Path, part: Option<&str>, imports: &mut Imports) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let part = part.unwrap_or(&name);
        if path.is_dir() {
            read(&path, Some(part), imports);
        } else if name != "lib" && !name.ends_with("_tests") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let word =
                |at: &str| at.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
            let others = code.split("crate::").skip(1).map(word).filter(|other| other != part);
            imports.entry(part.to_owned()).or_default().extend(others);
        }
    }
}

#[test]
fn no_part_imports_one_that_imports_it() {
    let mut imports = Imports::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, &mut imports);
    assert!(imports["engine"].contains("workers") && imports.len() > 8, "{imports:?}");
    // What imports nothing that is left goes, until nothing is left.
    while let Some(ground) = imports
        .iter()
        .find(|(_, others)| others.iter().all(|other| !imports.contains_key(other)))
        .map(|(part, _)| part.clone())
    {
        imports.remove(&ground);
    }
    assert!(imports.is_empty(), "in a circle, or above one: {imports:?}");
}
