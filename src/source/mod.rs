//! The event source `drift`: what no system call shows.
//!
//! Every running container is compared with its image, again and again, on one thread at a share of one CPU.
//! One event for each finding, once; again only when it changes; and one when it is gone. Invariants: the
//! thread starts when the engine opens the source and is joined when it closes it; the queue to the engine is
//! bounded, and the thread waits where it is full; what is remembered of a container is bounded and goes with
//! it.

mod checks;
pub mod event;
pub mod params;
pub mod scanner;
mod told;

use crate::metrics::Metrics;
use crate::workers::background_io;
use crate::workers::worker::{Guarded, STOP};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use params::Params;
use scanner::{Means, Scanner};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name of the source, for rules (`source: drift`).
pub const NAME: &std::ffi::CStr = c"drift";

/// Number of the source in captures: "DRIF", from the range that is free for private use (1073741824 to
/// 2147483647).
pub const PLUGIN_ID: u32 = 0x4452_4946;

/// Events waiting for the engine.
const QUEUE: usize = 1024;
/// Most events handed over at once.
const BATCH: usize = 128;
/// How long the engine waits for an event before it looks after other things.
const WAIT: Duration = Duration::from_millis(500);

/// Most bytes that are kept of what was told.
#[cfg(test)]
pub(crate) const MAX_KEPT_BYTES: usize = told::MAX_BYTES_OF_ALL;

/// What the engine is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// These events.
    Events(Vec<Vec<u8>>),
    /// None yet.
    Nothing,
    /// None any more.
    End,
}

/// An open source.
#[derive(Debug)]
pub struct Opened {
    events: Option<Receiver<Vec<u8>>>,
    stop: Arc<AtomicBool>,
    thread: Guarded,
    metrics: Arc<Metrics>,
}

impl Opened {
    /// Starts comparing.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(params: Params, means: Means) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, events) = crossbeam_channel::bounded(QUEUE);
        let (stopped, metrics) = (Arc::clone(&stop), Arc::clone(&means.metrics));
        let work = move || {
            background_io();
            Scanner::new(params.clone(), means.clone(), sender.clone(), Arc::clone(&stopped)).run();
        };
        let thread = Guarded::spawn("drift-source", &stop, &metrics, work)?;
        Ok(Self { events: Some(events), stop, thread, metrics })
    }

    /// The next events, after a short wait at most.
    pub fn next(&self) -> Next {
        let Some(events) = &self.events else { return Next::End };
        match events.recv_timeout(WAIT) {
            Ok(first) => Next::Events(std::iter::once(first).chain(events.try_iter().take(BATCH)).collect()),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that waits for room in the queue is woken.
        self.events = None;
        // And one that waits for something to do.
        self.thread.unpark();
        self.thread.join(Instant::now() + STOP, &self.metrics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, RawConfig};

    #[test]
    fn closing_it_wakes_a_thread_that_has_nothing_to_do() {
        let nowhere = tempfile::tempdir().unwrap();
        for when_read in [true, false] {
            let raw = RawConfig {
                host_root: Some(nowhere.path().to_str().unwrap().to_owned()),
                ..RawConfig::default()
            };
            let means = Means {
                config: Arc::new(Config::try_from(raw).unwrap()),
                manifests: Vec::new(),
                approved: None,
                metrics: Arc::default(),
                is_read: Arc::default(),
            };
            let opened = Opened::start(Params { when_read, ..Params::default() }, means).unwrap();
            // By now it sleeps for a second and more.
            std::thread::sleep(Duration::from_millis(1000));
            let closing = Instant::now();
            drop(opened);
            assert!(closing.elapsed() < Duration::from_millis(300), "{when_read}: {:?}", closing.elapsed());
        }
    }
}
