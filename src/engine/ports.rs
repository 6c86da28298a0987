//! Ports that a container's processes make their own, against those that were declared.

use super::cache::ContainerCache;
use super::context::Context;
use super::declared;
use super::processes::Processes;
use crate::event::raw::EventKey;
use crate::event::socket::{claim, Claim};
use crate::facts::EarlyPort;
use drift_core::container::registry::Container;
use drift_formats::path_key::value_key;
use drift_formats::ports::{self, Protocol};
use std::sync::Arc;
use std::time::Instant;

/// Most ports remembered as seen, of all containers.
const MAX_SEEN: usize = 16_384;

/// A keyed hash of the container; protocol and port.
type PortKey = (u64, (Protocol, u16));

/// The events that first made ports some container's own, by a keyed hash of the container, protocol and
/// port.
#[derive(Debug)]
pub(super) struct Ports(ContainerCache<PortKey, EventKey>);

impl Ports {
    pub(super) fn new() -> Self {
        Self(ContainerCache::new(MAX_SEEN))
    }

    /// Forgets a container, up to `most` ports of it; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.0.forget(value_key(container.as_bytes()), most)
    }

    /// See [`ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.0.bytes_when_full()
    }

    /// Whether the port that the event binds or listens on is declared; `None` where that does not apply or
    /// is not known.
    pub(super) fn is_declared(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<bool> {
        let Claimed { container, protocol, port } = claimed(cx, p)?;
        if cx.deps.config.allowed_ports.iter().any(|allowed| allowed.contains(protocol, port)) {
            return Some(true);
        }
        let known = container.declaration.read().as_ref().and_then(|d| d.declares_port(protocol, port));
        if known.is_none() {
            self.note_early(cx, p, Claimed { container, protocol, port });
        }
        known
    }

    /// The port that the event binds or listens on.
    pub(super) fn of_event(cx: &Context<'_>, p: &mut Processes) -> Option<ports::Ports> {
        let Claimed { protocol, port, .. } = claimed(cx, p)?;
        Some(ports::Ports { protocol, first: port, last: port })
    }

    /// Has a worker judge a port that was opened before it is known what the container declares. It is
    /// reported there, and seen from then on.
    fn note_early(&mut self, cx: &Context<'_>, p: &mut Processes, claimed: Claimed) {
        let Claimed { container, protocol, port } = claimed;
        // A client may bind the port that it calls from.
        let is_open = matches!(claim(cx.event), Some(Claim::Listen { .. })) || protocol == Protocol::Udp;
        if cx.workers().is_none() || !is_open {
            return;
        }
        let key = (value_key(container.id.as_bytes()), (protocol, port));
        if self.0.contains(&key) {
            return;
        }
        let command = p.threads.command(cx);
        let origin = p.binary(cx).map(|binary| binary.judgement.origin);
        let (tid, since) = (cx.event.tid, Instant::now());
        let early = EarlyPort { container, protocol, port, tid, command, origin, since };
        if cx.workers().is_some_and(|workers| workers.early_port(early)) {
            self.0.put(key, cx.event.identity());
        }
    }

    /// Whether this is the first event that is asked about of those that bind the port in the container, or
    /// listen on it; `None` where that does not apply.
    pub(super) fn is_new(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<bool> {
        let Claimed { container, protocol, port } = claimed(cx, p)?;
        let key = (value_key(container.id.as_bytes()), (protocol, port));
        let first = self.0.get_or_insert(key, || cx.event.identity())?;
        Some(*first == cx.event.identity())
    }
}

/// A port that an event makes the container's.
struct Claimed {
    container: Arc<Container>,
    protocol: Protocol,
    port: u16,
}

fn claimed(cx: &Context<'_>, p: &mut Processes) -> Option<Claimed> {
    let claim = claim(cx.event)?;
    let container = declared::container(cx, &mut p.threads)?;
    let pid = p.threads.of_event(cx)?.pid;
    let (Claim::Bind { fd, .. } | Claim::Listen { fd }) = claim;
    let socket = cx.table.bound_socket(pid, fd)?;
    let port = match claim {
        Claim::Bind { port, .. } => port,
        // 0: the kernel chose, and tells nobody.
        Claim::Listen { .. } => {
            // A server has started.
            p.starts.end(&container.id);
            Some(socket.bound_port).filter(|port| *port != 0)?
        }
    };
    Some(Claimed { container, protocol: socket.protocol, port })
}
