use super::*;
use drift_formats::ports::Protocol;
use proptest::prelude::*;

const IMAGE: &str = "registry.example/shop:2";

fn peer(direction: Direction, address: &str, port: u16) -> Peer<'static> {
    Peer { direction, address: address.parse().unwrap(), name: None, port, protocol: Protocol::Tcp }
}

fn out(address: &str, port: u16) -> Peer<'static> {
    peer(Direction::Outbound, address, port)
}

#[test]
fn an_image_learns_for_its_time_and_never_again() {
    let mut learned = Learned::new(100);
    assert_eq!(learned.judge(IMAGE, &out("10.0.0.1", 443)), Verdict::Learning(true));
    assert!(learned.add(IMAGE, LearnedPeer::of(&out("10.0.0.1", 443))));
    assert!(!learned.add(IMAGE, LearnedPeer::of(&out("10.0.0.1", 443))), "known");
    assert_eq!(learned.judge(IMAGE, &out("10.0.0.1", 443)), Verdict::Learning(false));
    assert!(!learned.watched(IMAGE, 99));
    assert_eq!(learned.judge(IMAGE, &out("10.0.0.2", 443)), Verdict::Learning(true));
    assert!(learned.watched(IMAGE, 1));
    assert!(!learned.watched(IMAGE, 1), "it ended before");
    assert_eq!(learned.judge(IMAGE, &out("10.0.0.1", 443)), Verdict::Expected);
    assert_eq!(learned.judge(IMAGE, &out("10.0.0.2", 443)), Verdict::Unexpected);
    assert_eq!(learned.judge(IMAGE, &out("10.0.0.1", 80)), Verdict::Unexpected);
    assert_eq!(learned.judge(IMAGE, &peer(Direction::Inbound, "10.0.0.1", 443)), Verdict::Unexpected);
    assert!(!learned.add(IMAGE, LearnedPeer::of(&out("10.0.0.2", 443))), "too late");
    assert_eq!(learned.judge("registry.example/shop:3", &out("10.0.0.1", 443)), Verdict::Learning(true));
}

#[test]
fn an_image_that_talked_to_nobody_expects_nobody() {
    let mut learned = Learned::new(100);
    assert!(learned.watched(IMAGE, 100));
    assert_eq!(learned.judge(IMAGE, &out("10.0.0.1", 443)), Verdict::Unexpected);
}

#[test]
fn clients_are_learned_by_network_and_servers_by_address_or_name() {
    let mut learned = Learned::new(1);
    let named = Peer { name: Some("api.example.com"), ..out("198.51.100.7", 443) };
    for seen in [
        out("10.0.0.1", 443),
        out("2001:db8::1", 443),
        peer(Direction::Inbound, "10.0.7.1", 8080),
        peer(Direction::Inbound, "2001:db8:1::1", 8080),
        named,
    ] {
        assert!(learned.add(IMAGE, LearnedPeer::of(&seen)));
    }
    learned.watched(IMAGE, 1);
    let expected = |peer: &Peer<'_>| learned.judge(IMAGE, peer) == Verdict::Expected;
    assert!(expected(&peer(Direction::Inbound, "10.0.7.200", 8080)));
    assert!(!expected(&peer(Direction::Inbound, "10.0.8.1", 8080)));
    assert!(expected(&peer(Direction::Inbound, "2001:db8:1::77", 8080)));
    assert!(!expected(&out("10.0.0.2", 443)));
    assert!(expected(&Peer { name: Some("api.example.com"), ..out("203.0.113.9", 443) }));
    assert!(!expected(&out("198.51.100.7", 443)), "the address alone says nothing");
}

#[test]
fn what_was_learned_is_stored_and_read_as_a_baseline() {
    let mut learned = Learned::new(100);
    assert!(Learned::parse(&learned.to_yaml(), 100).unwrap().is_empty());
    for seen in [
        out("10.0.0.2", 443),
        out("10.0.0.1", 443),
        Peer { protocol: Protocol::Udp, ..out("2001:db8::1", 123) },
        peer(Direction::Inbound, "10.0.7.1", 8080),
        Peer { name: Some("api.example.com"), ..out("198.51.100.7", 443) },
    ] {
        learned.add(IMAGE, LearnedPeer::of(&seen));
    }
    learned.watched(IMAGE, 60);
    learned.watched("docker.io/library/nginx:1", 5);
    let yaml = learned.to_yaml();
    let body = yaml.split_once("baselines:\n").unwrap().1;
    assert_eq!(
        body,
        r#"  - images: ["docker.io/library/nginx:1"]
    learned: {seconds: 5}
    outbound: []
    inbound: []
  - images: ["registry.example/shop:2"]
    learned: {seconds: 60}
    outbound:
      - to: ["10.0.0.1", "10.0.0.2", "api.example.com"]
        ports: [443/tcp]
      - to: ["2001:db8::1"]
        ports: [123/udp]
    inbound:
      - from: ["10.0.7.0/24"]
        ports: [8080/tcp]
"#
    );
    let again = Learned::parse(&yaml, 100).unwrap();
    assert_eq!(again.to_yaml(), yaml);
    assert_eq!(again.image(IMAGE), learned.image(IMAGE));
    let reviewed = Baselines::parse(&yaml).unwrap();
    assert_eq!(reviewed.expect(&reviewed.of(IMAGE), &out("10.0.0.1", 443)), Some(true));
    assert_eq!(reviewed.expect(&reviewed.of(IMAGE), &out("10.0.0.9", 443)), Some(false));
}

#[test]
fn what_is_too_much_is_not_kept_and_accuses_nobody() {
    let mut learned = Learned::new(100);
    for n in 0..=MAX_PEERS as u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
        learned.add(IMAGE, LearnedPeer::of(&out(&address, 443)));
    }
    learned.watched(IMAGE, 200);
    let known = learned.image(IMAGE).unwrap();
    assert!(known.is_full && known.peers.len() == MAX_PEERS);
    assert_eq!(learned.judge(IMAGE, &out("10.0.0.1", 443)), Verdict::Expected);
    assert_eq!(learned.judge(IMAGE, &out("192.0.2.1", 443)), Verdict::Unknown);
    let again = Learned::parse(&learned.to_yaml(), 100).unwrap();
    assert_eq!(again.judge(IMAGE, &out("192.0.2.1", 443)), Verdict::Unknown);

    let mut learned = Learned::new(100);
    for n in 0..MAX_IMAGES + 5 {
        learned.watched(&format!("app{n}:1"), 1);
    }
    assert_eq!(learned.len(), MAX_IMAGES);
    assert_eq!(learned.judge("other:1", &out("10.0.0.1", 443)), Verdict::Unknown);
}

#[test]
fn odd_names_of_images_are_not_learned() {
    let mut learned = Learned::new(100);
    for odd in ["", "a*", "[a]", "a{b,c}", "a\nb", &"x".repeat(600)] {
        assert!(!learned.add(odd, LearnedPeer::of(&out("10.0.0.1", 443))), "{odd:?}");
        assert!(!learned.watched(odd, 1));
        assert_eq!(learned.judge(odd, &out("10.0.0.1", 443)), Verdict::Unknown);
    }
}

#[test]
fn a_damaged_file_is_refused() {
    let mut learned = Learned::new(100);
    learned.add(IMAGE, LearnedPeer::of(&out("10.0.0.1", 443)));
    let yaml = learned.to_yaml();
    let cut = &yaml[..yaml.len() - 10];
    for damaged in [cut, "baselines: [{images: [a, b]}]", "baselines: [{images: ['a*']}]", "\0"] {
        assert!(Learned::parse(damaged, 100).is_err(), "{damaged:?}");
    }
}

proptest! {
    #[test]
    fn any_peers_survive_the_file(
        peers in proptest::collection::vec((any::<bool>(), any::<std::net::IpAddr>(), any::<u16>(), any::<bool>()), 0..40),
    ) {
        let mut learned = Learned::new(100);
        learned.watched(IMAGE, 7);
        for (inbound, address, port, udp) in peers {
            let direction = if inbound { Direction::Inbound } else { Direction::Outbound };
            let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
            let address = address.to_canonical();
            learned.add(IMAGE, LearnedPeer::of(&Peer { direction, address, name: None, port, protocol }));
        }
        let again = Learned::parse(&learned.to_yaml(), 100).unwrap();
        prop_assert_eq!(again.image(IMAGE), learned.image(IMAGE));
    }
}
