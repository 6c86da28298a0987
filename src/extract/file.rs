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
        None => None,
    };
    Value::or_absent(known.map(Value::Bool))
}

pub(super) fn path<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    if ExecFacts::from_event(q.event).is_none() {
        return Value::Absent;
    }
    let binary = q.resolver.binary(q.event, q.reader);
    Value::or_absent(binary.map(|b| Value::bytes(q.arena, &b.path)))
}

pub(super) fn volume_kind<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let script = q.resolver.script(q.event, q.reader).and_then(|s| s.judgement.volume);
    let kind = script.or_else(|| q.resolver.binary(q.event, q.reader)?.judgement.volume);
    Value::or_absent(kind.map(|k| Value::Text(k.as_str().as_bytes())))
}
