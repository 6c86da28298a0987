//! Fields of files.

use super::binary::{installed, owner, written_by};
use super::value::Value;
use super::Question;
use crate::event::exec::ExecFacts;

const UNKNOWN: Value<'static> = Value::Text(b"unknown");

pub(super) fn image_has_file<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(container) = q.resolver.container(q.event, q.reader) else { return Value::Absent };
    let Ok(image) = &container.image else { return Value::Absent };
    let known = match q.argument {
        Some(path) => q.resolver.image_has_file(&container.id, image, path),
        None if ExecFacts::from_event(q.event).is_some() => {
            let binary = q.resolver.binary(q.event, q.reader);
            binary.and_then(|b| q.resolver.image_has_file(&container.id, image, &b.path))
        }
        None => {
            let path = q.resolver.file(q.event, q.reader).and_then(|f| f.path.clone());
            path.and_then(|path| q.resolver.image_has_file(&container.id, image, path.as_bytes()))
        }
    };
    Value::or_absent(known.map(Value::Bool))
}

pub(super) fn path<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    if ExecFacts::from_event(q.event).is_some() {
        let binary = q.resolver.binary(q.event, q.reader);
        return Value::or_absent(binary.map(|b| Value::bytes(q.arena, &b.path)));
    }
    let file = q.resolver.file(q.event, q.reader);
    Value::or_absent(file.map(|f| match &f.path {
        Some(path) => Value::bytes(q.arena, path.as_bytes()),
        None => UNKNOWN,
    }))
}

pub(super) fn new_path<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let file = q.resolver.file(q.event, q.reader);
    let to = file.and_then(|f| f.new_path.clone());
    Value::or_absent(to.map(|to| Value::bytes(q.arena, to.as_bytes())))
}

pub(super) fn change<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let change = q.resolver.file_change(q.event, q.reader);
    Value::or_absent(change.map(|change| Value::Text(change.as_bytes())))
}

pub(super) fn origin<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let judgement = q.resolver.file_judgement(q.event, q.reader);
    Value::or_absent(judgement.map(|j| Value::Text(j.origin.as_str().as_bytes())))
}

pub(super) fn kind<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.resolver.file_kind(q.event, q.reader).map(|k| Value::Text(k.as_bytes())))
}

pub(super) fn package<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(file) = q.resolver.file(q.event, q.reader) else { return Value::Absent };
    let (Ok(image), Some(path)) = (&file.container.image, &file.path) else { return UNKNOWN };
    match installed(&file.container, Some(path)) {
        Ok(None) => {}
        found => return owner(found, q.arena),
    }
    match image.owner(path) {
        Ok(owner) => Value::or_absent(owner.map(|owner| Value::text(q.arena, &owner))),
        Err(_) => UNKNOWN,
    }
}

pub(super) fn writer<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    written_by(q.resolver.file_provenance(q.event, q.reader), q.arena)
}

/// Told by drift's own events only, whose fields come from their payload.
pub(super) fn writer_pid<'a>(_: &mut Question<'_, 'a>) -> Value<'a> {
    Value::Absent
}

pub(super) fn work<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let written = q.resolver.file_provenance(q.event, q.reader).and_then(|(_, written)| written?.work);
    Value::or_absent(written.map(|work| Value::shown(q.arena, work)))
}

pub(super) fn provenance<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let known = q.resolver.file_provenance(q.event, q.reader);
    Value::or_absent(known.map(|(provenance, _)| Value::shown(q.arena, provenance)))
}

pub(super) fn volume_kind<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let kind = if q.resolver.file(q.event, q.reader).is_some() {
        q.resolver.file_volume(q.event, q.reader)
    } else {
        let script = q.resolver.script(q.event, q.reader).and_then(|s| s.judgement.volume);
        script.or_else(|| q.resolver.binary(q.event, q.reader)?.judgement.volume)
    };
    Value::or_absent(kind.map(|k| Value::Text(k.as_str().as_bytes())))
}
