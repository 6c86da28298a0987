use super::*;
use Kind::{Close, Connective, Field, Item, List, ListClose, ListOpen, Macro, Open, Operator, Value};

#[test]
fn conditions_are_read_in_pieces() {
    let cases: [(&str, &[(Kind, &str)]); 6] = [
        (
            "spawned and not (proc.name=sh)",
            &[
                (Macro, "spawned"),
                (Connective, "and"),
                (Connective, "not"),
                (Open, "("),
                (Field, "proc.name"),
                (Operator, "="),
                (Value, "sh"),
                (Close, ")"),
            ],
        ),
        (
            "proc.aname[2] in (shells, 'a b')",
            &[
                (Field, "proc.aname[2]"),
                (Operator, "in"),
                (ListOpen, "("),
                (Item, "shells"),
                (Item, "'a b'"),
                (ListClose, ")"),
            ],
        ),
        ("a.b in shells", &[(Field, "a.b"), (Operator, "in"), (List, "shells")]),
        ("a.b exists or m", &[(Field, "a.b"), (Operator, "exists"), (Connective, "or"), (Macro, "m")]),
        (
            "toupper(a.b) startswith oneof (x)",
            &[
                (Field, "toupper(a.b)"),
                (Operator, "startswith"),
                (Operator, "oneof"),
                (ListOpen, "("),
                (Item, "x"),
                (ListClose, ")"),
            ],
        ),
        // Values hold what is an operator elsewhere.
        ("a.b != <NA>", &[(Field, "a.b"), (Operator, "!="), (Value, "<NA>")]),
    ];
    for (condition, want) in cases {
        let pieces = read(condition).unwrap();
        let got: Vec<_> = pieces.iter().map(|piece| (piece.kind, piece.text)).collect();
        assert_eq!(got, want, "{condition}");
        assert_eq!(read_what_can_be(condition), pieces, "{condition}");
        for piece in pieces {
            assert!(condition[piece.at..].starts_with(piece.text), "{condition}: {piece:?}");
        }
    }
}

#[test]
fn fields_are_found_in_transformers() {
    for (condition, want) in [
        ("a.b[x(y] = 1", Some("a.b[x(y]")),
        ("a.b[x(y)] = 1", Some("a.b[x(y)]")),
        ("toupper(a.b[(x)]) = 1", Some("a.b[(x)]")),
        ("join(\"(\", a.b) = 1", None),
        ("toupper(a.b) = 1", Some("a.b")),
        ("toupper(b64( a.b )) = 1", Some("a.b")),
        ("m", None),
    ] {
        assert_eq!(read(condition).unwrap()[0].field(), want, "{condition}");
    }
    for (condition, want) in [
        ("a.b = val(c.d)", Some("c.d")),
        ("a.b = c.d", None),
        ("a.b = 'val(c.d)'", None),
        ("a.b in val(c.d)", Some("c.d")),
    ] {
        assert_eq!(read(condition).unwrap()[2].field(), want, "{condition}");
    }
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    for (condition, want) in [
        ("a.b = 1 and\n  =", "a field, a macro or `(` is expected at line 2, column 3"),
        (
            "a.b = x c.d = 1",
            "`and`, `or` or the end is expected at line 1, column 9 of the condition, not \"c.d\"",
        ),
        ("a.b", "an operator is expected at line 1, column 4 of the condition, not \"the end\""),
        ("a.b like x", "not \"like\""),
        ("a.b in (x,)", "a value is expected"),
        ("a.b = 'x", "the quote that opens at line 1, column 7 of the condition is not closed"),
        ("x(a.b = 1", "`(` without its `)` at line 1, column 2 of the condition"),
    ] {
        let error = read(condition).unwrap_err().to_string();
        assert!(error.contains(want), "{condition:?}: {error}");
    }
    let deep = format!("{}a.b = 1{}", "(".repeat(300), ")".repeat(300));
    assert!(read(&deep).unwrap_err().to_string().contains("parentheses inside each other"));
    assert!(read_what_can_be(&deep).iter().any(|piece| piece.text == "a.b"));
}

#[test]
fn what_is_no_condition_is_read_in_part() {
    for (text, want) in [
        ("a.b = x c.d = y", &["a.b", "c.d"][..]),
        ("a.b = x) and (c.d = y", &["a.b", "c.d"]),
        ("a.b like x and c.d = y", &["a.b", "c.d"]),
        ("a.b = 'x and c.d = y", &["a.b"]),
        ("%%% a.b = x", &["a.b"]),
    ] {
        let pieces = read_what_can_be(text);
        let fields: Vec<_> = pieces.iter().filter(|p| p.kind == Field).map(|p| p.text).collect();
        assert_eq!(fields, want, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in r#"([ ()=<>!,'"\\\[\]é]|[a-z.]{1,6}|and|not|in|exists){0,40}"#) {
        let all = read_what_can_be(&text);
        if let Ok(pieces) = read(&text) {
            proptest::prop_assert_eq!(pieces, all);
        }
    }
}
