use super::*;
use crate::event::raw::tests::event;

const FD: [u8; 8] = 3i64.to_ne_bytes();

fn v4(address: [u8; 4], port: u16) -> Vec<u8> {
    [&address[..], &port.to_ne_bytes()].concat()
}

fn v6(address: &str, port: u16) -> Vec<u8> {
    let address: Ipv6Addr = address.parse().unwrap();
    [&address.octets()[..], &port.to_ne_bytes()].concat()
}

fn with(family: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    [vec![family], parts.concat()].concat()
}

fn claimed(code: u16, params: &[&[u8]]) -> Option<Claim> {
    let bytes = event(code, 7, params);
    claim(&SyscallEvent::from_bytes(&bytes).unwrap())
}

fn contacted(code: u16, params: &[&[u8]]) -> Option<Contact> {
    let bytes = event(code, 7, params);
    contact(&SyscallEvent::from_bytes(&bytes).unwrap())
}

#[test]
fn only_successful_binds_of_ip_sockets_count() {
    let of = |result: i64, address: &[u8]| claimed(code::BIND_X, &[&result.to_ne_bytes(), address, &FD]);
    let found = |address: &str| Some(Claim::Bind { fd: 3, port: 8080, address: address.parse().unwrap() });
    let whole = with(INET6, &[v6("::1", 8080)]);
    assert_eq!(of(0, &with(INET, &[v4([127, 0, 0, 1], 8080)])), found("127.0.0.1"));
    assert_eq!(of(0, &whole), found("::1"));
    assert_eq!(of(-98, &with(INET, &[v4([127, 0, 0, 1], 8080)])), None);
    assert_eq!(of(0, &with(INET, &[v4([0; 4], 0)])), None, "the kernel chooses");
    assert_eq!(of(0, b"\x01/tmp/sock\0"), None);
    for cut in 0..whole.len() {
        assert_eq!(of(0, &whole[..cut]), None);
    }
}

#[test]
fn listens_have_a_descriptor_in_either_event() {
    let ok = 0i64.to_ne_bytes();
    let backlog = 1u32.to_ne_bytes();
    let found = Some(Claim::Listen { fd: 3 });
    assert_eq!(claimed(code::LISTEN_X, &[&ok, &FD, &backlog]), found);
    assert_eq!(claimed(code::LISTEN_X, &[&(-98i64).to_ne_bytes(), &FD, &backlog]), None);
    assert_eq!(claimed(code::LISTEN_X, &[&ok]), None, "an old engine's");
    assert_eq!(claimed(code::LISTEN_E, &[&FD, &backlog]), found);
}

#[test]
fn peers_are_told_by_direction() {
    let tuple = |family, a: Vec<u8>, b: Vec<u8>| with(family, &[a, b]);
    let there = tuple(INET, v4([10, 0, 0, 2], 40_000), v4([93, 184, 216, 34], 443));
    let outbound = |result: i64, tuple: &[u8]| {
        let found = contacted(code::CONNECT_X, &[&result.to_ne_bytes(), tuple, &FD, &[]])?;
        Some((found.peer.to_string(), found.port, found.is_local))
    };
    let far = |address: &str, port| Some((address.to_owned(), port, false));
    assert_eq!(outbound(0, &there), far("93.184.216.34", 443));
    assert_eq!(outbound(-115, &there), far("93.184.216.34", 443), "not blocking");
    assert_eq!(outbound(-111, &there), None, "refused");
    assert_eq!(outbound(0, b""), None);
    let mapped = tuple(INET6, v6("::ffff:10.0.0.2", 40_000), v6("::ffff:93.184.216.34", 443));
    assert_eq!(outbound(0, &mapped), far("93.184.216.34", 443));
    let six = tuple(INET6, v6("fd00::2", 40_000), v6("2001:db8::1", 443));
    assert_eq!(outbound(0, &six), far("2001:db8::1", 443));
    for cut in 0..six.len() {
        assert_eq!(outbound(0, &six[..cut]), None);
    }
    for local in [
        tuple(INET, v4([127, 0, 0, 1], 4), v4([127, 8, 0, 1], 5)),
        tuple(INET, v4([10, 0, 0, 2], 4), v4([10, 0, 0, 2], 5)),
        tuple(INET, v4([0; 4], 4), v4([0; 4], 5)),
        tuple(INET6, v6("::1", 4), v6("::1", 5)),
        tuple(INET6, v6("::", 4), v6("::ffff:127.0.0.1", 5)),
    ] {
        assert!(outbound(0, &local).unwrap().2, "{local:?}");
    }

    let accepted = tuple(INET, v4([10, 0, 0, 9], 51_000), v4([10, 0, 0, 2], 8080));
    let fd5 = 5i64.to_ne_bytes();
    let queue = 0u32.to_ne_bytes();
    for code in [code::ACCEPT_5_X, code::ACCEPT4_5_X, code::ACCEPT4_6_X] {
        let found = contacted(code, &[&fd5, &accepted, &[0], &queue, &queue]).unwrap();
        let expected = (Direction::Inbound, 5, "10.0.0.9".to_owned(), 8080, false);
        assert_eq!((found.direction, found.fd, found.peer.to_string(), found.port, found.is_local), expected);
        assert_eq!(contacted(code, &[&(-11i64).to_ne_bytes(), &accepted, &[0], &queue, &queue]), None);
    }
}

#[test]
fn answers_come_from_port_53_alone() {
    let server = v4([10, 96, 0, 10], 53);
    let own = v4([10, 0, 0, 2], 40_000);
    let of = |tuple: &[u8], result: i64| {
        let bytes =
            event(code::RECVFROM_X, 7, &[&result.to_ne_bytes(), b"data", tuple, &FD, &4u32.to_ne_bytes()]);
        let event = SyscallEvent::from_bytes(&bytes).unwrap();
        answer_of_nameserver(&event).map(|(server, data)| (server.to_string(), data.to_vec()))
    };
    let found = Some(("10.96.0.10".to_owned(), b"data".to_vec()));
    assert_eq!(of(&with(INET, &[server.clone(), own.clone()]), 4), found);
    assert_eq!(of(&with(INET, &[own.clone(), server.clone()]), 4), found);
    assert_eq!(of(&with(INET, &[server, own.clone()]), -11), None);
    assert_eq!(of(&with(INET, &[v4([10, 0, 0, 1], 80), own]), 4), None);
    assert_eq!(of(b"", 4), None);
}
