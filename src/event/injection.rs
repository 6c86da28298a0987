//! Calls by which a process writes to another one's memory or registers: what the event says of them. No I/O.
//!
//! Parameters: falcosecurity/libs `driver/event_table.c`. `ptrace`'s request and target are in the enter
//! event up to libs 0.20, and in the exit event since. Neither call is traced unless a rule names it.

use super::raw::SyscallEvent;

/// Event codes (`ppm_events_public.h`).
mod code {
    pub const PTRACE_E: u16 = 168;
    pub const PTRACE_X: u16 = 169;
    pub const PROCESS_VM_WRITEV_X: u16 = 423;
}

/// `PPM_PTRACE_POKETEXT`, `POKEDATA`, `POKEUSR`, `SETREGSET`, `SETREGS`, `SETFPREGS`, `SETFPXREGS`.
const WRITES: [u16; 7] = [5, 6, 7, 19, 27, 29, 31];

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Means {
    /// ptrace(2).
    Ptrace,
    /// process_vm_writev(2).
    ProcessVm,
}

impl Means {
    /// The value of `drift.injection`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ptrace => "ptrace",
            Self::ProcessVm => "process_vm_writev",
        }
    }
}

/// A call that writes to another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InjectionCall {
    /// How.
    pub means: Means,
    /// The other process, by its id in the caller's namespace.
    pub target: i64,
}

impl InjectionCall {
    /// Decodes an event; `None` for other calls and requests, and failed ones.
    pub fn from_event(event: &SyscallEvent<'_>) -> Option<Self> {
        let ptrace = |request: usize, target: usize| {
            let request = u16::from_ne_bytes(event.param(request)?.try_into().ok()?);
            let target = event.i64_param(target)?;
            WRITES.contains(&request).then_some(Self { means: Means::Ptrace, target })
        };
        match event.code {
            code::PTRACE_E => ptrace(0, 1),
            code::PTRACE_X if event.i64_param(0)? >= 0 => ptrace(3, 4),
            code::PROCESS_VM_WRITEV_X if event.i64_param(0)? > 0 => {
                Some(Self { means: Means::ProcessVm, target: event.i64_param(1)? })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::raw::tests::event;
    use super::*;

    #[test]
    fn writes_count_and_reads_do_not() {
        let (ok, failed, pid) = (0i64.to_ne_bytes(), (-1i64).to_ne_bytes(), 42i64.to_ne_bytes());
        let of = |code: u16, params: &[&[u8]]| {
            let bytes = event(code, 7, params);
            let event = SyscallEvent::from_bytes(&bytes).unwrap();
            InjectionCall::from_event(&event).map(|call| (call.means.as_str(), call.target))
        };
        let ptrace = |result: &[u8], request: u16| {
            of(code::PTRACE_X, &[result, b"", b"", &request.to_ne_bytes(), &pid])
        };
        assert_eq!(ptrace(&ok, 5), Some(("ptrace", 42)), "PTRACE_POKETEXT");
        assert_eq!(ptrace(&ok, 27), Some(("ptrace", 42)), "PTRACE_SETREGS");
        assert_eq!(ptrace(&ok, 2), None, "PTRACE_PEEKTEXT");
        assert_eq!(ptrace(&ok, 13), None, "PTRACE_SYSCALL");
        assert_eq!(ptrace(&failed, 5), None);
        assert_eq!(of(code::PTRACE_X, &[&ok, b"", b""]), None, "libs 0.20: the enter event has it");
        assert_eq!(of(code::PTRACE_E, &[&6u16.to_ne_bytes(), &pid]), Some(("ptrace", 42)));
        let bytes = 8i64.to_ne_bytes();
        assert_eq!(of(code::PROCESS_VM_WRITEV_X, &[&bytes, &pid, b"x"]), Some(("process_vm_writev", 42)));
        assert_eq!(of(code::PROCESS_VM_WRITEV_X, &[&failed, &pid, b""]), None);
    }
}
