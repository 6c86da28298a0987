//! Whom the containers of an image talk to: as they were seen to, while the image was being learned.
//!
//! Invariants: an image learns for a set time in which containers of it run, then never again; what it has
//! learned only grows until then and is all in the file; images and peers are bounded, and an image with more
//! peers than are kept calls no other one unexpected.

use crate::container::declared::reference::{Reference, MAX_REFERENCE};
use crate::network::baseline::{Baseline, Baselines, Peer};
use crate::network::Direction;
use drift_formats::ports::Ports;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

/// Most images that are learned.
const MAX_IMAGES: usize = 1024;
/// Most peers of one image.
pub const MAX_PEERS: usize = 1024;

/// Who a peer is, as it is learned.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Whom {
    /// A network or address.
    Network(IpNet),
    /// A domain name.
    Name(Box<str>),
}

/// A peer that was learned.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LearnedPeer {
    /// Who began.
    pub direction: Direction,
    /// The server's port.
    pub ports: Ports,
    /// The other side.
    pub whom: Whom,
}

impl LearnedPeer {
    /// What is learned of a peer. Servers by their name, or else address; clients by the network they are in
    /// (/24, /64): they come and go.
    pub fn of(peer: &Peer<'_>) -> Self {
        let width = match (peer.direction, peer.address) {
            (Direction::Outbound, IpAddr::V4(_)) => 32,
            (Direction::Outbound, IpAddr::V6(_)) => 128,
            (Direction::Inbound, IpAddr::V4(_)) => 24,
            (Direction::Inbound, IpAddr::V6(_)) => 64,
        };
        let network = || IpNet::new(peer.address, width).map_or(IpNet::from(peer.address), |net| net.trunc());
        let name = peer.name.filter(|_| peer.direction == Direction::Outbound);
        let whom = name.map_or_else(|| Whom::Network(network()), |name| Whom::Name(name.into()));
        Self { direction: peer.direction, ports: Ports::one(peer.protocol, peer.port), whom }
    }

    fn has(&self, peer: &Peer<'_>) -> bool {
        let is_whom = match &self.whom {
            Whom::Network(net) => net.contains(&peer.address),
            Whom::Name(name) => peer.name == Some(name),
        };
        is_whom && self.direction == peer.direction && self.ports.contains(peer.protocol, peer.port)
    }
}

/// What was learned of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LearnedImage {
    /// How long containers of it were watched, seconds.
    pub seconds: u64,
    /// There were more peers than are kept.
    pub is_full: bool,
    /// Peers.
    pub peers: BTreeSet<LearnedPeer>,
}

/// What the learned say of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was seen while the image was learned.
    Expected,
    /// It was not.
    Unexpected,
    /// The image is being learned; whether the peer is to be added.
    Learning(bool),
    /// The image cannot be learned.
    Unknown,
}

/// What was learned of all images.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    images: HashMap<Box<str>, Arc<LearnedImage>>,
    /// How long an image is learned, seconds.
    period: u64,
}

impl Learned {
    /// Nothing learned yet; each image is to be learned for `period` seconds.
    pub fn new(period: u64) -> Self {
        Self { images: HashMap::new(), period }
    }

    /// What was stored before.
    ///
    /// # Errors
    /// Where and what in the file is not as it was written.
    pub fn parse(text: &str, period: u64) -> Result<Self, String> {
        let mut learned = Self::new(period);
        for baseline in Baselines::parse(text)?.0 {
            let [image] = baseline.patterns.as_slice() else { return Err("not one image a baseline".into()) };
            if !is_learnable(image) {
                return Err(format!("{:?} is no image", drift_formats::yaml::shown(image)));
            }
            let stored = stored(&baseline).ok_or_else(|| format!("{image}: more than {MAX_PEERS} peers"))?;
            learned.images.insert(image.as_str().into(), Arc::new(stored));
            if learned.images.len() > MAX_IMAGES {
                return Err(format!("more than {MAX_IMAGES} images"));
            }
        }
        Ok(learned)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether nothing is learned yet.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// What is known of an image.
    pub fn image(&self, image: &str) -> Option<&LearnedImage> {
        self.images.get(image).map(|image| &**image)
    }

    /// What they say of a peer of an image's container.
    pub fn judge(&self, image: &str, peer: &Peer<'_>) -> Verdict {
        let Some(known) = self.images.get(image) else {
            let room = self.images.len() < MAX_IMAGES && is_learnable(image);
            return if room { Verdict::Learning(true) } else { Verdict::Unknown };
        };
        let has = known.peers.iter().any(|learned| learned.has(peer));
        match (known.is_full, known.seconds >= self.period) {
            (true, _) if has => Verdict::Expected,
            (true, _) => Verdict::Unknown,
            (false, false) => Verdict::Learning(!has),
            (false, true) if has => Verdict::Expected,
            (false, true) => Verdict::Unexpected,
        }
    }

    /// Learns a peer; `false` if that changes nothing.
    pub fn add(&mut self, image: &str, peer: LearnedPeer) -> bool {
        if !self.images.contains_key(image) && (self.images.len() >= MAX_IMAGES || !is_learnable(image)) {
            return false;
        }
        let known = self.images.entry(image.into()).or_default();
        if known.seconds >= self.period || known.is_full || known.peers.contains(&peer) {
            return false;
        }
        let known = Arc::make_mut(known);
        if known.peers.len() < MAX_PEERS {
            known.peers.insert(peer);
        } else {
            known.is_full = true;
        }
        true
    }

    /// Containers of an image were watched for some more seconds; `true` if that ends its learning. An image
    /// without any peer is learned too: then every peer is unexpected.
    pub fn watched(&mut self, image: &str, seconds: u64) -> bool {
        if !self.images.contains_key(image) && (self.images.len() >= MAX_IMAGES || !is_learnable(image)) {
            return false;
        }
        let known = self.images.entry(image.into()).or_default();
        if known.seconds >= self.period {
            return false;
        }
        let known = Arc::make_mut(known);
        known.seconds = known.seconds.saturating_add(seconds);
        known.seconds >= self.period
    }

    /// Number of images that are still being learned.
    pub fn learning(&self) -> usize {
        self.images.values().filter(|image| image.seconds < self.period).count()
    }

    /// Number of peers of all images.
    pub fn peers(&self) -> usize {
        self.images.values().map(|image| image.peers.len()).sum()
    }

    /// All of it as a file of baselines, the same for the same content.
    pub fn to_yaml(&self) -> String {
        let mut out = String::from(
            "# Learned by drift: whom the containers of each image talk to. Written anew while images are learned.\n\
             # To make it a reviewed baseline, copy it, look it through, and name the copy in network.baselines.\n\
             baselines:\n",
        );
        let sorted: BTreeMap<_, _> = self.images.iter().collect();
        for (name, image) in sorted {
            // Writing to a string does not fail.
            let _ = write!(out, "  - images: [{}]\n    learned: {{seconds: {}", quoted(name), image.seconds);
            out.push_str(if image.is_full { ", full: true}\n" } else { "}\n" });
            for (direction, key, peers) in
                [(Direction::Outbound, "outbound", "to"), (Direction::Inbound, "inbound", "from")]
            {
                let mut by_port: BTreeMap<Ports, Vec<String>> = BTreeMap::new();
                for peer in image.peers.iter().filter(|p| p.direction == direction) {
                    by_port.entry(peer.ports).or_default().push(match &peer.whom {
                        Whom::Network(net) if net.prefix_len() == net.max_prefix_len() => {
                            quoted(&net.addr().to_string())
                        }
                        Whom::Network(net) => quoted(&net.to_string()),
                        Whom::Name(name) => quoted(name),
                    });
                }
                let _ = writeln!(out, "    {key}:{}", if by_port.is_empty() { " []" } else { "" });
                for (ports, whom) in by_port {
                    let _ = writeln!(out, "      - {peers}: [{}]\n        ports: [{ports}]", whom.join(", "));
                }
            }
        }
        if self.images.is_empty() {
            out.push_str("  []\n");
        }
        out
    }
}

/// JSON's texts are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether an image of this reference can be learned: one that a glob stands for itself.
fn is_learnable(image: &str) -> bool {
    image.len() <= MAX_REFERENCE
        && !image.contains(['*', '?', '[', ']', '{', '}', '!', '\\', ','])
        && Reference::parse(image).is_some()
}

/// A baseline as it was stored; `None` where it has more than was ever stored.
fn stored(baseline: &Baseline) -> Option<LearnedImage> {
    let mut peers = BTreeSet::new();
    let all = [(Direction::Outbound, &baseline.outbound), (Direction::Inbound, &baseline.inbound)];
    for (direction, rules) in all {
        for rule in rules.iter().flatten() {
            let networks = rule.networks.iter().map(|net| Whom::Network(*net));
            let names = rule.names.iter().map(|glob| Whom::Name(glob.glob().glob().into()));
            for whom in networks.chain(names) {
                peers.extend(rule.ports.iter().map(|ports| LearnedPeer {
                    direction,
                    ports: *ports,
                    whom: whom.clone(),
                }));
                if peers.len() > MAX_PEERS {
                    return None;
                }
            }
        }
    }
    Some(LearnedImage { seconds: baseline.learned_seconds.unwrap_or(0), is_full: baseline.is_full, peers })
}

#[cfg(test)]
#[path = "learned_tests.rs"]
mod tests;
