//! Tier 3: changes of files in real podman and containerd containers on overlayfs, told by the shipped plugin
//! to a real, live libsinsp, and judged by the shipped rules.
//!
//! `scenario`: the recorded scenarios and their expected alerts. `cases`: a table of our own.

mod cases;
mod copied;
mod libraries;
mod scenario;
mod secrets;
#[path = "../../../testkit/src/bin/file-call/text.rs"]
mod text;
mod work;

use crate::live::{condition, Watch};
use std::path::Path;
use std::time::Duration;
use testkit::alerts::Alert;
use testkit::live::session::Line;
use testkit::live::{Container, Facts, Image, Runtime, Session};

/// A container; `None`, said and counted, where the test cannot run.
fn start(test: &str, runtime: Runtime) -> Option<Container> {
    runtime.usable(test, &[]).then(|| runtime.start(&Image::files().unwrap()).unwrap())
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
    seen: crate::live::Seen,
}

impl Outcome {
    /// All that the engine was told, and what drift told it.
    fn capture(&self) -> &Path {
        &self.seen.capture
    }
}

/// How long drift may be silent before it is taken to have told all: longer than it waits between two looks
/// at a file that is being written, and time enough on a slow machine.
const QUIET: Duration = Duration::from_secs(5);
/// How long all of it may take after the command's end.
const LIMIT: Duration = Duration::from_secs(60);

/// The condition by which the engine asks drift about calls that change files, enabled or not; opens drift
/// looks at by itself.
fn watching() -> String {
    condition("Drift internal: file watch")
}

/// Runs `command` while the engine watches, and evaluates the shipped rules on what it saw.
fn watch(container: &Container, command: &str) -> Outcome {
    watch_while(container, |session| {
        let facts = Facts { files: true, ..Facts::default() };
        // The scenarios' last command fails on purpose: the status says nothing.
        crate::live::run(container, command, facts, &mut [session]);
    })
}

/// The same, of whatever `work` tells the engine.
fn watch_while(container: &Container, work: impl FnOnce(&mut Session)) -> Outcome {
    let filter = format!("({}) or evt.type = drift_file", watching());
    let watch = Watch { filter: &filter, fields: FIELDS, quiet: QUIET, limit: LIMIT };
    let mut seen = watch.over(container, work);
    for line in &seen.lines {
        assert_eq!(line.text("drift.container_id"), Some(container.id()), "{line:?}");
        assert!(line.text("drift.binary_writer").is_some(), "the writer is not told: {line:?}");
    }
    let told = seen.lines.iter().map(Told::of).collect();
    let mut alerts = std::mem::take(&mut seen.alerts);
    alerts.retain(|alert| alert.tags.iter().any(|tag| tag == "filesystem"));
    Outcome { told, alerts, seen }
}

/// Runs a command of preparation, unwatched.
fn prepare(container: &Container, command: &str) {
    let status = crate::live::run(container, command, Facts::default(), &mut []);
    assert_eq!(status, 0, "{command}");
    // A change of which no event says where is looked for among those of the last third of a second.
    std::thread::sleep(Duration::from_secs(1));
}
