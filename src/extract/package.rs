//! Fields of the package manager at work.

use super::value::Value;
use super::Question;

pub(super) fn manager<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let work = q.resolver.package_work(q.event, q.reader);
    Value::or_absent(work.map(|w| Value::text(q.arena, w.invocation.manager.as_str())))
}

pub(super) fn action<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let work = q.resolver.package_work(q.event, q.reader);
    Value::or_absent(work.map(|w| Value::text(q.arena, w.invocation.action.as_str())))
}

pub(super) fn names<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(work) = q.resolver.package_work(q.event, q.reader) else { return Value::Absent };
    let arena = q.arena;
    let names = work.invocation.names.iter();
    let items = arena.alloc_slice_fill_iter(names.map(|n| &*arena.alloc_slice_copy(n.as_bytes())));
    if items.is_empty() {
        Value::Absent
    } else {
        Value::List(items)
    }
}

pub(super) fn role<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let work = q.resolver.package_work(q.event, q.reader);
    Value::or_absent(work.map(|w| Value::text(q.arena, w.role.as_str())))
}

pub(super) fn followed<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let work = q.resolver.package_work(q.event, q.reader);
    Value::or_absent(work.map(|w| Value::Bool(w.followed)))
}

pub(super) fn command<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let agent = q.resolver.package_agent(q.event, q.reader);
    // Empty where the engine does not know the process.
    Value::or_absent(agent.filter(|a| !a.command.is_empty()).map(|a| Value::text(q.arena, &a.command)))
}

pub(super) fn parent_command<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let agent = q.resolver.package_agent(q.event, q.reader);
    let command = agent.as_ref().and_then(|a| a.parent_command.as_deref());
    Value::or_absent(command.map(|c| Value::text(q.arena, c)))
}

pub(super) fn ancestors<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    match q.resolver.package_agent(q.event, q.reader) {
        Some(agent) => Value::list(q.arena, agent.ancestors.iter().map(|name| name.as_bytes())),
        None => Value::Absent,
    }
}

pub(super) fn user<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let agent = q.resolver.package_agent(q.event, q.reader);
    Value::or_absent(agent.and_then(|a| a.user).map(|user| Value::U64(user.into())))
}

/// Told by drift's own events only, whose fields come from their payload.
pub(super) fn of_event<'a>(_: &mut Question<'_, 'a>) -> Value<'a> {
    Value::Absent
}
