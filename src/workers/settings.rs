//! Judges environments and ports that could not be judged at their event: what the container declares was not
//! read yet, the event had no room for all of an environment, or a UDP socket may be a client's.
//!
//! Invariant: bounded in number, bytes and time, and by shares of containers. A thread of its own: the memory
//! that is read is a container's.

use super::early_ports::EarlyPorts;
use super::worker::{share_of, Inbox};
use crate::events::EnvironmentReport;
use crate::facts::{EarlyEnvironment, EarlyPort};
use crate::metrics::Metrics;
use crate::workers::lost::Losses;
use crossbeam_channel::RecvTimeoutError;
use drift_core::container::declared::environment::Variables;
use drift_core::container::live::is_member;
use drift_core::container::registry::Container;
use drift_core::host::Host;
use drift_core::scan::environment_of;
use drift_core::scan::sockets::{bound_socket, Bound};
use drift_core::verdict::environment::{judge, new_bytes, OfContainer, Subject, CUT, CUT_BYTES};
use drift_core::verdict::origin::Origin;
use drift_core::verdict::port::{is_clients, is_given_out};
use drift_formats::path_key::value_key;
use drift_formats::ports::Protocol;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// What the event thread asks for.
#[derive(Debug)]
pub(crate) enum Setting {
    /// To judge an environment.
    Environment(Box<EarlyEnvironment>),
    /// To judge a port.
    Port(Box<EarlyPort>),
}

/// How often it is looked whether what a container declares is known by now, and after sockets.
const TICK: Duration = Duration::from_millis(100);
/// Longest wait for work. A stop closes the queue, which ends it.
const IDLE: Duration = Duration::from_secs(10);
/// How long what a container declares may take to be known; its files are read three times within 6 seconds.
const LIMIT: Duration = Duration::from_secs(15);
/// Most environments that wait for that, most bytes of one, and of all of them.
const MAX_WAITING: usize = 256;
const MAX_KEPT: usize = 64 << 10;
pub(super) const MAX_BYTES: usize = 2 << 20;
/// How long a UDP socket takes datagrams from anyone before it is a server's.
const SETTLE: Duration = Duration::from_millis(300);
/// Most sockets that are waited for, and most ports that are known to be reported.
const MAX_SOCKETS: usize = 1024;
const MAX_REPORTED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// The worker.
#[derive(Debug)]
pub(crate) struct Settings {
    host: Host,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    /// Most environments of one container that wait, and their bytes.
    share: usize,
    share_of_bytes: usize,
    parts: usize,
    losses: Losses,
}

impl Settings {
    /// A worker that works until `stop`.
    pub(crate) fn new(
        host: Host,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
        parts: usize,
        losses: Losses,
    ) -> Self {
        let share_of_bytes = share_of(MAX_BYTES, parts).max(MAX_KEPT);
        Self { host, metrics, stop, share: share_of(MAX_WAITING, parts), share_of_bytes, parts, losses }
    }

    /// Judges what comes until the queue closes.
    pub(crate) fn run(
        &self,
        jobs: &Inbox<Setting>,
        report: &dyn Fn(&EnvironmentReport),
        report_port: &dyn Fn(&EarlyPort),
    ) {
        let (mut waiting, mut sockets): (Vec<EarlyEnvironment>, Vec<EarlyPort>) = Default::default();
        let mut ports = EarlyPorts::new(self.parts);
        let mut reported = LruCache::new(MAX_REPORTED);
        while !self.stop.load(Ordering::Relaxed) {
            let is_idle = waiting.is_empty() && sockets.is_empty() && ports.is_empty();
            match jobs.recv_timeout(if is_idle { IDLE } else { TICK }) {
                Ok(Setting::Environment(job)) => {
                    let job = self.completed(*job);
                    match is_declared(&job) || self.has_room(&waiting, &job) {
                        true => waiting.push(job),
                        false => self.lose(&job.container, "environments"),
                    }
                }
                Ok(Setting::Port(port)) => self.take_port(*port, &mut ports, &mut sockets),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let (due, later) = waiting.drain(..).partition(is_declared);
            waiting = later;
            due.into_iter().filter_map(|job| self.judge(job)).for_each(|found| report(&found));
            waiting.retain(|job| job.since.elapsed() < LIMIT);
            let (settled, open) = sockets.drain(..).partition(|port| port.since.elapsed() >= SETTLE);
            sockets = open;
            let servers = Vec::into_iter(settled).filter(|port| is_servers(port, self.look(port), true));
            servers.for_each(|port| self.keep_port(port, &mut ports));
            ports.judge(&mut |port| {
                let key = (value_key(port.container.id.as_bytes()), port.thing);
                if reported.put(key, ()).is_none() {
                    report_port(port);
                }
            });
        }
    }

    /// Takes a port in. A UDP socket is looked at now, and again when it has settled.
    fn take_port(&self, port: EarlyPort, ports: &mut EarlyPorts, sockets: &mut Vec<EarlyPort>) {
        if port.socket.is_none() {
            return self.keep_port(port, ports);
        }
        match self.look(&port) {
            Bound::Open => {
                let of_container = sockets.iter().filter(|s| s.container.id == port.container.id).count();
                match sockets.len() < MAX_SOCKETS && of_container < self.share {
                    true => sockets.push(port),
                    false => self.lose(&port.container, "ports"),
                }
            }
            now if is_servers(&port, now, false) => self.keep_port(port, ports),
            _ => {}
        }
    }

    fn keep_port(&self, port: EarlyPort, ports: &mut EarlyPorts) {
        let container = Arc::clone(&port.container);
        if !ports.take(port) {
            self.lose(&container, "ports");
        }
    }

    /// Whether an environment may wait for its container's declaration.
    fn has_room(&self, waiting: &[EarlyEnvironment], job: &EarlyEnvironment) -> bool {
        let bytes = |of: &EarlyEnvironment| of.environment.len();
        let own = || waiting.iter().filter(|of| of.container.id == job.container.id);
        waiting.len() < MAX_WAITING
            && own().count() < self.share
            && own().map(bytes).sum::<usize>() + bytes(job) <= self.share_of_bytes
            && waiting.iter().map(bytes).sum::<usize>() + bytes(job) <= MAX_BYTES
    }

    /// Counts and reports a verdict that will not be given.
    fn lose(&self, container: &Container, what: &'static str) {
        self.metrics.declarer_dropped.inc();
        self.losses.note(container, what);
    }

    /// What became of a port's socket.
    fn look(&self, port: &EarlyPort) -> Bound {
        let Some((pid, fd)) = port.socket else { return Bound::Open };
        match bound_socket(&self.host, pid, fd) {
            _ if !is_member(&self.host, pid, &port.container.id) => Bound::Gone,
            found => found,
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

/// Whether a UDP port is a server's, by what its socket is now: `was_open` a moment after it was bound, when
/// a client had connected it to the peer that it calls.
fn is_servers(port: &EarlyPort, now: Bound, was_open: bool) -> bool {
    let is_images = matches!(port.origin, Some(Origin::Image | Origin::ImageTouched));
    let is_servers = match now {
        Bound::Open => true,
        // Connected later, it is to whoever came first.
        Bound::Connected => was_open,
        // Of a socket that was closed at once nothing is known, nor of one that a resolver asked from.
        Bound::Gone => !is_images || (was_open && !is_given_out(port.port)),
    };
    is_servers && !is_clients(Protocol::Udp, port.port, is_images)
}

#[cfg(test)]
mod tests {
    use super::*;
    use drift_core::container::declared::{environment::Environment, Declared};
    use drift_core::verdict::port::{thing, Scope};
    use drift_formats::image_config::EnvVar;
    use std::sync::Mutex;
    use std::time::Instant;

    fn container() -> Arc<Container> {
        Arc::new(Container {
            id: "c".into(),
            live: None,
            image: Err("not looked at".into()),
            from_manifest: false,
            drifts: Arc::default(),
            installed: Arc::default(),
            declaration: Arc::default(),
        })
    }

    fn port(container: &Arc<Container>, port: u16, origin: Origin) -> EarlyPort {
        EarlyPort {
            container: Arc::clone(container),
            protocol: Protocol::Udp,
            port,
            tid: 7,
            process: Arc::default(),
            command: "app".into(),
            origin: Some(origin),
            scope: Scope::Any,
            is_main: false,
            thing: thing(Protocol::Udp, port, b"/usr/bin/app"),
            socket: None,
            since: Instant::now(),
        }
    }

    #[test]
    fn udp_servers_are_told_from_clients() {
        let container = container();
        for (number, origin, now, was_open, want) in [
            // A client connects its socket at once; a server is connected, if ever, to who came first.
            (5353, Origin::Image, Bound::Connected, false, false),
            (5353, Origin::Image, Bound::Connected, true, true),
            (5353, Origin::Image, Bound::Open, true, true),
            // Closed before anyone could look, and after.
            (5353, Origin::Image, Bound::Gone, false, false),
            (5353, Origin::Image, Bound::Gone, true, true),
            (40_000, Origin::Image, Bound::Gone, true, false),
            // Where clients call from; a dropped program is none.
            (40_000, Origin::Image, Bound::Open, true, false),
            (40_000, Origin::Added, Bound::Open, true, true),
            (40_000, Origin::Added, Bound::Gone, false, true),
            (5353, Origin::Added, Bound::Connected, false, false),
        ] {
            let port = port(&container, number, origin);
            assert_eq!(is_servers(&port, now, was_open), want, "{number} {origin:?} {now:?} {was_open}");
        }
    }

    fn early(container: &Arc<Container>, environment: &str, is_cut: bool) -> Setting {
        Setting::Environment(Box::new(EarlyEnvironment {
            container: Arc::clone(container),
            // No process.
            tid: i64::from(i32::MAX),
            process: Arc::default(),
            command: "app".into(),
            origin: Some(Origin::Image),
            environment: environment.as_bytes().into(),
            is_cut,
            cwd: None,
            known: Variables::default(),
            by_command: false,
            since: Instant::now(),
        }))
    }

    /// What is reported of these jobs, once the container declares one variable.
    fn reported(jobs: impl Fn(&Arc<Container>) -> Vec<Setting>) -> Vec<Vec<String>> {
        let container = container();
        let (queue, inbox) = super::super::worker::queue(64, 1);
        for job in jobs(&container) {
            queue.send(job).unwrap();
        }
        let environment = Environment::new([EnvVar::parse("LD_PRELOAD=/declared.so")].iter());
        let declared = Declared { environment: Some(environment), ..Declared::default() };
        container.declaration.set_read(Some(Arc::new(declared)));
        drop(queue);
        let (losing, _lost) = super::super::worker::queue(64, 1);
        let host = Host::new(std::path::Path::new("/"));
        let worker = Settings::new(host, Arc::default(), Arc::default(), 1, Losses(losing));
        let found = Mutex::new(Vec::new());
        let names = |report: &EnvironmentReport| {
            let risky = report.names.risky.iter().map(|name| String::from_utf8_lossy(name).into_owned());
            found.lock().unwrap().push(risky.collect());
        };
        worker.run(&inbox, &names, &|port| panic!("{port:?}"));
        found.into_inner().unwrap()
    }

    #[test]
    fn environments_are_judged_once_it_is_known_what_is_declared() {
        let found = reported(|container| {
            vec![
                early(container, "LD_PRELOAD=/declared.so\0", false),
                early(container, "LD_PRELOAD=/tmp/x.so\0", false),
                early(container, "FOO=1\0", false),
            ]
        });
        assert_eq!(found, [["LD_PRELOAD"]]);
    }

    #[test]
    fn what_hides_the_rest_of_an_environment_is_reported() {
        let filled = format!("FILL={}\0LD_PREL", "x".repeat(4000));
        let found = reported(|container| {
            vec![early(container, &filled, true), early(container, "FOO=1\0LD_PREL", true)]
        });
        assert_eq!(found, [["cut"]], "its process is gone");
    }
}
