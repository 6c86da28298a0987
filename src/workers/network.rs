//! Learns whom containers talk to, stores it, and reads baselines again when their files change.
//!
//! Invariants: what was learned is in the file within [`LOOK_INTERVAL`], and at an orderly end; everything
//! that waits is bounded; only time in which a container of the image runs counts.

use crate::config::{Config, Learning};
use crate::events::PeerReport;
use crate::facts::EarlyPeer;
use crate::metrics::Metrics;
use crate::workers::worker::Inbox;
use crossbeam_channel::RecvTimeoutError;
use drift_core::container::registry::Container;
use drift_core::host::Host;
use drift_core::network::learned::{Learned, LearnedPeer};
use drift_core::network::{store, Expected, Network};
use drift_core::policy::lists;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the thread waits for a notice before it looks after the rest.
const TICK: Duration = Duration::from_millis(500);
/// How often files are looked at, the time of containers is counted, and new peers are stored.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How often the time that an image has been learned for is stored.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// How long a container's image may take to be known; its files are read three times within 6 seconds.
const EARLY_LIMIT: Duration = Duration::from_secs(15);
/// Most peers that wait for that.
const MAX_EARLY: usize = 4096;
/// Most containers whose time is counted.
const MAX_CONTAINERS: usize = 16_384;

/// What the event thread tells.
#[derive(Debug)]
pub enum Notice {
    /// A container that was looked at.
    Container(Arc<Container>),
    /// A peer of an image that is being learned.
    Peer(Box<str>, LearnedPeer),
    /// A peer of a container whose image was not known yet.
    Early(Box<EarlyPeer>),
}

/// The thread's work.
#[derive(Debug)]
pub struct Learner {
    network: Arc<Network>,
    host: Host,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
}

/// What the thread keeps.
#[derive(Default)]
struct State {
    /// What was learned, further than what is in force.
    learned: Learned,
    /// It is to be put in force.
    is_changed: bool,
    /// Peers of it are not stored yet, or the end of an image's learning.
    is_unsaved: bool,
    /// Times of it are not stored yet.
    has_more_time: bool,
    running: Vec<Arc<Container>>,
    early: Vec<EarlyPeer>,
    files: lists::State,
}

impl Learner {
    /// A thread's work, until `stop`.
    pub fn new(
        network: Arc<Network>,
        host: Host,
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self { network, host, config, metrics, stop }
    }

    /// Takes notices until the queue closes.
    pub fn run(&self, notices: &Inbox<Notice>, report: &dyn Fn(&PeerReport)) {
        let mut state = State {
            learned: self.network.learned().map(|l| (*l).clone()).unwrap_or_default(),
            files: lists::state(&self.config.network_baselines),
            ..State::default()
        };
        let (mut looked, mut saved) = (Instant::now(), Instant::now());
        loop {
            let ended = match notices.recv_timeout(TICK) {
                Ok(notice) => {
                    self.take(notice, &mut state);
                    for notice in notices.try_iter() {
                        self.take(notice, &mut state);
                    }
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            self.judge_early(&mut state, report);
            if ended || self.stop.load(Ordering::Relaxed) {
                self.count_time(&mut state, looked.elapsed());
                if state.is_unsaved || state.has_more_time {
                    self.save(&mut state);
                }
                return;
            }
            self.publish(&mut state);
            if looked.elapsed() < LOOK_INTERVAL {
                continue;
            }
            self.count_time(&mut state, looked.elapsed());
            looked = Instant::now();
            self.reload(&mut state);
            self.publish(&mut state);
            if state.is_unsaved || (state.has_more_time && saved.elapsed() >= SAVE_INTERVAL) {
                saved = Instant::now();
                self.save(&mut state);
            }
        }
    }

    fn take(&self, notice: Notice, state: &mut State) {
        match notice {
            Notice::Container(container) if state.running.len() < MAX_CONTAINERS => {
                state.running.push(container)
            }
            Notice::Container(_) => self.metrics.queue_full.inc(),
            Notice::Peer(image, peer) => self.learn(&image, peer, state),
            Notice::Early(early) if state.early.len() < MAX_EARLY => state.early.push(*early),
            Notice::Early(_) => self.metrics.queue_full.inc(),
        }
    }

    fn learn(&self, image: &str, peer: LearnedPeer, state: &mut State) {
        if self.config.learning.is_some() && state.learned.add(image, peer) {
            (state.is_changed, state.is_unsaved) = (true, true);
        }
    }

    /// Judges the peers of containers whose images are known by now.
    fn judge_early(&self, state: &mut State, report: &dyn Fn(&PeerReport)) {
        for early in std::mem::take(&mut state.early) {
            let image = early.container.declaration.image.load_full();
            let Some(reference) = image.as_ref().and_then(|image| image.identity.reference.as_deref()) else {
                if early.since.elapsed() < EARLY_LIMIT && state.early.len() < MAX_EARLY {
                    state.early.push(early);
                }
                continue;
            };
            let servers = early.container.declaration.nameservers();
            if early.peer.port == 53 && servers.contains(&early.peer.address) {
                continue;
            }
            let peer = early.peer.peer();
            let opinion = self.network.judge(reference, &self.network.reviewed_of(reference), &peer);
            if opinion.learn {
                self.learn(reference, LearnedPeer::of(&peer), state);
            }
            if opinion.expected == Expected::Unexpected {
                report(&PeerReport { early, opinion });
            }
        }
    }

    /// Counts the time of images of which a container runs.
    fn count_time(&self, state: &mut State, time: Duration) {
        // Every process of a container is looked at once only, and a new one is asked for when that one has
        // ended.
        state.running.retain(|container| {
            let live = container.live.as_ref().filter(|live| !live.has_ended());
            live.is_some_and(|live| self.host.cgroups(live.pid()).is_some())
        });
        if self.config.learning.is_none() {
            return;
        }
        let mut images: BTreeSet<String> = BTreeSet::new();
        for container in &state.running {
            let image = container.declaration.image.load();
            images.extend(image.as_ref().and_then(|image| image.identity.reference.clone()));
        }
        for image in images {
            // What is learned ends at the end of its time, whatever the seconds before say.
            let ended = state.learned.watched(&image, time.as_secs());
            state.is_changed |= ended;
            state.is_unsaved |= ended;
            state.has_more_time = true;
        }
    }

    fn publish(&self, state: &mut State) {
        if std::mem::take(&mut state.is_changed) {
            self.metrics.network_learning.set(state.learned.learning() as u64);
            self.metrics.network_learned.set(state.learned.peers() as u64);
            self.network.set_learned(state.learned.clone());
        }
    }

    fn save(&self, state: &mut State) {
        let Some(Learning { path, .. }) = &self.config.learning else { return };
        match store::save(path, &state.learned) {
            Ok(()) => (state.is_unsaved, state.has_more_time) = (false, false),
            // Tried again the next time.
            Err(_) => self.metrics.network_unsaved.inc(),
        }
    }

    fn reload(&self, state: &mut State) {
        let now = lists::state(&self.config.network_baselines);
        if now == state.files {
            return;
        }
        // A file that is being written is looked at again next time; the last good ones count until then.
        match store::load(&self.config.network_baselines) {
            Ok(baselines) => {
                self.network.set_reviewed(baselines);
                state.files = now;
            }
            Err(_) => self.metrics.network_failed.inc(),
        }
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
