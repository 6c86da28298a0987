//! A plugin that stands in for the engine's own table of threads.
//!
//! Names and types of the fields: falcosecurity/libs `userspace/libsinsp/threadinfo.cpp`,
//! `get_static_fields`; `args` is a table of `value`, `cgroups` one of `first` and `second`
//! (`state/table_adapters.h`).

#![allow(missing_docs)] // The names are the engine's.

use falco_plugin::base::Plugin;
use falco_plugin::event::events::{AnyEventPayload, RawEvent};
use falco_plugin::parse::{EventInput, ParseInput, ParsePlugin};
use falco_plugin::static_plugin;
use falco_plugin::tables::{export, TablesInput};
use std::cell::RefCell;
use std::ffi::{CStr, CString};

type StringTable = export::Table<u64, StringEntry>;
type PairTable = export::Table<u64, PairEntry>;
type FdTable = export::Table<i64, FdEntry>;
type ThreadTable = export::Table<i64, ThreadEntry>;

#[derive(export::Entry)]
struct StringEntry {
    value: export::Public<CString>,
}

#[derive(export::Entry)]
struct PairEntry {
    first: export::Public<CString>,
    second: export::Public<CString>,
}

#[derive(export::Entry)]
struct FdEntry {
    name: export::Public<CString>,
    ino: export::Public<u64>,
    socket_ipv4_l4_proto: export::Public<u8>,
    socket_ipv6_l4_proto: export::Public<u8>,
    socket_ipv4_server_l4_proto: export::Public<u8>,
    socket_ipv6_server_l4_proto: export::Public<u8>,
}

#[derive(export::Entry)]
struct ThreadEntry {
    pid: export::Public<i64>,
    ptid: export::Public<i64>,
    vtid: export::Public<i64>,
    comm: export::Public<CString>,
    exe: export::Public<CString>,
    exe_path: export::Public<CString>,
    exe_upper_layer: export::Public<bool>,
    exe_lower_layer: export::Public<bool>,
    exe_from_memfd: export::Public<bool>,
    exe_ino: export::Public<u64>,
    exe_ino_ctime: export::Public<u64>,
    exe_ino_mtime: export::Public<u64>,
    pidns_init_start_ts: export::Public<u64>,
    root: export::Public<CString>,
    cwd: export::Public<CString>,
    file_descriptors: Box<FdTable>,
    args: Box<StringTable>,
    env: Box<StringTable>,
    cgroups: Box<PairTable>,
}

/// A thread, as the test wants the engine to know it.
#[derive(Debug, Clone)]
pub struct Thread {
    pub pid: i64,
    pub vtid: i64,
    /// `argv`, `argv[0]` first.
    pub argv: Vec<&'static str>,
    pub path: &'static str,
    pub upper: bool,
    pub lower: bool,
    pub memfd: bool,
    pub ino: u64,
    pub pidns_init_start: u64,
    pub cwd: &'static str,
    /// Open files: descriptor and name.
    pub fds: Vec<(i64, &'static str)>,
    pub cgroup: String,
}

impl Thread {
    /// A single-threaded process.
    pub fn new(pid: i64, cgroup: &str, path: &'static str, argv: &[&'static str]) -> Self {
        Self {
            pid,
            vtid: pid,
            argv: argv.to_vec(),
            path,
            upper: false,
            lower: false,
            memfd: false,
            ino: 1000 + path.len() as u64,
            pidns_init_start: 0,
            cwd: "/",
            fds: Vec::new(),
            cgroup: cgroup.into(),
        }
    }
}

thread_local! {
    static CHANGES: RefCell<Vec<(i64, Option<Thread>)>> = const { RefCell::new(Vec::new()) };
}

/// From the next event on, the engine knows this thread.
pub fn set(tid: i64, thread: Thread) {
    CHANGES.with_borrow_mut(|c| c.push((tid, Some(thread))));
}

/// From the next event on, the engine does not know this thread.
pub fn remove(tid: i64) {
    CHANGES.with_borrow_mut(|c| c.push((tid, None)));
}

/// Drops changes that no event has brought yet.
pub fn forget() {
    CHANGES.with_borrow_mut(Vec::clear);
}

struct ThreadsPlugin {
    table: Box<ThreadTable>,
}

impl Plugin for ThreadsPlugin {
    const NAME: &'static CStr = c"threads";
    const PLUGIN_VERSION: &'static CStr = c"0.0.0";
    const DESCRIPTION: &'static CStr = c"the engine's table of threads";
    const CONTACT: &'static CStr = c"tests";
    type ConfigType = ();

    fn new(input: Option<&TablesInput>, (): ()) -> Result<Self, anyhow::Error> {
        let input = input.ok_or_else(|| anyhow::anyhow!("no tables"))?;
        Ok(Self { table: input.add_table(ThreadTable::new(c"threads")?)? })
    }
}

/// Any event of the source, unread. (The SDK's `RawEvent` names no source; the runner takes that for a
/// plugin's own.)
struct AnyEvent;

impl AnyEventPayload for AnyEvent {
    const SOURCES: &'static [Option<&'static str>] = &[Some("syscall")];
    const EVENT_TYPES: &'static [u16] = &[];
}

impl From<&RawEvent<'_>> for AnyEvent {
    fn from(_: &RawEvent<'_>) -> Self {
        Self
    }
}

impl ParsePlugin for ThreadsPlugin {
    type Event<'a> = AnyEvent;

    fn parse_event(
        &mut self,
        _event: &EventInput<'_, Self::Event<'_>>,
        _input: &ParseInput<'_>,
    ) -> Result<(), anyhow::Error> {
        for (tid, thread) in CHANGES.take() {
            match thread {
                Some(thread) => self.put(tid, &thread)?,
                None => drop(self.table.erase(&tid)),
            }
        }
        Ok(())
    }
}

impl ThreadsPlugin {
    fn put(&mut self, tid: i64, thread: &Thread) -> Result<(), anyhow::Error> {
        let mut entry = self.table.create_entry()?;
        *entry.pid = thread.pid;
        *entry.ptid = 1;
        *entry.vtid = thread.vtid;
        *entry.exe = CString::new(*thread.argv.first().unwrap_or(&""))?;
        *entry.exe_path = CString::new(thread.path)?;
        *entry.exe_upper_layer = thread.upper;
        *entry.exe_lower_layer = thread.lower;
        *entry.exe_from_memfd = thread.memfd;
        *entry.exe_ino = thread.ino;
        *entry.exe_ino_ctime = super::event::NOW - 7;
        *entry.exe_ino_mtime = super::event::NOW - 9;
        *entry.pidns_init_start_ts = thread.pidns_init_start;
        *entry.comm = CString::new(thread.path.rsplit('/').next().unwrap_or(""))?;
        *entry.root = CString::new("/")?;
        *entry.cwd = CString::new(thread.cwd)?;
        for (fd, name) in &thread.fds {
            let mut open = entry.file_descriptors.create_entry()?;
            *open.name = CString::new(*name)?;
            drop(entry.file_descriptors.insert(fd, open));
        }
        for (i, arg) in (0u64..).zip(thread.argv.iter().skip(1)) {
            let mut value = entry.args.create_entry()?;
            *value.value = CString::new(*arg)?;
            drop(entry.args.insert(&i, value));
        }
        for (i, controller) in (0u64..).zip(["cpuset", "memory"]) {
            let mut pair = entry.cgroups.create_entry()?;
            *pair.first = CString::new(controller)?;
            *pair.second = CString::new(thread.cgroup.as_str())?;
            drop(entry.cgroups.insert(&i, pair));
        }
        drop(self.table.insert(&tid, entry));
        Ok(())
    }
}

static_plugin!(pub THREADS = ThreadsPlugin);
