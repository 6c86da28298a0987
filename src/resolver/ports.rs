//! Ports that a container's processes make their own, against those that were declared.

use super::{bound, EventKey, Resolver, ThreadReader};
use crate::container::declared::ports::Protocol;
use crate::container::registry::Container;
use crate::event::raw::SyscallEvent;
use crate::event::socket::{claim, Claim};
use crate::manifest::key::value_key;
use lru::LruCache;
use std::sync::Arc;

/// Most ports remembered as seen, of all containers.
const MAX_SEEN: usize = 16_384;

/// The events that first made ports some container's own, by a keyed hash of the container, protocol and port.
#[derive(Debug)]
pub(super) struct SeenPorts(LruCache<(u64, Protocol, u16), EventKey>);

impl SeenPorts {
    pub(super) fn new() -> Self {
        Self(LruCache::new(bound(MAX_SEEN)))
    }
}

/// A port that an event makes the container's.
struct Claimed {
    container: Arc<Container>,
    protocol: Protocol,
    port: u16,
}

impl Resolver {
    /// Whether the port that the event binds or listens on is declared; `None` where that does not apply or is not known.
    pub fn port_declared(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<bool> {
        let Claimed { container, protocol, port } = self.claimed(event, reader)?;
        if self.config.allowed_ports.iter().any(|allowed| allowed.contains(protocol, port)) {
            return Some(true);
        }
        let declared = container.declaration.read();
        declared.as_ref()?.declares_port(protocol, port)
    }

    /// Whether this is the first event that is asked about of those that bind the port in the container, or listen on it;
    /// `None` where that does not apply.
    pub fn port_is_new(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<bool> {
        let Claimed { container, protocol, port } = self.claimed(event, reader)?;
        let key = (value_key(container.id.as_bytes()), protocol, port);
        let first = self.ports.0.get_or_insert(key, || event.identity());
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
            Claim::Listen { .. } => Some(socket.bound_port).filter(|port| *port != 0)?,
        };
        Some(Claimed { container, protocol: socket.protocol, port })
    }
}
