//! The C interface, as an engine without threads and files drives it: events of any bytes, and every field
//! asked on each.
//!
//! An input is a list of events: a byte for the code, one for the thread, one for what the parameters are,
//! then they.

use drift::extract::{Argument, FieldType, FIELDS};
use falco_plugin::api::{
    ss_plugin_event, ss_plugin_event_input, ss_plugin_event_parse_input, ss_plugin_extract_field,
    ss_plugin_field_extract_input, ss_plugin_init_input, ss_plugin_metric, ss_plugin_owner_t, ss_plugin_rc,
    ss_plugin_t, ss_plugin_table_reader_vtable_ext, ss_plugin_table_writer_vtable_ext,
};
use std::ffi::{c_char, CStr, CString};
use std::path::PathBuf;
use std::sync::OnceLock;

/// What `src/ffi.rs` exports.
mod c {
    use super::*;

    extern "C-unwind" {
        pub fn plugin_init(input: *const ss_plugin_init_input, rc: *mut ss_plugin_rc) -> *mut ss_plugin_t;
        pub fn plugin_destroy(plugin: *mut ss_plugin_t);
        pub fn plugin_parse_event(
            plugin: *mut ss_plugin_t,
            event: *const ss_plugin_event_input,
            input: *const ss_plugin_event_parse_input,
        ) -> ss_plugin_rc;
        pub fn plugin_extract_fields(
            plugin: *mut ss_plugin_t,
            event: *const ss_plugin_event_input,
            input: *const ss_plugin_field_extract_input,
        ) -> ss_plugin_rc;
        pub fn plugin_get_metrics(plugin: *mut ss_plugin_t, count: *mut u32) -> *mut ss_plugin_metric;
    }
}

/// A container that the manifest is for, and the beginning of its ids.
const CGROUP: &str = "cpuset=/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const MOST_EVENTS: usize = 12;
/// Events that drift reads, and two that it does not.
const CODES: [u16; 24] = [
    186, 223, 225, 227, 293, 331, 335, 322, 402, 307, 327, 3, 5, 17, 161, 165, 279, 281, 283, 313, 315, 325,
    1, 450,
];

/// Runs the events of an input.
pub fn interface(bytes: &[u8]) {
    let plugin = Plugin::new();
    let mut rest = Rest(bytes);
    for number in 1..=MOST_EVENTS {
        let Some(event) = rest.event() else { break };
        plugin.feed(number as u64, &event);
    }
    assert_eq!(plugin.panics(), 0);
}

/// What is left of an input.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        head
    }

    fn event(&mut self) -> Option<Vec<u8>> {
        let code = CODES[usize::from(self.byte()?) % CODES.len()];
        let tid = 5_000_000 + i64::from(self.byte()? % 4);
        match self.byte()? {
            // Any bytes under any number of parameters.
            0 => {
                let nparams = u32::from_ne_bytes(self.bytes(4).try_into().unwrap_or_default());
                let len = usize::from(self.byte()?);
                Some(raw(code, tid, nparams, self.bytes(len)))
            }
            // An exec's own shape, in a container, with some parameters replaced.
            kind @ 1..=127 => {
                let mut params = exec_params(tid);
                for _ in 0..kind % 8 {
                    let (Some(which), Some(len)) = (self.byte(), self.byte()) else { break };
                    let at = usize::from(which) % params.len();
                    params[at] = self.bytes(len.into()).to_vec();
                }
                Some(whole(code, tid, &params))
            }
            // Parameters of any length.
            kind => {
                let mut params = Vec::new();
                for _ in 0..kind % 32 {
                    let Some(len) = self.byte() else { break };
                    params.push(self.bytes(len.into()).to_vec());
                }
                Some(whole(code, tid, &params))
            }
        }
    }
}

/// Parameters of a successful exec (`PPME_SYSCALL_EXECVE_19_X`).
fn exec_params(tid: i64) -> Vec<Vec<u8>> {
    let mut params = vec![vec![0; 8]; 31];
    params[1] = b"python3\0".to_vec();
    params[2] = b"/app/run.py\0".to_vec();
    params[3] = tid.to_ne_bytes().to_vec();
    params[4] = tid.to_ne_bytes().to_vec();
    params[6] = b"/\0".to_vec();
    params[13] = b"python3\0".to_vec();
    params[14] = format!("{CGROUP}\0").into_bytes();
    params[15] = b"A=b\0".to_vec();
    params[19] = 8u32.to_ne_bytes().to_vec();
    params[27] = b"/usr/bin/python3\0".to_vec();
    params[30] = b"/usr/bin/python3\0".to_vec();
    params
}

fn whole(code: u16, tid: i64, params: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::new();
    for param in params {
        match code {
            322 | 402 => payload.extend_from_slice(&(param.len() as u32).to_ne_bytes()),
            _ => payload.extend_from_slice(&(param.len() as u16).to_ne_bytes()),
        }
    }
    params.iter().for_each(|param| payload.extend_from_slice(param));
    raw(code, tid, params.len() as u32, &payload)
}

fn raw(code: u16, tid: i64, nparams: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = 1_700_000_000_000_000_000_u64.to_ne_bytes().to_vec();
    out.extend_from_slice(&tid.to_ne_bytes());
    out.extend_from_slice(&(26 + payload.len() as u32).to_ne_bytes());
    out.extend_from_slice(&code.to_ne_bytes());
    out.extend_from_slice(&nparams.to_ne_bytes());
    out.extend_from_slice(payload);
    out
}

/// A folder that is no host, with a manifest in it.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("drift-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let listing = "#mtree\n/set type=file mode=0755\n. type=dir\n./app type=dir\n./app/run.py size=12\n\
            ./usr type=dir\n./usr/bin type=dir\n./usr/bin/python3 size=6\n";
        std::fs::write(dir.join("image.mtree"), listing).unwrap();
        dir
    })
}

struct Plugin(*mut ss_plugin_t);

impl Plugin {
    fn new() -> Self {
        let dir = folder();
        let config = serde_json::json!({
            "host_root": dir,
            "manifests": [{ "path": dir.join("image.mtree"), "containers": ["0123*"] }],
            "confirm_mmap": true,
        });
        let config = CString::new(config.to_string()).unwrap();
        let input = ss_plugin_init_input {
            config: config.as_ptr(),
            owner: std::ptr::null_mut(),
            get_owner_last_error: Some(no_error),
            tables: std::ptr::null(),
            log_fn: None,
        };
        let mut rc: ss_plugin_rc = -1;
        // SAFETY: both live for the call.
        let plugin = unsafe { c::plugin_init(&input, &mut rc) };
        assert_eq!(rc, 0, "the plugin does not start");
        Self(plugin)
    }

    /// Parses an event, then asks every field twice.
    fn feed(&self, number: u64, bytes: &[u8]) {
        // SAFETY: a struct of optional functions, absent as zero: this engine has no tables.
        let mut reader: ss_plugin_table_reader_vtable_ext = unsafe { std::mem::zeroed() };
        // SAFETY: likewise.
        let mut writer: ss_plugin_table_writer_vtable_ext = unsafe { std::mem::zeroed() };
        let event = ss_plugin_event_input {
            evt: bytes.as_ptr().cast::<ss_plugin_event>(),
            evtnum: number,
            evtsrc: c"syscall".as_ptr(),
        };
        // SAFETY: as above.
        let mut parse: ss_plugin_event_parse_input = unsafe { std::mem::zeroed() };
        parse.get_owner_last_error = Some(no_error);
        parse.table_reader_ext = &mut reader;
        parse.table_writer_ext = &mut writer;
        // SAFETY: instance, event and input live for the call, and the event's length is true.
        let rc = unsafe { c::plugin_parse_event(self.0, &event, &parse) };
        assert_eq!(rc, 0, "an event is refused");
        let first = self.ask(&event, &mut reader);
        assert_eq!(first, self.ask(&event, &mut reader), "asked again");
    }

    fn ask(
        &self,
        event: &ss_plugin_event_input,
        reader: *mut ss_plugin_table_reader_vtable_ext,
    ) -> Vec<Vec<Vec<u8>>> {
        let mut fields: Vec<ss_plugin_extract_field> = FIELDS
            .iter()
            .enumerate()
            .map(|(id, def)| {
                // SAFETY: numbers and pointers, all of which may be zero.
                let mut field: ss_plugin_extract_field = unsafe { std::mem::zeroed() };
                field.field_id = id as u32;
                field.flist = def.is_list.into();
                if def.argument != Argument::None && event.evtnum % 2 == 0 {
                    field.arg_present = 1;
                    field.arg_key = c"/usr/bin/../bin/python3".as_ptr();
                }
                field
            })
            .collect();
        // SAFETY: as above.
        let mut input: ss_plugin_field_extract_input = unsafe { std::mem::zeroed() };
        input.get_owner_last_error = Some(no_error);
        input.num_fields = fields.len() as u32;
        input.fields = fields.as_mut_ptr();
        input.table_reader_ext = reader;
        // SAFETY: instance, event, input and fields live for the call.
        let rc = unsafe { c::plugin_extract_fields(self.0, event, &input) };
        if rc != 0 {
            return Vec::new();
        }
        FIELDS.iter().zip(&fields).map(|(def, field)| values(def.field_type, field)).collect()
    }

    fn panics(&self) -> u64 {
        let mut count = 0u32;
        // SAFETY: the instance lives, and its metrics live until they are asked for again.
        let metrics = unsafe {
            let first = c::plugin_get_metrics(self.0, &mut count);
            std::slice::from_raw_parts(first, count as usize)
        };
        // SAFETY: names are strings, and drift's values are all of this kind.
        let of = |m: &ss_plugin_metric| unsafe { (CStr::from_ptr(m.name), m.value.u64_) };
        metrics.iter().map(of).find(|(name, _)| *name == c"panics_caught").expect("has the metric").1
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // SAFETY: it came from `plugin_init`, and is dropped once.
        unsafe { c::plugin_destroy(self.0) }
    }
}

/// The values of an answer, read as the engine would.
fn values(kind: FieldType, field: &ss_plugin_extract_field) -> Vec<Vec<u8>> {
    // SAFETY: the plugin gave so many values of the field's type; they live until it is asked again.
    (0..field.res_len as usize)
        .map(|i| unsafe {
            match kind {
                FieldType::String => CStr::from_ptr(*field.res.str_.add(i)).to_bytes().to_vec(),
                FieldType::Bool => (*field.res.boolean.add(i)).to_ne_bytes().to_vec(),
                FieldType::Uint64 | FieldType::Reltime => (*field.res.u64_.add(i)).to_ne_bytes().to_vec(),
            }
        })
        .collect()
}

extern "C-unwind" fn no_error(_: *mut ss_plugin_owner_t) -> *const c_char {
    c"".as_ptr()
}
