//! The command `drift`: compares running containers with their images, for people who respond to an alert;
//! and checks rules, for those who write them.
//!
//! Invariants: nothing is written but where an option says; nothing that a container wrote reaches the
//! terminal unescaped; the exit status is 0 for no drift, 1 for drift, 2 for an error or a comparison with
//! gaps.

#![forbid(unsafe_code)]

mod alert;
mod archive;
mod arguments;
mod containers;
mod diff;
mod doctor;
mod explain;
mod falco_config;
mod fold;
mod harden;
mod html;
mod json;
mod lint;
mod ls;
mod manifest;
mod output;
mod pages;
mod report;
mod style;
mod triage;

use arguments::{Arguments, Command};
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Arguments::try_parse() {
        // Usage, on standard error.
        Err(e) if e.use_stderr() => e.exit(),
        // Help or the version, which may fail to be written as any output may.
        Err(e) => {
            status(e.print().and_then(|()| std::io::stdout().flush()).map(|()| false).map_err(Into::into))
        }
        Ok(arguments) => status(run(arguments)),
    }
}

/// Runs the command: whether there is drift.
fn run(Arguments { global, command }: Arguments) -> anyhow::Result<bool> {
    anstream::ColorChoice::write_global(match global.color {
        clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
        clap::ColorChoice::Always => anstream::ColorChoice::Always,
        clap::ColorChoice::Never => anstream::ColorChoice::Never,
    });
    match command {
        Command::Ls(options) => ls::run(&global, &options),
        Command::Diff(options) => diff::run(&global, &options),
        Command::Explain(options) => explain::run(&options).map(|()| false),
        Command::Triage(options) => triage::run(&options),
        Command::Doctor(options) => doctor::run(&global, &options),
        Command::Harden(options) => harden::run(&global, &options).map(|()| false),
        Command::Manifest(options) => manifest::run(&global, &options).map(|()| false),
        Command::Lint(options) => lint::run(&options),
        Command::Completions(options) => pages::completions(&options).map(|()| false),
        Command::Man(options) => pages::man(&options).map(|()| false),
    }
}

fn status(done: anyhow::Result<bool>) -> ExitCode {
    match done {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(1),
        // The reader, such as `head`, has seen enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            let text = output::printable(format!("{e:#}").as_bytes());
            // Nobody is left to report to when this fails.
            let _ = writeln!(anstream::stderr(), "{}: {text}", style::paint(style::BAD, "drift"));
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
