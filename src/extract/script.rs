//! Fields of the script that a process runs.

use super::binary::{installed, owner, written_by};
use super::value::Value;
use super::Question;
use crate::verdict::origin::Origin;

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

pub(super) fn work<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let written = q.resolver.script_provenance(q.event, q.reader).and_then(|(_, written)| written?.work);
    Value::or_absent(written.map(|work| Value::shown(q.arena, work)))
}

pub(super) fn provenance<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let known = q.resolver.script_provenance(q.event, q.reader);
    Value::or_absent(known.map(|(provenance, _)| Value::shown(q.arena, provenance)))
}

pub(super) fn runs<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.resolver.script_runs(q.event, q.reader).map(Value::U64))
}

pub(super) fn package<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(container) = q.resolver.container(q.event, q.reader) else { return Value::Absent };
    let Some(script) = q.resolver.script(q.event, q.reader) else { return Value::Absent };
    let path = script.judgement.path.as_ref();
    match script.judgement.origin {
        Origin::Image | Origin::ImageTouched | Origin::ImageModified | Origin::ImageUnverified => {}
        Origin::Added => return owner(installed(&container, path), q.arena),
        Origin::Unknown => return Value::Text(b"unknown"),
        _ => return Value::Absent,
    }
    match installed(&container, path) {
        Ok(None) => {}
        found => return owner(found, q.arena),
    }
    match (&container.image, path) {
        (Ok(image), Some(path)) => owner(image.owner(path).map(|owner| owner.map(Into::into)), q.arena),
        _ => Value::Text(b"unknown"),
    }
}
