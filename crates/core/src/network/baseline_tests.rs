use super::*;
use proptest::prelude::*;

const FILE: &str = r#"
baselines:
  - images: ["registry.example/shop/*", nginx:1.25]
    outbound:
      - to: [10.0.0.0/8, "2001:db8::/32"]
        ports: [5432/tcp, 443]
      - to: ["*.example.com"]
        ports: [443]
      - to: ["::ffff:192.0.2.0/120"]
      - ports: [123/udp]
    inbound: []
  - images: ["*/proxy:*"]
    inbound:
      - from: [192.0.2.7]
        ports: [8000-8010/tcp]
"#;

fn peer(address: &str, port: u16) -> Peer<'static> {
    let address = address.parse().unwrap();
    Peer { direction: Direction::Outbound, address, name: None, port, protocol: Protocol::Tcp }
}

#[test]
fn peers_are_judged_by_all_baselines_of_the_image() {
    let all = Baselines::parse(FILE).unwrap();
    let shop = "registry.example/shop/cart:2";
    for (image, address, port, want) in [
        (shop, "10.1.2.3", 5432, Some(true)),
        (shop, "10.1.2.3", 443, Some(true)),
        (shop, "10.1.2.3", 80, Some(false)),
        (shop, "11.1.2.3", 443, Some(false)),
        (shop, "2001:db8::5", 443, Some(true)),
        (shop, "192.0.2.99", 9, Some(true)),
        (shop, "192.0.3.99", 9, Some(false)),
        ("docker.io/library/nginx:1.25", "10.1.2.3", 443, None),
        ("nginx:1.25", "10.1.2.3", 443, Some(true)),
        ("nginx:1.26", "10.1.2.3", 443, None),
        ("registry.example/proxy:1", "10.1.2.3", 443, None),
    ] {
        assert_eq!(all.expect(&all.of(image), &peer(address, port)), want, "{image} {address} {port}");
    }
    let ntp = Peer { protocol: Protocol::Udp, ..peer("198.51.100.1", 123) };
    assert_eq!(all.expect(&all.of(shop), &ntp), Some(true));
    assert_eq!(all.expect(&all.of(shop), &Peer { protocol: Protocol::Tcp, ..ntp }), Some(false));
    let inbound = |address, port| Peer { direction: Direction::Inbound, ..peer(address, port) };
    assert_eq!(
        all.expect(&all.of(shop), &inbound("10.1.2.3", 443)),
        Some(false),
        "an empty list expects nobody"
    );
    let proxy = "registry.example/proxy:1";
    assert_eq!(all.expect(&all.of(proxy), &inbound("192.0.2.7", 8001)), Some(true));
    assert_eq!(all.expect(&all.of(proxy), &inbound("192.0.2.8", 8001)), Some(false));
}

#[test]
fn names_match_whole_labels_and_more() {
    let all = Baselines::parse(FILE).unwrap();
    let to = |name| Peer { name: Some(name), ..peer("198.51.100.1", 443) };
    let shop = "registry.example/shop/cart:2";
    assert_eq!(all.expect(&all.of(shop), &to("api.example.com")), Some(true));
    assert_eq!(all.expect(&all.of(shop), &to("a.b.example.com")), Some(true));
    assert_eq!(all.expect(&all.of(shop), &to("example.com")), Some(false));
    assert_eq!(all.expect(&all.of(shop), &to("evilexample.com")), Some(false));
    assert_eq!(all.expect(&all.of(shop), &to("api.example.com.evil.example")), Some(false));
}

#[test]
fn a_glob_may_name_images_long_or_short() {
    let all = Baselines::parse("baselines: [{images: ['docker.io/library/*'], outbound: []}]").unwrap();
    assert_eq!(all.expect(&all.of("nginx:1.25"), &peer("10.0.0.1", 1)), Some(false));
    assert_eq!(all.expect(&all.of("bitnami/nginx:1.25"), &peer("10.0.0.1", 1)), None);
}

#[test]
fn nothing_said_is_nothing_known() {
    for text in ["", "baselines:\n", "baselines: []\n", "{}"] {
        let all = Baselines::parse(text).unwrap();
        assert_eq!(all.expect(&all.of("a"), &peer("10.0.0.1", 1)), None, "{text}");
    }
}

#[test]
fn mistakes_are_named() {
    for (text, why) in [
        ("baseline: []", "unknown field `baseline`"),
        ("[]", "expected a map with the key `baselines`"),
        ("text", "expected a map with the key `baselines`"),
        ("baselines: [{images: []}]", "baselines[0]: images: no image"),
        ("baselines: [{outbound: []}]", "missing field `images`"),
        ("baselines: [{images: ['[a']}]", "\"[a\" is no glob"),
        ("baselines: [{images: [a], outbound: [{from: [10.0.0.1]}]}]", "outbound[0]"),
        (
            "baselines: [{images: [a], outbound: [{to: [10.0.0.1/33]}]}]",
            "outbound[0].\"10.0.0.1/33\" is no network",
        ),
        ("baselines: [{images: [a], outbound: [{to: ['10.0.0.*']}]}]", "\"10.0.0.*\" is no network"),
        ("baselines: [{images: [a], inbound: [{ports: [99999]}]}]", "a port such as"),
        ("baselines: [{images: [a], inbound: [{ports: [x/tcp]}]}]", "\"x/tcp\" is no port"),
        ("baselines: [{images: [a]", "line"),
    ] {
        let error = Baselines::parse(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn never_panics(text in "(baselines:|images:|outbound:|to:|ports:|[\\[\\]{}, \\n0-9./:*a-z-]){0,40}") {
        let _ = Baselines::parse(&text);
    }
}
