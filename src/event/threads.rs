//! The engine's table of threads: what is read of a thread when its exec was not seen.
//!
//! Field names: falcosecurity/libs `userspace/libsinsp/threadinfo.cpp`, `get_static_fields`; all of them are
//! there since libs 0.20 (Falco 0.41). Sub-tables of strings have the field `value`, the one of control
//! groups `first` (controller) and `second` (path): `state/table_adapters.h`.

use super::socket::Socket;
use drift_core::host::{ExeFlags, InodeId};
use drift_formats::ports::Protocol;
use falco_plugin::tables::import::{Bool, Entry, Field, Table, TableMetadata};
use falco_plugin::tables::{LazyTableReader, TablesInput};
use std::ffi::CStr;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

type StringEntry = Entry<Arc<StringMetadata>>;
type StringTable = Table<u64, StringEntry>;
type PairEntry = Entry<Arc<PairMetadata>>;
type PairTable = Table<u64, PairEntry>;
type FdEntry = Entry<Arc<FdMetadata>>;
type FdTable = Table<i64, FdEntry>;
type ThreadEntry = Entry<Arc<ThreadMetadata>>;
type ThreadEntries = Table<i64, ThreadEntry>;

#[derive(TableMetadata)]
#[entry_type(StringEntry)]
struct StringMetadata {
    value: Field<CStr, StringEntry>,
}

#[derive(TableMetadata)]
#[entry_type(PairEntry)]
struct PairMetadata {
    second: Field<CStr, PairEntry>,
}

#[derive(TableMetadata)]
#[entry_type(FdEntry)]
struct FdMetadata {
    name: Field<CStr, FdEntry>,
    ino: Field<u64, FdEntry>,
    socket_ipv4_l4_proto: Field<u8, FdEntry>,
    socket_ipv6_l4_proto: Field<u8, FdEntry>,
    socket_ipv4_server_l4_proto: Field<u8, FdEntry>,
    socket_ipv6_server_l4_proto: Field<u8, FdEntry>,
}

#[derive(TableMetadata)]
#[entry_type(ThreadEntry)]
struct ThreadMetadata {
    pid: Field<i64, ThreadEntry>,
    ptid: Field<i64, ThreadEntry>,
    vtid: Field<i64, ThreadEntry>,
    comm: Field<CStr, ThreadEntry>,
    exe: Field<CStr, ThreadEntry>,
    exe_path: Field<CStr, ThreadEntry>,
    exe_upper_layer: Field<Bool, ThreadEntry>,
    exe_lower_layer: Field<Bool, ThreadEntry>,
    exe_from_memfd: Field<Bool, ThreadEntry>,
    exe_ino: Field<u64, ThreadEntry>,
    exe_ino_ctime: Field<u64, ThreadEntry>,
    exe_ino_mtime: Field<u64, ThreadEntry>,
    pidns_init_start_ts: Field<u64, ThreadEntry>,
    root: Field<CStr, ThreadEntry>,
    cwd: Field<CStr, ThreadEntry>,
    file_descriptors: Field<FdTable, ThreadEntry>,
    args: Field<StringTable, ThreadEntry>,
    env: Field<StringTable, ThreadEntry>,
    cgroups: Field<PairTable, ThreadEntry>,
}

/// Most strings read from a sub-table; longer argument lists are cut, as the kernel's own event is.
const MAX_STRINGS: usize = 256;

/// A thread as the engine knows it.
#[derive(Debug, Clone, Default)]
pub struct Thread {
    /// Process id.
    pub pid: i64,
    /// Parent's thread id.
    pub ptid: i64,
    /// Thread id in the thread's own PID namespace; the same as the thread id on the host.
    pub vtid: i64,
    /// `argv[0]`.
    pub argv0: Vec<u8>,
    /// Path of the executable.
    pub exe_path: Vec<u8>,
    /// Layer flags of the executable.
    pub flags: ExeFlags,
    /// Inode of the executable.
    pub inode: InodeId,
    /// When the PID namespace's init process started, nanoseconds since the epoch; 0 where not known.
    pub pidns_init_start: u64,
    /// Working directory, as the engine followed it; may be empty.
    pub cwd: Vec<u8>,
}

/// What the path of a file call is taken from.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Process id.
    pub pid: i64,
    /// Thread id.
    pub tid: i64,
    /// Root directory as the engine followed it, where it is not `/`: the process called chroot.
    pub root: Vec<u8>,
}

/// Longest environment that is read, bytes; an exec event has no more than 4096.
const MAX_ENVIRONMENT: usize = 64 << 10;

/// Longest command line that is made up, bytes; a longer one is cut.
const MAX_COMMAND: usize = 4096;

/// The table; a plugin on another source has none.
#[derive(Debug)]
pub struct ThreadTable(ThreadEntries);

/// Access to the table during one call of the engine.
#[derive(Debug, Clone, Copy)]
pub struct ThreadReader<'a> {
    table: Option<&'a ThreadTable>,
    reader: &'a LazyTableReader<'a>,
}

impl std::fmt::Debug for ThreadMetadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ThreadMetadata")
    }
}

impl ThreadTable {
    /// Imports the table.
    ///
    /// # Errors
    /// There is no such table (the engine has no threads), or it lacks a field.
    pub fn import(input: &TablesInput) -> Result<Self, anyhow::Error> {
        Ok(Self(input.get_table(c"threads")?))
    }
}

impl<'a> ThreadReader<'a> {
    /// Reads `table` with the engine's `reader` of this call.
    pub fn new(table: Option<&'a ThreadTable>, reader: &'a LazyTableReader<'a>) -> Self {
        Self { table, reader }
    }

    fn entry(&self, tid: i64) -> Option<ThreadEntry> {
        self.table?.0.get_entry(self.reader, &tid).ok()
    }

    /// Reads a thread; `None` if the engine does not know it.
    pub fn get(&self, tid: i64) -> Option<Thread> {
        let (entry, reader) = (self.entry(tid)?, self.reader);
        let bytes = |r: Result<&CStr, anyhow::Error>| r.map(|s| s.to_bytes().to_vec()).unwrap_or_default();
        let flag = |r: Result<bool, anyhow::Error>| r.unwrap_or(false);
        Some(Thread {
            pid: entry.get_pid(reader).ok()?,
            ptid: entry.get_ptid(reader).unwrap_or(-1),
            vtid: entry.get_vtid(reader).unwrap_or(-1),
            argv0: bytes(entry.get_exe(reader)),
            exe_path: bytes(entry.get_exe_path(reader)),
            flags: ExeFlags {
                upper: flag(entry.get_exe_upper_layer(reader)),
                lower: flag(entry.get_exe_lower_layer(reader)),
                memfd: flag(entry.get_exe_from_memfd(reader)),
            },
            inode: InodeId {
                ino: entry.get_exe_ino(reader).unwrap_or(0),
                ctime: entry.get_exe_ino_ctime(reader).unwrap_or(0),
                mtime: entry.get_exe_ino_mtime(reader).unwrap_or(0),
            },
            pidns_init_start: entry.get_pidns_init_start_ts(reader).unwrap_or(0),
            cwd: bytes(entry.get_cwd(reader)),
        })
    }

    /// Where a thread's paths begin; `None` if the engine does not know the thread. `pid` is its process,
    /// where that is known: each field that is read costs as much as a look-up, or more.
    pub fn place(&self, tid: i64, pid: Option<i64>) -> Option<Place> {
        let (entry, reader) = (self.entry(tid)?, self.reader);
        let root = entry.get_root(reader).map(CStr::to_bytes).unwrap_or_default();
        let root = if root == b"/" { Vec::new() } else { root.to_vec() };
        let pid = match pid {
            Some(pid) => pid,
            None => entry.get_pid(reader).ok()?,
        };
        Some(Place { pid, tid, root })
    }

    /// Working directory of a thread, as the engine followed it; may be empty.
    pub fn cwd(&self, tid: i64) -> Option<Vec<u8>> {
        let (entry, reader) = (self.entry(tid)?, self.reader);
        entry.get_cwd(reader).ok().map(|cwd| cwd.to_bytes().to_vec())
    }

    /// The name of a process's open file, as the engine followed it; `pid` is the id of its main thread.
    pub fn fd_name(&self, pid: i64, fd: i64) -> Option<Vec<u8>> {
        let (entry, reader) = (self.entry(pid)?, self.reader);
        let open = entry.get_file_descriptors(reader).ok()?.get_entry(reader, &fd).ok()?;
        open.get_name(reader).ok().map(|name| name.to_bytes().to_vec())
    }

    /// The pipe that a process has open as this descriptor, as Falco followed it: its inode number. One that
    /// was made with pipe(2) has no name in the table (`sinsp_parser::add_pipe`).
    pub fn pipe(&self, pid: i64, fd: i64) -> Option<u64> {
        let (entry, reader) = (self.entry(pid)?, self.reader);
        let open = entry.get_file_descriptors(reader).ok()?.get_entry(reader, &fd).ok()?;
        let name = open.get_name(reader).map(CStr::to_bytes).unwrap_or_default();
        let is_pipe = name.is_empty() || name.starts_with(b"pipe:[");
        open.get_ino(reader).ok().filter(|ino| is_pipe && *ino != 0)
    }

    /// A socket that a process has bound, as the engine followed it; `None` where the engine does not know
    /// it.
    pub fn bound_socket(&self, pid: i64, fd: i64) -> Option<Socket> {
        let (entry, reader) = (self.entry(pid)?, self.reader);
        let open = entry.get_file_descriptors(reader).ok()?.get_entry(reader, &fd).ok()?;
        // The name is address and port. (There is a field `type`; no table made with the SDK can have one of
        // that name.)
        let (address, port) =
            std::str::from_utf8(open.get_name(reader).ok()?.to_bytes()).ok()?.rsplit_once(':')?;
        let (address, bound_port) = (address.parse::<IpAddr>().ok()?, port.parse().ok()?);
        // A union: the address says which part of it has a meaning. The engine takes all zeros for an IPv4
        // address (`is_ipv4_mapped_ipv6`).
        let protocol = match address.to_canonical() {
            of_four if of_four.is_ipv4() || of_four.is_unspecified() => {
                open.get_socket_ipv4_server_l4_proto(reader)
            }
            _ => open.get_socket_ipv6_server_l4_proto(reader),
        };
        Some(Socket { protocol: protocol_of(protocol.ok()?)?, address: address.to_canonical(), bound_port })
    }

    /// Protocol of a socket of a process whose other side has this address; `None` where the engine does not
    /// know it.
    pub fn protocol_to(&self, pid: i64, fd: i64, peer: IpAddr) -> Option<Protocol> {
        let (entry, reader) = (self.entry(pid)?, self.reader);
        let open = entry.get_file_descriptors(reader).ok()?.get_entry(reader, &fd).ok()?;
        let protocol = match peer {
            IpAddr::V4(_) => open.get_socket_ipv4_l4_proto(reader),
            IpAddr::V6(_) => open.get_socket_ipv6_l4_proto(reader),
        };
        protocol_of(protocol.ok()?)
    }

    /// The command line of a thread as `proc.cmdline` gives it: the command's name and its arguments.
    pub fn command(&self, tid: i64) -> Option<String> {
        // One hold on the thread at a time: a table made with the SDK allows no second.
        let comm = |entry: ThreadEntry| entry.get_comm(self.reader).ok().map(|comm| comm.to_bytes().to_vec());
        let mut line = comm(self.entry(tid)?)?;
        for arg in self.args(tid).unwrap_or_default() {
            line.push(b' ');
            line.extend_from_slice(&arg);
            if line.len() > MAX_COMMAND {
                line.truncate(MAX_COMMAND);
                break;
            }
        }
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// The thread's name, `proc.name`.
    pub fn name(&self, tid: i64) -> Option<String> {
        let (entry, reader) = (self.entry(tid)?, self.reader);
        entry.get_comm(reader).ok().map(|comm| String::from_utf8_lossy(comm.to_bytes()).into_owned())
    }

    /// The thread's arguments, without `argv[0]`.
    pub fn args(&self, tid: i64) -> Option<Vec<Vec<u8>>> {
        let (entry, reader) = (self.entry(tid)?, self.reader);
        let mut args = Vec::new();
        let table = entry.get_args(reader).ok()?;
        table
            .iter_entries_mut(reader, |e| {
                if let Ok(value) = e.get_value(reader) {
                    args.push(value.to_bytes().to_vec());
                }
                if args.len() < MAX_STRINGS {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })
            .ok()?;
        Some(args)
    }

    /// The environment that the thread's program was started with, as an exec event has it: each variable
    /// ended by a NUL.
    pub fn environment(&self, tid: i64) -> Option<Vec<u8>> {
        let (entry, reader) = (self.entry(tid)?, self.reader);
        let mut environment = Vec::new();
        let table = entry.get_env(reader).ok()?;
        table
            .iter_entries_mut(reader, |e| {
                if let Ok(value) = e.get_value(reader) {
                    environment.extend_from_slice(value.to_bytes_with_nul());
                }
                if environment.len() < MAX_ENVIRONMENT {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })
            .ok()?;
        Some(environment)
    }

    /// The thread's control group paths.
    pub fn cgroups(&self, tid: i64) -> Option<Vec<Vec<u8>>> {
        let (entry, reader) = (self.entry(tid)?, self.reader);
        let mut paths = Vec::new();
        let table = entry.get_cgroups(reader).ok()?;
        table
            .iter_entries_mut(reader, |e| {
                if let Ok(path) = e.get_second(reader) {
                    paths.push(path.to_bytes().to_vec());
                }
                if paths.len() < MAX_STRINGS {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })
            .ok()?;
        Some(paths)
    }
}

/// `scap_l4_proto` of userspace/libscap/scap.h.
fn protocol_of(number: u8) -> Option<Protocol> {
    match number {
        2 => Some(Protocol::Tcp),
        3 => Some(Protocol::Udp),
        _ => None,
    }
}
