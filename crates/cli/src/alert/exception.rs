//! What would silence alerts, and which alerts nothing should.
//!
//! Invariants: an exception names the image and the thing, never a rule alone; what an intruder would do
//! first ([`refusal`]) has none.

use crate::alert::{Alert, Thing};
use drift_core::policy::sensitive::{is_alone, is_scratch};
use drift_formats::entry::ImagePath;
use serde_json::{json, Value};
use std::collections::BTreeMap;

/// Rules about what no workload does on purpose.
const NEVER: [&str; 12] = [
    "Drift memfd execution",
    "Drift package database changed by another program",
    "Drift package manager with hooks",
    "Drift program text piped into an interpreter",
    "Drift command line cut",
    "Drift mounted secret or configuration tampered",
    "Drift file gained privilege",
    "Drift entrypoint mismatch",
    "Drift image differs from approved",
    "Drift found container file gained privilege",
    "Drift found root file system made writable",
    "Drift found image not approved",
];

/// Rules about Drift itself: the cause is to be removed.
const OWN: [&str; 2] = ["Drift verdicts lost", "Drift verdict unavailable"];

/// Why nothing should hide such an alert; `None` where an exception may.
pub(crate) fn refusal(alert: &Alert) -> Option<&'static str> {
    let rule = alert.rule.as_str();
    if !alert.is_drifts() {
        return Some("not one of Drift's rules: see Falco's documentation on exceptions");
    }
    if OWN.contains(&rule) {
        return Some("about Drift itself: run drift doctor and remove the cause");
    }
    if NEVER.contains(&rule) {
        return Some("no workload does this on purpose: find out who did");
    }
    if alert.priority.eq_ignore_ascii_case("critical") {
        return Some("critical: treat it as an intrusion until proven otherwise");
    }
    if alert.image().is_none() {
        return Some("the image is not known: an exception would hold for every container");
    }
    let Some(thing) = alert.thing() else { return Some("no field says what it is about") };
    if thing.field.starts_with("proc.") {
        return Some("only a process's name says what it is about, and any process can take that name");
    }
    if !is_plain(&thing.value) {
        return Some("the name holds characters that a rules file cannot match safely");
    }
    let path = Some(&thing).filter(|t| t.is_path());
    let path = path.and_then(|t| ImagePath::from_archive(t.value.as_bytes()).ok())?;
    let runs = ["executed", "loaded", "execution", "process"].iter().any(|word| rule.contains(word));
    if is_alone(&path) {
        Some("this file gives rights, or starts code, by itself")
    } else if runs && is_scratch(&path) {
        Some("everybody in the container can put programs there")
    } else if runs && path.file_name().is_some_and(|name| name.starts_with(b".")) {
        Some("a hidden program")
    } else {
        None
    }
}

/// Whether a value can stand in an exception: Falco puts it into a condition, where quotes and backslashes
/// have a meaning (`userspace/falco/rule_loader_compiler.cpp`, `quote_item`).
fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\'' | '\\'))
}

/// One row of an exception: what must be equal, or begin so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) image: String,
    /// The image in any version.
    pub(crate) any_version: bool,
    pub(crate) thing: Thing,
    /// Everything below a directory, which `thing` then is, with a slash at its end.
    pub(crate) is_directory: bool,
}

impl Row {
    /// That hides exactly such alerts; `None` where none should be hidden.
    pub(crate) fn exactly(alert: &Alert) -> Option<Self> {
        if refusal(alert).is_some() {
            return None;
        }
        let (image, thing) = (alert.image()?, alert.thing()?);
        Some(Self { image, any_version: false, thing, is_directory: false })
    }

    fn fields(&self) -> [&'static str; 2] {
        let image =
            if self.thing.field.starts_with("drift.event.") { "drift.event.image" } else { "drift.image" };
        [image, self.thing.field]
    }

    fn comparisons(&self) -> [&'static str; 2] {
        let thing = match (self.is_directory, self.thing.is_list) {
            (true, _) => "startswith",
            (false, true) => "in",
            (false, false) => "=",
        };
        [if self.any_version { "startswith" } else { "=" }, thing]
    }

    fn values(&self) -> Value {
        match self.thing.is_list {
            true => json!([self.image, self.thing.value.split(',').collect::<Vec<_>>()]),
            false => json!([self.image, self.thing.value]),
        }
    }
}

/// The repository of a reference, with what separates it from the tag or digest.
pub(crate) fn repository(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    let end = name.find(['@', ':']).map(|at| image.len() - name.len() + at + 1);
    image.get(..end.unwrap_or(image.len())).unwrap_or(image).to_owned()
}

/// The rules file with exceptions for these rules: one item for each rule and kind of comparison.
///
/// Falco 0.37 and later take `override: {exceptions: append}`.
pub(crate) fn yaml<'r>(rows: impl IntoIterator<Item = (&'r str, &'r Row, String)>) -> String {
    let mut items: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (rule, row, comment) in rows {
        items.entry((rule, row.fields(), row.comparisons())).or_default().push((row, comment));
    }
    let mut out = String::new();
    for ((rule, fields, comparisons), rows) in items {
        let values = rows.iter().map(|(row, _)| row.values().to_string());
        let name = name(rule, values);
        out += &format!(
            "- rule: {rule}\n  exceptions:\n    - name: {name}\n      fields: [{}]\n      comps: [{}]\n      \
             values:\n",
            fields.join(", "),
            comparisons.map(|c| if c == "=" { "\"=\"" } else { c }).join(", ")
        );
        for (row, comment) in rows {
            if !comment.is_empty() {
                out += &format!("        # {comment}\n");
            }
            out += &format!("        - {}\n", row.values());
        }
        out += "  override:\n    exceptions: append\n\n";
    }
    out.truncate(out.trim_end().len());
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// A name that no other exception of the rule has: Falco takes no second one with other fields. By FNV-1a of
/// what it hides.
fn name(rule: &str, values: impl Iterator<Item = String>) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    for text in std::iter::once(rule.to_owned()).chain(values) {
        hash = text.bytes().fold(hash, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    }
    format!("expected_{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::alert;

    fn fields(path: &str) -> Value {
        json!({"drift.file_path": path, "drift.image": "registry.example/shop:1.4"})
    }

    #[test]
    fn what_an_intruder_does_first_has_no_exception() {
        for (rule, priority, fields, refused) in [
            ("Drift binary executed", "Warning", fields("/opt/app/helper"), false),
            ("Drift binary executed", "Warning", fields("/tmp/x"), true),
            ("Drift binary executed", "Warning", fields("/opt/app/.x"), true),
            ("Drift binary executed", "Critical", fields("/opt/app/helper"), true),
            ("Drift binary executed", "Warning", fields("/opt/it's"), true),
            ("Drift binary executed", "Warning", json!({"drift.file_path": "/opt/app/helper"}), true),
            ("Drift memfd execution", "Critical", fields("memfd:x"), true),
            ("Drift image file modified", "Warning", fields("/etc/passwd"), true),
            ("Drift image file modified", "Warning", fields("/etc/nginx/nginx.conf"), false),
            ("Drift container file system write", "Notice", fields("/tmp/x"), false),
            ("Drift verdicts lost", "Warning", fields("/x"), true),
            ("Terminal shell in container", "Notice", fields("/x"), true),
        ] {
            let alert = alert(rule, priority, fields);
            assert_eq!(refusal(&alert).is_some(), refused, "{alert:?}");
            assert_eq!(Row::exactly(&alert).is_none(), refused);
        }
    }

    #[test]
    fn rules_without_exceptions_exist() {
        let rules = [
            include_str!("../../../../rules/drift_rules.yaml"),
            include_str!("../../../../rules/drift_source_rules.yaml"),
        ]
        .concat();
        for name in NEVER.iter().chain(&OWN) {
            assert!(rules.contains(&format!("- rule: {name}\n")), "{name}");
        }
    }

    #[test]
    fn repositories_end_before_the_version() {
        for (image, repository_of) in [
            ("registry.example:5000/shop:1.4", "registry.example:5000/shop:"),
            ("shop@sha256:0123", "shop@"),
            ("registry.example:5000/shop", "registry.example:5000/shop"),
        ] {
            assert_eq!(repository(image), repository_of);
        }
    }

    #[test]
    fn an_exception_is_a_rules_file() {
        let binary = alert("Drift binary executed", "Warning", fields("/opt/app/helper"));
        let list = json!({"drift.env_risky": ["LD_PRELOAD", "BASH_ENV"], "drift.image": "shop:1"});
        let environment = alert("Drift dangerous environment", "Warning", list);
        let rows = [&binary, &environment].map(|a| (a.rule.as_str(), Row::exactly(a).unwrap()));
        let text = yaml(rows.iter().map(|(rule, row)| (*rule, row, String::new())));
        assert_eq!(
            text,
            "\
- rule: Drift binary executed
  exceptions:
    - name: expected_be3c43dc
      fields: [drift.image, drift.file_path]
      comps: [\"=\", \"=\"]
      values:
        - [\"registry.example/shop:1.4\",\"/opt/app/helper\"]
  override:
    exceptions: append

- rule: Drift dangerous environment
  exceptions:
    - name: expected_eeba70f2
      fields: [drift.image, drift.env_risky]
      comps: [\"=\", in]
      values:
        - [\"shop:1\",[\"LD_PRELOAD\",\"BASH_ENV\"]]
  override:
    exceptions: append
"
        );
        let read = drift_formats::yaml::parse(&text).unwrap();
        assert_eq!(read[0]["exceptions"][0]["values"][0][1], "/opt/app/helper");
    }
}
