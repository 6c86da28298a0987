//! Falco's log: facts at the start, each degradation once, and at `debug` each verdict step by step.
//!
//! `log::info!` and the like end here, in this crate and in those below. The SDK has a logger, too, but that
//! one names no component: libsinsp then reads the name from the owner (`plugin_log_fn`,
//! userspace/libsinsp/plugin.cpp), and the owner of the last instance may be gone while another one logs.
//! This one names the component, so that the owner is not touched. It is installed before the SDK's, which
//! then stays out.

use falco_plugin::api::{
    ss_plugin_log_fn_t, ss_plugin_log_severity, ss_plugin_log_severity_SS_PLUGIN_LOG_SEV_DEBUG,
    ss_plugin_log_severity_SS_PLUGIN_LOG_SEV_ERROR, ss_plugin_log_severity_SS_PLUGIN_LOG_SEV_INFO,
    ss_plugin_log_severity_SS_PLUGIN_LOG_SEV_TRACE, ss_plugin_log_severity_SS_PLUGIN_LOG_SEV_WARNING,
    ss_plugin_owner_t,
};
use log::{Level, Log, Metadata, Record};
use std::ffi::CString;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{PoisonError, RwLock};

/// Longest message, characters: paths and command lines in it are as long as a workload likes.
const MAX_MESSAGE: usize = 2048;

/// The engine's logger.
struct EngineLog {
    log: RwLock<ss_plugin_log_fn_t>,
    owner: AtomicPtr<ss_plugin_owner_t>,
}

static ENGINE: EngineLog = EngineLog { log: RwLock::new(None), owner: AtomicPtr::new(std::ptr::null_mut()) };

/// Logs to the engine that makes an instance.
pub(crate) fn install(log: ss_plugin_log_fn_t, owner: *mut ss_plugin_owner_t) {
    *ENGINE.log.write().unwrap_or_else(PoisonError::into_inner) = log;
    ENGINE.owner.store(owner, Ordering::Relaxed);
    // Refused where it is installed already.
    let _ = log::set_logger(&ENGINE);
}

impl Log for EngineLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Of libraries only what is wrong.
        metadata.level() <= Level::Warn || metadata.target().starts_with("drift")
    }

    #[expect(unsafe_code, reason = "the engine's function")]
    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let log = *self.log.read().unwrap_or_else(PoisonError::into_inner);
        let (Some(log), Ok(text)) = (log, CString::new(message(record.level(), &record.args().to_string())))
        else {
            return;
        };
        let owner = self.owner.load(Ordering::Relaxed);
        // SAFETY: the engine's function, which outlives all plugins; both strings live for the call
        // (plugin_api.h).
        unsafe { log(owner, c"drift".as_ptr(), text.as_ptr(), severity(record.level())) }
    }

    fn flush(&self) {}
}

fn severity(level: Level) -> ss_plugin_log_severity {
    match level {
        Level::Error => ss_plugin_log_severity_SS_PLUGIN_LOG_SEV_ERROR,
        Level::Warn => ss_plugin_log_severity_SS_PLUGIN_LOG_SEV_WARNING,
        Level::Info => ss_plugin_log_severity_SS_PLUGIN_LOG_SEV_INFO,
        Level::Debug => ss_plugin_log_severity_SS_PLUGIN_LOG_SEV_DEBUG,
        Level::Trace => ss_plugin_log_severity_SS_PLUGIN_LOG_SEV_TRACE,
    }
}

/// A message as one line: what a container named must not look like another one. The level is in it, because
/// Falco shows that of libsinsp's messages nowhere else.
fn message(level: Level, text: &str) -> String {
    let level = match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info | Level::Debug | Level::Trace => "",
    };
    let line = text.chars().take(MAX_MESSAGE).map(|c| if c.is_control() { '?' } else { c });
    level.chars().chain(line).collect()
}

/// Warns once in this process, however often it is met.
macro_rules! warn_once {
    ($($message:tt)+) => {{
        static SEEN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        let seen = &SEEN;
        if !seen.load(std::sync::atomic::Ordering::Relaxed)
            && !seen.swap(true, std::sync::atomic::Ordering::Relaxed)
        {
            log::warn!($($message)+);
        }
    }};
}
pub(crate) use warn_once;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_with_its_level() {
        assert_eq!(message(Level::Warn, "a\nb\0c"), "warning: a?b?c");
        assert_eq!(message(Level::Info, "host root /"), "host root /");
        assert_eq!(message(Level::Debug, &"x".repeat(5000)).len(), MAX_MESSAGE);
    }
}
