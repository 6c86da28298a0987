//! YAML as Falco reads it: every scalar is the text that was written, its type decided by whoever uses it.

use anyhow::{anyhow, Context, Result};
use saphyr::{ScalarStyle, Yaml, YamlLoader};
use saphyr_parser::Parser;

/// A YAML value whose scalars keep their text: `0x1f`, `yes` and `"10"` are not converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Nothing, `~` or `null` without quotes.
    Null,
    /// Any other scalar.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in file order.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value under `key` of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Node::Map(pairs) => pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }
}

/// Parses a file of one YAML document. An empty file is [`Node::Null`].
///
/// # Errors
/// Not YAML, more than one document, or mapping keys that are not scalars.
pub fn parse(text: &str) -> Result<Node> {
    let mut loader = YamlLoader::<Yaml>::default();
    loader.early_parse(false);
    let mut parser = Parser::new_from_str(text);
    parser.load(&mut loader, true).context("not YAML")?;
    if let Some(e) = loader.error() {
        return Err(anyhow!("not YAML: {e}"));
    }
    let docs = loader.into_documents();
    match docs.as_slice() {
        [] => Ok(Node::Null),
        [one] => node(one),
        more => Err(anyhow!("{} YAML documents in one file; one is expected", more.len())),
    }
}

fn node(yaml: &Yaml) -> Result<Node> {
    Ok(match yaml {
        Yaml::Representation(text, ScalarStyle::Plain, _) if matches!(text.as_ref(), "" | "~" | "null") => {
            Node::Null
        }
        Yaml::Representation(text, _, _) => Node::Text(text.to_string()),
        Yaml::Sequence(items) => Node::List(items.iter().map(node).collect::<Result<_>>()?),
        Yaml::Mapping(pairs) => Node::Map(
            pairs
                .iter()
                .map(|(key, value)| match node(key)? {
                    Node::Text(key) => Ok((key, node(value)?)),
                    other => Err(anyhow!("mapping key {other:?} is not a plain text")),
                })
                .collect::<Result<_>>()?,
        ),
        Yaml::Tagged(_, inner) => node(inner)?,
        Yaml::BadValue => Node::Null, // What the loader makes of an empty document.
        other => return Err(anyhow!("unexpected YAML node {other:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Node {
        Node::Text(s.into())
    }

    #[test]
    fn scalars_keep_their_text() {
        let cases = [
            ("0755", text("0755")),
            ("yes", text("yes")),
            ("\"a: b\"", text("a: b")),
            ("~", Node::Null),
            ("\"~\"", text("~")),
            ("", Node::Null),
            ("[1, \"2\", x y]", Node::List(vec![text("1"), text("2"), text("x y")])),
            ("a: >\n  b\n  c\n", Node::Map(vec![("a".into(), text("b c\n"))])),
            (
                "a: &x [1]\nb: *x",
                Node::Map(vec![
                    ("a".into(), Node::List(vec![text("1")])),
                    ("b".into(), Node::List(vec![text("1")])),
                ]),
            ),
        ];
        for (yaml, want) in cases {
            assert_eq!(parse(yaml).unwrap(), want, "{yaml:?}");
        }
    }

    #[test]
    fn refuses_what_is_not_one_document() {
        for yaml in ["a: [", "a: 1\n---\nb: 2", "[a]: b", "a: 1\na: 2"] {
            assert!(parse(yaml).is_err(), "{yaml:?}");
        }
    }
}
