//! A small engine on the other side of the C interface: it has a table of threads, hands events over and asks
//! for fields, with nothing in between that would be measured with them.
//!
//! The table is a hash map of threads whose fields are an array. libsinsp's own does more for each read
//! (checked casts, a shared pointer for each entry): reading the table costs less here than in a real engine,
//! and so a ratio to it is less favourable to drift than there. benches/engine.rs measures in the real
//! engine.

use falco_plugin::api::*;
use std::collections::HashMap;
use std::ffi::{c_char, CStr, CString};

/// A value in a table.
pub enum Value {
    Int(i64),
    Uint(u64),
    Bool(bool),
    Text(CString),
    Table(Box<Table>),
}

/// An entry: values in the order of the table's fields.
pub type Entry = Vec<Value>;

/// What the plugin holds for a field: its index.
static HANDLES: [usize; 20] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];

/// A table. The plugin sees its first member, as the engine's interface has it.
#[repr(C)]
pub struct Table {
    input: ss_plugin_table_input,
    fields: Vec<(&'static CStr, ss_plugin_state_type)>,
    entries: HashMap<u64, Box<Entry>>,
    new_entry: fn() -> Entry,
}

impl Table {
    fn new(
        key: ss_plugin_state_type,
        fields: &[(&'static CStr, u32)],
        new_entry: fn() -> Entry,
    ) -> Box<Self> {
        // SAFETY: a C struct of pointers and numbers; nobody calls its functions but through the ones below.
        let mut input: ss_plugin_table_input = unsafe { std::mem::zeroed() };
        input.key_type = key;
        Box::new(Self { input, fields: fields.to_vec(), entries: HashMap::new(), new_entry })
    }

    /// The engine's table of threads.
    pub fn threads() -> Box<Self> {
        use ss_plugin_state_type_SS_PLUGIN_ST_BOOL as BOOL;
        use ss_plugin_state_type_SS_PLUGIN_ST_INT64 as INT;
        use ss_plugin_state_type_SS_PLUGIN_ST_STRING as TEXT;
        use ss_plugin_state_type_SS_PLUGIN_ST_TABLE as TABLE;
        use ss_plugin_state_type_SS_PLUGIN_ST_UINT64 as UINT;
        let fields = [
            (c"pid", INT),
            (c"ptid", INT),
            (c"vtid", INT),
            (c"exe", TEXT),
            (c"exe_path", TEXT),
            (c"cwd", TEXT),
            (c"exe_upper_layer", BOOL),
            (c"exe_lower_layer", BOOL),
            (c"exe_from_memfd", BOOL),
            (c"exe_ino", UINT),
            (c"exe_ino_ctime", UINT),
            (c"exe_ino_mtime", UINT),
            (c"pidns_init_start_ts", UINT),
            (c"args", TABLE),
            (c"cgroups", TABLE),
            (c"comm", TEXT),
            (c"root", TEXT),
            (c"file_descriptors", TABLE),
            (c"env", TABLE),
        ];
        Self::new(INT, &fields, || thread(0, "", "", super::event::Inode::default()))
    }

    fn strings(values: &[&str]) -> Value {
        use ss_plugin_state_type_SS_PLUGIN_ST_STRING as TEXT;
        use ss_plugin_state_type_SS_PLUGIN_ST_UINT64 as UINT;
        let mut table = Self::new(UINT, &[(c"value", TEXT)], Vec::new);
        for (i, value) in values.iter().enumerate() {
            table.entries.insert(i as u64, Box::new(vec![text(value)]));
        }
        Value::Table(table)
    }

    /// Of a process that has none open.
    fn descriptors() -> Value {
        use ss_plugin_state_type_SS_PLUGIN_ST_INT64 as INT;
        use ss_plugin_state_type_SS_PLUGIN_ST_STRING as TEXT;
        use ss_plugin_state_type_SS_PLUGIN_ST_UINT8 as BYTE;
        let fields = [
            (c"name", TEXT),
            (c"ino", ss_plugin_state_type_SS_PLUGIN_ST_UINT64),
            (c"socket_ipv4_l4_proto", BYTE),
            (c"socket_ipv6_l4_proto", BYTE),
            (c"socket_ipv4_server_l4_proto", BYTE),
            (c"socket_ipv6_server_l4_proto", BYTE),
        ];
        Value::Table(Self::new(INT, &fields, Vec::new))
    }

    fn pairs(pairs: &[(&str, &str)]) -> Value {
        use ss_plugin_state_type_SS_PLUGIN_ST_STRING as TEXT;
        use ss_plugin_state_type_SS_PLUGIN_ST_UINT64 as UINT;
        let mut table = Self::new(UINT, &[(c"first", TEXT), (c"second", TEXT)], Vec::new);
        for (i, (first, second)) in pairs.iter().enumerate() {
            table.entries.insert(i as u64, Box::new(vec![text(first), text(second)]));
        }
        Value::Table(table)
    }

    /// Puts a thread in.
    pub fn put(&mut self, tid: i64, entry: Entry) {
        self.entries.insert(tid as u64, Box::new(entry));
    }

    /// Takes one out.
    pub fn take(&mut self, tid: i64) {
        self.entries.remove(&(tid as u64));
    }
}

fn text(s: &str) -> Value {
    Value::Text(CString::new(s).unwrap())
}

/// A thread that is its process's only one, run from a lower layer.
pub fn thread(pid: i64, cgroup: &str, path: &str, inode: super::event::Inode) -> Entry {
    let groups = ["cpuset", "cpu", "io", "memory", "pids"].map(|c| (c, cgroup));
    vec![
        Value::Int(pid),
        Value::Int(1),
        Value::Int(if cgroup.starts_with("/kube") { 7 } else { pid }),
        text(path),
        text(path),
        text("/"),
        Value::Bool(false),
        Value::Bool(true),
        Value::Bool(false),
        Value::Uint(inode.0),
        Value::Uint(inode.1),
        Value::Uint(inode.2),
        Value::Uint(super::event::NOW - 60_000_000_000),
        Table::strings(&["--verbose", "/etc/app.conf"]),
        Table::pairs(&groups),
        text("comm"),
        text("/"),
        Table::descriptors(),
        Table::strings(&["PATH=/usr/bin:/bin"]),
    ]
}

/// SAFETY of all functions below: the plugin passes tables, entries and fields that it got here.
unsafe fn table<'a>(t: *mut ss_plugin_table_t) -> &'a mut Table {
    // SAFETY: see above.
    unsafe { &mut *t.cast::<Table>() }
}

unsafe extern "C-unwind" fn name(_: *mut ss_plugin_table_t) -> *const c_char {
    c"threads".as_ptr()
}

unsafe extern "C-unwind" fn size(t: *mut ss_plugin_table_t) -> u64 {
    // SAFETY: see `table`.
    unsafe { table(t) }.entries.len() as u64
}

unsafe extern "C-unwind" fn get_entry(
    t: *mut ss_plugin_table_t,
    key: *const ss_plugin_state_data,
) -> *mut ss_plugin_table_entry_t {
    // SAFETY: see `table`; keys here are 8 bytes wide.
    let (table, key) = unsafe { (table(t), (*key).u64_) };
    table.entries.get_mut(&key).map_or(std::ptr::null_mut(), |e| std::ptr::from_mut(&mut **e).cast())
}

unsafe extern "C-unwind" fn read_field(
    _: *mut ss_plugin_table_t,
    e: *mut ss_plugin_table_entry_t,
    f: *const ss_plugin_table_field_t,
    out: *mut ss_plugin_state_data,
) -> ss_plugin_rc {
    // SAFETY: see `table`.
    unsafe {
        let (entry, out) = (&mut *e.cast::<Entry>(), &mut *out);
        match &mut entry[*f.cast::<usize>()] {
            Value::Int(n) => out.s64 = *n,
            Value::Uint(n) => out.u64_ = *n,
            Value::Bool(yes) => out.b = u32::from(*yes),
            Value::Text(text) => out.str_ = text.as_ptr(),
            Value::Table(table) => out.table = std::ptr::from_mut(&mut **table).cast(),
        }
    }
    ss_plugin_rc_SS_PLUGIN_SUCCESS
}

unsafe extern "C-unwind" fn release(_: *mut ss_plugin_table_t, _: *mut ss_plugin_table_entry_t) {}

unsafe extern "C-unwind" fn iterate(
    t: *mut ss_plugin_table_t,
    each: ss_plugin_table_iterator_func_t,
    state: *mut ss_plugin_table_iterator_state_t,
) -> ss_plugin_bool {
    // SAFETY: see `table`.
    for entry in unsafe { table(t) }.entries.values_mut() {
        // SAFETY: the plugin's own function and state.
        if unsafe { each.unwrap()(state, std::ptr::from_mut(&mut **entry).cast()) } == 0 {
            return 0;
        }
    }
    1
}

unsafe extern "C-unwind" fn create_entry(t: *mut ss_plugin_table_t) -> *mut ss_plugin_table_entry_t {
    // SAFETY: see `table`.
    Box::into_raw(Box::new((unsafe { table(t) }.new_entry)())).cast()
}

unsafe extern "C-unwind" fn destroy_entry(_: *mut ss_plugin_table_t, e: *mut ss_plugin_table_entry_t) {
    // SAFETY: it came from `create_entry`.
    drop(unsafe { Box::from_raw(e.cast::<Entry>()) });
}

unsafe extern "C-unwind" fn get_field(
    t: *mut ss_plugin_table_t,
    name: *const c_char,
    kind: ss_plugin_state_type,
) -> *mut ss_plugin_table_field_t {
    // SAFETY: see `table`; the name is the plugin's string.
    let (table, name) = unsafe { (table(t), CStr::from_ptr(name)) };
    match table.fields.iter().position(|(n, k)| *n == name && *k == kind) {
        Some(i) => std::ptr::from_ref(&HANDLES[i]).cast_mut().cast(),
        None => std::ptr::null_mut(),
    }
}

unsafe extern "C-unwind" fn no_error(_: *mut ss_plugin_owner_t) -> *const c_char {
    c"".as_ptr()
}

unsafe extern "C-unwind" fn get_table(
    owner: *mut ss_plugin_owner_t,
    _: *const c_char,
    _: ss_plugin_state_type,
) -> *mut ss_plugin_table_t {
    // The engine's only table is the owner itself.
    owner.cast()
}

/// What the SDK wants to be there but never calls here.
mod unused {
    use super::*;

    pub unsafe extern "C-unwind" fn list_tables(
        _: *mut ss_plugin_owner_t,
        _: *mut u32,
    ) -> *mut ss_plugin_table_info {
        std::ptr::null_mut()
    }
    pub unsafe extern "C-unwind" fn add_table(
        _: *mut ss_plugin_owner_t,
        _: *const ss_plugin_table_input,
    ) -> ss_plugin_rc {
        ss_plugin_rc_SS_PLUGIN_FAILURE
    }
    pub unsafe extern "C-unwind" fn list_fields(
        _: *mut ss_plugin_table_t,
        _: *mut u32,
    ) -> *const ss_plugin_table_fieldinfo {
        std::ptr::null()
    }
    pub unsafe extern "C-unwind" fn add_field(
        _: *mut ss_plugin_table_t,
        _: *const c_char,
        _: ss_plugin_state_type,
    ) -> *mut ss_plugin_table_field_t {
        std::ptr::null_mut()
    }
    pub unsafe extern "C-unwind" fn clear(_: *mut ss_plugin_table_t) -> ss_plugin_rc {
        ss_plugin_rc_SS_PLUGIN_FAILURE
    }
    pub unsafe extern "C-unwind" fn erase(
        _: *mut ss_plugin_table_t,
        _: *const ss_plugin_state_data,
    ) -> ss_plugin_rc {
        ss_plugin_rc_SS_PLUGIN_FAILURE
    }
    pub unsafe extern "C-unwind" fn add_entry(
        _: *mut ss_plugin_table_t,
        _: *const ss_plugin_state_data,
        _: *mut ss_plugin_table_entry_t,
    ) -> *mut ss_plugin_table_entry_t {
        std::ptr::null_mut()
    }
    pub unsafe extern "C-unwind" fn write_field(
        _: *mut ss_plugin_table_t,
        _: *mut ss_plugin_table_entry_t,
        _: *const ss_plugin_table_field_t,
        _: *const ss_plugin_state_data,
    ) -> ss_plugin_rc {
        ss_plugin_rc_SS_PLUGIN_FAILURE
    }
}

unsafe extern "C-unwind" fn ignore(
    _: *mut ss_plugin_owner_t,
    _: *const ss_plugin_event,
    _: *mut c_char,
) -> ss_plugin_rc {
    ss_plugin_rc_SS_PLUGIN_SUCCESS
}

/// The functions of a plugin that are used here.
#[derive(Clone, Copy)]
pub struct Functions {
    pub init: unsafe extern "C-unwind" fn(*const ss_plugin_init_input, *mut ss_plugin_rc) -> *mut ss_plugin_t,
    pub destroy: unsafe extern "C-unwind" fn(*mut ss_plugin_t),
    pub last_error: unsafe extern "C-unwind" fn(*mut ss_plugin_t) -> *const c_char,
    pub extract: unsafe extern "C-unwind" fn(
        *mut ss_plugin_t,
        *const ss_plugin_event_input,
        *const ss_plugin_field_extract_input,
    ) -> ss_plugin_rc,
    pub parse: Option<
        unsafe extern "C-unwind" fn(
            *mut ss_plugin_t,
            *const ss_plugin_event_input,
            *const ss_plugin_event_parse_input,
        ) -> ss_plugin_rc,
    >,
    pub set_async: Option<
        unsafe extern "C-unwind" fn(
            *mut ss_plugin_t,
            *mut ss_plugin_owner_t,
            ss_plugin_async_event_handler_t,
        ) -> ss_plugin_rc,
    >,
}

mod exported {
    use super::*;

    extern "C-unwind" {
        pub fn plugin_init(input: *const ss_plugin_init_input, rc: *mut ss_plugin_rc) -> *mut ss_plugin_t;
        pub fn plugin_destroy(plugin: *mut ss_plugin_t);
        pub fn plugin_get_last_error(plugin: *mut ss_plugin_t) -> *const c_char;
        pub fn plugin_extract_fields(
            plugin: *mut ss_plugin_t,
            event: *const ss_plugin_event_input,
            input: *const ss_plugin_field_extract_input,
        ) -> ss_plugin_rc;
        pub fn plugin_parse_event(
            plugin: *mut ss_plugin_t,
            event: *const ss_plugin_event_input,
            input: *const ss_plugin_event_parse_input,
        ) -> ss_plugin_rc;
        pub fn plugin_set_async_event_handler(
            plugin: *mut ss_plugin_t,
            owner: *mut ss_plugin_owner_t,
            handler: ss_plugin_async_event_handler_t,
        ) -> ss_plugin_rc;
    }
}

/// Drift's own exports, linked into this program so that its allocations can be counted.
pub fn drift() -> Functions {
    // Makes the linker take the library that exports them.
    let _ = drift::extract::FIELDS;
    Functions {
        init: exported::plugin_init,
        destroy: exported::plugin_destroy,
        last_error: exported::plugin_get_last_error,
        extract: exported::plugin_extract_fields,
        parse: Some(exported::plugin_parse_event),
        set_async: Some(exported::plugin_set_async_event_handler),
    }
}

/// An engine with one plugin.
pub struct Engine {
    functions: Functions,
    plugin: *mut ss_plugin_t,
    pub threads: Box<Table>,
    reader: Box<ss_plugin_table_reader_vtable_ext>,
    writer: Box<ss_plugin_table_writer_vtable_ext>,
    fields: Box<ss_plugin_table_fields_vtable_ext>,
}

/// A question, ready to be asked many times.
pub struct Question {
    field: Box<ss_plugin_extract_field>,
    key: Option<CString>,
}

impl Question {
    /// A question for the field with this number, with an argument or none.
    pub fn new(field_id: u32, argument: Option<&str>) -> Self {
        // SAFETY: a C struct of pointers and numbers.
        let mut field: Box<ss_plugin_extract_field> = Box::new(unsafe { std::mem::zeroed() });
        let key = argument.map(|a| CString::new(a).unwrap());
        field.field_id = field_id;
        if let Some(key) = &key {
            field.arg_key = key.as_ptr();
            field.arg_present = 1;
        }
        Self { field, key }
    }
}

fn event_input(bytes: &[u8], number: u64) -> ss_plugin_event_input {
    ss_plugin_event_input { evt: bytes.as_ptr().cast(), evtnum: number, evtsrc: c"syscall".as_ptr() }
}

impl Engine {
    /// Starts a plugin with this configuration.
    pub fn new(functions: Functions, config: &str) -> Self {
        let mut threads = Table::threads();
        // SAFETY: C structs of optional functions, absent as zero.
        let (mut reader, mut writer, mut fields) = unsafe {
            (
                Box::new(std::mem::zeroed::<ss_plugin_table_reader_vtable_ext>()),
                Box::new(std::mem::zeroed::<ss_plugin_table_writer_vtable_ext>()),
                Box::new(std::mem::zeroed::<ss_plugin_table_fields_vtable_ext>()),
            )
        };
        reader.get_table_name = Some(name);
        reader.get_table_size = Some(size);
        reader.get_table_entry = Some(get_entry);
        reader.read_entry_field = Some(read_field);
        reader.release_table_entry = Some(release);
        reader.iterate_entries = Some(iterate);
        writer.clear_table = Some(unused::clear);
        writer.erase_table_entry = Some(unused::erase);
        writer.create_table_entry = Some(create_entry);
        writer.destroy_table_entry = Some(destroy_entry);
        writer.add_table_entry = Some(unused::add_entry);
        writer.write_entry_field = Some(unused::write_field);
        fields.list_table_fields = Some(unused::list_fields);
        fields.get_table_field = Some(get_field);
        fields.add_table_field = Some(unused::add_field);
        // SAFETY: as above.
        let mut tables: ss_plugin_init_tables_input = unsafe { std::mem::zeroed() };
        tables.list_tables = Some(unused::list_tables);
        tables.get_table = Some(get_table);
        tables.add_table = Some(unused::add_table);
        tables.reader_ext = &mut *reader;
        tables.writer_ext = &mut *writer;
        tables.fields_ext = &mut *fields;
        let config = CString::new(config).unwrap();
        let input = ss_plugin_init_input {
            config: config.as_ptr(),
            owner: std::ptr::from_mut(&mut *threads).cast(),
            get_owner_last_error: Some(no_error),
            tables: &tables,
            log_fn: None,
        };
        let mut rc = -1;
        // SAFETY: all of it lives for the call.
        let plugin = unsafe { (functions.init)(&input, &mut rc) };
        let engine = Self { functions, plugin, threads, reader, writer, fields };
        assert_eq!(rc, 0, "{}", engine.last_error());
        engine
    }

    fn last_error(&self) -> String {
        // SAFETY: the instance lives.
        let error = unsafe { CStr::from_ptr((self.functions.last_error)(self.plugin)) };
        error.to_string_lossy().into_owned()
    }

    /// Starts the plugin's background work, or stops it.
    pub fn background(&self, on: bool) {
        // SAFETY: the instance lives, and the handler ignores its arguments.
        let rc = unsafe {
            self.functions.set_async.unwrap()(self.plugin, std::ptr::null_mut(), on.then_some(ignore as _))
        };
        assert_eq!(rc, 0, "{}", self.last_error());
    }

    /// Hands an event over for parsing.
    #[inline(never)]
    pub fn parse(&self, bytes: &[u8], number: u64) {
        // SAFETY: a C struct of pointers; the functions live as long as the engine.
        let mut input: ss_plugin_event_parse_input = unsafe { std::mem::zeroed() };
        input.owner = std::ptr::from_ref(&*self.threads).cast_mut().cast();
        input.get_owner_last_error = Some(no_error);
        input.table_reader_ext = std::ptr::from_ref(&*self.reader).cast_mut();
        input.table_writer_ext = std::ptr::from_ref(&*self.writer).cast_mut();
        // SAFETY: the instance and the event live for the call.
        let rc = unsafe { self.functions.parse.unwrap()(self.plugin, &event_input(bytes, number), &input) };
        assert_eq!(rc, 0, "{}", self.last_error());
    }

    /// Asks for a field of an event: one call of the C interface, as the engine makes it.
    #[inline(never)]
    pub fn ask(&self, question: &mut Question, bytes: &[u8], number: u64) {
        // SAFETY: a C struct of pointers; the functions live as long as the engine.
        let mut input: ss_plugin_field_extract_input = unsafe { std::mem::zeroed() };
        input.owner = std::ptr::from_ref(&*self.threads).cast_mut().cast();
        input.get_owner_last_error = Some(no_error);
        input.num_fields = 1;
        input.fields = &mut *question.field;
        input.table_reader_ext = std::ptr::from_ref(&*self.reader).cast_mut();
        // SAFETY: the instance and the event live for the call.
        let rc = unsafe { (self.functions.extract)(self.plugin, &event_input(bytes, number), &input) };
        assert_eq!(rc, 0, "{}", self.last_error());
    }

    /// Asks, and gives the answer as text; `None` where the field is absent. Lists: their first value.
    pub fn text(&self, question: &mut Question, kind: &str, bytes: &[u8], number: u64) -> Option<String> {
        self.ask(question, bytes, number);
        let field = &*question.field;
        if field.res_len == 0 {
            return None;
        }
        // SAFETY: the plugin's answer, of the kind that its field has, good until the next call.
        Some(unsafe {
            match kind {
                "string" => CStr::from_ptr(*field.res.str_).to_string_lossy().into_owned(),
                "bool" => (*field.res.boolean != 0).to_string(),
                _ => (*field.res.u64_).to_string(),
            }
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: it came from `init` and is dropped once.
        unsafe { (self.functions.destroy)(self.plugin) }
    }
}
