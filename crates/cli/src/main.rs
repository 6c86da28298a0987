//! The command `drift`: compares a running container with its image, for people who respond to an alert; and
//! looks rules over, for those who write them.
//!
//! Invariants: nothing is written but where `--tar` and `--output` say; nothing that a container wrote
//! reaches the terminal unescaped; the exit status is 0 for no drift, 1 for drift, 2 for an error or a
//! comparison with gaps.

#![forbid(unsafe_code)]

mod archive;
mod containers;
mod diff;
mod json;
mod lint;
mod manifest;
mod output;

use lexopt::prelude::{Long, Short, Value, ValueExt};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
Tells what in a running container is not what its image shipped.

usage: drift diff [--json] [--all] [--tar FILE] [--image FILE] [--host-root DIR] [--max-findings N] CONTAINER
       drift manifest [--output FILE] [--host-root DIR] IMAGE|CONTAINER
       drift lint [--cases DIR] [--prefix NAME] RULES...

CONTAINER is a container's id, the beginning of one, or the id of a process in it.
IMAGE is an OCI image layout directory or a docker-archive (.tar).

diff: files, packages, ports, environments and processes that are not the image's, or not declared. Read-only.
  --json             one JSON object instead of text
  --all              also files that were only touched, declared ports, and processes of the image
  --tar FILE         puts the changed files into a new tar archive; its first member, manifest.json, lists them
  --image FILE       compares with this image or mtree manifest, where the container's layers cannot be seen
  --max-findings N   ends after N files (200000)
manifest: writes the image's files as an mtree(5) manifest, for `manifests:` in Drift's configuration.
  --output FILE      writes a new file instead of standard output
lint: what is wrong with rules files, in the order in which Falco loads them, beside what Falco itself refuses; a line each.
  --cases DIR        every rule must have cases there in which it alerts and does not (rules/tests)
  --prefix NAME      names of rules, macros and lists must begin with it

  --host-root DIR    where the host's root file system is seen (HOST_ROOT, else /)

Exit status: 0 no drift, 1 drift, 2 an error, or no drift found and not everything compared.
Of lint: 0 nothing is wrong, 1 something is, 2 an error.
";

/// What was asked for.
#[derive(Debug)]
enum Command {
    Help,
    Version,
    Diff(diff::Options),
    Manifest(manifest::Options),
    Lint(lint::Options),
}

fn main() -> ExitCode {
    let done = match parse(lexopt::Parser::from_env()) {
        Ok(Command::Help) => say(USAGE).map(|()| false),
        Ok(Command::Version) => say(concat!("drift ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| false),
        Ok(Command::Diff(options)) => diff::run(&options),
        Ok(Command::Manifest(options)) => manifest::run(&options).map(|()| false),
        Ok(Command::Lint(options)) => lint::run(&options),
        Err(e) => Err(anyhow::anyhow!("{e} (see drift --help)")),
    };
    match done {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(1),
        Err(e) => {
            let text = output::printable(format!("{e:#}").as_bytes());
            // Nobody is left to tell when this fails.
            let _ = writeln!(std::io::stderr(), "drift: {text}");
            ExitCode::from(2)
        }
    }
}

fn say(text: &str) -> Result<(), anyhow::Error> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn parse(mut arguments: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let command = match arguments.next()? {
        None | Some(Long("help") | Short('h')) => return Ok(Command::Help),
        Some(Long("version") | Short('V')) => return Ok(Command::Version),
        Some(Value(name)) => name.string()?,
        Some(other) => return Err(other.unexpected()),
    };
    let mut subject: Option<std::ffi::OsString> = None;
    let mut diff = diff::Options::default();
    let mut output: Option<PathBuf> = None;
    let is_diff = match command.as_str() {
        "diff" => true,
        "manifest" => false,
        "lint" => return parse_lint(arguments),
        "help" => return Ok(Command::Help),
        other => return Err(format!("no command {other:?}").into()),
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("json") if is_diff => diff.json = true,
            Long("all") if is_diff => diff.all = true,
            Long("tar") if is_diff => diff.tar = Some(arguments.value()?.into()),
            Long("image") if is_diff => diff.image = Some(arguments.value()?.into()),
            Long("max-findings") if is_diff => diff.max_findings = arguments.value()?.parse()?,
            Long("output") | Short('o') if !is_diff => output = Some(arguments.value()?.into()),
            Long("host-root") => diff.host_root = Some(arguments.value()?.string()?),
            Value(value) if subject.is_none() => subject = Some(value),
            other => return Err(other.unexpected()),
        }
    }
    let subject = subject.ok_or(if is_diff { "which container?" } else { "which image or container?" })?;
    Ok(match is_diff {
        true => {
            diff.container = subject.string()?;
            Command::Diff(diff)
        }
        false => Command::Manifest(manifest::Options { subject, output, host_root: diff.host_root }),
    })
}

fn parse_lint(mut arguments: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = lint::Options::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("cases") => options.cases = Some(arguments.value()?.into()),
            Long("prefix") => options.prefix = Some(arguments.value()?.string()?),
            Value(file) => options.files.push(file.into()),
            other => return Err(other.unexpected()),
        }
    }
    if options.files.is_empty() {
        return Err("which rules files?".into());
    }
    Ok(Command::Lint(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<String, String> {
        parse(lexopt::Parser::from_args(arguments)).map(|c| format!("{c:?}")).map_err(|e| e.to_string())
    }

    #[test]
    fn arguments_are_taken_or_refused() {
        assert!(parsed(&["diff", "--json", "--tar", "x.tar", "abc"]).unwrap().contains("json: true"));
        assert!(parsed(&["manifest", "-o", "x", "abc"]).unwrap().contains("output: Some(\"x\")"));
        assert_eq!(parsed(&[]).unwrap(), "Help");
        assert!(parsed(&["lint", "--prefix", "drift", "a.yaml"]).unwrap().contains("[\"a.yaml\"]"));
        for (arguments, why) in [
            (&["lint"][..], "which rules files?"),
            (&["diff"][..], "which container?"),
            (&["manifest"], "which image"),
            (&["diff", "a", "b"], "unexpected argument"),
            (&["manifest", "--json", "a"], "invalid option"),
            (&["diff", "--max-findings", "x", "a"], "x"),
            (&["undo", "a"], "no command"),
        ] {
            let said = parsed(arguments).unwrap_err();
            assert!(said.contains(why), "{arguments:?}: {said}");
        }
    }
}
