//! A rules file: its lists, macros and rules, each with its line, and what a condition uses.

use super::words::{words, Word};
use super::yaml::{Node, Value};
use std::collections::BTreeSet;

/// A list, macro or rule.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    pub kind: Kind,
    pub name: &'a str,
    pub node: &'a Node,
}

impl<'a> Item<'a> {
    /// `None` where a node is no list, macro or rule.
    fn of(node: &'a Node) -> Option<Self> {
        let kinds = [("list", Kind::List), ("macro", Kind::Macro), ("rule", Kind::Rule)];
        kinds.into_iter().find_map(|(key, kind)| Some(Item { kind, name: node.get(key)?.text()?, node }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    List,
    Macro,
    Rule,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Macro => "macro",
            Self::Rule => "rule",
        }
    }
}

/// The items of one file.
#[derive(Debug)]
pub struct Pack<'a> {
    pub items: Vec<Item<'a>>,
    /// Those of the files that are loaded before this one.
    earlier: Vec<Item<'a>>,
    /// Names of the plugins it requires.
    pub plugins: BTreeSet<&'a str>,
    pub requires_engine: bool,
    /// Items that are none, by line.
    pub strange: Vec<usize>,
}

/// What a condition uses, its macros' conditions included.
#[derive(Debug, Default)]
pub struct Uses<'a> {
    pub fields: BTreeSet<&'a str>,
    /// Lists and macros that there are.
    pub names: BTreeSet<&'a str>,
    /// Macros that there are not, or not yet.
    pub unknown: BTreeSet<&'a str>,
}

impl<'a> Pack<'a> {
    /// The pack of a file, where these are loaded before it.
    pub fn new(top: &'a Node, earlier: &[&'a Node]) -> Self {
        let (mut items, mut plugins, mut strange) = (Vec::new(), BTreeSet::new(), Vec::new());
        let mut requires_engine = false;
        if !matches!(top.value, Value::List(_)) {
            strange.push(top.line);
        }
        for node in top.items() {
            let item = Item::of(node);
            let required = node.get("required_plugin_versions");
            requires_engine |= node.get("required_engine_version").is_some();
            match item {
                Some(item) => items.push(item),
                None => match required {
                    Some(required) => plugins
                        .extend(required.items().iter().filter_map(|plugin| plugin.get("name")?.text())),
                    None if node.get("required_engine_version").is_some() => {}
                    None => strange.push(node.line),
                },
            }
        }
        let earlier = earlier.iter().flat_map(|top| top.items()).filter_map(Item::of).collect();
        Self { items, earlier, plugins, requires_engine, strange }
    }

    /// The item of this name, of this file or an earlier one.
    pub fn find(&self, kind: Kind, name: &str) -> Option<&Item<'a>> {
        let is_it = |item: &&Item<'a>| item.kind == kind && item.name == name;
        self.items.iter().find(is_it).or_else(|| self.earlier.iter().rev().find(is_it))
    }

    /// Whether an earlier file has an item of this kind and name.
    pub(crate) fn is_in_earlier(&self, item: &Item<'_>) -> bool {
        self.earlier.iter().any(|other| other.kind == item.kind && other.name == item.name)
    }

    /// Whether all that the file does is change what earlier ones have.
    pub(crate) fn only_overrides(&self) -> bool {
        !self.items.is_empty() && self.items.iter().all(|item| item.node.get("override").is_some())
    }

    /// Whether this file has the item, and not an earlier one.
    fn is_own(&self, item: &Item<'_>) -> bool {
        self.items.iter().any(|own| std::ptr::eq(own.node, item.node))
    }

    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Item<'a>> {
        self.items.iter().filter(move |item| item.kind == kind)
    }

    /// What an item's condition uses. A macro sees the macros above it only, a rule all of them.
    pub fn uses(&self, item: &Item<'a>) -> Uses<'a> {
        let mut uses = Uses::default();
        self.add_uses(item, &mut uses);
        uses
    }

    fn add_uses(&self, item: &Item<'a>, uses: &mut Uses<'a>) {
        let Some(condition) = item.node.get("condition").and_then(Node::text) else { return };
        for word in words(condition) {
            match word {
                Word::Field(field) => {
                    uses.fields.insert(field);
                }
                Word::Macro(name) => {
                    let found = self.find(Kind::Macro, name);
                    let is_above = |m: &&Item<'_>| {
                        item.kind == Kind::Rule || !self.is_own(m) || m.node.line < item.node.line
                    };
                    match found.filter(is_above) {
                        Some(found) if uses.names.insert(found.name) => self.add_uses(found, uses),
                        Some(_) => {}
                        None => {
                            uses.unknown.insert(name);
                        }
                    }
                }
                Word::Value(name) => {
                    if let Some(list) = self.find(Kind::List, name) {
                        uses.names.insert(list.name);
                    }
                }
            }
        }
    }

    /// Whether a rule can never match, and is there to have something looked at: its condition ends in a
    /// macro that asks for event number 0.
    pub fn never_alerts(&self, rule: &Item<'a>) -> bool {
        let condition = rule.node.get("condition").and_then(Node::text).unwrap_or_default();
        match words(condition).last() {
            Some(Word::Macro(name)) => self.is_never(name) && condition.contains(&format!("and {name}")),
            _ => false,
        }
    }

    /// Whether a macro's condition is that of no event.
    pub(crate) fn is_never(&self, name: &str) -> bool {
        let condition = self.find(Kind::Macro, name).and_then(|m| m.node.get("condition")?.text());
        condition.is_some_and(|c| {
            let bare: String = c.chars().filter(|c| !c.is_whitespace() && !"()".contains(*c)).collect();
            bare == "evt.num=0"
        })
    }
}
