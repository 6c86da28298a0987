//! Fields of the container's image, and of what its deployment declares.

use super::definition::{field, FieldDef, FieldType, Question, Source};
use super::value::Value;
use drift_core::container::registry::ImageFacts;
use std::sync::Arc;

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    FieldDef {
        source: Source::Both,
        ..field(
            "drift.image",
            FieldType::String,
            "Reference of the container's image, as it was deployed.",
            reference,
        )
    },
    field(
        "drift.image_id",
        FieldType::String,
        "Digest of the image's configuration, which engines call the image's id: `sha256:…`.",
        id,
    ),
    field(
        "drift.image_digest",
        FieldType::String,
        "Digest of the image's manifest: the one in the reference, else that of the index or manifest that the image was \
         pulled by.",
        digest,
    ),
    field(
        "drift.image_pinned",
        FieldType::Bool,
        "Whether the reference carries a digest. Absent where the reference is not known.",
        pinned,
    ),
    field(
        "drift.image_approved",
        FieldType::String,
        "What the configured `approved_images` say: `approved`; `unapproved` (the repository is listed, this image is \
         not); `unlisted` (the repository is not listed); `unknown`. Absent where nothing is configured.",
        approved,
    ),
    FieldDef {
        is_list: true,
        ..field(
            "drift.runtime_overrides",
            FieldType::String,
            "What the deployment changed against the image and the engines' defaults: `command`, `entrypoint`, `user`, \
             `privileged`, `host_network`, `host_pid`, `cap_add:NAME`, `hostpath_rw:PATH`.",
            overrides,
        )
    },
    field(
        "drift.entrypoint_match",
        FieldType::Bool,
        "On the exec by which the container's first process starts its program, and on drift_container: whether that is \
         what the deployment (or the image) declares. Absent where it is not known.",
        entrypoint,
    ),
];

const UNKNOWN: Value<'static> = Value::Text(b"unknown");

/// The image, or why the field says something else: the container's image is not known, or there is no
/// container.
fn facts<'a>(q: &mut Question<'_, 'a>) -> Result<Arc<ImageFacts>, Value<'a>> {
    let container = q.engine.declared_container().ok_or(Value::Absent)?;
    container.declaration.image.load_full().ok_or(UNKNOWN)
}

fn reference<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let facts = match facts(q) {
        Ok(facts) => facts,
        Err(value) => return value,
    };
    facts.identity.reference.as_deref().map_or(UNKNOWN, |r| Value::text(q.arena, r))
}

fn id<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    match facts(q) {
        Ok(facts) => facts.identity.id.map_or(UNKNOWN, |id| Value::shown(q.arena, id)),
        Err(value) => value,
    }
}

fn digest<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    match facts(q) {
        Ok(facts) => facts.digest.map_or(UNKNOWN, |digest| Value::shown(q.arena, digest)),
        Err(value) => value,
    }
}

fn pinned<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(facts(q).ok().and_then(|facts| facts.pinned).map(Value::Bool))
}

fn approved<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let approval = q.engine.approval();
    Value::or_absent(approval.map(|a| Value::text(q.arena, a.as_str())))
}

fn overrides<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(container) = q.engine.declared_container() else { return Value::Absent };
    let declared = container.declaration.read();
    match declared.as_ref().map(|d| d.overrides.as_deref()) {
        Some(Some(overrides)) => Value::list(q.arena, overrides.iter().map(String::as_bytes)),
        Some(None) | None => Value::Absent,
    }
}

fn entrypoint<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.entrypoint_match().map(Value::Bool))
}
