//! Calls that give a socket its port or its peer: `bind`, `listen`, `connect`, `accept`. No I/O.
//!
//! Codes and parameters: falcosecurity/libs `driver/event_table.c`, the same from tag 0.20.0 on but for
//! `listen`, whose exit event had no descriptor before its enter event was given up; addresses as `pack_addr`
//! and `fd_to_socktuple` in `driver/ppm_fillers.c` write them.

use super::raw::SyscallEvent;
use drift_core::network::Direction;
use drift_formats::ports::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Event codes, `PPME_SOCKET_*`.
mod code {
    pub const BIND_X: u16 = 21;
    pub const CONNECT_X: u16 = 23;
    pub const LISTEN_E: u16 = 24;
    pub const LISTEN_X: u16 = 25;
    pub const RECVFROM_X: u16 = 35;
    pub const RECVMSG_X: u16 = 53;
    pub const ACCEPT_5_X: u16 = 247;
    pub const ACCEPT4_5_X: u16 = 249;
    pub const ACCEPT4_6_X: u16 = 389;
}

/// `PPM_AF_INET`.
const INET: u8 = 2;
/// `PPM_AF_INET6`.
const INET6: u8 = 10;
/// A connection is being made; its result comes later.
const EINPROGRESS: i64 = -115;

/// A socket as the engine's table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Protocol.
    pub protocol: Protocol,
    /// Own address.
    pub address: IpAddr,
    /// Own port, where it was bound to one; 0 else.
    pub bound_port: u16,
}

/// A call that makes a port of the container's its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// `bind` to a port; never 0, by which the caller leaves the choice to the kernel.
    Bind {
        /// Descriptor.
        fd: i64,
        /// Port.
        port: u16,
        /// Address.
        address: IpAddr,
    },
    /// `listen`; the port is that of the `bind` before.
    Listen {
        /// Descriptor.
        fd: i64,
    },
}

/// What a successful bind of an IP socket, or a listen, says; `None` for other calls and sockets.
pub fn claim(event: &SyscallEvent<'_>) -> Option<Claim> {
    match event.code {
        code::BIND_X if event.i64_param(0)? >= 0 => {
            let (address, port) = address(event.param(1)?)?;
            (port != 0).then_some(Claim::Bind { fd: event.i64_param(2)?, port, address })
        }
        // Of an old engine: before the call, which fails on the rarest occasions.
        code::LISTEN_E => Some(Claim::Listen { fd: event.i64_param(0)? }),
        code::LISTEN_X if event.i64_param(0)? >= 0 => Some(Claim::Listen { fd: event.i64_param(1)? }),
        _ => None,
    }
}

/// The other side of a connection. (A datagram's is not looked at: its event does not tell a server's reply
/// from a call.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// Who began it.
    pub direction: Direction,
    /// Descriptor.
    pub fd: i64,
    /// The other side's address; an IPv4 address mapped into IPv6 is the IPv4 address.
    pub peer: IpAddr,
    /// Port of the server: the other side's where the container began, else the container's.
    pub port: u16,
    /// The other side is this machine, or the container itself.
    pub is_local: bool,
    /// Protocol, where the call tells it.
    pub protocol: Option<Protocol>,
}

/// What a connection that was made or is being made says; `None` for other calls and sockets.
pub fn contact(event: &SyscallEvent<'_>) -> Option<Contact> {
    let result = |made: fn(i64) -> bool| event.i64_param(0).filter(|res| made(*res));
    let (direction, fd, tuple, protocol) = match event.code {
        code::CONNECT_X => {
            result(|res| res >= 0 || res == EINPROGRESS)?;
            (Direction::Outbound, event.i64_param(2)?, event.param(1)?, None)
        }
        code::ACCEPT_5_X | code::ACCEPT4_5_X | code::ACCEPT4_6_X => {
            let fd = result(|fd| fd >= 0)?;
            (Direction::Inbound, fd, event.param(1)?, Some(Protocol::Tcp))
        }
        _ => return None,
    };
    let (source, target) = tuple_of(tuple)?;
    let ((peer, _), (own, _), port) = match direction {
        Direction::Outbound => (target, source, target.1),
        Direction::Inbound => (source, target, target.1),
    };
    let is_local = peer.is_loopback() || peer.is_unspecified() || peer == own;
    Some(Contact { direction, fd, peer, port, is_local, protocol })
}

/// Data of a datagram that came from port 53 of a nameserver, and that server's address; `None` for other
/// calls.
pub fn answer_of_nameserver<'a>(event: &SyscallEvent<'a>) -> Option<(IpAddr, &'a [u8])> {
    const DOMAIN: u16 = 53;
    let (data, tuple) = match event.code {
        code::RECVFROM_X => (event.param(1)?, event.param(2)?),
        code::RECVMSG_X => (event.param(2)?, event.param(3)?),
        _ => return None,
    };
    if event.i64_param(0)? <= 0 {
        return None;
    }
    // Received: from the source to the target. Of a connected socket the order may be the connection's.
    let ((source, from), (target, to)) = tuple_of(tuple)?;
    match (from, to) {
        (DOMAIN, _) => Some((source, data)),
        (_, DOMAIN) => Some((target, data)),
        _ => None,
    }
}

type End = (IpAddr, u16);

/// Source and target.
fn tuple_of(tuple: &[u8]) -> Option<(End, End)> {
    let (family, rest) = tuple.split_first()?;
    let width = match *family {
        INET => 6,
        INET6 => 18,
        _ => return None,
    };
    let (source, target) = rest.split_at_checked(width)?;
    Some((end(source)?, end(target.get(..width)?)?))
}

fn address(sockaddr: &[u8]) -> Option<End> {
    let (family, rest) = sockaddr.split_first()?;
    match *family {
        INET => end(rest.get(..6)?),
        INET6 => end(rest.get(..18)?),
        _ => None,
    }
}

/// An address with a port behind it.
fn end(bytes: &[u8]) -> Option<End> {
    let (address, port) = bytes.split_last_chunk::<2>()?;
    let address = match address.len() {
        4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).to_canonical(),
    };
    Some((address, u16::from_ne_bytes(*port)))
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
