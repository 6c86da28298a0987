//! Fields of the process's environment against the declared one. Names only.

use super::value::Value;
use super::Question;
use crate::resolver::EnvNames;

fn names<'a>(q: &mut Question<'_, 'a>, which: fn(&EnvNames) -> &[Box<[u8]>]) -> Value<'a> {
    let Some(found) = q.resolver.environment(q.event, q.reader) else { return Value::Absent };
    Value::list(q.arena, which(&found).iter().map(|name| &**name))
}

pub(super) fn added<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    names(q, |found| &found.added)
}

pub(super) fn changed<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    names(q, |found| &found.changed)
}

pub(super) fn risky<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    names(q, |found| &found.risky)
}
