//! `override` and `append`: how a file that is loaded later changes what an earlier one has.
//!
//! As Falco's rule collector does it (userspace/engine/rule_loader_collector.cpp): the changed item keeps its
//! place, so the order of rules does not change; a later list, macro or rule of the same name without
//! `override` takes the place of the earlier one.

use anyhow::{anyhow, bail, Result};

use super::describe;
use crate::yaml::Node;

/// What `override` may do to each key of an item.
const APPENDABLE: [(&str, &[&str]); 3] = [
    ("list", &["items"]),
    ("macro", &["condition"]),
    ("rule", &["condition", "output", "desc", "tags", "exceptions"]),
];
const REPLACEABLE: [(&str, &[&str]); 3] = [
    ("list", &["items"]),
    ("macro", &["condition"]),
    (
        "rule",
        &[
            "condition",
            "output",
            "desc",
            "priority",
            "tags",
            "exceptions",
            "enabled",
            "warn_evttypes",
            "skip-if-unknown-filter",
        ],
    ),
];

/// Lays the items of a later file over those of the earlier ones.
///
/// # Errors
/// An `override` of what is not there, of a key that cannot be changed so, or `append: true`, which is
/// deprecated.
pub fn lay_over(items: &mut Vec<Node>, later: Vec<Node>) -> Result<()> {
    for item in later {
        if item.get("append").is_some() {
            bail!("`append` is deprecated, use `override` ({})", describe(&item));
        }
        let Some((kind, name)) = kind_and_name(&item) else {
            items.push(item);
            continue;
        };
        let known = items.iter_mut().find(|known| kind_and_name(known) == Some((kind, name)));
        match (item.get("override"), known) {
            (None, None) => items.push(item),
            (None, Some(known)) => *known = item,
            (Some(_), None) => bail!("{} is overridden and not there", describe(&item)),
            (Some(how), Some(known)) => change(kind, known, &item, how)?,
        }
    }
    Ok(())
}

fn kind_and_name(item: &Node) -> Option<(&'static str, &str)> {
    ["list", "macro", "rule"].into_iter().find_map(|kind| Some((kind, item.get(kind)?.text()?)))
}

fn change(kind: &str, known: &mut Node, item: &Node, how: &Node) -> Result<()> {
    let Node::Map(how) = how else { bail!("`override` is not a map ({})", describe(item)) };
    let Node::Map(pairs) = item else { bail!("an item is not a map") };
    if let Some((key, _)) =
        pairs.iter().find(|(key, _)| key != kind && key != "override" && !how.iter().any(|(k, _)| k == key))
    {
        bail!("`{key}` is given and not overridden ({})", describe(item));
    }
    for (key, mode) in how {
        let value = item.get(key).ok_or_else(|| anyhow!("`{key}` is overridden and not given"))?;
        let may = |table: [(&str, &[&str]); 3]| {
            table.iter().any(|(of, keys)| *of == kind && keys.contains(&key.as_str()))
        };
        let Node::Map(into) = &mut *known else { bail!("an item is not a map") };
        let old = into.iter_mut().find(|(k, _)| k == key);
        match (mode.text(), old) {
            (Some("replace"), Some((_, old))) if may(REPLACEABLE) => *old = value.clone(),
            (Some("replace"), None) if may(REPLACEABLE) => into.push((key.clone(), value.clone())),
            (Some("append"), Some((_, old))) if may(APPENDABLE) => append(old, value)?,
            (Some("append"), None) if may(APPENDABLE) => into.push((key.clone(), value.clone())),
            _ => bail!("`{key}` of a {kind} cannot be overridden by {mode:?}"),
        }
    }
    Ok(())
}

fn append(old: &mut Node, value: &Node) -> Result<()> {
    match (&mut *old, value) {
        (Node::Text(old), Node::Text(more)) => {
            old.push(' ');
            old.push_str(more);
        }
        (Node::List(old), Node::List(more)) => old.extend(more.iter().cloned()),
        (Node::Null, more) => *old = more.clone(),
        (_, Node::Null) => {}
        _ => bail!("{value:?} cannot be appended to {old:?}"),
    }
    Ok(())
}
