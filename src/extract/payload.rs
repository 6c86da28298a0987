//! Fields on drift's own events: read from the event's payload alone, so that a capture that holds the event
//! replays with the same answers.

use super::identity::{SHORT_ID, WHERE};
use super::value::Value;
use super::{Argument, FieldDef, FieldType};
use crate::events::Payload;
use bumpalo::Bump;
use drift_core::container::identity::{short_id, shown};

/// The field's value in a payload: a JSON object whose keys are field names without `drift.`.
pub(super) fn value<'a>(
    def: &FieldDef,
    argument: Option<&[u8]>,
    payload: Option<&Payload>,
    arena: &'a Bump,
) -> Value<'a> {
    let key = def.name.strip_prefix("drift.").unwrap_or(def.name);
    if def.name == SHORT_ID || def.name == WHERE {
        let text = |key: &str| payload.and_then(|payload| payload.get(key)?.as_str());
        let Some(id) = text("container_id") else { return Value::Absent };
        return match def.name {
            SHORT_ID => Value::text(arena, short_id(id)),
            _ => {
                let pod = text("pod_namespace").zip(text("pod_name"));
                Value::text(arena, &shown(pod, text("container_name"), id))
            }
        };
    }
    if def.argument == Argument::Key {
        let argument = argument.and_then(|key| std::str::from_utf8(key).ok());
        let entry = payload.zip(argument).and_then(|(payload, entry)| payload.get(key)?.get(entry)?.as_str());
        return Value::or_absent(entry.map(|entry| Value::text(arena, entry)));
    }
    keyed(def, key, payload, arena)
}

/// The value of a key of a payload, as the field's type wants it.
pub(super) fn keyed<'a>(def: &FieldDef, key: &str, payload: Option<&Payload>, arena: &'a Bump) -> Value<'a> {
    let Some(payload) = payload else { return Value::Absent };
    match (payload.get(key), def.field_type) {
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
