//! Fields of the events of the source `drift`: read from the event's payload alone.

use super::payload;
use super::value::Value;
use super::FieldDef;
use crate::event::raw::SyscallEvent;
use bumpalo::Bump;

/// What the fields' names begin with; the rest is the key in the payload.
pub(super) const PREFIX: &str = "drift.event.";

/// The field's value on an event of the source `drift`; absent for fields of other sources.
pub(super) fn value<'a>(def: &FieldDef, event: &SyscallEvent<'_>, arena: &'a Bump) -> Value<'a> {
    match (def.name.strip_prefix(PREFIX), event.source_payload(crate::source::PLUGIN_ID)) {
        (Some(key), Some(data)) => payload::keyed(def, key, data, arena),
        _ => Value::Absent,
    }
}

/// On any other event these fields say nothing.
pub(super) fn absent<'a>(_: &mut super::Question<'_, 'a>) -> Value<'a> {
    Value::Absent
}
