//! A worker: one thread with a bounded queue.
//!
//! Invariants: the event thread never waits for a worker, what does not fit is counted; no container takes
//! more than its share of a queue; a panic is counted and the loop starts again; a stop has a deadline, and a
//! thread that does not keep it (it waits for a disk or a server that does not answer) is abandoned, counted,
//! and its code stays loaded.

use crate::logging::warn_once;
use crate::metrics::{Counter, Metrics};
use crate::workers::lost::Losses;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use drift_core::container::registry::Container;
use hashbrown::DefaultHashBuilder;
use std::hash::BuildHasher;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a stop waits for threads.
pub const STOP: Duration = Duration::from_secs(2);
/// First and longest pause before a loop that panicked starts again.
const RESTART: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// A loop that ran this long before it panicked starts again after the first pause.
const HEALTHY: Duration = Duration::from_secs(60);
/// Longest sleep at a time, so that a stop is not kept waiting.
pub(super) const NAP: Duration = Duration::from_millis(50);
/// Places for the counts of containers' jobs. Two containers that fall on one place share a share; which ones
/// do, no container can choose: the hash is keyed.
const PLACES: usize = 4096;
/// Niceness of workers: they yield to the event thread, but on a busy node they still run (at 19 they
/// starve).
const NICE: i32 = 5;

/// What a queue holds.
pub trait Job: Send + 'static {
    /// The container whose share of the queue the job takes; `None`: nobody's.
    fn container(&self) -> Option<&str>;

    /// Whose verdict is lost with the job, and what it was to be; `None` where it is asked for again, or
    /// nobody's.
    fn loss(&self) -> Option<(&Container, &'static str)> {
        None
    }
}

/// Why a job was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The queue is full, or closed.
    Full,
    /// The container has its share of the queue already.
    Share,
}

/// How many of something each container has.
#[derive(Debug)]
struct Shares {
    most: usize,
    counts: Vec<AtomicUsize>,
    /// Keyed, and cheap: the event thread hashes an id with each job.
    hasher: DefaultHashBuilder,
}

impl Shares {
    fn place(&self, container: &str) -> Option<&AtomicUsize> {
        let hash = usize::try_from(self.hasher.hash_one(container) & 0xffff_ffff).unwrap_or(0);
        self.counts.get(hash % PLACES)
    }
}

/// A job, and the place of a share that it takes while it waits.
struct Queued<J> {
    job: J,
    shares: Arc<Shares>,
    owned: bool,
}

impl<J: Job> Queued<J> {
    fn take(self) -> J {
        if let Some(place) = self.job.container().filter(|_| self.owned).and_then(|c| self.shares.place(c)) {
            place.fetch_sub(1, Ordering::Relaxed);
        }
        self.job
    }
}

/// The end that takes jobs.
pub struct Queue<J> {
    jobs: Sender<Queued<J>>,
    shares: Arc<Shares>,
}

impl<J> Clone for Queue<J> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), shares: Arc::clone(&self.shares) }
    }
}

impl<J> std::fmt::Debug for Queue<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("length", &self.jobs.len()).finish_non_exhaustive()
    }
}

/// The end that a worker reads.
pub struct Inbox<J>(Receiver<Queued<J>>);

impl<J> std::fmt::Debug for Inbox<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("length", &self.0.len()).finish_non_exhaustive()
    }
}

/// A queue of `capacity` jobs, of which each container has room for one part in `parts`.
pub fn queue<J: Job>(capacity: usize, parts: usize) -> (Queue<J>, Inbox<J>) {
    let (jobs, inbox) = crossbeam_channel::bounded(capacity);
    let counts = std::iter::repeat_with(AtomicUsize::default).take(PLACES).collect();
    let shares =
        Arc::new(Shares { most: share_of(capacity, parts), counts, hasher: DefaultHashBuilder::default() });
    (Queue { jobs, shares }, Inbox(inbox))
}

/// One part in `parts` of a table or queue.
pub(super) fn share_of(capacity: usize, parts: usize) -> usize {
    (capacity / parts.max(1)).max(1)
}

impl<J: Job> Queue<J> {
    /// Adds a job, without waiting.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn send(&self, job: J) -> Result<(), Refused> {
        match self.offer(job) {
            None => Ok(()),
            Some((refused, _)) => Err(refused),
        }
    }

    /// Adds a job, without waiting; gives it back where there is no room for it.
    fn offer(&self, job: J) -> Option<(Refused, J)> {
        let place = job.container().and_then(|container| self.shares.place(container));
        if let Some(place) = place {
            if place.fetch_add(1, Ordering::Relaxed) >= self.shares.most {
                place.fetch_sub(1, Ordering::Relaxed);
                return Some((Refused::Share, job));
            }
        }
        let owned = place.is_some();
        let queued = Queued { job, shares: Arc::clone(&self.shares), owned };
        let (TrySendError::Full(queued) | TrySendError::Disconnected(queued)) =
            self.jobs.try_send(queued).err()?;
        Some((Refused::Full, queued.take()))
    }
}

impl Refused {
    /// Counts it by reason.
    pub(super) fn count(self, metrics: &Metrics) {
        match self {
            Self::Full => {
                metrics.queue_full.inc();
                warn_once!(
                    "a worker's queue is full: work is dropped. Metrics *_dropped count it, by worker"
                );
            }
            Self::Share => {
                metrics.over_share.inc();
                warn_once!(
                    "a container uses up its share of a worker's queue: its work is dropped. Metric over_share"
                );
            }
        }
    }
}

impl<J: Job> Inbox<J> {
    /// Waits for a job.
    ///
    /// # Errors
    /// None came, or the queue is closed.
    pub fn recv_timeout(&self, wait: Duration) -> Result<J, RecvTimeoutError> {
        self.0.recv_timeout(wait).map(Queued::take)
    }

    /// Jobs until the queue is closed.
    pub fn iter(&self) -> impl Iterator<Item = J> + '_ {
        self.0.iter().map(Queued::take)
    }

    /// The jobs that are there.
    pub fn try_iter(&self) -> impl Iterator<Item = J> + '_ {
        self.0.try_iter().map(Queued::take)
    }
}

/// A thread that is restarted when it panics, and stopped with a deadline.
#[derive(Debug)]
pub struct Guarded {
    thread: Option<JoinHandle<()>>,
}

impl Guarded {
    /// Starts a thread that does `work` until that returns, again after each panic until `stop`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn spawn(
        name: &str,
        stop: &Arc<AtomicBool>,
        metrics: &Arc<Metrics>,
        work: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, metrics) = (Arc::clone(stop), Arc::clone(metrics));
        let guarded = move || {
            lower_priority();
            let mut pause = RESTART.0;
            loop {
                let began = Instant::now();
                // State is made by `work` itself, so that nothing half done is seen by the next round.
                if catch_unwind(AssertUnwindSafe(&work)).is_ok() {
                    return;
                }
                metrics.worker_panics.inc();
                log::error!(
                    "a worker panicked and is started again; this is a bug. Metric worker_panics counts them"
                );
                if began.elapsed() > HEALTHY {
                    pause = RESTART.0;
                }
                sleep(pause, &stop);
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                pause = (pause * 2).min(RESTART.1);
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(guarded)?;
        Ok(Self { thread: Some(thread) })
    }

    /// Wakes a thread that is parked.
    pub fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Waits for the thread's end until the deadline; one that goes on is abandoned.
    pub fn join(&mut self, deadline: Instant, metrics: &Metrics) {
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                metrics.workers_abandoned.inc();
                log::warn!("a worker did not end in time and was left behind");
                super::loaded::keep();
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // Its panics were caught and counted there.
        let _ = thread.join();
    }
}

/// A worker and its queue.
#[derive(Debug)]
pub struct Worker<J> {
    queue: Option<Queue<J>>,
    thread: Guarded,
    metrics: Arc<Metrics>,
    dropped: fn(&Metrics) -> &Counter,
    losses: Option<Losses>,
}

/// What the workers of an instance have in common.
#[derive(Debug, Clone)]
pub struct Common {
    /// Set when they are to stop.
    pub stop: Arc<AtomicBool>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// A container's share of each queue: one part in so many.
    pub parts: usize,
    /// Where losses are reported.
    pub losses: Option<Losses>,
}

impl<J: Job> Worker<J> {
    /// Starts a worker; `dropped` counts the jobs that were refused.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        name: &str,
        capacity: usize,
        common: &Common,
        dropped: fn(&Metrics) -> &Counter,
        work: impl Fn(&Inbox<J>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, inbox) = queue(capacity, common.parts);
        let thread = Guarded::spawn(name, &common.stop, &common.metrics, move || work(&inbox))?;
        let (metrics, losses) = (Arc::clone(&common.metrics), common.losses.clone());
        Ok(Self { queue: Some(queue), thread, metrics, dropped, losses })
    }

    /// Adds a job without waiting; a refusal is counted.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn send(&self, job: J) -> Result<(), Refused> {
        let Some(queue) = &self.queue else { return Err(Refused::Full) };
        let Some((refused, job)) = queue.offer(job) else { return Ok(()) };
        (self.dropped)(&self.metrics).inc();
        refused.count(&self.metrics);
        if let (Some(losses), Some((container, what))) = (&self.losses, job.loss()) {
            losses.note(container, what);
        }
        Err(refused)
    }

    /// Another end of the queue, for other workers.
    pub fn queue(&self) -> Option<Queue<J>> {
        self.queue.clone()
    }

    /// Jobs that wait.
    pub fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.jobs.len())
    }

    /// Closes the queue, which ends the thread's wait for jobs.
    pub fn close(&mut self) {
        self.queue = None;
        self.losses = None;
    }

    /// As [`Guarded::join`].
    pub fn join(&mut self, deadline: Instant) {
        self.thread.join(deadline, &self.metrics);
    }
}

/// Sleeps in naps, until `stop`.
pub(super) fn sleep(time: Duration, stop: &AtomicBool) {
    let until = Instant::now() + time;
    while !stop.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(NAP));
    }
}

/// A worker yields to everything else that is in a hurry. Refusal changes nothing but speed.
fn lower_priority() {
    // On Linux this is the calling thread's priority, not the process's (setpriority(2), NOTES).
    let _ = rustix::process::setpriority_process(None, NICE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Number(&'static str, u32);

    impl Job for Number {
        fn container(&self) -> Option<&str> {
            Some(self.0).filter(|name| !name.is_empty())
        }
    }

    fn common() -> Common {
        Common { stop: Arc::default(), metrics: Arc::default(), parts: 4, losses: None }
    }

    #[test]
    fn a_container_has_a_share_of_a_queue_and_leaves_the_rest_to_others() {
        let (queue, inbox) = queue::<Number>(16, 4);
        let sent = |name, n| (0..n).map(|i| queue.send(Number(name, i)).is_ok()).filter(|ok| *ok).count();
        assert_eq!(sent("hostile", 100), 4);
        assert_eq!(queue.send(Number("hostile", 0)), Err(Refused::Share));
        assert_eq!(sent("other", 3), 3);
        assert_eq!(sent("", 100), 9, "nobody's have the rest");
        assert_eq!(queue.send(Number("third", 0)), Err(Refused::Full));
        assert_eq!(inbox.try_iter().count(), 16);
        assert_eq!(sent("hostile", 100), 4, "what was taken makes room");
        assert_eq!(sent("third", 1), 1, "a refusal left no trace");
    }

    #[test]
    fn a_loop_that_panics_is_counted_and_starts_again() {
        let common = common();
        let (done, results) = crossbeam_channel::unbounded();
        let mut worker = Worker::start(
            "test",
            16,
            &common,
            |m| &m.verifier_dropped,
            move |inbox| {
                for Number(_, n) in inbox.iter() {
                    assert_ne!(n, 13, "a job that a worker cannot bear");
                    done.send(n).unwrap();
                }
            },
        )
        .unwrap();
        for n in [1, 13, 2] {
            worker.send(Number("", n)).unwrap();
        }
        let next = || results.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!((next(), next()), (1, 2));
        assert_eq!(common.metrics.worker_panics.get(), 1);
        worker.close();
        worker.join(Instant::now() + STOP);
        assert_eq!(common.metrics.workers_abandoned.get(), 0);
    }

    #[test]
    fn a_thread_that_does_not_end_is_abandoned_at_the_deadline() {
        let common = common();
        let (_release, hold) = crossbeam_channel::bounded::<()>(0);
        let mut worker = Worker::<Number>::start(
            "test",
            1,
            &common,
            |m| &m.verifier_dropped,
            move |_| {
                let _ = hold.recv_timeout(Duration::from_secs(60));
            },
        )
        .unwrap();
        worker.close();
        let asked = Instant::now();
        worker.join(asked + Duration::from_millis(100));
        assert!(asked.elapsed() < Duration::from_secs(10));
        assert_eq!(common.metrics.workers_abandoned.get(), 1);
    }

    #[test]
    fn what_is_refused_is_counted_by_worker_and_reason() {
        let common = common();
        let (_release, hold) = crossbeam_channel::bounded::<()>(0);
        let worker = Worker::start(
            "test",
            8,
            &common,
            |m| &m.verifier_dropped,
            move |_| {
                let _ = hold.recv_timeout(Duration::from_secs(60));
            },
        )
        .unwrap();
        let results: Vec<_> = (0..4).map(|n| worker.send(Number("a", n))).collect();
        assert_eq!(results, [Ok(()), Ok(()), Err(Refused::Share), Err(Refused::Share)]);
        let metrics = &common.metrics;
        let counts = [metrics.verifier_dropped.get(), metrics.over_share.get(), metrics.queue_full.get()];
        assert_eq!(counts, [2, 2, 0]);
        assert_eq!(worker.waiting(), 2);
    }
}
