//! Fields of the other side of a connection.

use super::value::Value;
use super::Question;
use crate::network::baseline::Shown;
use crate::resolver::PeerFacts;

fn of<'a>(q: &mut Question<'_, 'a>, value: impl FnOnce(&PeerFacts) -> Value<'a>) -> Value<'a> {
    q.resolver.peer(q.event, q.reader).as_ref().map_or(Value::Absent, value)
}

pub(super) fn expected<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    of(q, |peer| Value::Text(peer.opinion.expected.as_str().as_bytes()))
}

pub(super) fn baseline<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    of(q, |peer| Value::or_absent(peer.opinion.origin.map(|o| Value::Text(o.as_str().as_bytes()))))
}

pub(super) fn is_new<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    of(q, |peer| Value::Bool(peer.is_new))
}

pub(super) fn direction<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    of(q, |peer| Value::Text(peer.direction.as_str().as_bytes()))
}

pub(super) fn shown<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let arena = q.arena;
    of(q, |peer| {
        Value::shown(arena, Shown { address: peer.address, port: peer.port, protocol: peer.protocol })
    })
}

pub(super) fn name<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let arena = q.arena;
    of(q, |peer| Value::or_absent(peer.name.as_deref().map(|name| Value::text(arena, name))))
}

pub(super) fn watch<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.resolver.watch_answer(q.event, q.reader).then_some(Value::Bool(true)))
}
