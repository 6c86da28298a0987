//! A way round two faults that keep sysdig 0.41 from reading system call events from a plugin.
//!
//! sysdig opens every source plugin on libsinsp's platform for plugins of other sources, `HOSTINFO`. There,
//! libs 0.23 end at the first clone event: their parser keeps a reference to a pointer that was not set yet
//! when it was made (`sinsp_parser::is_syscall_plugin_enabled`). Falco opens a source plugin of system calls
//! on the platform `FULL`, which reads `/proc` as live captures do, and does not meet it. So this library is
//! preloaded into sysdig, takes the place of `sinsp::open_plugin` and calls the real one with `FULL`.

use std::ffi::{c_char, c_int, c_void};

/// `sinsp_plugin_platform::SINSP_PLATFORM_FULL` (sinsp.h).
const PLATFORM_FULL: c_int = 2;
/// `sinsp::open_plugin(const std::string &, const std::string &, sinsp_plugin_platform)`.
const OPEN_PLUGIN: *const c_char =
    c"_ZN5sinsp11open_pluginERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEES7_21sinsp_plugin_platform"
        .as_ptr();
/// The next library that has a symbol (dlfcn.h).
const RTLD_NEXT: *mut c_void = -1isize as *mut c_void;

extern "C" {
    fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
}

type OpenPlugin = unsafe extern "C-unwind" fn(*mut c_void, *const c_void, *const c_void, c_int);

/// Takes the place of libsinsp's function; C++ exceptions of the real one pass through.
#[export_name = "_ZN5sinsp11open_pluginERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEES7_21sinsp_plugin_platform"]
unsafe extern "C-unwind" fn open_plugin(
    inspector: *mut c_void,
    name: *const c_void,
    params: *const c_void,
    _: c_int,
) {
    // SAFETY: dlsym's arguments are constants. Only an engine with libsinsp calls this function, so the real
    // one is in the library that comes after; where it is not, there is nothing to go on with.
    let real = unsafe { dlsym(RTLD_NEXT, OPEN_PLUGIN) };
    if real.is_null() {
        std::process::abort();
    }
    // SAFETY: the function of that name has this signature; the arguments are its caller's.
    unsafe { std::mem::transmute::<*mut c_void, OpenPlugin>(real)(inspector, name, params, PLATFORM_FULL) };
}
