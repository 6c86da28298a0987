//! What live tests share: an engine with the plugin, told of what happens in a container.

use super::{engine_config, rules_file};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use testkit::alerts::Alert;
use testkit::engine::{Engine, Replay};
use testkit::live::session::Line;
use testkit::live::{self, Container, Facts, Session, Spec};
use testkit::rules::Rule;

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
        plugin_config: Some(engine_config(dir, &testkit::plugin_library().unwrap(), init_config)),
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
        let capture = dir.path().join("told.scap");
        session.write_capture(&capture).unwrap();
        let library = testkit::plugin_library().unwrap();
        let replay = Replay { plugin: Some(&library), init_config: "", capture: &capture };
        let evaluation = testkit::alerts::evaluate(&Engine::sysdig().unwrap(), &replay, &rules_file());
        let alerts = evaluation.unwrap().alerts;
        Seen { lines: session.lines().to_vec(), alerts, capture, _dir: dir }
    }
}
