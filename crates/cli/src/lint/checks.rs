//! The checks of a rules file.

use super::code::{Code, Problem};
use super::event_types;
use super::pack::{Item, Kind, Pack};
use super::yaml::Node;
use super::{outputs, tags, Cases};
use drift::extract::{Argument, Source, FIELDS};
use std::collections::BTreeSet;

/// Keys of a rule, in the order of Falco's style guide. What a rule need not have is in the second list as
/// well.
const KEYS: [&str; 12] = [
    "rule",
    "desc",
    "condition",
    "exceptions",
    "output",
    "priority",
    "warn_evttypes",
    "skip-if-unknown-filter",
    "source",
    "enabled",
    "tags",
    "override",
];
const OPTIONAL: [&str; 6] =
    ["exceptions", "warn_evttypes", "skip-if-unknown-filter", "source", "enabled", "override"];

const PRIORITIES: [&str; 8] =
    ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];

/// Classes of fields that Falco itself has, by the source that they are for.
const CORE: [&str; 8] = ["evt", "proc", "thread", "user", "group", "fd", "fs", "syslog"];
const CORE_OF_PLUGINS: [&str; 1] = ["evt"];
/// Classes of fields that plugins bring.
const OF_PLUGINS: [(&str, &str); 4] =
    [("container", "container"), ("k8s", "container"), ("k8smeta", "k8smeta"), ("k8sres", "k8smeta")];

/// Every problem of a file.
pub fn all(pack: &Pack<'_>, prefix: Option<&str>, cases: Option<&Cases>) -> Vec<Problem> {
    let mut found = Vec::new();
    for line in &pack.strange {
        found.push(Problem::new(*line, Code::Item, "neither rule, macro, list nor a required version"));
    }
    let requires = |yes: bool, what: &str, found: &mut Vec<Problem>| {
        if !yes {
            found.push(Problem::new(1, Code::Required, format!("the file has no {what}")));
        }
    };
    let complete = pack.only_overrides();
    requires(complete || pack.requires_engine, "required_engine_version", &mut found);
    requires(complete || pack.plugins.contains("drift"), "required_plugin_versions with drift", &mut found);
    names(pack, prefix, &mut found);
    unused(pack, &mut found);
    for item in &pack.items {
        match item.kind {
            Kind::List => list(item, &mut found),
            Kind::Macro => macro_(pack, item, &mut found),
            Kind::Rule => rule(pack, item, cases, &mut found),
        }
    }
    found
}

fn names(pack: &Pack<'_>, prefix: Option<&str>, found: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for item in &pack.items {
        let (kind, name) = (item.kind.as_str(), item.name);
        if !seen.insert((kind, name)) {
            found.push(Problem::new(item.node.line, Code::Name, format!("{kind} {name:?} is there twice")));
        }
        if item.node.get("override").is_none() && pack.is_in_earlier(item) {
            let text = format!("{kind} {name:?} takes the place of the one in an earlier file");
            found.push(Problem::new(item.node.line, Code::Name, text));
        }
        let Some(prefix) = prefix else { continue };
        let begins = match item.kind {
            Kind::Rule => {
                let mut letters = prefix.chars();
                let first = letters.next().map(|c| c.to_ascii_uppercase()).into_iter();
                let capital: String = first.chain(letters).collect();
                name.strip_prefix(&capital).is_some_and(|rest| rest.starts_with(' '))
            }
            Kind::List | Kind::Macro => name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('_')),
        };
        if !begins {
            let text = format!(
                "{kind} {name:?} does not begin with {prefix:?}: another file may have one so called"
            );
            found.push(Problem::new(item.node.line, Code::Name, text));
        }
    }
}

fn unused(pack: &Pack<'_>, found: &mut Vec<Problem>) {
    let mut used = BTreeSet::new();
    for rule in pack.of(Kind::Rule) {
        used.extend(pack.uses(rule).names);
    }
    // A list may be an item of another one.
    let inner: Vec<&str> =
        pack.of(Kind::List).filter_map(|l| l.node.get("items")).flat_map(Node::texts).collect();
    used.extend(inner);
    for item in pack.items.iter().filter(|i| i.kind != Kind::Rule && !used.contains(i.name)) {
        // What an override changes is used in another file.
        if item.node.get("override").is_none() {
            let text = format!("{} {:?} is used by no rule", item.kind.as_str(), item.name);
            found.push(Problem::new(item.node.line, Code::Unused, text));
        }
    }
}

/// A list or macro for exceptions: `<prefix>_allowed_<what>`.
fn is_exception(name: &str) -> bool {
    name.contains("_allowed_") || name.ends_with("_allowed") && !name.ends_with("_not_allowed")
}

fn list(item: &Item<'_>, found: &mut Vec<Problem>) {
    let Some(items) = item.node.get("items") else {
        found.push(Problem::new(item.node.line, Code::Item, format!("list {:?} has no items", item.name)));
        return;
    };
    if is_exception(item.name) && !items.items().is_empty() && item.node.get("override").is_none() {
        let text = format!("list {:?} is for exceptions and not empty", item.name);
        found.push(Problem::new(item.node.line, Code::Exception, text));
    }
}

fn macro_(pack: &Pack<'_>, item: &Item<'_>, found: &mut Vec<Problem>) {
    let Some(condition) = item.node.get("condition").and_then(Node::text) else {
        found.push(Problem::new(
            item.node.line,
            Code::Item,
            format!("macro {:?} has no condition", item.name),
        ));
        return;
    };
    let body = condition.trim().trim_start_matches('(').trim_end_matches(')').trim();
    let is_override = item.node.get("override").is_some();
    if is_exception(item.name) && !is_override && !pack.is_never(body) && !pack.is_never(item.name) {
        let text = format!("macro {:?} is for exceptions and holds for some events", item.name);
        found.push(Problem::new(item.node.line, Code::Exception, text));
    }
    unknown(pack, item, found);
}

fn unknown(pack: &Pack<'_>, item: &Item<'_>, found: &mut Vec<Problem>) {
    for name in pack.uses(item).unknown {
        let text = match pack.find(Kind::Macro, name) {
            // Of the macro that a rule uses it is told.
            Some(_) if item.kind == Kind::Rule => continue,
            Some(_) => format!("macro {:?} uses macro {name:?}, which comes later", item.name),
            None => format!("{} {:?} uses macro {name:?}, which is not there", item.kind.as_str(), item.name),
        };
        found.push(Problem::new(item.node.line, Code::Unknown, text));
    }
}

fn rule(pack: &Pack<'_>, item: &Item<'_>, cases: Option<&Cases>, found: &mut Vec<Problem>) {
    // A rule that changes another file's is judged there.
    if item.node.get("override").is_some() {
        return;
    }
    let name = item.name;
    let line_of = |key: &str| item.node.get(key).map_or(item.node.line, |node| node.line);
    let mut say = |key: &str, code: Code, text: String| {
        found.push(Problem::new(line_of(key), code, format!("rule {name:?}: {text}")));
    };
    let text = |key: &str| item.node.get(key).and_then(Node::text).unwrap_or_default();
    let given: Vec<&str> = item.node.pairs().iter().map(|(key, _)| key.as_str()).collect();
    for key in KEYS.iter().filter(|key| !OPTIONAL.contains(key) && !given.contains(key)) {
        say("rule", Code::Item, format!("`{key}` is missing"));
    }
    for key in given.iter().filter(|key| !KEYS.contains(key)) {
        say(key, Code::Item, format!("`{key}` is no key of a rule"));
    }
    let places: Vec<usize> = given.iter().filter_map(|key| KEYS.iter().position(|k| k == key)).collect();
    if !places.is_sorted() {
        say("rule", Code::Order, format!("the keys come in the order {}", given.join(", ")));
    }
    if given.contains(&"priority") && !PRIORITIES.contains(&text("priority")) {
        let known = PRIORITIES.join(", ");
        say("priority", Code::Priority, format!("{:?} is none of {known}", text("priority")));
    }
    let source = Some(text("source")).filter(|s| !s.is_empty()).unwrap_or("syscall");
    let watches = pack.never_alerts(item);
    let uses = pack.uses(item);
    if source == "syscall" && !event_types::are_named(pack, item) {
        let why =
            "does not name its events by evt.type on every way through it: the engine shows it every event";
        say("condition", Code::EventType, format!("the condition {why}"));
    }
    for (key, why) in
        uses.fields.iter().filter_map(|field| Some(("condition", field_problem(pack, field, source)?))).chain(
            outputs::fields(text("output")).filter_map(|f| Some(("output", field_problem(pack, f, source)?))),
        )
    {
        say(key, Code::Field, why);
    }
    // Of what is missing no more is told.
    for why in item.node.get("output").map(|_| outputs::problems(text("output"), watches)).unwrap_or_default()
    {
        say("output", Code::Output, why);
    }
    if let Some(why) = item.node.get("desc").and_then(|_| tuning(text("desc"), &uses.names, watches)) {
        say("desc", Code::Tuning, why);
    }
    for why in
        item.node.get("tags").map(|t| tags::problems(&t.texts().collect::<Vec<_>>())).unwrap_or_default()
    {
        say("tags", Code::Tags, why);
    }
    if let Some(cases) = cases.filter(|_| !watches) {
        let (alerting, silent) = cases.get(name).copied().unwrap_or_default();
        for (there, what) in [(alerting, "it alerts"), (silent, "it does not alert")] {
            if !there {
                say("rule", Code::Cases, format!("there is no case in which {what}"));
            }
        }
    }
    unknown(pack, item, found);
}

/// What is wrong with a field in a rule of this source.
fn field_problem(pack: &Pack<'_>, field: &str, source: &str) -> Option<String> {
    let (name, argument) = match field.split_once('[') {
        Some((name, argument)) => (name, Some(argument)),
        None => (field, None),
    };
    let class = name.split('.').next().unwrap_or_default();
    if class == "drift" {
        let Some(def) = FIELDS.iter().find(|def| def.name == name) else {
            return Some(format!("drift has no field {name}"));
        };
        let of = match def.source {
            Source::Syscall => "syscall",
            Source::Drift => "drift",
            Source::Both => source,
        };
        if of != source {
            return Some(format!("{name} is for the source {of}, and this is a rule of {source}"));
        }
        return match (def.argument, argument) {
            (Argument::None, Some(_)) => Some(format!("{name} takes no argument")),
            (Argument::Key, None) => Some(format!("{name} takes a key: {name}[key]")),
            _ => None,
        };
    }
    let core: &[&str] = if source == "syscall" { &CORE } else { &CORE_OF_PLUGINS };
    if core.contains(&class) {
        return None;
    }
    match OF_PLUGINS.iter().find(|(of, _)| *of == class) {
        Some((_, plugin)) if pack.plugins.contains(plugin) => None,
        Some((_, plugin)) => {
            Some(format!("{name} needs the plugin {plugin}, which the file does not require"))
        }
        None => Some(format!("{name} is no field of the source {source}")),
    }
}

/// The last sentence must say what to change: a list or macro that the rule uses.
fn tuning(desc: &str, names: &BTreeSet<&str>, watches: bool) -> Option<String> {
    let desc = desc.trim();
    if !desc.ends_with('.') {
        return Some("the description does not end in a sentence".to_owned());
    }
    let start = if watches { "Disable it" } else { "Tune with" };
    let Some(at) = desc.rfind(start).filter(|at| !desc.get(*at..).unwrap_or_default().contains(". ")) else {
        return Some(format!("the description does not end with a sentence that begins with {start:?}"));
    };
    if watches {
        return None;
    }
    let words = desc.get(at..).unwrap_or_default();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named: Vec<&str> =
        words.split(|c| !word(c)).filter(|w| w.contains('_') || names.contains(w)).collect();
    match named.iter().find(|name| !names.contains(*name)) {
        _ if named.is_empty() => Some("the description names no list or macro to tune it with".to_owned()),
        Some(name) => Some(format!("the description names {name}, which the condition does not use")),
        None => None,
    }
}
