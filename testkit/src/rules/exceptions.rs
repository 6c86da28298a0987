//! A rule's `exceptions`, written out as Falco does: `(condition) and not (fields comps values)`.

use anyhow::{anyhow, bail, Context, Result};

use super::condition::quote;
use crate::yaml::Node;

/// Adds a rule's `exceptions` to its condition. One without values adds nothing (values may be filled in by
/// users).
///
/// # Errors
/// An exception without `name` or `fields`, or whose fields, comps and values do not match in number.
pub fn add(condition: &str, exceptions: &Node) -> Result<String> {
    let mut out = format!("({condition})");
    for exception in list(exceptions, "exceptions")? {
        let name =
            exception.get("name").and_then(Node::text).ok_or_else(|| anyhow!("an exception has no name"))?;
        if let Some(text) = one(exception).with_context(|| format!("exception {name:?}"))? {
            out.push_str(&format!(" and not ({text})"));
        }
    }
    Ok(out)
}

fn one(exception: &Node) -> Result<Option<String>> {
    let values = match exception.get("values") {
        None | Some(Node::Null) => return Ok(None),
        Some(values) => list(values, "values")?,
    };
    if values.is_empty() {
        return Ok(None);
    }
    let comps = exception.get("comps");
    match exception.get("fields") {
        Some(Node::Text(field)) => {
            // One field: its values are one list.
            let comp = match comps {
                None => "in",
                Some(comp) => {
                    comp.text().ok_or_else(|| anyhow!("fields is one field, comps is not one operator"))?
                }
            };
            Ok(Some(format!("{field} {comp} {}", elements(values)?)))
        }
        Some(Node::List(fields)) => {
            let comps: Vec<&Node> = match comps {
                None => Vec::new(),
                Some(comps) => list(comps, "comps")?.iter().collect(),
            };
            if !comps.is_empty() && comps.len() != fields.len() {
                bail!("{} fields but {} comps", fields.len(), comps.len());
            }
            let rows = values.iter().map(|row| tuple(fields, &comps, row)).collect::<Result<Vec<_>>>()?;
            Ok(Some(rows.join(" or ")))
        }
        _ => bail!("`fields` is missing, or neither a field nor a list of fields"),
    }
}

/// One row of values for several fields: all must hold.
fn tuple(fields: &[Node], comps: &[&Node], row: &Node) -> Result<String> {
    let row = list(row, "a row of values")?;
    if row.len() != fields.len() {
        bail!("{} fields but {} values in a row", fields.len(), row.len());
    }
    let mut checks = Vec::new();
    for (i, (field, value)) in fields.iter().zip(row).enumerate() {
        let field = field.text().ok_or_else(|| anyhow!("field {field:?} is not text"))?;
        let comp = comps.get(i).and_then(|c| c.text()).unwrap_or("=");
        let takes_list = matches!(comp, "in" | "intersects" | "pmatch") || comp.contains(' ');
        let value = match value {
            Node::List(items) => elements(items)?,
            Node::Text(text) if takes_list && text.starts_with('(') => text.clone(),
            Node::Text(text) if takes_list => format!("({text})"),
            Node::Text(text) => quote(text),
            other => bail!("value {other:?} is neither text nor a list"),
        };
        checks.push(format!("{field} {comp} {value}"));
    }
    Ok(format!("({})", checks.join(" and ")))
}

fn elements(items: &[Node]) -> Result<String> {
    let items = items
        .iter()
        .map(|item| item.text().map(quote).ok_or_else(|| anyhow!("value {item:?} is not text")))
        .collect::<Result<Vec<_>>>()?;
    Ok(format!("({})", items.join(", ")))
}

fn list<'a>(node: &'a Node, what: &str) -> Result<&'a [Node]> {
    match node {
        Node::List(items) => Ok(items),
        other => Err(anyhow!("{what} is not a list: {other:?}")),
    }
}
