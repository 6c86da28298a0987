//! Nouns that the engine, the workers and Drift's own events share: who did what, and what workers are asked
//! to do.
//!
//! Below all three: it knows none of them.

use drift_core::command::languages::Language;
use drift_core::command::manager::{Action, Manager};
use drift_core::container::declared::environment::Variables;
use drift_core::container::registry::Container;
use drift_core::container::volume::VolumeKind;
use drift_core::image::view::Image;
use drift_core::network::baseline::Peer;
use drift_core::network::Direction;
use drift_core::verdict::binary::BinaryKey;
use drift_core::verdict::origin::Origin;
use drift_core::verdict::port::Scope;
use drift_core::verdict::work::ImageWork;
use drift_formats::entry::ImagePath;
use drift_formats::ports::Protocol;
use std::fs::File;
use std::net::IpAddr;
use std::num::NonZeroI32;
use std::sync::Arc;
use std::time::Instant;

/// A process as it was at an event, for those who hear of it when it is gone.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Its name, where the engine knows it.
    pub name: Option<Arc<str>>,
    /// Name of its parent, where the engine knows it.
    pub parent: Option<Arc<str>>,
    /// Effective user id, as the host counts, where it was still there.
    pub uid: Option<u32>,
    /// Name of that user in the container.
    pub user: Option<Arc<str>>,
    /// Command line.
    pub command: Option<Arc<str>>,
}

/// Who changed a file, captured at the event.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Process id.
    pub pid: i64,
    /// Thread id.
    pub tid: i64,
    /// The process.
    pub process: Arc<Process>,
    /// Command line.
    pub command: Arc<str>,
    /// Origin of the executable, where it is known.
    pub origin: Option<Origin>,
    /// The package manager's transaction that it takes part in, if its program is the image's. That proves
    /// nothing of what it writes: hooks and maintainer scripts do what they like.
    pub during: Option<During>,
    /// The other work of the image's own that it takes part in.
    pub work: Option<ImageWork>,
    /// Whether it is the shell that runs the container's entry point, and no other process.
    pub is_entry_shell: bool,
}

/// A package manager's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct During {
    /// The outermost package manager at work.
    pub manager: Manager,
    /// Its process.
    pub leader: i64,
}

/// Who wrote a file last.
#[derive(Debug, Clone)]
pub struct Written {
    /// Command line.
    pub command: Arc<str>,
    /// The package manager's transaction that the process took part in, if its program is the image's.
    pub during: Option<During>,
    /// The package databases say that a package brought the file, with this content.
    pub proved: bool,
    /// The other work of the image's own that the process took part in.
    pub work: Option<ImageWork>,
    /// The process, if it is the shell that runs the container's entry point: a script of the image or of the
    /// deployment.
    pub entry_shell: Option<NonZeroI32>,
    /// When, nanoseconds since the epoch.
    pub at: u64,
}

impl Written {
    /// Where the file comes from.
    pub fn provenance(&self) -> Provenance {
        match self.during.filter(|_| self.proved) {
            Some(during) => Provenance::Package(during.manager),
            None => Provenance::Written,
        }
    }
}

/// Where a file comes from, by what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// The image shipped it.
    Image,
    /// A package manager installed it, as the package databases say.
    Package(Manager),
    /// Another process wrote it.
    Written,
    /// It lies on a volume.
    Volume,
    /// It was never in a file system.
    Memory,
    /// It was written before drift looked, or by a way that was not seen.
    Unknown,
}

impl std::fmt::Display for Provenance {
    /// The value of `drift.binary_provenance`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image => f.write_str("image"),
            Self::Package(manager) => write!(f, "package:{}", manager.as_str()),
            Self::Written => f.write_str("written"),
            Self::Volume => f.write_str("volume"),
            Self::Memory => f.write_str("memory"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Who changes packages: the outermost package manager at work, or, where none is, the process that writes.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Process id.
    pub pid: i64,
    /// What is known of it.
    pub process: Process,
    /// The package manager; `None` for anything else, and for a program that only has a package manager's
    /// name.
    pub manager: Option<Manager>,
    /// What the package manager was asked to do.
    pub action: Option<Action>,
    /// The packages that its command line names.
    pub names: Vec<Box<str>>,
    /// Command line.
    pub command: Arc<str>,
    /// Command line of its parent.
    pub parent_command: Option<Box<str>>,
    /// Names of its ancestors in the container, the parent first.
    pub ancestors: Vec<Box<str>>,
    /// Effective user id, as the host counts.
    pub user: Option<u32>,
    /// Origin of its executable.
    pub origin: Option<Origin>,
    /// Where the executable comes from, and who wrote it; as `drift.binary_provenance` and
    /// `drift.binary_writer` say.
    pub provenance: Option<(String, Option<Arc<str>>)>,
    /// Whether its effect is reported, and its start is not.
    pub followed: bool,
}

/// An image whose container was just found.
#[derive(Debug)]
pub struct NewImage {
    /// The image.
    pub image: Image,
    /// When its container was looked at.
    pub looked_at: Instant,
}

/// A file to compare with the image, or to hash.
#[derive(Debug)]
pub struct VerifyJob {
    /// Whose verdict it is.
    pub key: BinaryKey,
    /// The container.
    pub container: Arc<Container>,
    /// The file's content, open.
    pub file: File,
    /// The image's copy to compare with: a layer and a path; `None` to hash only.
    pub against: Option<Against>,
    /// Thread whose event asked, for the event that reports the result.
    pub tid: i64,
    /// Its process.
    pub process: Arc<Process>,
}

/// What a file is compared with.
#[derive(Debug)]
pub struct Against {
    /// Index into the image's layers.
    pub layer: usize,
    /// Path in the image.
    pub path: ImagePath,
    /// Digest that the image records, where there is no copy to read.
    pub sha256: Option<[u8; 32]>,
}

impl Writer {
    /// Somebody of whom no event speaks.
    pub fn unknown() -> Self {
        Self {
            pid: 0,
            tid: 0,
            process: Arc::default(),
            command: "unknown".into(),
            origin: None,
            during: None,
            work: None,
            is_entry_shell: false,
        }
    }

    /// Whether what it does may be exempt from alerts.
    pub fn is_exempt(&self) -> bool {
        self.during.is_some() || self.work.is_some()
    }
}

/// How far a call speaks for its process as the one who changed a file's content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// Not at all: only that somebody wrote is known.
    #[default]
    Nothing,
    /// It changed the mode or the owner.
    Metadata,
    /// It opened the file for writing, and may have written nothing.
    Opened,
    /// It made, removed, replaced or renamed the file.
    Changed,
}

/// What calls say of a path. What was undone before anybody looked shows in nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    /// It was made.
    pub created: bool,
    /// Its name was taken away.
    pub deleted: bool,
    /// It was given another name.
    pub moved: bool,
    /// It is a directory.
    pub directory: bool,
    /// Set-id bits that it was given.
    pub set_ids: u16,
    /// How far that speaks for the writer.
    pub evidence: Evidence,
}

impl Said {
    /// Both.
    pub fn and(self, other: Self) -> Self {
        Self {
            created: self.created || other.created,
            deleted: self.deleted || other.deleted,
            moved: self.moved || other.moved,
            directory: self.directory || other.directory,
            set_ids: self.set_ids | other.set_ids,
            evidence: self.evidence.max(other.evidence),
        }
    }
}

/// A path that may have changed.
#[derive(Debug, Clone)]
pub struct FileJob {
    /// The container.
    pub container: Arc<Container>,
    /// Path in the container, absolute; links not resolved.
    pub path: ImagePath,
    /// New name, if the path was renamed.
    pub new_path: Option<ImagePath>,
    /// Whether the call followed a symbolic link as the last component.
    pub follows: bool,
    /// What the call says.
    pub said: Said,
    /// Who did it.
    pub writer: Arc<Writer>,
}

/// A change of which the event does not say where.
#[derive(Debug, Clone)]
pub struct Unnamed {
    /// The container.
    pub container: Arc<Container>,
    /// When, nanoseconds since the epoch.
    pub at: u64,
    /// Who did it.
    pub writer: Arc<Writer>,
}

/// A call by which a process of a container changed a mounted secret or configuration, or was about to.
#[derive(Debug, Clone)]
pub struct Tampering {
    /// The container.
    pub container: Arc<Container>,
    /// Path in the container, absolute; links not resolved.
    pub path: ImagePath,
    /// New name, if the path was renamed.
    pub new_path: Option<ImagePath>,
    /// What the call says, as `drift.file_change`.
    pub change: &'static str,
    /// What the path lies on.
    pub volume: VolumeKind,
    /// Who did it.
    pub writer: Arc<Writer>,
}

/// What an event says of a change of files.
#[derive(Debug, Clone)]
pub enum FileNotice {
    /// A path may have changed.
    Path(FileJob),
    /// Some path has.
    Unnamed(Unnamed),
    /// A mounted secret or configuration: reported at once, whatever became of it.
    Secret(Box<Tampering>),
}

/// A path of a package database that may have changed.
#[derive(Debug, Clone)]
pub struct Touch {
    /// The container.
    pub container: Arc<Container>,
    /// The path.
    pub path: ImagePath,
    /// Whether it lies on a mount of its own, which the image says nothing of.
    pub on_volume: bool,
    /// The process that did it.
    pub writer: i64,
    /// Who is behind it.
    pub agent: Arc<Agent>,
    /// Whether that is a package manager that was asked a question: it may only have opened the file,
    /// or have helped another process (dpkg-deb unpacks for whatever starts it).
    pub weak: bool,
}

/// Whether the package databases of a container can be compared with its image's.
pub fn can_follow_packages(container: &Container) -> bool {
    container.live.is_some() && container.image.is_ok() && !container.from_manifest
}

/// A file that a process opened the way a loader does, or mapped.
#[derive(Debug, Clone)]
pub struct LibraryJob {
    /// The container.
    pub container: Arc<Container>,
    /// Path in the container, absolute; links not resolved.
    pub path: ImagePath,
    /// The process.
    pub pid: i64,
    /// What is known of it.
    pub process: Arc<Process>,
    /// The thread.
    pub tid: i64,
    /// Descriptor of the file in the process.
    pub fd: i64,
    /// Whether it is known to be mapped.
    pub mapped: bool,
    /// Command line of the process.
    pub command: Arc<str>,
    /// Origin of the process's executable, where it is known.
    pub binary_origin: Option<Origin>,
    /// Who wrote the file, where that was seen.
    pub written: Option<Written>,
}

/// A file that a process opened to read, and that may be code which is not the image's.
#[derive(Debug, Clone)]
pub struct CodeJob {
    /// The container.
    pub container: Arc<Container>,
    /// Path in the container, absolute; links not resolved.
    pub path: ImagePath,
    /// The process.
    pub pid: i64,
    /// The thread.
    pub tid: i64,
    /// Descriptor of the file in the process.
    pub fd: i64,
    /// Inode number; 0 where it is not known.
    pub inode: u64,
    /// It lies in an overlay's upper layer, by the kernel's word.
    pub upper: bool,
    /// What is known of it.
    pub process: Arc<Process>,
    /// The language that it runs, by its executable's name.
    pub language: Option<Language>,
    /// Command line of the process.
    pub command: Arc<str>,
    /// Origin of the process's executable.
    pub binary_origin: Origin,
    /// The package manager's transaction that the process takes part in.
    pub during: Option<During>,
    /// Who wrote the file, where that was seen.
    pub written: Option<Written>,
}

/// A process of a container opened the memory of a process to write to it.
#[derive(Debug, Clone)]
pub struct Injection {
    /// The container.
    pub container: Arc<Container>,
    /// The file of memory.
    pub path: ImagePath,
    /// The thread that opened it.
    pub tid: i64,
    /// What is known of its process.
    pub process: Arc<Process>,
    /// Command line of the process.
    pub command: Arc<str>,
    /// Origin of its executable, where it is known.
    pub binary_origin: Option<Origin>,
}

/// What an event says of code that a process takes in.
#[derive(Debug, Clone)]
pub enum CodeNotice {
    /// It may read it from a file.
    Read(Box<CodeJob>),
    /// A file on a mount of its own has a name of code by now.
    Renamed(Arc<Container>, ImagePath),
    /// It may have it written into its memory.
    Injected(Box<Injection>),
}

/// A port that a container opened.
#[derive(Debug, Clone)]
pub struct EarlyPort {
    /// The container.
    pub container: Arc<Container>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// The thread that opened it.
    pub tid: i64,
    /// Its process.
    pub process: Arc<Process>,
    /// Command line of its process.
    pub command: Arc<str>,
    /// Where the process's executable comes from.
    pub origin: Option<Origin>,
    /// Who can reach it.
    pub scope: Scope,
    /// Whether the container's own program opened it, as it was started.
    pub is_main: bool,
    /// What it is for alerts: see [`thing`](drift_core::verdict::port::thing).
    pub thing: (Protocol, u16, u64),
    /// Process and descriptor of a UDP socket, of which it is not known yet whether it is a server's.
    pub socket: Option<(i64, i64)>,
    /// When it was opened.
    pub since: Instant,
}

/// An environment that could not be judged at the event: what is declared was not read yet, or the event is
/// cut.
#[derive(Clone)]
pub struct EarlyEnvironment {
    /// The container.
    pub container: Arc<Container>,
    /// The thread that was started with it.
    pub tid: i64,
    /// Its process.
    pub process: Arc<Process>,
    /// Command line of its process.
    pub command: Arc<str>,
    /// Where the process's executable comes from.
    pub origin: Option<Origin>,
    /// `NAME=value`, each ended by a NUL. It may hold secrets.
    pub environment: Box<[u8]>,
    /// The event has no more of it.
    pub is_cut: bool,
    /// The process's working directory, where it is known.
    pub cwd: Option<Box<[u8]>>,
    /// Variables that are nothing new.
    pub known: Variables,
    /// The container's first command exported it, which may be the declared one.
    pub by_command: bool,
    /// When it was started.
    pub since: Instant,
}

impl std::fmt::Debug for EarlyEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EarlyEnvironment").field("tid", &self.tid).finish_non_exhaustive()
    }
}

/// A peer, for as long as it is needed.
#[derive(Debug, Clone)]
pub struct OwnedPeer {
    /// As [`Peer`]'s.
    pub direction: Direction,
    /// As [`Peer`]'s.
    pub address: IpAddr,
    /// As [`Peer`]'s.
    pub name: Option<Arc<str>>,
    /// As [`Peer`]'s.
    pub port: u16,
    /// As [`Peer`]'s.
    pub protocol: Protocol,
}

impl OwnedPeer {
    /// Borrowed.
    pub(crate) fn peer(&self) -> Peer<'_> {
        let (direction, address, port, protocol) = (self.direction, self.address, self.port, self.protocol);
        Peer { direction, address, name: self.name.as_deref(), port, protocol }
    }
}

/// A peer that a container had before its image was known.
#[derive(Debug)]
pub struct EarlyPeer {
    /// The container.
    pub container: Arc<Container>,
    /// The peer.
    pub peer: OwnedPeer,
    /// The thread that made the connection.
    pub tid: i64,
    /// Its process.
    pub process: Arc<Process>,
    /// When.
    pub(crate) since: Instant,
}

impl EarlyPeer {
    /// Such a peer.
    pub fn new(container: Arc<Container>, peer: &Peer<'_>, name: Option<Arc<str>>, tid: i64) -> Self {
        let (direction, address, port, protocol) = (peer.direction, peer.address, peer.port, peer.protocol);
        let peer = OwnedPeer { direction, address, name, port, protocol };
        Self { container, peer, tid, process: Arc::default(), since: Instant::now() }
    }
}
