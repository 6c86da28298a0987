//! Fields of libraries that are loaded.

use super::value::Value;
use super::Question;

pub(super) fn watch<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    match q.resolver.watch_library(q.event, q.reader) {
        true => Value::Bool(true),
        false => Value::Absent,
    }
}

/// Told by drift's own events only, whose fields come from their payload.
pub(super) fn process_cmdline<'a>(_: &mut Question<'_, 'a>) -> Value<'a> {
    Value::Absent
}
