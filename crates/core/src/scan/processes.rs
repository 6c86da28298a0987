//! The programs that run in a container now, and where they come from.
//!
//! Invariant: command lines and environments are read to find a script's path and are not part of a finding.

use crate::container::live::is_member;
use crate::container::registry::Container;
use crate::host::{ExeFlags, FoundFile, Host};
use crate::scan::environment::arguments_of;
use crate::verdict::judge::{Judge, Subject};
use crate::verdict::origin::Origin;
use crate::verdict::runtime::{is_runtime, Claim};
use crate::verdict::script::{Runner, Script, Start};

/// Largest executable whose content is compared, bytes.
const MAX_EXECUTABLE: u64 = 1 << 30;

/// A process and what it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessFinding {
    /// Process id on the host.
    pub pid: i64,
    /// Its executable, as the kernel names it; ` (deleted)` taken off.
    pub path: Vec<u8>,
    /// The executable is unlinked.
    pub deleted: bool,
    /// Where the executable comes from.
    pub origin: Origin,
    /// Package that owns the executable's path in the image.
    pub package: Option<String>,
    /// Kind of volume it lies on.
    pub volume: Option<&'static str>,
    /// The script that it was started on: path and origin.
    pub script: Option<(Vec<u8>, Origin)>,
    /// Further files of code that it was started on, and that are drift.
    pub other_scripts: Vec<(Vec<u8>, Origin)>,
    /// Why the origin is unknown; empty otherwise.
    pub why: &'static str,
}

impl ProcessFinding {
    /// Whether it runs what the image did not ship.
    pub fn is_drift(&self) -> bool {
        self.origin.is_drift() || self.script.as_ref().is_some_and(|(_, origin)| origin.is_drift())
    }

    /// What is drift of its program and its files of code.
    pub fn drifted(&self) -> impl Iterator<Item = (&[u8], Origin)> {
        let code = self.script.iter().chain(&self.other_scripts).map(|(path, origin)| (&**path, *origin));
        std::iter::once((&*self.path, self.origin)).chain(code).filter(|(_, origin)| origin.is_drift())
    }

    /// Whether the origin of the executable or the script could not be told.
    pub fn is_unknown(&self) -> bool {
        self.origin.is_open() || self.script.as_ref().is_some_and(|(_, origin)| origin.is_open())
    }
}

/// Looks at each of these processes that is in the container, in turn. `keep_going` paces; `false` ends the
/// scan.
///
/// `false` when it was ended early.
pub fn scan(
    host: &Host,
    container: &Container,
    pids: &[i64],
    keep_going: &mut dyn FnMut() -> bool,
    tell: &mut dyn FnMut(ProcessFinding),
) -> bool {
    let judge = Judge::new(host.clone(), MAX_EXECUTABLE);
    for pid in pids {
        if !keep_going() {
            return false;
        }
        if let Some(finding) = look(host, &judge, container, *pid) {
            tell(finding);
        }
    }
    true
}

/// A process of a container, seen.
pub(super) struct Seen {
    /// Its executable.
    pub(super) exe: FoundFile,
    /// The executable's path, as the kernel names it; ` (deleted)` taken off.
    pub(super) path: Vec<u8>,
    /// Its arguments, each ended by a NUL but the last.
    arguments: Vec<u8>,
}

/// Looks at a process; `None` where it is gone, another container's, a kernel thread, or the runtime on its
/// way in.
pub(super) fn look_at(host: &Host, container: &Container, pid: i64) -> Option<Seen> {
    let exe = host.executable(pid).ok()?;
    let path = exe.path()?;
    // After the look: the process id may have been another's before.
    if !is_member(host, pid, &container.id) {
        return None;
    }
    let arguments = arguments_of(host, pid).unwrap_or_default();
    let argv: Vec<&[u8]> = arguments.split(|b| *b == 0).collect();
    let ptid = host.parent_of(pid).unwrap_or_default();
    let claim = Claim {
        pid,
        ptid,
        path: &path,
        argv: &argv,
        inode: exe.inode,
        has_host_ids: host.own_pid_of(pid) == Some(pid),
        is_unborn: false,
        parent_outside: ptid != 0 && !is_member(host, ptid, &container.id),
        // A program that runs is none of the runtime's, as long as it may be.
        at: u64::MAX,
    };
    match is_runtime(host, container, &claim) {
        true => None,
        false => Some(Seen { exe, path, arguments }),
    }
}

/// What a process runs; `None` as [`look_at`].
fn look(host: &Host, judge: &Judge, container: &Container, pid: i64) -> Option<ProcessFinding> {
    let Seen { exe, path, arguments } = look_at(host, container, pid)?;
    let argv: Vec<&[u8]> = arguments.split(|b| *b == 0).collect();
    let deleted = exe.links == 0;
    let subject = Subject {
        path: &path,
        flags: ExeFlags::default(),
        flags_given: false,
        inode: exe.inode,
        found: Some(&exe),
        pid,
    };
    let mut judgement = judge.judge(container, &subject);
    let start = Start { exe: &path, argv, ..Start::default() };
    let started = judge.script_of(container, Runner { pid, cwd: b"" }, &start);
    let of = |Script { path, judgement, .. }| (path, judgement.origin);
    let script = started.script.map(of);
    let other_scripts = started.others.into_iter().map(of).collect();
    let in_image = judgement.path.take().filter(|_| judgement.is_on_root());
    let image = container.image.as_ref().ok();
    let package = image.zip(in_image).and_then(|(image, p)| image.owner(&p).ok().flatten());
    Some(ProcessFinding {
        pid,
        path,
        deleted,
        origin: judgement.origin,
        package,
        volume: judgement.volume.map(|v| v.as_str()),
        script,
        other_scripts,
        why: judgement.why,
    })
}
