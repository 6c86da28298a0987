//! What was opened: by drift's calls, as strace sees them; and of a directory that nobody may open, as
//! inotify does.

use rustix::fs::inotify;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A directory of the host that a container's links lead to. Whoever opens what is in it is found out.
pub struct Outside {
    dir: tempfile::TempDir,
    events: rustix::fd::OwnedFd,
}

impl Outside {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("drift-outside-").tempdir().unwrap();
        for name in ["secret", "x"] {
            std::fs::write(dir.path().join(name), "exit 0 # of the host\n").unwrap();
        }
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let events = inotify::init(flags).unwrap();
        let kinds = inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS;
        inotify::add_watch(&events, dir.path(), kinds).unwrap();
        Self { dir, events }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What was opened in it.
    pub fn opened(&self) -> Vec<String> {
        let mut buf = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.events, &mut buf);
        let mut found = Vec::new();
        while let Ok(event) = reader.next() {
            found.push(format!(
                "a file of the host was opened: {:?} {:?}",
                event.file_name(),
                event.events()
            ));
        }
        found
    }
}

/// strace on this process: the opens of the thread that started it.
pub struct Watch {
    strace: Child,
    log: tempfile::NamedTempFile,
    tid: String,
}

impl Watch {
    pub fn start() -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let tid = rustix::thread::gettid().as_raw_nonzero().to_string();
        // The test may be traced by its own child.
        // SAFETY: numbers only.
        unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0) };
        let mut strace = Command::new("strace")
            .args([
                "-f",
                "-y",
                "-s",
                "4096",
                "-e",
                "trace=open,openat,openat2",
                "-e",
                "signal=none",
                "-p",
                &tid,
                "-o",
            ])
            .arg(log.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("strace: {e}"));
        let mut said = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "strace says {line}");
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { strace, log, tid }
    }

    /// Ends strace, and gives the lines of this thread's opens that succeeded.
    pub fn stop(mut self) -> Vec<String> {
        let pid = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let _ = self.strace.wait();
        let text = std::fs::read(self.log.path()).unwrap();
        let text = String::from_utf8_lossy(&text);
        let mut begun = "";
        let mut calls = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix(&self.tid)) {
            // Another thread's call came between the beginning of this one and its end.
            if let Some(head) = line.strip_suffix(" <unfinished ...>") {
                begun = head;
            } else if let (Some((_, tail)), false) = (line.split_once(" resumed>"), begun.is_empty()) {
                calls.push(format!("{}{tail}", std::mem::take(&mut begun)));
            } else {
                calls.push(line.to_owned());
            }
        }
        calls.retain(|line| line.contains(" = ") && !line.contains(" = -1 "));
        calls
    }
}

/// The opens that drift has no business with.
///
/// Allowed are: files of `/proc/<pid>` (but not what lies behind `root`, `cwd`, `exe` or a descriptor, other
/// than as a handle), the machine's start time, what is resolved beneath a handle in the kernel's own hands,
/// directories of the container's layers, what one of our own descriptors is, and the plugin's and the test's
/// own shared files.
pub fn not_allowed(lines: &[String], dirs: &[PathBuf]) -> BTreeSet<String> {
    lines.iter().filter(|line| !is_allowed(line, dirs)).map(|line| format!("opened: {line}")).collect()
}

fn is_allowed(line: &str, dirs: &[PathBuf]) -> bool {
    let handle = line.contains("O_PATH");
    if line.contains("openat2(") {
        return line.contains("RESOLVE_IN_ROOT") || line.contains("RESOLVE_BENEATH");
    }
    // The first string is the path.
    let Some(path) = line.split('"').nth(1) else { return false };
    if path == "." {
        return true;
    }
    if !path.starts_with('/') {
        // A name in a directory that is open: beneath it as long as it is no link.
        return !line.contains("AT_FDCWD") && line.contains("O_NOFOLLOW") && !path.contains('/');
    }
    if let Some(rest) = path.strip_prefix("/proc/") {
        let parts: Vec<&str> = rest.split('/').collect();
        return match parts[..] {
            ["self", "fd" | "fdinfo", _] | ["self", "task" | "fd"] | ["stat"] => true,
            [_, "cgroup" | "mountinfo" | "stat" | "status" | "cmdline" | "maps"] => true,
            [_, "fd"] => true,
            [_, "exe" | "root" | "cwd"] | [_, "fd", _] => handle,
            _ => false,
        };
    }
    let path = Path::new(path);
    let state = ["/run/", "/var/run/", "/var/lib/"].iter().any(|dir| path.starts_with(dir));
    path == Path::new("/") && handle
        || path == Path::new("/proc")
        || dirs.iter().any(|dir| path.starts_with(dir))
        || (state && handle)
}
