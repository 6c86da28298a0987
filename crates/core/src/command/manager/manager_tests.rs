use super::table::{by_name, programs};
use super::{identify, is_impostor, python_module, Action, Manager, MAX_ARGUMENTS, MAX_NAMES, MAX_NAME_LEN};
use crate::command::interpreter::script_argument;
use proptest::prelude::*;
use std::time::{Duration, Instant};

const ROWS: &str = include_str!("../../../../../tests/fixtures/package_commands.tsv");

fn rows() -> Vec<[&'static str; 5]> {
    let lines = ROWS.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    lines.map(|l| l.split('\t').collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("{l:?}"))).collect()
}

/// Manager, action and names, as the fixture spells them.
fn answer(exe: &str, argv: &[&str]) -> (String, String, String) {
    let argv: Vec<&[u8]> = argv.iter().map(|a| a.as_bytes()).collect();
    let script = script_argument(exe.as_bytes(), &argv);
    let dash = |s: String| if s.is_empty() { "-".to_owned() } else { s };
    match identify(exe.as_bytes(), &argv, script, None) {
        Some(i) => (i.manager.as_str().into(), i.action.as_str().into(), dash(i.names.join(" "))),
        None => ("-".into(), "-".into(), "-".into()),
    }
}

#[test]
fn every_command_line_is_right() {
    let rows = rows();
    assert!(rows.len() >= 500, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for [exe, argv, manager, action, names] in rows {
        let argv: Vec<&str> = argv.split('|').collect();
        let got = answer(exe, &argv);
        if got != (manager.to_owned(), action.to_owned(), names.to_owned()) {
            wrong.push(format!("{exe} {argv:?}: {got:?}, expected {manager} {action} {names}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_manager_has_rows() {
    for program in programs() {
        let name = program.manager.as_str();
        for action in ["install", "query"] {
            assert!(rows().iter().any(|r| r[2] == name && r[3] == action), "no {action} row of {name}");
        }
    }
}

#[test]
fn no_option_is_spelled_twice_with_different_effects() {
    for program in programs() {
        for lookup in [&program.table.lookups().before, &program.table.lookups().after] {
            let spellings = lookup.spellings();
            for pair in spellings.windows(2) {
                let text = String::from_utf8_lossy(pair[0]);
                assert!(pair[0] != pair[1], "{}: {text} is in the table twice", program.first_name());
                assert!(text.starts_with('-') && !text.ends_with('='), "{}: {text}", program.first_name());
            }
        }
    }
}

#[test]
fn names_with_versions_are_told_from_other_names() {
    let manager = |name: &str| by_name(name.as_bytes()).map(|p| p.manager);
    for (name, expected) in [
        ("pip3", Some(Manager::Pip)),
        ("pip3.11", Some(Manager::Pip)),
        ("pip-3.11", Some(Manager::Pip)),
        ("pip.py", None),
        ("pip3.py", None),
        ("pip3x", None),
        ("pip3.", None),
        ("apt2", None),
        ("dnf5", Some(Manager::Dnf)),
        ("yarn-1.22.19.js", Some(Manager::Yarn)),
        ("yarn-x.js", None),
        ("composer-2.7.1.phar", Some(Manager::Composer)),
        ("", None),
        ("3", None),
    ] {
        assert_eq!(manager(name), expected, "{name}");
    }
}

#[test]
fn programs_that_share_a_name_are_told_by_their_package() {
    let exe = b"/usr/games/pacman".as_slice();
    let argv: &[&[u8]] = &[b"pacman", b"-S", b"x"];
    assert!(identify(exe, argv, None, None).is_some());
    assert!(identify(exe, argv, None, Some("dpkg:pacman-package-manager")).is_some());
    assert_eq!(identify(exe, argv, None, Some("dpkg:pacman")), None);
    assert!(is_impostor("dpkg:cmdtest") && !is_impostor("dpkg:apt"));
}

#[test]
fn what_is_kept_is_bounded() {
    let many: Vec<String> = (0..MAX_NAMES * 2).map(|n| format!("p{n}x")).collect();
    let mut argv = vec!["apt-get", "install"];
    argv.extend(many.iter().map(String::as_str));
    assert_eq!(answer("/usr/bin/apt-get", &argv).2.split(' ').count(), MAX_NAMES);
    let long = "x".repeat(MAX_NAME_LEN * 2);
    assert_eq!(answer("/usr/bin/apt-get", &["apt-get", "install", &long]).2.len(), MAX_NAME_LEN);
    let mut late = vec!["apt-get"; 1];
    late.extend(std::iter::repeat_n("-y", MAX_ARGUMENTS));
    late.extend(["install", "nmap"]);
    let argv: Vec<&[u8]> = late.iter().map(|a| a.as_bytes()).collect();
    let found = identify(b"/usr/bin/apt-get", &argv, None, None).unwrap();
    assert_eq!(found.action, Action::Other, "a verb that is not seen is not a query");
}

/// Words that command lines are made of, and any bytes.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<Vec<u8>> =
        rows().iter().flat_map(|r| r[1].split('|')).map(|w| w.as_bytes().to_vec()).collect();
    prop_oneof![
        6 => proptest::sample::select(known),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => "[-=@/.:~+!#a-z0-9_]{0,20}".prop_map(String::into_bytes),
    ]
}

fn exe() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<Vec<u8>> = rows().iter().map(|r| r[0].as_bytes().to_vec()).collect();
    prop_oneof![9 => proptest::sample::select(known), 1 => proptest::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #[test]
    fn no_command_line_panics_or_exceeds_the_bounds(
        exe in exe(),
        argv in proptest::collection::vec(word(), 0..40),
        script in proptest::option::of(word()),
    ) {
        let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        let own = script_argument(&exe, &argv);
        for script in [script.as_deref(), own, None] {
            if let Some(found) = identify(&exe, &argv, script, None) {
                prop_assert!(found.names.len() <= MAX_NAMES);
                for name in &found.names {
                    // A byte that is no UTF-8 takes three as U+FFFD.
                    prop_assert!(!name.is_empty() && name.len() <= 3 * MAX_NAME_LEN, "{name:?}");
                }
                if matches!(found.action, Action::Query | Action::Refresh) {
                    prop_assert!(found.names.is_empty());
                }
            }
        }
    }
}

/// As slow as command lines get: as long as an event holds, most words looked up and none known.
#[test]
fn no_command_line_takes_long() {
    let mut lines: Vec<(&str, Vec<&str>)> =
        rows().iter().map(|r| (r[0], r[1].split('|').collect())).collect();
    // An exec event holds 4096 bytes of arguments.
    for filler in ["--x", "-y", "--download-onl", "a", "p-1.0-1.x86_64.rpm", "@s/x@npm:y@2"] {
        let words = std::iter::repeat_n(filler, 4096 / (filler.len() + 1));
        for (exe, first) in [
            ("/usr/bin/apt-get", vec!["apt-get", "install"]),
            ("/usr/bin/dnf5", vec!["dnf", "install"]),
            ("/usr/bin/node", vec!["node", "/usr/bin/npm", "install"]),
            ("/usr/bin/python3.11", vec!["python3", "-m", "pip"]),
        ] {
            lines.push((exe, first.into_iter().chain(words.clone()).collect()));
        }
    }
    for (exe, argv) in lines {
        let argv: Vec<&[u8]> = argv.iter().map(|a| a.as_bytes()).collect();
        let script = script_argument(exe.as_bytes(), &argv);
        let mut times: Vec<Duration> = (0..31)
            .map(|_| {
                let start = Instant::now();
                std::hint::black_box(identify(exe.as_bytes(), std::hint::black_box(&argv), script, None));
                start.elapsed()
            })
            .collect();
        times.sort();
        // The median, in a release build: other processes cannot make it fail, and a slow path cannot hide.
        if !cfg!(debug_assertions) {
            let line: Vec<_> = argv.iter().take(8).map(|a| String::from_utf8_lossy(a)).collect();
            assert!(times[15] < Duration::from_micros(20), "{:?} for {exe} {line:?}", times[15]);
        }
    }
}

#[test]
fn where_python_looks_for_a_module() {
    let of = |line: &str| {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let found = python_module(&[b"/usr/bin/", argv[0]].concat(), &argv)?;
        Some((
            String::from_utf8_lossy(found.name).into_owned(),
            found.from_cwd,
            found.from_env,
            found.from_user,
        ))
    };
    let pip = |cwd, env, user| Some(("pip".to_owned(), cwd, env, user));
    for (line, want) in [
        ("python3 -m pip install x", pip(true, true, true)),
        ("python3.11 -mpip install x", pip(true, true, true)),
        ("python3 -I -m pip install x", pip(false, false, false)),
        ("python3 -Im pip install x", pip(false, false, false)),
        ("python3 -P -m pip._internal install x", pip(false, true, true)),
        ("python3 -E -s -m pip install x", pip(true, false, false)),
        ("python3 -m pip install -I x", pip(true, true, true)),
        ("python3 pip install x", None),
        ("python3 -c x", None),
        ("node -m pip", None),
    ] {
        assert_eq!(of(line), want, "{line}");
    }
}
