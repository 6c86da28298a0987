//! Fields of files.

use super::binary::{installed, owner, written_by, written_during};
use super::definition::{field, Argument, FieldDef, FieldType, Question};
use super::value::Value;
use drift_core::host::{ExeFlags, InodeId};
use drift_core::verdict::binary::BinaryKey;

/// The field that every rule on changed files asks for.
pub(super) const CHANGE: &str = "drift.file_change";

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    FieldDef {
        argument: Argument::OptionalKey,
        ..field(
            "drift.image_has_file",
            FieldType::Bool,
            "Whether the image has this path (links are followed inside the image). Without an argument: the \
             executable, on execve and execveat, or the file that the call is about.",
            image_has_file,
        )
    },
    field(
        "drift.file_path",
        FieldType::String,
        "Path that the event is about, absolute inside the container: the executable, on execve, execveat and \
         drift_binary; the file, on calls that open one for writing, make, remove, rename or link one, or change its \
         mode or owner, and on drift_secret; and on drift_file, where links in it are resolved.",
        path,
    ),
    field(
        "drift.file_new_path",
        FieldType::String,
        "New name of a renamed file.",
        new_path,
    ),
    field(
        CHANGE,
        FieldType::String,
        "What became of that file. On the calls what they tell: `created`, `opened` (for writing), `deleted`, `renamed` \
         or `metadata`. On drift_file, once the last writer has closed it and its content was compared with the \
         image's: `created`, `modified`, `deleted`, `renamed`, `metadata` where it gained privileges only, or \
         `reverted` where a change was undone before it could be reported (drift.file_was). Absent for files in /proc, \
         /sys and /dev. On drift_secret as on the call. Asking for it on a call is what starts the comparison; \
         opens drift looks at by itself.",
        change,
    ),
    field(
        "drift.file_origin",
        FieldType::String,
        "Origin of that file as it is found, with the names of drift.binary_origin.",
        origin,
    ),
    field(
        "drift.file_kind",
        FieldType::String,
        "Kind of that file: `elf_exec`, `elf_shared` or `script` by its first bytes, `package_db` or `config` by its \
         path, else `other`.",
        kind,
    ),
    field(
        "drift.file_package",
        FieldType::String,
        "As drift.binary_package, of that file. On drift_file: in the image.",
        package,
    ),
    field(
        "drift.file_writer",
        FieldType::String,
        "As drift.binary_writer, of that file. On drift_file: command line of the process that changed it last.",
        writer,
    ),
    field(
        "drift.file_writer_pid",
        FieldType::Uint64,
        "On drift_file: process id of the process that changed the file last, as the host counts.",
        nothing,
    ),
    field(
        "drift.file_writer_name",
        FieldType::String,
        "On drift_file: name of the process that changed the file, as it was at the call; also of one that has ended.",
        nothing,
    ),
    field(
        "drift.file_writer_parent",
        FieldType::String,
        "On drift_file: name of that process's parent.",
        nothing,
    ),
    field(
        "drift.file_writer_uid",
        FieldType::Uint64,
        "On drift_file: effective user id of that process, as the host counts; absent where it had ended.",
        nothing,
    ),
    field(
        "drift.file_was",
        FieldType::String,
        "On drift_file where drift.file_change is `reverted`: the change that was undone: `created`, `modified`, \
         `deleted`, `renamed` or `metadata`.",
        nothing,
    ),
    field(
        "drift.file_count",
        FieldType::Uint64,
        "On drift_file that sums up: how many more files of the directory drift.file_path changed in this way. Absent \
         where the event is about one file.",
        nothing,
    ),
    field(
        "drift.file_sensitive",
        FieldType::Bool,
        "On drift_file: whether files at that path are run, or obeyed, by other programs: programs, libraries, /etc, \
         .ssh directories, start files of shells, crontabs, units.",
        nothing,
    ),
    field(
        "drift.file_provenance",
        FieldType::String,
        "As drift.binary_provenance, of that file.",
        provenance,
    ),
    field(
        "drift.file_during",
        FieldType::String,
        "As drift.binary_during, of that file.",
        during,
    ),
    field(
        "drift.file_work",
        FieldType::String,
        "As drift.binary_work, of that file. On drift_file: of the process that changed it last.",
        work,
    ),
    field(
        "drift.file_content",
        FieldType::String,
        "On drift_file and drift_library, as drift.binary_content, of that file; also `derived`: compiled from a source of \
         the image, whose time and size it records and whose names alone it uses (Python's byte code); or \
         `engine`: the container engine made it.",
        own_event_only,
    ),
    field(
        "drift.file_content_of",
        FieldType::String,
        "On drift_file and drift_library: the file of the image that has that content, or that source.",
        own_event_only,
    ),
    field(
        "drift.volume_kind",
        FieldType::String,
        "Kind of volume that the file, the script, or else the executable, lies on: `secret`, `configmap`, `projected`, \
         `emptydir`, `hostpath`, `pvc`, `image`, `tmpfs` or `bind`. Absent on the root file system.",
        volume_kind,
    ),
];

const UNKNOWN: Value<'static> = Value::Text(b"unknown");

fn image_has_file<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(container) = q.engine.container() else { return Value::Absent };
    let Ok(image) = &container.image else { return Value::Absent };
    let of = |path: &[u8]| BinaryKey::new(&container.id, path, InodeId::default(), ExeFlags::default());
    let known = match q.argument {
        Some(path) => q.engine.image_has_file(of(path), image, path),
        None if q.engine.exec().is_some() => {
            let binary = q.engine.binary();
            binary.and_then(|b| q.engine.image_has_file(b.key, image, &b.path))
        }
        None => {
            let path = q.engine.file().and_then(|f| f.path.clone());
            path.and_then(|path| q.engine.image_has_file(of(path.as_bytes()), image, path.as_bytes()))
        }
    };
    Value::or_absent(known.map(Value::Bool))
}

fn path<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    if q.engine.exec().is_some() {
        let binary = q.engine.binary();
        return Value::or_absent(binary.map(|b| Value::bytes(q.arena, &b.path)));
    }
    let file = q.engine.file();
    Value::or_absent(file.map(|f| match &f.path {
        Some(path) => Value::bytes(q.arena, path.as_bytes()),
        None => UNKNOWN,
    }))
}

fn new_path<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let file = q.engine.file();
    let to = file.and_then(|f| f.new_path.clone());
    Value::or_absent(to.map(|to| Value::bytes(q.arena, to.as_bytes())))
}

fn change<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let change = q.engine.file_change();
    Value::or_absent(change.map(|change| Value::Text(change.as_bytes())))
}

fn origin<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let judgement = q.engine.file_judgement();
    Value::or_absent(judgement.map(|j| Value::Text(j.origin.as_str().as_bytes())))
}

fn kind<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.file_kind().map(|k| Value::Text(k.as_bytes())))
}

fn package<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(file) = q.engine.file() else { return Value::Absent };
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

fn writer<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    written_by(q.engine.file_provenance(), q.arena)
}

/// Told by drift's own events only, whose fields come from their payload.
fn nothing<'a>(_: &mut Question<'_, 'a>) -> Value<'a> {
    Value::Absent
}

/// Read from the payloads of Drift's own events alone.
fn own_event_only<'a>(_: &mut Question<'_, 'a>) -> Value<'a> {
    Value::Absent
}

fn work<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let written = q.engine.file_provenance().and_then(|(_, written)| written?.work);
    Value::or_absent(written.map(|work| Value::shown(q.arena, work)))
}

fn during<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    written_during(q.engine.file_provenance(), q.arena)
}

fn provenance<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let known = q.engine.file_provenance();
    Value::or_absent(known.map(|(provenance, _)| Value::shown(q.arena, provenance)))
}

fn volume_kind<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let kind = if q.engine.file().is_some() {
        q.engine.file_volume()
    } else {
        let script = q.engine.script().and_then(|s| s.judgement.volume);
        script.or_else(|| q.engine.binary()?.judgement.volume)
    };
    Value::or_absent(kind.map(|k| Value::Text(k.as_str().as_bytes())))
}
