//! Fields of the script that a process runs.

use super::binary::written_by;
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

pub(super) fn writer<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    written_by(q.resolver.script_provenance(q.event, q.reader), q.arena)
}

pub(super) fn provenance<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let known = q.resolver.script_provenance(q.event, q.reader);
    Value::or_absent(known.map(|(provenance, _)| Value::shown(q.arena, provenance)))
}

pub(super) fn runs<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.resolver.script_runs(q.event, q.reader).map(Value::U64))
}
