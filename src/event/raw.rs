//! The wire form of an event: a header, parameter lengths, parameters.
//!
//! Layout and codes: falcosecurity/libs `driver/ppm_events_public.h` (`struct ppm_evt_hdr`,
//! `ppm_event_code`). Codes never change once released; a change of meaning gets a new code.

use falco_event::events::{AnyEventPayload, RawEvent};
use std::ffi::CStr;

/// Event codes that drift looks at.
pub mod code {
    /// `open` exit.
    pub const OPEN_X: u16 = 3;
    /// `openat` exit.
    pub const OPENAT_X: u16 = 307;
    /// `openat2` exit.
    pub const OPENAT2_X: u16 = 327;
    /// `procexit`: a thread is gone.
    pub const PROCEXIT: u16 = 186;
    /// `clone` exit.
    pub const CLONE_X: u16 = 223;
    /// `fork` exit.
    pub const FORK_X: u16 = 225;
    /// `vfork` exit.
    pub const VFORK_X: u16 = 227;
    /// `execve` exit; also what the modern probe sends for a successful `execveat`.
    pub const EXECVE_X: u16 = 293;
    /// `execveat` exit.
    pub const EXECVEAT_X: u16 = 331;
    /// `clone3` exit.
    pub const CLONE3_X: u16 = 335;
    /// An event of a plugin's own source: the plugin's id and a payload.
    pub const PLUGIN: u16 = 322;
    /// An event that a plugin made: a name and a payload.
    pub const ASYNC: u16 = 402;
}

/// Header length in bytes: time, thread, length, code, number of parameters, packed.
pub const HEADER_LEN: usize = 26;

/// Tells one event from the others ([`SyscallEvent::identity`]).
pub type EventKey = (u64, u64, i64, u16);

/// Where in an event some bytes are: begin and end.
pub(super) type Span = (u32, u32);

/// An event of the `syscall` source, or of Drift's own, not decoded further.
#[derive(Debug, Clone, Copy)]
pub struct SyscallEvent<'a> {
    /// Nanoseconds since the epoch.
    pub ts: u64,
    /// Thread that made the event; -1 where there is none.
    pub tid: i64,
    /// Event code.
    pub code: u16,
    /// The engine's number of the event; 0 where it was not asked for.
    pub number: u64,
    nparams: usize,
    payload: &'a [u8],
}

impl AnyEventPayload for SyscallEvent<'_> {
    const SOURCES: &'static [Option<&'static str>] = &[Some("syscall"), Some("drift")];
    /// No codes: fields may be asked on any event of the source.
    const EVENT_TYPES: &'static [u16] = &[];
}

impl<'a> From<&RawEvent<'a>> for SyscallEvent<'a> {
    fn from(raw: &RawEvent<'a>) -> Self {
        Self {
            ts: raw.metadata.ts,
            tid: raw.metadata.tid,
            code: raw.event_type,
            number: 0,
            nparams: raw.nparams as usize,
            payload: raw.payload,
        }
    }
}

/// The events that drift parses: where threads begin, change and end, what other plugins say, and opens, by
/// which libraries are loaded (a rule that asks about each of them would cost the engine several times as
/// much).
///
/// All of them are in the set that the engine traces for its own state, so subscribing switches no syscall
/// on.
#[derive(Debug, Clone, Copy)]
pub struct StateEvent<'a>(pub SyscallEvent<'a>);

impl AnyEventPayload for StateEvent<'_> {
    const SOURCES: &'static [Option<&'static str>] = &[Some("syscall")];
    const EVENT_TYPES: &'static [u16] = &[
        code::PROCEXIT,
        code::CLONE_X,
        code::FORK_X,
        code::VFORK_X,
        code::EXECVE_X,
        code::EXECVEAT_X,
        code::CLONE3_X,
        code::ASYNC,
        code::OPEN_X,
        code::OPENAT_X,
        code::OPENAT2_X,
    ];
}

impl<'a> From<&RawEvent<'a>> for StateEvent<'a> {
    fn from(raw: &RawEvent<'a>) -> Self {
        Self(raw.into())
    }
}

impl<'a> SyscallEvent<'a> {
    /// Decodes an event from its bytes, header included.
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        RawEvent::from(bytes).ok().as_ref().map(Self::from)
    }

    /// Tells this event from the others: the engine's number, and time, thread and code, because a second
    /// capture of the same engine begins to count anew.
    pub fn identity(&self) -> EventKey {
        (self.number, self.ts, self.tid, self.code)
    }

    /// Where some bytes of this event are in it.
    pub(super) fn span(&self, bytes: &'a [u8]) -> Span {
        if bytes.is_empty() {
            return (0, 0); // of a parameter that is not there
        }
        let start = (bytes.as_ptr() as usize).saturating_sub(self.payload.as_ptr() as usize);
        let at = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        (at(start), at(start + bytes.len()))
    }

    /// The bytes there.
    pub(super) fn at(&self, (start, end): Span) -> Option<&'a [u8]> {
        self.payload.get(start as usize..end as usize)
    }

    /// The parameter with this index, from 0. `None` where the event (of an older schema, or cut short) has
    /// no such parameter.
    pub fn param(&self, index: usize) -> Option<&'a [u8]> {
        if index >= self.nparams {
            return None;
        }
        // EF_LARGE_PAYLOAD events have 4-byte lengths, all others 2-byte ones.
        if matches!(self.code, code::ASYNC | code::PLUGIN) {
            self.param_behind(index, |bytes| u32::from_ne_bytes(bytes) as usize)
        } else {
            self.param_behind(index, |bytes| usize::from(u16::from_ne_bytes(bytes)))
        }
    }

    /// The parameter behind the others, whose lengths are numbers of this width. Asked several times for each
    /// event: one pass over the lengths before it, and no more.
    fn param_behind<const WIDTH: usize>(
        &self,
        index: usize,
        length: fn([u8; WIDTH]) -> usize,
    ) -> Option<&'a [u8]> {
        let lengths = self.payload.get(..self.nparams.checked_mul(WIDTH)?)?;
        let (before, rest) = lengths.split_at_checked(index * WIDTH)?;
        // Each is below 2^32 and there are fewer than the payload has bytes: no overflow in 64 bits.
        let skipped: usize =
            before.chunks_exact(WIDTH).filter_map(|raw| raw.try_into().ok()).map(length).sum();
        let start = lengths.len() + skipped;
        self.payload.get(start..start + length(*rest.first_chunk()?))
    }

    /// A parameter that is a string: its bytes up to the NUL.
    pub fn str_param(&self, index: usize) -> Option<&'a [u8]> {
        let bytes = self.param(index)?;
        Some(CStr::from_bytes_until_nul(bytes).map_or(bytes, CStr::to_bytes))
    }

    /// A parameter that is an 8-byte number.
    pub fn u64_param(&self, index: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(self.param(index)?.try_into().ok()?))
    }

    /// A parameter that is an 8-byte signed number (results, process ids).
    pub fn i64_param(&self, index: usize) -> Option<i64> {
        Some(i64::from_ne_bytes(self.param(index)?.try_into().ok()?))
    }

    /// A parameter that is a 4-byte number.
    pub fn u32_param(&self, index: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.param(index)?.try_into().ok()?))
    }

    /// Name and payload of an async event, whose parameters are plugin id, name, data.
    pub fn async_payload(&self) -> Option<(&'a [u8], &'a [u8])> {
        if self.code != code::ASYNC {
            return None;
        }
        Some((self.str_param(1)?, self.param(2)?))
    }

    /// Payload of an event of the source of the plugin with this id.
    pub fn source_payload(&self, plugin: u32) -> Option<&'a [u8]> {
        if self.code != code::PLUGIN || self.u32_param(0)? != plugin {
            return None;
        }
        self.param(1)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Builds an event's bytes from its parameters.
    pub(crate) fn event(code: u16, tid: i64, params: &[&[u8]]) -> Vec<u8> {
        let wide = matches!(code, code::ASYNC | code::PLUGIN);
        let mut body = Vec::new();
        for p in params {
            match wide {
                true => body.extend_from_slice(&(p.len() as u32).to_ne_bytes()),
                false => body.extend_from_slice(&(p.len() as u16).to_ne_bytes()),
            }
        }
        params.iter().for_each(|p| body.extend_from_slice(p));
        let mut out = Vec::new();
        out.extend_from_slice(&1u64.to_ne_bytes());
        out.extend_from_slice(&tid.to_ne_bytes());
        out.extend_from_slice(&((HEADER_LEN + body.len()) as u32).to_ne_bytes());
        out.extend_from_slice(&code.to_ne_bytes());
        out.extend_from_slice(&(params.len() as u32).to_ne_bytes());
        out.extend_from_slice(&body);
        out
    }

    #[test]
    fn parameters_come_by_index_and_kind() {
        let bytes = event(code::EXECVE_X, 7, &[&0i64.to_ne_bytes(), b"/bin/sh\0", b"", &5u32.to_ne_bytes()]);
        let e = SyscallEvent::from_bytes(&bytes).unwrap();
        assert_eq!((e.tid, e.code), (7, code::EXECVE_X));
        assert_eq!(e.i64_param(0), Some(0));
        assert_eq!(e.str_param(1), Some(&b"/bin/sh"[..]));
        assert_eq!(e.param(2), Some(&b""[..]));
        assert_eq!(e.u32_param(3), Some(5));
        assert_eq!(e.param(4), None, "older schema: no such parameter");
        assert_eq!(e.u64_param(3), None, "wrong width");
    }

    #[test]
    fn async_events_have_wide_lengths() {
        let bytes = event(code::ASYNC, -1, &[&0u32.to_ne_bytes(), b"container\0", b"{}\0"]);
        let e = SyscallEvent::from_bytes(&bytes).unwrap();
        assert_eq!(e.async_payload(), Some((&b"container"[..], &b"{}\0"[..])));
    }

    #[test]
    fn events_of_a_source_are_told_by_the_plugins_id() {
        let bytes = event(code::PLUGIN, -1, &[&7u32.to_ne_bytes(), b"{}"]);
        let e = SyscallEvent::from_bytes(&bytes).unwrap();
        assert_eq!(e.source_payload(7), Some(&b"{}"[..]));
        assert_eq!(e.source_payload(8), None);
        assert_eq!(e.async_payload(), None);
    }

    #[test]
    fn cut_events_have_no_parameters_instead_of_a_panic() {
        let bytes = event(code::EXECVE_X, 7, &[&0i64.to_ne_bytes(), b"/bin/sh\0"]);
        for cut in HEADER_LEN..bytes.len() {
            let Some(e) = SyscallEvent::from_bytes(&bytes[..cut]) else { continue };
            let _ = (e.param(0), e.param(1), e.str_param(1));
        }
        let mut absurd = bytes.clone();
        absurd[22..26].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(SyscallEvent::from_bytes(&absurd).unwrap().param(0), None);
    }
}
