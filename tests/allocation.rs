//! An answer given before costs no allocation and no system call; a first one few; and what one container
//! does costs no other's answers.
//!
//! The library's own allocator cannot be watched from outside, so here drift is linked in, and its C
//! functions are called under an allocator that counts. Only what happens inside `plugin_extract_fields`
//! counts. A process of its own, because the allocator is the whole process's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[path = "allocation/answers.rs"]
mod answers;
#[path = "../benches/common/mod.rs"]
mod common;
#[path = "allocation/flood.rs"]
mod flood;

// For its C functions.
use drift as _;
use falco_plugin::api::{
    plugin_api, ss_plugin_async_event_handler_t, ss_plugin_event_input, ss_plugin_event_parse_input,
    ss_plugin_field_extract_input, ss_plugin_init_input, ss_plugin_owner_t, ss_plugin_rc, ss_plugin_t,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::c_char;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::OnceLock;
use testkit::host;
use testkit::host::event::{event, Exec, ACCEPT4_6_X, LOWER, OPENAT_2_X, UPPER};
use testkit::host::Host;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that the process has allocated.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// Held by each test: what one allocates would count for another.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs something, and counts the thread's allocations meanwhile.
fn allocations<T>(work: impl FnOnce() -> T) -> (T, u64) {
    ALLOCATIONS.set(0);
    WATCHED.set(true);
    let result = work();
    WATCHED.set(false);
    (result, ALLOCATIONS.get())
}

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    if WATCHED.get() {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    }
}

// SAFETY: everything is the system's allocator's doing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        LIVE.fetch_add(new_size, Ordering::Relaxed);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

extern "C-unwind" {
    fn plugin_get_name() -> *const c_char;
    fn plugin_init(input: *const ss_plugin_init_input, rc: *mut ss_plugin_rc) -> *mut ss_plugin_t;
    fn plugin_destroy(plugin: *mut ss_plugin_t);
    fn plugin_get_last_error(plugin: *mut ss_plugin_t) -> *const c_char;
    fn plugin_get_fields() -> *const c_char;
    fn plugin_get_extract_event_sources() -> *const c_char;
    fn plugin_extract_fields(
        plugin: *mut ss_plugin_t,
        event: *const ss_plugin_event_input,
        input: *const ss_plugin_field_extract_input,
    ) -> ss_plugin_rc;
    fn plugin_get_parse_event_sources() -> *const c_char;
    fn plugin_get_parse_event_types(count: *mut u32, plugin: *mut ss_plugin_t) -> *mut u16;
    fn plugin_parse_event(
        plugin: *mut ss_plugin_t,
        event: *const ss_plugin_event_input,
        input: *const ss_plugin_event_parse_input,
    ) -> ss_plugin_rc;
    fn plugin_get_async_events() -> *const c_char;
    fn plugin_get_async_event_sources() -> *const c_char;
    fn plugin_set_async_event_handler(
        plugin: *mut ss_plugin_t,
        owner: *mut ss_plugin_owner_t,
        handler: ss_plugin_async_event_handler_t,
    ) -> ss_plugin_rc;
}

unsafe extern "C-unwind" fn watched_extract(
    plugin: *mut ss_plugin_t,
    event: *const ss_plugin_event_input,
    input: *const ss_plugin_field_extract_input,
) -> ss_plugin_rc {
    WATCHED.set(true);
    // SAFETY: the engine's arguments, passed on.
    let rc = unsafe { plugin_extract_fields(plugin, event, input) };
    WATCHED.set(false);
    rc
}

/// The linked plugin's functions.
fn api() -> &'static plugin_api {
    static API: OnceLock<plugin_api> = OnceLock::new();
    API.get_or_init(|| {
        // SAFETY: all fields are optional functions, absent as zero.
        let mut api: plugin_api = unsafe { std::mem::zeroed() };
        api.get_name = Some(plugin_get_name);
        api.init = Some(plugin_init);
        api.destroy = Some(plugin_destroy);
        api.get_last_error = Some(plugin_get_last_error);
        api.__bindgen_anon_2.get_fields = Some(plugin_get_fields);
        api.__bindgen_anon_2.get_extract_event_sources = Some(plugin_get_extract_event_sources);
        api.__bindgen_anon_2.extract_fields = Some(watched_extract);
        api.__bindgen_anon_3.get_parse_event_sources = Some(plugin_get_parse_event_sources);
        api.__bindgen_anon_3.get_parse_event_types = Some(plugin_get_parse_event_types);
        api.__bindgen_anon_3.parse_event = Some(plugin_parse_event);
        api.__bindgen_anon_4.get_async_events = Some(plugin_get_async_events);
        api.__bindgen_anon_4.get_async_event_sources = Some(plugin_get_async_event_sources);
        api.__bindgen_anon_4.set_async_event_handler = Some(plugin_set_async_event_handler);
        api
    })
}

/// The fields asked, all of them free.
const FREE: &[&str] = &[
    "container_id",
    "container_age",
    "manifest_state",
    "rootfs_readonly",
    "binary_origin",
    "binary_layer",
    "binary_sha256",
    "binary_package",
    "binary_traits",
    "script_path",
    "script_origin",
    "volume_kind",
    "file_path",
    "image_has_file",
    "image_has_file[/usr/bin/python3]",
    "image_has_file[/nosuch]",
    "pkg_manager",
    "pkg_action",
    "pkg_names",
    "pkg_role",
];

/// The fields asked of a connection.
const FREE_OF_PEERS: &[&str] = &[
    "peer_expected",
    "peer_baseline",
    "peer_new",
    "peer_direction",
    "peer_name",
    "port_declared",
    "port_new",
];

/// Parameters of an accept4 from 192.0.2.7 on 10.0.0.2:8080: descriptor, tuple, queue, flags.
fn accept() -> [Vec<u8>; 6] {
    let tuple =
        [&[2, 192, 0, 2, 7][..], &50_000u16.to_ne_bytes(), &[10, 0, 0, 2], &8080u16.to_ne_bytes()].concat();
    let none = 0u32.to_ne_bytes().to_vec();
    [5i64.to_ne_bytes().to_vec(), tuple, vec![0], none.clone(), none.clone(), none]
}

/// Asks a field and counts the allocations made for the answer.
fn cost(host: &mut Host, event: &falco_plugin_runner::Event, field: &str) -> u64 {
    ALLOCATIONS.set(0);
    host.ask(event, field);
    ALLOCATIONS.get()
}

#[test]
fn an_answer_given_before_allocates_nothing() {
    let _alone = alone();
    let dir = host::no_host();
    let manifest = host::manifest(dir.path());
    let mut host = Host::with(api(), &host::config(dir.path(), &manifest, "0123*"));

    let known = "/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let unknown = "/docker/fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
    let mut first_answers = 0;
    for (tid, (name, cgroup, path, flags)) in (5_000_000i64..).zip([
        ("image", known, "/usr/bin/python3", LOWER),
        ("added", known, "/tmp/evil", UPPER),
        ("package manager", known, "/usr/bin/python3", LOWER),
        ("host", "/system.slice/x.service", "/usr/bin/python3", 0),
        ("container without an image", unknown, "/usr/bin/python3", LOWER),
    ]) {
        let argv = match name {
            "package manager" => &["python3", "/usr/bin/pip", "install", "six", "requests"][..],
            _ => &["python3", "/tmp/x.py"],
        };
        let exec = host.feed(Exec::new(tid, cgroup, path, flags, argv).bytes());
        first_answers += FREE.iter().map(|f| cost(&mut host, &exec, f)).sum::<u64>();
        let later = host.feed(event(OPENAT_2_X, tid, &[&3i64.to_ne_bytes()]));
        let params = accept();
        let accepted = host.feed(event(ACCEPT4_6_X, tid, &params.each_ref().map(Vec::as_slice)));
        first_answers += FREE_OF_PEERS.iter().map(|f| cost(&mut host, &accepted, f)).sum::<u64>();
        for field in FREE_OF_PEERS {
            assert_eq!(cost(&mut host, &accepted, field), 0, "{name}: {field}");
        }
        for event in [&exec, &later] {
            for field in FREE {
                assert_eq!(cost(&mut host, event, field), 0, "{name}: {field}");
            }
        }
    }
    assert!(first_answers > 0, "nothing is counted");
}
