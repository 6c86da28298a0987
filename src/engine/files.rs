//! Files that events are about: which path, on what mount, and who did it.
//!
//! Invariant: naming a file costs memory look-ups only, unless its directory is known to the kernel alone; what the file
//! has become is found out in the background ([`crate::workers::files`]).

use super::{Engine, ThreadReader};
use crate::event::file::{self, Act, FileCall, Named};
use crate::event::raw::SyscallEvent;
use crate::event::threads::Place;
use crate::facts::{FileJob, FileNotice, Provenance, Unnamed, Writer, Written};
use drift_core::container::live::Live;
use drift_core::container::registry::Container;
use drift_core::container::volume::VolumeKind;
use drift_core::host::FoundFile;
use drift_core::host::{ExeFlags, InodeId};
use drift_core::image::view::Presence;
use drift_core::verdict::change::file_kind;
use drift_core::verdict::judge::{Judgement, Subject};
use drift_core::verdict::origin::Origin;
use drift_core::verdict::work::ImageWork;
use drift_formats::entry::ImagePath;
use drift_formats::mountinfo::Mount;
use rustix::fs::FileType;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};

/// The file of an event.
#[derive(Debug)]
pub struct EventFile {
    /// The container.
    pub container: Arc<Container>,
    /// Path in the container's mount namespace; links in it are not resolved. `None`: it cannot be known, because the
    /// directory that the call began at is not.
    pub path: Option<ImagePath>,
    /// New name of a renamed file.
    pub new_path: Option<ImagePath>,
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
    /// Whether the path may be another one's: then the container is looked through as well.
    doubtful: bool,
    /// Boxed: most events are never asked for it.
    judgement: OnceLock<Box<Judgement>>,
    kind: OnceLock<&'static str>,
    /// Whether the background was told of it.
    compared: OnceLock<()>,
}

/// Length from which on the engine's working directories may be cut (`SCAP_MAX_PATH_SIZE` is 1024).
const MAX_EXACT: usize = 1000;

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

    /// Whether it lies on a mount of its own, not on the container's root.
    pub(super) fn on_other_mount(&self) -> bool {
        self.mount.is_some()
    }
}

impl Engine {
    /// The file that the event's call changed, or may have; `None` for other events, for files of the host, and for the
    /// kernel's own file systems.
    pub fn file(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<Arc<EventFile>> {
        let call = FileCall::from_event(event)?;
        let key = event.identity();
        if let Some((known, file)) = &self.last_file {
            if *known == key {
                return file.clone();
            }
        }
        let file = self.find_file(event, reader, &call).map(Arc::new);
        if file.as_ref().is_some_and(|file| file.path.is_none()) {
            self.metrics.files_unknown.inc();
        }
        self.last_file = Some((key, file.clone()));
        file
    }

    /// What the event's call says of its file. The first question starts the comparison with the image, and remembers
    /// who writes.
    pub fn file_change(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<&'static str> {
        if file::changes_unnamed(event) {
            self.sweep(event, reader);
            return None;
        }
        let file = self.file(event, reader)?;
        if file.compared.set(()).is_ok() {
            let writer = self.writer(event, reader, file.pid);
            if file.mount.is_none() {
                self.note_written(event, &file, &writer);
            }
            self.note_database(event, reader, &file);
            if file.doubtful {
                self.sweep_container(event, &file.container, &writer);
            }
            self.note_secret(event, &file, &writer);
            self.compare_file(&file, writer);
        }
        file.change
    }

    fn find_file(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
        call: &FileCall<'_>,
    ) -> Option<EventFile> {
        let place = self.place(reader, event.tid)?;
        let mut doubtful = false;
        let (container, path, new_path) = match self.container_and_origin(event, reader) {
            Some((_, Some(Origin::Runtime))) => {
                // What a runtime does while it sets a container up is not done inside it: its paths are the host's.
                return None;
            }
            Some((container, _)) => {
                let path = self.path_of(reader, Some(&container), &place, call.file);
                let path = path.and_then(|path| self.behind_proc(event, &place, path));
                let new_path = call.to.map(|to| self.path_of(reader, Some(&container), &place, to));
                doubtful = path.is_none()
                    || matches!(new_path, Some(None))
                    || self.base_is_doubtful(reader, &place, call.file)
                    || call.to.is_some_and(|to| self.base_is_doubtful(reader, &place, to));
                match new_path {
                    // Half of a rename is not known: then nothing is.
                    Some(None) => (container, None, None),
                    Some(new_path) => (container, path, new_path),
                    None => (container, path, None),
                }
            }
            None => {
                // A process of the host that changes a container's files (an administrator, `podman cp`).
                let of_host = self.path_of(reader, None, &place, call.file);
                match of_host.as_ref().and_then(|path| self.registry.at_host_path(path.as_bytes())) {
                    Some((container, path)) => {
                        let new_path = call.to.and_then(|to| self.path_of(reader, None, &place, to));
                        let new_path = new_path.and_then(|to| self.registry.at_host_path(to.as_bytes()));
                        let new_path =
                            new_path.filter(|(other, _)| other.id == container.id).map(|(_, to)| to);
                        (container, Some(path), new_path)
                    }
                    None => {
                        let container = self.registry.on_device(file::written_device(event)?)?;
                        doubtful = true;
                        let path = of_host.filter(|_| self.is_at_root_of(event.tid, &container));
                        (container, path, None)
                    }
                }
            }
        };
        let mount = container.live.as_ref().zip(path.as_ref()).and_then(|(live, path)| {
            live.mounts_now()
                .covering(path.as_bytes())
                .filter(|m| m.dev != live.root_dev)
                .cloned()
                .map(Box::new)
        });
        let pseudo = match (&mount, &path) {
            (Some(mount), _) => is_pseudo_mount(mount),
            (None, Some(path)) => {
                container.live.is_none()
                    && [&b"/proc"[..], b"/sys", b"/dev"].iter().any(|d| path.is_within(d))
            }
            (None, None) => false,
        };
        if pseudo {
            return None;
        }
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
            change,
            mount,
            inode: call.inode,
            pid: place.pid,
            follows: call.follows,
            act: call.act,
            directory: call.directory,
            doubtful,
            judgement: OnceLock::new(),
            kind: OnceLock::new(),
            compared: OnceLock::new(),
            container,
        })
    }

    fn place(&self, reader: ThreadReader<'_>, tid: i64) -> Option<Place> {
        let pid = self.threads.peek(&tid).map(|state| state.pid);
        reader.threads?.place(reader.reader, tid, pid)
    }

    /// The absolute path of what a call of a process in a container named.
    pub(super) fn named_path(
        &self,
        reader: ThreadReader<'_>,
        container: &Container,
        tid: i64,
        named: Named<'_>,
    ) -> Option<ImagePath> {
        let place = self.place(reader, tid)?;
        self.path_of(reader, Some(container), &place, named)
    }

    /// The absolute path of what a call named, in the mount namespace of the process; `container` is `None` on the host.
    fn path_of(
        &self,
        reader: ThreadReader<'_>,
        container: Option<&Container>,
        place: &Place,
        named: Named<'_>,
    ) -> Option<ImagePath> {
        let host = self.judge.host();
        let of_fd = |fd: i64| {
            let known = reader.threads.and_then(|t| t.fd_name(reader.reader, place.pid, fd));
            // The engine's table first: it knows the descriptor as it was at the event.
            let known = known.filter(|name| name.starts_with(b"/"));
            if known.as_ref().is_some_and(|name| is_exact(name)) {
                return known;
            }
            host.fd_path_of(place.pid, fd).filter(|path| path.starts_with(b"/")).or(known)
        };
        let (base, path) = match named {
            Named::Path(path) | Named::At(_, path) if path.starts_with(b"/") => {
                // Almost no process has called chroot.
                if place.root.is_empty() {
                    return ImagePath::lexical(b"/", path).ok();
                }
                (container.map_or_else(|| place.root.clone(), |c| self.root_of(c, place)), path)
            }
            Named::Path(path) => {
                let cwd = reader.threads.and_then(|t| t.cwd(reader.reader, place.tid));
                let cwd = cwd.filter(|c| c.starts_with(b"/"));
                // The engine's directories of a process in a chroot begin at that root.
                let exact = |c: &Vec<u8>| place.root.is_empty() && is_exact(c);
                if let Some(own) = host.cwd_of(place.pid).filter(|_| !cwd.as_ref().is_some_and(exact)) {
                    return ImagePath::lexical(&own, path).ok();
                }
                (cwd.or_else(|| host.cwd_of(place.pid))?, path)
            }
            Named::At(fd, path) => (of_fd(fd)?, path),
            Named::Fd(fd) => return ImagePath::lexical(b"/", &of_fd(fd)?).ok(),
        };
        let relative = path.iter().position(|b| *b != b'/').and_then(|at| path.get(at..)).unwrap_or_default();
        ImagePath::lexical(&base, relative).ok()
    }

    /// Whether the engine does not know for sure where a relative name begins. The process itself is asked then
    /// ([`Engine::path_of`]), but by that time it may be elsewhere.
    fn base_is_doubtful(&self, reader: ThreadReader<'_>, place: &Place, named: Named<'_>) -> bool {
        let base = match named {
            Named::Path(path) | Named::At(_, path) if path.starts_with(b"/") => return false,
            Named::Path(_) => reader.threads.and_then(|t| t.cwd(reader.reader, place.tid)),
            Named::At(fd, _) | Named::Fd(fd) => {
                reader.threads.and_then(|t| t.fd_name(reader.reader, place.pid, fd))
            }
        };
        !base.is_some_and(|base| base.starts_with(b"/") && is_exact(&base))
    }

    /// Whether a process of the host has the container's root as its own, as those that copy files into containers do.
    fn is_at_root_of(&self, tid: i64, container: &Container) -> bool {
        let root = self.judge.host().root_of(tid);
        let live = container.live.as_ref();
        root.is_ok_and(|root| live.is_some_and(|live| live.root_dev == root.dev))
    }

    /// Where a path through `/proc` (`/proc/self/fd/7`, `/proc/self/root/etc/passwd`) led the process: its own links there mean
    /// nothing to anybody else, but the file it opened tells. Other paths are given back as they are.
    fn behind_proc(&self, event: &SyscallEvent<'_>, place: &Place, path: ImagePath) -> Option<ImagePath> {
        const LINKS: [&[u8]; 3] = [b"/fd/", b"/root/", b"/cwd/"];
        let through = path.is_within(b"/dev/fd")
            || (path.is_within(b"/proc")
                && LINKS.iter().any(|link| path.as_bytes().windows(link.len()).any(|part| part == *link)));
        if !through {
            return Some(path);
        }
        let fd = file::opened_descriptor(event)?;
        let real = self.judge.host().fd_path_of(place.pid, fd).filter(|real| real.starts_with(b"/"))?;
        ImagePath::lexical(b"/", &real).ok()
    }

    /// The root directory that absolute paths of a process begin at.
    ///
    /// The engine follows chroot, but not what a runtime does to a root. The process itself knows while it lives; after
    /// that the engine is believed if the container has such a directory.
    fn root_of(&self, container: &Container, place: &Place) -> Vec<u8> {
        let host = self.judge.host();
        let known = place.root.as_slice();
        if matches!(known, b"" | b"/") {
            return b"/".to_vec();
        }
        let is_inside = || {
            let root = container.live.as_ref()?.root(host, &[])?;
            root.find(known).ok().filter(|dir| dir.kind == FileType::Directory)
        };
        host.root_path_of(place.pid)
            .or_else(|| is_inside().map(|_| known.to_vec()))
            .unwrap_or_else(|| b"/".to_vec())
    }

    /// Hands the paths of a file on the container's root to the background.
    fn compare_file(&self, file: &Arc<EventFile>, writer: Arc<Writer>) {
        let Some(path) = &file.path else { return };
        let on_root = file.mount.is_none() && file.container.live.is_some();
        let makes_nothing = file.act == Act::Temporary || (file.directory && file.act == Act::Created);
        if !on_root || makes_nothing || file.container.image.is_err() || self.is_ignored(path) {
            return;
        }
        let Some(background) = &self.background else { return };
        let job = |path: &ImagePath, new_path| FileJob {
            container: Arc::clone(&file.container),
            path: path.clone(),
            new_path,
            follows: file.follows,
            writer: Arc::clone(&writer),
        };
        match (&file.new_path, file.act) {
            (Some(new), Act::Exchanged) => {
                background.file_changed(FileNotice::Path(job(path, None)));
                background.file_changed(FileNotice::Path(job(new, None)));
            }
            (new, _) => background.file_changed(FileNotice::Path(job(path, new.clone()))),
        }
    }

    fn is_ignored(&self, path: &ImagePath) -> bool {
        let ignored = &self.config.ignored_files;
        !ignored.is_empty() && ignored.is_match(std::path::Path::new(OsStr::from_bytes(path.as_bytes())))
    }

    /// Has the background find out what a call changed that does not say so.
    fn sweep(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) {
        let Some(container) = self.container(event, reader).filter(|c| c.live.is_some() && c.image.is_ok())
        else {
            return;
        };
        let pid = reader.get(event.tid).map_or(event.tid, |thread| thread.pid);
        let writer = self.writer(event, reader, pid);
        self.sweep_container(event, &container, &writer);
    }

    fn sweep_container(&self, event: &SyscallEvent<'_>, container: &Arc<Container>, writer: &Arc<Writer>) {
        let (container, writer) = (Arc::clone(container), Arc::clone(writer));
        if let Some(background) = self.background.as_ref().filter(|_| container.image.is_ok()) {
            background.file_changed(FileNotice::Unnamed(Unnamed { container, at: event.ts, writer }));
        }
    }

    /// The event's thread as a writer of files. Known after the first question, unless a package manager is at work, which
    /// may end or be told to be none, or the container starts, which is over after a time.
    fn writer(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>, pid: i64) -> Arc<Writer> {
        self.take_findings();
        let findings = self.findings;
        if let Some(state) = self.thread(event, reader).filter(|state| state.findings == findings) {
            if let Some(known) = &state.writer {
                return Arc::clone(known);
            }
        }
        let origin = match self.is_host(event, reader) {
            true => Some(Origin::Host),
            false => self.binary(event, reader).map(|b| b.judgement.origin),
        };
        let (command, during) = (self.command(event, reader), self.during(event, reader));
        let work = self.writing_work(event, reader);
        let writer = Arc::new(Writer { pid, tid: event.tid, command, origin, during, work });
        if let Some(state) = self.thread(event, reader).filter(|state| state.findings == findings) {
            let lasts = state.binary.is_some()
                && matches!(state.package, Some(None))
                && !work.is_some_and(ImageWork::is_start);
            state.writer = lasts.then(|| Arc::clone(&writer));
        }
        writer
    }

    /// Command line of the event's thread, read once for each program it runs.
    pub(super) fn command(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Arc<str> {
        let known = self.thread(event, reader).and_then(|state| state.command.clone());
        if let Some(known) = known {
            return known;
        }
        let line = reader.threads.and_then(|t| t.command(reader.reader, event.tid));
        let line: Arc<str> = line.unwrap_or_default().into();
        if let Some(state) = self.thread(event, reader) {
            state.command = Some(Arc::clone(&line));
        }
        line
    }

    /// Judges the event's file as it is found now; `None` where there is none.
    pub fn file_judgement(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<Judgement> {
        let file = self.file(event, reader)?;
        if let Some(known) = file.judgement.get() {
            return Some(Judgement::clone(known));
        }
        let judgement = match &file.path {
            Some(path) => self.judge_file(&file, path),
            None => Judgement::nothing(),
        };
        Some(Judgement::clone(file.judgement.get_or_init(|| Box::new(judgement))))
    }

    /// Where the event's file comes from, and who wrote it last.
    pub fn file_provenance(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<(Provenance, Option<&Written>)> {
        let judgement = self.file_judgement(event, reader)?;
        let file = self.file(event, reader)?;
        let inode = self.found(&file).map_or(0, |found| found.inode.ino);
        Some(self.provenance(&file.container.id, &judgement, inode))
    }

    fn judge_file(&self, file: &EventFile, path: &ImagePath) -> Judgement {
        let found = self.found(file);
        let real = found.as_ref().and_then(FoundFile::path).filter(|p| p.starts_with(b"/"));
        let subject = Subject {
            path: real.as_deref().unwrap_or(path.as_bytes()),
            flags: ExeFlags::default(),
            flags_given: false,
            inode: InodeId::default(),
            found: found.as_ref(),
            pid: file.pid,
        };
        self.judge.judge(&file.container, &subject)
    }

    /// Kind of the event's file, by its path and its first bytes.
    pub fn file_kind(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<&'static str> {
        let file = self.file(event, reader)?;
        let kind = || match &file.path {
            Some(path) => file_kind(path, self.found(&file).as_ref()),
            None => "unknown",
        };
        Some(*file.kind.get_or_init(kind))
    }

    /// Kind of volume that the event's file lies on; `None` on the root file system.
    pub fn file_volume(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> Option<VolumeKind> {
        let file = self.file(event, reader)?;
        file.container.live.as_ref()?.volume_kind(self.judge.host(), file.mount.as_ref()?)
    }

    fn found(&self, file: &EventFile) -> Option<FoundFile> {
        let root = file.container.live.as_ref()?.root(self.judge.host(), &[])?;
        let path = file.new_path.as_ref().or(file.path.as_ref())?.as_bytes();
        if file.follows { root.find(path) } else { root.find_itself(path) }.ok()
    }
}

/// Whether a directory is as the engine found it: it replaces bytes that are no text, and cuts or gives up on what is long.
///
/// libs before 0.25 put a dot for each such byte. One that leaves other letters beside it looks like a name; of dots
/// alone a followed path has none (`copy_and_sanitize_path`, userspace/libsinsp/utils.cpp).
fn is_exact(dir: &[u8]) -> bool {
    dir.is_ascii()
        && dir.len() < MAX_EXACT
        && !dir.starts_with(b"/DIR_TOO_LONG")
        && !dir.split(|b| *b == b'/').any(|part| !part.is_empty() && part.iter().all(|b| *b == b'.'))
}

/// Whether a path lies on one of the kernel's own file systems.
pub(super) fn is_pseudo(live: &Live, path: &[u8]) -> bool {
    live.mounts().covering(path).is_some_and(is_pseudo_mount)
}

fn is_pseudo_mount(mount: &Mount) -> bool {
    PSEUDO.contains(&mount.fstype.as_slice()) || (mount.fstype == b"tmpfs" && mount.mount_point == b"/dev")
}
