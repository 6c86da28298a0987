//! What a file is opened for, by the flags of the event alone.
//!
//! Opens are what a busy node has most of, and nearly all are to read. The plugin's C interface passes those
//! over before the engine's tables are made ready, which costs several times this look.

use super::raw::{code, SyscallEvent};
use super::{file, library, reading};

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It can be written to, or was made or emptied by the open.
    Writing,
    /// As a dynamic loader opens a library, and not from the image's own layers.
    LikeALoader,
    /// To read, of a file that may not be as the image or the deployment brought it.
    ReadingChanged,
    /// To read, or to look at.
    Reading,
}

/// What an open is for, whatever came of it; `None` for other calls, and where the event has no flags.
pub fn opening(event: &SyscallEvent<'_>) -> Option<Opening> {
    let flags = match event.code {
        code::OPEN_X => 2,
        code::OPENAT_X | code::OPENAT2_X => 3,
        _ => return None,
    };
    let flags = event.u32_param(flags)?;
    Some(match () {
        () if file::writes(flags) => Opening::Writing,
        () if library::may_be_a_loaders(flags) => Opening::LikeALoader,
        () if reading::may_be_changed(event, flags) => Opening::ReadingChanged,
        () => Opening::Reading,
    })
}

#[cfg(test)]
mod tests {
    use super::super::raw::tests::event;
    use super::*;

    #[test]
    fn an_open_is_for_what_its_flags_say() {
        use Opening::{LikeALoader, Reading, ReadingChanged, Writing};
        let (fd, at, name) = (3i64.to_ne_bytes(), (-100i64).to_ne_bytes(), b"/tmp/x\0");
        let (read, write, truncate, directory, close, temporary, created) =
            (1 << 0, 1 << 1, 1 << 8, 1 << 10, 1 << 12, 1 << 13, 1 << 14);
        let (upper, lower) = (1 << 15, 1 << 16);
        for (flags, what) in [
            (read, Reading),
            (read | upper, ReadingChanged),
            (read | lower, Reading),
            (read | upper | directory, Reading),
            (read | write, Writing),
            (write | close, Writing),
            (read | created, Writing),
            (read | truncate, Writing),
            (read | write | temporary, Writing),
            (read | close, LikeALoader),
            (read | close | upper, LikeALoader),
            (read | close | lower, Reading),
            (read | close | lower | upper, LikeALoader),
            (read | close | directory, Reading),
            // The probe tells O_TMPFILE of directories, too.
            (read | close | directory | temporary, Reading),
        ] {
            let raw = u32::to_ne_bytes(flags);
            for bytes in [
                event(code::OPEN_X, 1, &[&fd, name, &raw]),
                event(code::OPENAT_X, 1, &[&fd, &at, name, &raw]),
                event(code::OPENAT2_X, 1, &[&fd, &at, name, &raw]),
            ] {
                let event = SyscallEvent::from_bytes(&bytes).unwrap();
                assert_eq!(opening(&event), Some(what), "{} {flags:#x}", event.code);
            }
        }
    }

    #[test]
    fn other_calls_and_events_without_flags_are_not_known() {
        let (fd, at, flags) = (3i64.to_ne_bytes(), (-100i64).to_ne_bytes(), 1u32.to_ne_bytes());
        for bytes in [
            event(code::EXECVE_X, 1, &[&fd, &at, b"/bin/sh\0", &flags]),
            event(code::OPENAT_X, 1, &[&fd, &at, b"/tmp/x\0"]),
            event(code::OPENAT_X, 1, &[&fd, &at, b"/tmp/x\0", b""]),
            event(code::OPENAT_X, 1, &[]),
        ] {
            assert_eq!(opening(&SyscallEvent::from_bytes(&bytes).unwrap()), None, "{bytes:?}");
        }
    }
}
