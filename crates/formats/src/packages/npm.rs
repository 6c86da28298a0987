//! npm's packages: `node_modules/.package-lock.json`, the "hidden" lock file that npm writes beside what it
//! installed (docs.npmjs.com, package-lock.json), and packages' own `package.json`, where there is no such
//! file (global installations; other managers).

use super::{show, word_with, Parsed};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// The most packages of one lock file.
const MAX_PACKAGES: usize = 100_000;

/// A package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpmPackage {
    /// Its name, with its scope (`@scope/name`).
    pub name: String,
    /// Its version; empty where none is given.
    pub version: String,
    /// Where it is, relative to the directory that holds `node_modules`; empty for one from its own
    /// `package.json`.
    pub place: String,
}

/// A package's name: `name` or `@scope/name`.
fn name(raw: &str) -> Option<String> {
    let plain = |part: &str| word_with(b"-._~+", part.as_bytes());
    match raw.strip_prefix('@').map(|rest| rest.split_once('/')) {
        None => plain(raw),
        Some(Some((scope, name))) => Some(format!("@{}/{}", plain(scope)?, plain(name)?)),
        Some(None) => None,
    }
}

fn version(raw: &str) -> Option<String> {
    word_with(b"+-._~", raw.as_bytes())
}

#[derive(Deserialize)]
struct Described {
    name: Option<String>,
    version: Option<String>,
    /// A symbolic link to a package elsewhere, which has an entry of its own.
    #[serde(default)]
    link: bool,
}

#[derive(Deserialize)]
struct Lock {
    #[serde(deserialize_with = "packages")]
    packages: Parsed<Vec<NpmPackage>>,
}

/// Parses the hidden lock file (versions 2 and 3).
///
/// # Errors
/// It is no JSON of that form, or has more packages than are read.
pub fn parse_hidden_lock(bytes: &[u8]) -> Result<Parsed<Vec<NpmPackage>>, String> {
    serde_json::from_slice::<Lock>(bytes).map(|lock| lock.packages).map_err(|e| e.to_string())
}

/// Reads the map of packages entry by entry: nothing is kept of those that are passed over.
fn packages<'de, D: Deserializer<'de>>(from: D) -> Result<Parsed<Vec<NpmPackage>>, D::Error> {
    struct Packages;
    impl<'de> Visitor<'de> for Packages {
        type Value = Parsed<Vec<NpmPackage>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of packages")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut parsed = Parsed::new(Vec::new());
            while let Some(place) = map.next_key::<String>()? {
                // Others are the project's own packages (workspaces).
                let Some((_, by_place)) = place.rsplit_once("node_modules/") else {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                };
                let described: Described = map.next_value()?;
                if described.link {
                    continue;
                }
                if parsed.value.len() >= MAX_PACKAGES {
                    return Err(serde::de::Error::custom("more than 100000 packages"));
                }
                let named = described.name.as_deref().unwrap_or(by_place);
                let number = described.version.as_deref().map_or(Some(String::new()), version);
                match (name(named), number) {
                    (Some(name), Some(version)) => parsed.value.push(NpmPackage { name, version, place }),
                    _ => parsed.warn_of(|| format!("{} is no package", show(place.as_bytes()))),
                }
            }
            Ok(parsed)
        }
    }
    from.deserialize_map(Packages)
}

/// Parses a package's own `package.json`.
///
/// # Errors
/// It is no JSON of that form, or has no name.
pub fn parse_package_json(bytes: &[u8]) -> Result<NpmPackage, String> {
    let described: Described = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let raw = described.name.ok_or("no name")?;
    let name = name(&raw).ok_or_else(|| format!("name is {}", show(raw.as_bytes())))?;
    let version = described.version.as_deref().and_then(version).unwrap_or_default();
    Ok(NpmPackage { name, version, place: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hidden_lock_of_npm() {
        let lock = include_bytes!("../../../../tests/fixtures/packages/npm/package-lock.json");
        let parsed = parse_hidden_lock(lock).unwrap();
        let got: Vec<_> =
            parsed.value.iter().map(|p| (p.name.as_str(), p.version.as_str(), p.place.as_str())).collect();
        assert_eq!(
            got,
            [
                ("@drift-fixture/scoped", "2.1.0-beta.1", "node_modules/@drift-fixture/scoped"),
                ("left-pad-fixture", "1.0.0", "node_modules/left-pad-fixture"),
                ("left-pad-fixture", "1.0.0", "node_modules/left2"),
            ]
        );
    }

    #[test]
    fn links_workspaces_and_hostile_names() {
        let lock = br#"{"lockfileVersion":2,"packages":{"":{"name":"app"},"packages/own":{"version":1},
            "node_modules/own":{"resolved":"packages/own","link":true},
            "node_modules/a/node_modules/@s/b":{"version":"1.0.0"},"node_modules/../x":{"version":"1"},
            "node_modules/v":{"version":"1 2"},"node_modules/@x":{},"node_modules/none":{}}}"#;
        let parsed = parse_hidden_lock(lock).unwrap();
        let names: Vec<_> = parsed.value.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
        assert_eq!(names, [("@s/b", "1.0.0"), ("none", "")]);
        assert_eq!(parsed.warnings.len(), 3);
        for bytes in [&b"{}"[..], b"[]", b"{\"packages\":1}", b"", b"{\"packages\":{\"node_modules/a\":3}}"] {
            assert!(parse_hidden_lock(bytes).is_err());
        }
        let deep = [b"{\"packages\":{\"x\":".to_vec(), b"[".repeat(100_000)].concat();
        assert!(parse_hidden_lock(&deep).is_err());
    }

    #[test]
    fn ten_thousand_packages_and_too_many() {
        let lock = |n: usize| {
            let all: Vec<String> =
                (0..n).map(|i| format!("\"node_modules/p{i}\":{{\"version\":\"1.0.{i}\"}}")).collect();
            format!("{{\"packages\":{{{}}}}}", all.join(","))
        };
        assert_eq!(parse_hidden_lock(lock(10_000).as_bytes()).unwrap().value.len(), 10_000);
        assert!(parse_hidden_lock(lock(MAX_PACKAGES + 1).as_bytes()).unwrap_err().contains("more than"));
    }

    #[test]
    fn package_json() {
        let got =
            parse_package_json(br#"{"name":"@a/b","version":"1.2.3","dependencies":{"x":"1"}}"#).unwrap();
        assert_eq!((got.name.as_str(), got.version.as_str()), ("@a/b", "1.2.3"));
        assert_eq!(parse_package_json(b"{\"version\":\"1\"}").unwrap_err(), "no name");
        assert!(parse_package_json(b"{\"name\":\"@a/../b\"}").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(raw in prop::collection::vec(any::<u8>(), 0..200), place in "(node_modules/|@|/|[a-z]|\\.){0,8}") {
            let _ = (parse_hidden_lock(&raw), parse_package_json(&raw));
            let lock = format!("{{\"packages\":{{\"{place}\":{{\"version\":\"1\"}}}}}}");
            for package in parse_hidden_lock(lock.as_bytes()).unwrap().value {
                prop_assert!(package.name.split('/').all(|part| part != ".."));
            }
        }
    }
}
