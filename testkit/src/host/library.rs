//! The built library, by its C symbols.

use falco_plugin::api::{
    plugin_api, ss_plugin_init_input, ss_plugin_metric, ss_plugin_owner_t, ss_plugin_rc, ss_plugin_t,
};
use libloading::Library;
use std::ffi::{c_char, CStr, CString};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

/// Where cargo put the library: it builds it with the tests, beside their executables, without a hash in its
/// name. Or the library that DRIFT_SO names, such as the published one.
pub fn path() -> PathBuf {
    if let Some(path) = std::env::var_os("DRIFT_SO") {
        return path.into();
    }
    let exe = std::env::current_exe().unwrap();
    let candidates = exe.ancestors().skip(1).take(2).map(|dir| dir.join("libdrift.so"));
    candidates
        .into_iter()
        .find(|p| p.is_file())
        .expect("libdrift.so is neither beside this test nor above it")
}

/// Opens the library.
pub fn open() -> Library {
    // SAFETY: it has no initialisers but the Rust runtime's.
    unsafe { Library::new(path()) }.unwrap()
}

/// A C function of the library; `None` where it exports none of that name.
fn symbol<T: Copy>(library: &Library, name: &str) -> Option<T> {
    // SAFETY: the callers below give each name the type that plugin_api.h gives it.
    unsafe { library.get::<T>(name.as_bytes()) }.ok().map(|s| *s)
}

/// What the engine makes of a library: falcosecurity/libs `userspace/plugin/plugin_loader.c`. The functions
/// are good while the library is open.
pub fn functions(library: &Library) -> plugin_api {
    // SAFETY: all fields are optional functions, absent as zero.
    let mut api: plugin_api = unsafe { std::mem::zeroed() };
    macro_rules! fill {
        ($($name:literal => $($field:ident).+,)+) => { $(api.$($field).+ = symbol(library, $name);)+ };
    }
    fill! {
        "plugin_get_required_api_version" => get_required_api_version,
        "plugin_get_init_schema" => get_init_schema,
        "plugin_init" => init,
        "plugin_destroy" => destroy,
        "plugin_get_last_error" => get_last_error,
        "plugin_get_name" => get_name,
        "plugin_get_description" => get_description,
        "plugin_get_contact" => get_contact,
        "plugin_get_version" => get_version,
        "plugin_set_config" => set_config,
        "plugin_get_metrics" => get_metrics,
        "plugin_get_id" => __bindgen_anon_1.get_id,
        "plugin_get_event_source" => __bindgen_anon_1.get_event_source,
        "plugin_open" => __bindgen_anon_1.open,
        "plugin_close" => __bindgen_anon_1.close,
        "plugin_next_batch" => __bindgen_anon_1.next_batch,
        "plugin_get_extract_event_types" => __bindgen_anon_2.get_extract_event_types,
        "plugin_get_extract_event_sources" => __bindgen_anon_2.get_extract_event_sources,
        "plugin_get_fields" => __bindgen_anon_2.get_fields,
        "plugin_extract_fields" => __bindgen_anon_2.extract_fields,
        "plugin_get_parse_event_types" => __bindgen_anon_3.get_parse_event_types,
        "plugin_get_parse_event_sources" => __bindgen_anon_3.get_parse_event_sources,
        "plugin_parse_event" => __bindgen_anon_3.parse_event,
        "plugin_get_async_event_sources" => __bindgen_anon_4.get_async_event_sources,
        "plugin_get_async_events" => __bindgen_anon_4.get_async_events,
        "plugin_set_async_event_handler" => __bindgen_anon_4.set_async_event_handler,
        "plugin_dump_state" => __bindgen_anon_4.dump_state,
        "plugin_capture_open" => __bindgen_anon_5.capture_open,
        "plugin_capture_close" => __bindgen_anon_5.capture_close,
    }
    api
}

/// The library, opened once and never closed.
pub fn api() -> &'static plugin_api {
    static API: OnceLock<plugin_api> = OnceLock::new();
    API.get_or_init(|| functions(Box::leak(Box::new(open()))))
}

/// The text of a function without arguments.
pub fn text(function: Option<unsafe extern "C-unwind" fn() -> *const c_char>) -> String {
    // SAFETY: functions of this type give a string that lives as long as the library.
    let text = unsafe { CStr::from_ptr(function.expect("is exported")()) };
    text.to_str().unwrap().to_owned()
}

/// The schema version that the library says its events are of. Not in the SDK's `plugin_api`.
pub fn event_schema_version(library: &Library) -> Option<String> {
    type Function = unsafe extern "C-unwind" fn(*mut ss_plugin_t) -> *const c_char;
    let function: Function = symbol(library, "plugin_get_required_event_schema_version")?;
    // SAFETY: it needs no instance, and gives a string that lives as long as the library.
    Some(unsafe { CStr::from_ptr(function(std::ptr::null_mut())) }.to_str().unwrap().to_owned())
}

/// A list of event codes.
pub fn codes(
    function: Option<unsafe extern "C-unwind" fn(*mut u32, *mut ss_plugin_t) -> *mut u16>,
) -> Vec<u16> {
    let mut count = 0u32;
    // SAFETY: `count` is valid, and the codes do not depend on the instance.
    let codes = unsafe { function.expect("is exported")(&mut count, std::ptr::null_mut()) };
    match count {
        0 => Vec::new(),
        // SAFETY: the function gave a list of that length.
        _ => unsafe { std::slice::from_raw_parts(codes, count as usize) }.to_vec(),
    }
}

/// What the plugin logged, of all instances in this process: severity, component and message.
pub static LOGGED: Mutex<Vec<(u32, String, String)>> = Mutex::new(Vec::new());

/// `plugin_log_fn` of libsinsp, which names the owner where there is no component; here there is no owner.
extern "C-unwind" fn take_line(
    _: *mut ss_plugin_owner_t,
    component: *const c_char,
    message: *const c_char,
    severity: u32,
) {
    // SAFETY: the plugin gives strings.
    let text = |text: *const c_char| unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned();
    assert!(!component.is_null());
    LOGGED.lock().unwrap().push((severity, text(component), text(message)));
}

/// One instance without an engine: as `falco --dry-run`, `--list` and `--plugin-info` make it.
pub struct Instance<'a> {
    api: &'a plugin_api,
    plugin: *mut ss_plugin_t,
}

impl<'a> Instance<'a> {
    /// Makes an instance.
    ///
    /// # Errors
    /// What the plugin says of its configuration.
    pub fn new(api: &'a plugin_api, config: &str) -> Result<Self, String> {
        let config = CString::new(config).unwrap();
        let input = ss_plugin_init_input {
            config: config.as_ptr(),
            owner: std::ptr::null_mut(),
            get_owner_last_error: Some(no_error),
            tables: std::ptr::null(),
            log_fn: Some(take_line),
        };
        let mut rc: ss_plugin_rc = -1;
        // SAFETY: both live for the call.
        let plugin = unsafe { api.init.unwrap()(&input, &mut rc) };
        let instance = Self { api, plugin };
        match rc {
            0 => Ok(instance),
            _ => Err(instance.last_error()),
        }
    }

    /// The instance, for functions of the API.
    pub fn pointer(&self) -> *mut ss_plugin_t {
        self.plugin
    }

    /// What went wrong last.
    pub fn last_error(&self) -> String {
        // SAFETY: the instance lives; a failed one may be asked (plugin_api.h).
        let error = unsafe { CStr::from_ptr(self.api.get_last_error.unwrap()(self.plugin)) };
        error.to_str().unwrap().to_owned()
    }

    /// Asks for all metrics, and gives their number.
    pub fn metrics(&self) -> usize {
        let mut count = 0u32;
        // SAFETY: the instance lives.
        let metrics: *mut ss_plugin_metric =
            unsafe { self.api.get_metrics.unwrap()(self.plugin, &mut count) };
        assert!(!metrics.is_null());
        count as usize
    }

    /// One metric.
    pub fn metric(&self, name: &str) -> u64 {
        let mut count = 0u32;
        // SAFETY: the instance lives, and what it gives lives until it is asked again; drift's values are of
        // this kind.
        unsafe {
            let first = self.api.get_metrics.unwrap()(self.plugin, &mut count);
            let all = std::slice::from_raw_parts(first, count as usize);
            let found = all.iter().find(|m| CStr::from_ptr(m.name).to_bytes() == name.as_bytes());
            found.unwrap_or_else(|| panic!("no metric {name}")).value.u64_
        }
    }

    /// Starts the plugin's own events, or stops them.
    pub fn set_async(&self, on: bool) {
        let set = self.api.__bindgen_anon_4.set_async_event_handler.unwrap();
        // SAFETY: the instance lives, and the handler ignores its arguments.
        let rc = unsafe { set(self.plugin, std::ptr::null_mut(), on.then_some(ignore as _)) };
        assert_eq!(rc, 0, "{}", self.last_error());
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        // SAFETY: it came from `init` and is dropped once.
        unsafe { self.api.destroy.unwrap()(self.plugin) }
    }
}

extern "C-unwind" fn no_error(_: *mut falco_plugin::api::ss_plugin_owner_t) -> *const c_char {
    c"".as_ptr()
}

extern "C-unwind" fn ignore(
    _: *mut falco_plugin::api::ss_plugin_owner_t,
    _: *const falco_plugin::api::ss_plugin_event,
    _: *mut c_char,
) -> ss_plugin_rc {
    0
}
