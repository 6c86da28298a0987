//! Fields of files.

use super::value::Value;
use super::Question;
use crate::event::exec::ExecFacts;

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
            let file = q.resolver.file(q.event, q.reader);
            file.and_then(|f| q.resolver.image_has_file(&container.id, image, f.path.as_bytes()))
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
    Value::or_absent(file.map(|f| Value::bytes(q.arena, f.path.as_bytes())))
}

pub(super) fn new_path<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let file = q.resolver.file(q.event, q.reader);
    let to = file.and_then(|f| f.new_path.clone());
    Value::or_absent(to.map(|to| Value::bytes(q.arena, to.as_bytes())))
}

pub(super) fn change<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let file = q.resolver.file(q.event, q.reader);
    Value::or_absent(file.map(|f| Value::Text(f.change.as_bytes())))
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
    let Ok(image) = &file.container.image else { return Value::Absent };
    match image.owner(&file.path) {
        Ok(owner) => Value::or_absent(owner.map(|owner| Value::text(q.arena, &owner))),
        Err(_) => Value::Text(b"unknown"),
    }
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
