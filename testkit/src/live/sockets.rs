//! The kernel probe's events of system calls on sockets, as libs 0.23's modern probe fills them in
//! (`syscall_dispatched_events/*.bpf.c`): those that give a socket its port or its peer, and what is received
//! by recvfrom.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::libc;
use nix::sys::socket::{getpeername, getsockname, SockaddrStorage};

use super::event::{Event, Kind};
use super::scap::Params;
use super::tracee;

const INET: u8 = 2;
const INET6: u8 = 10;
/// How much of what is received the events carry (Falco's `--snaplen`).
const SNAPLEN: usize = 512;

/// A call on a socket that has begun.
#[derive(Debug)]
pub(super) struct Entry {
    number: i64,
    args: [u64; 6],
}

/// The calls that are told.
const CALLS: [i64; 7] = [
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_connect,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
];

impl Entry {
    /// The call `number`; `None` when it is not one of these.
    pub(super) fn new(number: u64, args: [u64; 6]) -> Option<Self> {
        let number = i64::try_from(number).ok()?;
        CALLS.contains(&number).then_some(Self { number, args })
    }

    /// The event of the call of thread `tid`, which returns `result`: the thread stands there.
    pub(super) fn returned(&self, ts: u64, tid: i64, result: i64) -> Event {
        let begin = Params::default().i64(result);
        let [first, second, third, fourth, ..] = self.args;
        let fd = i64::from(first as i32);
        let block = match self.number {
            libc::SYS_socket => {
                begin.u32(first as u32).u32(second as u32).u32(third as u32).event(ts, tid, 19)
            }
            libc::SYS_bind => begin.bytes(&sockaddr(tid, second, third)).i64(fd).event(ts, tid, 21),
            libc::SYS_listen => begin.i64(fd).u32(second as u32).event(ts, tid, 25),
            libc::SYS_connect => {
                let target = sockaddr(tid, second, third);
                let made = result == 0 || result == -i64::from(libc::EINPROGRESS);
                let tuple = if made { tuple(ends(tid, fd).0, address_of(&target)) } else { Vec::new() };
                begin.bytes(&tuple).i64(fd).bytes(&target).event(ts, tid, 23)
            }
            libc::SYS_recvfrom => {
                let length = usize::try_from(result).unwrap_or(0).min(SNAPLEN);
                let data = tracee::bytes(tid, second, length);
                let (own, peer) = ends(tid, fd);
                let tuple = if result >= 0 { tuple(own, peer) } else { Vec::new() };
                begin.bytes(&data).bytes(&tuple).i64(fd).u32(third as u32).event(ts, tid, 35)
            }
            number => {
                let (own, peer) = ends(tid, result);
                let tuple = if result >= 0 { tuple(peer, own) } else { Vec::new() };
                let params = begin.bytes(&tuple).u8(0).u32(0).u32(5);
                match number {
                    libc::SYS_accept4 => params.u32(fourth as u32).event(ts, tid, 389),
                    _ => params.event(ts, tid, 247),
                }
            }
        };
        Event { ts, tid, kind: Kind::Call, block }
    }
}

/// Own and other address of a process's socket.
fn ends(tid: i64, fd: i64) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let Some(socket) = duplicate(tid, fd) else { return (None, None) };
    let own = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok();
    let peer = getpeername::<SockaddrStorage>(socket.as_raw_fd()).ok();
    (own.and_then(|a| plain(&a)), peer.and_then(|a| plain(&a)))
}

fn plain(address: &SockaddrStorage) -> Option<SocketAddr> {
    let four = address.as_sockaddr_in().map(|a| SocketAddr::from(std::net::SocketAddrV4::from(*a)));
    four.or_else(|| address.as_sockaddr_in6().map(|a| SocketAddr::from(std::net::SocketAddrV6::from(*a))))
}

/// Our own descriptor of a traced process's open file.
fn duplicate(tid: i64, fd: i64) -> Option<OwnedFd> {
    let own = |fd: libc::c_long| {
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: the system call has just made the descriptor, and nobody else knows of it.
        Some(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: numbers only.
    let process = own(unsafe { libc::syscall(libc::SYS_pidfd_open, tid as libc::pid_t, 0) })?;
    // SAFETY: numbers only.
    own(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd as libc::c_int, 0) })
}

/// Both ends, the source first; nothing where either is not known. The source's family counts.
fn tuple(source: Option<SocketAddr>, target: Option<SocketAddr>) -> Vec<u8> {
    let (Some(source), Some(target)) = (source, target) else { return Vec::new() };
    let family = if source.is_ipv4() { INET } else { INET6 };
    let mut out = vec![family];
    for end in [source, target] {
        push(&mut out, end, family);
    }
    out
}

fn push(out: &mut Vec<u8>, end: SocketAddr, family: u8) {
    match (end.ip(), family) {
        (IpAddr::V4(ip), INET) => out.extend(ip.octets()),
        (IpAddr::V4(ip), _) => out.extend(ip.to_ipv6_mapped().octets()),
        (IpAddr::V6(ip), _) => out.extend(ip.octets()),
    }
    out.extend(end.port().to_le_bytes());
}

/// An address as the probe packs it: from the traced process's memory.
fn sockaddr(tid: i64, address: u64, length: u64) -> Vec<u8> {
    const WHOLE: usize = std::mem::size_of::<libc::sockaddr_un>();
    let bytes = tracee::bytes(tid, address, usize::try_from(length).unwrap_or(0).min(WHOLE));
    let Some((family, rest)) = bytes.split_first_chunk::<2>() else { return Vec::new() };
    let port: Vec<u8> = rest.iter().take(2).rev().copied().collect();
    match i32::from(u16::from_le_bytes(*family)) {
        libc::AF_INET => [&[INET][..], rest.get(2..6).unwrap_or_default(), &port].concat(),
        libc::AF_INET6 => [&[INET6][..], rest.get(6..22).unwrap_or_default(), &port].concat(),
        libc::AF_UNIX => {
            let path = rest.split(|byte| *byte == 0).find(|part| !part.is_empty()).unwrap_or_default();
            [&[1][..], path, &[0]].concat()
        }
        _ => Vec::new(),
    }
}

/// The address that was packed.
fn address_of(packed: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = packed.split_first()?;
    let (address, port) = rest.split_last_chunk::<2>()?;
    let ip = match *family {
        INET => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        INET6 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_le_bytes(*port)))
}
