//! The verdict on the executable that a process runs.

use super::cache::ContainerCache;
use super::content::OfProcess;
use super::context::{Context, Dependencies};
use super::provenance::Writers;
use super::runs::Runs;
use super::threads::{process_of, ThreadState, Threads};
use crate::event::exec::ExecFacts;
use crate::event::threads::Thread;
use crate::events::Finding;
use crate::facts::{Against, Process, VerifyJob};
use crate::logging::warn_once;
use drift_core::command::interpreter;
use drift_core::container::registry::Container;
use drift_core::host::{strip_deleted, ExeFlags, FoundFile, InodeId};
use drift_core::image::view::Presence;
use drift_core::verdict::binary::{Binary, BinaryKey};
use drift_core::verdict::judge::{is_memfd_path, Judgement, Program, HOSTS_FILE};
use drift_core::verdict::origin::Origin;
use drift_core::verdict::runtime::{self, Claim};
use drift_core::verdict::script::Runner;
use rustix::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// What an executable is judged by: from an exec event, or from the table of threads.
struct Facts<'a> {
    pid: i64,
    ptid: i64,
    path: &'a [u8],
    inode: InodeId,
    flags: ExeFlags,
    argv: Vec<&'a [u8]>,
}

/// Verdicts on executables, by container and file.
#[derive(Debug)]
pub(super) struct Programs {
    verdicts: ContainerCache<BinaryKey, Arc<Binary>>,
    /// How often executables that are not the image's ran.
    runs: Runs,
    /// Findings of workers taken in so far.
    findings: u64,
    /// Whether the kernel's probe was seen to report layers.
    flags_given: bool,
    /// The executable of the exec at hand, held since its event was seen.
    held: Option<(i64, OwnedFd)>,
}

impl Programs {
    pub(super) fn new(deps: &Dependencies) -> Self {
        Self {
            verdicts: ContainerCache::new(deps.config.cache.max_verdicts, deps.config.container_parts),
            runs: Runs::new(deps.config.container_parts),
            findings: 0,
            flags_given: false,
            held: None,
        }
    }

    /// Forgets up to `most` entries of each table of a container; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.verdicts.forget(BinaryKey::container_key(container), most) + self.runs.forget(container, most)
    }

    /// Takes in what workers found. Called once for each event, so that all answers about one event agree.
    pub(super) fn take_findings(&mut self, deps: &Dependencies) {
        let Some(workers) = deps.workers.as_ref().filter(|workers| workers.has_findings()) else { return };
        for Finding { key, origin, sha256, .. } in workers.findings() {
            self.findings += 1;
            log::debug!("a worker's finding: {key:?} is {origin:?}");
            let Some(binary) = self.verdicts.get_mut(&key) else { continue };
            let mut known = Binary::clone(binary);
            known.sha256 = sha256.or(known.sha256);
            if let Some(origin) = origin {
                known.judgement.origin = origin;
                known.judgement.comparable_later = false;
            }
            *binary = Arc::new(known);
        }
    }

    /// An exec was seen with these flags.
    pub(super) fn note_flags(&mut self, flags: ExeFlags) {
        self.flags_given |= flags.lower;
    }

    /// Whether what a thread's state says of its program takes in all findings.
    pub(super) fn is_latest(&self, state: &ThreadState) -> bool {
        state.findings == self.findings
    }

    /// The verdict on the executable of the event's process; `None` on the host.
    pub(super) fn of_event(
        &mut self,
        cx: &Context<'_>,
        threads: &mut Threads,
        writers: &Writers,
    ) -> Option<Arc<Binary>> {
        let state = threads.of_event(cx)?;
        if let Some(binary) = state.binary.clone() {
            if state.findings == self.findings {
                return Some(binary);
            }
            state.findings = self.findings;
            state.writer = None;
            return Some(self.latest(binary, cx.event.tid, threads));
        }
        let container = state.container.clone()?;
        let exec = cx.exec();
        let binary = match &exec {
            Some(exec) => {
                let facts = Facts {
                    pid: exec.pid,
                    ptid: exec.ptid,
                    path: exec.exe_path,
                    inode: exec.inode,
                    flags: exec.flags,
                    argv: exec.argv().take(2).collect(),
                };
                self.judge(cx, &container, &facts, threads, writers)
            }
            None => self.judge_thread(cx, &cx.table.get(cx.event.tid)?, &container, threads, writers),
        };
        let state = threads.of_event(cx)?;
        // Once for each exec: a container that is looked at again has its processes judged again.
        if exec.is_some() && state.run.is_none() {
            state.run = self.runs.count(binary.key, binary.judgement.origin);
        }
        state.binary = Some(Arc::clone(&binary));
        Some(binary)
    }

    /// The verdict on what a thread runs whose exec is not the event at hand.
    fn judge_thread(
        &mut self,
        cx: &Context<'_>,
        thread: &Thread,
        container: &Arc<Container>,
        threads: &Threads,
        writers: &Writers,
    ) -> Arc<Binary> {
        let facts = Facts {
            pid: thread.pid,
            ptid: thread.ptid,
            path: path_from_proc(&thread.exe_path),
            inode: thread.inode,
            flags: thread.flags,
            argv: vec![&thread.argv0],
        };
        self.judge(cx, container, &facts, threads, writers)
    }

    /// As [`Programs::of_event`], of any thread of a container.
    pub(super) fn of_thread(
        &mut self,
        cx: &Context<'_>,
        (tid, thread): (i64, &Thread),
        container: &Arc<Container>,
        threads: &mut Threads,
        writers: &Writers,
    ) -> Arc<Binary> {
        if let Some(known) = threads.peek(tid).and_then(|state| state.binary.clone()) {
            return self.latest(known, tid, threads);
        }
        let binary = self.judge_thread(cx, thread, container, threads, writers);
        if let Some(state) = threads.peek_mut(tid) {
            state.binary = Some(Arc::clone(&binary));
        }
        binary
    }

    /// The verdict as it is now: a worker's comparison may have ended since it was given.
    fn latest(&mut self, binary: Arc<Binary>, tid: i64, threads: &mut Threads) -> Arc<Binary> {
        match self.verdicts.get(&binary.key) {
            Some(now) if !Arc::ptr_eq(now, &binary) => {
                let now = Arc::clone(now);
                if let Some(state) = threads.peek_mut(tid) {
                    state.binary = Some(Arc::clone(&now));
                    state.contents = OfProcess::default();
                    state.writer = None;
                }
                now
            }
            _ => binary,
        }
    }

    fn judge(
        &mut self,
        cx: &Context<'_>,
        container: &Arc<Container>,
        facts: &Facts<'_>,
        threads: &Threads,
        writers: &Writers,
    ) -> Arc<Binary> {
        let key = BinaryKey::new(&container.id, facts.path, facts.inode, facts.flags);
        if let Some(known) = self.verdicts.get(&key) {
            return Arc::clone(known);
        }
        let make = |judgement: Judgement| {
            let path = facts.path.into();
            let sha256 = judgement.sha256;
            let (hashing, traits, package) = Default::default();
            Arc::new(Binary { key, path, inode: facts.inode, judgement, sha256, hashing, traits, package })
        };
        let shown = || (&*container.id, String::from_utf8_lossy(facts.path));
        if is_runtime(cx, container, facts, threads) {
            log::debug!("program {:?}: the runtime itself, process {}", shown(), facts.pid);
            return make(Judgement { why: "", origin: Origin::Runtime, ..Judgement::nothing() });
        }
        let held = self.held.take().filter(|(pid, _)| *pid == facts.pid).map(|(_, exe)| exe);
        let program = Program {
            pid: facts.pid,
            path: facts.path,
            flags: facts.flags,
            flags_given: self.flags_given,
            inode: facts.inode,
            held,
        };
        let (judgement, found) = cx.deps.judge.judge_program(container, program);
        if let Some(emulated) = emulated(cx, container, facts, &judgement) {
            log::debug!("program {:?}: emulates {emulated:?}", shown());
            let binary = make(Judgement { comparable_later: false, ..emulated });
            count_drift(container, &binary, writers);
            // The emulator runs whatever it is given: the next one is judged by itself.
            return binary;
        }
        match &found {
            Some(file) => log::debug!(
                "program {:?}: process {} has {:?}, flags {:?}; found {:?}, {} bytes",
                shown(),
                facts.pid,
                facts.inode,
                facts.flags,
                file.inode,
                file.size
            ),
            None => log::debug!(
                "program {:?}: process {} has {:?}, flags {:?}; no such file is found now, or may be looked at",
                shown(),
                facts.pid,
                facts.inode,
                facts.flags
            ),
        }
        log::debug!("program {:?}: {judgement:?}", shown());
        if judgement.origin == Origin::Unknown {
            if cx.workers().is_some() {
                warn_once!(
                    "a program is `unknown` ({}): {:?}. Metrics unknown_* count them",
                    judgement.why,
                    shown()
                );
            }
            cx.deps.metrics.count_unknown(judgement.why);
            // Not remembered beyond the thread: more may be known next time.
            return make(judgement);
        }
        let mut binary = make(judgement);
        if binary.judgement.comparable_later && !compare_later(cx, container, &binary, found.as_ref()) {
            // Nobody will: it stays unverified, and rules are told so at once.
            binary = make(Judgement { comparable_later: false, ..binary.judgement.clone() });
        }
        count_drift(container, &binary, writers);
        self.verdicts.put(key, Arc::clone(&binary));
        binary
    }

    /// Holds the executable of an exec that was not judged before: it may be another file a moment later.
    pub(super) fn hold(&mut self, deps: &Dependencies, container: &str, exec: &ExecFacts<'_>) {
        let key = BinaryKey::new(container, exec.exe_path, exec.inode, exec.flags);
        if deps.workers.is_some() && self.verdicts.get(&key).is_none() {
            self.held = deps.host().hold_executable(exec.pid).ok().map(|exe| (exec.pid, exe));
        }
    }

    /// Lets go of what was held for another event.
    pub(super) fn let_go(&mut self) {
        self.held = None;
    }

    /// How the program of a verdict is found again.
    fn program<'b>(&self, binary: &'b Binary, pid: i64) -> Program<'b> {
        let Binary { path, inode, .. } = binary;
        Program {
            pid,
            path,
            flags: binary.key.flags(),
            flags_given: self.flags_given,
            inode: *inode,
            held: None,
        }
    }

    /// SHA-256 of the executable; asks a worker for it where it is not known, and says `None` meanwhile.
    pub(super) fn sha256(
        &mut self,
        cx: &Context<'_>,
        threads: &mut Threads,
        writers: &Writers,
    ) -> Option<[u8; 32]> {
        let binary = self.of_event(cx, threads, writers)?;
        if binary.sha256.is_some() || binary.hashing.get().is_some() {
            return binary.sha256;
        }
        let workers = cx.workers()?;
        let found = self.find(cx, threads, &binary)?;
        let file = found.open().ok().filter(|_| found.size <= cx.deps.config.background_max);
        let is_asked = file.is_none_or(|file| {
            let Some(container) = threads.container(cx) else { return true };
            let (key, tid, process) = (binary.key, cx.event.tid, threads.process(cx));
            workers.verify(VerifyJob { key, container, file, against: None, tid, process })
        });
        if is_asked {
            // Or never will be: it is too large, or cannot be read.
            let _ = binary.hashing.set(());
        }
        None
    }

    /// The executable of the event's process, looked for once; `None` where it cannot be found any more.
    fn find(&self, cx: &Context<'_>, threads: &mut Threads, binary: &Binary) -> Option<FoundFile> {
        let state = threads.of_event(cx).filter(|state| !state.is_out_of_sight)?;
        let (container, pid) = (state.container.clone()?, state.pid);
        container.live.as_ref()?;
        let found = cx.deps.judge.find_program(&container, self.program(binary, pid));
        threads.of_event(cx)?.is_out_of_sight = found.is_none();
        found
    }

    /// Traits of the executable; `None` where it cannot be looked at.
    pub(super) fn traits(
        &mut self,
        cx: &Context<'_>,
        threads: &mut Threads,
        writers: &Writers,
    ) -> Option<Arc<[&'static str]>> {
        let binary = self.of_event(cx, threads, writers)?;
        if let Some(known) = binary.traits.get() {
            return Some(Arc::clone(known));
        }
        let traits = Arc::from(drift_core::verdict::traits::of(&self.find(cx, threads, &binary)?));
        Some(Arc::clone(binary.traits.get_or_init(|| traits)))
    }

    /// See [`ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> (usize, usize) {
        (self.verdicts.bytes_when_full(), self.runs.bytes_when_full())
    }
}

/// Counts a program that is new to the container, unless it was counted as a file when it was written.
fn count_drift(container: &Container, binary: &Binary, writers: &Writers) {
    let drifted = binary.judgement.origin.is_drift();
    if drifted && writers.of(&container.id, binary.inode.ino).is_none() {
        container.drifts.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether the process is the runtime itself on its way into the container (`runc init`): it has the
/// container's control group already, but still the host's process ids, and the runtime on the host for a
/// parent. Or it is the container's first process already, and has mounted and set up what it finds there,
/// but not yet executed a program of it.
fn is_runtime(cx: &Context<'_>, container: &Container, facts: &Facts<'_>, threads: &Threads) -> bool {
    if !interpreter::names_a_runtime(facts.path, &facts.argv) {
        return false;
    }
    // In the host's PID namespace a thread's two ids are the same.
    let Some(vtid) = cx.table.get(facts.pid).map(|t| t.vtid) else { return false };
    let executed = threads.peek(facts.pid).is_some_and(|state| state.executed);
    let parent_cgroups = cx.table.cgroups(facts.ptid);
    let claim = Claim {
        pid: facts.pid,
        ptid: facts.ptid,
        path: facts.path,
        argv: &facts.argv,
        inode: facts.inode,
        has_host_ids: vtid == facts.pid,
        is_unborn: vtid == 1 && !executed,
        parent_outside: parent_cgroups.is_some_and(|c| threads.containers.named(&c).is_none()),
        at: cx.event.ts,
    };
    runtime::is_runtime(cx.host(), container, &claim)
}

/// The verdict on the program that the executable emulates: of an image for another processor.
///
/// The kernel starts the interpreter that `binfmt_misc` names, with the program's path for its first argument
/// (fs/binfmt_misc.c, `load_misc_binary`; the flag `P` adds another one behind it). With the flag `F` that is a
/// file of the host's, which no container has, so that nobody in one gets to it in another way.
fn emulated(
    cx: &Context<'_>,
    container: &Container,
    facts: &Facts<'_>,
    judgement: &Judgement,
) -> Option<Judgement> {
    let path = facts.argv.get(1).filter(|_| judgement.why == HOSTS_FILE)?;
    let cwd = cx.table.get(facts.pid).map(|thread| thread.cwd).unwrap_or_default();
    let program = cx.deps.judge.judge_script(container, &Runner { pid: facts.pid, cwd: &cwd }, path);
    Some(program.judgement).filter(|judged| judged.origin != Origin::Unknown)
}

/// Has a program compared by a worker; `false` if nobody will.
fn compare_later(
    cx: &Context<'_>,
    container: &Arc<Container>,
    binary: &Binary,
    found: Option<&FoundFile>,
) -> bool {
    let (Some(workers), Some(found)) = (cx.workers(), found) else { return false };
    let (Some(layer), Some(path)) = (binary.judgement.layer, binary.judgement.path.clone()) else {
        return false;
    };
    if found.size > cx.deps.config.background_max {
        return false;
    }
    let Ok(file) = found.open() else { return false };
    let sha256 = container.image.as_ref().ok().and_then(|image| match image.lookup(&path) {
        Presence::Present { entry, .. } => entry.sha256,
        _ => None,
    });
    let against = Some(Against { layer, path, sha256 });
    let (key, tid) = (binary.key, cx.event.tid);
    let command = cx.table.command(tid).map(Arc::from);
    let process = Arc::new(Process { command, ..process_of(cx, tid, Some(container)) });
    workers.verify(VerifyJob { key, container: Arc::clone(container), file, against, tid, process })
}

/// The path of an executable as the engine read it from `/proc`, where an unlinked file's carries a mark.
fn path_from_proc(path: &[u8]) -> &[u8] {
    if is_memfd_path(path) {
        path
    } else {
        strip_deleted(path)
    }
}
