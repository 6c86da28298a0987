use std::path::Path;

use serde_json::json;

use super::provision::choose;
use super::sources::{deb822, main_mirror, one_line, Archive};
use super::*;
use crate::skip::skip;

#[test]
fn versions_compare_as_numbers() {
    for (text, want) in [
        ("0.23.2", Some((0, 23, 2))),
        ("0.41.4+repack", Some((0, 41, 4))),
        ("0.9", Some((0, 9, 0))),
        ("0.24.0-rc1", Some((0, 24, 0))),
        ("x", None),
        ("", None),
    ] {
        assert_eq!(parse_version(text), want, "{text:?}");
    }
    assert!(parse_version("0.9.40").unwrap() < MIN_LIBS);
}

#[test]
fn a_name_tells_the_kind() {
    for (path, want) in
        [("/usr/bin/falco", Kind::Falco), ("/x/falco-0.43", Kind::Falco), ("/y/sysdig", Kind::Sysdig)]
    {
        assert_eq!(kind_of(Path::new(path)), want);
    }
}

#[test]
fn apt_sources_are_read() {
    let list = "# deb http://commented/debian bookworm main\n\
                deb http://deb.example/debian/ bookworm main contrib # note\n\
                deb [arch=amd64 signed-by=/k.gpg] https://apt.example bookworm main\n\
                deb-src http://deb.example/debian bookworm main\n";
    let archive = |uri: &str, suite: &str, components: &[&str]| Archive {
        uri: uri.into(),
        suite: suite.into(),
        components: components.iter().map(|c| c.to_string()).collect(),
    };
    let want = [
        archive("http://deb.example/debian/", "bookworm", &["main", "contrib"]),
        archive("https://apt.example", "bookworm", &["main"]),
    ];
    assert_eq!(one_line(list), want);

    let sources =
        "Types: deb deb-src\n# a comment\nURIs: http://a.example/debian\n  http://b.example/debian\n\
                   Suites: trixie trixie-updates\nComponents: main\nSigned-By:\n \
                   -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n URIs: http://evil.example\n\n\
                   Enabled: no\nTypes: deb\nURIs: http://off.example\nSuites: trixie\nComponents: main\n\n\
                   Types: deb-src\nURIs: http://src.example\nSuites: trixie\nComponents: main\n";
    let want = [
        archive("http://a.example/debian", "trixie", &["main"]),
        archive("http://a.example/debian", "trixie-updates", &["main"]),
        archive("http://b.example/debian", "trixie", &["main"]),
        archive("http://b.example/debian", "trixie-updates", &["main"]),
    ];
    assert_eq!(deb822(sources), want);
}

#[test]
fn the_main_mirror_is_the_distributions_own() {
    let archives = one_line(
        "deb http://third.example bookworm main\n\
         deb http://sec.example/debian-security bookworm-security main\n\
         deb http://tools.example/linux/debian bookworm stable\n\
         deb http://mirror.example/pub/debian/ bookworm main\n",
    );
    assert_eq!(main_mirror(&archives, "debian", "bookworm"), Some("http://mirror.example/pub/debian/"));
    assert_eq!(main_mirror(&archives, "debian", "trixie"), None);
    // Only somebody's own layout: better than nothing.
    assert_eq!(
        main_mirror(&one_line("deb http://cache.example/x sid main"), "debian", ""),
        Some("http://cache.example/x")
    );
    let ports = one_line("deb http://ports.example/ubuntu-ports noble main universe");
    assert_eq!(main_mirror(&ports, "ubuntu", "noble"), Some("http://ports.example/ubuntu-ports"));
}

#[test]
fn the_origin_follows_the_machine() {
    let keys = tempfile::tempdir().unwrap();
    for name in ["debian-archive-keyring.pgp", "ubuntu-archive-keyring.gpg"] {
        std::fs::write(keys.path().join(name), "").unwrap();
    }
    let debian = "ID=debian\nVERSION_CODENAME=trixie\n";
    let mint = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n";
    let archives =
        one_line("deb http://d.example/debian trixie main\ndeb http://u.example/ubuntu noble main universe");
    let origin = choose(debian, None, &archives, keys.path()).unwrap();
    assert_eq!((origin.mirror.as_str(), origin.suite), ("http://d.example/debian", "testing"));
    assert!(origin.keyring.ends_with("debian-archive-keyring.pgp"));
    let origin = choose(mint, None, &archives, keys.path()).unwrap();
    assert_eq!(
        (origin.mirror.as_str(), origin.suite, origin.components),
        ("http://u.example/ubuntu", "devel", "main universe")
    );
    // The override is a Debian mirror, on Ubuntu too.
    let origin = choose(mint, Some("http://o.example/debian"), &[], keys.path()).unwrap();
    assert_eq!((origin.mirror.as_str(), origin.suite), ("http://o.example/debian", "testing"));

    let error = choose(debian, None, &[], keys.path()).unwrap_err().to_string();
    assert!(error.contains("DRIFT_DEBIAN_MIRROR"), "{error}");
    let error = choose(debian, None, &archives, Path::new("/nonexistent")).unwrap_err().to_string();
    assert!(error.contains("install the package debian-archive-keyring"), "{error}");
}

#[test]
fn the_plugin_configuration_keeps_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("lib \"x\": y.so");
    std::fs::write(&plugin, "").unwrap();
    let yaml = plugin_config(&plugin, "a: \"10\"\nb:\n  - c: 1\n").unwrap();
    let node = crate::yaml::parse(&yaml).unwrap();
    let Some(crate::yaml::Node::List(plugins)) = node.get("plugins") else { panic!("{yaml}") };
    let canonical = std::fs::canonicalize(&plugin).unwrap();
    assert_eq!(plugins[0].get("library_path").unwrap().text(), canonical.to_str());
    assert_eq!(plugins[0].get("init_config"), Some(&crate::yaml::parse("a: \"10\"\nb:\n  - c: 1").unwrap()));
    assert!(plugin_config(Path::new("/nonexistent.so"), "").is_err());
}

#[test]
fn events_keep_absent_apart_from_empty_and_unasked() {
    let line = r#"{"evt.num":7,"evt.time":9,"a.none":null,"a.empty":"","a.list":["x","y z"],
        "a.nasty":"a\nb\t\ufffd\"|"}"#;
    let event =
        Event::from_json(line, &["a.none", "a.empty", "a.list", "a.nasty", "evt.num", "a.none"]).unwrap();
    assert_eq!((event.num, event.time), (7, 9));
    assert_eq!(event.value("a.none").unwrap(), None);
    assert_eq!(event.text("a.empty").unwrap().as_deref(), Some(""));
    assert_eq!(event.value("a.list").unwrap(), Some(&json!(["x", "y z"])));
    assert_eq!(event.text("a.list").unwrap().as_deref(), Some("(x,y z)"));
    assert_eq!(event.text("a.nasty").unwrap().as_deref(), Some("a\nb\t\u{fffd}\"|"));
    assert!(event.value("a.nonn").is_err());
    assert!(Event::from_json(line, &["a.other"]).is_err());
    for bad in ["", "7", "{}", "{\"evt.num\":1}", "garbage"] {
        assert!(Event::from_json(bad, &[]).is_err(), "{bad:?}");
    }
}

#[test]
fn the_number_of_events_is_read() {
    let said = "Driver Drops:0\nElapsed time: 0.019, Captured Events: 52729, 2704467.35 eps\n";
    assert_eq!(sysdig::total(said), Some(52_729));
    assert_eq!(sysdig::total("nothing"), None);
}

#[test]
fn falcos_lines_are_told_from_its_summary() {
    let out = "{\"rule\":\"R\",\"output_fields\":{}}\n\nEvents detected: 1\n{\"time\":\"x\"}\n\
        Rule counts by severity:\n";
    assert_eq!(falco::alerts(out).len(), 1);
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("r.yaml");
    std::fs::write(&rules, "").unwrap();
    let replay = Replay { plugin: Some(&rules), init_config: "a: b", capture: &rules };
    let yaml = crate::yaml::parse(&falco::config(&replay, &rules).unwrap()).unwrap();
    assert_eq!(yaml.get("engine").unwrap().get("kind").unwrap().text(), Some("replay"));
    assert_eq!(yaml.get("json_output").unwrap().text(), Some("true"));
}

proptest::proptest! {
    #[test]
    fn no_apt_source_panics(text in r"(deb|URIs:|Types:|[\[\]# \n:]|[a-z]{1,4}){0,30}") {
        let _ = (one_line(&text), deb822(&text));
    }
}

/// An executable script that stands in for an engine. Written by a shell: a file this process holds open for
/// writing could not be executed while another test forks.
fn script(path: &Path, body: &str) {
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", r#"printf '%s' "$2" > "$1" && chmod +x "$1""#, "sh"])
        .arg(path)
        .arg(format!("#!/bin/sh\n{body}"));
    assert!(shell.status().unwrap().success());
}

#[test]
fn falco_evaluates_the_rules_itself() {
    let dir = tempfile::tempdir().unwrap();
    let falco = dir.path().join("falco");
    let version = "if [ \"$1\" = --version ]; then echo 'Falco version: 0.43.1 (x86_64)'; \
                   echo 'Libs version:  0.23.2'; exit; fi\n";
    // Prints the alert only when it was given a configuration that replays.
    script(
        &falco,
        &format!(
            "{version}grep -q 'kind: replay' \"$2\" || exit 1\n\
             echo '{{\"output\":\"o\",\"output_fields\":{{\"evt.time\":1}},\"priority\":\"Notice\",\
             \"rule\":\"R\",\"source\":\"syscall\",\"tags\":[],\"time\":\"t\"}}'\n\
             echo 'Events detected: 1'\n"
        ),
    );
    let engine = Engine::find(&Choice::Path(falco.clone())).unwrap();
    assert_eq!(engine.describe(), "falco 0.43.1 (libsinsp 0.23.2)");
    let rules = dir.path().join("rules.yaml");
    std::fs::write(&rules, "").unwrap();
    let replay = Replay { plugin: None, init_config: "", capture: &rules };
    let evaluation = crate::alerts::evaluate(&engine, &replay, &rules).unwrap();
    assert_eq!(crate::alerts::totals(&evaluation), "1 alert: 1 Notice");
    assert!(engine.replay(&replay, "", &[]).is_err(), "falco gives no fields");

    script(&falco, &format!("{version}echo 'Error: cannot load plugin' >&2; exit 1\n"));
    let error = format!("{:#}", crate::alerts::evaluate(&engine, &replay, &rules).unwrap_err());
    assert!(error.contains("cannot load plugin"), "{error}");
}

#[test]
fn an_engine_that_is_too_old_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("sysdig");
    script(
        &old,
        "case $1 in --libs-version) echo 'falcosecurity/libs version 0.9.40';; \
         *) echo 'sysdig version 0.29.3';; esac\n",
    );
    let error = format!("{:#}", Engine::find(&Choice::Path(old)).unwrap_err());
    assert!(error.contains("0.9.40") && error.contains("0.23.0"), "{error}");
    assert!(Engine::find(&Choice::Path(dir.path().join("gone"))).is_err());
    // A build with libs of one's own, which have no version.
    for (version, does) in [("0.44.1", true), ("0.43.0", true), ("0.42.1", false)] {
        let local = dir.path().join(format!("falco-{version}"));
        script(
            &local,
            &format!("echo 'Falco version: {version} (x86_64)'; echo 'Libs version:  0.0.0-local'\n"),
        );
        assert_eq!(Engine::find(&Choice::Path(local)).is_ok(), does, "{version}");
    }
}

#[test]
fn the_shipped_falco_configuration_loads_the_plugin() {
    use crate::yaml::{parse, Node};
    for (file, loads) in
        [("falco.drift_plugin.yaml", vec!["drift"]), ("falco.yaml.example", vec!["container", "drift"])]
    {
        let text = std::fs::read_to_string(crate::workspace_dir().join(file)).unwrap();
        let config = parse(&text).unwrap();
        let texts = |node: &Node| match node {
            Node::List(items) => {
                items.iter().map(|i| i.text().unwrap_or_default().to_owned()).collect::<Vec<_>>()
            }
            other => panic!("{file}: {other:?}"),
        };
        assert_eq!(texts(config.get("load_plugins").unwrap()), loads, "{file}");
        let Some(Node::List(plugins)) = config.get("plugins") else { panic!("{file}: no plugins") };
        let drift = plugins.iter().find(|p| p.get("name").and_then(Node::text) == Some("drift")).unwrap();
        assert_eq!(drift.get("library_path").and_then(Node::text), Some("libdrift.so"), "{file}");
        if let Some(rules) = config.get("rules_files") {
            assert!(texts(rules)[0].ends_with("/drift_rules.yaml"), "ours before falco_rules.yaml");
        }
    }
}

/// The engine itself, with and without what it must refuse. Needs the network the first time.
#[test]
fn a_real_engine_replays() {
    const NAME: &str = "a_real_engine_replays";
    let engine = match Engine::sysdig() {
        Ok(engine) => engine,
        Err(e) => return skip(NAME, &format!("{e:#}")),
    };
    assert!(engine.describe().starts_with("sysdig "), "{}", engine.describe());
    let capture = crate::workspace_dir().join("demo/binary.scap");
    let replay = Replay { plugin: None, init_config: "", capture: &capture };
    let marker =
        |n: u32| format!("evt.type in (execve, execveat) and evt.rawres = 0 and proc.args = scn-{n:02}");
    // From scenarios/binary.sh: names with a blank, with UTF-8, with a byte that is none.
    for (n, want) in [(32, "/tmp/sp ace32"), (33, "/tmp/été-33"), (34, "/tmp/bad\u{fffd}-34")] {
        let got = engine.replay(&replay, &marker(n), &["proc.exepath", "fd.name"]).unwrap();
        assert_eq!(got.total, 52_729);
        assert_eq!(got.events.len(), 1, "scn-{n}");
        assert_eq!(got.events[0].text("proc.exepath").unwrap().as_deref(), Some(want));
        assert_eq!(got.events[0].text("fd.name").unwrap(), None);
    }
    let error = |replay: &Replay, filter: &str, field: &str| {
        format!("{:#}", engine.replay(replay, filter, &[field]).expect_err("must be refused"))
    };
    assert!(error(&replay, "", "proc.nonsense").contains("proc.nonsense"));
    assert!(error(&replay, "proc.name =", "proc.name").contains("filter"));
    let gone = Path::new("/nonexistent.scap");
    assert!(error(&Replay { capture: gone, ..replay.clone() }, "", "proc.name").contains("No such file"));
    let no_plugin = tempfile::NamedTempFile::new().unwrap();
    let broken = Replay { plugin: Some(no_plugin.path()), ..replay };
    assert!(error(&broken, "", "proc.name").contains("cannot load plugin"));
}
