//! Keeps drift's code in memory when a thread of it is left behind.
//!
//! Falco closes the library right after the plugin is destroyed (`sinsp_plugin::~sinsp_plugin` →
//! `plugin_unload` → `dlclose`, userspace/plugin/plugin_loader.c): a thread that still runs would run into
//! nothing.

/// Has the library stay for as long as the process lives. Refusal cannot be helped.
#[expect(unsafe_code, reason = "the dynamic linker's interface")]
pub(super) fn keep() {
    let here: fn() = keep;
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr reads an address of this code and fills the structure, or answers 0.
    let found = unsafe { libc::dladdr(here as *const libc::c_void, info.as_mut_ptr()) };
    if found == 0 {
        return;
    }
    // SAFETY: filled by dladdr; zeroed before that, which is a valid value too.
    let info = unsafe { info.assume_init() };
    if info.dli_fname.is_null() {
        return;
    }
    // With RTLD_NODELETE a library is not unloaded by dlclose, also when it was loaded without; RTLD_NOLOAD
    // adds only that to the one that is loaded (dlopen(3)).
    let flags = libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
    // SAFETY: the name is the linker's own, NUL-terminated, and lives as long as the library.
    unsafe { libc::dlopen(info.dli_fname, flags) };
}
