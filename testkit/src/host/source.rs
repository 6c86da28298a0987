//! An event source of raw bytes, named `syscall` as the kernel's is.
//!
//! By hand against the C interface: the SDK's own sources emit plugin events only.

use falco_plugin::api::{
    plugin_api, ss_instance_t, ss_plugin_event, ss_plugin_init_input, ss_plugin_rc, ss_plugin_t,
};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::c_char;
use std::sync::OnceLock;

const SUCCESS: ss_plugin_rc = 0;
const TIMEOUT: ss_plugin_rc = -1;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Box<[u8]>>,
    /// Events handed out: the engine, and the test, may look at them until the next test.
    given: Vec<Box<[u8]>>,
    batch: [usize; 1],
}

thread_local! {
    static QUEUE: RefCell<Queue> = RefCell::default();
}

/// Queues an event.
pub fn push(bytes: Vec<u8>) {
    QUEUE.with_borrow_mut(|q| q.waiting.push_back(bytes.into()));
}

/// Drops all events, those handed out too.
pub fn forget() {
    QUEUE.with_borrow_mut(|q| *q = Queue::default());
}

/// The plugin.
pub fn api() -> &'static plugin_api {
    static API: OnceLock<plugin_api> = OnceLock::new();
    API.get_or_init(|| {
        // SAFETY: all fields are optional functions, absent as zero.
        let mut api: plugin_api = unsafe { std::mem::zeroed() };
        api.get_name = Some(name);
        api.init = Some(init);
        api.destroy = Some(destroy);
        api.get_last_error = Some(last_error);
        api.__bindgen_anon_1.get_event_source = Some(event_source);
        api.__bindgen_anon_1.open = Some(open);
        api.__bindgen_anon_1.close = Some(close);
        api.__bindgen_anon_1.next_batch = Some(next_batch);
        api
    })
}

extern "C-unwind" fn name() -> *const c_char {
    c"raw".as_ptr()
}

extern "C-unwind" fn init(_: *const ss_plugin_init_input, rc: *mut ss_plugin_rc) -> *mut ss_plugin_t {
    // SAFETY: the engine's pointer.
    unsafe { *rc = SUCCESS };
    std::ptr::dangling_mut()
}

extern "C-unwind" fn destroy(_: *mut ss_plugin_t) {}

extern "C-unwind" fn last_error(_: *mut ss_plugin_t) -> *const c_char {
    c"".as_ptr()
}

/// Empty: the events are the engine's own (plugin_api.h, `get_event_source`).
extern "C-unwind" fn event_source() -> *const c_char {
    c"".as_ptr()
}

extern "C-unwind" fn open(
    _: *mut ss_plugin_t,
    _: *const c_char,
    rc: *mut ss_plugin_rc,
) -> *mut ss_instance_t {
    // SAFETY: the engine's pointer.
    unsafe { *rc = SUCCESS };
    std::ptr::dangling_mut()
}

extern "C-unwind" fn close(_: *mut ss_plugin_t, _: *mut ss_instance_t) {}

extern "C-unwind" fn next_batch(
    _: *mut ss_plugin_t,
    _: *mut ss_instance_t,
    count: *mut u32,
    events: *mut *mut *mut ss_plugin_event,
) -> ss_plugin_rc {
    QUEUE.with_borrow_mut(|q| {
        let Some(next) = q.waiting.pop_front() else { return TIMEOUT };
        q.batch = [next.as_ptr() as usize];
        q.given.push(next);
        // SAFETY: the engine's pointers. The batch and its event stay where they are until the next call.
        unsafe {
            *events = q.batch.as_mut_ptr().cast();
            *count = 1;
        }
        SUCCESS
    })
}
