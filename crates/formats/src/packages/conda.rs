//! conda's installed packages: `conda-meta/<name>-<version>-<build>.json` in an environment (conda's
//! "Environment metadata"; conda/models/records.py, `PrefixRecord`).

use super::{show, word_with};
use serde::Deserialize;

/// A package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CondaPackage {
    /// `name`.
    pub name: String,
    /// `version`.
    pub version: String,
    /// `subdir`, such as `linux-64` or `noarch`; empty where the record has none.
    pub subdir: String,
}

#[derive(Deserialize)]
struct Record {
    name: String,
    version: String,
    subdir: Option<String>,
}

/// Parses one record.
///
/// # Errors
/// It is no JSON of that form, or its name or version are none.
pub fn parse_record(bytes: &[u8]) -> Result<CondaPackage, String> {
    let record: Record = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let text = |raw: &str, what| {
        word_with(b"+-._!~", raw.as_bytes()).ok_or_else(|| format!("{what} is {}", show(raw.as_bytes())))
    };
    let subdir = record.subdir.and_then(|s| text(&s, "subdir").ok()).unwrap_or_default();
    Ok(CondaPackage { name: text(&record.name, "name")?, version: text(&record.version, "version")?, subdir })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // As conda 23 writes it, shortened.
    const RECORD: &[u8] = br#"{"build":"py311h06a4308_0","build_number":0,"channel":"https://repo/pkgs/main/linux-64",
        "depends":["python >=3.11,<3.12.0a0"],"files":["bin/wheel","lib/python3.11/site-packages/wheel/__init__.py"],
        "link":{"source":"/opt/conda/pkgs/wheel-0.41.2-py311h06a4308_0","type":1},"name":"wheel",
        "paths_data":{"paths":[{"_path":"bin/wheel","path_type":"hardlink"}],"paths_version":1},
        "subdir":"linux-64","version":"0.41.2"}"#;

    #[test]
    fn a_record_of_conda() {
        let got = parse_record(RECORD).unwrap();
        assert_eq!(
            (got.name.as_str(), got.version.as_str(), got.subdir.as_str()),
            ("wheel", "0.41.2", "linux-64")
        );
    }

    #[test]
    fn hostile_records_say_why() {
        for (bytes, want) in [
            (&b"{}"[..], "missing field"),
            (b"{\"name\":\"../x\",\"version\":\"1\"}", "name is"),
            (b"{\"name\":\"x\",\"version\":\"\"}", "version is"),
            (b"[", "EOF"),
        ] {
            let got = parse_record(bytes).unwrap_err();
            assert!(got.contains(want), "{got}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(raw in prop::collection::vec(any::<u8>(), 0..200), name in "[a-z/.\"\\\\]{0,8}") {
            let _ = parse_record(&raw);
            let _ = parse_record(format!("{{\"name\":\"{name}\",\"version\":\"1\"}}").as_bytes());
        }
    }
}
