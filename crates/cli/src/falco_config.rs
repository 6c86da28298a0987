//! Falco's configuration, as far as it decides what Drift can do.
//!
//! Invariant: the files lie in a container's root, so that they are opened beneath it, bounded.

use anyhow::{anyhow, Context, Result};
use drift_core::host::RootDir;
use serde_json::Value;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Largest file of a configuration, bytes.
const MAX_FILE: u64 = 1 << 20;
/// Most files of a folder of drop-ins.
const MAX_FILES: usize = 100;
/// So much of the file of alerts is searched for losses, from its end.
const MAX_TAIL: u64 = 4 << 20;

/// Where Drift's rules are among the rules files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Missing,
    Late,
    First,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The files read.
    pub(crate) files: Vec<String>,
    /// Library of the plugin.
    pub(crate) library: Option<String>,
    pub(crate) is_loaded: bool,
    pub(crate) has_container_plugin: bool,
    pub(crate) order: Order,
    /// `rule_matching: all`.
    pub(crate) matches_all: bool,
    pub(crate) json_output: bool,
    /// Alerts on losses in the file of alerts; `None` where there is no such file.
    pub(crate) lost: Option<usize>,
}

impl Settings {
    /// # Errors
    /// The file cannot be read, or is not YAML.
    pub(crate) fn read(root: &RootDir, path: &Path) -> Result<Self> {
        let mut merged = yaml(root, path)?;
        let mut files = vec![path.display().to_string()];
        for file in drop_ins(root, &merged) {
            // One that is malformed stops Falco itself, which says so.
            let Ok(more) = yaml(root, &file) else { continue };
            files.push(file.display().to_string());
            merge(&mut merged, more);
        }
        let mut settings = Self { files, ..Self::of(&merged) };
        let output = merged.get("file_output").filter(|o| o.get("enabled") == Some(&Value::Bool(true)));
        let output = output.and_then(|o| o.get("filename")).and_then(Value::as_str);
        settings.lost = output.and_then(|file| lost(root, Path::new(file)));
        Ok(settings)
    }

    fn of(config: &Value) -> Self {
        let texts = |key: &str| -> Vec<&str> {
            config
                .get(key)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect()
        };
        let plugins = config.get("plugins").and_then(Value::as_array).into_iter().flatten();
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let drift = plugins.into_iter().find(|p| text(p, "name").as_deref() == Some("drift"));
        let loaded = texts("load_plugins");
        let rules = texts("rules_files");
        let at = |name: &str| rules.iter().position(|r| Path::new(r).file_name().is_some_and(|n| n == name));
        Self {
            files: Vec::new(),
            library: drift.and_then(|d| text(d, "library_path")),
            is_loaded: loaded.contains(&"drift"),
            has_container_plugin: loaded.contains(&"container"),
            order: match (at("drift_rules.yaml"), at("falco_rules.yaml")) {
                (None, _) => Order::Missing,
                (Some(drift), Some(falco)) if falco < drift => Order::Late,
                _ => Order::First,
            },
            matches_all: text(config, "rule_matching").as_deref() == Some("all"),
            json_output: config.get("json_output") == Some(&Value::Bool(true)),
            lost: None,
        }
    }
}

/// As Falco does by default: lists are appended to, all else is replaced.
fn merge(config: &mut Value, more: Value) {
    let (Value::Object(config), Value::Object(more)) = (config, more) else { return };
    for (key, value) in more {
        match (config.get_mut(&key), value) {
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
            (_, value) => {
                config.insert(key, value);
            }
        }
    }
}

fn open(root: &RootDir, path: &Path) -> Result<std::fs::File> {
    let found = root.find(path.as_os_str().as_bytes()).map_err(|why| anyhow!("{why}"))?;
    found.open().map_err(|why| anyhow!("{why}"))
}

fn yaml(root: &RootDir, path: &Path) -> Result<Value> {
    let mut text = String::new();
    open(root, path)?.take(MAX_FILE).read_to_string(&mut text).context("not text")?;
    drift_formats::yaml::parse(&text).map_err(|why| anyhow!("{why}"))
}

/// The files of `config_files`, and those of the folders among them, in their order.
fn drop_ins(root: &RootDir, config: &Value) -> Vec<PathBuf> {
    let named = config.get("config_files").and_then(Value::as_array);
    let named: Vec<PathBuf> = match named {
        Some(all) => all
            .iter()
            .filter_map(|v| v.as_str().or_else(|| v.get("path")?.as_str()))
            .map(PathBuf::from)
            .collect(),
        None => vec!["/etc/falco/config.d".into()],
    };
    let mut files = Vec::new();
    for path in named {
        let names = root.find(path.as_os_str().as_bytes()).ok().and_then(|dir| dir.names(MAX_FILES).ok());
        match names {
            Some(mut names) => {
                names.sort();
                files.extend(names.iter().map(|n| path.join(std::ffi::OsStr::from_bytes(n))));
            }
            None => files.push(path),
        }
    }
    files
}

/// How many alerts on losses the end of the file of alerts has.
fn lost(root: &RootDir, path: &Path) -> Option<usize> {
    let mut file = open(root, path).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(MAX_TAIL))).ok()?;
    let mut tail = Vec::new();
    file.take(MAX_TAIL).read_to_end(&mut tail).ok()?;
    Some(String::from_utf8_lossy(&tail).lines().filter(|l| l.contains("Drift verdicts lost")).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Settings {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Settings::read(&RootDir::open(dir.path()).unwrap(), Path::new("/etc/falco/falco.yaml")).unwrap()
    }

    #[test]
    fn drop_ins_are_appended_as_falco_does() {
        let shipped = include_str!("../../../falco.drift_plugin.yaml");
        let found = read(&[
            (
                "etc/falco/falco.yaml",
                "rules_files: [/etc/falco/drift_rules.yaml, /etc/falco/falco_rules.yaml]\n\
                 load_plugins: [container]\n\
                 json_output: true\nfile_output: {enabled: true, filename: /var/log/falco.log}\n",
            ),
            ("etc/falco/config.d/falco.drift_plugin.yaml", shipped),
            ("var/log/falco.log", "x\n{\"rule\": \"Drift verdicts lost\"}\n"),
        ]);
        assert_eq!(found.library.as_deref(), Some("libdrift.so"));
        assert!(found.is_loaded && found.has_container_plugin && found.json_output && !found.matches_all);
        assert_eq!((found.order, found.lost, found.files.len()), (Order::First, Some(1), 2));
    }

    #[test]
    fn rules_that_are_hidden_are_seen() {
        for (rules, order) in [
            ("[/etc/falco/falco_rules.yaml]", Order::Missing),
            ("[/etc/falco/falco_rules.yaml, /etc/falco/drift_rules.yaml]", Order::Late),
            ("[/etc/falco/drift_rules.yaml]", Order::First),
        ] {
            let found = read(&[("etc/falco/falco.yaml", &format!("rules_files: {rules}\n"))]);
            assert_eq!(found.order, order, "{rules}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let root = RootDir::open(dir.path()).unwrap();
        assert!(Settings::read(&root, Path::new("/falco.yaml")).is_err());
        std::fs::write(dir.path().join("falco.yaml"), "a: [").unwrap();
        assert!(Settings::read(&root, Path::new("/falco.yaml")).is_err());
        // A link out of the root is not followed out of it.
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link.yaml")).unwrap();
        assert!(Settings::read(&root, Path::new("/link.yaml")).is_err());
    }
}
