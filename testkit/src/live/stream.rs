//! The real engine, fed live: a sysdig that reads a capture from a pipe, one event at a time.
//!
//! sysdig reads through zlib, which hands nothing on before its own buffer is full. So behind every event
//! that must be answered come a mark and padding. The mark is the end of a sleep: the filter lets it pass,
//! nothing else in the stream is one, and its printed line says that everything before it has been judged.
//! The padding is one event of a type that no engine knows; the reader skips it. zlib fills a plain file's
//! buffer 16 KiB at a time (twice `GZBUFSIZE`), so 16 KiB of padding behind the mark always suffice, whatever
//! came before.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{bail, Result};
use serde_json::Value;

use super::event::Event;
use super::process::Process;
use super::running::{is_mark, Running, EVENT_TYPE};
use super::scap::{self, event_type, Params};

/// How much padding pushes an event through the reader: its buffer of 16 KiB and its first read of 8 KiB.
const PADDING: usize = 24 * 1024;
/// How long an engine may take for one event.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

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

impl Spec {
    /// The same engine, with another filter and other fields.
    #[must_use]
    pub fn asking(&self, filter: &str, fields: &[&str]) -> Self {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        Self { filter: filter.to_owned(), fields, ..self.clone() }
    }
}

/// An engine that waits for events.
#[derive(Debug)]
pub struct Stream {
    engine: Running,
    /// To the thread that writes into the engine; `None` once all is said.
    feed: Option<Sender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
    /// Events that need no answer, kept until one does.
    pending: Vec<u8>,
    last_ts: u64,
}

impl Stream {
    /// Starts an engine that knows the processes `table` (see [`Container::table`](super::Container::table))
    /// and waits until it has taken them in.
    ///
    /// # Errors
    /// The program cannot be started, or it stops at once: then the error holds what it wrote to standard
    /// error (an unknown field or a wrong filter says so there).
    pub fn new(spec: &Spec, table: &[Process]) -> Result<Self> {
        let mut format = format!("*%{EVENT_TYPE}");
        for field in spec.fields.iter().filter(|field| *field != EVENT_TYPE) {
            format.push_str(" %");
            format.push_str(field);
        }
        let mut command = spec.command()?;
        command.args(["-r", "/dev/stdin", "--unbuffered", "--json", "-p", &format]);
        command.arg(spec.filter_and_mark()).stdin(Stdio::piped());
        let mut engine = Running::start(&mut command)?;
        let mut stdin = engine.stdin()?;
        let (feed, blocks) = mpsc::channel::<Vec<u8>>();
        let writer = std::thread::spawn(move || {
            for block in blocks {
                if stdin.write_all(&block).is_err() {
                    break; // the engine has ended: its missing answer says so
                }
            }
        });
        let mut stream = Self {
            engine,
            feed: Some(feed),
            writer: Some(writer),
            pending: scap::file_header(1, boot_ns()),
            last_ts: 1,
        };
        for process in table {
            stream.pending.extend(scap::process_list(process));
        }
        stream.answers()?;
        Ok(stream)
    }

    /// Feeds one event. Waits for the engine's answer to an exec; other events are passed on with the next
    /// exec. Returns the lines printed since the last answer, each an object of the fields asked for.
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
        self.end_writer();
        let status = self.engine.wait()?;
        if !status.success() {
            bail!("the engine ended with {status}: {}", self.engine.last_words());
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
            match self.engine.printed.recv_timeout(ANSWER_TIMEOUT) {
                Ok(line) => {
                    let line = line?;
                    if is_mark(&line) {
                        return Ok(found);
                    }
                    found.push(line);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.engine.kill();
                    let words = self.engine.last_words();
                    bail!("the engine has not answered for {ANSWER_TIMEOUT:?}: {words}");
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.engine.ended(" before it answered"));
                }
            }
        }
    }

    /// The writer ends, and closes the pipe.
    fn end_writer(&mut self) {
        self.feed = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // One that does not read any more would keep the writer.
        self.engine.kill();
        self.end_writer();
    }
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
