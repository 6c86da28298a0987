//! Tier 3: changes of files in real podman and containerd containers on overlayfs, told by the shipped plugin to a real,
//! live libsinsp, and judged by the shipped rules.
//!
//! `scenario`: the recorded scenarios and their expected alerts. `cases`: a table of our own.

// Helpers of tests: a failure there is a failure of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod copied;
mod scenario;
#[path = "../../testkit/src/bin/file-call/text.rs"]
mod text;
mod work;

use common::engine_config;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use testkit::alerts::Alert;
use testkit::engine::{Engine, Replay};
use testkit::live::session::Line;
use testkit::live::{self, Container, Facts, Image, Session, Spec};
use testkit::skip::skip;

#[derive(Debug, Clone, Copy)]
enum Runtime {
    Podman,
    Containerd,
}

impl Runtime {
    fn start(self) -> Container {
        let image = Image::files().unwrap();
        match self {
            Self::Podman => Container::podman(&image).unwrap(),
            Self::Containerd => Container::containerd(&image).unwrap(),
        }
    }

    /// Whether the test can run here; says and counts why not.
    fn usable(self, test: &str) -> bool {
        let missing = live::missing(match self {
            Self::Podman => live::PODMAN_TOOLS,
            Self::Containerd => live::CONTAINERD_TOOLS,
        });
        if let Some(why) = &missing {
            skip(test, why);
        }
        missing.is_none()
    }
}

/// The fields read of drift's own events.
const FIELDS: &[&str] = &[
    "drift.container_id",
    "drift.file_path",
    "drift.file_new_path",
    "drift.file_change",
    "drift.file_origin",
    "drift.file_kind",
    "drift.binary_traits",
    "drift.binary_writer",
];

/// A change that drift told of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    change: String,
    path: String,
    new_path: Option<String>,
    /// Sorted.
    gained: Vec<String>,
}

impl Told {
    fn of(line: &Line) -> Self {
        let text = |field: &str| line.text(field).map(str::to_owned);
        let mut gained: Vec<String> = line.fields["drift.binary_traits"]
            .as_array()
            .map(|list| list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
            .unwrap_or_default();
        gained.sort();
        Self {
            change: text("drift.file_change").unwrap_or_default(),
            path: text("drift.file_path").unwrap_or_default(),
            new_path: text("drift.file_new_path"),
            gained,
        }
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.change, self.path)?;
        if let Some(new) = &self.new_path {
            write!(f, " -> {new}")?;
        }
        for trait_ in &self.gained {
            write!(f, " +{trait_}")?;
        }
        Ok(())
    }
}

/// What a command in a container led to.
#[derive(Debug)]
struct Outcome {
    told: Vec<Told>,
    /// Of the rules on files alone.
    alerts: Vec<Alert>,
    /// All that the engine was told, and what drift told it.
    capture: PathBuf,
    _dir: tempfile::TempDir,
}

/// How long drift may be silent before it is taken to have told all: longer than it waits between two looks at a file
/// that is being written, and time enough on a slow machine.
const QUIET: Duration = Duration::from_secs(5);
/// How long all of it may take after the command's end.
const LIMIT: Duration = Duration::from_secs(60);

/// One at a time: drift's judgement depends on how long a file is left alone, which a loaded machine stretches.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `command` while the engine watches, and evaluates the shipped rules on what it saw.
fn watch(container: &Container, command: &str) -> Outcome {
    watch_while(container, |session| {
        let facts = Facts { files: true, ..Facts::default() };
        // The scenarios' last command fails on purpose: the status says nothing.
        live::trace(container, command, facts, &mut |event| session.feed(event)).unwrap();
    })
}

/// The same, of whatever `work` tells the engine.
fn watch_while(container: &Container, work: impl FnOnce(&mut Session)) -> Outcome {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let library = testkit::plugin_library().unwrap();
    let source = testkit::source_library().unwrap();
    let engine = Engine::sysdig().unwrap();
    let rules_file = testkit::workspace_dir().join("rules/drift_rules.yaml");
    let rules = testkit::rules::load(&rules_file).unwrap();
    // Enabled or not: without it, no event makes the engine ask drift about files.
    let watch = rules.iter().find(|rule| rule.name == "Drift file watch").expect("the rule that watches");
    let dir = tempfile::tempdir().unwrap();
    let spec = Spec {
        program: engine.command().iter().map(PathBuf::from).collect(),
        plugin_config: Some(engine_config(dir.path(), &library, "")),
        filter: format!("({}) or evt.type = drift_file", watch.filter),
        fields: FIELDS.iter().map(|field| (*field).to_owned()).collect(),
    };
    let mut session = Session::start(&spec, &source, &container.table().unwrap()).unwrap();
    work(&mut session);
    session.settle(QUIET, LIMIT).unwrap();
    for line in session.lines() {
        assert_eq!(line.text("drift.container_id"), Some(container.id()), "{line:?}");
        assert!(line.text("drift.binary_writer").is_some(), "the writer is not told: {line:?}");
    }
    let capture = dir.path().join("told.scap");
    session.write_capture(&capture).unwrap();
    let replay = Replay { plugin: Some(&library), init_config: "", capture: &capture };
    let alerts = testkit::alerts::evaluate(&engine, &replay, &rules_file).unwrap().alerts;
    Outcome {
        told: session.lines().iter().map(Told::of).collect(),
        alerts: alerts.into_iter().filter(|alert| alert.tags.iter().any(|tag| tag == "filesystem")).collect(),
        capture,
        _dir: dir,
    }
}

/// Runs a command of preparation, unwatched.
fn prepare(container: &Container, command: &str) {
    let status = live::trace(container, command, Facts::default(), &mut |_| Ok(())).unwrap();
    assert_eq!(status, 0, "{command}");
    // A change of which no event says where is looked for among those of the last third of a second.
    std::thread::sleep(Duration::from_secs(1));
}
