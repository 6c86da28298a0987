//! The payload of the source's events: a JSON object whose keys are the names of the fields below `drift.event.`.
//!
//! Invariant: a payload holds no command line, no environment and no content of a file.

use super::params::Check;
use crate::scan::finding::type_name;
use crate::scan::processes::ProcessFinding;
use crate::scan::{Attributes, FileChange, FileFinding};
use serde::Serialize;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Payload {
    /// `file`, `process`, `incomplete` or `resolved`.
    #[serde(rename = "type")]
    pub kind_of_event: &'static str,
    /// The check that found it.
    pub check: &'static str,
    /// The container's id.
    pub container_id: String,
    /// Its image, as deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How the file differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<&'static str>,
    /// What the file, or the program, is by origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<&'static str>,
    /// What the file is by content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// Package that owns the path in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// More, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// As the image has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// As it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}

/// Longest path or detail in an event, bytes of text.
const MAX_TEXT: usize = 8192;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..MAX_TEXT).unwrap_or(bytes)).into_owned()
}

impl Payload {
    /// The event's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Nothing in it can fail to be JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// A file that differs.
    pub fn of_file(container: &str, f: &FileFinding, package: Option<String>) -> Self {
        let mut detail = Vec::new();
        if !f.gained.is_empty() {
            detail.push(format!("gained {}", f.gained.join(",")));
        }
        if let Some(image_path) = &f.image_path {
            detail.push(format!("in the image {}", text(image_path.as_bytes())));
        }
        if f.covered {
            detail.push("covered by a mount".to_owned());
        }
        Self {
            kind_of_event: "file",
            check: Check::Files.as_str(),
            container_id: container.to_owned(),
            path: Some(text(f.path.as_bytes())),
            change: Some(f.change.as_str()),
            origin: Some(f.change.origin().as_str()),
            kind: Some(f.content),
            package,
            detail: Some(detail.join("; ")).filter(|d| !d.is_empty()),
            expected: Some(f.before.map_or_else(|| unseen(f), attributes)),
            actual: Some(f.now.map_or_else(|| "absent".to_owned(), attributes)),
            ..Self::default()
        }
    }

    /// A program that is not the image's.
    pub fn of_process(container: &str, p: &ProcessFinding) -> Self {
        let mut detail = vec![format!("pid {}", p.pid)];
        if p.deleted {
            detail.push("deleted".to_owned());
        }
        if let Some(volume) = p.volume {
            detail.push(format!("volume {volume}"));
        }
        if let Some((path, origin)) = &p.script {
            detail.push(format!("script {} ({})", text(path), origin.as_str()));
        }
        // The script is what drifted when the interpreter is the image's.
        let (path, origin) = match &p.script {
            Some((path, origin)) if p.origin == crate::verdict::origin::Origin::Image => (path, *origin),
            _ => (&p.path, p.origin),
        };
        Self {
            kind_of_event: "process",
            check: Check::Processes.as_str(),
            container_id: container.to_owned(),
            path: Some(text(path)),
            origin: Some(origin.as_str()),
            package: p.package.clone(),
            detail: Some(detail.join("; ")),
            expected: Some("image".to_owned()),
            actual: Some(origin.as_str().to_owned()),
            ..Self::default()
        }
    }

    /// A comparison that did not reach everything.
    pub fn incomplete(container: &str, check: Check, why: &str) -> Self {
        Self {
            kind_of_event: "incomplete",
            check: check.as_str(),
            container_id: container.to_owned(),
            detail: Some(text(why.as_bytes())),
            ..Self::default()
        }
    }

    /// This finding is gone.
    pub fn resolved(self) -> Self {
        let was = self.change.or(self.origin).unwrap_or(self.kind_of_event);
        Self { kind_of_event: "resolved", detail: Some(format!("was {was}")), actual: None, ..self }
    }
}

fn unseen(f: &FileFinding) -> String {
    match f.change {
        FileChange::Created => "absent",
        _ => type_name(f.kind),
    }
    .to_owned()
}

fn attributes(a: Attributes) -> String {
    let mut out = format!("{} mode={:04o} owner={}:{}", type_name(a.kind), a.mode, a.owner.0, a.owner.1);
    if a.kind == rustix::fs::FileType::RegularFile {
        out += &format!(" size={}", a.size);
    }
    out
}
