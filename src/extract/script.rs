//! Fields of the script that a process runs.

use super::binary::{image_file, installed, owner, written_by, written_during};
use super::definition::{field, FieldDef, FieldType, Question};
use super::value::Value;
use drift_core::verdict::origin::Origin;
use drift_core::verdict::work::ImageWork;

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    field(
        "drift.script_path",
        FieldType::String,
        "Path of the script, or other file or directory of code, that a process was started on: by shebang, \
         argument, option, search path or standard input. Of several the first that is not the image's, else the \
         script itself. Links are resolved where the container can be looked at.",
        path,
    ),
    field(
        "drift.script_origin",
        FieldType::String,
        "Origin of that script, with the names of drift.binary_origin.",
        origin,
    ),
    field(
        "drift.script_source",
        FieldType::String,
        "How the process came to what it runs: `shebang` (the file was executed, whatever interprets it), \
         `no_shebang` (it was executed, execve refused its format, and the shell runs it itself: the event is the \
         failed call), `argument`, `option` (one that loads code, such as `node -r`), `search_path` (a module, or a \
         directory of modules), `stdin` (a file on standard input), `pipe` (the program is read from a pipe), or \
         `cut`: the arguments in the event end, at 4096 bytes, before they say.",
        source,
    ),
    field(
        "drift.piped_from",
        FieldType::String,
        "Of an interpreter that reads its program from a pipe: the program that feeds the pipe, directly or through \
         filters, if that is one that downloads (curl, wget, nc, an interpreter with an address in its code) or \
         decodes (base64 -d, openssl).",
        piped_from,
    ),
    field(
        "drift.piped_into",
        FieldType::String,
        "Of such a program: the interpreter that reads its program from the pipe, if that one was started first.",
        piped_into,
    ),
    field(
        "drift.argument_path",
        FieldType::String,
        "Of any program: the first argument, value of an option or file on standard input that names a file or \
         directory which is not what the image shipped. 32 arguments are looked at; absent where the container \
         cannot be.",
        argument_path,
    ),
    field(
        "drift.argument_origin",
        FieldType::String,
        "Origin of that file, with the names of drift.binary_origin.",
        argument_origin,
    ),
    field(
        "drift.script_package",
        FieldType::String,
        "As drift.binary_package, of that script.",
        package,
    ),
    field(
        "drift.script_writer",
        FieldType::String,
        "As drift.binary_writer, of that script.",
        writer,
    ),
    field(
        "drift.script_provenance",
        FieldType::String,
        "As drift.binary_provenance, of that script.",
        provenance,
    ),
    field(
        "drift.script_during",
        FieldType::String,
        "As drift.binary_during, of that script.",
        during,
    ),
    field(
        "drift.script_work",
        FieldType::String,
        "As drift.binary_work, of that script; or `entrypoint`, whenever that is: the shell that runs the container's entry \
         point, a script of the image or of the deployment, wrote it by its own commands (`printf` or `echo`, not a program \
         that it starts), and runs it, directly or by programs of the image.",
        work,
    ),
    field(
        "drift.script_content",
        FieldType::String,
        "As drift.binary_content, of that script.",
        content,
    ),
    field(
        "drift.script_content_of",
        FieldType::String,
        "As drift.binary_content_of, of that script.",
        content_of,
    ),
    field(
        "drift.script_runs",
        FieldType::Uint64,
        "As drift.binary_runs, of that script.",
        runs,
    ),
    field(
        "drift.script_repeated",
        FieldType::Bool,
        "As drift.binary_repeated, of that script. Scripts that the entry point's shell writes and runs are one.",
        repeated,
    ),
];

fn path<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let script = q.engine.script();
    Value::or_absent(script.map(|s| Value::bytes(q.arena, &s.path)))
}

fn origin<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.script_origin().map(|origin| Value::Text(origin.as_str().as_bytes())))
}

fn source<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.script_source().map(|source| Value::Text(source.as_bytes())))
}

fn piped_from<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.piped_from().map(|name| Value::text(q.arena, &name)))
}

fn piped_into<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.piped_into().map(|name| Value::text(q.arena, &name)))
}

fn argument_path<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.argument().map(|file| Value::bytes(q.arena, &file.path)))
}

fn argument_origin<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let file = q.engine.argument();
    Value::or_absent(file.map(|file| Value::Text(file.judgement.origin.as_str().as_bytes())))
}

fn writer<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    written_by(q.engine.script_provenance(), q.arena)
}

fn content<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.script_content().map(|e| Value::Text(e.kind.as_bytes())))
}

fn content_of<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    image_file(q.engine.script_content().as_deref(), q.arena)
}

fn repeated<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.script_is_repeated().map(Value::Bool))
}

fn work<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    if q.engine.script_is_entrys() {
        return Value::shown(q.arena, ImageWork::Entrypoint);
    }
    let written = q.engine.script_provenance().and_then(|(_, written)| written?.work);
    // Builds make programs; a script has no compiler.
    let written = written.filter(|work| work.is_start());
    Value::or_absent(written.map(|work| Value::shown(q.arena, work)))
}

fn during<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    written_during(q.engine.script_provenance(), q.arena)
}

fn provenance<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let known = q.engine.script_provenance();
    Value::or_absent(known.map(|(provenance, _)| Value::shown(q.arena, provenance)))
}

fn runs<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.script_runs().map(Value::U64))
}

fn package<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(container) = q.engine.container() else { return Value::Absent };
    let Some(script) = q.engine.script() else { return Value::Absent };
    let path = script.judgement.path.as_ref();
    match script.judgement.origin {
        Origin::Image | Origin::ImageTouched | Origin::ImageModified | Origin::ImageUnverified => {}
        Origin::Added | Origin::AddedOrModified => return owner(installed(&container, path), q.arena),
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
