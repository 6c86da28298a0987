//! The event source `drift`, driven through the C interface as an engine does.

use super::library::{self, Instance};
use crate::live::Container;
use falco_plugin::api::{ss_instance_t, ss_plugin_event};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::time::{Duration, Instant};

const SUCCESS: i32 = 0;
const TIMEOUT: i32 = -1;
const EOF: i32 = 2;

/// The source, open, without an engine.
pub struct Open<'a> {
    plugin: Instance<'a>,
    source: *mut ss_instance_t,
}

impl Open<'_> {
    /// The instance that it was opened of.
    pub fn plugin(&self) -> &Instance<'_> {
        &self.plugin
    }

    /// Opens it with these parameters.
    ///
    /// # Errors
    /// What the plugin says.
    pub fn new(params: &str) -> Result<Self, String> {
        Self::with_config(params, "{}")
    }

    /// As [`Open::new`], with an `init_config`.
    ///
    /// # Errors
    /// What the plugin says.
    pub fn with_config(params: &str, config: &str) -> Result<Self, String> {
        let plugin = Instance::new(library::api(), config)?;
        let params = CString::new(params).unwrap();
        let mut rc = -1;
        // SAFETY: the instance and the pointers live for the call.
        let source = unsafe {
            library::api().__bindgen_anon_1.open.unwrap()(plugin.pointer(), params.as_ptr(), &mut rc)
        };
        match rc {
            SUCCESS => Ok(Self { plugin, source }),
            _ => Err(plugin.last_error()),
        }
    }

    /// The next payloads, and whether there are more to come.
    pub fn next(&self) -> (Vec<Value>, bool) {
        let (mut count, mut events): (u32, *mut *mut ss_plugin_event) = (0, std::ptr::null_mut());
        let next = library::api().__bindgen_anon_1.next_batch.unwrap();
        // SAFETY: the instance and the source live; the pointers are valid for the call.
        let rc = unsafe { next(self.plugin.pointer(), self.source, &mut count, &mut events) };
        match rc {
            SUCCESS => {}
            TIMEOUT => return (Vec::new(), true),
            EOF => return (Vec::new(), false),
            rc => panic!("rc {rc}: {}", self.plugin.last_error()),
        }
        let payload = |i: usize| {
            // SAFETY: the plugin gave so many events, good until the next call.
            unsafe {
                let event = *events.add(i);
                let len = (*event).len as usize;
                let bytes = std::slice::from_raw_parts(event.cast::<u8>(), len);
                let event = drift::event::raw::SyscallEvent::from_bytes(bytes).unwrap();
                let data = event.source_payload(drift::source::PLUGIN_ID).unwrap();
                serde_json::from_slice(data).unwrap()
            }
        };
        ((0..count as usize).map(payload).collect(), true)
    }

    /// All events of a container in this time.
    pub fn within(&self, container: &str, time: Duration) -> Vec<Value> {
        let (opened, mut all) = (Instant::now(), Vec::new());
        while opened.elapsed() < time {
            all.extend(self.next().0.into_iter().filter(|e| e["container_id"] == container));
        }
        all
    }

    /// All events of a container until there is none for a while, in which containers were compared.
    pub fn settled(&self, container: &str, quiet: Duration) -> Vec<Value> {
        let mut all = Vec::new();
        let comparisons = || self.plugin.metric("source_scans");
        let (mut last, mut done) = (Instant::now(), comparisons());
        // On a busy machine the first event takes its time, and so does a comparison that finds nothing more.
        let is_slow = |all: &Vec<Value>, done| all.is_empty() || comparisons() < done + 2;
        while last.elapsed() < quiet || (is_slow(&all, done) && last.elapsed() < Duration::from_secs(60)) {
            let (events, more) = self.next();
            let ours: Vec<_> = events.into_iter().filter(|e| e["container_id"] == container).collect();
            if !ours.is_empty() {
                (last, done) = (Instant::now(), comparisons());
            }
            all.extend(ours);
            if !more {
                break;
            }
        }
        all
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // SAFETY: it came from `open` and is closed once.
        unsafe { library::api().__bindgen_anon_1.close.unwrap()(self.plugin.pointer(), self.source) }
    }
}

/// Findings in a line each: type, change, origin, and what it is about.
pub fn lines(events: &[Value]) -> BTreeSet<String> {
    let word = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    events
        .iter()
        .map(|e| {
            // What it is about, as the source tells findings apart.
            let subject = match word(&e["check"]).as_str() {
                "packages" => &e["package"],
                "ports" => &e["port"],
                _ => &e["path"],
            };
            format!("{} {} {} {}", word(&e["type"]), word(&e["change"]), word(&e["origin"]), word(subject))
        })
        .collect()
}

/// Runs a script in a container, and waits for its end.
pub fn in_container(container: &Container, name: &str, script: &str) {
    let done = container.vol().join(name);
    let script = container.put(name, format!("{script}\ntouch /vol/{name}\n").as_bytes()).unwrap();
    container.run(&format!("sh {script}")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done.exists() {
        assert!(Instant::now() < deadline, "{name} is not done");
        std::thread::sleep(Duration::from_millis(20));
    }
}
