//! Ports that a container's processes make their own, against those that were declared.

use super::cache::ContainerCache;
use super::context::Context;
use super::declared;
use super::processes::Processes;
use super::work;
use crate::event::raw::EventKey;
use crate::event::socket::{claim, Claim};
use crate::facts::EarlyPort;
use drift_core::container::main_program::is_main_program;
use drift_core::container::registry::Container;
use drift_core::verdict::origin::Origin;
use drift_core::verdict::port::{is_clients, is_given_out, thing, Scope};
use drift_formats::path_key::value_key;
use drift_formats::ports::{self, Protocol};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Most ports remembered as seen, of all containers.
const MAX_SEEN: usize = 8192;

/// A keyed hash of the container, and what the port is for alerts.
type PortKey = (u64, (Protocol, u16, u64));

/// The events that first made ports some container's own, by a keyed hash of the container, protocol and
/// port.
#[derive(Debug)]
pub(super) struct Ports {
    seen: ContainerCache<PortKey, EventKey>,
    /// The last bind of a UDP socket that a worker was asked about.
    handed_over: EventKey,
    /// What the event that was asked about last claims.
    last: Option<(EventKey, Option<Claimed>)>,
}

impl Ports {
    pub(super) fn new(parts: usize) -> Self {
        Self { seen: ContainerCache::new(MAX_SEEN, parts), handed_over: EventKey::default(), last: None }
    }

    /// Forgets a container, up to `most` ports of it; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.seen.forget(value_key(container.as_bytes()), most)
    }

    /// See [`ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.seen.bytes_when_full()
    }

    /// Whether the port that the event binds or listens on is declared; `None` where that does not apply or
    /// is not known.
    pub(super) fn is_declared(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<bool> {
        let claimed = self.claimed(cx, p)?;
        let Claimed { container, protocol, port, .. } = &claimed;
        if cx.deps.config.allowed_ports.iter().any(|allowed| allowed.contains(*protocol, *port)) {
            return Some(true);
        }
        let known = container.declaration.read().as_ref().and_then(|d| d.declares_port(*protocol, *port));
        let is_open = match protocol {
            // A client may bind the port that it calls from.
            Protocol::Tcp => known.is_none() && matches!(claim(cx.event), Some(Claim::Listen { .. })),
            // Or connect the socket to the peer that it calls.
            _ => known != Some(true),
        };
        if is_open {
            self.hand_over(cx, p, claimed);
        }
        known
    }

    /// The port that the event binds or listens on.
    pub(super) fn of_event(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<ports::Ports> {
        let Claimed { protocol, port, .. } = self.claimed(cx, p)?;
        Some(ports::Ports { protocol, first: port, last: port })
    }

    /// Who can reach that port.
    pub(super) fn scope(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<Scope> {
        self.claimed(cx, p).map(|claimed| claimed.scope())
    }

    /// What the event claims, looked up once.
    fn claimed(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<Claimed> {
        let event = cx.event.identity();
        if let Some((_, known)) = self.last.as_ref().filter(|(of, _)| *of == event) {
            return known.clone();
        }
        let claimed = claimed(cx, p);
        self.last = Some((event, claimed.clone()));
        claimed
    }

    /// Whether the container's own program opens that port while the container starts.
    pub(super) fn is_main(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<bool> {
        self.claimed(cx, p).map(|claimed| claimed.is_main(cx, p))
    }

    /// Has a worker judge a port that was opened before it is known what the container declares, or whether
    /// it is a server's. It is reported there, and seen from then on.
    fn hand_over(&mut self, cx: &Context<'_>, p: &mut Processes, claimed: Claimed) {
        let Some(workers) = cx.workers() else { return };
        let (key, identity) = (claimed.key(cx, p), cx.event.identity());
        let is_udp = claimed.protocol == Protocol::Udp;
        if self.seen.contains(&key) || (is_udp && self.handed_over == identity) {
            return;
        }
        let (command, process) = (p.threads.command(cx), p.threads.process(cx));
        let origin = p.binary(cx).map(|binary| binary.judgement.origin);
        let is_main = claimed.is_main(cx, p);
        let (scope, thing) = (claimed.scope(), key.1);
        let Claimed { container, protocol, port, socket, .. } = claimed;
        let (tid, since) = (cx.event.tid, Instant::now());
        let socket = Some(socket).filter(|_| is_udp);
        let early = EarlyPort {
            container,
            protocol,
            port,
            tid,
            process,
            command,
            origin,
            scope,
            is_main,
            thing,
            socket,
            since,
        };
        if workers.early_port(early) {
            self.handed_over = identity;
            if !is_udp {
                self.seen.put(key, identity);
            }
        }
    }

    /// Whether this is the first event that is asked about of those that bind the port in the container, or
    /// listen on it; `None` where that does not apply, and of UDP where a worker finds out whether it is a
    /// server's.
    pub(super) fn is_new(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<bool> {
        let claimed = self.claimed(cx, p)?;
        if claimed.protocol == Protocol::Udp {
            let origin = p.binary(cx).map(|binary| binary.judgement.origin);
            let is_images = matches!(origin, Some(Origin::Image | Origin::ImageTouched));
            if cx.workers().is_some() || is_clients(claimed.protocol, claimed.port, is_images) {
                return None;
            }
        }
        let first = self.seen.get_or_insert(claimed.key(cx, p), || cx.event.identity())?;
        Some(*first == cx.event.identity())
    }
}

/// A port that an event makes the container's.
#[derive(Debug, Clone)]
struct Claimed {
    container: Arc<Container>,
    protocol: Protocol,
    port: u16,
    address: IpAddr,
    /// Process and descriptor.
    socket: (i64, i64),
}

impl Claimed {
    fn scope(&self) -> Scope {
        let declared = self.container.declaration.read();
        let overrides = declared.as_ref().and_then(|declared| declared.overrides.as_ref());
        let has_hosts_network = overrides.is_some_and(|all| all.iter().any(|o| o == "host_network"));
        Scope::of([self.address], has_hosts_network)
    }

    /// A program may be made to do anything once it serves: only what it opens as it was started is its own
    /// doing for sure.
    fn is_main(&self, cx: &Context<'_>, p: &mut Processes) -> bool {
        let started = p.threads.container_started(cx);
        let is_young = started.is_some_and(|started| cx.event.ts.saturating_sub(started) < work::LONGEST);
        let is_images = |origin| matches!(origin, Origin::Image | Origin::ImageTouched);
        is_young
            && p.binary(cx).is_some_and(|binary| is_images(binary.judgement.origin))
            && p.script(cx).is_none_or(|script| {
                is_images(script.judgement.origin) || work::is_declared(&self.container, &script)
            })
            && self.container.live.is_some()
            && is_main_program(cx.host(), self.socket.0, &self.container.id)
    }

    fn key(&self, cx: &Context<'_>, p: &mut Processes) -> PortKey {
        let program = p.binary(cx);
        let path = program.as_ref().map_or(&b""[..], |program| &program.path);
        let mut thing = thing(self.protocol, self.port, path);
        // What a program opens at its start does not speak for what it is made to open later.
        if is_given_out(self.port) && self.is_main(cx, p) {
            thing.2 ^= 1;
        }
        (value_key(self.container.id.as_bytes()), thing)
    }
}

fn claimed(cx: &Context<'_>, p: &mut Processes) -> Option<Claimed> {
    let claim = claim(cx.event)?;
    let container = declared::container(cx, &mut p.threads)?;
    let pid = p.threads.of_event(cx)?.pid;
    let (Claim::Bind { fd, .. } | Claim::Listen { fd }) = claim;
    let bound = cx.table.bound_socket(pid, fd)?;
    let (port, address) = match claim {
        Claim::Bind { port, address, .. } => (port, address),
        // 0: the kernel chose, and does not say what.
        Claim::Listen { .. } => {
            // A server has started.
            p.starts.end(&container.id);
            (Some(bound.bound_port).filter(|port| *port != 0)?, bound.address)
        }
    };
    Some(Claimed { container, protocol: bound.protocol, port, address, socket: (pid, fd) })
}
