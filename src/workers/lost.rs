//! Reports which containers lose verdicts by their own flood: counted, and at most once a minute for each.

use super::worker::{Inbox, Job, Queue};
use crate::events::LostReport;
use crossbeam_channel::RecvTimeoutError;
use drift_core::container::identity::Identity;
use drift_core::container::registry::Container;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long what is lost is added up before the first report.
const FIRST: Duration = Duration::from_secs(1);
/// Least time between two reports on a container.
const INTERVAL: Duration = Duration::from_secs(60);
/// Longest wait while nothing is to be reported.
const IDLE: Duration = Duration::from_secs(10);
/// Most containers added up.
const MAX_CONTAINERS: usize = 1024;

/// Something that is not looked at.
#[derive(Debug)]
pub struct Lost {
    container: Box<str>,
    image: Option<String>,
    identity: Option<Arc<Identity>>,
    worker: &'static str,
}

impl Job for Lost {
    fn container(&self) -> Option<&str> {
        Some(&self.container)
    }
}

/// Where workers say what they lose.
#[derive(Debug, Clone)]
pub struct Losses(pub(super) Queue<Lost>);

impl Losses {
    /// Notes that a worker does not look at something of a container.
    pub(super) fn note(&self, container: &Container, worker: &'static str) {
        let (image, identity) = (container.declaration.reference(), container.declaration.identity());
        let lost = Lost { container: container.id.clone(), image, identity, worker };
        // A container whose losses fill this queue too is reported by those that are in it.
        let _ = self.0.send(lost);
    }
}

#[derive(Debug, Default)]
struct Sum {
    image: Option<String>,
    identity: Option<Arc<Identity>>,
    counts: BTreeMap<&'static str, u64>,
    due: Option<Instant>,
    /// When the last report was.
    reported: Option<Instant>,
}

/// Adds up what is lost until `stop`, or until the queue closes.
pub(super) fn run(inbox: &Inbox<Lost>, stop: &AtomicBool, report: &dyn Fn(&LostReport)) {
    let mut sums: HashMap<Box<str>, Sum> = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        let next = sums.values().filter_map(|sum| sum.due).min();
        let wait = next.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()).min(IDLE));
        match inbox.recv_timeout(wait) {
            Ok(lost) => add(&mut sums, lost, Instant::now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        due(&mut sums, Instant::now()).iter().for_each(report);
    }
}

fn add(sums: &mut HashMap<Box<str>, Sum>, lost: Lost, now: Instant) {
    if !sums.contains_key(&lost.container) && sums.len() >= MAX_CONTAINERS {
        return;
    }
    let sum = sums.entry(lost.container).or_default();
    *sum.counts.entry(lost.worker).or_default() += 1;
    sum.image = lost.image.or(sum.image.take());
    sum.identity = lost.identity.or(sum.identity.take());
    sum.due.get_or_insert_with(|| sum.reported.map_or(now + FIRST, |at| (at + INTERVAL).max(now + FIRST)));
}

fn due(sums: &mut HashMap<Box<str>, Sum>, now: Instant) -> Vec<LostReport> {
    let mut reports = Vec::new();
    for (container, sum) in sums.iter_mut().filter(|(_, sum)| sum.due.is_some_and(|due| due <= now)) {
        let counts = std::mem::take(&mut sum.counts);
        sum.due = None;
        sum.reported = Some(now);
        reports.push(LostReport {
            container: container.clone(),
            image: sum.image.clone(),
            identity: sum.identity.clone(),
            counts,
        });
    }
    sums.retain(|_, sum| sum.due.is_some() || sum.reported.is_some_and(|at| now < at + INTERVAL));
    reports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_added_up_and_reported_once_a_minute() {
        let mut sums = HashMap::new();
        let now = Instant::now();
        let lost = |container: &str, worker| Lost {
            container: container.into(),
            image: None,
            identity: None,
            worker,
        };
        for _ in 0..1000 {
            add(&mut sums, lost("hostile", "files"), now);
        }
        add(&mut sums, lost("hostile", "programs"), now);
        assert!(due(&mut sums, now).is_empty(), "added up first");
        let first = due(&mut sums, now + FIRST);
        let [report] = &first[..] else { panic!("{first:?}") };
        assert_eq!(report.counts, BTreeMap::from([("files", 1000), ("programs", 1)]));
        add(&mut sums, lost("hostile", "files"), now + 2 * FIRST);
        add(&mut sums, lost("other", "files"), now + 2 * FIRST);
        let next = due(&mut sums, now + 4 * FIRST);
        assert_eq!(next.iter().map(|r| &*r.container).collect::<Vec<_>>(), ["other"]);
        assert_eq!(due(&mut sums, now + FIRST + INTERVAL).len(), 1);
        due(&mut sums, now + 10 * INTERVAL);
        assert!(sums.is_empty(), "nothing is kept of a container that loses nothing");
    }
}
