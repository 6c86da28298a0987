//! The C interface of the plugin, guarded.
//!
//! The SDK's `plugin!`, `extract_plugin!`, `parse_plugin!` and `async_event_plugin!` export the same
//! functions bare. Here each is wrapped so that no panic crosses into the engine (a foreign exception there
//! ends the process), and the one that the SDK lacks, `plugin_get_required_event_schema_version`, is added:
//! without it libs 0.22 and later take the plugin for one of schema 3.0.0 and refuse it, in live captures
//! only.
//!
//! Functions and their contracts: falcosecurity/libs `userspace/plugin/plugin_api.h`.

use crate::event::open::{opening, Opening};
use crate::event::raw::SyscallEvent;
use crate::event::reading::RECENT;
use crate::logging;
use crate::metrics;
use crate::plugin::Drift;
use falco_event::events::RawEvent;
use falco_plugin::api::{
    ss_instance_t, ss_plugin_async_event_handler_t, ss_plugin_event, ss_plugin_event_input,
    ss_plugin_event_parse_input, ss_plugin_field_extract_input, ss_plugin_init_input, ss_plugin_metric,
    ss_plugin_owner_t, ss_plugin_rc, ss_plugin_rc_SS_PLUGIN_FAILURE, ss_plugin_rc_SS_PLUGIN_SUCCESS,
    ss_plugin_schema_type, ss_plugin_set_config_input, ss_plugin_t,
};
use falco_plugin::internals::{async_event, base, extract, parse, source};
use std::ffi::{c_char, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// The event schema that the events read here belong to; parameters drift reads are the same since 4.0.0.
const EVENT_SCHEMA: &CStr = c"4.0.0";

fn guard<T>(otherwise: T, call: impl FnOnce() -> T) -> T {
    // After a panic an instance's state is whole: every change to it is a single insertion or removal.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        metrics::note_panic();
        otherwise
    })
}

// SAFETY: the functions below are the exports that these markers promise.
unsafe impl base::wrappers::BasePluginExported for Drift {}
// SAFETY: as above.
unsafe impl extract::wrappers::ExtractPluginExported for Drift {}
// SAFETY: as above.
unsafe impl parse::wrappers::ParsePluginExported for Drift {}
// SAFETY: as above.
unsafe impl source::wrappers::SourcePluginExported for Drift {}
// SAFETY: as above.
unsafe impl async_event::wrappers::AsyncPluginExported for Drift {}

/// Exports guarded calls of the SDK's functions of the same name, all with the SDK's own contract: pointers
/// are valid or null, as the engine passes them.
macro_rules! export {
    ($($module:ident :: $name:ident ( $($arg:ident : $ty:ty),* ) -> $ret:ty, or $otherwise:expr;)+) => {$(
        #[no_mangle]
        unsafe extern "C-unwind" fn $name($($arg: $ty),*) -> $ret {
            // SAFETY: the arguments are the engine's, passed on as they came.
            guard($otherwise, || unsafe { $module::wrappers::$name::<Drift>($($arg),*) })
        }
    )+};
}

/// As [`export!`], for functions of the SDK that are safe to call.
macro_rules! export_safe {
    ($($module:ident :: $name:ident () -> $ret:ty, or $otherwise:expr;)+) => {$(
        #[no_mangle]
        extern "C-unwind" fn $name() -> $ret {
            guard($otherwise, || $module::wrappers::$name::<Drift>())
        }
    )+};
}

export_safe! {
    base::plugin_get_version() -> *const c_char, or std::ptr::null();
    base::plugin_get_name() -> *const c_char, or std::ptr::null();
    base::plugin_get_description() -> *const c_char, or std::ptr::null();
    base::plugin_get_contact() -> *const c_char, or std::ptr::null();
    extract::plugin_get_extract_event_sources() -> *const c_char, or std::ptr::null();
    extract::plugin_get_fields() -> *const c_char, or std::ptr::null();
    parse::plugin_get_parse_event_sources() -> *const c_char, or std::ptr::null();
    source::plugin_get_id() -> u32, or 0;
    source::plugin_get_event_source() -> *const c_char, or std::ptr::null();
    async_event::plugin_get_async_events() -> *const c_char, or std::ptr::null();
    async_event::plugin_get_async_event_sources() -> *const c_char, or std::ptr::null();
}

export! {
    base::plugin_get_init_schema(schema_type: *mut ss_plugin_schema_type) -> *const c_char, or std::ptr::null();
    base::plugin_destroy(plugin: *mut ss_plugin_t) -> (), or ();
    base::plugin_get_last_error(plugin: *mut ss_plugin_t) -> *const c_char, or c"internal error".as_ptr();
    base::plugin_set_config(
        plugin: *mut ss_plugin_t,
        input: *const ss_plugin_set_config_input
    ) -> ss_plugin_rc, or ss_plugin_rc_SS_PLUGIN_FAILURE;
    base::plugin_get_metrics(
        plugin: *mut ss_plugin_t,
        count: *mut u32
    ) -> *mut ss_plugin_metric, or std::ptr::null_mut();
    extract::plugin_get_extract_event_types(
        count: *mut u32,
        plugin: *mut ss_plugin_t
    ) -> *mut u16, or std::ptr::null_mut();
    extract::plugin_extract_fields(
        plugin: *mut ss_plugin_t,
        event: *const ss_plugin_event_input,
        input: *const ss_plugin_field_extract_input
    ) -> ss_plugin_rc, or ss_plugin_rc_SS_PLUGIN_FAILURE;
    parse::plugin_get_parse_event_types(
        count: *mut u32,
        plugin: *mut ss_plugin_t
    ) -> *mut u16, or std::ptr::null_mut();
    source::plugin_close(plugin: *mut ss_plugin_t, instance: *mut ss_instance_t) -> (), or ();
    source::plugin_next_batch(
        plugin: *mut ss_plugin_t,
        instance: *mut ss_instance_t,
        count: *mut u32,
        events: *mut *mut *mut ss_plugin_event
    ) -> ss_plugin_rc, or ss_plugin_rc_SS_PLUGIN_FAILURE;
    source::plugin_event_to_string(
        plugin: *mut ss_plugin_t,
        event: *const ss_plugin_event_input
    ) -> *const c_char, or std::ptr::null();
    async_event::plugin_set_async_event_handler(
        plugin: *mut ss_plugin_t,
        owner: *mut ss_plugin_owner_t,
        handler: ss_plugin_async_event_handler_t
    ) -> ss_plugin_rc, or ss_plugin_rc_SS_PLUGIN_FAILURE;
    async_event::plugin_dump_state(
        plugin: *mut ss_plugin_t,
        owner: *mut ss_plugin_owner_t,
        handler: ss_plugin_async_event_handler_t
    ) -> ss_plugin_rc, or ss_plugin_rc_SS_PLUGIN_FAILURE;
}

#[no_mangle]
extern "C-unwind" fn plugin_get_required_api_version() -> *const c_char {
    guard(std::ptr::null(), || base::wrappers::plugin_get_required_api_version::<3, 11, 0>())
}

#[no_mangle]
unsafe extern "C-unwind" fn plugin_init(
    input: *const ss_plugin_init_input,
    rc: *mut ss_plugin_rc,
) -> *mut ss_plugin_t {
    // SAFETY: the engine's arguments. The SDK writes `rc` on every path but a panic's, where it keeps this
    // value.
    unsafe {
        if let Some(rc) = rc.as_mut() {
            *rc = ss_plugin_rc_SS_PLUGIN_FAILURE;
        }
        if let Some(input) = input.as_ref() {
            logging::install(input.log_fn, input.owner);
        }
        guard(std::ptr::null_mut(), || base::wrappers::plugin_init::<Drift>(input, rc))
    }
}

#[no_mangle]
unsafe extern "C-unwind" fn plugin_open(
    plugin: *mut ss_plugin_t,
    params: *const c_char,
    rc: *mut ss_plugin_rc,
) -> *mut ss_instance_t {
    // SAFETY: as for `plugin_init`.
    unsafe {
        if let Some(rc) = rc.as_mut() {
            *rc = ss_plugin_rc_SS_PLUGIN_FAILURE;
        }
        guard(std::ptr::null_mut(), || source::wrappers::plugin_open::<Drift>(plugin, params, rc))
    }
}

#[no_mangle]
extern "C-unwind" fn plugin_get_required_event_schema_version(_plugin: *mut ss_plugin_t) -> *const c_char {
    EVENT_SCHEMA.as_ptr()
}

#[no_mangle]
unsafe extern "C-unwind" fn plugin_parse_event(
    plugin: *mut ss_plugin_t,
    event: *const ss_plugin_event_input,
    input: *const ss_plugin_event_parse_input,
) -> ss_plugin_rc {
    // SAFETY: the engine's arguments, passed on as they came.
    guard(ss_plugin_rc_SS_PLUGIN_FAILURE, || unsafe {
        if is_passed_over(event) {
            return ss_plugin_rc_SS_PLUGIN_SUCCESS;
        }
        parse::wrappers::plugin_parse_event::<Drift>(plugin, event, input)
    })
}

/// Whether an event is one to read a file, which tells drift nothing, or nothing new.
///
/// # Safety
/// The pointer is null, or valid and so is the event that it names.
unsafe fn is_passed_over(input: *const ss_plugin_event_input) -> bool {
    /// Of how many the engine's count lets one through: some work is done a little at each event.
    const ONE_OF: u64 = 16;
    // SAFETY: as promised by the caller.
    let raw = unsafe {
        let Some(input) = input.as_ref().filter(|input| !input.evt.is_null()) else { return false };
        if input.evtnum % ONE_OF == 0 {
            return false;
        }
        RawEvent::from_ptr(input.evt.cast())
    };
    raw.is_ok_and(|raw| {
        let event = SyscallEvent::from(&raw);
        match opening(&event) {
            Some(Opening::Reading) => true,
            Some(Opening::LikeALoader | Opening::ReadingChanged) => RECENT.knows(&event),
            Some(Opening::Writing) | None => false,
        }
    })
}
