//! The tracer that stands in for the kernel probe.
//!
//! It attaches to the container's waiting init process, follows every process that comes of it, and stops
//! each at its exec and, where asked to, at its calls ([`Facts::files`]). ptrace binds tracees to one thread,
//! so a thread of its own does the tracing and waits only for its own tracees (`__WNOTHREAD`): other tests'
//! children in the same process are not touched. When that thread ends, however it ends, the kernel lets go
//! of all tracees.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

use super::event::{Delay, Event, Facts};
use super::files;
use super::process::Process;
use super::sockets;
use super::tracee;
use super::Container;

/// How long a traced command may take altogether, the engines' answers included.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
/// How often to look for the next stop before sleeping.
const SPINS: u32 = 200;
/// How long a dead process may stay in `/proc` before its parent takes note.
const REAP_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs `command` in `container` (words separated by spaces, no quoting) and calls `on_event` for each event
/// of it, in order. While `on_event` runs on an exec event, the process stands at its exec (but see
/// [`Delay::AfterExit`]) and nothing else of the command that comes to an exec, a clone or its end goes on
/// either.
///
/// Returns the command's wait(2) status when it and everything it started have ended.
///
/// # Errors
/// `on_event`'s own error; the container's init cannot be traced or has ended; the command takes more than
/// five minutes. The command then goes on untraced until the container is dropped.
pub fn trace(
    container: &Container,
    command: &str,
    facts: Facts,
    on_event: &mut dyn FnMut(&Event) -> Result<()>,
) -> Result<i64> {
    let (events, received) = mpsc::channel::<Event>();
    let (answers, answered) = mpsc::channel::<()>();
    let init = container.init_pid();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let mut tracer = Tracer::new(init, facts, events, answered)?;
            // Init may have news of the command before, which stops it.
            container.run_while(command, &mut || tracer.pass())?;
            tracer.follow()
        });
        let mut outcome = Ok(());
        for event in received {
            outcome = on_event(&event);
            if outcome.is_err() || answers.send(()).is_err() {
                break;
            }
        }
        drop(answers); // a tracer that waits for an answer ends
        let traced = thread.join().map_err(|_| anyhow!("the tracing thread panicked"))?;
        outcome?;
        traced
    })
}

/// A process whose exec is held back, with what its descendants have done since.
struct Held {
    events: Vec<Event>,
    /// It has ended; when.
    ended: Option<Instant>,
}

struct Tracer {
    init: i64,
    pidns_start_ns: u64,
    facts: Facts,
    events: mpsc::Sender<Event>,
    answered: mpsc::Receiver<()>,
    last_ts: u64,
    /// The command: the first child of init.
    command: Option<i64>,
    status: Option<i64>,
    /// Living tracees apart from init.
    living: HashSet<i64>,
    /// Children that stopped before their parent's fork was seen.
    early: HashSet<i64>,
    /// Processes told of, by whose held queue they wait in.
    queue_of: HashMap<i64, i64>,
    held: HashMap<i64, Held>,
    /// The working directory that the engine knows of each process. The probe's exec and clone events have
    /// none: engines follow chdir(2), which is told here before the next exec or clone.
    cwd_of: HashMap<i64, Vec<u8>>,
    /// Calls that have begun and not returned, by thread.
    calls: HashMap<i64, Call>,
}

/// A call that is told once it has returned.
enum Call {
    File(files::Entry),
    Socket(sockets::Entry),
    /// execve(2) of this file: told if it is refused for its format.
    Exec(Vec<u8>),
}

impl Tracer {
    fn new(
        init: i64,
        facts: Facts,
        events: mpsc::Sender<Event>,
        answered: mpsc::Receiver<()>,
    ) -> Result<Self> {
        let options = Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXIT
            | Options::PTRACE_O_TRACESYSGOOD;
        let pidns_start_ns = Process::read(init)?.start_ns;
        ptrace::seize(pid(init), options).with_context(|| format!("tracing the container's init {init}"))?;
        Ok(Self {
            init,
            pidns_start_ns,
            facts,
            events,
            answered,
            last_ts: 0,
            command: None,
            status: None,
            living: HashSet::new(),
            early: HashSet::new(),
            queue_of: HashMap::new(),
            held: HashMap::new(),
            cwd_of: HashMap::new(),
            calls: HashMap::new(),
        })
    }

    /// Nanoseconds since the epoch, later than any given before.
    fn now(&mut self) -> u64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.last_ts = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(self.last_ts + 1);
        self.last_ts
    }

    fn read(&self, tid: i64) -> Result<Process> {
        let mut process = Process::read(tid)?;
        process.pidns_start_ns = self.pidns_start_ns;
        Ok(process)
    }

    /// Handles the stops that there are.
    fn pass(&mut self) -> Result<()> {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            match waitpid(None, Some(flags)).context("waiting for a traced process")? {
                WaitStatus::StillAlive => return Ok(()),
                status => self.handle(status)?,
            }
        }
    }

    /// Waits for the command's end, handling each stop on the way.
    fn follow(&mut self) -> Result<i64> {
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let mut idle = Duration::from_micros(50);
        let mut spins = 0;
        loop {
            let status = waitpid(None, Some(flags)).context("waiting for a traced process")?;
            self.release_ended()?;
            if status == WaitStatus::StillAlive {
                if let (Some(status), true, true) =
                    (self.status, self.living.is_empty(), self.held.is_empty())
                {
                    self.detach()?;
                    return Ok(status);
                }
                if matches!(self.answered.try_recv(), Err(mpsc::TryRecvError::Disconnected)) {
                    bail!("the caller has stopped taking events");
                }
                if Instant::now() > deadline {
                    bail!("the command runs for more than {COMMAND_TIMEOUT:?}; alive: {:?}", self.living);
                }
                // A process that stops at every call runs only as fast as it is seen to have stopped.
                if self.facts.files && spins < SPINS {
                    spins += 1;
                    std::thread::yield_now();
                    continue;
                }
                std::thread::sleep(idle);
                idle = (idle * 2).min(Duration::from_millis(1));
            } else {
                idle = Duration::from_micros(50);
                spins = 0;
                self.handle(status)?;
            }
        }
    }

    fn handle(&mut self, status: WaitStatus) -> Result<()> {
        match status {
            WaitStatus::PtraceEvent(who, signal, event) => {
                let tid = i64::from(who.as_raw());
                match event {
                    libc::PTRACE_EVENT_EXEC => self.at_exec(tid)?,
                    libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_CLONE => self.at_clone(tid, false)?,
                    libc::PTRACE_EVENT_VFORK => self.at_clone(tid, true)?,
                    libc::PTRACE_EVENT_EXIT => self.at_exit(tid)?,
                    // A new tracee's first stop. It goes on once its parent's side has been told.
                    _ if signal == Signal::SIGTRAP && tid != self.init && !self.living.contains(&tid) => {
                        self.early.insert(tid);
                        return Ok(());
                    }
                    _ => {}
                }
                self.resume(tid, None)
            }
            WaitStatus::PtraceSyscall(who) => {
                let tid = i64::from(who.as_raw());
                self.at_syscall(tid)?;
                self.resume(tid, None)
            }
            WaitStatus::Stopped(who, signal) => self.resume(i64::from(who.as_raw()), Some(signal)),
            WaitStatus::Exited(who, _) | WaitStatus::Signaled(who, _, _) => {
                self.ended(i64::from(who.as_raw()))
            }
            _ => Ok(()),
        }
    }

    /// A call begins or returns.
    fn at_syscall(&mut self, tid: i64) -> Result<()> {
        match syscall_stop(tid) {
            Some(SyscallStop::Entry { number, args }) => {
                self.calls.remove(&tid);
                let of_socket = || sockets::Entry::new(number, args).filter(|_| self.facts.sockets);
                let call = files::Entry::new(tid, number, args).map(Call::File);
                let is_exec = u64::try_from(libc::SYS_execve) == Ok(number);
                let name = || tracee::text(tid, args[0]).filter(|_| is_exec);
                let call = call.or_else(|| of_socket().map(Call::Socket));
                if let Some(call) = call.or_else(|| name().map(Call::Exec)) {
                    self.calls.insert(tid, call);
                }
                Ok(())
            }
            Some(SyscallStop::Return { result }) => {
                let Some(call) = self.calls.remove(&tid) else { return Ok(()) };
                let ts = self.now();
                self.tell(match call {
                    Call::Exec(name) if result == -i64::from(libc::ENOEXEC) => {
                        Event::from_refused(ts, &self.read(tid)?, &name, -result, &self.facts)
                    }
                    Call::Exec(_) => return Ok(()),
                    Call::File(entry) => entry.returned(ts, tid, result),
                    Call::Socket(entry) => entry.returned(ts, tid, result),
                })
            }
            None => Ok(()), // killed in the meantime
        }
    }

    fn at_exec(&mut self, tid: i64) -> Result<()> {
        let process = self.read(tid)?;
        self.tell_cwd(&process)?;
        let ts = self.now();
        let event = Event::from_exec(ts, process, &self.facts);
        let hold = self.facts.delay == Delay::AfterExit && Some(tid) != self.command;
        if hold && !self.queue_of.contains_key(&tid) {
            self.queue_of.insert(tid, tid);
            self.held.insert(tid, Held { events: Vec::new(), ended: None });
        }
        self.tell(event)
    }

    /// Tells of a working directory that the engine does not know yet; it knows that of init from its process
    /// list.
    fn tell_cwd(&mut self, process: &Process) -> Result<()> {
        if self.facts.files {
            return Ok(()); // the calls that change it are told themselves
        }
        let known = self.cwd_of.insert(process.tid, process.own_cwd().to_vec());
        if process.tid == self.init || known.as_deref() == Some(process.own_cwd()) {
            return Ok(());
        }
        let ts = self.now();
        self.tell(Event::from_chdir(ts, process))
    }

    fn at_clone(&mut self, parent: i64, vfork: bool) -> Result<()> {
        let child = ptrace::getevent(pid(parent)).context("asking for a new process's id")?;
        if parent == self.init && self.command.is_none() {
            self.command = Some(child);
        }
        self.living.insert(child);
        if let Some(&queue) = self.queue_of.get(&parent) {
            self.queue_of.insert(child, queue);
        }
        // A child can be killed before it is looked at: then there is nothing to tell of it.
        if let Ok(process) = self.read(child) {
            let made_by = self.read(parent)?;
            self.tell_cwd(&made_by)?;
            self.cwd_of.insert(child, made_by.own_cwd().to_vec());
            let ts = self.now();
            self.tell(Event::from_parent(ts, &made_by, process.vtid, vfork))?;
            let ts = self.now();
            self.tell(Event::from_child(ts, &process, vfork))?;
        }
        if self.early.remove(&child) {
            self.resume(child, None)?;
        }
        Ok(())
    }

    fn at_exit(&mut self, tid: i64) -> Result<()> {
        let status = ptrace::getevent(pid(tid)).context("asking for a process's exit status")?;
        if Some(tid) == self.command {
            self.status = Some(status);
        }
        let ts = self.now();
        self.tell(Event::from_exit(ts, tid, status))
    }

    fn ended(&mut self, tid: i64) -> Result<()> {
        if tid == self.init {
            bail!("the container's init process {tid} has ended while it was traced");
        }
        self.living.remove(&tid);
        self.early.remove(&tid);
        self.cwd_of.remove(&tid);
        self.calls.remove(&tid);
        match self.held.get_mut(&tid) {
            Some(held) => held.ended = Some(Instant::now()),
            None => drop(self.queue_of.remove(&tid)),
        }
        Ok(())
    }

    /// Gives an event to the caller and waits for the answer, or puts it behind the exec that is held back.
    fn tell(&mut self, event: Event) -> Result<()> {
        match self.queue_of.get(&event.tid).and_then(|queue| self.held.get_mut(queue)) {
            Some(held) => {
                held.events.push(event);
                Ok(())
            }
            None => self.deliver(event),
        }
    }

    fn deliver(&mut self, event: Event) -> Result<()> {
        let delivered = self.events.send(event).is_ok() && self.answered.recv().is_ok();
        delivered.then_some(()).context("the caller has stopped taking events")
    }

    /// Delivers what was held back for processes of which nothing is left.
    fn release_ended(&mut self) -> Result<()> {
        let mut gone = Vec::new();
        for (&tid, held) in &self.held {
            let Some(since) = held.ended else { continue };
            if !std::path::Path::new(&format!("/proc/{tid}")).exists() {
                gone.push(tid);
            } else if since.elapsed() > REAP_TIMEOUT {
                bail!("process {tid} has ended but its parent has not taken note for {REAP_TIMEOUT:?}");
            }
        }
        gone.sort_unstable();
        for tid in gone {
            let events = self.held.remove(&tid).map(|held| held.events).unwrap_or_default();
            self.queue_of.retain(|_, queue| *queue != tid);
            for event in events {
                self.deliver(event)?;
            }
        }
        Ok(())
    }

    /// Lets go of init, which must be stopped for that.
    fn detach(&mut self) -> Result<()> {
        ptrace::interrupt(pid(self.init)).context("stopping the container's init")?;
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        for _ in 0..16 {
            match waitpid(pid(self.init), Some(flags)).context("waiting for the container's init")? {
                WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_STOP) => {
                    ptrace::detach(pid(self.init), None).context("letting go of the container's init")?;
                    return Ok(());
                }
                WaitStatus::Stopped(_, signal) => self.resume(self.init, Some(signal))?,
                WaitStatus::PtraceEvent(..) => self.resume(self.init, None)?,
                other => bail!("the container's init ended: {other:?}"),
            }
        }
        bail!("the container's init does not stop")
    }

    /// Lets a stopped tracee go on, to its next call's begin or return where those are told; one that was
    /// killed in the meantime is no error. Init's own calls are not told: it only waits for commands.
    fn resume(&self, tid: i64, signal: Option<Signal>) -> Result<()> {
        let resumed = match self.facts.files && tid != self.init {
            true => ptrace::syscall(pid(tid), signal),
            false => ptrace::cont(pid(tid), signal),
        };
        match resumed {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("letting process {tid} go on")),
        }
    }
}

/// Where a thread stands in a call.
enum SyscallStop {
    Entry { number: u64, args: [u64; 6] },
    Return { result: i64 },
}

fn syscall_stop(tid: i64) -> Option<SyscallStop> {
    // Not through nix, whose `syscall_info` (0.30) tells the kernel of a buffer of no bytes.
    // SAFETY: a plain structure, for which zeros are values.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = std::mem::size_of_val(&info);
    // SAFETY: the kernel writes at most `size` bytes to `info`.
    let filled =
        unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid(tid).as_raw(), size, &raw mut info) };
    if filled <= 0 {
        return None;
    }
    match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            // SAFETY: the kernel has filled in this variant, as `op` says.
            let entry = unsafe { info.u.entry };
            Some(SyscallStop::Entry { number: entry.nr, args: entry.args })
        }
        libc::PTRACE_SYSCALL_INFO_EXIT => {
            // SAFETY: as above.
            let exit = unsafe { info.u.exit };
            Some(SyscallStop::Return { result: exit.sval })
        }
        _ => None,
    }
}

fn pid(tid: i64) -> Pid {
    Pid::from_raw(i32::try_from(tid).unwrap_or(-1))
}
