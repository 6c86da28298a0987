//! The verdict on the executable that a process runs, and on the script it was started on.

use super::{Engine, ThreadReader};
use crate::event::exec::ExecFacts;
use crate::event::raw::SyscallEvent;
use crate::event::threads::Thread;
use crate::events::Finding;
use crate::facts::{Against, VerifyJob};
use drift_core::command::interpreter;
use drift_core::container::registry::Container;
use drift_core::host::{strip_deleted, FoundFile};
use drift_core::host::{ExeFlags, InodeId};
use drift_core::image::view::Presence;
use drift_core::verdict::binary::{Binary, BinaryKey};
use drift_core::verdict::judge::{find_executable, is_memfd_path, Judgement, Subject};
use drift_core::verdict::origin::Origin;
use drift_core::verdict::script::{Runner, Script};
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

impl Engine {
    /// The verdict on the executable of the event's process; `None` on the host.
    pub fn binary(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<Arc<Binary>> {
        self.take_findings();
        let findings = self.findings;
        let state = self.thread(event, reader)?;
        if let Some(binary) = state.binary.clone() {
            if state.findings == findings {
                return Some(binary);
            }
            state.findings = findings;
            state.writer = None;
            return Some(self.latest(binary, event.tid));
        }
        let container = state.container.clone()?;
        let exec = ExecFacts::from_event(event);
        let is_exec = exec.is_some();
        let binary = match exec {
            Some(exec) => {
                let facts = Facts {
                    pid: exec.pid,
                    ptid: exec.ptid,
                    path: exec.exe_path,
                    inode: exec.inode,
                    flags: exec.flags,
                    argv: exec.argv().take(2).collect(),
                };
                self.judge_binary(&container, &facts, reader, event.tid)
            }
            None => self.judge_thread(&reader.get(event.tid)?, &container, reader, event.tid),
        };
        // Once for each exec: a container that is looked at anew has its processes judged again.
        let uncounted = is_exec && self.thread(event, reader)?.run.is_none();
        let run = uncounted.then(|| self.runs.count(binary.key, binary.judgement.origin)).flatten();
        let state = self.thread(event, reader)?;
        state.binary = Some(Arc::clone(&binary));
        state.run = state.run.or(run);
        Some(binary)
    }

    /// The container of the event's thread, and where its program comes from, as far as it is known.
    pub(super) fn container_and_origin(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<(Arc<Container>, Option<Origin>)> {
        self.take_findings();
        let findings = self.findings;
        let state = self.thread(event, reader)?;
        let container = state.container.clone()?;
        if let Some(binary) = state.binary.as_ref().filter(|_| state.findings == findings) {
            return Some((container, Some(binary.judgement.origin)));
        }
        Some((container, self.binary(event, reader).map(|b| b.judgement.origin)))
    }

    /// Which run of its executable in the container the event's process is; `None` where runs are not counted.
    pub fn binary_runs(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<u64> {
        self.binary(event, reader)?;
        self.thread(event, reader)?.run
    }

    /// As [`Engine::binary_runs`], of its script.
    pub fn script_runs(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<u64> {
        self.script(event, reader)?;
        self.thread(event, reader)?.script_run
    }

    /// The verdict on what a thread runs whose exec is not the event at hand.
    fn judge_thread(
        &mut self,
        thread: &Thread,
        container: &Arc<Container>,
        reader: ThreadReader<'_>,
        tid: i64,
    ) -> Arc<Binary> {
        let facts = Facts {
            pid: thread.pid,
            ptid: thread.ptid,
            path: path_from_proc(&thread.exe_path),
            inode: thread.inode,
            flags: thread.flags,
            argv: vec![&thread.argv0],
        };
        self.judge_binary(container, &facts, reader, tid)
    }

    /// As [`Engine::binary`], of any thread of a container.
    pub(super) fn thread_binary(
        &mut self,
        tid: i64,
        thread: &Thread,
        container: &Arc<Container>,
        reader: ThreadReader<'_>,
    ) -> Arc<Binary> {
        if let Some(known) = self.threads.peek(&tid).and_then(|state| state.binary.clone()) {
            return self.latest(known, tid);
        }
        let binary = self.judge_thread(thread, container, reader, tid);
        if let Some(state) = self.threads.peek_mut(&tid) {
            state.binary = Some(Arc::clone(&binary));
        }
        binary
    }

    /// As [`Engine::script`], of any thread of a container.
    pub(super) fn thread_script(
        &mut self,
        tid: i64,
        thread: &Thread,
        container: &Container,
        reader: ThreadReader<'_>,
    ) -> Option<Arc<Script>> {
        if let Some(known) = self.threads.peek(&tid).and_then(|state| state.script.clone()) {
            return known;
        }
        let script = self.judge_script(tid, thread, container, reader).map(Arc::new);
        if let Some(state) = self.threads.peek_mut(&tid) {
            state.script = Some(script.clone());
        }
        script
    }

    fn judge_script(
        &self,
        tid: i64,
        thread: &Thread,
        container: &Container,
        reader: ThreadReader<'_>,
    ) -> Option<Script> {
        if !interpreter::is_interpreter(&thread.exe_path) {
            return None;
        }
        let args = reader.threads?.args(reader.reader, tid)?;
        let argv: Vec<&[u8]> =
            std::iter::once(thread.argv0.as_slice()).chain(args.iter().map(Vec::as_slice)).collect();
        let argument = interpreter::script_argument(&thread.exe_path, &argv)?;
        Some(self.judge.judge_script(container, &Runner { pid: thread.pid, cwd: &thread.cwd }, argument))
    }

    /// The verdict as it is now: a background comparison may have ended since it was given.
    fn latest(&mut self, binary: Arc<Binary>, tid: i64) -> Arc<Binary> {
        match self.verdicts.get(&binary.key) {
            Some(now) if !Arc::ptr_eq(now, &binary) => {
                let now = Arc::clone(now);
                if let Some(state) = self.threads.peek_mut(&tid) {
                    state.binary = Some(Arc::clone(&now));
                    state.writer = None;
                }
                now
            }
            _ => binary,
        }
    }

    fn judge_binary(
        &mut self,
        container: &Arc<Container>,
        facts: &Facts<'_>,
        reader: ThreadReader<'_>,
        tid: i64,
    ) -> Arc<Binary> {
        let key = BinaryKey::new(&container.id, facts.path, facts.inode, facts.flags);
        if let Some(known) = self.verdicts.get(&key) {
            return Arc::clone(known);
        }
        let path = facts.path.into();
        let make = |judgement: Judgement| {
            let sha256 = judgement.sha256;
            let (hashing, traits, package) = Default::default();
            Arc::new(Binary { key, path, inode: facts.inode, judgement, sha256, hashing, traits, package })
        };
        if self.is_runtime(container, facts, reader) {
            return make(Judgement { why: "", origin: Origin::Runtime, ..Judgement::nothing() });
        }
        let found = find_executable(self.judge.host(), container, facts.pid, facts.path, &facts.inode);
        let subject = Subject {
            path: facts.path,
            flags: facts.flags,
            flags_given: self.flags_given,
            inode: facts.inode,
            found: found.as_ref(),
            pid: facts.pid,
        };
        let judgement = self.judge.judge(container, &subject);
        if judgement.origin == Origin::Unknown {
            self.metrics.count_unknown(judgement.why);
            // Not remembered beyond the thread: more may be known next time.
            return make(judgement);
        }
        let binary = make(judgement);
        self.count_drift(container, &binary);
        self.verdicts.put(key, Arc::clone(&binary));
        if binary.judgement.comparable_later {
            self.compare_later(container, &binary, found.as_ref(), tid);
        }
        binary
    }

    /// Counts a program that is new to the container, unless it was counted as a file when it was written.
    fn count_drift(&self, container: &Container, binary: &Binary) {
        let drifted = matches!(
            binary.judgement.origin,
            Origin::Added | Origin::ImageModified | Origin::Volume | Origin::Tmpfs | Origin::Memfd
        );
        if drifted && self.written.of(&container.id, binary.inode.ino).is_none() {
            container.drifts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the process is the runtime itself on its way into the container (`runc init`): it has the container's
    /// control group already, but still the host's process ids, and the runtime on the host for a parent. Or it is the
    /// container's first process already, and has mounted and set up what it finds there, but not yet executed a program of it.
    fn is_runtime(&mut self, container: &Container, facts: &Facts<'_>, reader: ThreadReader<'_>) -> bool {
        if !interpreter::names_a_runtime(facts.path, &facts.argv) {
            return false;
        }
        // In the host's PID namespace a thread's two ids are the same.
        let Some(vtid) = reader.get(facts.pid).map(|t| t.vtid) else { return false };
        let executed = self.threads.peek(&facts.pid).is_some_and(|state| state.executed);
        if vtid != facts.pid && (vtid != 1 || executed) {
            return false;
        }
        let parent_cgroups = reader.threads.and_then(|t| t.cgroups(reader.reader, facts.ptid));
        let parent_outside =
            parent_cgroups.is_some_and(|c| self.ids.find(c.iter().map(Vec::as_slice)).is_none());
        // A container that shares the host's PID namespace could pose as runtime, but not from its own root.
        let from_inside = container.live.as_ref().is_some_and(|live| {
            self.judge.host().executable(facts.pid).is_ok_and(|f| f.dev == live.root_dev)
        });
        parent_outside && !from_inside
    }

    fn compare_later(
        &self,
        container: &Arc<Container>,
        binary: &Binary,
        found: Option<&FoundFile>,
        tid: i64,
    ) {
        let (Some(background), Some(found)) = (&self.background, found) else { return };
        let (Some(layer), Some(path)) = (binary.judgement.layer, binary.judgement.path.clone()) else {
            return;
        };
        if found.size > self.config.background_max {
            return;
        }
        let Ok(file) = found.open() else { return };
        let sha256 = container.image.as_ref().ok().and_then(|image| match image.lookup(&path) {
            Presence::Present { entry, .. } => entry.sha256,
            _ => None,
        });
        let against = Some(Against { layer, path, sha256 });
        let job = VerifyJob { key: binary.key, container: Arc::clone(container), file, against, tid };
        background.verify(job);
    }

    /// Takes in what the background found.
    pub(super) fn take_findings(&mut self) {
        let Some(background) = self.background.as_ref().filter(|b| b.has_findings()) else { return };
        for Finding { key, origin, sha256, .. } in background.findings() {
            self.findings += 1;
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

    /// SHA-256 of the executable; asks the background for it where it is not known, and says `None` meanwhile.
    pub fn binary_sha256(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<[u8; 32]> {
        let binary = self.binary(event, reader)?;
        if binary.sha256.is_some() || binary.hashing.get().is_some() {
            return binary.sha256;
        }
        let state = self.thread(event, reader)?;
        let (container, pid) = (state.container.clone()?, state.pid);
        let background = self.background.as_ref()?;
        let found = find_executable(self.judge.host(), &container, pid, &binary.path, &binary.inode)?;
        if found.size <= self.config.background_max {
            let file = found.open().ok()?;
            let job = VerifyJob { key: binary.key, container, file, against: None, tid: event.tid };
            if background.verify(job) {
                let _ = binary.hashing.set(());
            }
        }
        None
    }

    /// The executable itself, for what is read from its content; `None` where it cannot be found any more.
    pub fn executable(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<FoundFile> {
        let binary = self.binary(event, reader)?;
        let state = self.thread(event, reader)?;
        let (container, pid) = (state.container.clone()?, state.pid);
        container.live.as_ref()?;
        find_executable(self.judge.host(), &container, pid, &binary.path, &binary.inode)
    }

    /// Traits of the executable; `None` where it cannot be looked at.
    pub fn binary_traits(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<Arc<[&'static str]>> {
        let binary = self.binary(event, reader)?;
        if let Some(known) = binary.traits.get() {
            return Some(Arc::clone(known));
        }
        let traits = Arc::from(drift_core::verdict::traits::of(&self.executable(event, reader)?));
        Some(Arc::clone(binary.traits.get_or_init(|| traits)))
    }

    /// The script that the event's process was started on; `None` when it runs none, or on the host.
    pub fn script(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<Arc<Script>> {
        let state = self.thread(event, reader)?;
        if let Some(script) = &state.script {
            return script.clone();
        }
        let container = state.container.clone()?;
        let exec = ExecFacts::from_event(event);
        let is_exec = exec.is_some();
        let script = match exec {
            Some(exec) => {
                let exe = exec.exe_path;
                interpreter::is_interpreter(exe).then(|| exec.argv().collect::<Vec<_>>()).and_then(|argv| {
                    let argument = interpreter::script_argument(exe, &argv)?;
                    let thread = reader.get(event.tid);
                    let cwd = if exec.cwd.is_empty() {
                        thread.as_ref().map_or(&b""[..], |t| &t.cwd)
                    } else {
                        exec.cwd
                    };
                    Some(self.judge.judge_script(&container, &Runner { pid: exec.pid, cwd }, argument))
                })
            }
            None => self.judge_script(event.tid, &reader.get(event.tid)?, &container, reader),
        };
        if let Some(script) = script.as_ref().filter(|s| s.judgement.origin == Origin::Unknown) {
            self.metrics.count_unknown(script.judgement.why);
        }
        let uncounted = is_exec && self.thread(event, reader)?.script_run.is_none();
        let run = script.as_ref().filter(|_| uncounted).and_then(|script| {
            let inode = InodeId { ino: script.ino, ..InodeId::default() };
            let key = BinaryKey::new(&container.id, &script.path, inode, ExeFlags::default());
            self.script_runs.count(key, script.judgement.origin)
        });
        let script = script.map(Arc::new);
        let state = self.thread(event, reader)?;
        state.script = Some(script.clone());
        state.script_run = state.script_run.or(run);
        script
    }
}

/// The path of an executable as the engine read it from `/proc`, where an unlinked file's carries a mark.
fn path_from_proc(path: &[u8]) -> &[u8] {
    if is_memfd_path(path) {
        path
    } else {
        strip_deleted(path)
    }
}
