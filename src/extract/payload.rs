//! Fields on drift's own events: read from the event's payload alone, so that a capture that holds the event
//! replays with the same answers.

use super::value::Value;
use super::{FieldDef, FieldType};
use crate::events::Payload;
use bumpalo::Bump;

/// The field's value in a payload: a JSON object whose keys are field names without `drift.`.
pub(super) fn value<'a>(def: &FieldDef, payload: Option<&Payload>, arena: &'a Bump) -> Value<'a> {
    let key = def.name.strip_prefix("drift.").unwrap_or(def.name);
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
