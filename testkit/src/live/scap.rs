//! The capture file format of libscap, as far as a stream of events needs it.
//!
//! Blocks as in pcapng: type, total length, body, total length again. The block types, the event header and
//! the process list are those of libscap 0.23 (`scap_savefile.h`, `scap_savefile.c`, `ppm_events_public.h`).
//! All numbers are little-endian, as on the machines this runs on.

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const BYTE_ORDER_MAGIC: u32 = 0x1A2B_3C4D;
const MACHINE_INFO: u32 = 0x201;
const EVENT_V2: u32 = 0x216;
const EVENT_V2_LARGE: u32 = 0x221;
const PROCESS_LIST_V9: u32 = 0x215;

/// An event type above every one that libscap 0.23 knows (`PPM_EVENT_MAX` is 430): its reader skips such
/// events.
const TYPE_UNKNOWN: u16 = 0xFFF0;

/// Event types, `PPME_*` in `ppm_events_public.h`.
pub mod event_type {
    /// A system call without an event of its own has returned.
    pub const GENERIC_X: u16 = 1;
    /// chdir(2) has returned.
    pub const CHDIR_X: u16 = 95;
    /// A sleep has ended; used as the mark that an engine has read this far.
    pub const NANOSLEEP_X: u16 = 135;
    /// mmap(2) has returned.
    pub const MMAP_X: u16 = 161;
    /// A thread ends.
    pub const PROCEXIT_1_E: u16 = 186;
    /// clone(2) has returned, in the parent or in the child.
    pub const CLONE_20_X: u16 = 223;
    /// vfork(2) has returned, in the parent or in the child.
    pub const VFORK_20_X: u16 = 227;
    /// An exec has succeeded.
    pub const EXECVE_19_X: u16 = 293;
    /// An event of a plugin's own source: plugin id, data.
    pub const PLUGIN_E: u16 = 322;
    /// A plugin tells something: plugin id, name, data.
    pub const ASYNC_E: u16 = 402;
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = body.len().wrapping_neg() % 4;
    let total = u32::try_from(body.len() + padding + 12).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(body.len() + padding + 12);
    out.extend(kind.to_le_bytes());
    out.extend(total.to_le_bytes());
    out.extend(body);
    out.resize(out.len() + padding, 0);
    out.extend(total.to_le_bytes());
    out
}

/// What a capture begins with: the section header and a machine of `cpus` processors that booted at `boot_ns`
/// (nanoseconds since the epoch).
#[must_use]
pub fn file_header(cpus: u32, boot_ns: u64) -> Vec<u8> {
    let mut section = Vec::new();
    section.extend(BYTE_ORDER_MAGIC.to_le_bytes());
    section.extend(1u16.to_le_bytes());
    section.extend(2u16.to_le_bytes());
    section.extend(u64::MAX.to_le_bytes()); // length not known
    let mut machine = Vec::new();
    machine.extend(cpus.to_le_bytes());
    machine.extend(0u64.to_le_bytes()); // memory
    machine.extend(4_194_304u64.to_le_bytes()); // highest process id
    let mut host = [0u8; 128];
    for (to, from) in host.iter_mut().zip(b"live") {
        *to = *from;
    }
    machine.extend(host);
    machine.extend(boot_ns.to_le_bytes());
    machine.extend([0u8; 24]); // flags and two reserved numbers
    let mut out = block(SECTION_HEADER, &section);
    out.extend(block(MACHINE_INFO, &machine));
    out
}

/// Builds one event: parameters in the order of the event table, each with its own length.
#[derive(Debug, Clone, Default)]
pub struct Params {
    lengths: Vec<u8>,
    values: Vec<u8>,
    count: u32,
}

impl Params {
    /// Adds a parameter of any bytes; a text must bring its own terminating zero. More than 65,535 bytes are
    /// cut.
    #[must_use]
    pub fn bytes(mut self, value: &[u8]) -> Self {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.lengths.extend(length.to_le_bytes());
        self.values.extend(value.iter().take(usize::from(length)));
        self.count += 1;
        self
    }

    /// Adds a text, with the terminating zero that the probe sends.
    #[must_use]
    pub fn text(self, value: &[u8]) -> Self {
        let mut bytes = value.to_vec();
        bytes.push(0);
        self.bytes(&bytes)
    }

    /// Adds a signed 64-bit number (results, process ids).
    #[must_use]
    pub fn i64(self, value: i64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Adds an unsigned 64-bit number.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Adds an unsigned 32-bit number.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Adds an unsigned 16-bit number.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Adds one byte.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    /// The finished event as a block of a capture: `ts` in nanoseconds since the epoch, `tid` as the host
    /// sees it.
    #[must_use]
    pub fn event(&self, ts: u64, tid: i64, kind: u16) -> Vec<u8> {
        let mut body = Vec::with_capacity(28 + self.lengths.len() + self.values.len());
        body.extend(0u16.to_le_bytes()); // processor
        let len = u32::try_from(26 + self.lengths.len() + self.values.len()).unwrap_or(u32::MAX);
        body.extend(ts.to_le_bytes());
        body.extend(tid.to_le_bytes());
        body.extend(len.to_le_bytes());
        body.extend(kind.to_le_bytes());
        body.extend(self.count.to_le_bytes());
        body.extend(&self.lengths);
        body.extend(&self.values);
        block(EVENT_V2, &body)
    }
}

/// The event in an event block: without the block's header, the processor and what comes after the event.
#[must_use]
pub fn event_of(block: &[u8]) -> &[u8] {
    let event = block.get(10..).unwrap_or_default();
    let length = event.get(16..20).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    event.get(..length as usize).unwrap_or_default()
}

/// The event of a plugin, which may be large.
#[must_use]
pub fn async_event(ts: u64, tid: i64, plugin: u32, name: &[u8], data: &[u8]) -> Vec<u8> {
    let mut name = name.to_vec();
    name.push(0);
    large_event(ts, tid, event_type::ASYNC_E, &[&plugin.to_le_bytes(), &name, data])
}

/// An event of the source of the plugin with this id.
#[must_use]
pub fn plugin_event(ts: u64, plugin: u32, data: &[u8]) -> Vec<u8> {
    large_event(ts, -1, event_type::PLUGIN_E, &[&plugin.to_le_bytes(), data])
}

/// An event whose parameters have lengths of 32 bits.
fn large_event(ts: u64, tid: i64, kind: u16, params: &[&[u8]]) -> Vec<u8> {
    let size = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let values: usize = params.iter().map(|param| param.len()).sum();
    let mut body = 0u16.to_le_bytes().to_vec(); // processor
    body.extend(ts.to_le_bytes());
    body.extend(tid.to_le_bytes());
    body.extend(size(26 + 4 * params.len() + values).to_le_bytes());
    body.extend(kind.to_le_bytes());
    body.extend(size(params.len()).to_le_bytes());
    params.iter().for_each(|param| body.extend(size(param.len()).to_le_bytes()));
    params.iter().for_each(|param| body.extend(*param));
    block(EVENT_V2_LARGE, &body)
}

/// An event block of at least `len` bytes that the reader skips: what pushes earlier events through its
/// buffers.
#[must_use]
pub fn padding(len: usize) -> Vec<u8> {
    let mut body = vec![0u8; 28 + len];
    let event_len = u32::try_from(26 + len).unwrap_or(u32::MAX);
    for (to, from) in body.iter_mut().skip(18).zip(event_len.to_le_bytes()) {
        *to = from;
    }
    for (to, from) in body.iter_mut().skip(22).zip(TYPE_UNKNOWN.to_le_bytes()) {
        *to = from;
    }
    block(EVENT_V2_LARGE, &body)
}

/// One entry of the process list, in the order it is stored; its own length comes first.
#[must_use]
pub fn process_list(process: &super::Process) -> Vec<u8> {
    let mut entry = Vec::new();
    let text = |out: &mut Vec<u8>, value: &[u8]| {
        let cut = value.len().min(4000);
        out.extend(u16::try_from(cut).unwrap_or(0).to_le_bytes());
        out.extend(value.iter().take(cut));
    };
    for number in [process.tid, process.pid, process.ppid, process.sid, process.vpgid] {
        entry.extend(number.to_le_bytes());
    }
    text(&mut entry, &process.comm);
    text(&mut entry, process.argv0());
    text(&mut entry, &process.exe.path);
    text(&mut entry, process.arguments());
    text(&mut entry, &process.cwd);
    entry.extend(process.fdlimit.to_le_bytes());
    entry.extend(0u32.to_le_bytes()); // flags
    entry.extend(process.euid.to_le_bytes());
    entry.extend(process.egid.to_le_bytes());
    entry.extend(process.vm_kb.to_le_bytes());
    entry.extend(process.rss_kb.to_le_bytes());
    entry.extend(process.swap_kb.to_le_bytes());
    entry.extend(process.major_faults.to_le_bytes());
    entry.extend(process.minor_faults.to_le_bytes());
    text(&mut entry, &process.env);
    entry.extend(process.vtid.to_le_bytes());
    entry.extend(process.vpid.to_le_bytes());
    text(&mut entry, &process.cgroups);
    text(&mut entry, &process.root);
    entry.extend(process.pidns_start_ns.to_le_bytes());
    entry.extend(process.tty.to_le_bytes());
    entry.extend(process.loginuid.to_le_bytes());
    entry.push(u8::from(process.exe.writable));
    for caps in [process.caps.inheritable, process.caps.permitted, process.caps.effective] {
        entry.extend(caps.to_le_bytes());
    }
    entry.push(u8::from(process.exe.layer == super::layer::Layer::Upper));
    entry.extend(process.exe.ino.to_le_bytes());
    entry.extend(process.exe.ctime_ns.to_le_bytes());
    entry.extend(process.exe.mtime_ns.to_le_bytes());
    entry.push(u8::from(process.exe.memfd));
    entry.push(u8::from(process.exe.layer == super::layer::Layer::Lower));
    entry.extend(process.pgid.to_le_bytes());
    let mut body = u32::try_from(entry.len() + 4).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    body.extend(entry);
    block(PROCESS_LIST_V9, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_words_with_their_length_at_both_ends() {
        for len in 0..9 {
            let block = block(7, &vec![1; len]);
            assert_eq!(block.len() % 4, 0);
            let total = u32::from_le_bytes(block[4..8].try_into().unwrap()) as usize;
            assert_eq!(total, block.len());
            assert_eq!(block[4..8], block[total - 4..]);
        }
    }

    #[test]
    fn an_event_states_its_own_length_and_parameters() {
        let block = Params::default().i64(-1).text(b"ab").event(5, 6, event_type::EXECVE_19_X);
        let event = &block[10..];
        assert_eq!(u64::from_le_bytes(event[..8].try_into().unwrap()), 5);
        assert_eq!(u64::from_le_bytes(event[8..16].try_into().unwrap()), 6);
        let len = u32::from_le_bytes(event[16..20].try_into().unwrap());
        assert_eq!(len, 26 + 4 + 8 + 3);
        assert_eq!(event[20..26], [37, 1, 2, 0, 0, 0]);
        assert_eq!(event[26..30], [8, 0, 3, 0]);
        assert_eq!(&event[38..41], b"ab\0");
        assert_eq!(event_of(&block), &event[..26 + 4 + 8 + 3]);
    }
}
