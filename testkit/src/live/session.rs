//! The real engine, live: a sysdig that takes events from a source plugin as from the kernel probe.
//!
//! Unlike a replay ([`Stream`](super::Stream)) this engine accepts the events that plugins send of their own,
//! reads `/proc` when it starts and hands each event on at once. The source plugin is `testkit-source`, which
//! is preloaded as well (see its module `platform`). What the engine is told, and the plugins' own events
//! that it printed, can be written as a capture, so that any number of filters can be tried on them
//! afterwards.

use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use serde_json::Value;

use super::event::Event;
use super::process::Process;
use super::running::{is_mark, Running, EVENT_TYPE};
use super::scap::{self, event_type, Params};
use super::stream::{boot_ns, Spec};

/// How long an engine may take to start, and for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// What is printed of every event beside the fields asked for: it takes these to write a plugin's event
/// again.
const OWN_FIELDS: [&str; 6] =
    [EVENT_TYPE, "evt.rawtime", "thread.tid", "evt.arg.plugin_id", "evt.arg.name", "evt.arg.data"];

/// One event that an engine printed.
#[derive(Debug, Clone)]
pub struct Line {
    /// The fields asked for and `evt.type`, `evt.rawtime` and `thread.tid`.
    pub fields: Value,
    /// When it was printed.
    pub at: Instant,
}

impl Line {
    /// A field's text; `None` where it is absent or none.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    /// What a plugin's event holds; `None` for other events.
    #[must_use]
    pub fn payload(&self) -> Option<Vec<u8>> {
        self.text("evt.arg.data").and_then(from_base64)
    }
}

/// An engine that takes events; ended when dropped.
#[derive(Debug)]
pub struct Session {
    engine: Running,
    socket: Option<UnixStream>,
    lines: Vec<Line>,
    /// What the capture begins with, and its events by time.
    head: Vec<u8>,
    events: Vec<(u64, Vec<u8>)>,
    last_ts: u64,
    _dir: tempfile::TempDir,
}

impl Session {
    /// Starts an engine and waits until it has read `/proc`. `source` is the library of `testkit-source`;
    /// `table` goes into the capture.
    ///
    /// # Errors
    /// The program cannot be started, or it stops at once: then the error holds what it wrote to standard
    /// error.
    pub fn start(spec: &Spec, source: &Path, table: &[Process]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("drift-live-").tempdir().context("making a directory")?;
        let address = dir.path().join("events");
        let listener = UnixListener::bind(&address).context("making the events' socket")?;
        listener.set_nonblocking(true).context("setting up the events' socket")?;
        let mut format = String::from("*");
        for field in OWN_FIELDS.iter().copied().chain(spec.fields.iter().map(String::as_str)) {
            if !format.split('%').any(|known| known.trim() == field) {
                format.push_str(&format!("%{field} "));
            }
        }
        let mut command = spec.command()?;
        command.env("LD_PRELOAD", source);
        command.env_remove("LD_LIBRARY_PATH").env_remove("SYSDIG_PLUGIN_DIR").env_remove("SYSDIG_CHISEL_DIR");
        command.arg("-H").arg(source);
        command.arg("-I").arg(format!("{}:{}", source.display(), address.display()));
        // -v: whole values. -b: data as base64. -d: filter after parsing, as Falco.
        command.args(["--unbuffered", "--json", "-v", "-b", "-d", "-p", format.trim_end()]);
        command.arg(spec.filter_and_mark()).stdin(Stdio::null());
        let engine = Running::start(&mut command)?;
        let mut head = scap::file_header(1, boot_ns());
        for process in table {
            head.extend(scap::process_list(process));
        }
        let mut session =
            Self { engine, socket: None, lines: Vec::new(), head, events: Vec::new(), last_ts: 1, _dir: dir };
        session.socket = Some(session.accept(&listener)?);
        session.answered()?;
        Ok(session)
    }

    /// Waits for the plugin to connect.
    fn accept(&mut self, listener: &UnixListener) -> Result<UnixStream> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            match listener.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(false).context("setting up the events' socket")?;
                    return Ok(socket);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("waiting for the engine to connect"),
            }
            if self.engine.status()?.is_some() {
                return Err(self.engine.ended(" before it connected"));
            }
            if Instant::now() > deadline {
                self.engine.kill();
                let words = self.engine.last_words();
                bail!("the engine has not connected for {ANSWER_TIMEOUT:?}: {words}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Tells the engine of an event; does not wait for it.
    ///
    /// # Errors
    /// The engine has ended.
    pub fn feed(&mut self, event: &Event) -> Result<()> {
        self.last_ts = event.ts;
        self.events.push((event.ts, event.block.clone()));
        self.send(event.raw())
    }

    /// Waits until the engine has taken in all it was told.
    ///
    /// # Errors
    /// The engine has ended, prints what is no JSON, or does not answer within a minute.
    pub fn answered(&mut self) -> Result<()> {
        let mark = Params::default().i64(0).u64(1).event(self.last_ts, 0, event_type::NANOSLEEP_X);
        self.send(scap::event_of(&mark))?;
        while self.take(ANSWER_TIMEOUT)?.context("the engine does not answer")? {}
        Ok(())
    }

    /// Waits until the engine has printed nothing for `quiet`, at most for `limit`.
    ///
    /// # Errors
    /// As [`Session::answered`].
    pub fn settle(&mut self, quiet: Duration, limit: Duration) -> Result<()> {
        self.answered()?;
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline && self.take(quiet)?.is_some() {}
        Ok(())
    }

    /// Waits until the engine has printed an event of this type.
    ///
    /// # Errors
    /// It has not within `limit`, or as [`Session::answered`].
    pub fn wait_for(&mut self, event_type: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !self.lines.iter().any(|line| line.text("evt.type") == Some(event_type)) {
            let left = deadline.saturating_duration_since(Instant::now());
            self.take(left)?.with_context(|| format!("no event {event_type} within {limit:?}"))?;
        }
        Ok(())
    }

    /// What was printed so far, in order.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Writes all events, those told and those of plugins that were printed, as a capture.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_capture(&self, path: &Path) -> Result<()> {
        let mut events: Vec<&(u64, Vec<u8>)> = self.events.iter().collect();
        events.sort_by_key(|(ts, _)| *ts);
        let mut bytes = self.head.clone();
        bytes.extend(events.iter().flat_map(|(_, block)| block));
        std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
    }

    /// Asks the engine to end, as a service manager does, and returns all that it wrote to standard error.
    ///
    /// # Errors
    /// It does not end within a minute.
    pub fn end(mut self) -> Result<String> {
        let pid = i32::try_from(self.engine.id()).context("the engine's process id")?;
        let signal = nix::sys::signal::Signal::SIGINT;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal)
            .context("asking the engine to end")?;
        // An engine that waits for an event sees the signal with the next one.
        let _ = self.answered();
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        while self.engine.status()?.is_none() {
            if Instant::now() > deadline {
                bail!("the engine does not end");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self.engine.last_words())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = match &mut self.socket {
            Some(socket) => socket.write_all(bytes),
            None => bail!("the engine is not connected"),
        };
        if let Err(error) = sent {
            return Err(self.engine.ended(&format!(" ({error})")));
        }
        Ok(())
    }

    /// Takes one line, within `wait`: `Some(false)` is the mark. `None` when none came.
    fn take(&mut self, wait: Duration) -> Result<Option<bool>> {
        let fields = match self.engine.printed.recv_timeout(wait) {
            Ok(line) => line?,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => return Err(self.engine.ended("")),
        };
        if is_mark(&fields) {
            return Ok(Some(false));
        }
        if let Some(event) = plugins_event(&fields)? {
            self.events.push(event);
        }
        self.lines.push(Line { fields, at: Instant::now() });
        Ok(Some(true))
    }
}

/// The event of a plugin that a printed line tells of, as a block of a capture with its time.
fn plugins_event(fields: &Value) -> Result<Option<(u64, Vec<u8>)>> {
    let get = |field: &str| fields.get(field);
    let (Some(name), Some(data)) = (get("evt.arg.name"), get("evt.arg.data").and_then(Value::as_str)) else {
        return Ok(None);
    };
    let ts = get("evt.rawtime").and_then(Value::as_u64).context("an event's time is no number")?;
    // Arguments are printed as texts.
    let plugin = get("evt.arg.plugin_id").and_then(Value::as_str).and_then(|id| id.parse::<u32>().ok());
    let plugin = plugin.context("a plugin's id is no number of 32 bits")?;
    let tid = get("thread.tid").and_then(Value::as_i64).unwrap_or(-1);
    let data = from_base64(data).with_context(|| format!("an event's data is no base64: {data}"))?;
    let name = name.as_str().unwrap_or_default().as_bytes();
    Ok(Some((ts, scap::async_event(ts, tid, plugin, name, &data))))
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes().filter(|&byte| byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, expected) in [
            ("", Some(&b""[..])),
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("+/8A", Some(b"\xfb\xff\0")),
            ("%", None),
        ] {
            assert_eq!(from_base64(text).as_deref(), expected, "{text}");
        }
    }
}
