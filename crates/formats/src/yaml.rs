//! YAML as a value: one document, bounded, without aliases.
//!
//! An alias may stand for any amount of data ("billion laughs"), so none is followed. Invariants: work and
//! memory grow with the text's length only; what is not understood is an error, never left out.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 32;
/// Most values of all kinds.
const MAX_VALUES: usize = 1_000_000;

/// What is being read.
enum Open {
    /// A mapping, and the key that was read last.
    Map(Map<String, Value>, Option<String>),
    /// A sequence.
    List(Vec<Value>),
}

/// Reads one document; an empty one is null.
///
/// # Errors
/// Where and what.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut open: Vec<Open> = Vec::new();
    let (mut root, mut count) = (None, 0);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| format!("line {}: {}", e.marker().line(), e.info()))?;
        let at = |what: &str| format!("line {}: {what}", span.start.line());
        let value = match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if let Some(Open::Map(_, None)) = open.last() {
                    return Err(at("a key is no text"));
                }
                if open.len() >= MAX_DEPTH {
                    return Err(at("nested too deeply"));
                }
                let is_map = matches!(event, Event::MappingStart(..));
                open.push(if is_map { Open::Map(Map::new(), None) } else { Open::List(Vec::new()) });
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some(Open::Map(map, _)) => Value::Object(map),
                Some(Open::List(list)) => Value::Array(list),
                None => return Err(at("an end without a beginning")),
            },
            Event::Scalar(text, style, ..) => {
                if let Some(Open::Map(map, key @ None)) = open.last_mut() {
                    if map.contains_key(&*text) {
                        return Err(at(&format!("the key {:?} is there twice", shown(&text))));
                    }
                    *key = Some(text.into_owned());
                    continue;
                }
                scalar(&text, style)
            }
            Event::Alias(_) => return Err(at("an alias (`*name`) is not followed; write the value out")),
            Event::DocumentStart(_) if root.is_some() => return Err(at("more than one document")),
            _ => continue,
        };
        count += 1;
        if count > MAX_VALUES {
            return Err(at("too many values"));
        }
        match open.last_mut() {
            Some(Open::List(list)) => list.push(value),
            Some(Open::Map(map, key)) => {
                let key = key.take().ok_or_else(|| at("a value without a key"))?;
                map.insert(key, value);
            }
            None => root = Some(value),
        }
    }
    Ok(root.unwrap_or(Value::Null))
}

/// What a plain scalar means in YAML's core schema, as far as it is needed here; others are text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::from(text);
    }
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
    }
}

/// As much of a text as an error shows.
pub fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn documents_are_read() {
        for (text, want) in [
            ("", Value::Null),
            ("# nothing\n", Value::Null),
            ("a: 1\nb: [x, \"2\", true, ~]\n", json!({"a": 1, "b": ["x", "2", true, null]})),
            ("---\n- to: [10.0.0.0/8]\n  ports: [443]\n", json!([{"to": ["10.0.0.0/8"], "ports": [443]}])),
            ("{\"a\": {\"b\": []}}", json!({"a": {"b": []}})),
            ("a: 'true'\n", json!({"a": "true"})),
            ("a: -1\n", json!({"a": "-1"})),
        ] {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let deep = "[".repeat(100);
        for (text, why) in [
            ("a: &x 1\nb: *x\n", "line 2: an alias"),
            ("a: 1\na: 2\n", "line 2: the key \"a\" is there twice"),
            ("a: 1\n---\nb: 2\n", "more than one document"),
            ("[a]: 1\n", "a key is no text"),
            (deep.as_str(), "nested too deeply"),
            ("a: [1", "line"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,120}") {
            let _ = parse(&text);
        }

        #[test]
        fn json_is_yaml(keys in proptest::collection::btree_map("[a-z]{1,6}", 0u64..1000, 0..6)) {
            let json = json!(keys);
            prop_assert_eq!(parse(&json.to_string()), Ok(json));
        }
    }
}
