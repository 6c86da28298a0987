//! Fields of the container's image, and of what its deployment declares.

use super::value::Value;
use super::Question;
use crate::container::registry::ImageFacts;
use std::sync::Arc;

const UNKNOWN: Value<'static> = Value::Text(b"unknown");

/// The image, or why the field says something else: the container's image is not known, or there is no container.
fn facts<'a>(q: &mut Question<'_, 'a>) -> Result<Arc<ImageFacts>, Value<'a>> {
    let container = q.resolver.declared_container(q.event, q.reader).ok_or(Value::Absent)?;
    container.declaration.image.load_full().ok_or(UNKNOWN)
}

pub(super) fn reference<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let facts = match facts(q) {
        Ok(facts) => facts,
        Err(value) => return value,
    };
    facts.identity.reference.as_deref().map_or(UNKNOWN, |r| Value::text(q.arena, r))
}

pub(super) fn id<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    match facts(q) {
        Ok(facts) => facts.identity.id.map_or(UNKNOWN, |id| Value::shown(q.arena, id)),
        Err(value) => value,
    }
}

pub(super) fn digest<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    match facts(q) {
        Ok(facts) => facts.digest.map_or(UNKNOWN, |digest| Value::shown(q.arena, digest)),
        Err(value) => value,
    }
}

pub(super) fn pinned<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(facts(q).ok().and_then(|facts| facts.pinned).map(Value::Bool))
}

pub(super) fn approved<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let approval = q.resolver.approval(q.event, q.reader);
    Value::or_absent(approval.map(|a| Value::text(q.arena, a.as_str())))
}

pub(super) fn overrides<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(container) = q.resolver.declared_container(q.event, q.reader) else { return Value::Absent };
    let declared = container.declaration.read();
    match declared.as_ref().map(|d| d.overrides.as_deref()) {
        Some(Some(overrides)) => Value::list(q.arena, overrides.iter().map(String::as_bytes)),
        Some(None) | None => Value::Absent,
    }
}

pub(super) fn entrypoint<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.resolver.entrypoint_match(q.event, q.reader).map(Value::Bool))
}
