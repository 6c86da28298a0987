//! Values of fields, and how they are handed to the engine.
//!
//! Layout of results: `ss_plugin_extract_field` in falcosecurity/libs `userspace/plugin/plugin_api.h`. Memory
//! is the call's own arena, which keeps its last chunk: in the steady state nothing is allocated.
//!
//! Invariant: no value holds a control character. The engine takes them out of its own fields, but not out of
//! a plugin's (falcosecurity/libs `userspace/libsinsp/plugin_filtercheck.cpp` leaves `sanitize_strings`
//! alone), and Falco prints alerts as lines of text: with a line break in a file's name, a container would
//! write alerts of its own.

use bumpalo::Bump;
use falco_plugin::api::{ss_plugin_bool, ss_plugin_extract_field};
use std::ffi::{c_char, c_void, CStr};

/// The value of a field on one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// The field does not apply: `<NA>`.
    Absent,
    /// Yes or no.
    Bool(bool),
    /// A number, or a duration in nanoseconds.
    U64(u64),
    /// Bytes; cut at a NUL, which no path or name has. Control characters are handed over as `\n` and `\033`.
    Text(&'a [u8]),
    /// Several of them.
    List(&'a [&'a [u8]]),
}

impl<'a> Value<'a> {
    /// Text that is made for the occasion.
    pub fn text(arena: &'a Bump, text: &str) -> Self {
        Self::Text(arena.alloc_slice_copy(text.as_bytes()))
    }

    /// What prints itself, printed into the arena.
    pub fn shown(arena: &'a Bump, what: impl std::fmt::Display) -> Self {
        use std::fmt::Write;
        let mut text = bumpalo::collections::String::new_in(arena);
        // What is printed is at most cut.
        let _ = write!(text, "{what}");
        Self::Text(text.into_bump_str().as_bytes())
    }

    /// Lower-case hex.
    pub fn hex(arena: &'a Bump, bytes: &[u8]) -> Self {
        let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
        let digits = arena.alloc_slice_fill_iter(bytes.iter().map(|b| [digit(b >> 4), digit(b & 15)]));
        Self::Text(digits.as_flattened())
    }

    /// Bytes that may not outlive the call.
    pub fn bytes(arena: &'a Bump, bytes: &[u8]) -> Self {
        Self::Text(arena.alloc_slice_copy(bytes))
    }

    /// Several texts; none at all is absent.
    pub fn list<'i>(arena: &'a Bump, items: impl Iterator<Item = &'i [u8]>) -> Self {
        let items = items.map(|item| &*arena.alloc_slice_copy(item));
        let items: bumpalo::collections::Vec<'a, &'a [u8]> =
            bumpalo::collections::Vec::from_iter_in(items, arena);
        match items.into_bump_slice() {
            [] => Self::Absent,
            items => Self::List(items),
        }
    }

    /// `None` is absent.
    pub fn or_absent(value: Option<Self>) -> Self {
        value.unwrap_or(Self::Absent)
    }

    /// Writes the value where the engine looks for it.
    pub fn write(self, to: &mut ss_plugin_extract_field, arena: &Bump) {
        let (pointer, len): (*mut c_void, u64) = match self {
            Self::Absent => (std::ptr::null_mut(), 0),
            Self::Bool(yes) => (std::ptr::from_mut(arena.alloc(ss_plugin_bool::from(yes))).cast(), 1),
            Self::U64(n) => (std::ptr::from_mut(arena.alloc(n)).cast(), 1),
            Self::Text(text) => (std::ptr::from_mut(arena.alloc(c_string(text, arena))).cast(), 1),
            Self::List(items) => {
                let pointers = arena.alloc_slice_fill_iter(items.iter().map(|item| c_string(item, arena)));
                (pointers.as_mut_ptr().cast(), items.len() as u64)
            }
        };
        to.res.u64_ = pointer.cast();
        to.res_len = len;
    }
}

fn c_string(text: &[u8], arena: &Bump) -> *const c_char {
    // Without an early end, so that the compiler takes many bytes at a time: almost no text has any of them.
    if text.iter().fold(false, |found, byte| found | may_control(*byte)) {
        let text = CStr::from_bytes_until_nul(text).map_or(text, CStr::to_bytes);
        return escaped(text, arena);
    }
    let mut copy = bumpalo::collections::Vec::with_capacity_in(text.len() + 1, arena);
    copy.extend_from_slice_copy(text);
    copy.push(0u8);
    copy.into_bump_slice().as_ptr().cast()
}

/// Whether a byte is a control character, or may begin one: U+0080 to U+009F are `c2 80` to `c2 9f` in UTF-8.
fn may_control(byte: u8) -> bool {
    (byte < b' ') | (byte == 0x7f) | (byte == 0xc2)
}

/// A string with control characters written out. Other bytes stay as they are, backslashes too (systemd has
/// names with them), and so do those that are no UTF-8.
#[cold]
fn escaped(text: &[u8], arena: &Bump) -> *const c_char {
    let mut out = bumpalo::collections::Vec::with_capacity_in(text.len() + 16, arena);
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let control = match (first, after.first()) {
            (0xc2, Some(0x80..=0x9f)) => 2,
            (0..=0x1f | 0x7f, _) => 1,
            _ => 0,
        };
        let (some, after) = rest.split_at(control.max(1));
        for byte in some {
            match byte {
                b'\n' => out.extend_from_slice(b"\\n"),
                byte if control > 0 => {
                    out.extend([b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
                }
                byte => out.push(*byte),
            }
        }
        rest = after;
    }
    out.push(0);
    out.into_bump_slice().as_ptr().cast()
}

#[cfg(test)]
#[expect(unsafe_code, reason = "reads C strings as the engine does")]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_reaches_the_engine() {
        let arena = Bump::new();
        for (text, want) in [
            (&b""[..], &b""[..]),
            (b"/usr/bin/x", b"/usr/bin/x"),
            (b"a\nFAKE ALERT\x1b[2J", b"a\\nFAKE ALERT\\033[2J"),
            (b"\t\r\x7f", b"\\011\\015\\177"),
            // U+009B, the one-byte form of ESC [.
            (b"a\xc2\x9b2J", b"a\\302\\2332J"),
            // Letters of other languages, backslashes, bytes that are no UTF-8.
            ("\u{a0}gr\u{fc}\u{df}".as_bytes(), "\u{a0}gr\u{fc}\u{df}".as_bytes()),
            (b"dev-disk-by\\x2duuid", b"dev-disk-by\\x2duuid"),
            (b"\xff\xc2", b"\xff\xc2"),
            (b"cut\0here", b"cut"),
        ] {
            // SAFETY: a string in the arena, which lives on.
            let got = unsafe { CStr::from_ptr(c_string(text, &arena)) };
            assert_eq!(got.to_bytes(), want, "{}", text.escape_ascii());
        }
    }
}
