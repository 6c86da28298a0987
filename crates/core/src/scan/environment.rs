//! The environment of running programs against the declared one: names, never values.
//!
//! A process has its environment in memory of its own, and may write over it: those that change their title
//! do (nginx, PostgreSQL, sshd), and half of what is left of a value may then look like a name. Invariant:
//! nothing is told of a process whose arguments and environment are not as its exec laid them out.

use crate::container::declared::environment::{Environment, Variables};
use crate::container::registry::Container;
use crate::host::{read_bounded, Host};
use crate::scan::ports::is_images;
use crate::scan::processes::{look_at, Seen};
use crate::verdict::environment::{judge, OfContainer, Subject};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// How much of an environment is read, bytes.
const MAX_ENVIRONMENT: u64 = 512 << 10;

/// How much of a process's list of mappings is read, bytes.
const MAX_MAPS: usize = 16 << 20;

/// Most programs that are told of.
const MAX_PROGRAMS: usize = 10_000;

/// Most process ids kept of a program.
const MAX_PIDS: usize = 16;

/// Most names kept of each kind for one program.
const MAX_NAMES: usize = 256;

/// A program whose processes have variables that nobody declared, or with other values than declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentFinding {
    /// What the processes run, as the kernel names it.
    pub path: Vec<u8>,
    /// The first processes.
    pub pids: Vec<i64>,
    /// Names that are not declared.
    pub added: BTreeSet<Box<[u8]>>,
    /// Names that are declared with another value.
    pub changed: BTreeSet<Box<[u8]>>,
    /// Of both, those that make programs load other code or send traffic elsewhere.
    pub risky: BTreeSet<Box<[u8]>>,
}

impl EnvironmentFinding {
    /// Whether any of it is dangerous. Other variables are no drift by themselves: every shell script makes
    /// some.
    pub fn is_drift(&self) -> bool {
        !self.risky.is_empty()
    }
}

/// Compares the environments of these processes, and gives one finding for each program with any difference;
/// `None` when `keep_going` said stop.
pub fn scan(
    host: &Host,
    container: &Container,
    pids: &[i64],
    declared: &Environment,
    keep_going: &mut dyn FnMut() -> bool,
) -> Option<Vec<EnvironmentFinding>> {
    let mut found: BTreeMap<Vec<u8>, EnvironmentFinding> = BTreeMap::new();
    let at_start = exported_at_start(host, container, pids);
    for pid in pids {
        if !keep_going() {
            return None;
        }
        let Some(Seen { path, .. }) = look_at(host, container, *pid) else { continue };
        let Some((environment, whole)) = environment_of(host, *pid) else { continue };
        let cwd = host.cwd_of(*pid);
        let subject = Subject { environment: &environment, is_cut: !whole, cwd: cwd.as_deref() };
        let files = OfContainer { host, container, pid: *pid };
        let found_here = judge(declared, subject, &at_start, &files);
        if (found_here.added.is_empty() && found_here.changed.is_empty())
            || (found.len() >= MAX_PROGRAMS && !found.contains_key(&path))
        {
            continue;
        }
        let program = found.entry(path.clone()).or_default();
        program.path = path;
        if program.pids.len() < MAX_PIDS {
            program.pids.push(*pid);
        }
        for (kept, new) in [
            (&mut program.added, found_here.added),
            (&mut program.changed, found_here.changed),
            (&mut program.risky, found_here.risky),
        ] {
            let room = MAX_NAMES.saturating_sub(kept.len());
            kept.extend(new.into_iter().take(room));
        }
    }
    Some(found.into_values().collect())
}

/// What the container's first process has, if it runs a program of the image: beside what is declared that is
/// what the entry point exported before it started it. Nobody in the container can give it more.
fn exported_at_start(host: &Host, container: &Container, pids: &[i64]) -> Variables {
    let first = pids.iter().copied().find(|pid| host.own_pid_of(*pid) == Some(1));
    let of_first = first.and_then(|pid| {
        let path = look_at(host, container, pid)?.path;
        is_images(container, &path).then(|| environment_of(host, pid))?
    });
    of_first.map_or_else(Variables::default, |(environment, _)| Variables::of(&environment))
}

/// The environment that a process was started with, and whether that is all of it; `None` where the process
/// is gone, or has written over it.
pub fn environment_of(host: &Host, pid: i64) -> Option<(Vec<u8>, bool)> {
    let laid_out = Layout::parse(&read_bounded(&host.proc(pid, "stat"), 4096).ok()?)?;
    let maps = read_bounded(&host.proc(pid, "maps"), MAX_MAPS).ok()?;
    if !laid_out.is_on_stack(&maps) {
        return None;
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(host.proc(pid, "environ")).ok()?;
    file.take(MAX_ENVIRONMENT).read_to_end(&mut bytes).ok()?;
    // After the environment: an exec in between has laid out both anew.
    let arguments = read_bounded(&host.proc(pid, "cmdline"), 4 << 20).ok()?;
    let after = Layout::parse(&read_bounded(&host.proc(pid, "stat"), 4096).ok()?)?;
    let whole = (bytes.len() as u64) < MAX_ENVIRONMENT;
    (laid_out == after && laid_out.is_untouched(&arguments)).then_some((bytes, whole))
}

/// The arguments that a process was started with, each ended by a NUL; `None` where it is gone, or has them
/// elsewhere.
pub(super) fn arguments_of(host: &Host, pid: i64) -> Option<Vec<u8>> {
    let laid_out = Layout::parse(&read_bounded(&host.proc(pid, "stat"), 4096).ok()?)?;
    let maps = read_bounded(&host.proc(pid, "maps"), MAX_MAPS).ok()?;
    laid_out.is_on_stack(&maps).then(|| host.arguments(pid))?
}

/// Where a process has its arguments and its environment: fields 48 to 51 of `/proc/<pid>/stat`
/// (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    arguments: (u64, u64),
    environment: (u64, u64),
}

impl Layout {
    fn parse(stat: &[u8]) -> Option<Self> {
        let after_comm = stat.iter().rposition(|b| *b == b')')?;
        let text = std::str::from_utf8(stat.get(after_comm + 1..)?).ok()?;
        // The first word here is the third field.
        let mut words = text.split_ascii_whitespace().skip(45).map(|w| w.parse().ok());
        let mut word = || words.next().flatten();
        Some(Self { arguments: (word()?, word()?), environment: (word()?, word()?) })
    }

    /// Whether both are in the memory that the kernel made for the process's stack: of what is mapped there
    /// instead, a file of a server that does not answer perhaps, a read may never end.
    fn is_on_stack(&self, maps: &[u8]) -> bool {
        let stack = maps.split(|b| *b == b'\n').find(|line| line.ends_with(b" [stack]"));
        let range = stack.and_then(|line| std::str::from_utf8(line).ok()?.split_once(' ')?.0.split_once('-'));
        let number = |hex: &str| u64::from_str_radix(hex, 16).ok();
        range.and_then(|(from, to)| Some(number(from)?..=number(to)?)).is_some_and(|stack| {
            [self.arguments.0, self.arguments.1, self.environment.0, self.environment.1]
                .iter()
                .all(|address| stack.contains(address))
        })
    }

    /// Whether both are where an exec puts them, one after the other, and the arguments still end where they
    /// began to: the kernel gives a title that runs on into the environment at another length
    /// (`get_mm_cmdline` in `fs/proc/base.c`).
    fn is_untouched(&self, arguments: &[u8]) -> bool {
        let (start, end) = self.arguments;
        start != 0
            && end == self.environment.0
            && end.checked_sub(start) == Some(arguments.len() as u64)
            && arguments.last() == Some(&0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn layouts_are_read_and_titles_told() {
        let fields: Vec<String> = (4..=47).map(|n| n.to_string()).collect();
        let stat = format!("7 (a) b) S {} 1000 1010 1010 1100 0", fields.join(" "));
        let layout = Layout::parse(stat.as_bytes()).unwrap();
        assert_eq!(layout, Layout { arguments: (1000, 1010), environment: (1010, 1100) });
        assert!(layout.is_untouched(b"sleep\x00100\0"));
        assert!(!layout.is_untouched(b"title only\0longer than before"), "it runs on into the environment");
        assert!(!layout.is_untouched(b"no nul at "));
        assert!(
            !Layout { environment: (1011, 1100), ..layout }.is_untouched(b"sleep\x00100\0"),
            "moved elsewhere"
        );
        assert!(!Layout { arguments: (0, 0), environment: (0, 0) }.is_untouched(b""), "not shown to us");
        for cut in 0..stat.len() - 12 {
            assert_eq!(Layout::parse(&stat.as_bytes()[..cut]), None);
        }
    }

    #[test]
    fn memory_that_is_not_the_stacks_is_not_read() {
        let layout = Layout { arguments: (0x1000, 0x1010), environment: (0x1010, 0x1100) };
        for (maps, want) in [
            ("1000-2000 rw-p 00000000 00:00 0    [stack]\n", true),
            ("0-900 r-xp 00 00:00 1 /bin/x\n1000-1100 rw-p 00 00:00 0 [stack]", true),
            ("1000-2000 rw-p 00000000 00:2f 7    /mnt/file\n3000-4000 rw-p 00 00:00 0 [stack]\n", false),
            ("1000-10f0 rw-p 00000000 00:00 0    [stack]\n", false),
            ("1000-2000 rw-p 00000000 00:00 0\n", false),
            ("x [stack]\n", false),
            ("", false),
        ] {
            assert_eq!(layout.is_on_stack(maps.as_bytes()), want, "{maps}");
        }
    }

    #[test]
    fn a_childs_environment_is_found() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .env_clear()
            .env("DECLARED", "planted")
            .env("LD_PRELOAD", "")
            .spawn()
            .unwrap();
        let host = Host::new(Path::new("/"));
        // Until the exec the child is a copy of this process.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let environment = loop {
            match environment_of(&host, i64::from(child.id())) {
                Some((bytes, true)) if bytes.starts_with(b"DECLARED=") => break bytes,
                _ => assert!(std::time::Instant::now() < deadline),
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        child.kill().unwrap();
        child.wait().unwrap();
        let declared = Environment::default();
        let names: Vec<&[u8]> = declared.differences(&environment, false).map(|d| d.name).collect();
        assert_eq!(names, [&b"DECLARED"[..], b"LD_PRELOAD"]);
    }
}
