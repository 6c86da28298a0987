//! Values of fields, and how they are handed to the engine.
//!
//! Layout of results: `ss_plugin_extract_field` in falcosecurity/libs `userspace/plugin/plugin_api.h`. Memory is the
//! call's own arena, which keeps its last chunk: in the steady state nothing is allocated.

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
    /// Bytes; cut at a NUL, which no path or name has.
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
    let text = CStr::from_bytes_until_nul(text).map_or(text, CStr::to_bytes);
    let copy = arena.alloc_slice_fill_copy(text.len() + 1, 0u8);
    if let Some(head) = copy.get_mut(..text.len()) {
        head.copy_from_slice(text);
    }
    copy.as_ptr().cast()
}
