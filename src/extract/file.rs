//! Fields of files.

use super::value::Value;
use super::Question;
use crate::event::exec::ExecFacts;
use crate::manifest::entry::ImagePath;
use crate::manifest::image::Presence;

pub(super) fn image_has_file<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(container) = q.resolver.container(q.event, q.reader) else { return Value::Absent };
    let Ok(image) = &container.image else { return Value::Absent };
    let path = match q.argument {
        Some(path) => ImagePath::lexical(b"/", path).ok(),
        None if ExecFacts::from_event(q.event).is_some() => {
            q.resolver.binary(q.event, q.reader).and_then(|b| ImagePath::lexical(b"/", &b.path).ok())
        }
        None => None,
    };
    match path.map(|p| image.resolve(&p).1) {
        Some(Presence::Present { .. }) => Value::Bool(true),
        Some(Presence::Absent) => Value::Bool(false),
        Some(Presence::Unknown(_)) | None => Value::Absent,
    }
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
