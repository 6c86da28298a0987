use super::*;

fn declared(args: &[&str]) -> Declared {
    Declared { args: Some(args.iter().map(|s| (*s).to_owned()).collect()), ..Declared::default() }
}

#[test]
fn the_first_process_is_compared_with_the_declaration() {
    let of = |args: &[&str], argv: &[&[u8]]| declared(args).runs_entrypoint(argv);
    assert_eq!(of(&["/bin/w", "a"], &[b"/bin/w", b"a"]), Some(true));
    assert_eq!(of(&["w", "a"], &[b"w", b"a"]), Some(true));
    assert_eq!(of(&["/bin/w", "a"], &[b"/bin/w"]), Some(false));
    assert_eq!(of(&["/bin/w"], &[b"/tmp/w"]), Some(false));
    assert_eq!(of(&["/bin/w"], &[]), Some(false));
    // Scripts, by path or found in PATH.
    assert_eq!(of(&["/entry.sh", "a"], &[b"/bin/sh", b"/entry.sh", b"a"]), Some(true));
    assert_eq!(of(&["entry.sh", "a"], &[b"/bin/sh", b"-e", b"/usr/bin/entry.sh", b"a"]), Some(true));
    assert_eq!(of(&["/entry.sh", "a"], &[b"/bin/sh", b"/other.sh", b"a"]), Some(false));
    // Arguments that the event cut.
    let long = "x".repeat(5000);
    let args = ["/bin/w", "a", long.as_str(), "z"];
    assert_eq!(of(&args, &[b"/bin/w", b"a", &long.as_bytes()[..4087]]), Some(true));
    assert_eq!(of(&args, &[b"/bin/w", b"b", &long.as_bytes()[..4087]]), Some(false));
}

#[test]
fn an_image_alone_cannot_say_that_something_else_was_declared() {
    let config = ImageConfig { cmd: vec!["sleep".into(), "1".into()], ..ImageConfig::default() };
    let declared = Declared::of_image(&config);
    assert_eq!(declared.runs_entrypoint(&[b"sleep", b"1"]), Some(true));
    assert_eq!(declared.runs_entrypoint(&[b"sleep", b"2"]), None);
    assert_eq!(Declared::of_image(&ImageConfig::default()).runs_entrypoint(&[b"x"]), None);
    assert_eq!(Declared::default().runs_entrypoint(&[b"x"]), None);
}

#[test]
fn the_digest_of_the_reference_is_the_one_that_is_shown() {
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    let image = |reference: &str, digests: &[Digest]| ImageIdentity {
        reference: Some(reference.to_owned()),
        digests: digests.to_vec(),
        ..ImageIdentity::default()
    };
    assert_eq!(image(&format!("app@{b}"), &[a, b]).digest(), Some(b));
    assert_eq!(image("app:1", &[a, b]).digest(), Some(a));
    assert_eq!(image("app:1", &[]).digest(), None);
    assert_eq!(image("app:1", &[]).is_pinned(), Some(false));
    assert_eq!(image(&format!("app:1@{a}"), &[]).is_pinned(), Some(true));
    assert_eq!(ImageIdentity::default().is_pinned(), None);
}

#[test]
fn ports_of_an_image_that_is_not_known_are_unknown() {
    assert_eq!(Declared::default().declares_port(Protocol::Tcp, 80), None);
    let config = ImageConfig { exposed_ports: ["8080/tcp".to_owned()].into(), ..ImageConfig::default() };
    let declared = Declared::of_image(&config);
    assert_eq!(declared.declares_port(Protocol::Tcp, 8080), Some(true));
    assert_eq!(declared.declares_port(Protocol::Udp, 8080), Some(false));
}
