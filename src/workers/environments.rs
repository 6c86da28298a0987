//! Judges environments that could not be judged when their program was started: what the container declares
//! was not read yet, or the event had no room for all of it.
//!
//! Invariant: bounded in number, bytes and time. A thread of its own: the memory that is read is a
//! container's.

use super::worker::{share_of, Inbox};
use crate::events::EnvironmentReport;
use crate::facts::EarlyEnvironment;
use crate::metrics::Metrics;
use crossbeam_channel::RecvTimeoutError;
use drift_core::container::declared::environment::Variables;
use drift_core::container::live::is_member;
use drift_core::host::Host;
use drift_core::scan::environment_of;
use drift_core::verdict::environment::{judge, new_bytes, OfContainer, Subject, CUT, CUT_BYTES};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether what a container declares is known by now.
const TICK: Duration = Duration::from_millis(250);
/// Longest wait for work. A stop closes the queue, which ends it.
const IDLE: Duration = Duration::from_secs(10);
/// How long what a container declares may take to be known; its files are read three times within 6 seconds.
const LIMIT: Duration = Duration::from_secs(15);
/// Most environments that wait for that, each of 64 KiB at most.
const MAX_WAITING: usize = 256;
const MAX_KEPT: usize = 64 << 10;

/// The worker.
#[derive(Debug)]
pub(crate) struct Environments {
    host: Host,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    /// Most environments of one container that wait.
    share: usize,
}

impl Environments {
    /// A worker that works until `stop`.
    pub(crate) fn new(host: Host, metrics: Arc<Metrics>, stop: Arc<AtomicBool>, parts: usize) -> Self {
        Self { host, metrics, stop, share: share_of(MAX_WAITING, parts) }
    }

    /// Judges what comes until the queue closes.
    pub(crate) fn run(&self, jobs: &Inbox<EarlyEnvironment>, report: &dyn Fn(&EnvironmentReport)) {
        let mut waiting: Vec<EarlyEnvironment> = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            match jobs.recv_timeout(if waiting.is_empty() { IDLE } else { TICK }) {
                Ok(job) => {
                    let job = self.completed(job);
                    let of_container = waiting.iter().filter(|w| w.container.id == job.container.id).count();
                    match is_declared(&job) || (waiting.len() < MAX_WAITING && of_container < self.share) {
                        true => waiting.push(job),
                        false => self.metrics.declarer_dropped.inc(),
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let (due, later) = waiting.drain(..).partition(is_declared);
            waiting = later;
            due.into_iter().filter_map(|job| self.judge(job)).for_each(|found| report(&found));
            waiting.retain(|job| job.since.elapsed() < LIMIT);
        }
    }

    /// Reads the whole of an environment that the event cut, while its process runs.
    fn completed(&self, mut job: EarlyEnvironment) -> EarlyEnvironment {
        let whole = job.is_cut.then(|| self.environment(&job, job.tid)).flatten();
        // The same beginning: the process has not started another program since.
        let begins = job.environment.len().saturating_sub(1);
        let Some((whole, cut)) =
            whole.filter(|(whole, _)| whole.get(..begins) == job.environment.get(..begins))
        else {
            return job;
        };
        if let Some((of_parent, _)) = self.host.parent_of(job.tid).and_then(|p| self.environment(&job, p)) {
            job.known.extend(&Variables::of(&of_parent));
        }
        job.is_cut = cut || whole.len() > MAX_KEPT;
        job.environment = whole.get(..MAX_KEPT).unwrap_or(&whole).into();
        job
    }

    /// The environment of a process of the job's container, and whether it is cut.
    fn environment(&self, job: &EarlyEnvironment, pid: i64) -> Option<(Vec<u8>, bool)> {
        let (environment, whole) = environment_of(&self.host, pid)?;
        is_member(&self.host, pid, &job.container.id).then_some((environment, !whole))
    }

    /// What is found of an environment whose container's declaration is known.
    fn judge(&self, early: EarlyEnvironment) -> Option<EnvironmentReport> {
        let read = early.container.declaration.read();
        let declared = read.as_ref()?;
        if early.by_command {
            let first = early.container.declaration.first_exec.get();
            let argv: Vec<&[u8]> =
                first.iter().flat_map(|(_, argv)| argv).map(|argument| &**argument).collect();
            if declared.runs_entrypoint(&argv) == Some(true) {
                return None;
            }
        }
        let declared = declared.environment.as_ref()?;
        let EarlyEnvironment { environment, is_cut, cwd, known, .. } = &early;
        let subject = Subject { environment, is_cut: *is_cut, cwd: cwd.as_deref() };
        let files = OfContainer { host: &self.host, container: &early.container, pid: early.tid };
        let mut names = judge(declared, subject, known, &files);
        if names.risky.is_empty() && *is_cut && new_bytes(declared, subject, known) >= CUT_BYTES {
            names.risky.push(CUT.into());
        }
        drop(read);
        (!names.risky.is_empty()).then_some(EnvironmentReport { early, names })
    }
}

fn is_declared(job: &EarlyEnvironment) -> bool {
    job.container.declaration.read().as_ref().is_some_and(|declared| declared.environment.is_some())
}
