//! The real engine, fed live: a sysdig that reads a capture from a pipe, one event at a time.
//!
//! sysdig reads through zlib, which hands nothing on before its own buffer is full. So behind every event that must be
//! answered come a mark and padding. The mark is the end of a sleep: the filter lets it pass, nothing else in the stream
//! is one, and its printed line says that everything before it has been judged. The padding is one event of a type that
//! no engine knows; the reader skips it. zlib fills a plain file's buffer 16 KiB at a time (twice `GZBUFSIZE`), so 16 KiB
//! of padding behind the mark always suffice, whatever came before.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use serde_json::Value;

use super::event::Event;
use super::process::Process;
use super::scap::{self, event_type, Params};

/// How much padding pushes an event through the reader: its buffer of 16 KiB and its first read of 8 KiB.
const PADDING: usize = 24 * 1024;
/// How long an engine may take for one event.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The field by which the mark is known.
const EVENT_TYPE_FIELD: &str = "evt.type";
const MARK: &str = "nanosleep";

/// Which engine to start, and what it is to say.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// The engine's command line so far: the program and, if it needs any, arguments that come first.
    pub program: Vec<PathBuf>,
    /// A Falco configuration file whose `plugins` are loaded; `None` for no plugin.
    pub plugin_config: Option<PathBuf>,
    /// The condition that an event must meet to be printed.
    pub filter: String,
    /// The fields printed of such an event.
    pub fields: Vec<String>,
}

/// An engine that waits for events.
#[derive(Debug)]
pub struct Stream {
    child: Child,
    /// To the thread that writes into the engine; `None` once all is said.
    feed: Option<Sender<Vec<u8>>>,
    lines: Receiver<Result<Value>>,
    threads: Vec<JoinHandle<()>>,
    stderr: Option<JoinHandle<String>>,
    /// Events that need no answer, kept until one does.
    pending: Vec<u8>,
    last_ts: u64,
}

impl Stream {
    /// Starts an engine that knows the processes `table` (see [`Container::table`](super::Container::table)) and
    /// waits until it has taken them in.
    ///
    /// # Errors
    /// The program cannot be started, or it stops at once: then the error holds what it wrote to standard error
    /// (an unknown field or a wrong filter says so there).
    pub fn new(spec: &Spec, table: &[Process]) -> Result<Self> {
        let (program, first) = spec.program.split_first().context("the engine's command line is empty")?;
        let mut format = format!("*%{EVENT_TYPE_FIELD}");
        for field in spec.fields.iter().filter(|field| *field != EVENT_TYPE_FIELD) {
            format.push_str(" %");
            format.push_str(field);
        }
        let mut command = Command::new(program);
        command.args(first);
        if let Some(config) = &spec.plugin_config {
            command.arg("--plugin-config-file").arg(config);
        }
        command.args(["-r", "/dev/stdin", "--unbuffered", "--json", "-p", &format]);
        let filter = if spec.filter.trim().is_empty() { "evt.num >= 0" } else { spec.filter.trim() };
        command.arg(format!("({filter}) or {EVENT_TYPE_FIELD} = {MARK}"));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting the engine {}", program.display()))?;
        let (Some(mut stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            bail!("the engine's pipes are missing");
        };
        let (feed, blocks) = mpsc::channel::<Vec<u8>>();
        let (say, lines) = mpsc::channel();
        let writer = std::thread::spawn(move || {
            for block in blocks {
                if stdin.write_all(&block).is_err() {
                    break; // the engine has ended: its missing answer says so
                }
            }
        });
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
        let mut stream = Self {
            child,
            feed: Some(feed),
            lines,
            threads: vec![writer, reader],
            stderr: Some(stderr),
            pending: scap::file_header(1, boot_ns()),
            last_ts: 1,
        };
        for process in table {
            stream.pending.extend(scap::process_list(process));
        }
        stream.answers()?;
        Ok(stream)
    }

    /// Feeds one event. Waits for the engine's answer to an exec; other events are passed on with the next exec.
    /// Returns the lines printed since the last answer, each an object of the fields asked for.
    ///
    /// # Errors
    /// The engine has ended, prints what is no JSON, or does not answer within a minute.
    pub fn feed(&mut self, event: &Event) -> Result<Vec<Value>> {
        self.push(event);
        if event.exec().is_some() {
            self.answers()
        } else {
            Ok(Vec::new())
        }
    }

    /// Feeds one event to several engines, which judge it at the same time; lines come in the engines' order.
    ///
    /// # Errors
    /// As [`Stream::feed`], of the first engine that fails.
    pub fn feed_all(streams: &mut [Self], event: &Event) -> Result<Vec<Vec<Value>>> {
        for stream in streams.iter_mut() {
            stream.push(event);
            if event.exec().is_some() {
                stream.flush();
            }
        }
        if event.exec().is_none() {
            return Ok(vec![Vec::new(); streams.len()]);
        }
        streams.iter_mut().map(Self::collect).collect()
    }

    /// Says that no more events come, waits for the engine's end and returns what it still printed.
    ///
    /// # Errors
    /// As [`Stream::feed`]; also an engine that ends with an error.
    pub fn finish(mut self) -> Result<Vec<Value>> {
        let lines = self.answers()?;
        self.feed = None; // the writer ends and closes the pipe
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let status = self.child.wait().context("waiting for the engine")?;
        if !status.success() {
            bail!("the engine ended with {status}: {}", self.last_words());
        }
        Ok(lines)
    }

    fn push(&mut self, event: &Event) {
        self.last_ts = event.ts;
        self.pending.extend(&event.block);
    }

    fn answers(&mut self) -> Result<Vec<Value>> {
        self.flush();
        self.collect()
    }

    /// Sends what is pending, the mark and the padding.
    fn flush(&mut self) {
        let mut bytes = std::mem::take(&mut self.pending);
        bytes.extend(Params::default().i64(0).u64(1).event(self.last_ts, 0, event_type::NANOSLEEP_X));
        bytes.extend(scap::padding(PADDING));
        if let Some(feed) = &self.feed {
            let _ = feed.send(bytes); // a writer that has ended shows as a missing answer
        }
    }

    /// Takes lines up to the mark.
    fn collect(&mut self) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        loop {
            match self.lines.recv_timeout(ANSWER_TIMEOUT) {
                Ok(line) => {
                    let line = line?;
                    if line.get(EVENT_TYPE_FIELD).and_then(Value::as_str) == Some(MARK) {
                        return Ok(found);
                    }
                    found.push(line);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    bail!("the engine has not answered for {ANSWER_TIMEOUT:?}: {}", self.last_words());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().context("waiting for the engine")?;
                    bail!("the engine ended with {status} before it answered: {}", self.last_words());
                }
            }
        }
    }

    fn last_words(&mut self) -> String {
        let text = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        text.trim().to_owned()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.feed = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let _ = self.last_words();
    }
}

/// One printed line; bytes that are not UTF-8 are replaced as sysdig itself does for most fields.
pub(super) fn parse_line(line: &[u8]) -> Result<Value> {
    let text = String::from_utf8_lossy(line);
    serde_json::from_str(&text).with_context(|| format!("the engine printed what is no JSON: {text}"))
}

/// When this machine booted, nanoseconds since the epoch.
pub(super) fn boot_ns() -> u64 {
    std::fs::read_to_string("/proc/stat")
        .ok()
        .and_then(|stat| {
            stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok())
        })
        .unwrap_or(0)
        .saturating_mul(1_000_000_000)
}
