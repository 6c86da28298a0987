//! Whom a container's processes talk to, against the baseline of its image.
//!
//! Invariants: what was answered is answered from memory until a baseline changes; a first answer looks
//! through the baselines of one image; what is remembered is bounded, also where a container calls everybody.

use super::cache::ContainerCache;
use super::context::Context;
use super::processes::Processes;
use super::threads::process_of;
use super::{bound, declared};
use crate::event::raw::EventKey;
use crate::event::socket::{answer_of_nameserver, contact};
use crate::facts::{EarlyPeer, Process};
use drift_core::container::registry::Container;
use drift_core::network::baseline::Peer;
use drift_core::network::learned::LearnedPeer;
use drift_core::network::Direction;
use drift_core::network::Opinion;
use drift_formats::dns;
use drift_formats::path_key::value_key;
use drift_formats::ports::Protocol;
use lru::LruCache;
use std::net::IpAddr;
use std::sync::Arc;

/// Most peers remembered, of all containers.
const MAX_PEERS: usize = 16_384;
/// Most names of addresses remembered, of all containers.
const MAX_NAMES: usize = 16_384;
/// Most containers whose baselines are remembered.
const MAX_CONTAINERS: usize = 4096;

/// Port of nameservers.
const DOMAIN: u16 = 53;

/// The other side of an event's connection.
#[derive(Debug, Clone)]
pub struct PeerFacts {
    /// Who began.
    pub direction: Direction,
    /// Address.
    pub address: IpAddr,
    /// The server's port.
    pub port: u16,
    /// Protocol, where it is known.
    pub protocol: Option<Protocol>,
    /// Name that a nameserver gave this address for.
    pub name: Option<Arc<str>>,
    /// What is thought of it.
    pub opinion: Opinion,
    /// Whether it is the first event of the container with this peer that is asked about, or the first with
    /// this opinion.
    pub is_new: bool,
}

/// Container; direction, address, port, protocol, name. Container and name as keyed hashes.
type PeerKey = (u64, (Direction, IpAddr, u16, Option<Protocol>, u64));

#[derive(Debug, Clone, Copy)]
struct Answer {
    /// The event that it was first given for.
    first: EventKey,
    /// The event that it was found for.
    of: EventKey,
    opinion: Opinion,
    /// The baselines that it was found in; 0 where it may be another one the next time.
    generation: u64,
}

/// What is remembered of peers.
#[derive(Debug)]
pub(super) struct Peers {
    answers: ContainerCache<PeerKey, Answer>,
    /// The reviewed baselines of containers, and the generation they are of.
    baselines: LruCache<u64, (u64, Box<[u32]>)>,
    names: ContainerCache<(u64, IpAddr), Arc<str>>,
}

impl Peers {
    pub(super) fn new() -> Self {
        Self {
            answers: ContainerCache::new(MAX_PEERS),
            baselines: LruCache::new(bound(MAX_CONTAINERS)),
            names: ContainerCache::new(MAX_NAMES),
        }
    }

    /// Forgets a container, up to `most` peers and names of it; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        let id = value_key(container.as_bytes());
        self.baselines.pop(&id);
        self.answers.forget(id, most) + self.names.forget(id, most)
    }

    /// See [`ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.answers.bytes_when_full() + self.names.bytes_when_full()
    }

    /// The other side of the connection that the event makes or takes; `None` where there is none, on the
    /// host, and for what never counts: this machine itself and the container's nameservers.
    pub(super) fn of_event(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<PeerFacts> {
        let contact = contact(cx.event).filter(|contact| !contact.is_local)?;
        let container = declared::container(cx, &mut p.threads)?;
        if contact.direction == Direction::Outbound
            && contact.port == DOMAIN
            && container.declaration.nameservers().contains(&contact.peer)
        {
            return None;
        }
        let pid = p.threads.of_event(cx)?.pid;
        let of_table = || cx.table.protocol_to(pid, contact.fd, contact.peer);
        let protocol = contact.protocol.or_else(of_table);
        let id = value_key(container.id.as_bytes());
        let name = self.names.get(&(id, contact.peer)).cloned();
        let name_key = name.as_ref().map_or(0, |name| value_key(name.as_bytes()));
        let key = (id, (contact.direction, contact.peer, contact.port, protocol, name_key));
        let mut facts = PeerFacts {
            direction: contact.direction,
            address: contact.peer,
            port: contact.port,
            protocol,
            name,
            opinion: Opinion::UNKNOWN,
            is_new: false,
        };
        let (now, generation) =
            (cx.event.identity(), cx.deps.lists.network.as_ref().map_or(1, |n| n.generation()));
        let known = self.answers.get(&key).copied();
        let answer = match known {
            Some(answer) if answer.of == now || answer.generation == generation => answer,
            _ => {
                let is_first = known.is_none();
                let (opinion, lasts) = self.judge(cx, &container, id, &facts, is_first);
                let first = known.filter(|known| known.opinion.expected == opinion.expected);
                let first = first.map_or(now, |known| known.first);
                let generation = if lasts { generation } else { 0 };
                let answer = Answer { first, of: now, opinion, generation };
                self.answers.put(key, answer);
                answer
            }
        };
        facts.opinion = answer.opinion;
        facts.is_new = answer.first == now;
        Some(facts)
    }

    /// What is thought of a peer, and whether that stays until a baseline changes.
    fn judge(
        &mut self,
        cx: &Context<'_>,
        container: &Arc<Container>,
        id: u64,
        facts: &PeerFacts,
        is_first: bool,
    ) -> (Opinion, bool) {
        let Some(network) = &cx.deps.lists.network else { return (Opinion::UNKNOWN, true) };
        let Some(protocol) = facts.protocol else { return (Opinion::UNKNOWN, false) };
        let peer = facts.peer(protocol);
        let image = container.declaration.image.load();
        let Some(reference) = image.as_ref().and_then(|image| image.identity.reference.as_ref()) else {
            // A container may call somebody before its files were read.
            let is_early = is_first && container.declaration.read().is_none();
            if let Some(workers) = cx.workers().filter(|_| is_early) {
                let command = cx.table.command(cx.event.tid).map(Arc::from);
                let process = process_of(cx, cx.event.tid, Some(container));
                let process = Arc::new(Process { command, ..process });
                let (container, name) = (Arc::clone(container), facts.name.clone());
                let early = EarlyPeer::new(container, &peer, name, cx.event.tid);
                workers.early_peer(EarlyPeer { process, ..early });
            }
            return (Opinion::UNKNOWN, false);
        };
        let generation = network.generation();
        if self.baselines.get(&id).is_none_or(|known| known.0 != generation) {
            self.baselines.put(id, (generation, network.reviewed_of(reference)));
        }
        let reviewed = self.baselines.get(&id).map_or(&[][..], |known| &known.1);
        let opinion = network.judge(reference, reviewed, &peer);
        let noted = !opinion.learn
            || cx.workers().is_none_or(|workers| workers.learn_peer(reference, LearnedPeer::of(&peer)));
        (opinion, noted)
    }

    /// Remembers the addresses that a nameserver's answer gives for a name. `true` if the event is such an
    /// answer.
    pub(super) fn watch_answer(&mut self, cx: &Context<'_>, p: &mut Processes) -> bool {
        let Some((server, data)) = answer_of_nameserver(cx.event) else { return false };
        let Some(container) = declared::container(cx, &mut p.threads) else { return false };
        // Anybody else may say anything.
        if !container.declaration.nameservers().contains(&server) {
            return false;
        }
        let Some(answer) = dns::parse(data) else { return false };
        let id = value_key(container.id.as_bytes());
        let name: Arc<str> = answer.name.into();
        for address in answer.addresses {
            self.names.put((id, address), Arc::clone(&name));
        }
        true
    }
}

impl PeerFacts {
    fn peer(&self, protocol: Protocol) -> Peer<'_> {
        let (direction, address, port) = (self.direction, self.address, self.port);
        Peer { direction, address, name: self.name.as_deref(), port, protocol }
    }
}
