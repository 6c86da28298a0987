//! Fields of what was lost.

use super::definition::{field, FieldDef, FieldType, Question};
use super::value::Value;

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    FieldDef {
        is_list: true,
        ..field(
            "drift.lost",
            FieldType::String,
            "On drift_lost: what was not looked at, with numbers, such as `files:1200`: `programs` (compared), \
             `hashes`, `files`, `libraries`, `code`, `packages`, `environments`, `ports` and `peers`.",
            nothing,
        )
    },
    field(
        "drift.lost_count",
        FieldType::Uint64,
        "On drift_lost: how much of it, in all, since the last such event of the container.",
        nothing,
    ),
];

/// Told by an event of Drift's own only, whose fields come from its payload.
fn nothing<'a>(_: &mut Question<'_, 'a>) -> Value<'a> {
    Value::Absent
}
