//! What live tests share: an engine with the plugin, told of what happens in a container.

use drift_core::host::Host;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testkit::alerts::Alert;
use testkit::engine::{write_config, Engine, Replay};
use testkit::live::session::Line;
use testkit::live::{self, Container, Event, Facts, Session, Spec};
use testkit::rules::Rule;
use testkit::rules_file;

/// The rules of the pack on system calls, those that are off as shipped included.
pub fn rules() -> Vec<Rule> {
    testkit::rules::load(&rules_file()).unwrap()
}

/// The condition of one of them, on or off.
pub fn condition(rule: &str) -> String {
    rules().into_iter().find(|r| r.name == rule).unwrap_or_else(|| panic!("no rule {rule:?}")).filter
}

/// The engine with the plugin; [`Spec::asking`] says what for. Its configuration is written into `dir`.
pub fn engine(dir: &Path, init_config: &str) -> Spec {
    Spec {
        program: Engine::sysdig().unwrap().command(),
        plugin_config: Some(write_config(dir, init_config).unwrap()),
        ..Spec::default()
    }
}

/// Starts an engine that is told of a container's events, and takes those that drift sends.
pub fn session(spec: &Spec, container: &Container) -> Session {
    Session::start(spec, &testkit::source_library().unwrap(), &container.table().unwrap()).unwrap()
}

/// Runs a command in the container while engines are told of it; gives its status.
pub fn run(container: &Container, command: &str, facts: Facts, sessions: &mut [&mut Session]) -> i64 {
    live::trace(container, command, facts, &mut |event| {
        sessions.iter_mut().try_for_each(|session| session.feed(event))
    })
    .unwrap()
}

/// Copies a file of the host into the container, as the runtime's own command does, and tells the engine what
/// the probe tells of the runtime's process. Ours stands in for that one: the engine found it in `/proc`.
pub fn copy_in(container: &Container, file: &Path, to: &str, session: &mut Session) {
    container.copy_in(file, to).unwrap();
    let made = std::fs::metadata(format!("/proc/{}/root{to}", container.init_pid())).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let event = Event::from_created(now, i64::from(std::process::id()), to.as_bytes(), &made);
    session.feed(&event).unwrap();
}

/// The command line of the container's first process, once that is the container's own: a runtime may answer
/// a moment before its program makes room.
pub fn first_program(container: &Container) -> Vec<Vec<u8>> {
    let host = Host::new(Path::new("/"));
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let line = host.command_line(container.init_pid()).unwrap();
        let words: Vec<Vec<u8>> =
            line.strip_suffix(b"\0").unwrap_or_default().split(|b| *b == 0).map(<[u8]>::to_vec).collect();
        let is_runtimes = words[0].ends_with(b"runc") && words.get(1).is_some_and(|word| word == b"init");
        if !line.is_empty() && !is_runtimes || Instant::now() > deadline {
            return words;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What the shipped rules say of all that a session was told and has told; the capture of it is written into
/// `dir`.
pub fn evaluate(session: &Session, dir: &Path) -> (PathBuf, Vec<Alert>) {
    let capture = dir.join("told.scap");
    session.write_capture(&capture).unwrap();
    let library = testkit::plugin_library().unwrap();
    let replay = Replay { plugin: Some(&library), init_config: "", capture: &capture };
    let evaluation = testkit::alerts::evaluate(&Engine::sysdig().unwrap(), &replay, &rules_file());
    let alerts = evaluation.unwrap().alerts;
    (capture, alerts)
}

/// What an engine is asked, and how long it is waited for.
pub struct Watch<'a> {
    /// Events that are printed.
    pub filter: &'a str,
    /// What is printed of them.
    pub fields: &'a [&'a str],
    /// How long drift may be silent before it is taken to have told all.
    pub quiet: Duration,
    /// How long all of it may take after the end of the work.
    pub limit: Duration,
}

/// What was seen, and what the shipped rules say of it.
#[derive(Debug)]
pub struct Seen {
    /// What the engine printed.
    pub lines: Vec<Line>,
    /// All alerts.
    pub alerts: Vec<Alert>,
    /// All that the engine was told, and what drift told it.
    pub capture: PathBuf,
    _dir: tempfile::TempDir,
}

/// One at a time: drift's judgement depends on pauses, which a loaded machine stretches.
static ALONE: Mutex<()> = Mutex::new(());

impl Watch<'_> {
    /// Has an engine told of whatever `work` feeds it, and evaluates the shipped rules on that.
    pub fn over(&self, container: &Container, work: impl FnOnce(&mut Session)) -> Seen {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let mut session = session(&engine(dir.path(), "").asking(self.filter, self.fields), container);
        work(&mut session);
        session.settle(self.quiet, self.limit).unwrap();
        let (capture, alerts) = evaluate(&session, dir.path());
        Seen { lines: session.lines().to_vec(), alerts, capture, _dir: dir }
    }
}
