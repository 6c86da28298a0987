//! Fields of libraries that are loaded.

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
        "Command line of the process, at most 4096 bytes; on drift's own events as it was at the call, also of one that has \
         ended. Not on drift_file and drift_packages, which have drift.file_writer and drift.pkg_command.",
        process_cmdline,
    ),
];

fn watch<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    match q.engine.watch_library() {
        true => Value::Bool(true),
        false => Value::Absent,
    }
}

fn process_cmdline<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let process = q.engine.process().unwrap_or_default();
    Value::or_absent(process.command.as_deref().map(|line| Value::text(q.arena, line)))
}
