//! Whom containers talk to, against a baseline for each image: reviewed by somebody, or learned.
//!
//! `baseline` reads and judges reviewed ones, `learned` has those that are learned, `store` their files,
//! `nameservers` and `dns` tell what the network itself needs. Invariants: where a reviewed baseline speaks
//! of an image and a direction, it alone counts; what is not known is `unknown`, and no peer is called
//! unexpected for that; nothing here knows of events.

pub mod baseline;
pub mod learned;
pub mod nameservers;
pub mod store;

use arc_swap::ArcSwap;
use baseline::{Baselines, Peer};
use learned::{Learned, Verdict};
use std::sync::atomic::{AtomicU64, Ordering};

/// Who began a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The container.
    Outbound,
    /// The other side.
    Inbound,
}

impl Direction {
    /// The field's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }
}

/// Whether a peer is expected: `drift.peer_expected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It is in the baseline.
    Expected,
    /// It is not.
    Unexpected,
    /// The image is being learned.
    Learning,
    /// There is no baseline, or the image is not known.
    Unknown,
}

impl Expected {
    /// The field's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Unexpected => "unexpected",
            Self::Learning => "learning",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a baseline comes from: `drift.peer_baseline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A file of the configuration.
    Reviewed,
    /// Drift learned it.
    Learned,
}

impl Origin {
    /// The field's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reviewed => "reviewed",
            Self::Learned => "learned",
        }
    }
}

/// What is thought of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opinion {
    /// Whether it is expected.
    pub expected: Expected,
    /// By which baseline; `None` where there is none.
    pub origin: Option<Origin>,
    /// It is to be learned.
    pub learn: bool,
}

impl Opinion {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { expected: Expected::Unknown, origin: None, learn: false };
}

/// The baselines in force; replaced as a whole.
#[derive(Debug)]
pub struct Network {
    reviewed: ArcSwap<Baselines>,
    learned: Option<ArcSwap<Learned>>,
    generation: AtomicU64,
}

impl Network {
    /// Baselines as they were read; `None` where nothing is learned.
    pub fn new(reviewed: Baselines, learned: Option<Learned>) -> Self {
        Self {
            reviewed: ArcSwap::from_pointee(reviewed),
            learned: learned.map(ArcSwap::from_pointee),
            generation: AtomicU64::new(1),
        }
    }

    /// A number that changes whenever a baseline does.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts other reviewed baselines in force.
    pub fn set_reviewed(&self, reviewed: Baselines) {
        self.reviewed.store(std::sync::Arc::new(reviewed));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Puts what was learned by now in force.
    pub fn set_learned(&self, learned: Learned) {
        if let Some(current) = &self.learned {
            current.store(std::sync::Arc::new(learned));
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// What was learned by now; `None` where nothing is.
    pub fn learned(&self) -> Option<std::sync::Arc<Learned>> {
        self.learned.as_ref().map(ArcSwap::load_full)
    }

    /// The reviewed baselines that speak of an image, by their numbers; good for one generation.
    pub fn reviewed_of(&self, image: &str) -> Box<[u32]> {
        self.reviewed.load().of(image)
    }

    /// What is thought of a peer of an image's container. `reviewed` is [`Network::reviewed_of`] that image.
    pub fn judge(&self, image: &str, reviewed: &[u32], peer: &Peer<'_>) -> Opinion {
        if let Some(expected) = self.reviewed.load().expect(reviewed, peer) {
            let expected = if expected { Expected::Expected } else { Expected::Unexpected };
            return Opinion { expected, origin: Some(Origin::Reviewed), learn: false };
        }
        let Some(learned) = &self.learned else { return Opinion::UNKNOWN };
        let (expected, learn) = match learned.load().judge(image, peer) {
            Verdict::Expected => (Expected::Expected, false),
            Verdict::Unexpected => (Expected::Unexpected, false),
            Verdict::Learning(is_new) => (Expected::Learning, is_new),
            Verdict::Unknown => return Opinion::UNKNOWN,
        };
        Opinion { expected, origin: Some(Origin::Learned), learn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Direction;
    use drift_formats::ports::Protocol;
    use learned::LearnedPeer;

    #[test]
    fn what_was_reviewed_counts_before_what_was_learned() {
        let reviewed = Baselines::parse("baselines: [{images: [a:1], outbound: []}]").unwrap();
        let mut learned = Learned::new(10);
        let address = std::net::IpAddr::from([10, 0, 0, 1]);
        let out =
            Peer { direction: Direction::Outbound, address, name: None, port: 1, protocol: Protocol::Tcp };
        let inbound = Peer { direction: Direction::Inbound, ..out };
        for peer in [out, inbound] {
            learned.add("a:1", LearnedPeer::of(&peer));
        }
        learned.watched("a:1", 10);
        let network = Network::new(reviewed, Some(learned));
        let judge = |image, peer: &Peer<'_>| {
            let opinion = network.judge(image, &network.reviewed_of(image), peer);
            (opinion.expected.as_str(), opinion.origin.map(Origin::as_str), opinion.learn)
        };
        assert_eq!(judge("a:1", &out), ("unexpected", Some("reviewed"), false));
        assert_eq!(
            judge("a:1", &inbound),
            ("expected", Some("learned"), false),
            "the reviewed one is silent"
        );
        assert_eq!(judge("b:1", &out), ("learning", Some("learned"), true));
        let before = network.generation();
        network.set_reviewed(Baselines::default());
        assert_ne!(network.generation(), before);
        assert_eq!(judge("a:1", &out), ("expected", Some("learned"), false));
        let nothing = Network::new(Baselines::default(), None);
        assert_eq!(nothing.judge("a:1", &[], &out), Opinion::UNKNOWN);
    }
}
