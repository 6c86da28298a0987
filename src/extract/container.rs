//! Fields of the container.

use super::definition::{field, FieldDef, FieldType, Question, Source};
use super::value::Value;

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    FieldDef {
        source: Source::Both,
        ..field(
            "drift.container_id",
            FieldType::String,
            "Full id of the container, found without any other plugin. Absent on the host.",
            id,
        )
    },
    field(
        "drift.container_age",
        FieldType::Reltime,
        "Time since the container's init process started.",
        age,
    ),
    field(
        "drift.process_role",
        FieldType::String,
        "What the process is to its container: `first` (the one that the runtime started, also with the host's or a \
         pod's PID namespace), `entered` (its parent is not in the container: exec, attach, debug, a probe) or `inside`.",
        process_role,
    ),
    field(
        "drift.container_drifts",
        FieldType::Uint64,
        "Drifted files, programs and packages seen in the container so far.",
        drifts,
    ),
    field(
        "drift.manifest_state",
        FieldType::String,
        "How much is known of the container's image: `ready`, `building`, `partial:<why>`, `unavailable:<why>`, or \
         `kernel_flags` (the layers cannot be read on this node: what the kernel says of each program decides).",
        manifest_state,
    ),
    field(
        "drift.rootfs_readonly",
        FieldType::Bool,
        "Whether the container's root file system is mounted read-only.",
        rootfs_readonly,
    ),
];

fn id<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let container = q.engine.container();
    Value::or_absent(container.map(|c| Value::text(q.arena, &c.id)))
}

fn age<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let started = q.engine.container_started();
    // Clocks of the event and of /proc differ by up to a hundredth of a second: no age is negative.
    Value::or_absent(started.map(|at| Value::U64(q.engine.event().ts.saturating_sub(at))))
}

fn process_role<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.process_role().map(|role| Value::Text(role.as_str().as_bytes())))
}

fn manifest_state<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let container = q.engine.container();
    Value::or_absent(container.map(|c| match c.rests_on_flags() {
        true => Value::Text(b"kernel_flags"),
        false => Value::shown(q.arena, c.manifest_state()),
    }))
}

fn rootfs_readonly<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let container = q.engine.container();
    let read_only = container.and_then(|c| c.live.as_ref().map(|l| l.read_only));
    Value::or_absent(read_only.map(Value::Bool))
}

fn drifts<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let container = q.engine.container();
    // The program of this very event counts, whichever field is asked for first.
    let _ = q.engine.binary();
    let drifts = container.map(|c| c.drifts.load(std::sync::atomic::Ordering::Relaxed));
    Value::or_absent(drifts.map(Value::U64))
}
