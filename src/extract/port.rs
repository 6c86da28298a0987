//! Fields of ports.

use super::value::Value;
use super::Question;

pub(super) fn declared<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.resolver.port_declared(q.event, q.reader).map(Value::Bool))
}

pub(super) fn shown<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.resolver.port(q.event, q.reader).map(|port| Value::shown(q.arena, port)))
}

pub(super) fn is_new<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.resolver.port_is_new(q.event, q.reader).map(Value::Bool))
}
