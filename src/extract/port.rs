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
        "drift.port_scope",
        FieldType::String,
        "On the same calls, and on drift_port: who can reach the port, by its address: `loopback` (processes of the \
         container, or of its pod), `link`, `address` (one address), `any`, or `host` (the node's, where the container \
         has the host's network).",
        scope,
    ),
    field(
        "drift.port_main",
        FieldType::Bool,
        "On the same calls, and on drift_port: whether the container's own program opens the port, as the deployment \
         started it: a program of the image that is the container's first process, or a worker of it, or that the shell or \
         init which is its first process started, within five minutes of the container's start. Not what came in from \
         outside (exec), nor what an application started. false in a replay.",
        main,
    ),
    field(
        "drift.port_new",
        FieldType::Bool,
        "On the same calls: whether it is the first of the container for that port and protocol that a rule asks \
         about, so that a rule can alert once. Of the ports that the kernel gives out (32768 to 60999) all of one \
         program are one. Absent for UDP in a live capture: a port counts once it is a server's, by drift_port.",
        is_new,
    ),
];

fn declared<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.port_declared().map(Value::Bool))
}

fn scope<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.port_scope().map(|scope| Value::Text(scope.as_str().as_bytes())))
}

fn main<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.port_is_main().map(Value::Bool))
}

fn shown<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.port().map(|port| Value::shown(q.arena, port)))
}

fn is_new<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.port_is_new().map(Value::Bool))
}
