//! Which script an interpreter was started on, from its executable's name and its arguments.
//!
//! Invariant: the answer is an element of `argv` (or the tail of one, for `--file=x`), never made up; an
//! invocation that names no script (`sh -c`, `python -m`, `perl -e`, reading from standard input) is `None`.
//! What each interpreter's options mean is in `crate::command::grammar`.

use crate::command::grammar::{self, Dash, DoubleDash, Effect, Grammar, Positional};

/// The script an interpreter was started on, as its argument spells it: not resolved against the working
/// directory, nor searched for in `PATH` as `bash x.sh` or `perl -S x.pl` do.
///
/// `exe` is the executable's path (its base name decides, without version and build suffixes) and `argv` its
/// arguments as the kernel left them: for a shebang `[interpreter, optional argument, script, arguments…]`. For
/// busybox, `argv[0]` names the applet, or `argv[1]` where `argv[0]` is busybox itself.
///
/// `None` where the executable is no known interpreter, or where it was given no script. Options that change the
/// directory first (`ruby -C dir`) and Java's `@argfiles` are skipped, not followed.
pub fn script_argument<'a>(exe: &[u8], argv: &[&'a [u8]]) -> Option<&'a [u8]> {
    let name = base_name(exe);
    if grammar::is_busybox(name) {
        return applet_script(argv);
    }
    let grammar = grammar::by_name(name)?;
    scan(grammar, argv.get(1..)?)
}

/// Whether an executable of this path may take a script, so that its arguments are worth reading.
pub fn is_interpreter(exe: &[u8]) -> bool {
    let name = base_name(exe);
    grammar::is_busybox(name) || grammar::by_name(name).is_some()
}

/// Whether an executable goes by the name of a container runtime that starts processes through its own copy.
pub fn names_a_runtime(path: &[u8], argv: &[&[u8]]) -> bool {
    // runc before 1.2 runs from a memfd of this name (libcontainer/nsenter/cloned_binary.c); crun and later runc
    // from a sealed mount of the binary, or from the host's file.
    if crate::verdict::judge::is_memfd_path(path) {
        let name = path.strip_prefix(b"/").unwrap_or(path);
        return name.starts_with(b"memfd:runc_cloned:") || name.starts_with(b"memfd:crun");
    }
    let base = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let is_init = argv.get(1).is_some_and(|a| *a == b"init");
    matches!(base, b"runc" | b"crun" | b"youki") || (base == b"exe" && is_init)
}

/// Busybox takes its applet's name from `argv[0]`, and when that is busybox from the next argument.
fn applet_script<'a>(argv: &[&'a [u8]]) -> Option<&'a [u8]> {
    let mut rest = argv;
    loop {
        let (first, after) = rest.split_first()?;
        let name = base_name(first);
        // A login shell is started as `-sh`.
        let name = name.strip_prefix(b"-").unwrap_or(name);
        if grammar::is_busybox(name) {
            rest = after;
            continue;
        }
        return scan(grammar::applet(name)?, after);
    }
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

/// Goes through the arguments after `argv[0]` as the interpreter does.
fn scan<'a>(grammar: &Grammar, args: &[&'a [u8]]) -> Option<&'a [u8]> {
    let mut args = args.iter().copied();
    let mut options = true;
    // Java's `-jar` and `--source` turn the first positional argument, else a class name, into a file.
    let mut any_file = false;
    loop {
        let arg = args.next()?;
        if options {
            if arg == b"--" {
                match grammar.double_dash {
                    DoubleDash::Ends => options = false,
                    DoubleDash::Stdin => return None,
                }
                continue;
            }
            if arg == b"-" && grammar.dash == Dash::Ends {
                options = false;
                continue;
            }
            if arg.starts_with(b"@") && grammar.positional == Positional::JavaSource {
                continue;
            }
            if is_option(grammar, arg) {
                match option(grammar, arg, &mut args) {
                    Step::Go => {}
                    Step::End => options = false,
                    Step::NoScript => return None,
                    Step::Script(script) => return usable(script),
                    Step::AnyFile => any_file = true,
                }
                continue;
            }
        }
        if arg == b"-" && grammar.dash == Dash::Stdin {
            return None;
        }
        return match grammar.positional {
            Positional::Script => usable(arg),
            Positional::NodeScript if options && (arg == b"inspect" || arg == b"debug") => None,
            Positional::NodeScript => usable(arg),
            Positional::JavaSource if any_file || arg.ends_with(b".java") => usable(arg),
            Positional::JavaSource => None,
            Positional::Ignored => continue,
        };
    }
}

fn usable(script: &[u8]) -> Option<&[u8]> {
    (!script.is_empty() && script != b"-").then_some(script)
}

fn is_option(grammar: &Grammar, arg: &[u8]) -> bool {
    match arg {
        [b'-', _, ..] => true,
        [b'+', ..] => grammar.plus,
        _ => false,
    }
}

/// What one option element means for the rest of the scan.
enum Step<'a> {
    Go,
    End,
    NoScript,
    Script(&'a [u8]),
    AnyFile,
}

fn option<'a>(grammar: &Grammar, arg: &'a [u8], args: &mut impl Iterator<Item = &'a [u8]>) -> Step<'a> {
    // A shebang's whole tail is one element ("--source 17"), so a space separates a value as `=` does.
    let cut = arg.iter().position(|b| matches!(b, b'=' | b' ' | b'\t'));
    let name = cut.and_then(|at| arg.get(..at)).unwrap_or(arg);
    let value = cut.and_then(|at| arg.get(at + 1..));
    if let Some(effect) = grammar.long(name) {
        return match effect {
            Effect::Flag | Effect::Rest => Step::Go,
            Effect::End => Step::End,
            Effect::NoScript => Step::NoScript,
            Effect::AnyFile => Step::AnyFile,
            Effect::Arg | Effect::Next => {
                if value.is_none() {
                    args.next();
                }
                Step::Go
            }
            Effect::ArgAnyFile => {
                if value.is_none() {
                    args.next();
                }
                Step::AnyFile
            }
            Effect::Script => match value.or_else(|| args.next()) {
                Some(script) => Step::Script(script),
                None => Step::NoScript,
            },
        };
    }
    if arg.starts_with(b"--") || !grammar.clusters {
        return Step::Go;
    }
    cluster(grammar, arg.get(1..).unwrap_or_default(), args)
}

/// Short options in one element, as in `-euo pipefail` or `-lane`.
fn cluster<'a>(grammar: &Grammar, letters: &'a [u8], args: &mut impl Iterator<Item = &'a [u8]>) -> Step<'a> {
    let mut rest = letters;
    let mut step = Step::Go;
    while let Some((letter, after)) = rest.split_first() {
        rest = after;
        match grammar.short(*letter) {
            Effect::Flag if letter.is_ascii_alphanumeric() => {}
            // No option is spelled so: either a value (`-d:Trace`, `-W:no-x`), or a shebang's tail with a space in
            // it, which only Perl reads on from (`-w -T`).
            Effect::Flag => match grammar.spaces.then(|| after_space(*letter, rest)).flatten() {
                Some(more) => rest = more,
                None => return step,
            },
            Effect::End => step = Step::End,
            Effect::NoScript => return Step::NoScript,
            Effect::Rest => return step,
            Effect::Next => {
                args.next();
            }
            Effect::Arg | Effect::ArgAnyFile => {
                if rest.is_empty() {
                    args.next();
                }
                return step;
            }
            Effect::AnyFile => return Step::AnyFile,
            Effect::Script => {
                let attached = rest.strip_prefix(b"=").unwrap_or(rest);
                let script = if rest.is_empty() { args.next() } else { Some(attached) };
                return script.map_or(Step::NoScript, Step::Script);
            }
        }
    }
    step
}

/// The option letters after white space and a dash, as in the one element `-w -T`.
fn after_space(letter: u8, rest: &[u8]) -> Option<&[u8]> {
    letter.is_ascii_whitespace().then(|| rest.trim_ascii_start().strip_prefix(b"-")).flatten()
}

#[cfg(test)]
#[path = "interpreter_tests.rs"]
mod tests;
