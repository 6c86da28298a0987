//! Ports that a container's processes make their own, against those that were declared.

use super::cache::ContainerCache;
use super::{Engine, EventKey, ThreadReader};
use crate::event::raw::SyscallEvent;
use crate::event::socket::{claim, Claim};
use crate::facts::EarlyPort;
use drift_core::container::registry::Container;
use drift_formats::path_key::value_key;
use drift_formats::ports::{Ports, Protocol};
use std::sync::Arc;
use std::time::Instant;

/// Most ports remembered as seen, of all containers.
const MAX_SEEN: usize = 16_384;

/// A keyed hash of the container; protocol and port.
type PortKey = (u64, (Protocol, u16));

/// The events that first made ports some container's own, by a keyed hash of the container, protocol and port.
#[derive(Debug)]
pub(super) struct SeenPorts(ContainerCache<PortKey, EventKey>);

impl SeenPorts {
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
}

/// A port that an event makes the container's.
struct Claimed {
    container: Arc<Container>,
    protocol: Protocol,
    port: u16,
}

impl Engine {
    /// Whether the port that the event binds or listens on is declared; `None` where that does not apply or is not known.
    pub fn port_declared(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<bool> {
        let Claimed { container, protocol, port } = self.claimed(event, reader)?;
        if self.config.allowed_ports.iter().any(|allowed| allowed.contains(protocol, port)) {
            return Some(true);
        }
        let known = container.declaration.read().as_ref().and_then(|d| d.declares_port(protocol, port));
        if known.is_none() {
            self.note_early(event, reader, Claimed { container, protocol, port });
        }
        known
    }

    /// The port that the event binds or listens on.
    pub fn port(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<Ports> {
        let Claimed { protocol, port, .. } = self.claimed(event, reader)?;
        Some(Ports { protocol, first: port, last: port })
    }

    /// Has the background judge a port that was opened before it is known what the container declares. It is told there, and
    /// seen from then on.
    fn note_early(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>, claimed: Claimed) {
        let Claimed { container, protocol, port } = claimed;
        // A client may bind the port that it calls from.
        let is_open = matches!(claim(event), Some(Claim::Listen { .. })) || protocol == Protocol::Udp;
        if self.background.is_none() || !is_open {
            return;
        }
        let key = (value_key(container.id.as_bytes()), (protocol, port));
        if self.ports.0.contains(&key) {
            return;
        }
        let command = self.command(event, reader);
        let origin = self.binary(event, reader).map(|binary| binary.judgement.origin);
        let (tid, since) = (event.tid, Instant::now());
        let early = EarlyPort { container, protocol, port, tid, command, origin, since };
        if self.background.as_ref().is_some_and(|background| background.early_port(early)) {
            self.ports.0.put(key, event.identity());
        }
    }

    /// Whether this is the first event that is asked about of those that bind the port in the container, or listen on it;
    /// `None` where that does not apply.
    pub fn port_is_new(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<bool> {
        let Claimed { container, protocol, port } = self.claimed(event, reader)?;
        let key = (value_key(container.id.as_bytes()), (protocol, port));
        let first = self.ports.0.get_or_insert(key, || event.identity())?;
        Some(*first == event.identity())
    }

    fn claimed(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<Claimed> {
        let claim = claim(event)?;
        let container = self.declared_container(event, reader)?;
        let pid = self.thread(event, reader)?.pid;
        let (Claim::Bind { fd, .. } | Claim::Listen { fd }) = claim;
        let socket = reader.threads?.bound_socket(reader.reader, pid, fd)?;
        let port = match claim {
            Claim::Bind { port, .. } => port,
            // 0: the kernel chose, and tells nobody.
            Claim::Listen { .. } => {
                // A server has started.
                self.starts.end(&container.id);
                Some(socket.bound_port).filter(|port| *port != 0)?
            }
        };
        Some(Claimed { container, protocol: socket.protocol, port })
    }
}
