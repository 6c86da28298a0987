//! The ports that a container's processes listen on now, and who declared them.
//!
//! Containers of a pod share a network namespace: a listener is this container's when one of its processes
//! has the socket open. Containers in the host's network namespace are not looked at: what is declared of
//! them says nothing of the host's ports. Invariants: bounded work, and what was not looked at is said.

use crate::container::declared::Declared;
use crate::container::live::is_member;
use crate::container::main_program::is_main_program;
use crate::container::registry::Container;
use crate::host::Host;
use crate::image::view::Presence;
use crate::scan::sockets::{read_table, sockets_of, Descriptors, Listener, TABLES};
use crate::verdict::port::{is_clients, thing, Scope};
use drift_formats::entry::ImagePath;
use drift_formats::ports::{Ports, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Most network namespaces of one container that are looked into: its processes may make some of their own.
const MAX_NAMESPACES: usize = 16;

/// A port that something listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortFinding {
    /// Protocol.
    pub protocol: Protocol,
    /// Port.
    pub port: u16,
    /// Addresses it is bound to.
    pub addresses: BTreeSet<IpAddr>,
    /// A process that has the socket.
    pub pid: i64,
    /// What that process runs, as the kernel names it.
    pub path: Vec<u8>,
    /// Whether image, deployment or configuration declare it; `None` where that is not known.
    pub declared: Option<bool>,
    /// Whether the container's own program of the image opened it ([`is_main_program`]).
    pub is_main: bool,
}

impl PortFinding {
    /// Whether nobody declared it.
    pub fn is_drift(&self) -> bool {
        self.declared == Some(false)
    }

    /// The port as declarations write it: `8080/tcp`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.port, self.protocol.as_str())
    }

    /// Who can reach it. Containers in the host's network are not looked at.
    pub fn scope(&self) -> Scope {
        Scope::of(self.addresses.iter().copied(), false)
    }

    /// What it is for whoever reports it: see [`thing`].
    pub fn thing(&self) -> (Protocol, u16, u64) {
        thing(self.protocol, self.port, &self.path)
    }
}

/// What is known of ports that may be listened on.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What was declared of the container; `None` where it is not known.
    pub declared: Option<&'a Declared>,
    /// Ports that every container may have.
    pub allowed: &'a [Ports],
}

impl Known<'_> {
    /// Whether a port is declared or allowed; `None` where that is not known.
    fn declares(&self, protocol: Protocol, port: u16) -> Option<bool> {
        if self.allowed.iter().any(|allowed| allowed.contains(protocol, port)) {
            return Some(true);
        }
        self.declared?.declares_port(protocol, port)
    }
}

/// What a look at a container's ports found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortScan {
    /// Ports listened on, by protocol and number.
    pub ports: Vec<PortFinding>,
    /// What was not looked at, in words.
    pub gaps: Vec<String>,
}

/// Looks at the ports that these processes listen on. With `all`, also at declared ones: else those cost no
/// search for their process. `keep_going` paces; `None` when it said stop.
pub fn scan(
    host: &Host,
    container: &Container,
    pids: &[i64],
    known: Known<'_>,
    all: bool,
    keep_going: &mut dyn FnMut() -> bool,
) -> Option<PortScan> {
    let mut out = PortScan::default();
    // Where the host's network cannot be looked at, the deployment tells whether the container is in it.
    let of_host = host.namespace_of(1, "net");
    let overrides = known.declared.and_then(|d| d.overrides.as_ref());
    let declared_hosts = overrides.map(|all| all.iter().any(|o| o == "host_network"));
    if of_host.is_none() && declared_hosts.is_none() {
        out.gap("the host's network namespace cannot be told".to_owned());
        return Some(out);
    }
    let is_hosts = |network| of_host.map_or(declared_hosts == Some(true), |host| host == network);
    // A process of each of the container's networks, by device and inode number of the namespace.
    let mut networks: BTreeMap<(u64, u64), i64> = BTreeMap::new();
    for pid in pids {
        if !keep_going() {
            return None;
        }
        let Some(network) = host.namespace_of(*pid, "net").filter(|_| is_member(host, *pid, &container.id))
        else {
            continue;
        };
        match is_hosts(network) || networks.contains_key(&network) {
            true => {}
            false if networks.len() < MAX_NAMESPACES => drop(networks.insert(network, *pid)),
            false => out.gap(format!("more than {MAX_NAMESPACES} network namespaces")),
        }
    }
    let mut wanted: BTreeMap<u64, Listener> = BTreeMap::new();
    for pid in networks.values() {
        for (table, protocol) in TABLES {
            if !keep_going() {
                return None;
            }
            match read_table(&host.proc(*pid, &format!("net/{table}")), protocol) {
                Ok((listeners, whole)) => {
                    if !whole {
                        out.gap(format!("more {table} sockets than are read"));
                    }
                    let told = |l: &Listener| all || known.declares(l.protocol, l.port) != Some(true);
                    wanted.extend(listeners.into_iter().filter(told).map(|l| (l.inode, l)));
                }
                Err(e) => out.gap(format!("{table} sockets unreadable: {e}")),
            }
        }
    }
    let found = owners(host, container, pids, wanted, &mut out, keep_going)?;
    for ((protocol, port), (pid, addresses)) in found {
        let path = host.executable(pid).ok().and_then(|exe| exe.path()).unwrap_or_default();
        if is_clients(protocol, port, is_images(container, &path)) {
            continue;
        }
        let declared = known.declares(protocol, port);
        let is_main = declared == Some(false)
            && is_images(container, &path)
            && is_main_program(host, pid, &container.id);
        out.ports.push(PortFinding { protocol, port, addresses, pid, path, declared, is_main });
    }
    Some(out)
}

/// Whether the image has a file of this path.
pub(super) fn is_images(container: &Container, path: &[u8]) -> bool {
    let (Ok(image), Ok(path)) = (&container.image, ImagePath::lexical(b"/", path)) else { return false };
    matches!(image.lookup(&path), Presence::Present { .. })
}

type Owners = BTreeMap<(Protocol, u16), (i64, BTreeSet<IpAddr>)>;

/// The first process of each port, among those of the container.
fn owners(
    host: &Host,
    container: &Container,
    pids: &[i64],
    mut wanted: BTreeMap<u64, Listener>,
    out: &mut PortScan,
    keep_going: &mut dyn FnMut() -> bool,
) -> Option<Owners> {
    let mut found = Owners::new();
    for pid in pids {
        if wanted.is_empty() {
            break;
        }
        if !is_member(host, *pid, &container.id) {
            continue;
        }
        let all = sockets_of(&host.proc(*pid, "fd"), keep_going, &mut |inode| {
            if let Some(l) = wanted.remove(&inode) {
                let first = || (*pid, BTreeSet::new());
                found.entry((l.protocol, l.port)).or_insert_with(first).1.insert(l.address);
            }
        });
        match all {
            Ok(Descriptors::All) => {}
            Ok(Descriptors::Some) => {
                out.gap(format!("process {pid} has more descriptors than are looked at"))
            }
            Ok(Descriptors::Stopped) => return None,
            // Gone since.
            Err(_) if !is_member(host, *pid, &container.id) => {}
            Err(e) => out.gap(format!("descriptors of process {pid} unreadable: {e}")),
        }
    }
    Some(found)
}

impl PortScan {
    fn gap(&mut self, why: String) {
        if self.gaps.len() < crate::scan::MAX_GAPS && !self.gaps.contains(&why) {
            self.gaps.push(why);
        }
    }
}
