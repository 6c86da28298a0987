use super::*;
use proptest::prelude::*;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../tests/fixtures/declared/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn what_containerd_wrote_is_read() {
    let run = RunSpec::parse(&fixture("containerd-config.json")).unwrap();
    assert_eq!(run.args, ["/bin/w", "a", "b"]);
    let names: Vec<&str> = run.env.iter().map(EnvVar::name).collect();
    assert_eq!(names, ["PATH", "APP_ENV", "SECRET"]);
    assert!(run.env[2].value_is(b"planted1"));
    assert!(run.masked && run.capabilities.contains("CAP_CHOWN") && run.capabilities.len() == 14);
    assert_eq!(run.namespaces.get("network"), Some(&false));
    assert!(run.binds.is_empty());
    assert!(!format!("{run:?}").contains("planted"), "{run:?}");
}

#[test]
fn what_podman_wrote_is_read() {
    let run = RunSpec::parse(&fixture("podman-config.json")).unwrap();
    assert_eq!(run.args, ["/bin/w", "x", "y"]);
    let data = Bind { source: "/srv/layout".into(), destination: "/data".into(), read_only: false };
    assert_eq!(run.binds[0], data);
    assert_eq!(run.annotation("io.podman.annotations.privileged"), Some("FALSE"));
    assert_eq!(run.annotation("io.container.manager"), None, "of no use, so not kept");
}

#[test]
fn the_last_of_ro_and_rw_counts() {
    for (options, read_only) in [
        (r#"["rbind","ro"]"#, true),
        (r#"["rbind","ro","rw"]"#, false),
        (r#"["rbind","rro"]"#, true),
        (r#"["rbind"]"#, false),
    ] {
        let json = format!(
            r#"{{"process":{{}},"mounts":[{{"destination":"/d","source":"/s","options":{options}}},{{"destination":"/p","type":"proc","source":"proc"}}]}}"#
        );
        let run = RunSpec::parse(json.as_bytes()).unwrap();
        assert_eq!(run.binds.iter().map(|b| b.read_only).collect::<Vec<_>>(), [read_only], "{options}");
    }
}

#[test]
fn half_written_files_are_errors_that_hold_no_values() {
    let whole = fixture("containerd-config.json");
    let end = whole.iter().rposition(|b| *b == b'}').unwrap();
    for cut in 0..=end {
        let why = RunSpec::parse(&whole[..cut]).unwrap_err();
        assert!(!format!("{why} {why:?}").contains("planted"), "{why:?}");
    }
    assert!(RunSpec::parse(b"{}").is_err(), "no process");
    let why = RunSpec::parse(br#"{"process":{"env":"A=planted"}}"#).unwrap_err();
    assert!(!format!("{why} {why:?}").contains("planted"), "{why:?}");
    let deep = [b"{\"process\":".to_vec(), b"[".repeat(100_000)].concat();
    assert!(RunSpec::parse(&deep).is_err());
}

proptest! {
    #[test]
    fn never_panics(json in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = RunSpec::parse(&json);
    }
}
