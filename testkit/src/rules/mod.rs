//! Falco rules files, reduced to what evaluation needs: one plain libsinsp filter per rule.
//!
//! Lists, macros and exceptions are expanded as Falco's own loader does
//! (userspace/engine/rule_loader_compiler.cpp): a macro is visible to every rule and to the macros that
//! follow it, a list to every condition and to the lists that follow it. `override` is for changing an
//! earlier file ([`parse_all`]); in a file by itself it is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{anyhow, bail, Context, Result};

use crate::yaml::{self, Node};

mod condition;
mod exceptions;
mod overrides;

/// How severe an alert is, most severe first. Text forms are Falco's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// `Emergency`
    Emergency,
    /// `Alert`
    Alert,
    /// `Critical`
    Critical,
    /// `Error`
    Error,
    /// `Warning`
    Warning,
    /// `Notice`
    Notice,
    /// `Informational`; `INFO` is accepted too.
    Informational,
    /// `Debug`
    Debug,
}

impl Priority {
    const ALL: [(Priority, &'static str); 8] = [
        (Priority::Emergency, "Emergency"),
        (Priority::Alert, "Alert"),
        (Priority::Critical, "Critical"),
        (Priority::Error, "Error"),
        (Priority::Warning, "Warning"),
        (Priority::Notice, "Notice"),
        (Priority::Informational, "Informational"),
        (Priority::Debug, "Debug"),
    ];

    /// Falco's name of it, as alerts carry it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(p, _)| *p == self).map_or("", |(_, name)| name)
    }

    /// Reads a priority in any case, as Falco does. `None` when there is no such priority.
    pub fn parse(text: &str) -> Option<Priority> {
        if text.eq_ignore_ascii_case("info") {
            return Some(Priority::Informational);
        }
        Self::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(p, _)| *p)
    }
}

/// One rule, its condition resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Unique in the file.
    pub name: String,
    /// The condition with every macro, list and exception expanded: a filter that libsinsp reads by itself.
    pub filter: String,
    /// Falco output format, `%field` where a value goes.
    pub output: String,
    /// Severity.
    pub priority: Priority,
    /// Event source; `syscall` when the file does not say.
    pub source: String,
    /// Tags, sorted, each once.
    pub tags: BTreeSet<String>,
    /// False for `enabled: false`: loaded and checked, not evaluated.
    pub enabled: bool,
}

impl Rule {
    /// Whether the rule is there to have drift look at something, and can never match: its condition ends in
    /// `evt.num = 0`, and events are counted from 1.
    pub fn never_alerts(&self) -> bool {
        self.filter.trim_end_matches(')').ends_with("and ((evt.num = 0")
    }
}

/// Reads and resolves a rules file; the rules come in file order.
///
/// # Errors
/// The file cannot be read, is not a list of lists, macros and rules, or a condition does not resolve; the
/// error names the rule or macro and the token.
pub fn load(path: &Path) -> Result<Vec<Rule>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read rules file {}", path.display()))?;
    parse(&text).with_context(|| format!("rules file {}", path.display()))
}

/// Like [`load`] for text in memory.
///
/// # Errors
/// As [`load`], without the file's name.
pub fn parse(text: &str) -> Result<Vec<Rule>> {
    rules(items(text)?)
}

/// The rules of several files that are loaded one after the other, as Falco loads its `rules_files`.
///
/// # Errors
/// As [`parse`]; and an `override` that changes what is not there.
pub fn parse_all(texts: &[&str]) -> Result<Vec<Rule>> {
    let mut all = Vec::new();
    for text in texts {
        overrides::lay_over(&mut all, items(text)?)?;
    }
    rules(all)
}

fn items(text: &str) -> Result<Vec<Node>> {
    match yaml::parse(text)? {
        Node::Null => Ok(Vec::new()),
        Node::List(items) => Ok(items),
        _ => bail!("the top of a rules file is a list of `- rule:`, `- macro:`, `- list:` items"),
    }
}

fn rules(items: Vec<Node>) -> Result<Vec<Rule>> {
    let lists = lists(&items)?;
    let macros = macros(&items, &lists)?;
    let mut rules: Vec<Rule> = Vec::new();
    for item in &items {
        for key in ["append", "override"] {
            if item.get(key).is_some() {
                bail!("`{key}` is not supported here: write the whole item ({})", describe(item));
            }
        }
        if let Some(name) = item.get("rule") {
            let name = name.text().ok_or_else(|| anyhow!("a rule's name is not text"))?;
            let rule = rule(name, item, &macros, &lists).with_context(|| format!("rule {name:?}"))?;
            if rules.iter().any(|r| r.name == rule.name) {
                bail!("rule {name:?} is in the file twice");
            }
            rules.push(rule);
        } else if !KEYS.iter().any(|key| item.get(key).is_some()) {
            bail!("an item is neither rule, macro, list nor a required version: {}", describe(item));
        }
    }
    Ok(rules)
}

/// What an item that is no rule may be.
const KEYS: [&str; 4] = ["macro", "list", "required_engine_version", "required_plugin_versions"];

/// Every macro of the file, resolved with the macros that come earlier.
fn macros(items: &[Node], lists: &BTreeMap<String, Vec<String>>) -> Result<BTreeMap<String, String>> {
    let mut macros: BTreeMap<String, String> = BTreeMap::new();
    for item in items {
        let Some(name) = item.get("macro") else { continue };
        let name = name.text().ok_or_else(|| anyhow!("a macro's name is not text"))?;
        let what = format!("macro {name:?}");
        let condition = required(item, "condition").context(what.clone())?;
        let filter = condition::resolve(condition, &macros, lists).context(what)?;
        macros.insert(name.to_owned(), filter);
    }
    Ok(macros)
}

fn rule(
    name: &str,
    item: &Node,
    macros: &BTreeMap<String, String>,
    lists: &BTreeMap<String, Vec<String>>,
) -> Result<Rule> {
    let mut condition = required(item, "condition")?.to_owned();
    if let Some(exceptions) = item.get("exceptions") {
        condition = exceptions::add(&condition, exceptions)?;
    }
    let priority = required(item, "priority")?;
    let known = || Priority::ALL.map(|(_, name)| name).join(", ");
    Ok(Rule {
        name: name.to_owned(),
        filter: condition::resolve(&condition, macros, lists)?,
        output: required(item, "output")?.trim().to_owned(),
        priority: Priority::parse(priority)
            .ok_or_else(|| anyhow!("priority {priority:?} is none of {}", known()))?,
        source: item.get("source").and_then(Node::text).unwrap_or("syscall").to_owned(),
        tags: texts(item.get("tags")).context("tags")?.into_iter().collect(),
        enabled: match item.get("enabled").and_then(Node::text) {
            None | Some("true") => true,
            Some("false") => false,
            Some(other) => bail!("enabled is {other:?}; it is true or false"),
        },
    })
}

/// Every list of the file, nested ones expanded. An item is another list only when that one comes earlier.
fn lists(items: &[Node]) -> Result<BTreeMap<String, Vec<String>>> {
    let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in items {
        let Some(name) = item.get("list") else { continue };
        let name = name.text().ok_or_else(|| anyhow!("a list's name is not text"))?;
        let mut values = Vec::new();
        for value in texts(item.get("items")).with_context(|| format!("list {name:?}: items"))? {
            match lists.get(&value) {
                Some(inner) => values.extend(inner.iter().cloned()),
                None => values.push(value),
            }
        }
        lists.insert(name.to_owned(), values);
    }
    Ok(lists)
}

fn required<'a>(item: &'a Node, key: &str) -> Result<&'a str> {
    item.get(key).and_then(Node::text).ok_or_else(|| anyhow!("`{key}` is missing or not text"))
}

fn texts(node: Option<&Node>) -> Result<Vec<String>> {
    match node {
        None | Some(Node::Null) => Ok(Vec::new()),
        Some(Node::List(items)) => items
            .iter()
            .map(|i| i.text().map(str::to_owned).ok_or_else(|| anyhow!("{i:?} is not text")))
            .collect(),
        Some(other) => Err(anyhow!("{other:?} is not a list")),
    }
}

fn describe(item: &Node) -> String {
    match item {
        Node::Map(pairs) => match pairs.first() {
            Some((key, Node::Text(value))) => format!("{key}: {value}"),
            Some((key, _)) => key.clone(),
            None => "{}".to_owned(),
        },
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests;
