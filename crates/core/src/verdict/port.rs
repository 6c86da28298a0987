//! Ports that a container's programs open: who can reach them, which are a client's, and which are one thing.
//!
//! The event of a port and the comparison of a running container ask the same here.

use drift_formats::path_key::value_key;
use drift_formats::ports::Protocol;
use std::net::IpAddr;

/// Ports that the kernel gives to sockets which ask for none (`ip_local_port_range`, its default; a network
/// namespace's own range cannot be seen from outside it). Programs choose from them as well.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32768..=60999;

/// Who can reach a port, by the addresses that it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Processes of the same network namespace: the container's, or its pod's.
    Loopback,
    /// Neighbours on the same link.
    Link,
    /// Whoever reaches one address.
    Address,
    /// Whoever reaches the container.
    Any,
    /// Whoever reaches the node: the container has the host's network.
    Host,
}

impl Scope {
    /// Every scope, for docs and tests.
    pub const ALL: [Self; 5] = [Self::Loopback, Self::Link, Self::Address, Self::Any, Self::Host];

    /// The widest of some addresses.
    pub fn of(addresses: impl IntoIterator<Item = IpAddr>, has_hosts_network: bool) -> Self {
        let widest = addresses.into_iter().map(Self::of_address).max().unwrap_or(Self::Any);
        match widest {
            Self::Loopback | Self::Link => widest,
            _ if has_hosts_network => Self::Host,
            _ => widest,
        }
    }

    fn of_address(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let is_link = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        match address {
            _ if address.is_loopback() => Self::Loopback,
            _ if address.is_unspecified() => Self::Any,
            _ if is_link => Self::Link,
            _ => Self::Address,
        }
    }

    /// The value of `drift.port_scope`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Link => "link",
            Self::Address => "address",
            Self::Any => "any",
            Self::Host => "host",
        }
    }
}

/// Whether the kernel may have given a port out.
pub fn is_given_out(port: u16) -> bool {
    EPHEMERAL.contains(&port)
}

/// Whether a port is one that a client calls from: UDP, among those that the kernel gives out, and bound by a
/// program of the image.
pub fn is_clients(protocol: Protocol, port: u16, is_images_program: bool) -> bool {
    protocol == Protocol::Udp && is_given_out(port) && is_images_program
}

/// What an alert is about: two ports with the same key are one thing.
///
/// Runtimes open ports of their own for helpers, another one each time (Erlang's distribution, JMX, RMI): of
/// those that the kernel might have given out, all of one program are one thing.
pub fn thing(protocol: Protocol, port: u16, program: &[u8]) -> (Protocol, u16, u64) {
    match is_given_out(port) {
        true => (protocol, *EPHEMERAL.start(), value_key(program)),
        false => (protocol, port, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_address_counts() {
        let cases: [(&[&str], bool, Scope); 13] = [
            (&["127.0.0.1"], false, Scope::Loopback),
            (&["127.8.0.1", "::1"], false, Scope::Loopback),
            (&["::ffff:127.0.0.1"], false, Scope::Loopback),
            (&["127.0.0.1"], true, Scope::Loopback),
            (&["127.0.0.1", "0.0.0.0"], false, Scope::Any),
            (&["::1", "10.0.0.9"], false, Scope::Address),
            (&["169.254.1.1"], false, Scope::Link),
            (&["fe80::1"], true, Scope::Link),
            (&["10.0.0.9"], false, Scope::Address),
            (&["::"], false, Scope::Any),
            (&["::"], true, Scope::Host),
            (&["10.0.0.9"], true, Scope::Host),
            (&[], false, Scope::Any),
        ];
        for (addresses, hosts, want) in cases {
            let parsed = addresses.iter().map(|address| address.parse().unwrap());
            assert_eq!(Scope::of(parsed, hosts), want, "{addresses:?}");
        }
    }

    #[test]
    fn clients_and_servers_are_told_apart() {
        for (protocol, port, is_images, want) in [
            (Protocol::Udp, 40_000, true, true),
            (Protocol::Udp, 40_000, false, false),
            (Protocol::Udp, 5353, true, false),
            (Protocol::Udp, 61_000, true, false),
            (Protocol::Tcp, 40_000, true, false),
        ] {
            assert_eq!(is_clients(protocol, port, is_images), want, "{protocol:?} {port} {is_images}");
        }
    }

    #[test]
    fn helpers_of_one_program_are_one_thing() {
        let of = |port, program: &str| thing(Protocol::Tcp, port, program.as_bytes());
        assert_eq!(of(35_672, "/usr/lib/erlang/beam"), of(35_680, "/usr/lib/erlang/beam"));
        assert_ne!(of(35_672, "/usr/lib/erlang/beam"), of(44_444, "/usr/bin/nc"), "another program's");
        assert_ne!(of(4444, "/usr/lib/erlang/beam"), of(4445, "/usr/lib/erlang/beam"), "a service's port");
        assert_eq!(of(4444, "/usr/bin/a"), of(4444, "/usr/bin/b"), "one port is one thing");
        assert_ne!(thing(Protocol::Udp, 53, b""), thing(Protocol::Tcp, 53, b""));
    }
}
