//! Fields of the script that a process runs.

use super::value::Value;
use super::Question;

pub(super) fn path<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let script = q.resolver.script(q.event, q.reader);
    Value::or_absent(script.map(|s| Value::bytes(q.arena, &s.path)))
}

pub(super) fn origin<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let script = q.resolver.script(q.event, q.reader);
    Value::or_absent(script.map(|s| Value::Text(s.judgement.origin.as_str().as_bytes())))
}
