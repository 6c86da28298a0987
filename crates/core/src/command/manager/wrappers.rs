//! Which program a process runs: itself, an interpreter's script or module, or a multi-call binary's applet.

use super::{Action, Manager, PythonModule};
use crate::command::manager::parse::text;
use crate::command::manager::table::{by_name, runs, Program};

/// A package manager that was found.
#[derive(Debug)]
pub(super) enum Found<'t, 'a> {
    /// With the arguments that are its own.
    Program { program: &'static Program, args: &'t [&'a [u8]] },
    /// Known without its own command line.
    Known { manager: Manager, action: Action, names: Vec<Box<str>> },
}

/// Finds the package manager that a process is, if it is one.
pub(super) fn find<'t, 'a>(exe: &[u8], argv: &'t [&'a [u8]], script: Option<&[u8]>) -> Option<Found<'t, 'a>> {
    let base = base_name(exe);
    if matches!(base, b"busybox" | b"busybox.static" | b"busybox-static") && script.is_none() {
        return applet(argv);
    }
    let Some(kind) = interpreter(base) else {
        let program = by_name(base).filter(|p| p.runs & runs::NATIVE != 0)?;
        return Some(Found::Program { program, args: argv.get(1..).unwrap_or_default() });
    };
    if let Some(script) = script {
        let at = argv.iter().skip(1).position(|arg| arg.ends_with(script))? + 1;
        let program = script_program(script).filter(|p| p.runs & kind != 0)?;
        return Some(Found::Program { program, args: argv.get(at + 1..).unwrap_or_default() });
    }
    match kind {
        runs::PYTHON => {
            let (module, args) = module(argv.get(1..)?)?;
            Some(Found::Program { program: python_module(module)?, args })
        }
        runs::PERL => perl_cpan(argv.get(1..)?),
        _ => None,
    }
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

/// What kind of interpreter a base name is, as a bit of [`runs`]; the dynamic loader started by hand runs
/// programs.
fn interpreter(base: &[u8]) -> Option<u8> {
    let kinds: [(&[&[u8]], u8); 7] = [
        (&[b"python", b"pypy", b"platform-python"], runs::PYTHON),
        (&[b"perl"], runs::PERL),
        (&[b"ruby"], runs::RUBY),
        (&[b"node", b"nodejs"], runs::NODE),
        (&[b"php"], runs::PHP),
        (&[b"lua", b"luajit"], runs::LUA),
        (&[b"sh", b"bash", b"dash", b"ash", b"busybox"], runs::SHELL),
    ];
    let stem = base.strip_suffix(b"-static").unwrap_or(base);
    let stem = match stem.iter().position(u8::is_ascii_digit) {
        Some(at) => stem.get(..at).unwrap_or(stem),
        None => stem,
    };
    let stem = stem.strip_suffix(b"-").unwrap_or(stem);
    let loader = base.starts_with(b"ld-linux") || base.starts_with(b"ld-musl");
    if loader {
        return Some(runs::NATIVE);
    }
    kinds.iter().find(|(names, _)| names.contains(&stem)).map(|(_, kind)| *kind)
}

/// busybox's own name may come first, as in `busybox dpkg -i x.deb`.
fn applet<'t, 'a>(argv: &'t [&'a [u8]]) -> Option<Found<'t, 'a>> {
    let (first, rest) = argv.split_first()?;
    let (name, args) = match base_name(first).starts_with(b"busybox") {
        true => rest.split_first().map(|(name, args)| (base_name(name), args))?,
        false => (base_name(first), rest),
    };
    // dpkg and rpm are applets of busybox; apk has been built as one.
    let program = matches!(name, b"dpkg" | b"dpkg-deb" | b"rpm" | b"apk").then(|| by_name(name)).flatten()?;
    Some(Found::Program { program, args })
}

/// A script by its base name, or a package's main file by its folder's (`…/pip/__main__.py`).
fn script_program(script: &[u8]) -> Option<&'static Program> {
    let base = base_name(script);
    if matches!(base, b"__main__.py" | b"__pip-runner__.py") {
        let folder = script.strip_suffix(base)?.strip_suffix(b"/")?;
        return python_module(base_name(folder));
    }
    by_name(base)
}

fn python_module(module: &[u8]) -> Option<&'static Program> {
    let module = module.strip_suffix(b".__main__").unwrap_or(module);
    match module {
        b"pip" | b"pip._internal" | b"pip._internal.cli.main" => by_name(b"pip"),
        b"ensurepip" | b"poetry" | b"conda" | b"uv" => by_name(module),
        b"poetry.console.application" => by_name(b"poetry"),
        b"conda.cli" | b"conda.cli.main" => by_name(b"conda"),
        _ => None,
    }
}

/// The module of `python -m`; python(1): `-I` leaves out the working directory, `PYTHON*` and the user's
/// directory, `-E`, `-s` and `-P` one of them each.
pub(super) fn started_module<'a>(exe: &[u8], argv: &[&'a [u8]]) -> Option<PythonModule<'a>> {
    if interpreter(base_name(exe)) != Some(runs::PYTHON) {
        return None;
    }
    let args = argv.get(1..)?;
    let (module, after) = module(args)?;
    let name = module.split(|b| *b == b'.').next().filter(|name| !name.is_empty())?;
    let before = args.get(..args.len().checked_sub(after.len())?)?;
    let options = before.iter().take_while(|arg| !arg.starts_with(b"-m"));
    // Letters that come before `m` in its own cluster count as well: `-Im`.
    let letters =
        options.chain(before.iter().filter(|arg| arg.ends_with(b"m"))).filter(|arg| !arg.starts_with(b"--"));
    let letters: Vec<u8> =
        letters.filter(|arg| arg.starts_with(b"-")).flat_map(|arg| arg.iter().copied()).collect();
    let has = |letter: u8| letters.contains(&letter) || letters.contains(&b'I');
    Some(PythonModule { name, from_cwd: !has(b'P'), from_env: !has(b'E'), from_user: !has(b's') })
}

/// The module of `python -m`, and the arguments after it; python(1).
fn module<'t, 'a>(args: &'t [&'a [u8]]) -> Option<(&'a [u8], &'t [&'a [u8]])> {
    let mut at = 0;
    loop {
        let arg = *args.get(at)?;
        at += 1;
        match arg {
            b"--check-hash-based-pycs" => at += 1,
            [b'-', b'-', _, ..] => {}
            [b'-', letters @ ..] if !letters.is_empty() => {
                let stop = letters.iter().position(|b| matches!(b, b'm' | b'c' | b'W' | b'X' | b'Q'));
                let Some(stop) = stop else { continue };
                let attached = letters.get(stop + 1..).filter(|a| !a.is_empty());
                match letters.get(stop) {
                    Some(b'c') => return None,
                    Some(b'm') => {
                        let module = match attached {
                            Some(module) => module,
                            None => {
                                at += 1;
                                *args.get(at - 1)?
                            }
                        };
                        return Some((module, args.get(at..).unwrap_or_default()));
                    }
                    _ if attached.is_none() => at += 1,
                    _ => {}
                }
            }
            _ => return None,
        }
    }
}

/// `perl -MCPAN -e 'install Foo::Bar'`: CPAN(3perl), and with `-e shell` a prompt.
fn perl_cpan<'t, 'a>(args: &'t [&'a [u8]]) -> Option<Found<'t, 'a>> {
    args.iter().find(|a| **a == b"-MCPAN" || a.starts_with(b"-MCPAN="))?;
    let code = args.iter().skip_while(|a| !matches!(***a, [b'-', .., b'e' | b'E'])).nth(1);
    let code = code.copied().unwrap_or_default();
    let code = code.get(..4096).unwrap_or(code);
    let mut words = code
        .split(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b';')))
        .filter(|w| !w.is_empty());
    let installs = words.by_ref().any(|w| matches!(w, b"install" | b"notest" | b"force"));
    let names = words
        .filter(|w| !matches!(*w, b"install" | b"force" | b"notest" | b"qw" | b"CPAN::Shell"))
        .map(|w| w.strip_suffix(b";").unwrap_or(w))
        .take_while(|w| w.first().is_some_and(u8::is_ascii_alphabetic))
        .take(crate::command::manager::MAX_NAMES)
        .map(text)
        .collect();
    let action = if installs { Action::Install } else { Action::Other };
    Some(Found::Known { manager: Manager::Cpan, action, names })
}
