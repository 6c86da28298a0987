//! The facts of a successful exec, as the kernel reported them.
//!
//! Parameters as in falcosecurity/libs `driver/event_table.c`, `PPME_SYSCALL_EXECVE_19_X` and
//! `PPME_SYSCALL_EXECVEAT_X`, whose first 30 are the same. The 31st of the former, `filename`, came with libs
//! 0.23: of an exec that succeeded it is the kernel's `bprm->filename`, which stays the script's name when
//! the kernel goes on to the script's interpreter (`sched_process_exec.bpf.c`); of one that failed it is what
//! the call was given (`execve.bpf.c`). Probes before have it in the enter event alone, which plugins do not
//! see.

use super::raw::{code, Span, SyscallEvent};
use drift_core::host::{ExeFlags, InodeId};
use drift_core::verdict::script::Start;
use drift_formats::bytes::nul_separated;

/// A successful exec.
#[derive(Debug, Clone, Copy)]
pub struct ExecFacts<'a> {
    /// Thread id (the same as `pid` after an exec).
    pub pid: i64,
    /// Parent's thread id.
    pub ptid: i64,
    /// `argv[0]`.
    pub argv0: &'a [u8],
    args: &'a [u8],
    /// Working directory; empty from the modern probe.
    pub cwd: &'a [u8],
    cgroups: &'a [u8],
    /// Environment, each variable ended by a NUL; cut by the probe. `None` in captures without it.
    pub environment: Option<&'a [u8]>,
    /// Effective user id.
    pub user: Option<u32>,
    /// Layer flags.
    pub flags: ExeFlags,
    /// Inode of the executable.
    pub inode: InodeId,
    /// Path of the executable in the mount namespace, links resolved, as the kernel walked it.
    pub exe_path: &'a [u8],
    /// The name that the call was given; empty from probes that do not tell.
    filename: &'a [u8],
    /// The thread's name after the call.
    comm: &'a [u8],
}

/// Most bytes of arguments that probes give, `argv[0]` included (`MAX_PROC_ARG_ENV` in falcosecurity/libs
/// `driver/modern_bpf/helpers/base/shared_size.h`); the last may be a NUL for want of room.
const MAX_ARGUMENTS: usize = 4096;

/// Longest name of a thread (`TASK_COMM_LEN`), its NUL not counted.
const MAX_COMM: usize = 15;

/// The name of a file that a process tried to execute, and that execve(2) refused for its format: it has no
/// shebang.
pub fn refused_format<'a>(event: &SyscallEvent<'a>) -> Option<&'a [u8]> {
    const ENOEXEC: i64 = 8;
    let is_refused = event.code == code::EXECVE_X && event.i64_param(0) == Some(-ENOEXEC);
    event.str_param(30).filter(|name| is_refused && !name.is_empty())
}

/// Whether an event is an exec that succeeded.
pub fn is_exec(event: &SyscallEvent<'_>) -> bool {
    matches!(event.code, code::EXECVE_X | code::EXECVEAT_X) && event.i64_param(0) == Some(0)
}

impl<'a> ExecFacts<'a> {
    /// The facts of `event`; `None` if it is not a successful exec or lacks what an exec event always has.
    pub fn from_event(event: &SyscallEvent<'a>) -> Option<Self> {
        if !is_exec(event) {
            return None;
        }
        Some(Self {
            pid: event.i64_param(4)?,
            ptid: event.i64_param(5)?,
            argv0: event.str_param(1)?,
            args: event.param(2)?,
            cwd: event.str_param(6).unwrap_or_default(),
            cgroups: event.param(14)?,
            environment: event.param(15),
            user: event.u32_param(26),
            flags: event.u32_param(19).map(ExeFlags::from_bits).unwrap_or_default(),
            inode: InodeId {
                ino: event.u64_param(23).unwrap_or(0),
                ctime: event.u64_param(24).unwrap_or(0),
                mtime: event.u64_param(25).unwrap_or(0),
            },
            exe_path: event.str_param(27).unwrap_or_default(),
            comm: event.str_param(13).unwrap_or_default(),
            filename: match event.code {
                code::EXECVE_X => event.str_param(30).unwrap_or_default(),
                _ => b"",
            },
        })
    }

    /// Whether there are more arguments than the event has.
    pub fn is_cut(&self) -> bool {
        self.argv0.len() + 1 + self.args.len() >= MAX_ARGUMENTS - 1
    }

    /// What was executed, as the kernel was given it. Where the probe does not tell: the argument whose last
    /// component the kernel took for the thread's name (`begin_new_exec` in fs/exec.c), unless that is the
    /// executable's own.
    fn executed(&self) -> &'a [u8] {
        let is_named = |path: &[u8]| {
            let base = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
            !base.is_empty() && base.get(..MAX_COMM).unwrap_or(base) == self.comm
        };
        match self.filename.is_empty() && !is_named(self.exe_path) {
            true => self.argv().skip(1).find(|argument| is_named(argument)).unwrap_or_default(),
            false => self.filename,
        }
    }

    /// What decides which script the process runs.
    pub fn start(&self) -> Start<'a> {
        Start {
            exe: self.exe_path,
            argv: self.argv().collect(),
            filename: self.executed(),
            environment: self.environment.unwrap_or_default(),
            is_cut: self.is_cut(),
        }
    }

    /// `argv`, `argv[0]` first.
    pub fn argv(&self) -> impl Iterator<Item = &'a [u8]> {
        std::iter::once(self.argv0).chain(nul_separated(self.args))
    }

    /// The control groups, each as `controller=/path`.
    ///
    /// [`ExecFacts::raw_cgroups`] has all of them as the event does.
    pub fn cgroups(&self) -> impl Iterator<Item = &'a [u8]> + Clone {
        nul_separated(self.cgroups)
    }

    /// The bytes of the control groups: the same bytes are the same control groups.
    pub fn raw_cgroups(&self) -> &'a [u8] {
        self.cgroups
    }
}

/// The decoded facts of an exec, which outlive the call that gave the event: with every call the engine may
/// have its bytes somewhere else.
#[derive(Debug, Clone, Copy)]
pub struct ExecLayout {
    pid: i64,
    ptid: i64,
    argv0: Span,
    args: Span,
    cwd: Span,
    cgroups: Span,
    environment: Option<Span>,
    user: Option<u32>,
    flags: ExeFlags,
    inode: InodeId,
    exe_path: Span,
    filename: Span,
    comm: Span,
}

impl ExecLayout {
    /// As [`ExecFacts::from_event`].
    pub fn of(event: &SyscallEvent<'_>) -> Option<Self> {
        let facts = ExecFacts::from_event(event)?;
        Some(Self {
            pid: facts.pid,
            ptid: facts.ptid,
            argv0: event.span(facts.argv0),
            args: event.span(facts.args),
            cwd: event.span(facts.cwd),
            cgroups: event.span(facts.cgroups),
            environment: facts.environment.map(|environment| event.span(environment)),
            user: facts.user,
            flags: facts.flags,
            inode: facts.inode,
            exe_path: event.span(facts.exe_path),
            filename: event.span(facts.filename),
            comm: event.span(facts.comm),
        })
    }

    /// The facts of the same event; `None` if it is another one, and shorter.
    pub fn facts<'a>(&self, event: &SyscallEvent<'a>) -> Option<ExecFacts<'a>> {
        Some(ExecFacts {
            pid: self.pid,
            ptid: self.ptid,
            argv0: event.at(self.argv0)?,
            args: event.at(self.args)?,
            cwd: event.at(self.cwd)?,
            cgroups: event.at(self.cgroups)?,
            environment: match self.environment {
                Some(span) => Some(event.at(span)?),
                None => None,
            },
            user: self.user,
            flags: self.flags,
            inode: self.inode,
            exe_path: event.at(self.exe_path)?,
            filename: event.at(self.filename)?,
            comm: event.at(self.comm)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::raw::tests::event;
    use super::*;

    #[test]
    fn facts_are_found_again_where_the_engine_has_the_event_now() {
        let number = 7i64.to_ne_bytes();
        let mut params: Vec<&[u8]> = vec![b""; 30];
        (params[0], params[1], params[2], params[4], params[5]) =
            (&[0; 8], b"sh\0", b"-c\0id\0", &number, &number);
        (params[14], params[15], params[27]) = (b"cpu=/a\0", b"A=b\0", b"/bin/sh\0");
        let bytes = event(code::EXECVE_X, 7, &params);
        let layout = ExecLayout::of(&SyscallEvent::from_bytes(&bytes).unwrap()).unwrap();
        let elsewhere = bytes.clone();
        let facts = layout.facts(&SyscallEvent::from_bytes(&elsewhere).unwrap()).unwrap();
        assert_eq!(facts.argv().collect::<Vec<_>>(), [&b"sh"[..], b"-c", b"id"]);
        assert_eq!((facts.pid, facts.exe_path, facts.cwd), (7, &b"/bin/sh"[..], &b""[..]));
        assert_eq!((facts.raw_cgroups(), facts.environment), (&b"cpu=/a\0"[..], Some(&b"A=b\0"[..])));
        let shorter = event(code::EXECVE_X, 7, &params[..20]);
        assert!(layout.facts(&SyscallEvent::from_bytes(&shorter).unwrap()).is_none());
    }
}
