use super::*;

#[test]
fn a_case_says_what_happens() {
    let cases = parse(
        "- case: a\n  rule: R\n  alerts: true\n  age: 30\n  mounts: [{target: /v, source: /srv/v, type: \
         ext4}]\n  events:\n  \
         - exec: /tmp/x --now\n    layer: upper\n    under: [bash, cron]\n    as: x\n  \
         - open: /etc/passwd\n    process: x\n    write: true\n  \
         - bind: 0.0.0.0:53/udp\n    by: named\n  \
         - told: drift_file\n    payload: {file_change: created, n: 3, yes: true, no: ~, list: [a, b]}\n  \
         - found: {type: file}\n\
         - case: b\n  rule: R\n  alerts: false\n  events:\n  - exec: [sh, -c, a b]\n",
    )
    .unwrap();
    assert_eq!((cases[0].rule.as_str(), cases[0].alerts, cases[0].age, cases[1].age), ("R", true, 30, 3600));
    let Happening::Exec(x) = &cases[0].events[0] else { panic!() };
    assert_eq!((x.file.as_str(), x.argv.len(), x.layer, x.under.len()), ("/tmp/x", 2, Place::Upper, 2));
    let Happening::Exec(sh) = &cases[1].events[0] else { panic!() };
    assert_eq!((sh.file.as_str(), sh.argv[2].as_str()), ("/usr/bin/sh", "a b"));
    let Happening::Socket { call, address, port, udp, .. } = &cases[0].events[2] else { panic!() };
    assert_eq!((*call, *address, *port, *udp), (SocketCall::Bind, [0; 4], 53, true));
    let Happening::Told { payload, .. } = &cases[0].events[3] else { panic!() };
    let json = serde_json::to_string(payload).unwrap();
    assert_eq!(json, r#"{"file_change":"created","list":["a","b"],"n":3,"no":null,"yes":true}"#);
}

#[test]
fn what_no_case_has_is_refused() {
    let case = |rest: &str| format!("- case: a\n  rule: R\n  alerts: true\n{rest}");
    let bad = [
        case(""),
        case("  events: []\n"),
        case("  event:\n  - exec: x\n"),
        case("  events:\n  - run: x\n"),
        case("  events:\n  - exec: x\n    layr: upper\n"),
        case("  events:\n  - exec: x\n    layer: top\n"),
        case("  events:\n  - bind: 1.2.3.4/tcp\n"),
        case("  events:\n  - told: drift_file\n"),
        "- rule: R\n".to_owned(),
        format!("{0}{0}", case("  events:\n  - exec: x\n")),
    ];
    for text in bad {
        assert!(parse(&text).is_err(), "{text}");
    }
    let unknown = parse(&case("  events:\n  - open: /x\n    process: y\n")).unwrap();
    assert!(Capture::new(&unknown).is_err());
}

#[test]
fn each_case_has_its_own_time_and_container() {
    let case = |name: &str| format!("- case: {name}\n  rule: R\n  alerts: true\n  events:\n  - exec: x\n");
    let cases = parse(&format!("{}{}", case("a"), case("b"))).unwrap();
    let capture = Capture::new(&cases).unwrap();
    // A case's time and container are its own, whatever the others are.
    let alone = Capture::new(&cases[..1]).unwrap();
    assert_eq!(alone.container_of("a"), capture.container_of("a"));
    assert_eq!(alone.container_of("b"), None);
    assert_eq!(capture.case_at(0), None);
    let twice = [cases[0].clone(), cases[0].clone()];
    assert!(Capture::new(&twice).is_err());
    assert_ne!(capture.container_of("a"), capture.container_of("b"));
}
