//! Pipes that interpreters read their programs from: which of them a download, or a decoded text, comes
//! through.
//!
//! The two ends are executed in any order: whichever comes second sees both. Bounded: the pipes that were
//! used the longest ago are forgotten first.

use super::bound;
use super::context::Context;
use super::scripts::Scripts;
use super::threads::Threads;
use drift_core::command::interpreter::base_name;
use drift_core::command::pipeline::{part, Part};
use lru::LruCache;
use std::sync::Arc;

/// Most pipes of a kind. Both ends of one are executed within milliseconds of each other.
const MAX_PIPES: usize = 4096;

/// Most filters that one text goes through.
const MAX_FILTERS: usize = 8;

/// What a process does at a pipe's end: the name of the program at the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Piping {
    /// Of an interpreter that reads its program from the pipe.
    pub(super) from: Option<Arc<str>>,
    /// Of what feeds the pipe, where the interpreter was executed first.
    pub(super) into: Option<Arc<str>>,
}

/// Pipes by inode number, which are unique on a machine.
#[derive(Debug)]
pub(super) struct Pipes {
    /// Programs whose text comes through.
    sources: LruCache<u64, Arc<str>>,
    /// Interpreters that read their program.
    readers: LruCache<u64, Arc<str>>,
    /// The pipe that a filter writes to, by the one that it reads.
    onward: LruCache<u64, u64>,
}

impl Pipes {
    pub(super) fn new() -> Self {
        let bound = bound(MAX_PIPES);
        let (sources, readers) = (LruCache::new(bound), LruCache::new(bound));
        Self { sources, readers, onward: LruCache::new(bound) }
    }

    /// What the event's process does at a pipe's end.
    pub(super) fn of_event(
        &mut self,
        cx: &Context<'_>,
        threads: &mut Threads,
        scripts: &mut Scripts,
    ) -> Option<Arc<Piping>> {
        if let Some(known) = &threads.of_event(cx)?.piping {
            return Some(Arc::clone(known));
        }
        threads.of_event(cx)?.container.as_ref()?;
        let exec = cx.exec()?;
        scripts.of_event(cx, threads);
        let mut piping = Piping::default();
        if let Some(pipe) = threads.of_event(cx)?.pipe {
            piping.from = self.sources.get(&pipe).cloned();
            self.readers.put(pipe, shown(base_name(exec.exe_path)));
        }
        let argv: Vec<&[u8]> = exec.argv().collect();
        if let Some((part, name)) = part(exec.exe_path, &argv) {
            let output = pipe_of(cx, exec.pid, 1);
            piping.into = match part {
                Part::Source => output.and_then(|output| self.feed(output, &shown(name))),
                Part::Filter => output.zip(pipe_of(cx, exec.pid, 0)).and_then(|(output, input)| {
                    self.onward.put(input, output);
                    let source = self.sources.get(&input).cloned()?;
                    self.feed(output, &source)
                }),
            };
        }
        let piping = Arc::new(piping);
        threads.of_event(cx)?.piping = Some(Arc::clone(&piping));
        Some(piping)
    }

    /// A text comes through this pipe, and those that filters hand it on to; the interpreter that reads it
    /// already.
    fn feed(&mut self, pipe: u64, source: &Arc<str>) -> Option<Arc<str>> {
        let (mut at, mut reader) = (pipe, None);
        for _ in 0..MAX_FILTERS {
            self.sources.put(at, Arc::clone(source));
            reader = reader.or_else(|| self.readers.get(&at).cloned());
            let Some(next) = self.onward.get(&at) else { break };
            at = *next;
        }
        reader
    }
}

/// The pipe that a process has open: as `/proc` has it while the process is there, else as Falco followed it.
fn pipe_of(cx: &Context<'_>, pid: i64, fd: i64) -> Option<u64> {
    match cx.host().fd_path_of(pid, fd) {
        Some(path) => {
            let number = path.strip_prefix(b"pipe:[")?.strip_suffix(b"]")?;
            std::str::from_utf8(number).ok()?.parse().ok()
        }
        None => cx.table.pipe(pid, fd),
    }
}

fn shown(name: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_followed_through_filters_whichever_end_comes_first() {
        let (curl, sh): (Arc<str>, Arc<str>) = ("curl".into(), "sh".into());
        let mut pipes = Pipes::new();
        assert_eq!(pipes.feed(1, &curl), None, "nobody reads yet");
        assert_eq!(pipes.sources.get(&1), Some(&curl));
        // sh, then base64, then curl.
        pipes.readers.put(11, Arc::clone(&sh));
        pipes.onward.put(10, 11);
        assert_eq!(pipes.feed(10, &curl), Some(sh));
        assert_eq!(pipes.sources.get(&11), Some(&curl));
        // A circle ends.
        pipes.onward.put(20, 21);
        pipes.onward.put(21, 20);
        assert_eq!(pipes.feed(20, &curl), None);
    }
}
