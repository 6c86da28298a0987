//! Fields of libraries and code that are loaded.

use super::definition::{field, FieldDef, FieldType, Question};
use super::value::Value;

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    field(
        "drift.library_watch",
        FieldType::Bool,
        "Whether the call opens a file the way a dynamic loader does (with confirm_mmap: maps one to be executed) that may \
         not be the image's. Of a mapping, asking for it has drift find out, and tell by the event drift_library; opens it \
         looks at by itself.",
        watch,
    ),
    field(
        "drift.process_cmdline",
        FieldType::String,
        "On drift_library and drift_code: command line of the process that loaded the file, as it was then. On drift_port: of \
         the one that opened the port. On drift_environment: of the one that was started. On drift_secret: of the one that \
         changes it. On drift_injection: of the one that writes.",
        process_cmdline,
    ),
    field(
        "drift.injection",
        FieldType::String,
        "How a process of a container writes into another process: `ptrace` (memory or registers) or `process_vm_writev`, on \
         those calls, and `proc_mem` on drift_injection. Once for each pair of processes within `files.interval_seconds`.",
        injection,
    ),
];

fn watch<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    match q.engine.watch_library() {
        true => Value::Bool(true),
        false => Value::Absent,
    }
}

fn injection<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.injection().map(|means| Value::Text(means.as_str().as_bytes())))
}

/// Told by drift's own events only, whose fields come from their payload.
fn process_cmdline<'a>(_: &mut Question<'_, 'a>) -> Value<'a> {
    Value::Absent
}
