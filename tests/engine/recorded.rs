//! The recorded captures, replayed with the plugin, which judges them by the listing of the image that they
//! ran.

use std::path::{Path, PathBuf};
use testkit::alerts::{evaluate, Evaluation};
use testkit::engine::{Engine, Event, Replay};
use testkit::expected::captures;
use testkit::rules_file;

/// What starts.
pub const EXECS: &str = "evt.type in (execve, execveat) and evt.rawres = 0";

/// The captures, and what it takes to replay them.
pub struct Recorded {
    /// The folder with captures and expected answers.
    pub captures: PathBuf,
    /// The engine.
    pub engine: Engine,
    /// The plugin's configuration.
    pub config: String,
    library: PathBuf,
    _nowhere: tempfile::TempDir,
}

impl Recorded {
    /// With the image's listing; says and counts why there are no captures.
    pub fn find(test: &str) -> Option<Self> {
        Self::of_image(test, |captures, _| captures.join("image.mtree.gz"))
    }

    /// The same, with an image that is in the folder of captures, or made in the other folder, which is not
    /// there yet.
    pub fn of_image(test: &str, image: impl FnOnce(&Path, &Path) -> PathBuf) -> Option<Self> {
        let captures = captures(test)?;
        let nowhere = tempfile::tempdir().unwrap();
        let host_root = nowhere.path().join("host");
        std::fs::create_dir(&host_root).unwrap();
        let image = image(&captures, &nowhere.path().join("image"));
        Some(Self {
            config: replay_config(&host_root, &image),
            captures,
            engine: Engine::sysdig().unwrap(),
            library: testkit::plugin_library().unwrap(),
            _nowhere: nowhere,
        })
    }

    /// These fields of a capture's events that pass the filter.
    pub fn events(&self, capture: &str, filter: &str, fields: &[&str]) -> Vec<Event> {
        self.with(capture, |replay| self.engine.replay(replay, filter, fields).unwrap().events)
    }

    /// The same, of an engine without the plugin.
    pub fn events_without_drift(&self, capture: &str, filter: &str, fields: &[&str]) -> Vec<Event> {
        let capture = self.captures.join(capture);
        let replay = Replay { plugin: None, init_config: "", capture: &capture };
        self.engine.replay(&replay, filter, fields).unwrap().events
    }

    /// What the shipped rules say of a capture.
    pub fn evaluate(&self, capture: &str) -> Evaluation {
        self.with(capture, |replay| evaluate(&self.engine, replay, &rules_file()).unwrap())
    }

    /// Does something with the replay of a capture.
    pub fn with<T>(&self, capture: &str, work: impl FnOnce(&Replay) -> T) -> T {
        let capture = self.captures.join(capture);
        work(&Replay { plugin: Some(&self.library), init_config: &self.config, capture: &capture })
    }
}

/// The plugin's configuration for the replay of a capture whose containers all ran one image. An empty host
/// root: no process of this machine may answer for the capture's.
pub fn replay_config(host_root: &Path, image: &Path) -> String {
    format!(
        "host_root: {}\nmanifests:\n  - path: {}\n    containers: [\"*\"]\n",
        host_root.display(),
        image.display()
    )
}
