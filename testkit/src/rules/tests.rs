use super::*;

const HEAD: &str = r#"
- required_engine_version: 0.46.0
- list: shells
  items: [sh, bash]
- list: both
  items: [shells, "a b", 'x,y', 8080]
- list: none
  items: []
- macro: spawned
  condition: evt.type in (execve, execveat) and evt.res = 0
- macro: shell_spawned
  condition: (spawned and proc.name in (shells))
- macro: either
  condition: proc.a exists or proc.b exists
"#;

fn filter(condition: &str) -> Result<String> {
    let rule = format!(
        "{HEAD}- rule: R\n  desc: d\n  condition: >\n    {}\n  output: o\n  priority: WARNING\n",
        condition.replace('\n', "\n    ")
    );
    Ok(parse(&rule)?.remove(0).filter)
}

#[test]
fn conditions_resolve() {
    let cases = [
        ("proc.name = sh", "proc.name = sh"),
        ("proc.name=sh", "proc.name = sh"),
        ("spawned", "(evt.type in (execve, execveat) and evt.res = 0)"),
        ("not spawned", "not (evt.type in (execve, execveat) and evt.res = 0)"),
        ("not(spawned)", "not ((evt.type in (execve, execveat) and evt.res = 0))"),
        // A macro binds as a whole.
        ("evt.num > 1 and either", "evt.num > 1 and (proc.a exists or proc.b exists)"),
        ("shell_spawned", "(((evt.type in (execve, execveat) and evt.res = 0) and proc.name in (sh, bash)))"),
        ("proc.name in (shells, zsh)", "proc.name in (sh, bash, zsh)"),
        ("proc.name in (both)", "proc.name in (sh, bash, \"a b\", \"x,y\", 8080)"),
        ("proc.name in shells", "proc.name in (sh, bash)"),
        ("proc.name in (none)", "proc.name in ()"),
        ("drift.list intersects (shells)", "drift.list intersects (sh, bash)"),
        ("fd.name pmatch (/etc, shells)", "fd.name pmatch (/etc, sh, bash)"),
        // Quoted or scalar, a list's name is a value.
        ("proc.name in (\"shells\")", "proc.name in (\"shells\")"),
        ("proc.name = shells", "proc.name = shells"),
        ("proc.cmdline contains \"not spawned and (\"", "proc.cmdline contains \"not spawned and (\""),
        ("proc.cmdline contains 'it\\'s shells'", "proc.cmdline contains 'it\\'s shells'"),
        // Names that begin like keywords, operators inside values.
        ("proc.name = android or fd.name = /or/not", "proc.name = android or fd.name = /or/not"),
        ("proc.name != <NA>", "proc.name != <NA>"),
        ("evt.num>=5 and evt.num<=9", "evt.num >= 5 and evt.num <= 9"),
        ("proc.aname[2] = x and evt.arg[name] exists", "proc.aname[2] = x and evt.arg[name] exists"),
        ("drift.image_has_file[/a(b=c,d] = false", "drift.image_has_file[/a(b=c,d] = false"),
        ("drift.image_has_file['/a b]'] = false", "drift.image_has_file['/a b]'] = false"),
        ("toupper(proc.name) = SH", "toupper(proc.name) = SH"),
        ("proc.name = val(proc.pname)", "proc.name = val(proc.pname)"),
        ("fd.name startswith oneof (/etc, shells)", "fd.name startswith oneof (/etc, sh, bash)"),
        (
            "proc.name = sh\nand\nspawned",
            "proc.name = sh and (evt.type in (execve, execveat) and evt.res = 0)",
        ),
    ];
    for (condition, want) in cases {
        assert_eq!(filter(condition).unwrap(), want, "{condition:?}");
    }
}

#[test]
fn errors_name_the_rule_and_the_token() {
    let cases = [
        ("spawnd and evt.num > 1", "unknown macro \"spawnd\" at line 1, column 1"),
        ("evt.num > 1 and (later)", "unknown macro \"later\""),
        ("proc.name in shels", "unknown list \"shels\""),
        ("proc.name = sh proc.pid = 1", "not \"proc.pid\""),
        ("proc.name", "an operator is expected"),
        ("proc.name = ", "a value is expected"),
        ("proc.name in (a b)", "`,` or `)`"),
        ("(spawned", "`)`"),
        ("spawned)", "the end"),
        ("proc.name = \"x", "not closed"),
        ("proc.name like x", "not \"like\""),
        ("spawned and", "a field, a macro"),
        ("x(proc.name = 1", "without its"),
    ];
    for (condition, want) in cases {
        let error = format!("{:#}", filter(condition).unwrap_err());
        assert!(error.contains("rule \"R\""), "{condition:?}: {error}");
        assert!(error.contains(want), "{condition:?}: {error}");
    }
    let deep = format!("{}evt.num = 1{}", "(".repeat(300), ")".repeat(300));
    assert!(filter(&deep).is_err());
}

#[test]
fn a_macro_may_follow_the_rule_but_not_the_macro_that_uses_it() {
    let rule = "- rule: R\n  desc: d\n  condition: late\n  output: o\n  priority: INFO\n\
        - macro: late\n  condition: evt.num = 1\n";
    assert_eq!(parse(rule).unwrap()[0].filter, "(evt.num = 1)");
    let macros = "- macro: early\n  condition: late\n- macro: late\n  condition: evt.num = 1\n";
    let error = format!("{:#}", parse(macros).unwrap_err());
    assert!(error.contains("macro \"early\": unknown macro \"late\""), "{error}");
    // So a macro cannot contain itself.
    assert!(parse("- macro: m\n  condition: m\n").is_err());
}

#[test]
fn rules_have_their_attributes() {
    let rules = parse(
        "- rule: A\n  desc: d\n  condition: evt.num = 1\n  output: >\n    x %proc.name\n  priority: INFO\n  \
         tags: [b, a, b]\n  enabled: false\n\
         - rule: B\n  desc: d\n  condition: evt.num = 1\n  output: y\n  priority: critical\n  source: \
         drift\n",
    )
    .unwrap();
    let a = &rules[0];
    assert_eq!((a.output.as_str(), a.priority, a.enabled), ("x %proc.name", Priority::Informational, false));
    assert_eq!(
        (a.source.as_str(), a.tags.iter().cloned().collect::<Vec<_>>()),
        ("syscall", vec!["a".into(), "b".into()])
    );
    let b = &rules[1];
    assert_eq!((b.source.as_str(), b.priority.name(), b.enabled), ("drift", "Critical", true));
}

#[test]
fn exceptions_expand_as_falco_does() {
    // https://falco.org/docs/concepts/rules/exceptions/
    let cases = [
        ("- name: a\n  fields: proc.name\n  values: [x, y z]", " and not (proc.name in (x, \"y z\"))"),
        (
            "- name: a\n  fields: proc.name\n  comps: startswith\n  values: [x]",
            " and not (proc.name startswith (x))",
        ),
        (
            "- name: a\n  fields: [proc.name, fd.name]\n  comps: [=, startswith]\n  values:\n  - [x, \
             /etc]\n  - [y, /a b]",
            " and not ((proc.name = x and fd.name startswith /etc) or (proc.name = y and fd.name startswith \
             \"/a b\"))",
        ),
        (
            "- name: a\n  fields: [proc.name, fd.name]\n  comps: [in, =]\n  values:\n  - [shells, /x]\n  - \
             [[p, q], /y]",
            " and not ((proc.name in (sh, bash) and fd.name = /x) or (proc.name in (p, q) and fd.name = /y))",
        ),
        (
            "- name: a\n  fields: [proc.name, fd.name]\n  values:\n  - [x, /y]",
            " and not ((proc.name = x and fd.name = /y))",
        ),
        ("- name: a\n  fields: [proc.name]", ""),
    ];
    for (exceptions, want) in cases {
        let text = format!(
            "{HEAD}- rule: R\n  desc: d\n  condition: evt.num = 1 or evt.num = 2\n  output: o\n  priority: \
             ERROR\n  exceptions:\n  {}\n",
            exceptions.replace('\n', "\n  ")
        );
        assert_eq!(
            parse(&text).unwrap()[0].filter,
            format!("(evt.num = 1 or evt.num = 2){want}"),
            "{exceptions}"
        );
    }
}

#[test]
fn a_later_file_changes_an_earlier_one_as_in_falco() {
    let base = "- list: l\n  items: [a]\n- macro: m\n  condition: evt.num = 1\n\
                - rule: A\n  desc: d\n  condition: m and proc.name in (l)\n  output: o\n  priority: INFO\n\
                - rule: B\n  desc: d\n  condition: evt.num = 2\n  output: o\n  priority: INFO\n";
    let cases = [
        ("- list: l\n  items: [b]\n  override: {items: append}\n", "(evt.num = 1) and proc.name in (a, b)"),
        ("- list: l\n  items: [b]\n  override: {items: replace}\n", "(evt.num = 1) and proc.name in (b)"),
        ("- list: l\n  items: [b]\n", "(evt.num = 1) and proc.name in (b)"),
        (
            "- macro: m\n  condition: evt.num = 3\n  override: {condition: replace}\n",
            "(evt.num = 3) and proc.name in (a)",
        ),
        (
            "- macro: m\n  condition: or evt.num = 3\n  override: {condition: append}\n",
            "(evt.num = 1 or evt.num = 3) and proc.name in (a)",
        ),
        (
            "- rule: A\n  condition: and evt.num > 0\n  override: {condition: append}\n",
            "(evt.num = 1) and proc.name in (a) and evt.num > 0",
        ),
    ];
    for (later, want) in cases {
        let rules = parse_all(&[base, later]).unwrap();
        assert_eq!((rules[0].name.as_str(), rules[0].filter.as_str()), ("A", want), "{later}");
        assert_eq!(rules[1].filter, "evt.num = 2", "{later}");
    }
    let quiet =
        "- rule: A\n  enabled: false\n  priority: ERROR\n  override: {enabled: replace, priority: replace}\n";
    let rules = parse_all(&[base, quiet]).unwrap();
    assert_eq!((rules[0].enabled, rules[0].priority, rules[1].enabled), (false, Priority::Error, true));
    for bad in [
        "- list: k\n  items: [b]\n  override: {items: append}\n",
        "- list: l\n  items: [b]\n  override: {items: remove}\n",
        "- macro: m\n  condition: evt.num = 3\n  append: true\n",
        "- rule: A\n  priority: ERROR\n  override: {priority: append}\n",
        "- rule: A\n  priority: ERROR\n  output: x\n  override: {priority: replace}\n",
        "- rule: A\n  override: {priority: replace}\n",
    ] {
        assert!(parse_all(&[base, bad]).is_err(), "{bad}");
    }
}

#[test]
fn bad_files_are_refused() {
    let rule = "- rule: A\n  desc: d\n  condition: evt.num = 1\n  output: o\n  priority: INFO\n";
    let cases = [
        ("rule: A".to_owned(), "list of"),
        ("- rul: A".to_owned(), "rul: A"),
        (format!("{rule}{rule}"), "twice"),
        (rule.replace("INFO", "HIGH"), "\"HIGH\""),
        (format!("{rule}  append: true\n"), "append"),
        (format!("{rule}  enabled: maybe\n"), "maybe"),
        (rule.replace("  output: o\n", ""), "`output`"),
        (
            format!("{rule}  exceptions:\n  - name: e\n    fields: [a.b, c.d]\n    values: [[x]]\n"),
            "1 values in a row",
        ),
    ];
    for (text, want) in cases {
        let error = format!("{:#}", parse(&text).unwrap_err());
        assert!(error.contains(want), "{text}: {error}");
    }
}

#[test]
fn priorities_are_falcos() {
    for (text, want) in
        [("WARNING", "Warning"), ("Info", "Informational"), ("informational", "Informational")]
    {
        assert_eq!(Priority::parse(text).unwrap().name(), want);
    }
    assert_eq!(Priority::parse("warn"), None);
}

/// Words and signs of conditions, in any order.
const CONDITIONS: &str = r#"([a-z.]{0,8}|[ ()=<>!,'"\\\[\]é]|in|and|not|or|exists|shells|spawned){0,20}"#;

proptest::proptest! {
    #[test]
    fn no_condition_panics(condition in CONDITIONS) {
        let lists = BTreeMap::from([("shells".to_owned(), vec!["a b".to_owned()])]);
        let macros = BTreeMap::from([("spawned".to_owned(), "evt.num = 1".to_owned())]);
        if let Ok(filter) = condition::resolve(&condition, &macros, &lists) {
            // What was resolved has no macro or list left: it resolves to itself.
            let again = condition::resolve(&filter, &BTreeMap::new(), &BTreeMap::new());
            proptest::prop_assert_eq!(again.unwrap(), filter);
        }
    }

    #[test]
    fn no_file_panics(text in ".{0,80}") {
        let _ = parse(&text);
        let _ = parse(&format!("- rule: A\n  condition: {text}\n  output: {text}\n  priority: {text}\n"));
    }
}
