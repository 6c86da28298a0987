//! Resolves the macros and lists of one condition.
//!
//! Puts the bodies of macros and lists where a condition names them, and copies all else. It does not judge
//! fields or values: libsinsp does when it gets the result.

use std::collections::BTreeMap;

use anyhow::{anyhow, Result};
use drift_formats::condition::{self, is_bare, Kind, Piece};

/// `condition` with every macro replaced by its body in parentheses and every list element that names a list
/// by that list's items. `macros` holds resolved bodies.
///
/// # Errors
/// A syntax error or an unknown macro or list; the error names the token and where it stands.
pub fn resolve(
    condition: &str,
    macros: &BTreeMap<String, String>,
    lists: &BTreeMap<String, Vec<String>>,
) -> Result<String> {
    let mut out = String::new();
    let mut values: Vec<String> = Vec::new();
    for piece in condition::read(condition)? {
        let unknown = |what: &str| {
            let place = condition::place(condition, piece.at);
            anyhow!("unknown {what} {:?} at {place}", piece.text)
        };
        let items = || lists.get(piece.text).map(|items| items.iter().map(|item| quote(item)));
        match piece.kind {
            Kind::Macro => {
                let body = macros.get(piece.text).ok_or_else(|| unknown("macro"))?;
                for part in ["(", body, ")"] {
                    emit(&mut out, part);
                }
            }
            Kind::ListOpen => {}
            Kind::Item => match items() {
                Some(items) => values.extend(items),
                None => values.push(piece.text.to_owned()),
            },
            Kind::ListClose => emit(&mut out, &in_parentheses(&std::mem::take(&mut values))),
            Kind::List if is_transformer(&piece) => emit(&mut out, piece.text),
            Kind::List => {
                let items: Vec<String> = items().ok_or_else(|| unknown("list"))?.collect();
                emit(&mut out, &in_parentheses(&items));
            }
            Kind::Connective | Kind::Open | Kind::Close | Kind::Field | Kind::Operator | Kind::Value => {
                emit(&mut out, piece.text);
            }
        }
    }
    Ok(out)
}

/// `val(some.field)` in the place of a list.
fn is_transformer(piece: &Piece<'_>) -> bool {
    piece.text.contains('(')
}

fn in_parentheses(values: &[String]) -> String {
    format!("({})", values.join(", "))
}

fn emit(out: &mut String, text: &str) {
    let tight = out.is_empty() || out.ends_with('(') || text == ")";
    if !tight {
        out.push(' ');
    }
    out.push_str(text);
}

/// A list item as a list element: as it is when it is bare or already quoted, else in quotes.
pub fn quote(item: &str) -> String {
    let quoted = |q: char| item.len() > 1 && item.starts_with(q) && item.ends_with(q);
    if quoted('"') || quoted('\'') || (!item.is_empty() && item.chars().all(is_bare)) {
        item.to_owned()
    } else if item.contains('"') && !item.contains('\'') {
        format!("'{item}'")
    } else {
        format!("\"{}\"", item.replace('"', "\\\""))
    }
}
