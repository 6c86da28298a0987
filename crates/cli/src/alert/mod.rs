//! Falco's alerts, read back: what they say, what they mean, and what would silence them.
//!
//! Invariant: an alert holds what a container chose, and lies in a file that anybody may have written. Each
//! line is bounded, and what is printed of it is escaped.

pub(crate) mod exception;
pub(crate) mod meaning;

use crate::output::printable;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Longest line that is read, bytes. Falco's own buffer for an alert's output is far smaller.
const MAX_LINE: u64 = 1 << 20;

/// One of Falco's alerts, as `json_output` and falcosidekick write it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Alert {
    pub(crate) rule: String,
    pub(crate) priority: String,
    #[serde(default)]
    pub(crate) time: String,
    #[serde(default)]
    output_fields: Map<String, Value>,
}

/// What an alert is about: the field that names it, and its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Thing {
    pub(crate) field: &'static str,
    pub(crate) value: String,
    /// The field is a list, and so must be compared as one.
    pub(crate) is_list: bool,
}

impl Thing {
    /// Whether it is a file.
    pub(crate) fn is_path(&self) -> bool {
        self.field.ends_with("path")
    }
}

/// Fields that name what an alert is about, the most telling first. A script rule is about the script.
const THINGS: [&str; 14] = [
    "drift.event.path",
    "drift.event.package",
    "drift.event.port",
    "drift.event.env_names",
    "drift.env_risky",
    "drift.port",
    "drift.peer",
    "drift.pkg_names",
    "drift.pkg_added",
    "drift.pkg_removed",
    "drift.file_path",
    "drift.script_path",
    "proc.exepath",
    "proc.name",
];

impl Alert {
    /// # Errors
    /// It is not one of Falco's alerts.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text).context("not an alert of Falco")
    }

    /// The value of a field, lists joined by commas; `None` where it is absent.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let text = match self.output_fields.get(name)? {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            Value::Array(all) => {
                let texts = all.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
                texts.collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        Some(text).filter(|text| !text.is_empty() && text != "<NA>")
    }

    fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.field(name))
    }

    /// Whether it is of one of Drift's rules.
    pub(crate) fn is_drifts(&self) -> bool {
        self.rule.starts_with("Drift ")
    }

    /// Id of the container.
    pub(crate) fn container(&self) -> Option<String> {
        self.first(&["drift.container_id", "drift.event.container_id", "container.id"])
    }

    /// The image's reference.
    pub(crate) fn image(&self) -> Option<String> {
        let names = ["drift.image", "drift.event.image", "container.image.repository"];
        self.first(&names).filter(|image| image != "unknown")
    }

    /// Namespace and name of the pod.
    pub(crate) fn pod(&self) -> Option<(String, String)> {
        let namespace = self.first(&["drift.pod_namespace", "k8s.ns.name"])?;
        Some((namespace, self.first(&["drift.pod_name", "k8s.pod.name"])?))
    }

    /// Name of the container.
    pub(crate) fn name(&self) -> Option<String> {
        self.first(&["drift.container_name", "container.name"])
    }

    /// What it is a part of: the workload, else the pod, else the container.
    pub(crate) fn workload(&self) -> Option<String> {
        let namespace = self.first(&["drift.pod_namespace", "k8s.ns.name"]);
        let name = self.first(&["drift.workload", "drift.pod_name", "k8s.pod.name"]);
        match (namespace, name) {
            (Some(namespace), Some(name)) => Some(format!("{namespace}/{name}")),
            _ => self.name(),
        }
    }

    /// What it is about; `None` where no field names it.
    pub(crate) fn thing(&self) -> Option<Thing> {
        let script = self.rule.contains("script").then_some("drift.script_path");
        let mut names = script.into_iter().chain(THINGS);
        names.find_map(|field| {
            let is_list = self.output_fields.get(field).is_some_and(Value::is_array);
            Some(Thing { field, value: self.field(field)?, is_list })
        })
    }

    /// Where it happened, in people's words.
    pub(crate) fn place(&self) -> String {
        let container = self.container().map(|id| id.chars().take(12).collect::<String>());
        let place = match (self.pod(), self.name()) {
            (Some((namespace, pod)), Some(name)) => format!("{namespace}/{pod}/{name}"),
            (Some((namespace, pod)), None) => format!("{namespace}/{pod}"),
            (None, Some(name)) => name,
            (None, None) => container.map_or("unknown container".to_owned(), |id| format!("container {id}")),
        };
        printable(place.as_bytes())
    }
}

/// Reads alerts, a line each, of a file or standard input (`-`), or one that takes several lines. `each` gets
/// every alert; how many lines were none.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(path: &Path, each: &mut dyn FnMut(Alert)) -> Result<u64> {
    let reader: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(std::fs::File::open(path).with_context(|| path.display().to_string())?),
    };
    let mut reader = BufReader::new(reader);
    let (mut line, mut invalid, mut whole, mut is_first) = (Vec::new(), 0, Vec::new(), true);
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.with_context(|| path.display().to_string())? == 0 {
            break;
        }
        if !line.ends_with(b"\n") && line.len() as u64 >= MAX_LINE {
            skip_line(&mut reader)?;
            invalid += 1;
            continue;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match Alert::parse(&line) {
            Ok(alert) => each(alert),
            // An alert that somebody laid out over several lines.
            Err(_) if is_first || !whole.is_empty() => whole.extend_from_slice(&line),
            Err(_) => invalid += 1,
        }
        is_first = false;
        if whole.len() as u64 > MAX_LINE {
            whole.clear();
            invalid += 1;
        }
    }
    if !whole.is_empty() {
        match Alert::parse(&whole) {
            Ok(alert) => each(alert),
            Err(_) => invalid += 1,
        }
    }
    Ok(invalid)
}

fn skip_line(reader: &mut impl BufRead) -> Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let (used, ended) = match buffer.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        reader.consume(used);
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn alert(rule: &str, priority: &str, fields: Value) -> Alert {
        let text = json!({"rule": rule, "priority": priority, "time": "2026-12-01T00:10:20Z",
            "source": "syscall", "output": "", "output_fields": fields});
        Alert::parse(text.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn fields_that_are_absent_are_none() {
        let alert = alert("r", "Warning", json!({"a": null, "b": "<NA>", "c": "", "d": ["x", "y"], "e": 7}));
        let values: Vec<_> = ["a", "b", "c", "d", "e", "f"].iter().map(|f| alert.field(f)).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(values, [None, None, None, some("x,y"), some("7"), None]);
    }

    #[test]
    fn a_script_rule_is_about_the_script() {
        let fields = json!({"drift.file_path": "/bin/sh", "drift.script_path": "/tmp/x"});
        assert_eq!(
            alert("Drift script executed", "Warning", fields.clone()).thing().unwrap().value,
            "/tmp/x"
        );
        assert_eq!(alert("Drift binary executed", "Warning", fields).thing().unwrap().value, "/bin/sh");
    }

    #[test]
    fn lines_that_are_no_alerts_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("alerts");
        let good = r#"{"rule":"r","priority":"Warning","output_fields":{}}"#;
        let long = "x".repeat(3 << 20);
        std::fs::write(&file, format!("{good}\n\nrubbish\n{long}\n{good}\n[1]\n")).unwrap();
        let mut count = 0;
        let invalid = read(&file, &mut |_| count += 1).unwrap();
        assert_eq!((count, invalid), (2, 3));
        std::fs::write(&file, "{\"rule\":\"r\",\n\"priority\":\"Warning\"}\n").unwrap();
        assert_eq!(read(&file, &mut |_| count += 1).unwrap(), 0);
        assert_eq!(count, 3, "an alert over several lines");
    }
}
