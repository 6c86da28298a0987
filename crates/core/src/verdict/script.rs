//! The code a process was started on: which file that is, and its judgement.

use crate::command::interpreter::{self, Role, Source};
use crate::container::live;
use crate::container::mounts::{Place, Sight};
use crate::container::registry::Container;
use crate::host::{path_of, strip_deleted, FoundFile};
use crate::host::{ExeFlags, InodeId};
use crate::image::view::Presence;
use crate::verdict::judge::{is_memfd_path, Judge, Judgement, Subject};
use crate::verdict::origin::Origin;
use drift_formats::entry::ImagePath;
use rustix::fs::FileType;
use rustix::io::Errno;

/// How the code that a process runs came to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The file was executed, and names its interpreter in a shebang; or binfmt_misc has one for it.
    Shebang,
    /// The file was executed and has no shebang: the shell that tried runs it.
    NoShebang,
    /// An argument.
    Argument,
    /// An option that loads code.
    Option,
    /// A module, or a search path.
    SearchPath,
    /// Standard input.
    Stdin,
}

impl Via {
    /// The name in `drift.script_source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shebang => "shebang",
            Self::NoShebang => "no_shebang",
            Self::Argument => "argument",
            Self::Option => "option",
            Self::SearchPath => "search_path",
            Self::Stdin => "stdin",
        }
    }
}

impl From<Role> for Via {
    fn from(role: Role) -> Self {
        match role {
            Role::Script => Self::Argument,
            Role::Loaded => Self::Option,
            Role::Sought => Self::SearchPath,
        }
    }
}

/// A script and its judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Path inside the container, absolute where the working directory was known.
    pub path: Vec<u8>,
    /// What it is.
    pub judgement: Judgement,
    /// Its inode number; 0 where it was not found.
    pub ino: u64,
    /// When it was last changed, nanoseconds since the epoch; 0 where it was not found.
    pub ctime: u64,
    /// How the process came to it.
    pub via: Via,
}

impl Script {
    /// A script whose file was not found.
    fn unseen(path: &[u8], judgement: Judgement) -> Self {
        Self { path: path.to_vec(), judgement, ino: 0, ctime: 0, via: Via::Argument }
    }

    /// Whether it is not, or may not be, what the image shipped.
    pub fn is_drift(&self) -> bool {
        self.judgement.origin.is_drift() || self.judgement.origin == Origin::ImageUnverified
    }
}

/// The process that runs the script.
#[derive(Debug)]
pub struct Runner<'a> {
    /// Process id.
    pub pid: i64,
    /// Working directory as the engine followed it; may be empty.
    pub cwd: &'a [u8],
}

/// How a process was started.
#[derive(Debug, Clone, Default)]
pub struct Start<'a> {
    /// Path of the executable.
    pub exe: &'a [u8],
    /// The arguments, `argv[0]` first.
    pub argv: Vec<&'a [u8]>,
    /// The name that execve(2) was given; empty where it is not known.
    pub filename: &'a [u8],
    /// The environment, each variable ended by a NUL; empty where it is not known.
    pub environment: &'a [u8],
    /// The arguments are not whole.
    pub is_cut: bool,
}

impl<'a> Start<'a> {
    fn variable(&self, name: &[u8]) -> &'a [u8] {
        let value = |line: &'a [u8]| line.strip_prefix(name)?.strip_prefix(b"=");
        self.environment.split(|b| *b == 0).find_map(value).unwrap_or_default()
    }
}

/// What a process was started on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Started {
    /// The code that it runs: of several files the first that is drift, else the script itself.
    pub script: Option<Script>,
    /// Further files of code that are drift. What excuses the first one, such as content of the image, does
    /// not excuse these.
    pub others: Vec<Script>,
    /// The pipe that it reads its program from: the inode number.
    pub pipe: Option<u64>,
    /// It reads its program from this descriptor, standard input perhaps, and is gone: what that was is not
    /// known here.
    pub unseen: Option<u32>,
    /// The arguments were cut before they said what is run.
    pub is_cut: bool,
}

/// Why a file is not looked at.
enum Unseen {
    /// It is not there, or not any more.
    Gone,
    /// It lies there, where looking could block.
    On(Place),
    /// It lies on some mount, and which one only a server could tell.
    OnSome,
}

impl From<Errno> for Unseen {
    fn from(why: Errno) -> Self {
        match why {
            Errno::XDEV => Self::OnSome,
            _ => Self::Gone,
        }
    }
}

/// What a process itself calls its standard input.
const STDIN: &[u8] = b"/dev/stdin";

/// Most programs that start one another on one command line: `ld.so ld.so sh`.
const MAX_NESTED: usize = 4;

/// Most arguments of a program that are looked at for [`Judge::argument_of`]: each costs a look at the file
/// system. With more operands than that a program works on a list of data.
const MAX_ARGUMENTS: usize = 32;

/// Where the names of one command line are looked for.
struct Look<'l> {
    container: &'l Container,
    runner: Runner<'l>,
    /// The process is there still, and in the container.
    alive: bool,
    /// The working directory of the runner is one that its command line says it changes to.
    moved: bool,
}

impl Look<'_> {
    /// The process is gone, and its descriptors with it.
    fn is_too_late(&self) -> bool {
        !self.alive && self.container.live.is_some()
    }
}

impl Started {
    /// Takes a script in.
    fn take(&mut self, script: Script) {
        match &self.script {
            Some(first) if first.is_drift() => {
                if script.is_drift() && script.path != first.path {
                    self.others.push(script);
                }
            }
            Some(_) if !script.is_drift() => {}
            _ => self.script = Some(script),
        }
    }
}

impl Judge {
    /// What a process was started on, by all ways that a file can become its program.
    ///
    /// Bounded: as many names of a command line as [`interpreter::program`] gives, a few endings each. What
    /// cannot be looked at any more is judged by its path alone.
    pub fn script_of(&self, container: &Container, runner: Runner<'_>, start: &Start<'_>) -> Started {
        let mut started = Started::default();
        let alive = live::is_member(self.host(), runner.pid, &container.id);
        let look = Look { container, runner, alive, moved: false };
        self.follow(&look, start, &mut started, MAX_NESTED);
        started
    }

    /// Adds what one program of a command line was started on.
    fn follow(&self, look: &Look<'_>, start: &Start<'_>, started: &mut Started, depth: usize) {
        let Start { exe, argv, .. } = start;
        if interpreter::is_interpreted(start.filename, argv, start.is_cut)
            && !interpreter::is_env_for_interpreter(exe, argv)
        {
            let script = self.judge_named(look, start.filename);
            let is_executable = script.judgement.path.as_ref().is_some_and(|p| p.as_bytes() == *exe);
            if !is_executable {
                started.take(Script { via: Via::Shebang, ..script });
            }
        }
        let Some(program) = interpreter::program(exe, argv, start.variable(b"PYTHONPATH")) else { return };
        let begin = program.dir.map(|dir| self.begin_at(look, dir));
        let cwd = begin.as_deref().unwrap_or(look.runner.cwd);
        let runner = Runner { pid: look.runner.pid, cwd };
        let look = &Look { runner, moved: begin.is_some(), ..*look };
        let mut executable = None;
        for source in &program.sources {
            if let Some(fd) = own_descriptor(&source.name).filter(|_| look.is_too_late()) {
                started.unseen = started.unseen.or(Some(fd));
                continue;
            }
            let (script, pipe) = self.judge_source(look, source);
            started.pipe = started.pipe.or(pipe);
            let Some(script) = script else { continue };
            if executable.is_none() {
                executable = Some(script.path.clone());
            }
            started.take(Script { via: source.role.into(), ..script });
        }
        let arguments = program.nested.and_then(|at| argv.get(at..)).filter(|_| depth > 0);
        if let (Some(arguments), Some(executable)) = (arguments, executable) {
            let mut argv = arguments.to_vec();
            if let (Some(first), Some(given)) = (argv.first_mut(), program.nested_argv0) {
                *first = given;
            }
            let nested = Start { exe: &executable, argv, filename: b"", ..start.clone() };
            return self.follow(look, &nested, started, depth - 1);
        }
        // A script that is the last element may be cut itself.
        let at_end =
            program.script().is_some_and(|s| argv.last().is_some_and(|last| last.ends_with(&s.name)));
        started.is_cut = start.is_cut && (!program.is_whole || at_end);
        if program.reads_stdin && program.script().is_none() {
            self.read_stdin(look, started);
        }
    }

    /// A program text on standard input: a file, or a pipe.
    fn read_stdin(&self, look: &Look<'_>, started: &mut Started) {
        let found = look.alive.then(|| self.find_script(look, &ImagePath::root(), STDIN));
        let found = match found {
            Some(Ok(found)) => found,
            Some(Err(unseen @ (Unseen::On(_) | Unseen::OnSome))) => {
                let Ok(path) = ImagePath::lexical(b"/", STDIN) else { return };
                let script = self.judge_unseen(look, &path, unseen);
                started.take(Script { via: Via::Stdin, ..script });
                return;
            }
            Some(Err(Unseen::Gone)) | None => {
                started.unseen = started.unseen.or(Some(0));
                return;
            }
        };
        let pipe = pipe_of(&found);
        match found.kind {
            FileType::RegularFile | FileType::Fifo if pipe.is_none() && !is_here_document(&found) => {
                let Ok(path) = ImagePath::lexical(b"/", &found.path().unwrap_or_default()) else { return };
                let script = self.judge_live_script(look.container, look.runner.pid, &path, Some(found));
                started.take(Script { via: Via::Stdin, ..script });
            }
            _ => started.pipe = started.pipe.or(pipe),
        }
    }

    /// Judges what a process that is gone had on standard input, by the name that the engine knows.
    pub fn judge_stdin(&self, container: &Container, runner: &Runner<'_>, name: &[u8]) -> Option<Script> {
        let is_text = name.starts_with(b"/dev/") || is_here_documents_name(name);
        let is_file = name.starts_with(b"/") && !is_text;
        is_file.then(|| Script { via: Via::Stdin, ..self.judge_script(container, runner, name) })
    }

    /// The directory that names begin at after `-C dir`.
    fn begin_at(&self, look: &Look<'_>, dir: &[u8]) -> Vec<u8> {
        ImagePath::lexical(&self.cwd(look, dir), dir).map(|path| path.as_bytes().to_vec()).unwrap_or_default()
    }

    /// The directory that a name begins at; empty where it is not known.
    fn cwd(&self, look: &Look<'_>, name: &[u8]) -> Vec<u8> {
        match look.alive && !look.moved && name.first() != Some(&b'/') {
            true => self.directory_at_exec(look.container, &look.runner, name),
            false => look.runner.cwd.to_vec(),
        }
    }

    /// Judges what an argument names, and gives the pipe that it is. `None`: there is nothing of that name,
    /// nor need there be.
    fn judge_source(&self, look: &Look<'_>, source: &Source<'_>) -> (Option<Script>, Option<u64>) {
        let name: &[u8] = &source.name;
        if look.container.live.is_none() {
            // What is there cannot be looked at, and what is sought may well not be.
            return ((source.role != Role::Sought).then(|| self.judge_named(look, name)), None);
        }
        let cwd = self.cwd(look, name);
        let find = |name: &[u8]| {
            let path = ImagePath::lexical(&cwd, name).ok()?;
            let is_known = name.first() == Some(&b'/') || !cwd.is_empty();
            let found = is_known.then(|| self.find_script(look, &path, name))?;
            Some((path, found))
        };
        let seen = |(path, found): (ImagePath, Result<FoundFile, Unseen>)| Some((path, found.ok()?));

        let is_regular = |(_, found): &(ImagePath, FoundFile)| found.kind == FileType::RegularFile;
        let named = match find(name) {
            Some((path, Err(unseen @ (Unseen::On(_) | Unseen::OnSome)))) if source.role != Role::Sought => {
                return (Some(self.judge_unseen(look, &path, unseen)), None);
            }
            named => named.and_then(seen),
        };
        let pipe = named.as_ref().and_then(|(_, found)| pipe_of(found));
        let with_ending =
            |ending: &&str| find(&[name, ending.as_bytes()].concat()).and_then(seen).filter(is_regular);
        let chosen = match named {
            Some(named) if pipe.is_some() || is_regular(&named) => Some(named),
            named => source.endings.iter().find_map(with_ending).or(named),
        };
        let script = match chosen {
            Some((path, found)) if found.kind == FileType::Directory => {
                self.judge_directory(look, &path, &found)
            }
            Some((path, found)) => {
                Some(self.judge_live_script(look.container, look.runner.pid, &path, Some(found)))
            }
            None => (source.role != Role::Sought).then(|| self.judge_named(look, name)),
        };
        (script, pipe)
    }

    /// A directory of code is drift if the image has nothing at its path. On a volume, it is data as often as
    /// code.
    fn judge_directory(&self, look: &Look<'_>, path: &ImagePath, found: &FoundFile) -> Option<Script> {
        let real = found.path().unwrap_or_else(|| path.as_bytes().to_vec());
        let judgement = self.judge(look.container, &subject(&real, Some(found), look.runner.pid));
        let on_volume = matches!(judgement.origin, Origin::Volume | Origin::ImageVolume | Origin::Tmpfs);
        let image = look.container.image.as_ref().ok().filter(|_| !on_volume)?;
        let origin = match image.resolve(&ImagePath::lexical(b"/", &real).ok()?).1 {
            Presence::Absent => Origin::Added,
            Presence::Present { .. } => Origin::Image,
            Presence::Unknown(_) => return None,
        };
        let judgement = Judgement { origin, ..judgement };
        let InodeId { ino, ctime, .. } = found.inode;
        Some(Script { path: real, judgement, ino, ctime, via: Via::SearchPath })
    }

    /// The first argument, or file on standard input, of a program that names a file or directory which is
    /// not what the image shipped: for rule authors, of programs that interpret nothing.
    ///
    /// Bounded: `MAX_ARGUMENTS` names are looked at.
    pub fn argument_of(&self, container: &Container, runner: Runner<'_>, argv: &[&[u8]]) -> Option<Script> {
        container.live.as_ref()?;
        let alive = live::is_member(self.host(), runner.pid, &container.id);
        let look = Look { container, runner, alive, moved: false };
        let names = argv.iter().skip(1).filter_map(|argument| interpreter::named_path(argument));
        let of_arguments = names.take(MAX_ARGUMENTS).find_map(|name| {
            let source = Source { name: name.into(), endings: &[], role: Role::Sought };
            self.judge_source(&look, &source).0.filter(Script::is_drift).filter(is_kept_file)
        });
        of_arguments.or_else(|| {
            let mut started = Started::default();
            self.read_stdin(&look, &mut started);
            started.script.filter(Script::is_drift).filter(is_kept_file)
        })
    }

    /// Judges a file that execve(2) refused for its format, and that the shell which tried runs in its own
    /// process.
    pub fn unknown_format(&self, container: &Container, runner: &Runner<'_>, filename: &[u8]) -> Script {
        Script { via: Via::NoShebang, ..self.judge_script(container, runner, filename) }
    }

    /// Judges the script named by `argument`, an interpreter's argument as given.
    pub fn judge_script(&self, container: &Container, runner: &Runner<'_>, argument: &[u8]) -> Script {
        let alive = live::is_member(self.host(), runner.pid, &container.id);
        let runner = Runner { pid: runner.pid, cwd: runner.cwd };
        self.judge_named(&Look { container, runner, alive, moved: false }, argument)
    }

    fn judge_named(&self, look: &Look<'_>, argument: &[u8]) -> Script {
        let cwd = self.cwd(look, argument);
        if argument.first() != Some(&b'/') && cwd.is_empty() {
            return Script::unseen(argument, unknown("working directory not known"));
        }
        let Ok(path) = ImagePath::lexical(&cwd, argument) else {
            return Script::unseen(argument, unknown("path too long"));
        };
        if look.container.live.is_some() {
            return match self.find_script(look, &path, argument) {
                Ok(found) => self.judge_live_script(look.container, look.runner.pid, &path, Some(found)),
                Err(unseen) => self.judge_unseen(look, &path, unseen),
            };
        }
        Script::unseen(path.as_bytes(), judge_replayed(look.container, &path))
    }

    /// The working directory that a relative name began at. The engine knows it as it was at the exec, the
    /// kernel as it is now: a script that changes its directory at once could name another file by that. But
    /// of a process in a chroot the engine does not know the root, and after lost events it may be wrong:
    /// then the file is not where it says.
    fn directory_at_exec(&self, container: &Container, runner: &Runner<'_>, argument: &[u8]) -> Vec<u8> {
        let is_there = || {
            let live = container.live.as_ref()?;
            let (root, path) = (live.root(self.host(), &[])?, ImagePath::lexical(runner.cwd, argument).ok()?);
            live.find(self.host(), &container.id, live.pid(), &root, &path, true).ok()
        };
        let has_own_root = || self.host().root_path_of(runner.pid).is_none_or(|root| root != b"/");
        if runner.cwd.starts_with(b"/") && !has_own_root() && is_there().is_some() {
            return runner.cwd.to_vec();
        }
        self.host().cwd_of(runner.pid).unwrap_or_else(|| runner.cwd.to_vec())
    }

    /// Looks for the file as the process would open it: from its own root (a chroot, perhaps) when it lives.
    /// Nothing is asked of a file system whose server may not answer.
    fn find_script(&self, look: &Look<'_>, path: &ImagePath, argument: &[u8]) -> Result<FoundFile, Unseen> {
        let live = look.container.live.as_ref().ok_or(Unseen::Gone)?;
        let (host, container, pid) = (self.host(), &look.container.id, look.runner.pid);
        let seen = |sight| match sight {
            Sight::File(found, _) => Ok(found),
            Sight::Mount(place) => Err(Unseen::On(place)),
        };
        let at_root = |path: &ImagePath| {
            let root = live.root(host, &[]).ok_or(Unseen::Gone)?;
            seen(live.find(host, container, live.pid(), &root, path, true)?)
        };
        if look.alive {
            if let Some((fd, below)) = own_descriptor_and_rest(argument) {
                // What execveat(2) was given is spelled so (fs/exec.c, `alloc_bprm`).
                if !below.is_empty() {
                    let dir = host.fd_path_of(pid, fd.into()).ok_or(Unseen::Gone)?;
                    return at_root(&ImagePath::lexical(&dir, below).map_err(|_| Unseen::Gone)?);
                }
                let held = host.hold_open_file(pid, fd)?;
                let named = path_of(&held).ok_or(Unseen::Gone)?;
                // What is no file, or in memory, is the kernel's own: nobody has to answer for it.
                if !named.starts_with(b"/") || is_memfd_path(&named) {
                    return Ok(FoundFile::from_fd(held)?);
                }
                let named = ImagePath::lexical(b"/", strip_deleted(&named)).map_err(|_| Unseen::Gone)?;
                return seen(live.look_at(host, container, pid, held, &named).ok_or(Unseen::Gone)?);
            }
            // A working directory is a path from the namespace's root, also for a process in a chroot.
            if argument.first() == Some(&b'/') {
                if let Ok(root) = host.root_of(pid) {
                    let path = ImagePath::lexical(b"/", argument).map_err(|_| Unseen::Gone)?;
                    return seen(live.find(host, container, pid, &root, &path, true)?);
                }
            }
        }
        at_root(path)
    }

    /// A script that may not be looked at: at most where it lies is known.
    fn judge_unseen(&self, look: &Look<'_>, path: &ImagePath, unseen: Unseen) -> Script {
        let (container, pid) = (look.container, look.runner.pid);
        let judgement = match unseen {
            Unseen::Gone => return self.judge_live_script(container, pid, path, None),
            Unseen::On(place) => self.judge_at(container, &subject(path.as_bytes(), None, pid), Some(place)),
            Unseen::OnSome => Judgement { origin: Origin::Volume, path: Some(path.clone()), ..unknown("") },
        };
        Script::unseen(path.as_bytes(), judgement)
    }

    fn judge_live_script(
        &self,
        container: &Container,
        pid: i64,
        path: &ImagePath,
        found: Option<FoundFile>,
    ) -> Script {
        let Some(found) = found else {
            // Gone since. A path that the image never had is drift whatever was there.
            let absent = matches!(container.image.as_ref().map(|i| i.resolve(path).1), Ok(Presence::Absent));
            let judgement = match absent {
                true => self.judge(container, &subject(path.as_bytes(), None, pid)),
                false => unknown("script is gone"),
            };
            return Script::unseen(path.as_bytes(), judgement);
        };
        let real = found.path().unwrap_or_else(|| path.as_bytes().to_vec());
        if real.first() != Some(&b'/') {
            // A pipe or socket: input, not a file that could be the image's.
            return Script::unseen(path.as_bytes(), unknown("script is no file"));
        }
        let mut judgement = self.judge(container, &subject(&real, Some(&found), pid));
        // A FIFO with a name is read as a file is; it is never opened here.
        let is_read = matches!(found.kind, FileType::RegularFile | FileType::Fifo);
        if !is_read && judgement.origin != Origin::Memfd {
            judgement = unknown("script is no regular file");
        }
        let InodeId { ino, ctime, .. } = found.inode;
        Script { path: real, judgement, ino, ctime, via: Via::Argument }
    }
}

/// In a replay no layer can be told for a script: the kernel gives no flags for it. A path that the image has
/// may have been written to since. One that it lacks was added, unless it may lie on a mount.
fn judge_replayed(container: &Container, path: &ImagePath) -> Judgement {
    let Ok(image) = &container.image else { return unknown("image not known") };
    let (real, presence) = image.resolve(path);
    match presence {
        Presence::Absent if image.has_home_for(&real) == Some(true) => {
            Judgement { origin: Origin::Added, path: Some(real), ..unknown("") }
        }
        Presence::Absent => unknown("mounts not known"),
        Presence::Present { .. } => unknown("layer not known"),
        Presence::Unknown(_) => unknown("image layer not readable"),
    }
}

fn unknown(why: &'static str) -> Judgement {
    Judgement {
        origin: Origin::Unknown,
        path: None,
        layer: None,
        volume: None,
        sha256: None,
        why,
        comparable_later: false,
    }
}

/// Whether a file is kept anywhere: not what the kernel makes up when it is read.
fn is_kept_file(script: &Script) -> bool {
    ![&b"/proc/"[..], b"/sys/"].iter().any(|dir| script.path.starts_with(dir))
}

/// A script as what is judged: the kernel says nothing of it.
fn subject<'a>(path: &'a [u8], found: Option<&'a FoundFile>, pid: i64) -> Subject<'a> {
    let (flags, inode) = (ExeFlags::default(), InodeId::default());
    Subject { path, flags, flags_given: false, inode, found, pid }
}

/// The inode number of a pipe; `None` for anything else, a FIFO with a name included.
fn pipe_of(found: &FoundFile) -> Option<u64> {
    let is_pipe =
        found.kind == FileType::Fifo && found.path().is_some_and(|path| path.starts_with(b"pipe:["));
    is_pipe.then_some(found.inode.ino)
}

/// Whether a file is what a shell has made of a here-document: unlinked before it is read (bash up to 5.0,
/// and for texts larger than a pipe holds, `sh-thd.*` or `sh-thd-*` in its redir.c). Its text is code on a
/// command line, as after `-c`: whoever makes a file of that name to unlink it could do as much without.
fn is_here_document(found: &FoundFile) -> bool {
    found.links == 0 && found.path().is_some_and(|path| is_here_documents_name(&path))
}

fn is_here_documents_name(path: &[u8]) -> bool {
    path.rsplit(|b| *b == b'/').next().is_some_and(|name| name.starts_with(b"sh-thd"))
}

/// The descriptor that `/proc/self/fd/N`, `/dev/fd/N` or `/dev/stdin` mean to the process itself.
pub fn own_descriptor(argument: &[u8]) -> Option<u32> {
    own_descriptor_and_rest(argument).filter(|(_, below)| below.is_empty()).map(|(fd, _)| fd)
}

/// As [`own_descriptor`], with the path below it where it is a directory.
fn own_descriptor_and_rest(argument: &[u8]) -> Option<(u32, &[u8])> {
    if argument == STDIN {
        return Some((0, b""));
    }
    let rest = [&b"/proc/self/fd/"[..], b"/proc/thread-self/fd/", b"/dev/fd/"]
        .iter()
        .find_map(|prefix| argument.strip_prefix(*prefix))?;
    let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
    let (number, below) = rest.split_at_checked(end)?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((number, below.strip_prefix(b"/").unwrap_or(below)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_that_only_the_process_can_mean() {
        for (argument, want) in [
            ("/dev/stdin", Some(0)),
            ("/dev/fd/63", Some(63)),
            ("/proc/self/fd/3", Some(3)),
            ("/proc/1/fd/3", None),
            ("/dev/fd/x", None),
            ("/dev/fd/", None),
            ("/tmp/x", None),
        ] {
            assert_eq!(own_descriptor(argument.as_bytes()), want, "{argument}");
        }
    }
}
