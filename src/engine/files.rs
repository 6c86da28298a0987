//! Files that events are about: which path, on what mount, and who did it.
//!
//! Invariant: naming a file costs memory look-ups only, unless its directory is known to the kernel alone;
//! what the file has become is found out in the background ([`crate::workers::files`]).

use super::aliases::Aliases;
use super::context::Context;
use super::packages::Packages;
use super::processes::Processes;
use super::provenance::Writers;
use super::recent::RecentlySeen;
use super::{agents, loads, paths, secrets, work};
use crate::event::file::{self, Act, FileCall, Named};
use crate::event::raw::EventKey;
use crate::facts::{Evidence, FileJob, FileNotice, Provenance, Said, Unnamed, Writer, Written};
use drift_core::container::live::Live;
use drift_core::container::mounts::Sight;
use drift_core::container::registry::Container;
use drift_core::container::volume::VolumeKind;
use drift_core::host::FoundFile;
use drift_core::host::{ExeFlags, InodeId};
use drift_core::image::view::Presence;
use drift_core::policy::sensitive::{is_of_programs, is_sensitive};
use drift_core::verdict::change::file_kind;
use drift_core::verdict::judge::{Judgement, Subject};
use drift_core::verdict::origin::Origin;
use drift_core::verdict::work::ImageWork;
use drift_formats::entry::ImagePath;
use drift_formats::mountinfo::Mount;
use rustix::fs::FileType;
use std::ffi::OsStr;
use std::num::NonZeroI32;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};

/// The file of an event.
#[derive(Debug)]
pub struct EventFile {
    /// The container.
    pub container: Arc<Container>,
    /// Path in the container's mount namespace; links in it are not resolved. `None`: it cannot be known,
    /// because the directory that the call began at is not.
    pub path: Option<ImagePath>,
    /// New name of a renamed file.
    pub new_path: Option<ImagePath>,
    /// Another path of the same file, that it has or may have.
    other_path: Option<ImagePath>,
    /// Of a link that was made, the name that the file had.
    linked: Option<ImagePath>,
    /// Value of `drift.file_change`: what the call says; `None` for a file that has no name yet.
    pub change: Option<&'static str>,
    /// The mount it lies on, where that is known and is not the container's root.
    pub(super) mount: Option<Box<Mount>>,
    /// [`FileCall::inode`].
    pub(super) inode: Option<u64>,
    pid: i64,
    follows: bool,
    act: Act,
    /// The call was for a directory.
    directory: bool,
    /// Set-id bits that the call gave it.
    set_ids: u16,
    /// Whether the path may be another one's: then the container is looked through as well.
    doubtful: bool,
    judgement: OnceLock<Arc<Judgement>>,
    kind: OnceLock<&'static str>,
    /// Number of the inode that is there now; 0: none is found.
    found_inode: OnceLock<u64>,
    /// Whether the background was told of it.
    compared: OnceLock<()>,
}

/// File systems of the kernel's own, whose files are no files.
const PSEUDO: [&[u8]; 12] = [
    b"proc",
    b"sysfs",
    b"devpts",
    b"devtmpfs",
    b"mqueue",
    b"cgroup",
    b"cgroup2",
    b"debugfs",
    b"tracefs",
    b"securityfs",
    b"bpf",
    b"binfmt_misc",
];

impl EventFile {
    /// Whether the call changes owner, mode or the like, and no content.
    pub(super) fn only_metadata(&self) -> bool {
        self.act == Act::Metadata
    }

    /// Whether the call removes it.
    pub(super) fn is_removed(&self) -> bool {
        self.act == Act::Deleted
    }

    /// Whether it lies on a mount of its own, not on the container's root.
    pub(super) fn on_other_mount(&self) -> bool {
        self.mount.is_some()
    }

    fn said(&self) -> Said {
        Said {
            created: matches!(self.act, Act::Created | Act::OpenedOrCreated),
            deleted: self.act == Act::Deleted,
            moved: matches!(self.act, Act::Renamed | Act::Exchanged),
            directory: self.directory,
            set_ids: self.set_ids,
            evidence: match self.act {
                Act::Metadata => Evidence::Metadata,
                Act::Opened | Act::Temporary => Evidence::Opened,
                _ => Evidence::Changed,
            },
        }
    }
}

/// The files of events.
#[derive(Debug)]
pub(super) struct Files {
    /// The file of the event that was asked about last.
    last: Option<(EventKey, Option<Arc<EventFile>>)>,
    /// Changes of mounted secrets reported recently.
    tampered: RecentlySeen,
    aliases: Aliases,
}

impl Files {
    pub(super) fn new(parts: usize) -> Self {
        let tampered = RecentlySeen::new(secrets::MAX_REPORTED, parts);
        Self { last: None, tampered, aliases: Aliases::new() }
    }

    /// Forgets up to `most` entries of a container; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.tampered.forget(container, most) + self.aliases.forget(container)
    }

    /// See [`super::cache::ContainerCache::bytes_when_full`].
    #[cfg(test)]
    pub(super) fn bytes_when_full(&self) -> (usize, usize) {
        (self.tampered.bytes_when_full(), self.aliases.bytes_when_full())
    }

    /// The file that the event's call changed, or may have; `None` for other events, for files of the host,
    /// and for the kernel's own file systems.
    pub(super) fn of_event(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<Arc<EventFile>> {
        let key = cx.event.identity();
        if let Some((known, file)) = &self.last {
            if *known == key {
                return file.clone();
            }
        }
        let call = FileCall::from_event(cx.event);
        let file = call.and_then(|call| find(cx, &call, &self.aliases, p)).map(Arc::new);
        if file.as_ref().is_some_and(|file| file.path.is_none()) {
            cx.deps.metrics.files_unknown.inc();
        }
        self.last = Some((key, file.clone()));
        file
    }

    /// What the event's call says of its file. The first question starts the comparison with the image, and
    /// remembers who writes.
    pub(super) fn change(
        &mut self,
        cx: &Context<'_>,
        packages: &mut Packages,
        p: &mut Processes,
    ) -> Option<&'static str> {
        if file::changes_unnamed(cx.event) {
            sweep(cx, packages, p);
            return None;
        }
        let file = self.of_event(cx, p)?;
        if file.compared.set(()).is_ok() {
            let writer = writer(cx, file.pid, packages, p);
            log::debug!("file {:?}: {:?} by {writer:?}", (&*file.container.id, &file.path), file.change);
            let named = loads::note_name(cx, &file).map(loads::by_path);
            if let Some(key) = if file.mount.is_none() { file.inode } else { named } {
                note_written(cx, &file, &writer, key, &mut p.writers);
            }
            if file.mount.is_none() {
                note_path(&file, &mut p.writers);
            }
            agents::note_database(cx, &file, packages, p);
            if file.doubtful {
                sweep_container(cx, &file.container, &writer);
            }
            secrets::note(cx, &file, &writer, &mut self.tampered);
            note_names(cx, &file, &mut self.aliases);
            compare(cx, &file, &writer);
        }
        file.change
    }

    /// Judges the event's file as it is found now; `None` where there is none.
    pub(super) fn judgement(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<Arc<Judgement>> {
        let file = self.of_event(cx, p)?;
        if let Some(known) = file.judgement.get() {
            return Some(Arc::clone(known));
        }
        let judgement = match &file.path {
            Some(path) => judge(cx, &file, path),
            None => Judgement::nothing(),
        };
        Some(Arc::clone(file.judgement.get_or_init(|| Arc::new(judgement))))
    }

    /// Where the event's file comes from, and who wrote it last.
    pub(super) fn provenance<'p>(
        &mut self,
        cx: &Context<'_>,
        p: &'p mut Processes,
    ) -> Option<(Provenance, Option<&'p Written>)> {
        let judgement = self.judgement(cx, p)?;
        let file = self.of_event(cx, p)?;
        let find = || found(cx, &file).map_or(0, |found| found.inode.ino);
        let inode = *file.found_inode.get_or_init(find);
        Some(p.writers.provenance(&file.container.id, &judgement, inode))
    }

    /// Kind of the event's file, by its path and its first bytes.
    pub(super) fn kind(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<&'static str> {
        let file = self.of_event(cx, p)?;
        let kind = || match &file.path {
            Some(path) => file_kind(path, found(cx, &file).as_ref()),
            None => "unknown",
        };
        Some(*file.kind.get_or_init(kind))
    }

    /// Kind of volume that the event's file lies on; `None` on the root file system.
    pub(super) fn volume(&mut self, cx: &Context<'_>, p: &mut Processes) -> Option<VolumeKind> {
        let file = self.of_event(cx, p)?;
        file.container.live.as_ref()?.volume_kind(cx.host(), file.mount.as_ref()?)
    }
}

fn find(cx: &Context<'_>, call: &FileCall<'_>, aliases: &Aliases, p: &mut Processes) -> Option<EventFile> {
    let place = paths::place(cx, &p.threads)?;
    let mut doubtful = false;
    let (container, path, new_path) = match p.container_and_origin(cx) {
        Some((_, Some(Origin::Runtime))) => {
            // What a runtime does while it sets a container up is not done inside it: its paths are the
            // host's.
            return None;
        }
        Some((container, _)) => {
            let named = paths::named(cx, Some(&container), &place, call.file);
            let path = named.path.and_then(|path| paths::behind_proc(cx, &place, path));
            let to = call.to.map(|to| paths::named(cx, Some(&container), &place, to));
            doubtful = path.is_none()
                || named.is_doubtful
                || to.as_ref().is_some_and(|to| to.path.is_none() || to.is_doubtful);
            match to.map(|to| to.path) {
                // Half of a rename is not known: then nothing is.
                Some(None) => (container, None, None),
                Some(new_path) => (container, path, new_path),
                None => (container, path, None),
            }
        }
        None => {
            // A process of the host that changes a container's files (an administrator, `podman cp`).
            let registry = &mut p.threads.containers.registry;
            let of_host = paths::named(cx, None, &place, call.file).path;
            match of_host.as_ref().and_then(|path| registry.at_host_path(path.as_bytes())) {
                Some((container, path)) => {
                    let new_path = call.to.and_then(|to| paths::named(cx, None, &place, to).path);
                    let new_path = new_path.and_then(|to| registry.at_host_path(to.as_bytes()));
                    let new_path = new_path.filter(|(other, _)| other.id == container.id).map(|(_, to)| to);
                    (container, Some(path), new_path)
                }
                None => {
                    let container = registry.on_device(file::written_device(cx.event)?)?;
                    doubtful = true;
                    let path = of_host.filter(|_| paths::is_at_root_of(cx, &container));
                    (container, path, None)
                }
            }
        }
    };
    let mount = container.live.as_ref().zip(path.as_ref()).and_then(|(live, path)| {
        live.mounts_now().covering(path.as_bytes()).filter(|m| m.dev != live.root_dev).cloned().map(Box::new)
    });
    let pseudo = match (&mount, &path) {
        (Some(mount), _) => is_pseudo_mount(mount),
        (None, Some(path)) => {
            container.live.is_none() && [&b"/proc"[..], b"/sys", b"/dev"].iter().any(|d| path.is_within(d))
        }
        (None, None) => false,
    };
    if pseudo {
        return None;
    }
    let linked = call.linked.and_then(|name| paths::named(cx, Some(&container), &place, name).path);
    let is_relative =
        |name: &Named<'_>| !matches!(name, Named::Path(p) | Named::At(_, p) if p.starts_with(b"/"));
    let moved = path.as_ref().filter(|_| is_relative(&call.file));
    let moved = moved.and_then(|path| aliases.moved(&container.id, path));
    let other_path = moved.or_else(|| aliases.linked(&container.id, path.as_ref()?));
    doubtful |= is_relative(&call.file) && aliases.has_lost(&container.id);
    let in_image = || {
        let path = path.as_ref()?;
        container.image.as_ref().ok().map(|image| image.lookup(path))
    };
    let change = match call.act {
        Act::Created => Some("created"),
        Act::Temporary => None,
        Act::Opened => Some("opened"),
        Act::OpenedOrCreated => match in_image() {
            Some(Presence::Absent) => Some("created"),
            _ => Some("opened"),
        },
        Act::Deleted => Some("deleted"),
        Act::Renamed | Act::Exchanged => Some("renamed"),
        Act::Metadata => Some("metadata"),
    };
    Some(EventFile {
        path,
        new_path,
        other_path,
        linked,
        change,
        mount,
        inode: call.inode,
        pid: place.pid,
        follows: call.follows,
        act: call.act,
        directory: call.directory,
        set_ids: call.mode.unwrap_or(0) & 0o6000,
        doubtful,
        judgement: OnceLock::new(),
        kind: OnceLock::new(),
        found_inode: OnceLock::new(),
        compared: OnceLock::new(),
        container,
    })
}

/// Notes the writer of the file that the event's call opened for writing, or of code on a mount of its own.
fn note_written(cx: &Context<'_>, file: &EventFile, writer: &Writer, key: u64, writers: &mut Writers) {
    let Writer { during, work, pid, is_entry_shell, .. } = *writer;
    let command = Arc::clone(&writer.command);
    let entry_shell = i32::try_from(pid).ok().and_then(NonZeroI32::new).filter(|_| is_entry_shell);
    let written = Written { command, during, proved: false, work, entry_shell, at: cx.event.ts };
    writers.note(&file.container.id, key, written);
}

/// Notes which file lies at the path of the event, for when it is gone.
fn note_path(file: &EventFile, writers: &mut Writers) {
    let id = &file.container.id;
    if matches!(file.act, Act::Metadata | Act::Temporary) {
        return;
    }
    for path in file.path.iter().chain(&file.new_path) {
        writers.note_path(id, path.as_bytes(), file.inode.filter(|_| file.new_path.is_none()));
    }
}

/// Notes what will be called otherwise than it is, or has two names.
fn note_names(cx: &Context<'_>, file: &EventFile, aliases: &mut Aliases) {
    let EventFile { container, path: Some(path), new_path, linked, act, mount: None, .. } = file else {
        return;
    };
    if let Some(other) = linked {
        let is_worth_it = |path: &ImagePath| {
            is_sensitive(path)
                || container.image.as_ref().is_ok_and(|i| !matches!(i.lookup(path), Presence::Absent))
        };
        if is_worth_it(path) || is_worth_it(other) {
            aliases.note_linked(&container.id, other, path);
        }
    }
    let Some(to) = new_path else { return };
    let is_directory = |path: &ImagePath| {
        let root = container.live.as_ref().and_then(|live| live.root(cx.host(), &[]));
        // By now it may be called otherwise again.
        root.is_none_or(|root| {
            root.find_here(path.as_bytes(), false).map_or(true, |found| found.kind == FileType::Directory)
        })
    };
    let exchanged = *act == Act::Exchanged;
    if is_directory(to) || (exchanged && is_directory(path)) {
        aliases.note_moved(&container.id, path, to, exchanged);
    }
}

/// Hands the paths of a file on the container's root to the workers.
fn compare(cx: &Context<'_>, file: &Arc<EventFile>, writer: &Arc<Writer>) {
    let Some(path) = &file.path else { return };
    let on_root = file.mount.is_none() && file.container.live.is_some();
    let is_new_directory = file.directory && file.act == Act::Created;
    let makes_nothing = file.act == Act::Temporary || (is_new_directory && !is_of_programs(path));
    if !on_root || makes_nothing || file.container.image.is_err() || is_ignored(cx, path) {
        return;
    }
    let Some(workers) = cx.workers() else { return };
    let job = |path: &ImagePath, new_path| FileJob {
        container: Arc::clone(&file.container),
        path: path.clone(),
        new_path,
        follows: file.follows,
        said: file.said(),
        writer: Arc::clone(writer),
    };
    if let Some(other) = &file.other_path {
        workers.file_changed(FileNotice::Path(job(other, None)));
    }
    match (&file.new_path, file.act) {
        (Some(new), Act::Exchanged) => {
            workers.file_changed(FileNotice::Path(job(path, None)));
            workers.file_changed(FileNotice::Path(job(new, None)));
        }
        (new, _) => workers.file_changed(FileNotice::Path(job(path, new.clone()))),
    }
}

fn is_ignored(cx: &Context<'_>, path: &ImagePath) -> bool {
    let ignored = &cx.deps.config.ignored_files;
    !ignored.is_empty() && ignored.is_match(std::path::Path::new(OsStr::from_bytes(path.as_bytes())))
}

/// Has the background find out what a call changed that does not say so.
fn sweep(cx: &Context<'_>, packages: &mut Packages, p: &mut Processes) {
    let Some(container) = p.threads.container(cx).filter(|c| c.live.is_some() && c.image.is_ok()) else {
        return;
    };
    let pid = cx.table.get(cx.event.tid).map_or(cx.event.tid, |thread| thread.pid);
    let writer = writer(cx, pid, packages, p);
    sweep_container(cx, &container, &writer);
}

fn sweep_container(cx: &Context<'_>, container: &Arc<Container>, writer: &Arc<Writer>) {
    let (container, writer) = (Arc::clone(container), Arc::clone(writer));
    if let Some(workers) = cx.workers().filter(|_| container.image.is_ok()) {
        workers.file_changed(FileNotice::Unnamed(Unnamed { container, at: cx.event.ts, writer }));
    }
}

/// The event's thread as a writer of files. Known after the first question, unless a package manager is at
/// work, which may end or be told to be none, or the container starts, which is over after a time.
fn writer(cx: &Context<'_>, pid: i64, packages: &mut Packages, p: &mut Processes) -> Arc<Writer> {
    if let Some(state) = p.threads.of_event(cx).filter(|state| p.programs.is_latest(state)) {
        if let Some(known) = &state.writer {
            return Arc::clone(known);
        }
    }
    let origin = p.origin(cx);
    let (command, during) = (p.threads.command(cx), packages.during(cx, p));
    let (work, is_entry_shell) = (work::of_writer(cx, p), work::is_entry_shell_itself(cx, p));
    let (tid, process) = (cx.event.tid, p.threads.process(cx));
    let writer = Arc::new(Writer { pid, tid, process, command, origin, during, work, is_entry_shell });
    if let Some(state) = p.threads.of_event(cx).filter(|state| p.programs.is_latest(state)) {
        let lasts = state.binary.is_some()
            && matches!(state.package, Some(None))
            && !work.is_some_and(ImageWork::is_start);
        state.writer = lasts.then(|| Arc::clone(&writer));
    }
    writer
}

fn judge(cx: &Context<'_>, file: &EventFile, path: &ImagePath) -> Judgement {
    let found = found(cx, file);
    let real = found.as_ref().and_then(FoundFile::path).filter(|p| p.starts_with(b"/"));
    let subject = Subject {
        path: real.as_deref().unwrap_or(path.as_bytes()),
        flags: ExeFlags::default(),
        flags_given: false,
        inode: InodeId::default(),
        found: found.as_ref(),
        pid: file.pid,
    };
    cx.deps.judge.judge(&file.container, &subject)
}

fn found(cx: &Context<'_>, file: &EventFile) -> Option<FoundFile> {
    let (host, container, live) = (cx.host(), &file.container.id, file.container.live.as_ref()?);
    let path = file.new_path.as_ref().or(file.path.as_ref())?;
    match live.find(host, container, live.pid(), &live.root(host, &[])?, path, file.follows).ok()? {
        Sight::File(found, _) => Some(found),
        Sight::Mount(_) => None,
    }
}

/// Whether a path lies on one of the kernel's own file systems.
pub(super) fn is_pseudo(live: &Live, path: &[u8]) -> bool {
    live.mounts().covering(path).is_some_and(is_pseudo_mount)
}

fn is_pseudo_mount(mount: &Mount) -> bool {
    PSEUDO.contains(&mount.fstype.as_slice()) || (mount.fstype == b"tmpfs" && mount.mount_point == b"/dev")
}
