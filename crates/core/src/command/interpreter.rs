//! Which code an interpreter was started on, from its executable's name and its arguments.
//!
//! Invariant: every name in the answer comes from `argv` (or the tail of an argument, as in `--file=x`), with
//! at most a directory of `argv` before it and an ending of the interpreter's after it. An invocation that
//! names no code (`sh -c`,
//! `perl -e`, reading from standard input) has no sources. What each interpreter's options mean is in
//! `crate::command::grammar`.

use crate::command::grammar::{self, Dash, DoubleDash, Effect, Grammar, Modules, Positional};
use std::borrow::Cow;

/// Most sources of one command line: each costs a look at the file system on the event thread. The longest
/// command lines that people write by hand have a handful; class paths have more, and of those the first
/// count.
const MAX_SOURCES: usize = 32;

/// What kind of argument names a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The script that the interpreter was started on.
    Script,
    /// A file that an option has it run besides.
    Loaded,
    /// A module, or a file or directory of a search path: there may be nothing of that name.
    Sought,
}

/// A file or directory of code that an argument names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source<'a> {
    /// Its name, as the process spells it: not resolved against the working directory, nor searched for in
    /// `PATH` as
    /// `bash x.sh` or `perl -S x.pl` do.
    pub name: Cow<'a, [u8]>,
    /// What the interpreter puts after the name where no file has it.
    pub endings: &'static [&'static str],
    /// What names it.
    pub role: Role,
}

/// What a command line has an interpreter run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program<'a> {
    /// The code that it names, the script first.
    pub sources: Vec<Source<'a>>,
    /// Code is read from standard input.
    pub reads_stdin: bool,
    /// The command line says what is run: more of it would be arguments. False where what is run may yet
    /// follow, if the command line was cut.
    pub is_whole: bool,
    /// The directory that names begin at, where that is not the working directory.
    pub dir: Option<&'a [u8]>,
    /// The first source is a program with arguments of its own (ld.so): where they begin, its name included.
    pub nested: Option<usize>,
    /// What stands for that program's `argv[0]`.
    pub nested_argv0: Option<&'a [u8]>,
}

impl<'a> Program<'a> {
    /// The script that the interpreter was started on.
    pub fn script(&self) -> Option<&Source<'a>> {
        self.sources.first().filter(|source| source.role == Role::Script)
    }

    fn add(&mut self, name: impl Into<Cow<'a, [u8]>>, endings: &'static [&'static str], role: Role) {
        let name = name.into();
        if !name.is_empty() && self.sources.len() < MAX_SOURCES {
            self.sources.push(Source { name, endings, role });
        }
    }
}

/// The script an interpreter was started on, as its argument spells it.
///
/// `exe` is the executable's path (its base name decides, without version and build suffixes) and `argv` its
/// arguments as the kernel left them: for a shebang `[interpreter, optional argument, script, arguments…]`.
/// For busybox, `argv[0]` names the applet, or `argv[1]` where `argv[0]` is busybox itself.
///
/// `None` where the executable is no known interpreter, or where it was given no script. Java's `@argfiles`
/// are skipped, not followed.
pub fn script_argument<'a>(exe: &[u8], argv: &[&'a [u8]]) -> Option<&'a [u8]> {
    match &program(exe, argv, b"")?.script()?.name {
        Cow::Borrowed(name) => Some(*name),
        Cow::Owned(_) => None,
    }
}

/// What the command line of a process has an interpreter run; `None` where the executable is no known
/// interpreter.
/// `python_path` is the value of `PYTHONPATH`, where it is known.
pub fn program<'a>(exe: &[u8], argv: &[&'a [u8]], python_path: &'a [u8]) -> Option<Program<'a>> {
    let name = base_name(exe);
    let (grammar, skipped) = match grammar::is_busybox(name) {
        true => applet(argv)?,
        false => (grammar::by_name(name)?, 1),
    };
    Some(Scan::new(grammar, argv, skipped, python_path).run())
}

/// Whether an executable of this name, when execve(2) does not know a file's format, runs it as a script
/// without another exec.
pub fn runs_unknown_formats(exe: &[u8]) -> bool {
    grammar::by_name(base_name(exe)).is_some_and(|grammar| grammar.runs_unknown)
}

/// Most elements that the kernel puts before a script's name: an interpreter and an argument for each of the
/// five scripts that may be each other's interpreters (fs/exec.c, `exec_binprm`).
const MAX_SHEBANG: usize = 10;

/// Whether what was executed is a file that its interpreter was started on: a script with a shebang, or what
/// binfmt_misc has an interpreter for. Then the kernel has put the name that execve(2) was given behind the
/// interpreter's (fs/binfmt_script.c, fs/binfmt_misc.c). `is_cut`: the last element is not whole.
///
/// A process can start any program with such arguments; so the file counts only if it is not the executable
/// itself.
pub(crate) fn is_interpreted(filename: &[u8], argv: &[&[u8]], is_cut: bool) -> bool {
    let last = argv.len().saturating_sub(1);
    !filename.is_empty()
        && argv.iter().enumerate().skip(1).take(MAX_SHEBANG).any(|(at, element)| {
            *element == filename
                || (is_cut && at == last && !element.is_empty() && filename.starts_with(element))
        })
}

/// The path that an argument may be, or that is attached to an option or a key: `--x=/path`, `-f/path`,
/// `if=path`.
pub(crate) fn named_path(argument: &[u8]) -> Option<&[u8]> {
    let tail = |at: usize| argument.get(at..).filter(|path| !path.is_empty());
    let assigned = argument.iter().position(|b| *b == b'=').and_then(|at| tail(at + 1));
    let path = match argument {
        [b'-', b'-', ..] => assigned,
        [b'-', _, ..] => {
            assigned.or_else(|| tail(argument.iter().position(|b| *b == b'/').filter(|at| *at > 1)?))
        }
        _ => assigned.or(Some(argument)),
    };
    let is_url = |path: &[u8]| path.windows(3).any(|three| three == b"://");
    path.filter(|path| !matches!(*path, b"" | b"-" | b"." | b".." | b"/") && !is_url(path))
}

/// Whether `env` was started to start an interpreter that is known: its own exec, which follows, names the
/// script.
pub(crate) fn is_env_for_interpreter(exe: &[u8], argv: &[&[u8]]) -> bool {
    let name = base_name(exe);
    let is_env = name == b"env"
        || (grammar::is_busybox(name) && argv.first().is_some_and(|argv0| base_name(argv0) == b"env"));
    let words = argv.iter().skip(1).flat_map(|arg| arg.split(|b| matches!(b, b' ' | b'\t')));
    let command = words
        .map(|word| word.strip_prefix(b"-S").unwrap_or(word))
        .find(|w| !matches!(*w, b"" | b"-" | b"-i") && (w.starts_with(b"-") || !w.contains(&b'=')));
    // Of another option it is not known here whether it takes a value: then the command is none that is
    // known.
    let grammar = command.and_then(|command| grammar::by_name(base_name(command)));
    // A script with a shebang may have any ending.
    is_env && grammar.is_some_and(|grammar| !matches!(grammar.positional, Positional::WithEnding(_)))
}

/// Whether an executable of this path may take a script, so that its arguments are worth reading.
pub fn is_interpreter(exe: &[u8]) -> bool {
    let name = base_name(exe);
    grammar::is_busybox(name) || grammar::by_name(name).is_some()
}

/// Whether an executable goes by the name of a container runtime that starts processes through its own copy.
pub fn names_a_runtime(path: &[u8], argv: &[&[u8]]) -> bool {
    // runc before 1.2 runs from a memfd of this name (libcontainer/nsenter/cloned_binary.c); crun and later
    // runc from a sealed mount of the binary, or from the host's file.
    if crate::verdict::judge::is_memfd_path(path) {
        let name = path.strip_prefix(b"/").unwrap_or(path);
        return name.starts_with(b"memfd:runc_cloned:") || name.starts_with(b"memfd:crun");
    }
    let base = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let is_init = argv.get(1).is_some_and(|a| *a == b"init");
    matches!(base, b"runc" | b"crun" | b"youki") || (base == b"exe" && is_init)
}

/// Busybox takes its applet's name from `argv[0]`, and when that is busybox from the next argument. The
/// applet's grammar, and where its arguments begin.
fn applet(argv: &[&[u8]]) -> Option<(&'static Grammar, usize)> {
    for (at, argument) in argv.iter().enumerate() {
        let name = base_name(argument);
        // A login shell is started as `-sh`.
        let name = name.strip_prefix(b"-").unwrap_or(name);
        if !grammar::is_busybox(name) {
            return Some((grammar::applet(name)?, at + 1));
        }
    }
    None
}

/// The last component of a path.
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

/// What one element means for the rest of the scan.
enum Step {
    Go,
    End,
    /// The command line says no more of what is run.
    Done,
}

/// Goes through the arguments as the interpreter does.
struct Scan<'s, 'a> {
    grammar: &'static Grammar,
    argv: &'s [&'a [u8]],
    /// The next element.
    at: usize,
    python_path: &'a [u8],
    program: Program<'a>,
    /// Java's `-jar` and `--source` turn the first positional argument, else a class name, into a file.
    any_file: bool,
    /// Code was given in an argument: what is positional is data.
    has_code: bool,
    /// A search path was given.
    has_path: bool,
    /// A server of files was asked for, and the directory of its files.
    server: bool,
    root: Option<&'a [u8]>,
    modules: Vec<&'a [u8]>,
    module_dirs: Vec<&'a [u8]>,
}

impl<'s, 'a> Scan<'s, 'a> {
    fn new(grammar: &'static Grammar, argv: &'s [&'a [u8]], at: usize, python_path: &'a [u8]) -> Self {
        let program = Program { is_whole: true, ..Program::default() };
        let (any_file, has_code, has_path, server, root) = Default::default();
        let (modules, module_dirs) = Default::default();
        Self {
            grammar,
            argv,
            at,
            python_path,
            program,
            any_file,
            has_code,
            has_path,
            server,
            root,
            modules,
            module_dirs,
        }
    }

    fn next(&mut self) -> Option<&'a [u8]> {
        let element = self.argv.get(self.at).copied()?;
        self.at += 1;
        Some(element)
    }

    fn run(mut self) -> Program<'a> {
        if !self.scan() {
            // The arguments have ended, and none of them says what is run.
            // Of a class path that was cut the rest is missing, which names no main program; make's goals and
            // variables fill command lines of every size.
            let is_list = self.has_path || !self.grammar.defaults.is_empty();
            self.program.is_whole = self.has_code || is_list;
            self.program.reads_stdin |= self.grammar.reads_stdin && !self.has_code && !self.server;
        }
        if self.server {
            self.program.reads_stdin = false;
            self.program.add(self.root.unwrap_or(b"."), &[], Role::Sought);
        }
        self.add_modules();
        if self.program.sources.is_empty() && !self.has_code {
            self.grammar
                .defaults
                .iter()
                .for_each(|name| self.program.add(name.as_bytes(), &[], Role::Sought));
        }
        self.program
    }

    /// Whether the arguments say what is run.
    fn scan(&mut self) -> bool {
        let grammar = self.grammar;
        let mut options = true;
        loop {
            let Some(arg) = self.next() else { return false };
            if options {
                if arg == b"--" {
                    match grammar.double_dash {
                        DoubleDash::Ends => options = false,
                        DoubleDash::Stdin => {
                            self.program.reads_stdin = !self.has_code;
                            return true;
                        }
                    }
                    continue;
                }
                if arg == b"-" && grammar.dash == Dash::Ends {
                    options = false;
                    continue;
                }
                if arg.starts_with(b"@") && grammar.positional == Positional::JavaSource {
                    self.program.add(arg.get(1..).unwrap_or_default(), &[], Role::Sought);
                    continue;
                }
                if is_option(grammar, arg) {
                    match self.option(arg) {
                        Step::Go => {}
                        Step::End => options = false,
                        Step::Done => return true,
                    }
                    continue;
                }
            }
            let goes_on = matches!(grammar.positional, Positional::Ignored | Positional::Code);
            if self.has_code && !goes_on {
                return true;
            }
            if arg == b"-" && grammar.dash == Dash::Stdin {
                self.program.reads_stdin |= grammar.reads_stdin;
                if goes_on {
                    continue;
                }
                return true;
            }
            match grammar.positional {
                Positional::Script => self.script(arg),
                Positional::Program => {
                    self.program.nested = Some(self.at - 1);
                    self.script(arg);
                }
                Positional::NodeScript if options && (arg == b"inspect" || arg == b"debug") => {}
                Positional::NodeScript => self.script(arg),
                Positional::JavaSource if self.any_file || arg.ends_with(b".java") => self.script(arg),
                Positional::JavaSource => {}
                Positional::WithEnding(endings)
                    if endings.iter().any(|end| arg.ends_with(end.as_bytes())) =>
                {
                    self.script(arg);
                }
                Positional::Ignored | Positional::WithEnding(_) => continue,
                Positional::Code => {
                    self.has_code = true;
                    continue;
                }
            }
            return true;
        }
    }

    fn script(&mut self, name: &'a [u8]) {
        match name {
            b"" => {}
            b"-" => self.program.reads_stdin = true,
            _ => {
                // Before what options have named: it is the script that is reported where all are the
                // image's.
                let script = Source { name: name.into(), endings: self.grammar.endings, role: Role::Script };
                self.program.sources.truncate(MAX_SOURCES - 1);
                self.program.sources.insert(0, script);
            }
        }
    }

    fn load(&mut self, name: &'a [u8]) {
        let local = name.strip_prefix(b"file://").unwrap_or(name);
        match local {
            b"-" => self.program.reads_stdin = true,
            // Node takes a bare name for a package's, which is looked for in node_modules.
            _ if self.grammar.positional == Positional::NodeScript && !is_path(local) => {}
            _ => self.program.add(local, self.grammar.endings, Role::Loaded),
        }
    }

    fn option(&mut self, arg: &'a [u8]) -> Step {
        // A shebang's whole tail is one element ("--source 17"), so a space separates a value as `=` does;
        // Java takes a colon in `-javaagent:x`.
        let is_java = self.grammar.positional == Positional::JavaSource;
        let cut = arg.iter().position(|b| matches!(b, b'=' | b' ' | b'\t') || (is_java && *b == b':'));
        let name = cut.and_then(|at| arg.get(..at)).unwrap_or(arg);
        let value = cut.and_then(|at| arg.get(at + 1..));
        if let Some(effect) = self.grammar.long(name) {
            return self.apply(effect, value);
        }
        if arg.starts_with(b"--") || !self.grammar.clusters {
            return Step::Go;
        }
        self.cluster(arg.get(1..).unwrap_or_default())
    }

    /// What an option does that has this value attached, or else may take the next element.
    fn apply(&mut self, effect: Effect, attached: Option<&'a [u8]>) -> Step {
        match effect {
            Effect::Flag | Effect::Rest => return Step::Go,
            Effect::End => return Step::End,
            Effect::NoScript => return Step::Done,
            Effect::Stdin => {
                self.program.reads_stdin = true;
                return Step::Done;
            }
            Effect::AnyFile => {
                self.any_file = true;
                return Step::Go;
            }
            Effect::ModuleRest => {
                self.modules.extend(attached);
                return Step::Go;
            }
            // Vim's `-s` is a flag before other options.
            Effect::Load | Effect::LoadNext if attached.is_none() && self.is_option_next() => {
                return Step::Go
            }
            _ => {}
        }
        let Some(value) = attached.or_else(|| self.next()) else { return Step::Done };
        match effect {
            Effect::Script => {
                self.script(value);
                return Step::Done;
            }
            Effect::MainModule => {
                self.modules.push(value);
                return Step::Done;
            }
            Effect::Load | Effect::LoadNext => {
                self.load(value);
                self.has_code |= matches!(self.grammar.positional, Positional::Ignored | Positional::Code);
            }
            Effect::Code => self.has_code = true,
            Effect::ArgAnyFile => self.any_file = true,
            Effect::Module => self.modules.push(value),
            Effect::ModuleDir => self.module_dirs.push(value),
            Effect::SearchPath => {
                self.has_path = true;
                self.search_path(value);
            }
            Effect::Setting => self.setting(value),
            Effect::Root => self.root = Some(value),
            Effect::Server => self.server = true,
            Effect::Chdir => self.program.dir = Some(value),
            Effect::Argv0 => self.program.nested_argv0 = Some(value),
            _ => {}
        }
        Step::Go
    }

    fn is_option_next(&self) -> bool {
        self.argv.get(self.at).is_some_and(|next| next.len() > 1 && next.starts_with(b"-"))
    }

    /// Short options in one element, as in `-euo pipefail` or `-lane`.
    fn cluster(&mut self, letters: &'a [u8]) -> Step {
        let mut rest = letters;
        let mut step = Step::Go;
        while let Some((letter, after)) = rest.split_first() {
            rest = after;
            match self.grammar.short(*letter) {
                Effect::Flag if letter.is_ascii_alphanumeric() => {}
                // No option is spelled so: either a value (`-d:Trace`, `-W:no-x`), or a shebang's tail with a
                // space in it, which only Perl reads on from (`-w -T`).
                Effect::Flag => match self.grammar.spaces.then(|| after_space(*letter, rest)).flatten() {
                    Some(more) => rest = more,
                    None => return step,
                },
                Effect::End => step = Step::End,
                // Takes the next element wherever it stands.
                effect @ (Effect::Next | Effect::LoadNext) => {
                    self.apply(effect, None);
                }
                effect @ (Effect::NoScript | Effect::Stdin | Effect::AnyFile) => {
                    return self.apply(effect, None)
                }
                Effect::Rest => return step,
                effect => {
                    let spelled_with_sign = matches!(effect, Effect::Script | Effect::Load);
                    let value = match rest.strip_prefix(b"=") {
                        Some(value) if spelled_with_sign => value,
                        _ => rest,
                    };
                    return match self.apply(effect, (!value.is_empty()).then_some(value)) {
                        Step::Go => step,
                        other => other,
                    };
                }
            }
        }
        step
    }

    /// A class path; `dir/*` stands for the archives in `dir`. A Java agent's own options follow a `=`.
    fn search_path(&mut self, list: &'a [u8]) {
        for entry in list.split(|b| *b == b':').take(MAX_SOURCES) {
            let entry = entry.strip_suffix(b"/*").unwrap_or(entry);
            let entry = entry.split(|b| *b == b'=').next().unwrap_or(entry);
            self.program.add(entry, &[], Role::Sought);
        }
    }

    /// PHP's settings that name code.
    fn setting(&mut self, setting: &'a [u8]) {
        let Some(at) = setting.iter().position(|b| *b == b'=') else { return };
        let (name, value) = setting.split_at(at);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        let name = name.trim_ascii();
        let prepended = matches!(name, b"auto_prepend_file" | b"auto_append_file");
        // A bare name is an extension's, in the directory of extensions.
        let library =
            matches!(name, b"extension" | b"zend_extension" | b"opcache.preload") && value.contains(&b'/');
        if prepended || library {
            self.program.add(value, &[], Role::Loaded);
        }
    }

    /// Modules by their names, and the directories in which they are looked for.
    fn add_modules(&mut self) {
        let modules = std::mem::take(&mut self.modules);
        let dirs = std::mem::take(&mut self.module_dirs);
        for module in modules {
            match self.grammar.modules {
                Modules::None => {}
                Modules::Python => self.add_python_module(module),
                Modules::Perl => {
                    // `-MFoo=x,y`, `-M-Foo`, `-M'Foo qw(x)'`; `-Mlib=dir` is a directory.
                    let module = module.strip_prefix(b"-").unwrap_or(module);
                    if let Some(dir) = module.strip_prefix(b"lib=") {
                        self.program.add(dir, &[], Role::Sought);
                    }
                    let end = module.iter().position(|b| matches!(b, b'=' | b' ')).unwrap_or(module.len());
                    let path = replaced(module.get(..end).unwrap_or_default(), b"::");
                    dirs.iter().for_each(|dir| self.program.add(joined(dir, &path), &[".pm"], Role::Sought));
                }
                Modules::Ruby if is_path(module) => self.program.add(module, &[".rb", ".so"], Role::Loaded),
                Modules::Ruby => {
                    let found_in = dirs.iter().map(|dir| joined(dir, module));
                    found_in.for_each(|path| self.program.add(path, &[".rb", ".so"], Role::Sought));
                }
                Modules::Lua => {
                    // `-l name=module` since Lua 5.4.
                    let module = module.rsplit(|b| *b == b'=').next().unwrap_or(module);
                    self.program.add(replaced(module, b"."), &[".lua", "/init.lua"], Role::Sought);
                }
            }
        }
        dirs.into_iter().for_each(|dir| self.program.add(dir, &[], Role::Sought));
    }

    /// `-m a.b` runs `a/__init__.py` and `a/b.py`, or `a/b/__main__.py`, of the first directory that has `a`.
    /// (`-I` and `-P` leave the working directory out; a module there is no less drift.)
    fn add_python_module(&mut self, module: &[u8]) {
        let path = replaced(module, b".");
        let top = path.split(|b| *b == b'/').next().unwrap_or_default();
        let dirs = self.python_path.split(|b| *b == b':').filter(|dir| !dir.is_empty());
        for dir in std::iter::once(&b"."[..]).chain(dirs) {
            self.program.add(joined(dir, &path), &[".py", "/__main__.py", ".pyc", ".so"], Role::Sought);
            self.program.add(joined(dir, top), &["/__init__.py", ".py"], Role::Sought);
        }
    }
}

fn is_option(grammar: &Grammar, arg: &[u8]) -> bool {
    match arg {
        [b'-', _, ..] => true,
        [b'+', ..] => grammar.plus,
        _ => false,
    }
}

/// Whether a module's name is a path, not a name to look for.
fn is_path(name: &[u8]) -> bool {
    [&b"/"[..], b"./", b"../"].iter().any(|prefix| name.starts_with(prefix))
}

fn joined(dir: &[u8], path: &[u8]) -> Vec<u8> {
    match dir {
        b"." => path.to_vec(),
        _ => [dir, b"/", path].concat(),
    }
}

/// A module's name as a path: slashes for what separates its parts.
fn replaced(module: &[u8], separator: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(module.len());
    let mut rest = module;
    while let Some((first, after)) = rest.split_first() {
        rest = match rest.strip_prefix(separator) {
            Some(after) => {
                path.push(b'/');
                after
            }
            None => {
                path.push(*first);
                after
            }
        };
    }
    path
}

/// The option letters after white space and a dash, as in the one element `-w -T`.
fn after_space(letter: u8, rest: &[u8]) -> Option<&[u8]> {
    letter.is_ascii_whitespace().then(|| rest.trim_ascii_start().strip_prefix(b"-")).flatten()
}

#[cfg(test)]
#[path = "interpreter_tests.rs"]
mod tests;
