//! The events of the kernel probe: their parameters as libs 0.23's modern probe fills them in.
//!
//! The order and types are those of `event_table.c`; what goes in is what `sched_process_exec.bpf.c`,
//! `clone.bpf.c` and `sched_process_exit.bpf.c` put in on x86_64.

use super::layer::Layer;
use super::process::Process;
use super::scap::{self, event_type, Params};

const EXE_WRITABLE: u32 = 1 << 0;
const EXE_UPPER_LAYER: u32 = 1 << 1;
const EXE_FROM_MEMFD: u32 = 1 << 2;
const EXE_LOWER_LAYER: u32 = 1 << 3;

const CLONE_VM: u32 = 1 << 15;
const CLONE_VFORK: u32 = 1 << 27;
const CLONE_CHILD_IN_PIDNS: u32 = 1 << 29;

/// Stands for the generation number of inodes off the overlay in [`Facts::garbled_times`].
const GENERATION: u64 = 0x5eed_1234;

/// Which of the kernel's flags about an executable the events hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flags {
    /// All of them, as libs 0.23 on a current kernel sends them.
    #[default]
    Present,
    /// None, as from kernels and probes that do not know them; memory files are not marked either.
    Absent,
}

/// When the engine is told of an exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delay {
    /// While the process stands at its exec.
    #[default]
    None,
    /// When the process has ended and its parent has seen that: nothing of it is left in `/proc`.
    /// What its children do is told after it, in order. The traced command itself is told at once.
    AfterExit,
}

/// What the events say, and when.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    /// The kernel's layer flags.
    pub flags: Flags,
    /// When an exec is told.
    pub delay: Delay,
    /// Times as the 0.23 probe reads them on kernel 6.18, whose inodes pack them otherwise: the change time
    /// of a file off the overlay has the inode's generation added in its upper half, and the modification
    /// time of every file has the nanoseconds of the change time added there. Both wrap at 2^64.
    pub garbled_times: bool,
    /// System calls on files are told, too, when they have returned. Slower: each process stops at all of its
    /// calls.
    pub files: bool,
    /// With `files`: system calls on sockets, too.
    pub sockets: bool,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A process has executed another program; boxed because it is large.
    Exec(Box<Process>),
    /// A process has changed its working directory; told with the next thing it does.
    Chdir,
    /// A process has made another: the parent's or the child's side.
    Clone,
    /// A process ends.
    Exit,
    /// A system call on files or sockets has returned.
    Call,
}

/// One event of a traced container.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it happened, nanoseconds since the epoch; no two of a trace are equal.
    pub ts: u64,
    /// The thread, as the host sees it.
    pub tid: i64,
    /// What happened.
    pub kind: Kind,
    /// The event as a block of a capture file.
    pub block: Vec<u8>,
}

impl Event {
    /// The event as the probe writes it, without the capture's block around it.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        scap::event_of(&self.block)
    }

    /// The process that was just executed, on an exec.
    #[must_use]
    pub fn exec(&self) -> Option<&Process> {
        match &self.kind {
            Kind::Exec(process) => Some(process),
            Kind::Chdir | Kind::Clone | Kind::Exit | Kind::Call => None,
        }
    }

    /// The scenario that an exec belongs to: its argument of the form `scn-<digits>`.
    #[must_use]
    pub fn marker(&self) -> Option<&str> {
        let args = self.exec()?.arguments();
        args.split(|&byte| byte == 0).filter_map(|arg| std::str::from_utf8(arg).ok()).find(|arg| {
            arg.strip_prefix("scn-")
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        })
    }

    /// A finished exec of `process`, which still stands at it.
    #[must_use]
    pub fn from_exec(ts: u64, process: Process, facts: &Facts) -> Self {
        let block = Self::execve(ts, 0, &process, &process.exec_filename(), facts);
        Self { ts, tid: process.tid, kind: Kind::Exec(Box::new(process)), block }
    }

    /// An exec that failed with `errno`: `process` goes on with the program that it had.
    #[must_use]
    pub fn from_refused(ts: u64, process: &Process, filename: &[u8], errno: i64, facts: &Facts) -> Self {
        let block = Self::execve(ts, -errno, process, filename, facts);
        Self { ts, tid: process.tid, kind: Kind::Call, block }
    }

    fn execve(ts: u64, result: i64, process: &Process, filename: &[u8], facts: &Facts) -> Vec<u8> {
        let exe = &process.exe;
        let (ctime, mtime) = times(process, facts);
        common(Params::default().i64(result), process)
            .bytes(&process.env)
            .u32(process.tty)
            .i64(process.vpgid)
            .u32(process.loginuid)
            .u32(exe_flags(process, facts))
            .u64(process.caps.inheritable)
            .u64(process.caps.permitted)
            .u64(process.caps.effective)
            .u64(exe.ino)
            .u64(ctime)
            .u64(mtime)
            .u32(process.euid)
            .text(&exe.path)
            .i64(process.pgid)
            .u32(process.egid)
            .text(filename)
            .event(ts, process.tid, event_type::EXECVE_19_X)
    }

    /// A file that a process has made: where it says the file is, and the inode that it has open.
    #[must_use]
    pub fn from_created(ts: u64, tid: i64, path: &[u8], file: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        /// `PPM_AT_FDCWD`, and `O_WRONLY | O_CREAT` with the mark of a file that was made.
        const CWD: i64 = -100;
        const CREATED: u32 = 1 << 1 | 1 << 2 | 1 << 14;
        let block = Params::default()
            .i64(3)
            .i64(CWD)
            .text(path)
            .u32(CREATED)
            .u32(file.mode() & 0o7777)
            .u32(file.dev() as u32)
            .u64(file.ino())
            .event(ts, tid, 307);
        Self { ts, tid, kind: Kind::Call, block }
    }

    /// The parent's side of a clone: `child_vtid` is what the call returned, the child's id in the parent's
    /// namespace.
    #[must_use]
    pub fn from_parent(ts: u64, parent: &Process, child_vtid: i64, vfork: bool) -> Self {
        Self::cloned(ts, parent, child_vtid, 0, vfork)
    }

    /// The child's side of a clone.
    #[must_use]
    pub fn from_child(ts: u64, child: &Process, vfork: bool) -> Self {
        Self::cloned(ts, child, 0, child.pidns_start_ns, vfork)
    }

    fn cloned(ts: u64, process: &Process, result: i64, pidns_start_ns: u64, vfork: bool) -> Self {
        let mut flags = if process.pidns_level > 0 { CLONE_CHILD_IN_PIDNS } else { 0 };
        if vfork {
            flags |= CLONE_VFORK | CLONE_VM;
        }
        let kind = if vfork { event_type::VFORK_20_X } else { event_type::CLONE_20_X };
        let block = common(Params::default().i64(result), process)
            .u32(flags)
            .u32(process.euid)
            .u32(process.egid)
            .i64(process.vtid)
            .i64(process.vpid)
            .u64(pidns_start_ns)
            .event(ts, process.tid, kind);
        Self { ts, tid: process.tid, kind: Kind::Clone, block }
    }

    /// `process` has changed to its present working directory.
    #[must_use]
    pub fn from_chdir(ts: u64, process: &Process) -> Self {
        let params = Params::default().i64(0).text(process.own_cwd());
        let block = params.event(ts, process.tid, event_type::CHDIR_X);
        Self { ts, tid: process.tid, kind: Kind::Chdir, block }
    }

    /// The end of thread `tid` with the wait(2) status `status`.
    #[must_use]
    pub fn from_exit(ts: u64, tid: i64, status: i64) -> Self {
        let signal = u8::try_from(status & 0x7f).unwrap_or(0);
        let core = u8::from(status & 0x80 != 0);
        let block = Params::default()
            .i64(status)
            .i64((status >> 8) & 0xff)
            .u8(signal)
            .u8(core)
            .i64(0) // no reaper named: the engine finds one itself
            .event(ts, tid, event_type::PROCEXIT_1_E);
        Self { ts, tid, kind: Kind::Exit, block }
    }
}

/// Parameters 2 to 15, which exec and clone share.
fn common(params: Params, process: &Process) -> Params {
    params
        .text(process.argv0())
        .bytes(process.arguments())
        .i64(process.tid)
        .i64(process.pid)
        .i64(process.ppid)
        .bytes(b"") // working directory: the probe leaves it empty
        .u64(process.fdlimit)
        .u64(process.major_faults)
        .u64(process.minor_faults)
        .u32(process.vm_kb)
        .u32(process.rss_kb)
        .u32(process.swap_kb)
        .text(&process.comm)
        .bytes(&process.cgroups)
}

fn exe_flags(process: &Process, facts: &Facts) -> u32 {
    let exe = &process.exe;
    let mut flags = if exe.writable { EXE_WRITABLE } else { 0 };
    if facts.flags == Flags::Present {
        flags |= match exe.layer {
            Layer::None => 0,
            Layer::Lower => EXE_LOWER_LAYER,
            Layer::Upper => EXE_UPPER_LAYER,
        };
        if exe.memfd {
            flags |= EXE_FROM_MEMFD;
        }
    }
    flags
}

fn times(process: &Process, facts: &Facts) -> (u64, u64) {
    let exe = &process.exe;
    if !facts.garbled_times {
        return (exe.ctime_ns, exe.mtime_ns);
    }
    let generation = if exe.layer == Layer::None { GENERATION << 32 } else { 0 };
    let subsec = u64::from(exe.ctime_subsec_ns) << 32;
    (exe.ctime_ns.wrapping_add(generation), exe.mtime_ns.wrapping_add(subsec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::process::Exe;

    fn process(layer: Layer) -> Process {
        let exe = Exe {
            layer,
            ctime_ns: 1_795_457_598_327_770_119,
            ctime_subsec_ns: 327_770_119,
            mtime_ns: 1_663_687_647_000_000_000,
            writable: true,
            ..Exe::default()
        };
        Process { exe, cmdline: b"basename\0scn-01\0".to_vec(), ..Process::default() }
    }

    #[test]
    fn garbled_times_are_those_of_a_real_capture() {
        // /usr/bin/sleep of an image, as the 0.23 probe recorded it on kernel 6.18; the file's mtime is a
        // whole second.
        let facts = Facts { garbled_times: true, ..Facts::default() };
        let expected = (1_795_457_598_327_770_119, 3_071_449_588_711_028_224);
        assert_eq!(times(&process(Layer::Lower), &facts), expected);
        let (ctime, mtime) = times(&process(Layer::None), &facts);
        assert_ne!(ctime, expected.0);
        assert_eq!(ctime as u32, expected.0 as u32);
        assert_eq!(mtime, expected.1);
    }

    #[test]
    fn flags_are_the_probes() {
        let facts = Facts::default();
        assert_eq!(exe_flags(&process(Layer::None), &facts), 1);
        assert_eq!(exe_flags(&process(Layer::Upper), &facts), 3);
        assert_eq!(exe_flags(&process(Layer::Lower), &facts), 9);
        let old = Facts { flags: Flags::Absent, ..facts };
        assert_eq!(exe_flags(&process(Layer::Lower), &old), 1);
    }

    #[test]
    fn an_exec_has_the_probes_31_parameters_and_its_marker() {
        let event = Event::from_exec(1, process(Layer::Lower), &Facts::default());
        assert_eq!(event.block[32..36], 31u32.to_le_bytes());
        assert_eq!(event.marker(), Some("scn-01"));
        assert_eq!(Event::from_child(1, &process(Layer::None), false).block[32..36], 21u32.to_le_bytes());
        assert_eq!(Event::from_exit(1, 2, 0).block[32..36], 5u32.to_le_bytes());
    }
}
