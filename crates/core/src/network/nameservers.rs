//! The nameservers that a container was given: its `/etc/resolv.conf` (resolv.conf(5)).

use crate::container::mounts::Sight;
use crate::container::registry::Container;
use crate::host::{Host, RootDir};
use drift_formats::entry::ImagePath;
use std::io::Read;
use std::net::IpAddr;

/// Most that are used: glibc's resolver knows three (`MAXNS`).
const MAX_SERVERS: usize = 3;
/// Longest file that is read, bytes.
const MAX_FILE: u64 = 64 << 10;

/// Reads them from a container's root; none where there is no such file, or somebody's server would have to
/// answer for it.
pub fn read(host: &Host, container: &Container, root: &RootDir) -> Vec<IpAddr> {
    let mut text = Vec::new();
    let found = container.live.as_ref().and_then(|live| {
        let path = ImagePath::lexical(b"/", b"/etc/resolv.conf").ok()?;
        live.find(host, &container.id, live.pid(), root, &path, true).ok()
    });
    let Some(Sight::File(found, _)) = found else { return Vec::new() };
    match found.open().map(|file| file.take(MAX_FILE).read_to_end(&mut text)) {
        Ok(Ok(_)) => parse(&text),
        _ => Vec::new(),
    }
}

/// The addresses of a file's `nameserver` lines.
pub fn parse(text: &[u8]) -> Vec<IpAddr> {
    let lines = text.split(|b| *b == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let servers = lines.filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        // A zone (`fe80::1%eth0`) is no part of the address.
        let address = address.split('%').next().unwrap_or_default();
        address.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
    });
    servers.take(MAX_SERVERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_as_the_resolver_reads_them() {
        let text = b"# nameserver 192.0.2.1\nsearch a.example\nnameserver 10.96.0.10\n  nameserver\t2001:db8::53 # x\n\
            nameserver fe80::1%eth0\nnameserver 10.0.0.4\nnameserver x\nnameservers 1.1.1.1\n\xff\n";
        let found: Vec<String> = parse(text).iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["10.96.0.10", "2001:db8::53", "fe80::1"]);
        assert_eq!(parse(b""), Vec::<IpAddr>::new());
    }

    proptest! {
        #[test]
        fn never_more_than_the_resolver_uses(text in "(nameserver |10.0.0.1|::1|\n| ){0,60}") {
            prop_assert!(parse(text.as_bytes()).len() <= MAX_SERVERS);
        }
    }
}
