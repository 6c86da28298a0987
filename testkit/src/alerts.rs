//! A rules file evaluated over a capture: the alerts that Falco gives, as Falco's JSON.
//!
//! With sysdig each rule is one replay with the rule's resolved condition as the filter; the results are
//! joined by event number with `rule_matching: first`, Falco's default: the first matching rule in file order
//! wins. In Falco all rules are asked of each event in one engine, and a rule that never alerts can have
//! drift look at something ([`Rule::never_alerts`]): such rules are asked first in each replay. With Falco
//! its own alerts are read.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::HashMap;
use std::path::Path;

use anyhow::{bail, Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::engine::{Engine, Event, FalcoAlert, Kind, Replay};
use crate::format::{self, Part};
use crate::rules::{self, Priority, Rule};

/// One alert; serializes to Falco's JSON (keys in alphabetical order, as Falco prints them).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    /// The event's number in the capture. `None` from Falco, unless the rule prints it.
    #[serde(skip)]
    pub event: Option<u64>,
    /// The machine's name. Falco's own alerts have it; a sysdig replay has none to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// `18:13:51.709183122: Warning text`, fields filled in.
    pub output: String,
    /// Every field of the output and `evt.time` (nanoseconds); absent ones are null.
    pub output_fields: Map<String, Value>,
    /// Falco's name of the priority.
    pub priority: String,
    /// The rule's name.
    pub rule: String,
    /// The event source, `syscall`.
    pub source: String,
    /// The rule's tags, sorted.
    pub tags: Vec<String>,
    /// RFC 3339 with nanoseconds, UTC.
    pub time: String,
}

/// What evaluating a rules file gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The alerts, in the order of events.
    pub alerts: Vec<Alert>,
    /// How many events the capture has; `None` with Falco, which does not tell.
    pub events: Option<u64>,
    /// Rules of another event source than `syscall`, which a capture of system calls cannot trigger.
    pub skipped: Vec<String>,
}

/// Evaluates the enabled `syscall` rules of a file over a capture.
///
/// # Errors
/// The rules do not load, or the engine refused the plugin, the capture, a condition or an output field; the
/// error names the rule.
pub fn evaluate(engine: &Engine, replay: &Replay, rules_file: &Path) -> Result<Evaluation> {
    let rules = rules::load(rules_file)?;
    let (rules, others): (Vec<Rule>, Vec<Rule>) =
        rules.into_iter().filter(|r| r.enabled).partition(|r| r.source == "syscall");
    let skipped = others.into_iter().map(|r| r.name).collect();
    match engine.kind() {
        Kind::Falco => {
            let printed = engine.falco_alerts(replay, rules_file)?;
            let alerts = printed.into_iter().map(from_falco).collect::<Result<_>>()?;
            Ok(Evaluation { alerts, events: None, skipped })
        }
        Kind::Sysdig => {
            let (alerts, events) = with_sysdig(engine, replay, &rules)?;
            Ok(Evaluation { alerts, events: Some(events), skipped })
        }
    }
}

fn with_sysdig(engine: &Engine, replay: &Replay, rules: &[Rule]) -> Result<(Vec<Alert>, u64)> {
    let mut evaluator = Evaluator::new(engine, replay);
    let alerts = evaluator.alerts(rules)?;
    // Without a rule there is still the capture to count.
    let total = match evaluator.total {
        Some(total) => total,
        None => engine.replay(replay, "evt.num = 0", &[])?.total,
    };
    Ok((alerts, total))
}

/// Evaluates several sets of rules over one capture: a rule that is in many of them is replayed once.
#[derive(Debug)]
pub struct Evaluator<'a> {
    engine: &'a Engine,
    replay: &'a Replay<'a>,
    /// By filter and output.
    known: HashMap<(String, String), Vec<Event>>,
    total: Option<u64>,
}

impl<'a> Evaluator<'a> {
    /// An evaluator that has replayed nothing; the engine is a sysdig.
    pub fn new(engine: &'a Engine, replay: &'a Replay<'a>) -> Self {
        Self { engine, replay, known: HashMap::new(), total: None }
    }

    /// The alerts of these rules, whether enabled or not, in the order of events.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn alerts(&mut self, rules: &[Rule]) -> Result<Vec<Alert>> {
        let watches: Vec<&Rule> = rules.iter().filter(|r| r.never_alerts() && r.enabled).collect();
        let mut matched: Vec<(&Rule, Vec<Part>, Vec<Event>)> = Vec::new();
        for rule in rules.iter().filter(|r| !r.never_alerts()) {
            let what = || format!("rule {:?}", rule.name);
            let parts = format::parse(&rule.output).with_context(what)?;
            let mut filter = String::new();
            for watch in watches.iter().filter(|w| w.source == rule.source) {
                filter.push_str(&format!("({}) or ", watch.filter));
            }
            filter.push_str(&format!("({})", rule.filter));
            let key = (filter, rule.output.clone());
            let events = match self.known.get(&key) {
                Some(events) => events.clone(),
                None => {
                    let fields: Vec<&str> = parts.iter().filter_map(field).collect();
                    let replayed = self.engine.replay(self.replay, &key.0, &fields).with_context(what)?;
                    self.total = Some(replayed.total);
                    self.known.insert(key, replayed.events.clone());
                    replayed.events
                }
            };
            matched.push((rule, parts, events));
        }
        first_match(matched)
    }
}

/// Joins what each rule matched: of several rules on one event the first wins.
fn first_match(matched: Vec<(&Rule, Vec<Part>, Vec<Event>)>) -> Result<Vec<Alert>> {
    let mut alerts: BTreeMap<u64, Alert> = BTreeMap::new();
    for (rule, parts, events) in matched {
        for event in events {
            if let Entry::Vacant(free) = alerts.entry(event.num) {
                free.insert(render(rule, &parts, &event)?);
            }
        }
    }
    Ok(alerts.into_values().collect())
}

fn render(rule: &Rule, parts: &[Part], event: &Event) -> Result<Alert> {
    let mut output = format!("{}: {} ", format::clock(event.time), rule.priority.name());
    let mut output_fields = Map::new();
    for part in parts {
        match part {
            Part::Text(text) => output.push_str(text),
            Part::Field(name) => {
                let value = event.value(name)?;
                output.push_str(&format::value(name, value));
                output_fields.insert(name.clone(), value.cloned().unwrap_or(Value::Null));
            }
        }
    }
    output_fields.insert("evt.time".to_owned(), event.time.into());
    Ok(Alert {
        event: Some(event.num),
        hostname: None,
        output,
        output_fields,
        priority: rule.priority.name().to_owned(),
        rule: rule.name.clone(),
        source: rule.source.clone(),
        tags: rule.tags.iter().cloned().collect(),
        time: format::rfc3339(event.time),
    })
}

fn field(part: &Part) -> Option<&str> {
    match part {
        Part::Field(name) => Some(name),
        Part::Text(_) => None,
    }
}

fn from_falco(json: FalcoAlert) -> Result<Alert> {
    let text = |key: &str| json.get(key).and_then(Value::as_str).map(str::to_owned);
    let (Some(output), Some(priority), Some(rule), Some(source), Some(time), Some(Value::Object(fields))) = (
        text("output"),
        text("priority"),
        text("rule"),
        text("source"),
        text("time"),
        json.get("output_fields"),
    ) else {
        bail!("not one of Falco's alerts: {}", Value::Object(json));
    };
    let tags = json.get("tags").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(Alert {
        event: fields.get("evt.num").and_then(Value::as_u64),
        hostname: text("hostname"),
        output,
        output_fields: fields.clone(),
        priority,
        rule,
        source,
        tags: tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        time,
    })
}

/// The totals in one line: `37 alerts in 52,729 events: 21 Warning, 16 Notice`.
pub fn totals(evaluation: &Evaluation) -> String {
    let count = evaluation.alerts.len();
    let mut line = format!("{} alert{}", grouped(count as u64), if count == 1 { "" } else { "s" });
    if let Some(events) = evaluation.events {
        line.push_str(&format!(" in {} events", grouped(events)));
    }
    let mut by_priority: BTreeMap<(Option<Priority>, &str), usize> = BTreeMap::new();
    for alert in &evaluation.alerts {
        *by_priority.entry((Priority::parse(&alert.priority), alert.priority.as_str())).or_default() += 1;
    }
    if !by_priority.is_empty() {
        let counts: Vec<String> = by_priority.iter().map(|((_, name), n)| format!("{n} {name}")).collect();
        line.push_str(&format!(": {}", counts.join(", ")));
    }
    line
}

/// `52729` as `52,729`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
