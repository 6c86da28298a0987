//! Drift's own events, a file each: name, payload, sending. Reading back is the same for all of them.
//!
//! A payload is a JSON object whose keys are names of fields without `drift.`, so that the fields of such an
//! event are read from it alone and a capture that holds it replays with the same answers. Values of
//! environment variables and contents of files are in none.

mod binary;
pub(crate) mod container;
mod environment;
pub(crate) mod file;
mod library;
mod lost;
mod packages;
mod peer;
mod port;
mod secret;

pub use binary::Finding;
pub use container::ContainerReport;
pub use environment::EnvironmentReport;
pub use file::FileReport;
pub use library::LibraryReport;
pub use lost::LostReport;
pub use packages::{Effect, PackageReport};
pub use peer::PeerReport;

use crate::event::raw::{EventKey, SyscallEvent};
use crate::facts::{EarlyPort, Process, Tampering};
use drift_core::container::declared::reference::Reference;
use drift_core::container::identity::Identity;
use drift_formats::entry::ImagePath;
use falco_event::events::{Event, EventMetadata};
use falco_plugin::async_event::AsyncHandler;
use falco_plugin::event::AsyncEvent;
use serde_json::{Map, Value};
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// An event of Drift's own.
pub trait OwnEvent {
    /// Its name.
    const NAME: &'static str;

    /// The thread it is about, so that `proc.*` fields resolve.
    fn tid(&self) -> i64;

    /// Who the container is that it is about, as far as that is known.
    fn identity(&self) -> Option<Arc<Identity>>;

    /// The process that it is about, as it was; `None` where it is about none.
    fn process(&self) -> Option<&Process>;

    /// Its payload; [`Reporter`] adds who the container is, and the process.
    fn payload(&self) -> Value;
}

/// Names of all of them.
pub(crate) const EVENTS: &[&str] = &[
    Finding::NAME,
    FileReport::NAME,
    Tampering::NAME,
    LibraryReport::NAME,
    ContainerReport::NAME,
    PackageReport::NAME,
    PeerReport::NAME,
    EarlyPort::NAME,
    LostReport::NAME,
    EnvironmentReport::NAME,
];

/// Whether an async event is Drift's.
pub(crate) fn is_ours(name: &[u8]) -> bool {
    EVENTS.iter().any(|ours| ours.as_bytes() == name)
}

/// Takes name, thread and payload of an event.
type Sink = dyn Fn(&'static str, i64, &Value) + Send + Sync;

/// Where workers report what they have found.
#[derive(Clone)]
pub struct Reporter(Arc<Sink>);

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reporter")
    }
}

impl Reporter {
    /// Reports to whatever this is.
    pub fn new(sink: impl Fn(&'static str, i64, &Value) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Reports to the engine.
    pub(crate) fn to_engine(handler: AsyncHandler) -> Self {
        // The engine refuses events while it shuts down; nobody is left to report to then.
        Self::new(move |name, tid, payload| _ = send(&handler, name, tid, payload))
    }

    /// As this one, until `stop`: a thread that was left behind must not call the engine, which is gone by
    /// the time it goes on.
    pub(crate) fn until(&self, stop: &Arc<AtomicBool>) -> Self {
        let (sink, stop) = (Arc::clone(&self.0), Arc::clone(stop));
        Self::new(move |name, tid, payload| {
            if !stop.load(Ordering::Relaxed) {
                sink(name, tid, payload);
            }
        })
    }

    /// Reports an event.
    pub fn report<E: OwnEvent>(&self, event: &E) {
        let mut payload = event.payload();
        if let Some(payload) = payload.as_object_mut() {
            add_identity(payload, event.identity().as_deref());
            add_process(payload, event.process());
        }
        (self.0)(E::NAME, event.tid(), &payload);
    }
}

/// Adds who a container is, and the parts of its image's reference, which the key `image` has.
pub(crate) fn add_identity(payload: &mut Map<String, Value>, identity: Option<&Identity>) {
    payload.extend(identity.map(Identity::to_payload).unwrap_or_default());
    let image = payload.get("image").and_then(Value::as_str).and_then(Reference::parse);
    if let Some(image) = image.filter(|image| image.repository != UNKNOWN_REPOSITORY) {
        payload.insert("image_repository".into(), image.repository.into());
        payload.extend(image.tag.map(|tag| ("image_tag".into(), tag.into())));
    }
}

/// Adds what is known of a process.
fn add_process(payload: &mut Map<String, Value>, process: Option<&Process>) {
    let Some(process) = process else { return };
    let text = |text: &Option<Arc<str>>| text.as_deref().map(Value::from);
    let all = [
        ("process_name", text(&process.name)),
        ("process_parent", text(&process.parent)),
        ("process_uid", process.uid.map(Value::from)),
        ("process_user", text(&process.user)),
        ("process_cmdline", text(&process.command)),
    ];
    for (key, value) in all {
        // What the event says itself stands.
        if let (Some(value), None | Some(Value::Null)) = (value, payload.get(key)) {
            payload.insert(key.to_owned(), value);
        }
    }
}

fn send(handler: &AsyncHandler, name: &str, tid: i64, payload: &Value) -> Result<(), anyhow::Error> {
    let name = CString::new(name)?;
    // The container plugin ends its JSON with a NUL, and consumers expect one.
    let data = CString::new(payload.to_string())?;
    let metadata = EventMetadata { tid, ..EventMetadata::default() };
    // The engine sets the plugin's id.
    let params = AsyncEvent { plugin_id: 0, name: &name, data: data.as_bytes_with_nul() };
    handler.emit(Event { metadata, params })
}

/// Longest payload read, bytes.
const MAX_PAYLOAD: usize = 64 << 10;

/// The payload of an event of Drift's own, read back.
#[derive(Debug)]
pub struct Payload(Value);

impl Payload {
    /// Reads a payload; `None` where it is too long, or not JSON.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let data = data.strip_suffix(b"\0").unwrap_or(data);
        if data.len() > MAX_PAYLOAD {
            return None;
        }
        serde_json::from_slice(data).ok().map(Self)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }
}

/// The payload of the event at hand, read once: the engine asks for many fields of it.
#[derive(Debug, Default)]
pub struct LastPayload(Option<((EventKey, usize), Option<Payload>)>);

impl LastPayload {
    /// The payload of an event, which is in `data`.
    pub(crate) fn of(&mut self, event: &SyscallEvent<'_>, data: &[u8]) -> Option<&Payload> {
        let key = (event.identity(), data.as_ptr() as usize);
        if self.0.as_ref().is_none_or(|(known, _)| *known != key) {
            self.0 = Some((key, Payload::parse(data)));
        }
        self.0.as_ref()?.1.as_ref()
    }
}

/// What applies and is not known says so.
fn known(text: Option<&str>) -> &str {
    text.unwrap_or("unknown")
}

/// What [`known`] says, taken for the name of an image.
const UNKNOWN_REPOSITORY: &str = "docker.io/library/unknown";

fn text(path: &ImagePath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::raw::code;
    use crate::event::raw::tests::event;

    #[test]
    fn a_payload_is_read_once_for_each_event() {
        let data = br#"{"container_id":"c"}"#;
        let bytes = event(code::ASYNC, 7, &[&0u32.to_ne_bytes(), b"drift_file\0", data]);
        let mut event = SyscallEvent::from_bytes(&bytes).unwrap();
        let mut last = LastPayload::default();
        let read = |last: &mut LastPayload, event: &SyscallEvent<'_>| {
            let (_, data) = event.async_payload().unwrap();
            last.of(event, data).map(|payload| std::ptr::from_ref(payload.get("container_id").unwrap()))
        };
        let first = read(&mut last, &event);
        assert!(first.is_some());
        assert_eq!(read(&mut last, &event), first, "the same value, not another one that is equal");
        event.number += 1;
        last.0.as_mut().unwrap().1 = None;
        assert!(read(&mut last, &event).is_some(), "another event is read");
    }
}
