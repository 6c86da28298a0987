//! `bind`: the call that gives a socket its port. No I/O.
//!
//! Code and parameters: falcosecurity/libs `driver/event_table.c`, the same from tag 0.20.0 on; addresses as
//! `fd_to_socktuple` and `pack_addr` in `driver/ppm_fillers.c` write them.

use super::raw::SyscallEvent;

/// `PPME_SOCKET_BIND_X`: result, address, descriptor.
const BIND: u16 = 21;
/// `PPM_AF_INET`: address, port.
const INET: u8 = 2;
/// `PPM_AF_INET6`.
const INET6: u8 = 10;

/// A socket that was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Descriptor.
    pub fd: i64,
    /// Port; never 0, by which the caller leaves the choice to the kernel.
    pub port: u16,
    /// Whether the engine keeps it as an IPv6 socket; one with a mapped IPv4 address it does not.
    pub is_ipv6: bool,
}

/// What a successful bind of an IP socket says; `None` for other calls and sockets.
pub fn bound(event: &SyscallEvent<'_>) -> Option<Bound> {
    if event.code != BIND || event.i64_param(0)? < 0 {
        return None;
    }
    let (family, address) = event.param(1)?.split_first()?;
    let (address, port) = match *family {
        INET => (address.get(..4)?, address.get(4..6)?),
        INET6 => (address.get(..16)?, address.get(16..18)?),
        _ => return None,
    };
    const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let port = u16::from_ne_bytes(port.try_into().ok()?);
    let is_ipv6 = *family == INET6 && !address.starts_with(&MAPPED);
    (port != 0).then_some(Bound { fd: event.i64_param(2)?, port, is_ipv6 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::raw::tests::event;

    #[test]
    fn only_successful_binds_of_ip_sockets_count() {
        let of = |code, result: i64, address: &[u8]| {
            let (result, fd) = (result.to_ne_bytes(), 3i64.to_ne_bytes());
            let bytes = event(code, 7, &[&result, address, &fd]);
            bound(&SyscallEvent::from_bytes(&bytes).unwrap())
        };
        let port = 8080u16.to_ne_bytes();
        let v4 = [&[INET, 127, 0, 0, 1][..], &port].concat();
        let v6 = [&[INET6][..], &[0; 15], &[1], &port].concat();
        let mapped = [&[INET6][..], &[0; 10], &[0xff, 0xff, 127, 0, 0, 1], &port].concat();
        let found = |is_ipv6| Some(Bound { fd: 3, port: 8080, is_ipv6 });
        assert_eq!(of(BIND, 0, &v4), found(false));
        assert_eq!(of(BIND, 0, &v6), found(true));
        assert_eq!(of(BIND, 0, &mapped), found(false));
        assert_eq!(of(BIND, -98, &v4), None);
        assert_eq!(of(25, 0, &v4), None);
        assert_eq!(of(BIND, 0, &[INET, 0, 0, 0, 0, 0, 0]), None, "the kernel chooses");
        assert_eq!(of(BIND, 0, b"\x01/tmp/sock\0"), None);
        for cut in 0..v6.len() {
            assert_eq!(of(BIND, 0, &v6[..cut]), None);
        }
    }
}
