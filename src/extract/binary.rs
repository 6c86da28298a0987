//! Fields of the process's executable.

use super::value::Value;
use super::Question;
use crate::container::registry::Container;
use crate::manifest::entry::ImagePath;
use crate::resolver::{Provenance, Written};
use crate::verdict::origin::Origin;
use bumpalo::Bump;
use std::sync::Arc;

const UNKNOWN: Value<'static> = Value::Text(b"unknown");

pub(super) fn origin<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let origin = match q.resolver.binary(q.event, q.reader) {
        Some(binary) => Some(binary.judgement.origin),
        None => q.resolver.is_host(q.event, q.reader).then_some(Origin::Host),
    };
    Value::or_absent(origin.map(|o| Value::Text(o.as_str().as_bytes())))
}

pub(super) fn runs<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.resolver.binary_runs(q.event, q.reader).map(Value::U64))
}

pub(super) fn package<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(container) = q.resolver.container(q.event, q.reader) else { return Value::Absent };
    let Some(binary) = q.resolver.binary(q.event, q.reader) else { return Value::Absent };
    match binary.judgement.origin {
        Origin::Image | Origin::ImageTouched | Origin::ImageUnverified => {}
        // A package that was installed since: the container's own database says so.
        Origin::Added | Origin::ImageModified => {
            match installed(&container, binary.judgement.path.as_ref()) {
                Ok(None) if binary.judgement.origin == Origin::ImageModified => {}
                found => return owner(found, q.arena),
            }
        }
        Origin::Unknown => return UNKNOWN,
        _ => return Value::Absent,
    }
    let (Ok(image), Some(path)) = (&container.image, &binary.judgement.path) else {
        return UNKNOWN;
    };
    if binary.package.get().is_none() {
        let Ok(owner) = image.owner(path) else { return UNKNOWN };
        let _ = binary.package.set(owner.map(Into::into));
    }
    Value::or_absent(binary.package.get().and_then(Option::as_ref).map(|owner| Value::text(q.arena, owner)))
}

/// The package of a run-time installation that owns a path.
pub(super) fn installed(
    container: &Container,
    path: Option<&ImagePath>,
) -> Result<Option<Arc<str>>, &'static str> {
    match (path, container.installed.load().as_ref()) {
        (Some(path), Some(installed)) => installed.owner(path).map(|owner| owner.map(Arc::clone)),
        _ => Ok(None),
    }
}

/// An owner as the fields say it.
pub(super) fn owner<'a>(found: Result<Option<Arc<str>>, &'static str>, arena: &'a Bump) -> Value<'a> {
    match found {
        Ok(owner) => Value::or_absent(owner.map(|owner| Value::text(arena, &owner))),
        Err(_) => UNKNOWN,
    }
}

pub(super) fn layer<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(container) = q.resolver.container(q.event, q.reader) else { return Value::Absent };
    let layer = q.resolver.binary(q.event, q.reader).and_then(|b| b.judgement.layer);
    match (&container.image, layer) {
        (Ok(image), Some(layer)) => Value::shown(q.arena, image.layer_name(layer)),
        _ => Value::Absent,
    }
}

pub(super) fn sha256<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    if q.resolver.binary(q.event, q.reader).is_none() {
        return Value::Absent;
    }
    match q.resolver.binary_sha256(q.event, q.reader) {
        Some(digest) => Value::hex(q.arena, &digest),
        None => UNKNOWN,
    }
}

pub(super) fn traits<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(traits) = q.resolver.binary_traits(q.event, q.reader) else { return Value::Absent };
    let items = q.arena.alloc_slice_fill_iter(traits.iter().map(|name: &&'static str| name.as_bytes()));
    if items.is_empty() {
        Value::Absent
    } else {
        Value::List(items)
    }
}

pub(super) fn writer<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    written_by(q.resolver.binary_provenance(q.event, q.reader), q.arena)
}

pub(super) fn work<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let written = q.resolver.binary_provenance(q.event, q.reader).and_then(|(_, written)| written?.work);
    Value::or_absent(written.map(|work| Value::shown(q.arena, work)))
}

pub(super) fn provenance<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let known = q.resolver.binary_provenance(q.event, q.reader);
    Value::or_absent(known.map(|(provenance, _)| Value::shown(q.arena, provenance)))
}

/// The command line of a file's last writer: absent for files that nobody wrote here, `unknown` for others of which it
/// is not known.
pub(super) fn written_by<'a>(known: Option<(Provenance, Option<&Written>)>, arena: &'a Bump) -> Value<'a> {
    match known {
        Some((_, Some(written))) => Value::text(arena, &written.command),
        Some((Provenance::Unknown, None)) => UNKNOWN,
        _ => Value::Absent,
    }
}
