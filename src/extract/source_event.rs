//! Fields of the events of the source `drift`: read from the event's payload alone.

use super::definition::{field, FieldDef, FieldType, Question, Source};
use super::payload;
use super::value::Value;
use crate::event::raw::SyscallEvent;
use crate::events::LastPayload;
use bumpalo::Bump;

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    of_source(
        "drift.event.type",
        "What the event tells: a finding, `file`, `process`, `package`, `port`, `environment`, `image` or `rootfs` (it is \
         not as the image has it, or not as declared); `incomplete` (not everything could be compared); `resolved` (what \
         was told before is gone); `started` (the source is open and waits for a rule).",
    ),
    of_source(
        "drift.event.check",
        "The check that it comes from: `files`, `processes`, `packages`, `ports`, `environment`, `image` or `rootfs`.",
    ),
    of_source("drift.event.container_id", "Full id of the container."),
    of_source("drift.event.image", "The container's image, as deployed, where it is known."),
    of_source(
        "drift.event.path",
        "The file; of a process its executable, or the script that the image's interpreter runs; of a port and an \
         environment the program. Absolute in the container.",
    ),
    of_source(
        "drift.event.change",
        "How it differs. Of a file: `created`, `modified`, `metadata` (it gained privileges only), `deleted` or `renamed`; \
         of a package: `added`, `removed` or `upgraded` (any other version); of an image: `unapproved` or `unlisted`, as \
         drift.image_approved says.",
    ),
    of_source(
        "drift.event.origin",
        "Where the file or program comes from, with the names of drift.binary_origin.",
    ),
    of_source("drift.event.kind", "What the file is, with the names of drift.file_kind."),
    of_source(
        "drift.event.package",
        "The package that differs, as `dpkg:jq`; of a file the one that owns the path in the image.",
    ),
    of_source(
        "drift.event.content",
        "Where the content of a file or program that the image does not have at this path comes from all the same: \
         `copied` (a file of the image has it, under the same name), `renamed` (under another name, as in masquerading), \
         `unpacked` (a member of an archive of the image), `derived` (compiled from a source of the image) or `engine` \
         (the container engine made it). Absent where it is none of these, or not known.",
    ),
    of_source("drift.event.content_of", "The file of the image that has that content."),
    of_source(
        "drift.event.work",
        "The image's own work that wrote the file, with the values of drift.file_work, where an event reported it.",
    ),
    FieldDef {
        field_type: FieldType::Bool,
        ..of_source(
            "drift.event.reported",
            "Whether an event has reported the file in the very state that was found: a second alert would say \
             nothing new. Absent where not.",
        )
    },
    of_source("drift.event.port", "The port that is listened on, as `8080/tcp`."),
    of_source("drift.event.port_scope", "Who can reach the port, with the values of drift.port_scope."),
    FieldDef {
        field_type: FieldType::Bool,
        ..of_source(
            "drift.event.port_main",
            "Whether the container's own program listens on it, as drift.port_main has it, whenever that began. Absent \
             where not.",
        )
    },
    FieldDef {
        is_list: true,
        ..of_source(
            "drift.event.env_names",
            "Names (never values) of the environment variables of a program that are not declared, or declared with another \
             value; at most 64 of each.",
        )
    },
    FieldDef {
        is_list: true,
        ..of_source(
            "drift.event.env_risky",
            "Those of drift.event.env_names that are dangerous, as in drift.env_risky.",
        )
    },
    FieldDef {
        field_type: FieldType::Bool,
        ..of_source(
            "drift.event.before_start",
            "Of a file that is there, and of a process: whether it was changed, or started, before the source was opened, \
             as a rule before Falco was started.",
        )
    },
    of_source(
        "drift.event.detail",
        "More, in words: privileges gained, the path in the image of what was renamed, ids of processes, what could not be \
         compared.",
    ),
    of_source(
        "drift.event.expected",
        "As the image has it, or as declared: kind, mode, owner and size of a file, versions of a package, ports, or \
         `absent`.",
    ),
    of_source("drift.event.actual", "As it is, in the same words; of a port the addresses that it is bound to."),
];

/// What the fields' names begin with; the rest is the key in the payload.
pub(super) const PREFIX: &str = "drift.event.";

/// The field's value on an event of the source `drift`; absent for fields of other sources.
pub(super) fn value<'a>(
    def: &FieldDef,
    argument: Option<&[u8]>,
    event: &SyscallEvent<'_>,
    payloads: &mut LastPayload,
    arena: &'a Bump,
) -> Value<'a> {
    match (def.name.strip_prefix(PREFIX), event.source_payload(crate::source::PLUGIN_ID)) {
        (Some(key), Some(data)) => payload::keyed(def, key, payloads.of(event, data), arena),
        (None, Some(data)) if def.source == Source::Both => {
            payload::value(def, argument, payloads.of(event, data), arena)
        }
        _ => Value::Absent,
    }
}

/// On any other event these fields say nothing.
fn absent<'a>(_: &mut Question<'_, 'a>) -> Value<'a> {
    Value::Absent
}

/// A field of the source `drift`: text, from the payload.
const fn of_source(name: &'static str, description: &'static str) -> FieldDef {
    FieldDef { source: Source::Drift, ..field(name, FieldType::String, description, absent) }
}
