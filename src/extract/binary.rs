//! Fields of the process's executable.

use super::definition::{field, FieldDef, FieldType, Question};
use super::value::Value;
use crate::facts::{Provenance, Written};
use bumpalo::Bump;
use drift_core::container::registry::Container;
use drift_core::content::Explained;
use drift_core::verdict::origin::Origin;
use drift_formats::entry::ImagePath;
use std::sync::Arc;

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    field(
        "drift.binary_origin",
        FieldType::String,
        "Origin of the process's executable: `image`, `image_touched`, `image_modified`, `image_unverified`, `added`, \
         `added_or_modified`, `volume`, `image_volume`, `tmpfs`, `memfd`, `detached`, `runtime`, `host` or `unknown`.",
        origin,
    ),
    field(
        "drift.binary_package",
        FieldType::String,
        "Package that owns the executable, as `dpkg:coreutils` or `apk:busybox`: in the image, or as a package manager of the \
         image installed it in the container since. Absent where no package owns it.",
        package,
    ),
    field(
        "drift.binary_layer",
        FieldType::String,
        "Image layer that has the executable's path: its digest, or its number counted from the base layer, 0.",
        layer,
    ),
    field(
        "drift.binary_sha256",
        FieldType::String,
        "SHA-256 of the executable, lower-case hex; computed off the event thread, `unknown` until then.",
        sha256,
    ),
    FieldDef {
        is_list: true,
        ..field(
            "drift.binary_traits",
            FieldType::String,
            "What the executable is: `static`, `stripped`, `packed`, `go`, `foreign_arch`, `script`, `setuid`, \
             `setgid`, `filecaps`. On drift_file: which of the last three the file has gained.",
            traits,
        )
    },
    field(
        "drift.binary_writer",
        FieldType::String,
        "Command line of the process that wrote the executable last, where it is not as in the image; `unknown` where \
         nobody was seen to. Writers are seen while a rule asks for drift.file_change. On drift_file: of the process that \
         changed the file last.",
        writer,
    ),
    field(
        "drift.binary_provenance",
        FieldType::String,
        "Where the executable comes from: `image`, `package:<manager>` (a package manager of the image \
         installed it: the package databases say so, and the content is as they record it), `written` (a process wrote it), `volume`, `memory` or `unknown`.",
        provenance,
    ),
    field(
        "drift.binary_during",
        FieldType::String,
        "Package manager of the image that was at work when the executable was written, by one of its processes, where no \
         package accounts for it (yet): hooks and maintainer scripts write what they like.",
        during,
    ),
    field(
        "drift.binary_work",
        FieldType::String,
        "Work of the image's own that wrote the executable: `build:<tool>` (a build, by its outermost tool, such as \
         `build:make`; a compiler or linker wrote it itself), or `start` (the container's entry point, a shell with a script of the \
         image or of the deployment or with the declared command, until the container has started), `start:accounts` (useradd \
         and the like below it) or `start:certificates` (update-ca-certificates). Programs and scripts of the image, and what \
         they made, alone count. Absent where no such work did.",
        work,
    ),
    field(
        "drift.binary_content",
        FieldType::String,
        "Where the content of an executable that the image does not have at its path comes from all the same: `copied` (a \
         file of the image has it, under the same name), `renamed` (under another name, as in masquerading), `unpacked` (a \
         member of an archive of the image), or `declared` (it lies on a volume that the deployment brought and that \
         nobody in the container can change: a configMap, a secret, a read-only directory of the node). Absent where it is \
         none of these, or not known.",
        content,
    ),
    field(
        "drift.binary_content_of",
        FieldType::String,
        "The file of the image that has that content.",
        content_of,
    ),
    field(
        "drift.process_work",
        FieldType::String,
        "As drift.binary_work, of the process itself: the work that it takes part in now. On drift_code `package:` and the \
         package manager that it works for.",
        process_work,
    ),
    field(
        "drift.binary_pending",
        FieldType::Bool,
        "Whether the executable, `image_unverified` so far, is being compared with the image: drift_binary reports the \
         result. False where nobody will compare it.",
        pending,
    ),
    field(
        "drift.binary_runs",
        FieldType::Uint64,
        "How often the executable has been run in the container, this time included, as far as was seen and is \
         remembered. Absent where it is the image's, or not known what it is.",
        runs,
    ),
    field(
        "drift.binary_repeated",
        FieldType::Bool,
        "Whether the executable was reported in the container before, in this very state, within the time that the \
         configuration's `repeat` sets (an hour). Absent where the image has it. Ask for it last in a condition: what it was asked about counts as \
         reported. With `repeat: every` always false.",
        repeated,
    ),
];

const UNKNOWN: Value<'static> = Value::Text(b"unknown");

fn origin<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let origin = q.engine.binary_origin();
    Value::or_absent(origin.map(|o| Value::Text(o.as_str().as_bytes())))
}

fn pending<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let binary = q.engine.binary();
    Value::or_absent(binary.map(|binary| Value::Bool(binary.judgement.comparable_later)))
}

fn runs<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.binary_runs().map(Value::U64))
}

fn package<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(container) = q.engine.container() else { return Value::Absent };
    let Some(binary) = q.engine.binary() else { return Value::Absent };
    match binary.judgement.origin {
        Origin::Image | Origin::ImageTouched | Origin::ImageUnverified => {}
        // A package that was installed since: the container's own database says so.
        Origin::Added | Origin::AddedOrModified | Origin::ImageModified => {
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

fn layer<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(container) = q.engine.container() else { return Value::Absent };
    let layer = q.engine.binary().and_then(|b| b.judgement.layer);
    match (&container.image, layer) {
        (Ok(image), Some(layer)) => Value::shown(q.arena, image.layer_name(layer)),
        _ => Value::Absent,
    }
}

fn sha256<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    if q.engine.binary().is_none() {
        return Value::Absent;
    }
    match q.engine.binary_sha256() {
        Some(digest) => Value::hex(q.arena, &digest),
        None => UNKNOWN,
    }
}

fn traits<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(traits) = q.engine.binary_traits() else { return Value::Absent };
    let items = q.arena.alloc_slice_fill_iter(traits.iter().map(|name: &&'static str| name.as_bytes()));
    if items.is_empty() {
        Value::Absent
    } else {
        Value::List(items)
    }
}

fn writer<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    written_by(q.engine.binary_provenance(), q.arena)
}

fn process_work<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let work = q.engine.process_work();
    Value::or_absent(work.map(|work| Value::shown(q.arena, work)))
}

fn work<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let written = q.engine.binary_provenance().and_then(|(_, written)| written?.work);
    Value::or_absent(written.map(|work| Value::shown(q.arena, work)))
}

fn during<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    written_during(q.engine.binary_provenance(), q.arena)
}

/// The package manager at work when a file was written that no package accounts for.
pub(super) fn written_during<'a>(
    known: Option<(Provenance, Option<&Written>)>,
    arena: &'a Bump,
) -> Value<'a> {
    let written = known.and_then(|(_, written)| written).filter(|written| !written.proved);
    let during = written.and_then(|written| written.during);
    Value::or_absent(during.map(|during| Value::text(arena, during.manager.as_str())))
}

fn repeated<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.binary_is_repeated().map(Value::Bool))
}

fn content<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.binary_content().map(|e| Value::Text(e.kind.as_bytes())))
}

fn content_of<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    image_file(q.engine.binary_content().as_deref(), q.arena)
}

/// The file of the image that explains content.
pub(super) fn image_file<'a>(explained: Option<&Explained>, arena: &'a Bump) -> Value<'a> {
    let of = explained.and_then(|e| e.of.as_ref());
    Value::or_absent(of.map(|path| Value::bytes(arena, path.as_bytes())))
}

fn provenance<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let known = q.engine.binary_provenance();
    Value::or_absent(known.map(|(provenance, _)| Value::shown(q.arena, provenance)))
}

/// The command line of a file's last writer: absent for files that nobody wrote here, `unknown` for others of
/// which it is not known.
pub(super) fn written_by<'a>(known: Option<(Provenance, Option<&Written>)>, arena: &'a Bump) -> Value<'a> {
    match known {
        Some((_, Some(written))) => Value::text(arena, &written.command),
        Some((Provenance::Unknown, None)) => UNKNOWN,
        _ => Value::Absent,
    }
}
