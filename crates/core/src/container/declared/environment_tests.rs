use super::*;
use proptest::prelude::*;

fn declared() -> Environment {
    let variables = ["PATH=/usr/bin:/bin", "APP_ENV=old", "APP_ENV=production"].map(EnvVar::parse);
    Environment::new(variables.iter())
}

fn names(list: &[Box<[u8]>]) -> Vec<&str> {
    list.iter().map(|n| std::str::from_utf8(n).unwrap()).collect()
}

#[test]
fn differences_are_names() {
    let cases: [(&[u8], &[&str], &[&str]); 9] = [
        (b"PATH=/usr/bin:/bin\0APP_ENV=production\0", &[], &[]),
        (b"", &[], &[]),
        (b"PATH=/usr/bin:/bin\0", &[], &[]),
        (b"APP_ENV=old\0", &[], &["APP_ENV"]),
        (b"LD_PRELOAD=/x\0FOO=1\0FOO=2\0", &["LD_PRELOAD", "FOO"], &[]),
        (b"PWD=/\0OLDPWD=/\0SHLVL=1\0_=x\0HOME=/\0TERM=x\0HOSTNAME=h\0", &[], &[]),
        (b"no equals\0=x\0==\0", &[], &[]),
        (b"PATH=/tmp:/usr/bin:/bin\0", &[], &["PATH"]),
        (b"A=\0\0\0B=1", &["A", "B"], &[]),
    ];
    for (actual, added, changed) in cases {
        let drift = declared().compare(actual);
        assert_eq!((names(&drift.added), names(&drift.changed)), (added.to_vec(), changed.to_vec()));
    }
}

#[test]
fn directories_that_path_gains_are_for_a_verdict_only() {
    let drift = declared().compare(b"PATH=/tmp:/usr/bin::/bin\0");
    assert_eq!(names(&drift.directories.0), ["/tmp", ""]);
    assert!(!format!("{drift:?}").contains("/tmp"));
    assert!(declared().compare(b"PATH=/bin\0").directories.0.is_empty(), "it lost one");
}

#[test]
fn a_variable_that_the_event_cut_has_no_value() {
    let fill = "X".repeat(EVENT_MAX - 20);
    let text = format!("APP_ENV=production\0FILL={fill}\0APP_ENV=prod\0");
    let whole = &text.as_bytes()[..text.len() - 1];
    assert!(whole.len() >= EVENT_MAX - 1);
    assert!(declared().compare(whole).changed.is_empty());
    assert_eq!(names(&declared().compare(b"APP_ENV=prod\0").changed), ["APP_ENV"]);
}

#[test]
fn risky_names_are_known() {
    let risky = ["LD_PRELOAD", "LD_AUDIT", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "BASH_ENV", "X_PRELOAD"];
    for name in risky.iter().chain(&["PYTHONPATH", "NODE_OPTIONS", "GIT_SSH_COMMAND"]) {
        assert!(is_risky(name.as_bytes()), "{name}");
    }
    for name in ["no_proxy", "NO_PROXY", "FOO", "PATH", "", "OLD_X", "LD", "proxy", "HOME"] {
        assert!(!is_risky(name.as_bytes()), "{name}");
    }
}

proptest! {
    #[test]
    fn values_never_come_out(value in "[a-z]{12}", name in "[A-Z]{1,8}") {
        let text = format!("{name}={value}\0PATH=/{value}\0");
        let drift = declared().compare(text.as_bytes());
        for list in [&drift.added, &drift.changed] {
            prop_assert!(list.iter().all(|n| !String::from_utf8_lossy(n).contains(&value)));
        }
        let debug = format!("{drift:?} {:?}", declared());
        prop_assert!(!debug.contains(&value));
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = declared().compare(&bytes);
    }
}
