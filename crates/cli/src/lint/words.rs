//! The words of a condition: fields, macros, lists, in order. Whether it is one, the engine tells.

use drift_formats::condition::{self, Kind, Piece};

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

/// Splits a condition.
pub fn words(condition: &str) -> Vec<Word<'_>> {
    condition::read_what_can_be(condition).into_iter().filter_map(word).collect()
}

fn word(piece: Piece<'_>) -> Option<Word<'_>> {
    if let Some(field) = piece.field() {
        return Some(Word::Field(field));
    }
    match piece.kind {
        Kind::Macro => Some(Word::Macro(piece.text)),
        Kind::Value | Kind::Item | Kind::List if !piece.is_quoted() => Some(Word::Value(piece.text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Word::{Field, Macro, Value};

    #[test]
    fn conditions_are_split() {
        let cases: [(&str, &[Word<'_>]); 10] = [
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
            ("toupper(a.b) = X and m", &[Field("a.b"), Value("X"), Macro("m")]),
            ("a.b != <NA> and m", &[Field("a.b"), Value("<NA>"), Macro("m")]),
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
