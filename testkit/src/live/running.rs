//! An engine's process: its command line as a [`Spec`] has it, what it prints line by line, and its last
//! words.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

use anyhow::{anyhow, bail, Context, Error, Result};
use serde_json::Value;

use super::stream::Spec;

/// The field by which the mark is known.
pub(super) const EVENT_TYPE: &str = "evt.type";
/// The type of the event that is put behind those whose answers are waited for: it passes every engine's
/// filter, and nothing else that is told is one.
pub(super) const MARK: &str = "nanosleep";

impl Spec {
    /// The command line's beginning.
    pub(super) fn command(&self) -> Result<Command> {
        let (program, first) = self.program.split_first().context("the engine's command line is empty")?;
        let mut command = Command::new(program);
        command.args(first);
        if let Some(config) = &self.plugin_config {
            command.arg("--plugin-config-file").arg(config);
        }
        Ok(command)
    }

    /// The filter, which the mark passes as well.
    pub(super) fn filter_and_mark(&self) -> String {
        let filter = if self.filter.trim().is_empty() { "evt.num >= 0" } else { self.filter.trim() };
        format!("({filter}) or {EVENT_TYPE} = {MARK}")
    }
}

/// Whether a printed line is the mark's.
pub(super) fn is_mark(line: &Value) -> bool {
    line.get(EVENT_TYPE).and_then(Value::as_str) == Some(MARK)
}

/// An engine that runs; killed when dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// What it prints; closed at its end.
    pub(super) printed: Receiver<Result<Value>>,
    reader: Option<JoinHandle<()>>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    /// Starts it; its standard input is as the command says.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(|| {
                format!("starting the engine {}", command.get_program().to_string_lossy())
            })?;
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            bail!("the engine's pipes are missing");
        };
        let (say, printed) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n') {
                let parsed = line.context("reading from the engine").and_then(|line| parse_line(&line));
                if say.send(parsed).is_err() {
                    break;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Ok(Self { child, printed, reader: Some(reader), stderr: Some(stderr) })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn stdin(&mut self) -> Result<ChildStdin> {
        self.child.stdin.take().context("the engine's pipes are missing")
    }

    /// How it ended; `None` while it runs.
    pub(super) fn status(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("looking after the engine")
    }

    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits for its end, and until all is read that it printed.
    pub(super) fn wait(&mut self) -> Result<ExitStatus> {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.child.wait().context("waiting for the engine")
    }

    /// The error that says how and `when` it ended, for one that should not have.
    pub(super) fn ended(&mut self, when: &str) -> Error {
        match self.child.wait().context("waiting for the engine") {
            Ok(status) => anyhow!("the engine ended with {status}{when}: {}", self.last_words()),
            Err(error) => error,
        }
    }

    /// What it wrote to standard error, once it has ended.
    pub(super) fn last_words(&mut self) -> String {
        let text = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        text.trim().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let _ = self.wait();
        let _ = self.last_words();
    }
}

/// One printed line; bytes that are not UTF-8 are replaced as sysdig itself does for most fields.
fn parse_line(line: &[u8]) -> Result<Value> {
    let text = String::from_utf8_lossy(line);
    serde_json::from_str(&text).with_context(|| format!("the engine printed what is no JSON: {text}"))
}
