//! The plugin's C functions called straight, by an engine without threads and tables: for very many events.

use super::library::Instance;
use falco_plugin::api::{
    plugin_api, ss_plugin_event, ss_plugin_event_input, ss_plugin_event_parse_input, ss_plugin_extract_field,
    ss_plugin_field_extract_input, ss_plugin_owner_t, ss_plugin_table_reader_vtable_ext,
    ss_plugin_table_writer_vtable_ext,
};
use std::ffi::{c_char, CStr};

/// An instance that is fed events.
pub struct Direct<'a> {
    api: &'a plugin_api,
    instance: Instance<'a>,
    number: u64,
}

impl<'a> Direct<'a> {
    /// Starts the library with this configuration, its threads included.
    pub fn start(api: &'a plugin_api, config: &serde_json::Value) -> Self {
        let instance = Instance::new(api, &config.to_string()).unwrap();
        instance.set_async(true);
        Self { api, instance, number: 0 }
    }

    /// Number of a field, `drift.` left out.
    pub fn field(&self, name: &str) -> u32 {
        let schema = super::library::text(self.api.__bindgen_anon_2.get_fields);
        let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
        let is = |f: &serde_json::Value| f["name"] == format!("drift.{name}");
        schema.as_array().unwrap().iter().position(is).expect("is a field") as u32
    }

    /// Hands an event to be parsed, then asks these fields, all of them text; answers come as they lie in the
    /// plugin.
    pub fn feed(&mut self, bytes: &[u8], fields: &[u32], tell: &mut dyn FnMut(u32, Option<&CStr>)) {
        self.number += 1;
        // SAFETY: structs of numbers, pointers and optional functions, all of which may be zero.
        let (mut reader, mut writer, mut parse, mut extract) = unsafe {
            let reader: ss_plugin_table_reader_vtable_ext = std::mem::zeroed();
            let writer: ss_plugin_table_writer_vtable_ext = std::mem::zeroed();
            let parse: ss_plugin_event_parse_input = std::mem::zeroed();
            let extract: ss_plugin_field_extract_input = std::mem::zeroed();
            (reader, writer, parse, extract)
        };
        let event = ss_plugin_event_input {
            evt: bytes.as_ptr().cast::<ss_plugin_event>(),
            evtnum: self.number,
            evtsrc: c"syscall".as_ptr(),
        };
        parse.get_owner_last_error = Some(no_error);
        parse.table_reader_ext = &mut reader;
        parse.table_writer_ext = &mut writer;
        // SAFETY: instance, event and input live for the call, and the event's length is true.
        let rc = unsafe {
            self.api.__bindgen_anon_3.parse_event.unwrap()(self.instance.pointer(), &event, &parse)
        };
        assert_eq!(rc, 0);
        let mut asked = [(); 8].map(|()| {
            // SAFETY: as above.
            unsafe { std::mem::zeroed::<ss_plugin_extract_field>() }
        });
        for (request, id) in asked.iter_mut().zip(fields) {
            request.field_id = *id;
        }
        extract.get_owner_last_error = Some(no_error);
        extract.num_fields = fields.len() as u32;
        extract.fields = asked.as_mut_ptr();
        extract.table_reader_ext = &mut reader;
        // SAFETY: as above; no more fields than requests are told.
        let rc = unsafe {
            self.api.__bindgen_anon_2.extract_fields.unwrap()(self.instance.pointer(), &event, &extract)
        };
        assert_eq!(rc, 0);
        for (request, id) in asked.iter().zip(fields) {
            // SAFETY: of text fields the answer is one string, or none.
            let answer = (request.res_len > 0).then(|| unsafe { CStr::from_ptr(*request.res.str_) });
            tell(*id, answer);
        }
    }

    /// A metric of drift's.
    pub fn metric(&self, name: &str) -> u64 {
        self.instance.metric(name)
    }
}

extern "C-unwind" fn no_error(_: *mut ss_plugin_owner_t) -> *const c_char {
    c"".as_ptr()
}
