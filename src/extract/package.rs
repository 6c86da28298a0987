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
