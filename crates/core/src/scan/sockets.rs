//! `/proc/<pid>/net/{tcp,tcp6,udp,udp6}`: the ports that something listens on in a network namespace
//! (proc_pid_net(5)).
//!
//! Parsers take text of the kernel's own; a line that is not as expected is passed over. Invariant: bounded,
//! and what is beyond the bound is said.

use crate::host::Host;
use drift_formats::ports::Protocol;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Most bytes read of one table: some 100,000 sockets. Listening TCP sockets come first in it.
const MAX_TABLE: u64 = 16 << 20;

/// Longest line, bytes; the kernel's have 150 to 200.
const MAX_LINE: u64 = 512;

/// Most descriptors of one process that are looked at.
const MAX_DESCRIPTORS: usize = 65_536;

/// The tables, with what is in them.
pub(super) const TABLES: [(&str, Protocol); 4] =
    [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)];

/// A socket that waits for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Listener {
    /// Protocol.
    pub protocol: Protocol,
    /// Address it is bound to; unspecified for all.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// The socket's inode number, by which a process's descriptor is told.
    pub inode: u64,
}

/// Reads a table; `false` beside the sockets when there was more than is read.
///
/// # Errors
/// The kernel's. A kernel without IPv6 has no such file: that is no listener.
pub(super) fn read_table(path: &Path, protocol: Protocol) -> std::io::Result<(Vec<Listener>, bool)> {
    let file = match std::fs::File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), true)),
        other => other?,
    };
    parse(BufReader::with_capacity(64 << 10, file.take(MAX_TABLE)), protocol)
}

fn parse(mut table: impl BufRead, protocol: Protocol) -> std::io::Result<(Vec<Listener>, bool)> {
    let mut found = Vec::new();
    let (mut line, mut read) = (Vec::new(), 0);
    loop {
        line.clear();
        let len = (&mut table).take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
        read += len;
        if len == 0 {
            return Ok((found, read < MAX_TABLE));
        }
        if let Some(listener) = std::str::from_utf8(&line).ok().and_then(|l| of_line(l, protocol)) {
            found.push(listener);
        }
    }
}

/// What became of a UDP socket that was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// It takes datagrams from anyone.
    Open,
    /// It is connected to one peer.
    Connected,
    /// It is closed, or its process is gone.
    Gone,
}

/// What became of the UDP socket that a process has open at a descriptor.
pub fn bound_socket(host: &Host, pid: i64, fd: i64) -> Bound {
    let target = rustix::fs::readlink(host.proc(pid, &format!("fd/{fd}")), Vec::new()).ok();
    let Some(inode) = target.and_then(|target| inode_of(target.as_bytes())) else { return Bound::Gone };
    for table in ["udp", "udp6"] {
        let Ok(file) = std::fs::File::open(host.proc(pid, &format!("net/{table}"))) else { continue };
        let lines =
            BufReader::with_capacity(64 << 10, file.take(MAX_TABLE)).split(b'\n').map_while(Result::ok);
        for line in lines {
            let Some(mut words) = std::str::from_utf8(&line).ok().map(str::split_ascii_whitespace) else {
                continue;
            };
            let state = words.nth(3);
            if words.nth(5).and_then(|word| word.parse().ok()) == Some(inode) {
                return if state == Some("07") { Bound::Open } else { Bound::Connected };
            }
        }
    }
    Bound::Gone
}

/// The inode number of a socket, by the target of a descriptor's link.
fn inode_of(target: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// How much of a process's descriptors was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Descriptors {
    /// All of them.
    All,
    /// The first of them.
    Some,
    /// Somebody said stop.
    Stopped,
}

/// Tells the inode number of each socket that a process has open, by its directory `/proc/<pid>/fd`.
///
/// # Errors
/// The kernel's.
pub(super) fn sockets_of(
    descriptors: &Path,
    keep_going: &mut dyn FnMut() -> bool,
    tell: &mut dyn FnMut(u64),
) -> std::io::Result<Descriptors> {
    for (at, entry) in std::fs::read_dir(descriptors)?.enumerate() {
        if at >= MAX_DESCRIPTORS {
            return Ok(Descriptors::Some);
        }
        if !keep_going() {
            return Ok(Descriptors::Stopped);
        }
        // Closed since it was listed.
        let Ok(target) = rustix::fs::readlink(entry?.path(), Vec::new()) else { continue };
        if let Some(inode) = inode_of(target.as_bytes()) {
            tell(inode);
        }
    }
    Ok(Descriptors::All)
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...`
fn of_line(line: &str, protocol: Protocol) -> Option<Listener> {
    let mut words = line.split_ascii_whitespace();
    let (local, state) = (words.nth(1)?, words.nth(1)?);
    let inode = words.nth(5)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    let (address, port) = (address_of(address)?, u16::from_str_radix(port, 16).ok()?);
    let waits = match (protocol, state) {
        // TCP_LISTEN.
        (Protocol::Tcp, "0A") => true,
        // TCP_CLOSE: connected to nobody.
        (Protocol::Udp, "07") => true,
        _ => false,
    };
    (waits && port != 0).then_some(Listener { protocol, address, port, inode })
}

/// An address as the kernel prints it: words of 32 bits, each in the machine's order of bytes.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0u8; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at * 8)?);
            }
            Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn of(protocol: Protocol, lines: &[&str]) -> Vec<(String, u16, u64)> {
        let text = format!("{HEAD}{}", lines.iter().map(|l| format!("{l}\n")).collect::<String>());
        let (found, whole) = parse(text.as_bytes(), protocol).unwrap();
        assert!(whole);
        found.iter().map(|l| (l.address.to_string(), l.port, l.inode)).collect()
    }

    #[test]
    fn listeners_are_told_from_connections() {
        let tcp = [
            "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0 100 0 0 10 0",
            "   1: 0100007F:0016 0200007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 18 1 0 20 4 30 10 -1",
            "   2: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000   999        0 19 1 0",
        ];
        if cfg!(target_endian = "little") {
            let want = [("0.0.0.0".to_owned(), 8080, 17), ("127.0.0.1".to_owned(), 3306, 19)];
            assert_eq!(of(Protocol::Tcp, &tcp), want);
            let mapped =
                "  0: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 7 1";
            let any =
                "  1: 00000000000000000000000000000000:0051 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 8 1";
            let want = [("127.0.0.1".to_owned(), 80, 7), ("::".to_owned(), 81, 8)];
            assert_eq!(of(Protocol::Tcp, &[mapped, any]), want);
        }
        let udp = [
            "  5: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 20 2 0 0",
            "  6: 00000000:9C40 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 21 2 0 0",
            "  7: 0100007F:0044 0200007F:0043 01 00000000:00000000 00:00000000 00000000     0        0 22 2 0 0",
        ];
        let want = [("0.0.0.0".to_owned(), 53, 20), ("0.0.0.0".to_owned(), 40_000, 21)];
        assert_eq!(of(Protocol::Udp, &udp), want, "one that is connected is a client's");
    }

    #[test]
    fn sockets_of_a_process_are_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let (listeners, whole) = read_table(Path::new("/proc/self/net/tcp"), Protocol::Tcp).unwrap();
        assert!(whole);
        let ours = listeners.iter().find(|l| l.port == port).unwrap();
        assert!(ours.address.is_loopback());
        let mut inodes = Vec::new();
        let all = sockets_of(Path::new("/proc/self/fd"), &mut || true, &mut |inode| inodes.push(inode));
        assert_eq!(all.unwrap(), Descriptors::All);
        assert!(inodes.contains(&ours.inode));
        let stopped = sockets_of(Path::new("/proc/self/fd"), &mut || false, &mut |_| {});
        assert_eq!(stopped.unwrap(), Descriptors::Stopped);
        assert_eq!(read_table(Path::new("/nowhere/tcp6"), Protocol::Tcp).unwrap(), (Vec::new(), true));
    }

    #[test]
    fn a_bound_socket_is_a_servers_until_it_is_connected() {
        use std::os::fd::AsRawFd;
        let host = Host::new(Path::new("/"));
        let of = |socket: &std::net::UdpSocket| {
            bound_socket(&host, i64::from(std::process::id()), i64::from(socket.as_raw_fd()))
        };
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = std::net::UdpSocket::bind(address) else { continue };
            assert_eq!(of(&socket), Bound::Open, "{address}");
            socket.connect(socket.local_addr().unwrap()).unwrap();
            assert_eq!(of(&socket), Bound::Connected, "{address}");
        }
        assert_eq!(bound_socket(&host, i64::from(std::process::id()), 1 << 30), Bound::Gone);
        assert_eq!(bound_socket(&host, i64::from(i32::MAX), 0), Bound::Gone);
    }

    #[test]
    fn damaged_lines_are_passed_over() {
        let whole = "  0: 00000000:1F90 00000000:0000 0A 0:0 0:0 0 0 0 17 1";
        for cut in 0..whole.len() - 4 {
            assert_eq!(of(Protocol::Tcp, &[&whole[..cut]]), []);
        }
        for line in
            ["x".repeat(2000).as_str(), "0: 1:1 2:2 0A 0 0 0 0 0 x", "0: 00000000:FFFFF 0:0 0A 0 0 0 0 0 1"]
        {
            assert_eq!(of(Protocol::Tcp, &[line]), []);
        }
    }
}
