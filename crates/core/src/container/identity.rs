//! Who a container is to the people who run it: its name, its pod, its workload.
//!
//! `read` takes it from the files that runtimes and the kubelet keep on the node; no daemon is asked. What
//! the bundle's `config.json` says is read when the container is first looked at, so that an alert on its
//! first process has it; labels and annotations of the pod follow from the engine's records.
//!
//! Invariant: whoever deploys a container chooses all of these strings, so each is bounded, as is their
//! number.

pub(crate) mod read;
mod workload;

use serde_json::{json, Map, Value};
use std::collections::BTreeMap;

/// Longest name, bytes. Kubernetes' own are at most 253.
const MAX_NAME: usize = 256;
/// Longest key of a label or annotation, bytes: a prefix of 253, a slash and 63.
const MAX_KEY: usize = 317;
/// Longest value of a label (63 in Kubernetes) or an annotation, bytes.
const MAX_VALUE: usize = 512;
/// Most labels of a pod, and most annotations: events carry all of them.
const MAX_ENTRIES: usize = 32;
/// Most bytes of all labels, or all annotations, of a pod.
const MAX_TOTAL: usize = 4 << 10;

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It does the pod's work.
    App,
    /// It runs before those, and ends.
    Init,
    /// It starts before those, and stays (an init container with `restartPolicy: Always`).
    Sidecar,
    /// `kubectl debug` added it.
    Ephemeral,
    /// It holds the pod's namespaces.
    Pause,
}

impl Kind {
    /// The value of `drift.container_kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Init => "init",
            Self::Sidecar => "sidecar",
            Self::Ephemeral => "ephemeral",
            Self::Pause => "pause",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::App, Self::Init, Self::Sidecar, Self::Ephemeral, Self::Pause];
        all.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Labels or annotations.
pub type Entries = BTreeMap<Box<str>, Box<str>>;

/// The pod of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its UID; `None` where it is not known.
    pub uid: Option<Box<str>>,
    /// Id of the container that holds its namespaces; `None` where it is not known.
    pub sandbox: Option<Box<str>>,
    /// Its labels.
    pub labels: Entries,
    /// Those of its annotations that the configuration lists.
    pub annotations: Entries,
}

/// Who a container is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The name that people know it by.
    pub name: Option<Box<str>>,
    /// What it is to its pod.
    pub kind: Option<Kind>,
    /// Its pod; `None` where it is in none.
    pub pod: Option<Pod>,
}

impl Identity {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This, and what the other one says where this says nothing.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        let pod = match (self.pod, &other.pod) {
            (Some(pod), Some(other)) if pod.name == other.name && pod.namespace == other.namespace => {
                let entries = |own: Entries, other: &Entries| match own.is_empty() {
                    true => other.clone(),
                    false => own,
                };
                Some(Pod {
                    uid: pod.uid.or_else(|| other.uid.clone()),
                    sandbox: pod.sandbox.or_else(|| other.sandbox.clone()),
                    labels: entries(pod.labels, &other.labels),
                    annotations: entries(pod.annotations, &other.annotations),
                    name: pod.name,
                    namespace: pod.namespace,
                })
            }
            (None, other) => other.clone(),
            (pod, _) => pod,
        };
        Self { name: self.name.or_else(|| other.name.clone()), kind: self.kind.or(other.kind), pod }
    }

    /// The value of `drift.workload`.
    pub fn workload(&self) -> Option<String> {
        let pod = self.pod.as_ref()?;
        Some(workload::of(&pod.name, &pod.labels))
    }

    /// The value of `drift.where`, of the container with this id.
    pub fn shown(&self, id: &str) -> String {
        let pod = self.pod.as_ref().map(|pod| (&*pod.namespace, &*pod.name));
        shown(pod, self.name.as_deref(), id)
    }

    /// Whether both are containers of the same pod.
    pub fn shares_pod_with(&self, other: &Self) -> bool {
        match (&self.pod, &other.pod) {
            (Some(pod), Some(other)) => match (&pod.uid, &other.uid) {
                (Some(uid), Some(other)) => uid == other,
                _ => pod.sandbox.is_some() && pod.sandbox == other.sandbox,
            },
            _ => false,
        }
    }

    /// The keys and values that events carry, named as the fields are, without `drift.`.
    pub fn to_payload(&self) -> Map<String, Value> {
        let pod = self.pod.as_ref();
        let entries = |entries: &Entries| {
            let pairs = entries.iter().map(|(key, value)| (key.to_string(), json!(value)));
            (!entries.is_empty()).then(|| Value::Object(pairs.collect()))
        };
        let all = [
            ("container_name", self.name.as_ref().map(|name| json!(name))),
            ("container_kind", self.kind.map(|kind| json!(kind.as_str()))),
            ("pod_name", pod.map(|pod| json!(pod.name))),
            ("pod_namespace", pod.map(|pod| json!(pod.namespace))),
            ("pod_uid", pod.and_then(|pod| pod.uid.as_ref()).map(|uid| json!(uid))),
            ("pod_sandbox", pod.and_then(|pod| pod.sandbox.as_ref()).map(|id| json!(id))),
            ("pod_label", pod.and_then(|pod| entries(&pod.labels))),
            ("pod_annotation", pod.and_then(|pod| entries(&pod.annotations))),
            ("workload", self.workload().map(Value::from)),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }

    /// Reads back what [`Self::to_payload`] wrote. `get` gives the value of a key.
    pub fn from_payload<'p>(get: impl Fn(&str) -> Option<&'p Value>) -> Self {
        let text = |key: &str| get(key).and_then(Value::as_str).and_then(name);
        let entries = |key: &str| {
            let pairs = get(key).and_then(Value::as_object).into_iter().flatten();
            bounded(pairs.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))))
        };
        let pod = text("pod_name").zip(text("pod_namespace")).map(|(name, namespace)| Pod {
            name,
            namespace,
            uid: text("pod_uid"),
            sandbox: text("pod_sandbox"),
            labels: entries("pod_label"),
            annotations: entries("pod_annotation"),
        });
        let kind = get("container_kind").and_then(Value::as_str).and_then(Kind::parse);
        Self { name: text("container_name"), kind, pod }
    }

    /// By the labels that the kubelet gives containers and sandboxes (`pkg/kubelet/types/labels.go`).
    pub fn from_labels<'l>(get: impl Fn(&str) -> Option<&'l str>) -> Self {
        let pod = get("io.kubernetes.pod.name").zip(get("io.kubernetes.pod.namespace"));
        let pod = pod.and_then(|(pod, namespace)| {
            Some(Pod {
                name: name(pod)?,
                namespace: name(namespace)?,
                uid: get("io.kubernetes.pod.uid").and_then(name),
                ..Pod::default()
            })
        });
        Self { name: get("io.kubernetes.container.name").and_then(name), kind: None, pod }
    }
}

/// Digits of a short id, as in engines' listings.
const SHORT_ID: usize = 12;

/// The first digits of a container's id.
pub fn short_id(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// Where, for people: `namespace/pod/container`; without a pod the container's name; else its short id. Of a
/// pod whose container has no name (`pause`) the id stands in its place.
pub fn shown(pod: Option<(&str, &str)>, container: Option<&str>, id: &str) -> String {
    let container = container.unwrap_or_else(|| short_id(id));
    match pod {
        Some((namespace, pod)) => format!("{namespace}/{pod}/{container}"),
        None => container.to_owned(),
    }
}

/// A name, cut to what is kept; `None` for an empty one.
pub fn name(text: &str) -> Option<Box<str>> {
    (!text.is_empty()).then(|| bounded_text(text, MAX_NAME))
}

/// A text as it is kept: so long, and without control characters, which take six times the room in JSON.
fn bounded_text(text: &str, max: usize) -> Box<str> {
    cut(text, max).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The first `max` bytes of a text, less a letter that does not fit whole.
fn cut(text: &str, max: usize) -> &str {
    (0..=max.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

/// Labels or annotations as they are kept: the first ones in the order of their keys, as many as fit. Those
/// that runtimes and the kubelet add for themselves are none of the pod's.
pub fn bounded<'e>(all: impl Iterator<Item = (&'e str, &'e str)>) -> Entries {
    let sorted: BTreeMap<&str, &str> = all
        .filter(|(key, _)| key.len() <= MAX_KEY && !key.is_empty())
        .filter(|(key, _)| {
            !key.starts_with("io.kubernetes.pod.") && !key.starts_with("io.kubernetes.container.")
        })
        .collect();
    let mut total = 0;
    let entries = sorted.into_iter().map(|(key, value)| (key, cut(value, MAX_VALUE)));
    entries
        .take(MAX_ENTRIES)
        .take_while(|(key, value)| {
            total += key.len() + value.len();
            total <= MAX_TOTAL
        })
        .map(|(key, value)| (bounded_text(key, MAX_KEY), bounded_text(value, MAX_VALUE)))
        .collect()
}

#[cfg(test)]
#[path = "identity/identity_tests.rs"]
mod tests;
