//! Fields of the process's environment against the declared one. Names only.

use super::definition::{field, FieldDef, FieldType, Question};
use super::value::Value;
use drift_core::verdict::environment::EnvNames;

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    FieldDef {
        is_list: true,
        ..field(
            "drift.env_added",
            FieldType::String,
            "Names (never values) of the environment variables that the process was started with and that neither \
             deployment nor image declare. What shells set themselves does not count.",
            added,
        )
    },
    FieldDef {
        is_list: true,
        ..field(
            "drift.env_changed",
            FieldType::String,
            "Names (never values) of declared environment variables that the process was started with another value of.",
            changed,
        )
    },
    FieldDef {
        is_list: true,
        ..field(
            "drift.env_risky",
            FieldType::String,
            "Those of drift.env_added and drift.env_changed that make programs load or run other code, or send \
             their traffic elsewhere, and that the parent was not started with. The value decides: one that is \
             empty, or leads to the image's files alone, is none; a path in a scratch directory, on a writable \
             volume, or that the image does not have is one, whatever the variable. What the container's entry \
             point exports is declared. `cut`: the environment was too long to be read whole, and the program \
             has ended.",
            risky,
        )
    },
];

fn names<'a>(q: &mut Question<'_, 'a>, which: fn(&EnvNames) -> &[Box<[u8]>]) -> Value<'a> {
    let Some(found) = q.engine.environment() else { return Value::Absent };
    Value::list(q.arena, which(&found).iter().map(|name| &**name))
}

fn added<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    names(q, |found| &found.added)
}

fn changed<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    names(q, |found| &found.changed)
}

fn risky<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    names(q, |found| &found.risky)
}
