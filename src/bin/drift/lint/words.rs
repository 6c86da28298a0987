//! The words of a condition: fields, macros, lists, in order. Whether it is one, the engine tells.

/// A word outside of quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word<'a> {
    /// `proc.name`, with its argument if it has one.
    Field(&'a str),
    /// A name without a dot that stands where a condition may: a macro.
    Macro(&'a str),
    /// A value after an operator; in a list it may be a list's name.
    Value(&'a str),
}

const OPERATORS: [&str; 24] = [
    "contains",
    "icontains",
    "bcontains",
    "startswith",
    "istartswith",
    "bstartswith",
    "endswith",
    "iendswith",
    "glob",
    "iglob",
    "regex",
    "in",
    "intersects",
    "pmatch",
    "exists",
    "oneof",
    "allof",
    "anyof",
    "=",
    "==",
    "!=",
    "<=",
    ">=",
    "<",
];

/// Splits a condition.
pub fn words(condition: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    // Inside the parentheses of a list of values, and whether a value comes next.
    let (mut in_list, mut value_next) = (false, false);
    let mut rest = condition;
    while let Some(c) = rest.chars().next() {
        let (token, after) = match c {
            c if c.is_whitespace() || c == ',' => {
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
                continue;
            }
            '"' | '\'' => {
                rest = rest.split_at_checked(quoted(rest)).map_or("", |(_, after)| after);
                value_next = in_list;
                continue;
            }
            '(' | ')' => {
                match c {
                    '(' if value_next => in_list = true,
                    '(' => {}
                    _ => (in_list, value_next) = (false, false),
                }
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            '=' | '!' | '<' | '>' => {
                let end = rest.find(|c: char| !"=!<>".contains(c)).unwrap_or(rest.len());
                rest.split_at_checked(end).unwrap_or((rest, ""))
            }
            _ => {
                let end = word_end(rest);
                rest.split_at_checked(end).unwrap_or((rest, ""))
            }
        };
        rest = after;
        if token == "exists" && !value_next {
            continue;
        }
        if OPERATORS.contains(&token) || token == ">" {
            value_next = true;
        } else if value_next && token == "val" {
            // val(field): a field stands for the value.
            if let Some((field, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
                words.push(Word::Field(field.trim()));
                rest = after;
            }
            value_next = in_list;
        } else if value_next {
            words.push(Word::Value(token));
            value_next = in_list;
        } else if !matches!(token, "and" | "or" | "not") {
            words.push(if token.contains('.') { Word::Field(token) } else { Word::Macro(token) });
        }
    }
    words
}

/// Length of a quoted text at the start, quotes included.
fn quoted(text: &str) -> usize {
    let quote = text.chars().next();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if Some(c) == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of the word at the start; a field's argument in brackets belongs to it.
fn word_end(text: &str) -> usize {
    let mut in_brackets = false;
    for (at, c) in text.char_indices() {
        match c {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            c if !in_brackets && (c.is_whitespace() || ",()=!<>\"'".contains(c)) => return at.max(1),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Word::{Field, Macro, Value};

    #[test]
    fn conditions_are_split() {
        let cases: [(&str, &[Word<'_>]); 8] = [
            ("spawned and not proc.name = sh", &[Macro("spawned"), Field("proc.name"), Value("sh")]),
            (
                "proc.name in (shells, zsh) or m",
                &[Field("proc.name"), Value("shells"), Value("zsh"), Macro("m")],
            ),
            ("(evt.type=bind and a.b exists)", &[Field("evt.type"), Value("bind"), Field("a.b")]),
            ("a.b = \"x and (y)\" and m", &[Field("a.b"), Macro("m")]),
            (
                "drift.image_has_file[/a b,(c] = false",
                &[Field("drift.image_has_file[/a b,(c]"), Value("false")],
            ),
            ("proc.ppid = val(proc.pvpid) and m", &[Field("proc.ppid"), Field("proc.pvpid"), Macro("m")]),
            (
                "a.b pmatch (dirs, /x) and c.d>=5",
                &[Field("a.b"), Value("dirs"), Value("/x"), Field("c.d"), Value("5")],
            ),
            ("a.b startswith \"p:\"", &[Field("a.b")]),
        ];
        for (condition, want) in cases {
            assert_eq!(words(condition), want, "{condition}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_condition_panics(text in r#"([ ()=<>!,'"\\\[\]é]|[a-z.]{1,6}){0,40}"#) {
            words(&text);
        }
    }
}
