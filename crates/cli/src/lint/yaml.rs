//! YAML with the line of each value: as much of it as rules files have.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Deepest nesting that is read; rules have four.
const MAX_DEPTH: usize = 32;

/// A value, and the line it begins at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub line: usize,
    pub value: Value,
}

/// What a node is. Scalars keep their text; an empty one without quotes is the empty text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The value under a key of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.pairs().iter().find(|(k, _)| k == key).map(|(_, node)| node)
    }

    /// The pairs of a map, in order; none of anything else.
    pub fn pairs(&self) -> &[(String, Node)] {
        match &self.value {
            Value::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The texts of a list's items.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.items().iter().filter_map(Node::text)
    }
}

/// A list or map that is being read.
enum Open {
    List(Vec<Node>),
    /// The pairs, and the key whose value comes next.
    Map(Vec<(String, Node)>, Option<String>),
}

/// Reads a file of one document; the line where it is none, and why, otherwise.
pub fn parse(text: &str) -> Result<Node, (usize, String)> {
    let mut open: Vec<(usize, Open)> = Vec::new();
    let mut top = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| (e.marker().line(), e.info().to_owned()))?;
        let line = span.start.line();
        let done = match event {
            Event::SequenceStart(..) => {
                open.push((line, Open::List(Vec::new())));
                None
            }
            Event::MappingStart(..) => {
                open.push((line, Open::Map(Vec::new(), None)));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(|(line, closed)| {
                let value = match closed {
                    Open::List(items) => Value::List(items),
                    Open::Map(pairs, _) => Value::Map(pairs),
                };
                Node { line, value }
            }),
            Event::Scalar(value, style, ..) => {
                let null = style == ScalarStyle::Plain && matches!(value.as_ref(), "~" | "null");
                let text = if null { String::new() } else { value.into_owned() };
                Some(Node { line, value: Value::Scalar(text) })
            }
            Event::Alias(..) => return Err((line, "aliases are not followed".to_owned())),
            _ => None,
        };
        if open.len() > MAX_DEPTH {
            return Err((line, "nested too deeply".to_owned()));
        }
        let Some(node) = done else { continue };
        match open.last_mut() {
            None if top.is_some() => return Err((line, "more than one document".to_owned())),
            None => top = Some(node),
            Some((_, Open::List(items))) => items.push(node),
            Some((_, Open::Map(pairs, key))) => match (key.take(), node.text()) {
                (Some(key), _) => pairs.push((key, node)),
                (None, Some(text)) => *key = Some(text.to_owned()),
                (None, None) => return Err((line, "a key is no text".to_owned())),
            },
        }
    }
    Ok(top.unwrap_or(Node { line: 1, value: Value::List(Vec::new()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_lines() {
        let node = parse("# c\n- a: 1\n  b: [x, \"y z\"]\n- c: >\n    long\n    text\n  d: ~\n").unwrap();
        let items = node.items();
        assert_eq!((items[0].line, items[0].get("a").unwrap().text()), (2, Some("1")));
        assert_eq!(items[0].get("b").unwrap().texts().collect::<Vec<_>>(), ["x", "y z"]);
        assert_eq!(items[1].get("c").unwrap().text(), Some("long text\n"));
        assert_eq!(items[1].get("d").map(|d| (d.line, d.text())), Some((7, Some(""))));
    }

    #[test]
    fn what_is_no_rules_file_is_told_with_its_line() {
        // The parser notices an end late: the line is that of the fault, or the next one.
        for (text, line) in [("a: }\n", 1), ("a: 1\n---\nb: 2\n", 3), ("x: &x 1\ny: *x\n", 2)] {
            assert!(
                parse(text).is_err_and(|(at, _)| (line..=line + 1).contains(&at)),
                "{text:?}: {:?}",
                parse(text)
            );
        }
        assert!(parse(&"[".repeat(100)).is_err());
        assert_eq!(parse("").unwrap().items(), []);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in r#"([-:\[\]{}&*!|>'"%@`,#~ \n]|[a-z]{1,5}){0,40}"#) {
            let _ = parse(&text);
        }
    }
}
