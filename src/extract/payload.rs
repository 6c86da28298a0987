//! Fields on drift's own events: read from the event's payload alone, so that a capture that holds the event replays
//! with the same answers.

use super::value::Value;
use super::{FieldDef, FieldType};
use bumpalo::Bump;

/// Name of the event that tells the final verdict on an executable.
pub(crate) const BINARY_EVENT: &str = "drift_binary";

/// Name of the event that tells a verified change of a file.
pub(crate) const FILE_EVENT: &str = "drift_file";

/// Name of the event that tells of a change of a mounted secret or configuration.
pub(crate) const SECRET_EVENT: &str = "drift_secret";

/// Name of the event that tells of a loaded library that is not the image's.
pub(crate) const LIBRARY_EVENT: &str = "drift_library";

/// Name of the event that tells what was declared of a container, once that is known.
pub(crate) const CONTAINER_EVENT: &str = "drift_container";

/// Name of the event that tells of an unexpected peer that a container had before its image was known.
pub(crate) const PEER_EVENT: &str = "drift_peer";

/// Name of the event that tells of an undeclared port that a container opened before it was known what it declares.
pub(crate) const PORT_EVENT: &str = "drift_port";

/// Name of the event that tells what became of a container's packages.
pub(crate) const PACKAGES_EVENT: &str = "drift_packages";

/// All of them.
pub(crate) const EVENTS: &[&str] = &[
    BINARY_EVENT,
    FILE_EVENT,
    SECRET_EVENT,
    LIBRARY_EVENT,
    CONTAINER_EVENT,
    PACKAGES_EVENT,
    PEER_EVENT,
    PORT_EVENT,
];

/// Longest payload read, bytes.
const MAX_PAYLOAD: usize = 64 << 10;

/// Whether an async event is drift's.
pub(super) fn is_ours(name: &[u8]) -> bool {
    EVENTS.iter().any(|ours| ours.as_bytes() == name)
}

/// The field's value in a payload: a JSON object whose keys are field names without `drift.`.
pub(super) fn value<'a>(def: &FieldDef, data: &[u8], arena: &'a Bump) -> Value<'a> {
    let key = def.name.strip_prefix("drift.").unwrap_or(def.name);
    keyed(def, key, data, arena)
}

/// The value of a key of a payload, as the field's type wants it.
pub(super) fn keyed<'a>(def: &FieldDef, key: &str, data: &[u8], arena: &'a Bump) -> Value<'a> {
    let data = data.strip_suffix(b"\0").unwrap_or(data);
    if data.len() > MAX_PAYLOAD {
        return Value::Absent;
    }
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(data) else { return Value::Absent };
    match (json.get(key), def.field_type) {
        (Some(serde_json::Value::Bool(yes)), FieldType::Bool) => Value::Bool(*yes),
        (Some(serde_json::Value::String(text)), FieldType::String) if !def.is_list => {
            Value::text(arena, text)
        }
        (Some(serde_json::Value::Number(n)), FieldType::Uint64 | FieldType::Reltime) => {
            Value::or_absent(n.as_u64().map(Value::U64))
        }
        (Some(serde_json::Value::Array(items)), FieldType::String) if def.is_list => {
            let texts =
                items.iter().filter_map(|i| i.as_str()).map(|t| &*arena.alloc_slice_copy(t.as_bytes()));
            let texts: bumpalo::collections::Vec<'a, &'a [u8]> =
                bumpalo::collections::Vec::from_iter_in(texts, arena);
            match texts.into_bump_slice() {
                [] => Value::Absent,
                texts => Value::List(texts),
            }
        }
        _ => Value::Absent,
    }
}
