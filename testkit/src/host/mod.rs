//! A small engine for tests: it loads the plugin, hands it events, keeps a table of threads and asks for
//! fields.
//!
//! The work is falco_plugin_runner's. Around it: the library as C functions (`library`, `direct`), a plugin
//! that exports the table `threads` as libsinsp does (`threads`) and one that is an event source of raw bytes
//! (`source`). `opened` drives the event source `drift` itself. All state is the test's thread's own.

// A failure here is a failure of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod direct;
pub mod event;
pub mod library;
pub mod opened;
pub mod source;
pub mod threads;

use falco_plugin::api::plugin_api;
use falco_plugin_runner::{CapturingPluginRunner, Event, ExtractedField, MetricValue, PluginRunner};
use std::ffi::CString;
use std::path::Path;

/// Result code of the plugin API.
pub const FAILURE: i32 = 1;

/// The engine with drift loaded, capturing.
pub struct Host {
    runner: CapturingPluginRunner,
}

impl Host {
    /// Starts the built library with this `init_config`.
    pub fn start(config: &serde_json::Value) -> Self {
        Self::with(library::api(), config)
    }

    /// Starts drift from these functions.
    pub fn with(api: &'static plugin_api, config: &serde_json::Value) -> Self {
        threads::forget();
        source::forget();
        let mut runner = PluginRunner::new();
        // In this order: the engine updates its threads before it hands an event to plugins, and an event
        // that is queued comes before those that drift itself may send (for which the runner knows no
        // source).
        runner.register_plugin(&threads::THREADS, c"").unwrap();
        runner.register_plugin(source::api(), c"").unwrap();
        runner.register_plugin(api, &CString::new(config.to_string()).unwrap()).unwrap();
        Self { runner: runner.start_capture().unwrap() }
    }

    /// Hands an event to the plugin for parsing, and gives it back for questions.
    pub fn feed(&mut self, bytes: Vec<u8>) -> Event {
        source::push(bytes);
        self.runner.next_event().unwrap()
    }

    /// Asks a field, `drift.` left out.
    pub fn ask(&mut self, event: &Event, field: &str) -> ExtractedField {
        let name = format!("drift.{field}");
        let answer = self.runner.extract_field(event, &name);
        answer.unwrap_or_else(|| panic!("{name} is no field")).unwrap_or_else(|rc| panic!("{name}: rc {rc}"))
    }

    /// Asks a field, and gives the answer as Falco prints it; `None` for `<NA>`.
    pub fn text(&mut self, event: &Event, field: &str) -> Option<String> {
        match self.ask(event, field) {
            ExtractedField::None => None,
            value => Some(value.to_string()),
        }
    }

    /// A metric of drift's.
    pub fn metric(&mut self, name: &str) -> u64 {
        let name = format!("drift.{name}");
        let metric = self.runner.get_metrics().into_iter().find(|m| m.name == name);
        match metric.unwrap_or_else(|| panic!("no metric {name}")).value {
            MetricValue::U64(value) => value,
            other => panic!("{name} is {other:?}"),
        }
    }
}

/// A host without a process or a file: nothing of the machine that runs the test can show through.
pub fn no_host() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// `init_config` on such a host, with one manifest for the containers that match the glob.
pub fn config(host: &Path, manifest: &Path, containers: &str) -> serde_json::Value {
    serde_json::json!({
        "host_root": host,
        "manifests": [{ "path": manifest, "containers": [containers] }],
    })
}

/// A manifest as text, and what it says of `/usr/bin/python3`.
pub const PYTHON_SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

/// Writes a small image's manifest into a directory.
pub fn manifest(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("image.mtree");
    let text = format!(
        "#mtree\n\
         /set type=file uid=0 gid=0 mode=0755\n\
         . type=dir\n\
         ./app type=dir\n\
         ./app/run.py size=12\n\
         ./bin type=link mode=0777 link=usr/bin\n\
         ./tmp type=dir mode=1777\n\
         ./usr type=dir\n\
         ./usr/bin type=dir\n\
         ./usr/bin/bash size=1234\n\
         ./usr/bin/python3 size=6 sha256={PYTHON_SHA256}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}
