//! Fields of the container.

use super::value::Value;
use super::Question;

pub(super) fn id<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let container = q.resolver.container(q.event, q.reader);
    Value::or_absent(container.map(|c| Value::text(q.arena, &c.id)))
}

pub(super) fn age<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let started = q.resolver.container_started(q.event, q.reader);
    // Clocks of the event and of /proc differ by up to a hundredth of a second: no age is negative.
    Value::or_absent(started.map(|at| Value::U64(q.event.ts.saturating_sub(at))))
}

pub(super) fn manifest_state<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let container = q.resolver.container(q.event, q.reader);
    Value::or_absent(container.map(|c| Value::shown(q.arena, c.manifest_state())))
}

pub(super) fn rootfs_readonly<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let container = q.resolver.container(q.event, q.reader);
    let read_only = container.and_then(|c| c.live.as_ref().map(|l| l.read_only));
    Value::or_absent(read_only.map(Value::Bool))
}

pub(super) fn drifts<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let container = q.resolver.container(q.event, q.reader);
    let drifts = container.map(|c| c.drifts.load(std::sync::atomic::Ordering::Relaxed));
    Value::or_absent(drifts.map(Value::U64))
}
