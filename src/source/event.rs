//! The payload of the source's events: a JSON object whose keys are the names of the fields below
//! `drift.event.`.
//!
//! Invariant: a payload holds no command line, no environment and no content of a file.

use super::params::Check;
use crate::events::add_identity;
use drift_core::container::declared::ImageIdentity;
use drift_core::container::identity::Identity;
use drift_core::policy::approved::Approval;
use drift_core::scan::finding::type_name;
use drift_core::scan::packages::PackageFinding;
use drift_core::scan::{
    Attributes, EnvironmentFinding, FileChange, FileFinding, PortFinding, ProcessFinding,
};
use drift_core::verdict::origin::Origin;
use drift_formats::entry::ImagePath;
use drift_formats::ports::Ports;
use serde::Serialize;
use std::collections::BTreeSet;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Payload {
    /// What is told: a kind of finding, `incomplete`, `resolved` or `started`.
    #[serde(rename = "type")]
    pub kind_of_event: &'static str,
    /// The check that found it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub check: &'static str,
    /// The container's id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// Its image, as deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The file, or the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<&'static str>,
    /// What the file, or the program, is by origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<&'static str>,
    /// What the file is by content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The package; of a file the one that owns the path in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The port, as `8080/tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Who can reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_scope: Option<&'static str>,
    /// Whether the container's own program listens on it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub port_main: bool,
    /// Where its content comes from all the same: `copied`, `unpacked`, `derived` or `engine`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'static str>,
    /// The image's file that has the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_of: Option<String>,
    /// The image's own work that made it, as an event of the file said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work: Option<String>,
    /// Whether an event has reported the file in this very state.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reported: bool,
    /// Names of variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_names: Vec<String>,
    /// Those of them that are dangerous.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_risky: Vec<String>,
    /// Whether it came about before the source was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_start: Option<bool>,
    /// More, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// As the image has it, or as it was declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// As it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}

/// Longest path or detail in an event, bytes of text.
const MAX_TEXT: usize = 8192;
/// Longest name or version of a package, bytes of text.
const MAX_WORD: usize = 512;
/// Most dangerous variables in an event.
const MAX_RISKY: usize = 32;
/// Longest payload that fields are read from, bytes (`src/extract/payload.rs`), with some room.
const MAX_PAYLOAD: usize = 60 << 10;
/// Most addresses, ports or names in an event.
const MAX_SHOWN: usize = 64;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..MAX_TEXT).unwrap_or(bytes)).into_owned()
}

fn word(text: &str) -> String {
    String::from_utf8_lossy(text.as_bytes().get(..MAX_WORD).unwrap_or(text.as_bytes())).into_owned()
}

impl Payload {
    /// The event's bytes, with who the container is.
    pub fn to_bytes(&self, identity: Option<&Identity>) -> Vec<u8> {
        let bytes = |payload: &Self| {
            // Nothing in it can fail to be JSON.
            let mut value = serde_json::to_value(payload).unwrap_or_default();
            if let Some(object) = value.as_object_mut() {
                add_identity(object, identity);
            }
            serde_json::to_vec(&value).unwrap_or_default()
        };
        let whole = bytes(self);
        if whole.len() <= MAX_PAYLOAD {
            return whole;
        }
        // Names full of what JSON has to escape: an event that is too long to be read would hide what it
        // tells.
        let short = Self { detail: None, env_names: Vec::new(), ..self.clone() };
        bytes(&short)
    }

    /// What the event is about, within its check.
    pub fn subject(&self) -> &str {
        let named = match self.check {
            // Of a file and a port these tell something else.
            check if check == Check::Packages.as_str() => &self.package,
            check if check == Check::Ports.as_str() => &self.port,
            _ => &self.path,
        };
        named.as_deref().unwrap_or_default()
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

    /// The same, with where its content comes from all the same: the kind, and the image's file.
    pub fn explained(self, content: Option<(&'static str, Option<ImagePath>)>) -> Self {
        let (content, of) = content.map_or((None, None), |(kind, of)| (Some(kind), of));
        Self { content, content_of: of.map(|path| text(path.as_bytes())), ..self }
    }

    /// A process whose program, or a file of code that it was started on, is not the image's; `drifted` is
    /// which.
    pub fn of_process(container: &str, p: &ProcessFinding, drifted: (&[u8], Origin)) -> Self {
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
        let (path, origin) = drifted;
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

    /// A package that is not installed as in the image.
    pub fn of_package(container: &str, p: &PackageFinding) -> Self {
        let versions = |releases| match PackageFinding::versions(releases) {
            _ if releases.is_empty() => "absent".to_owned(),
            words => word(&words),
        };
        Self {
            kind_of_event: "package",
            check: Check::Packages.as_str(),
            container_id: container.to_owned(),
            change: Some(p.change()),
            package: Some(word(&p.id())),
            expected: Some(versions(&p.old)),
            actual: Some(versions(&p.new)),
            ..Self::default()
        }
    }

    /// A port that nobody declared. `declared` are those that somebody did.
    pub fn of_port(container: &str, p: &PortFinding, declared: &[Ports]) -> Self {
        let addresses: Vec<String> = p.addresses.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
        let mut names: Vec<String> = declared.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        Self {
            kind_of_event: "port",
            check: Check::Ports.as_str(),
            container_id: container.to_owned(),
            path: Some(text(&p.path)).filter(|path| !path.is_empty()),
            port: Some(p.name()),
            port_scope: Some(p.scope().as_str()),
            port_main: p.is_main,
            detail: Some(format!("pid {}", p.pid)),
            expected: Some(match names.is_empty() {
                true => "none declared".to_owned(),
                false => names.join(", "),
            }),
            actual: Some(addresses.join(", ")),
            ..Self::default()
        }
    }

    /// A program whose environment is not the declared one.
    pub fn of_environment(container: &str, e: &EnvironmentFinding) -> Self {
        let names =
            |names: &BTreeSet<Box<[u8]>>| names.iter().take(MAX_SHOWN).map(|n| text(n)).collect::<Vec<_>>();
        let pids: Vec<String> = e.pids.iter().map(ToString::to_string).collect();
        let mut detail = vec![format!("pid {}", pids.join(", "))];
        if !e.changed.is_empty() {
            detail.push(format!("declared with other values {}", names(&e.changed).join(", ")));
        }
        let mut env_names = names(&e.added);
        env_names.extend(names(&e.changed));
        Self {
            kind_of_event: "environment",
            check: Check::Environment.as_str(),
            container_id: container.to_owned(),
            path: Some(text(&e.path)),
            env_names,
            env_risky: names(&e.risky).into_iter().take(MAX_RISKY).collect(),
            detail: Some(detail.join("; ")),
            ..Self::default()
        }
    }

    /// An image that is not on the list of approved ones.
    pub fn of_image(container: &str, approval: Approval, image: &ImageIdentity) -> Self {
        let digest = image.digest().or(image.id).map(|d| d.to_string());
        Self {
            kind_of_event: "image",
            check: Check::Image.as_str(),
            container_id: container.to_owned(),
            change: Some(approval.as_str()),
            expected: Some(Approval::Approved.as_str().to_owned()),
            actual: digest.or_else(|| image.reference.as_deref().map(|r| text(r.as_bytes()))),
            ..Self::default()
        }
    }

    /// A root file system that can be written to. `declared` is whether it was meant to be read-only.
    pub fn of_rootfs(container: &str, read_only: Option<bool>) -> Self {
        Self {
            kind_of_event: "rootfs",
            check: Check::Rootfs.as_str(),
            container_id: container.to_owned(),
            path: Some("/".to_owned()),
            expected: read_only.map(|yes| if yes { "read-only" } else { "writable" }.to_owned()),
            actual: Some("writable".to_owned()),
            ..Self::default()
        }
    }

    /// The source is open, and waits for somebody who reads its events.
    pub fn started() -> Self {
        let detail = "compares containers from when a rule or filter of the source reads this event";
        Self { kind_of_event: "started", detail: Some(detail.to_owned()), ..Self::default() }
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

    /// What is said when this finding is gone, but for the container.
    pub(super) fn when_gone(&self) -> Self {
        let was = self.change.or(self.origin).unwrap_or(self.kind_of_event);
        let Self { check, change, origin, kind, port_scope, content, before_start, .. } = *self;
        Self {
            kind_of_event: "resolved",
            check,
            path: self.path.clone(),
            change,
            origin,
            kind,
            package: self.package.clone(),
            port: self.port.clone(),
            port_scope,
            content,
            content_of: self.content_of.clone(),
            before_start,
            detail: Some(format!("was {was}")),
            expected: self.expected.clone(),
            ..Self::default()
        }
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.path, &self.package, &self.port, &self.content_of, &self.detail, &self.expected];
        size_of::<Self>() + texts.iter().filter_map(|text| text.as_ref()).map(String::len).sum::<usize>()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_makes_an_event_too_long_to_read() {
        let names = |prefix: &str| -> BTreeSet<Box<[u8]>> {
            (0..256u32)
                .map(|n| format!("{prefix}{n:03}{}", "\u{1}".repeat(120)).into_bytes().into())
                .collect()
        };
        let hostile = EnvironmentFinding {
            path: b"/\x01".repeat(2000),
            pids: (0..16).collect(),
            added: names("X"),
            changed: names("Y"),
            risky: names("LD_"),
        };
        let payload = Payload::of_environment(&"ab".repeat(32), &hostile);
        let bytes = payload.to_bytes(None);
        assert!(bytes.len() <= MAX_PAYLOAD, "{}", bytes.len());
        let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read["env_risky"].as_array().unwrap().len(), MAX_RISKY);
        let long = Payload {
            package: Some(word(&"\u{1}".repeat(9000))),
            path: Some(text(&b"\x01".repeat(4096))),
            expected: Some(word(&"\u{1}".repeat(9000))),
            actual: Some(word(&"\u{1}".repeat(9000))),
            detail: Some(text(&b"\x01".repeat(8192))),
            ..Payload::default()
        };
        assert!(long.to_bytes(None).len() <= MAX_PAYLOAD);
    }
}
