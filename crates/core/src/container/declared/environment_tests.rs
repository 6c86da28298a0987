use super::*;
use proptest::prelude::*;

fn declared() -> Environment {
    let variables = ["PATH=/usr/bin:/bin", "APP_ENV=old", "APP_ENV=production"].map(EnvVar::parse);
    Environment::new(variables.iter())
}

/// Names of the differences: added, and changed with a `~` before them.
fn differences(actual: &[u8], cut: bool) -> Vec<String> {
    let declared = declared();
    let name = |d: &Difference<'_>| String::from_utf8_lossy(d.name).into_owned();
    let all = declared.differences(actual, cut).filter(|d| !d.is_own);
    all.map(|d| if d.declared.is_some() { format!("~{}", name(&d)) } else { name(&d) }).collect()
}

#[test]
fn what_differs_is_found() {
    let cases: [(&[u8], &[&str]); 9] = [
        (b"PATH=/usr/bin:/bin\0APP_ENV=production\0", &[]),
        (b"", &[]),
        (b"PATH=/usr/bin:/bin\0", &[]),
        (b"APP_ENV=old\0", &["~APP_ENV"]),
        (b"LD_PRELOAD=/x\0FOO=1\0FOO=2\0", &["LD_PRELOAD", "FOO", "FOO"]),
        (b"PWD=/\0OLDPWD=/\0SHLVL=1\0_=x\0HOME=/\0TERM=x\0HOSTNAME=h\0", &[]),
        (b"no equals\0=x\0==\0", &[]),
        (b"PATH=/tmp:/usr/bin:/bin\0", &["~PATH"]),
        (b"A=\0\0\0B=1", &["A", "B"]),
    ];
    for (actual, want) in cases {
        assert_eq!(differences(actual, false), want);
    }
}

#[test]
fn a_variable_that_is_cut_has_no_value() {
    assert!(differences(b"FILL=x\0APP_ENV=prod", true).contains(&"FILL".to_owned()));
    assert_eq!(differences(b"APP_ENV=prod", true), [""; 0], "it may go on to be the declared one");
    assert_eq!(differences(b"APP_ENV=prod", false), ["~APP_ENV"]);
    assert_eq!(differences(b"APP_ENV=prod\0X=", true), ["~APP_ENV", "X"], "only the last one");
    assert!(is_cut(&[b'x'; EVENT_MAX - 1]) && !is_cut(&[b'x'; EVENT_MAX - 2]));
}

#[test]
fn variables_are_known_again_by_name_and_value() {
    let mut of = Variables::of(b"A=1\0B=2\0");
    assert!(of.has(b"A", b"1") && !of.has(b"A", b"2") && !of.has(b"B", b"1"));
    of.add(b"C", b"3");
    assert!(of.has(b"C", b"3") && !of.is_empty() && Variables::default().is_empty());
    assert!(!format!("{of:?}").contains("C=3"));
}

#[test]
fn values_are_known_by_hash() {
    assert!(declared().has_value(b"production") && !declared().has_value(b"old"));
}

proptest! {
    #[test]
    fn values_are_not_shown(value in "[a-z]{12}", name in "[A-Z]{1,8}") {
        let text = format!("{name}={value}\0PATH=/{value}\0");
        let declared = declared();
        let all: Vec<Difference<'_>> = declared.differences(text.as_bytes(), false).collect();
        let debug = format!("{all:?} {declared:?}");
        prop_assert!(!debug.contains(&value));
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in any::<bool>()) {
        let _ = declared().differences(&bytes, cut).count();
    }
}
