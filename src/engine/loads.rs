//! Code that running programs read, and memory that they have written to from outside: the calls worth a
//! look, handed to the workers.
//!
//! Invariant: an open that was looked at a moment ago costs a look-up in memory.

use super::context::Context;
use super::files::{is_pseudo, EventFile};
use super::packages::Packages;
use super::paths;
use super::processes::Processes;
use super::recent::RecentlySeen;
use crate::event::file::{self, FileCall, Named};
use crate::event::injection::{InjectionCall, Means};
use crate::event::raw::EventKey;
use crate::event::reading::{self, ReadCall, MARKS, RECENT};
use crate::facts::{CodeJob, CodeNotice, Injection};
use drift_core::command::languages::{is_code_name, Language};
use drift_core::container::live::Live;
use drift_core::container::mounts::Sight;
use drift_core::verdict::binary::BinaryKey;
use drift_core::verdict::origin::Origin;
use drift_formats::entry::ImagePath;
use drift_formats::path_key::value_key;
use std::sync::Arc;

/// Most files remembered as looked at, by container, program and file.
const MAX_SEEN: usize = 4096;
/// Most processes remembered as written to, by container, writer and target.
pub(super) const MAX_INJECTED: usize = 1024;

/// Most links that are followed from a name to the memory of a process.
const MAX_LINKS: usize = 8;

/// Code looked at recently, and injections reported.
#[derive(Debug)]
pub(super) struct Loads {
    seen: RecentlySeen,
    injected: RecentlySeen,
    /// The answer on the event that was asked about last.
    last: Option<(EventKey, Option<Means>)>,
}

impl Loads {
    pub(super) fn new(parts: usize) -> Self {
        let (seen, injected) = (RecentlySeen::new(MAX_SEEN, parts), RecentlySeen::new(MAX_INJECTED, parts));
        Self { seen, injected, last: None }
    }

    /// Forgets up to `most` entries of a container; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.seen.forget(container, most) + self.injected.forget(container, most)
    }

    /// See [`super::cache::ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> usize {
        self.seen.bytes_when_full() + self.injected.bytes_when_full()
    }

    /// Has a worker find out whether the file that the event's call opens is code that is not the image's.
    pub(super) fn watch(
        &mut self,
        cx: &Context<'_>,
        packages: &mut Packages,
        p: &mut Processes,
    ) -> Option<()> {
        let workers = cx.workers()?;
        let call = ReadCall::from_event(cx.event)?;
        let container = p.threads.container(cx).filter(|c| c.live.is_some())?;
        let binary = p.binary(cx)?;
        let state = p.threads.of_event(cx)?;
        let language = *state.language.get_or_insert_with(|| Language::of_program(&binary.path));
        // What follows has the same answer until the file or the program changes.
        RECENT.note(cx.event);
        if language.is_none() && !is_code_name(call.name()) {
            return None;
        }
        // The script that it was started on has been judged.
        let script = state.script.as_ref().and_then(Option::as_ref);
        if call.inode != 0 && script.is_some_and(|script| script.ino == call.inode) {
            return None;
        }
        if binary.judgement.origin == Origin::Runtime {
            return None;
        }
        let interval = interval(cx);
        let by_inode = p.writers.of(&container.id, call.inode).filter(|_| call.upper && call.inode != 0);
        // A file written to since is another one: its writer was noted later than it was looked at.
        let written_at = by_inode.map_or(0, |written| written.at);
        let what = (&*binary.path, call.inode, call.name(), written_at);
        if !self.seen.is_new(binary.key.container(), what, cx.event.ts, interval) {
            return None;
        }
        let mut written = by_inode.cloned();
        let place = paths::place(cx, &p.threads)?;
        let path = paths::named(cx, Some(&container), &place, call.file).path?;
        let path = paths::behind_proc(cx, &place, path)?;
        if !call.upper {
            if container.live.as_ref().is_some_and(|live| is_pseudo(live, path.as_bytes())) {
                return None;
            }
            written = p.writers.of(&container.id, by_path(&path)).cloned();
        }
        let command = p.threads.command(cx);
        let during = packages.during(cx, p);
        workers.code(CodeNotice::Read(Box::new(CodeJob {
            container,
            path,
            pid: place.pid,
            tid: cx.event.tid,
            fd: call.fd,
            inode: call.inode,
            upper: call.upper,
            process: p.threads.process(cx),
            language,
            command,
            binary_origin: binary.judgement.origin,
            during,
            written,
        })));
        Some(())
    }

    /// Has it reported that the event's call opens the memory of a process for writing.
    pub(super) fn watch_memory(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<()> {
        let workers = cx.workers()?;
        let call = FileCall::from_event(cx.event)?;
        let name = match call.file {
            Named::Path(name) | Named::At(_, name) => name,
            Named::Fd(_) => return None,
        };
        let is_named = name == b"mem" || name.ends_with(b"/mem");
        let device = file::written_device(cx.event)?;
        let container = p.threads.container(cx)?;
        let live = container.live.as_ref()?;
        // By another name: a link, or another mount of the file system.
        if device == live.root_dev || !(is_named || is_on_proc(live, device)) {
            return None;
        }
        let place = paths::place(cx, &p.threads)?;
        let named = paths::named(cx, Some(&container), &place, call.file).path;
        let open = || {
            let real = cx.host().fd_path_of(place.pid, file::opened_descriptor(cx.event)?)?;
            ImagePath::lexical(b"/", &real).ok().filter(is_memory)
        };
        // The process may be gone: then the names lead there.
        let memory = match named {
            Some(path) if is_memory(&path) => path,
            Some(path) if is_on_proc(live, device) => {
                open().or_else(|| follow(cx, &container.id, live, path))?
            }
            _ => open()?,
        };
        let what = (cx.event.tid, &memory);
        if !self.injected.is_new(BinaryKey::container_key(&container.id), what, cx.event.ts, interval(cx)) {
            return None;
        }
        let binary_origin = p.origin(cx);
        if binary_origin == Some(Origin::Runtime) {
            return None;
        }
        workers.code(CodeNotice::Injected(Box::new(Injection {
            path: memory,
            tid: cx.event.tid,
            process: p.threads.process(cx),
            command: p.threads.command(cx),
            binary_origin,
            container,
        })));
        Some(())
    }

    /// How the event's call writes to another process's memory or registers; once for each pair of processes
    /// in an interval.
    pub(super) fn injection(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<Means> {
        let key = cx.event.identity();
        if let Some((known, answer)) = &self.last {
            if *known == key {
                return *answer;
            }
        }
        let answer = self.new_injection(cx, p);
        self.last = Some((key, answer));
        answer
    }

    fn new_injection(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<Means> {
        let InjectionCall { means, target } = InjectionCall::from_event(cx.event)?;
        let container = p.threads.container(cx)?;
        let what = (cx.event.tid, means, target);
        let container = BinaryKey::container_key(&container.id);
        self.injected.is_new(container, what, cx.event.ts, interval(cx)).then_some(means)
    }
}

fn interval(cx: &Context<'_>) -> u64 {
    u64::try_from(cx.deps.config.file_interval.as_nanos()).unwrap_or(u64::MAX)
}

/// What stands for a file's inode number where it is not on the root file system.
pub(super) fn by_path(path: &ImagePath) -> u64 {
    value_key(path.as_bytes())
}

/// Notes that a file has a name of code by now which may lie on no overlay, so that opens of it are looked
/// at. Gives the name that it has on a mount of its own.
pub(super) fn note_name<'f>(cx: &Context<'_>, file: &'f EventFile) -> Option<&'f ImagePath> {
    let name = file.new_path.as_ref().or(file.path.as_ref())?;
    if !cx.deps.config.watch_code || file.is_removed() || !is_code_name(name.as_bytes()) {
        return None;
    }
    match reading::file(cx.event) {
        Some(id) if !reading::is_on_overlay(cx.event) => MARKS.add(id),
        Some(_) => {}
        None if file.on_other_mount() => {
            cx.workers()?.code(CodeNotice::Renamed(Arc::clone(&file.container), name.clone()));
        }
        None => {}
    }
    Some(name).filter(|_| file.on_other_mount())
}

/// Whether a path is `/proc/<pid>/mem`, or a thread's.
fn is_memory(path: &ImagePath) -> bool {
    path.is_within(b"/proc") && path.file_name() == Some(b"mem") && path.components().count() > 2
}

/// Where a path leads that is another name of a process's memory, by the links that it is made of.
fn follow(cx: &Context<'_>, container: &str, live: &Live, mut path: ImagePath) -> Option<ImagePath> {
    let root = live.root(cx.host(), &[])?;
    for _ in 0..MAX_LINKS {
        // Also below a link to a directory of processes, or below another mount of the file system.
        if path.file_name() == Some(b"mem") {
            return Some(path);
        }
        let Sight::File(link, _) = live.find(cx.host(), container, live.pid(), &root, &path, false).ok()?
        else {
            return None;
        };
        let target = link.link_target()?;
        path = ImagePath::lexical(path.parent()?.as_bytes(), &target).ok()?;
    }
    None
}

fn is_on_proc(live: &Live, device: (u32, u32)) -> bool {
    live.mounts().iter().any(|mount| mount.dev == device && mount.fstype == b"proc")
}
