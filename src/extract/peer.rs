//! Fields of the other side of a connection.

use super::definition::{field, FieldDef, FieldType, Question};
use super::value::Value;
use crate::engine::PeerFacts;
use drift_core::network::baseline::Shown;

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    field(
        "drift.peer_expected",
        FieldType::String,
        "On connect and accept in a container: the other side against the baseline of the container's image: `expected`, `unexpected`, `learning` (the image is being learned) or `unknown` (there is no \
         baseline, or the image is not known). Absent for this machine itself, and for the container's nameservers.",
        expected,
    ),
    field(
        "drift.peer_baseline",
        FieldType::String,
        "Which baseline that is: `reviewed` (a file of the configuration) or `learned`. Absent where there is none.",
        baseline,
    ),
    field(
        "drift.peer_new",
        FieldType::Bool,
        "Whether it is the first call of the container with that peer that a rule asks about, or the first since \
         drift.peer_expected changed.",
        is_new,
    ),
    field(
        "drift.peer",
        FieldType::String,
        "The other side's address, and port and protocol of the server: `192.0.2.7:443/tcp`. Of inbound connections the \
         client's address and the container's own port.",
        shown,
    ),
    field(
        "drift.peer_direction",
        FieldType::String,
        "Who began: `outbound` (the container) or `inbound`.",
        direction,
    ),
    field(
        "drift.peer_name",
        FieldType::String,
        "Domain name that one of the container's nameservers gave the other side's address for. Seen while a rule asks for \
         drift.name_watch.",
        name,
    ),
    field(
        "drift.name_watch",
        FieldType::Bool,
        "`true` on recvfrom and recvmsg in a container that bring an answer of one of its nameservers; absent otherwise. \
         Asking for it has drift remember the names.",
        watch,
    ),
];

fn of<'a>(q: &mut Question<'_, 'a>, value: impl FnOnce(&PeerFacts) -> Value<'a>) -> Value<'a> {
    q.engine.peer().as_ref().map_or(Value::Absent, value)
}

fn expected<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    of(q, |peer| Value::Text(peer.opinion.expected.as_str().as_bytes()))
}

fn baseline<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    of(q, |peer| Value::or_absent(peer.opinion.origin.map(|o| Value::Text(o.as_str().as_bytes()))))
}

fn is_new<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    of(q, |peer| Value::Bool(peer.is_new))
}

fn direction<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    of(q, |peer| Value::Text(peer.direction.as_str().as_bytes()))
}

fn shown<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let arena = q.arena;
    of(q, |peer| {
        Value::shown(arena, Shown { address: peer.address, port: peer.port, protocol: peer.protocol })
    })
}

fn name<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let arena = q.arena;
    of(q, |peer| Value::or_absent(peer.name.as_deref().map(|name| Value::text(arena, name))))
}

fn watch<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.watch_answer().then_some(Value::Bool(true)))
}
