//! Fields of ports.

use super::definition::{field, FieldDef, FieldType, Question};
use super::value::Value;

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    field(
        "drift.port_declared",
        FieldType::Bool,
        "On bind of a TCP or UDP socket in a container, and on listen: whether the port is one that the image exposes, the \
         deployment declares or the configuration's `allowed_ports` have. Absent for ports that the kernel chooses, and \
         where the declared ports are not known.",
        declared,
    ),
    field(
        "drift.port",
        FieldType::String,
        "On the same calls, and on drift_port: port and protocol, as `4444/tcp`.",
        shown,
    ),
    field(
        "drift.port_new",
        FieldType::Bool,
        "On the same calls: whether it is the first of the container for that port and protocol that a rule asks about, so that \
         a rule can alert once.",
        is_new,
    ),
];

fn declared<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.port_declared().map(Value::Bool))
}

fn shown<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.port().map(|port| Value::shown(q.arena, port)))
}

fn is_new<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.port_is_new().map(Value::Bool))
}
