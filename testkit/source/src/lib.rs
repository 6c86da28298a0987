//! An event source for live tests: the kernel probe's own events, read from a Unix socket.
//!
//! An engine that replays a capture takes no events from plugins; one that reads from a source plugin does,
//! and where the plugin has no id and names no source, its events are the engine's own system call events
//! (plugin_api.h, `get_event_source`): threads, open files and filters work as with the probe.
//!
//! The open parameters are the path of a listening socket. Through it come events one after the other, as the
//! probe writes them: a header of 26 bytes that states the event's length, the parameters' lengths, the
//! parameters. When nothing comes the engine is told so within milliseconds, so that it looks after events of
//! other plugins. The end of the stream is the end of the capture.

mod platform;

use std::ffi::{c_char, CStr, OsStr};
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use falco_plugin_api::{
    ss_instance_t, ss_plugin_event, ss_plugin_init_input, ss_plugin_rc, ss_plugin_rc_SS_PLUGIN_EOF as EOF,
    ss_plugin_rc_SS_PLUGIN_FAILURE as FAILURE, ss_plugin_rc_SS_PLUGIN_SUCCESS as SUCCESS,
    ss_plugin_rc_SS_PLUGIN_TIMEOUT as TIMEOUT, ss_plugin_t,
};

/// How long the engine waits for an event before it looks after others.
const WAIT: Duration = Duration::from_millis(2);
/// Where an event's header states its length, and how long the header is.
const LENGTH_AT: usize = 16;
const HEADER: usize = 26;
/// An event that states more is none: the stream is out of step.
const MAX_EVENT: usize = 1 << 20;

/// The plugin: holds what went wrong last, as a C string.
struct Plugin {
    error: Vec<u8>,
}

/// An open stream.
struct Instance {
    stream: UnixStream,
    /// What was read: events handed out, whole ones, the beginning of one.
    buffer: Vec<u8>,
    /// How many bytes at the buffer's begin were handed out and are no longer needed.
    used: usize,
    /// The events handed out with the last batch.
    batch: Vec<*mut ss_plugin_event>,
}

impl Instance {
    fn open(params: &CStr) -> std::io::Result<Self> {
        let stream = UnixStream::connect(OsStr::from_bytes(params.to_bytes()))?;
        stream.set_read_timeout(Some(WAIT))?;
        Ok(Self { stream, buffer: Vec::new(), used: 0, batch: Vec::new() })
    }

    /// Reads once and finds the whole events; they stay where they are until the next call.
    fn next(&mut self) -> Result<ss_plugin_rc, String> {
        self.batch.clear();
        self.buffer.drain(..self.used);
        self.used = 0;
        let mut chunk = [0u8; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Ok(EOF),
            Ok(count) => self.buffer.extend(chunk.iter().take(count)),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(TIMEOUT)
            }
            Err(e) => return Err(format!("reading events: {e}")),
        }
        while let Some(length) = stated_length(self.buffer.get(self.used..).unwrap_or_default()) {
            if !(HEADER..=MAX_EVENT).contains(&length) {
                return Err(format!("an event of {length} bytes"));
            }
            let end = self.used + length;
            let Some(event) = self.buffer.get_mut(self.used..end) else { break };
            self.batch.push(event.as_mut_ptr().cast());
            self.used = end;
        }
        Ok(if self.batch.is_empty() { TIMEOUT } else { SUCCESS })
    }
}

fn stated_length(bytes: &[u8]) -> Option<usize> {
    let field: [u8; 4] = bytes.get(LENGTH_AT..LENGTH_AT + 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(field)).ok()
}

#[no_mangle]
extern "C" fn plugin_get_required_api_version() -> *const c_char {
    c"3.11.0".as_ptr()
}

#[no_mangle]
extern "C" fn plugin_get_version() -> *const c_char {
    c"0.1.0".as_ptr()
}

#[no_mangle]
extern "C" fn plugin_get_name() -> *const c_char {
    c"testkit_source".as_ptr()
}

#[no_mangle]
extern "C" fn plugin_get_description() -> *const c_char {
    c"The kernel probe's events, from a socket".as_ptr()
}

#[no_mangle]
extern "C" fn plugin_get_contact() -> *const c_char {
    c"drift's tests".as_ptr()
}

#[no_mangle]
extern "C" fn plugin_get_required_event_schema_version(_: *mut ss_plugin_t) -> *const c_char {
    c"4.0.0".as_ptr()
}

#[no_mangle]
unsafe extern "C" fn plugin_init(_: *const ss_plugin_init_input, rc: *mut ss_plugin_rc) -> *mut ss_plugin_t {
    // SAFETY: the engine's pointer.
    unsafe { *rc = SUCCESS };
    Box::into_raw(Box::new(Plugin { error: vec![0] })).cast()
}

#[no_mangle]
unsafe extern "C" fn plugin_destroy(plugin: *mut ss_plugin_t) {
    // SAFETY: what `plugin_init` made, given back once.
    drop(unsafe { Box::from_raw(plugin.cast::<Plugin>()) });
}

#[no_mangle]
unsafe extern "C" fn plugin_get_last_error(plugin: *mut ss_plugin_t) -> *const c_char {
    // SAFETY: what `plugin_init` made.
    let plugin = unsafe { &*plugin.cast::<Plugin>() };
    plugin.error.as_ptr().cast()
}

/// Says what went wrong; zeros would end the text early.
fn fail(plugin: &mut Plugin, message: String) -> ss_plugin_rc {
    plugin.error = message.into_bytes();
    plugin.error.retain(|&byte| byte != 0);
    plugin.error.push(0);
    FAILURE
}

#[no_mangle]
unsafe extern "C" fn plugin_open(
    plugin: *mut ss_plugin_t,
    params: *const c_char,
    rc: *mut ss_plugin_rc,
) -> *mut ss_instance_t {
    // SAFETY: what `plugin_init` made, the engine's text and the engine's pointer.
    let (plugin, params, rc) = unsafe { (&mut *plugin.cast::<Plugin>(), CStr::from_ptr(params), &mut *rc) };
    match Instance::open(params) {
        Ok(instance) => {
            *rc = SUCCESS;
            Box::into_raw(Box::new(instance)).cast()
        }
        Err(e) => {
            *rc = fail(plugin, format!("connecting to {params:?}: {e}"));
            std::ptr::null_mut()
        }
    }
}

#[no_mangle]
unsafe extern "C" fn plugin_close(_: *mut ss_plugin_t, instance: *mut ss_instance_t) {
    if !instance.is_null() {
        // SAFETY: what `plugin_open` made, given back once.
        drop(unsafe { Box::from_raw(instance.cast::<Instance>()) });
    }
}

#[no_mangle]
unsafe extern "C" fn plugin_next_batch(
    plugin: *mut ss_plugin_t,
    instance: *mut ss_instance_t,
    count: *mut u32,
    events: *mut *mut *mut ss_plugin_event,
) -> ss_plugin_rc {
    // SAFETY: what `plugin_init` and `plugin_open` made, and the engine's pointers.
    let (plugin, instance, count, events) = unsafe {
        (&mut *plugin.cast::<Plugin>(), &mut *instance.cast::<Instance>(), &mut *count, &mut *events)
    };
    let rc = instance.next().unwrap_or_else(|why| fail(plugin, why));
    *count = u32::try_from(instance.batch.len()).unwrap_or(0);
    *events = instance.batch.as_mut_ptr();
    rc
}
