//! A container that waits for commands.
//!
//! Its init process reads commands, one at a time, from a named pipe that the host writes; so a tracer can
//! attach before anything runs. Every container has the mounts the scenarios expect: `/vol`, a writable bind
//! mount; `/corpus`, a read-only one with the scripts; `/scratch`, a tmpfs; `/dev/shm`, a tmpfs without
//! execution.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use nix::libc;
use nix::sys::stat::Mode;

use super::image::Image;
use super::layer;
use super::process::{self, Process};
use super::{containerd, docker, podman};

/// The name of the pipe in `/corpus`.
const PIPE: &str = ".commands";
/// How long init may take until it reads the pipe.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// What every container's init runs: each line of the pipe is a command, in words separated by spaces. `exec`
/// in a child of its own makes a process of every command, also of one that the shell has built in.
pub const INIT: [&str; 3] = ["/bin/sh", "-c", "while :; do read -r c < /corpus/.commands && (exec $c); done"];

/// A runtime's own part: what it takes to remove the container.
pub(crate) trait Handle: std::fmt::Debug + Send + Sync {
    /// Stops and removes the container.
    fn remove(&mut self) -> Result<()>;

    /// Copies a file of the host into the container, as the runtime's own command does.
    fn copy_in(&self, _from: &Path, _to: &str) -> Result<()> {
        bail!("this runtime has no command that copies files")
    }

    /// What the runtime itself says has changed; `None` for one that cannot tell.
    fn diff(&self) -> Result<Option<String>> {
        Ok(None)
    }
}

/// The host's directories of a container's bind mounts.
#[derive(Debug)]
pub(crate) struct Shared {
    dir: tempfile::TempDir,
}

impl Shared {
    fn new() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("drift-live-")
            .tempdir()
            .context("making a container's directory")?;
        let shared = Self { dir };
        for part in [shared.vol(), shared.corpus()] {
            std::fs::create_dir(&part).with_context(|| format!("making {}", part.display()))?;
            std::fs::set_permissions(&part, std::fs::Permissions::from_mode(0o755))?;
        }
        nix::unistd::mkfifo(&shared.pipe(), Mode::from_bits_truncate(0o600))
            .context("making a named pipe")?;
        Ok(shared)
    }

    pub(crate) fn vol(&self) -> PathBuf {
        self.dir.path().join("vol")
    }

    pub(crate) fn corpus(&self) -> PathBuf {
        self.dir.path().join("corpus")
    }

    fn pipe(&self) -> PathBuf {
        self.corpus().join(PIPE)
    }
}

/// A running container of an [`Image`]; removed when dropped.
#[derive(Debug)]
pub struct Container {
    id: String,
    init_pid: i64,
    // Fields are dropped in this order: the container before the directories it has mounted.
    runtime: Box<dyn Handle>,
    shared: Shared,
}

impl Container {
    /// Runs the image under podman, with its own storage below [`state_dir`](super::state_dir).
    ///
    /// # Errors
    /// podman fails (the error holds its words), or its storage is not overlayfs.
    pub fn podman(image: &Image) -> Result<Self> {
        Self::podman_with(image, &[], &INIT)
    }

    /// As [`Container::podman`], with more of `podman create`'s options, and another command: none for the
    /// image's own. Such a container need not take commands.
    ///
    /// # Errors
    /// As [`Container::podman`].
    pub fn podman_with(image: &Image, options: &[&str], command: &[&str]) -> Result<Self> {
        let shared = Shared::new()?;
        let (id, init_pid, runtime) = podman::start(image, &shared, options, command)?;
        Self::started(id, init_pid, Box::new(runtime), shared)
    }

    /// As [`Container::podman_with`], with the image's layers on another file system than the container's
    /// own: an additional image store, as nodes have that keep images on a disk of their own.
    ///
    /// # Errors
    /// As [`Container::podman`].
    pub fn podman_on_two_disks(image: &Image, options: &[&str], command: &[&str]) -> Result<Self> {
        let shared = Shared::new()?;
        let (id, init_pid, runtime) = podman::start_on_two_disks(image, &shared, options, command)?;
        Self::started(id, init_pid, Box::new(runtime), shared)
    }

    /// As [`Container::podman_with`], with storage that copies the image for each container (`vfs`).
    ///
    /// # Errors
    /// As [`Container::podman`].
    pub fn podman_in_vfs(image: &Image, options: &[&str], command: &[&str]) -> Result<Self> {
        let shared = Shared::new()?;
        let (id, init_pid, runtime) = podman::start_in_vfs(image, &shared, options, command)?;
        Ok(Self { id, init_pid, runtime: Box::new(runtime), shared })
    }

    /// As [`Container::containerd_with`], under a plain name that begins with `prefix`, and in whatever
    /// storage `options` ask for.
    ///
    /// # Errors
    /// As [`Container::containerd`].
    pub fn containerd_named(prefix: &str, image: &Image, options: &[&str], command: &[&str]) -> Result<Self> {
        let shared = Shared::new()?;
        let name = format!("{prefix}{}", std::process::id());
        let (id, init_pid, runtime) = containerd::start_as(name, image, &shared, options, command)?;
        Ok(Self { id, init_pid, runtime: Box::new(runtime), shared })
    }

    /// Runs the image under a containerd of its own, with storage below [`state_dir`](super::state_dir). The
    /// containerd is shared by the containers of one process and stopped with the last of them.
    ///
    /// # Errors
    /// containerd cannot be started or fails (the error holds its words), or its storage is not overlayfs.
    pub fn containerd(image: &Image) -> Result<Self> {
        Self::containerd_with(image, &[], &INIT)
    }

    /// As [`Container::containerd`], with more of `ctr run`'s options, and another command: none for the
    /// image's own. Such a container need not take commands.
    ///
    /// # Errors
    /// As [`Container::containerd`].
    pub fn containerd_with(image: &Image, options: &[&str], command: &[&str]) -> Result<Self> {
        let shared = Shared::new()?;
        let (id, init_pid, runtime) = containerd::start(image, &shared, options, command)?;
        Self::started(id, init_pid, Box::new(runtime), shared)
    }

    /// Runs the image under a Docker of its own, with storage below [`state_dir`](super::state_dir). The
    /// daemon is shared by the containers of one process, and ended and removed with the last of them.
    ///
    /// # Errors
    /// dockerd cannot be started or fails (the error holds its words), or its storage is not overlayfs.
    pub fn docker(image: &Image) -> Result<Self> {
        Self::docker_with(image, &[], &INIT)
    }

    /// As [`Container::docker`], with more of `docker create`'s options, and another command: none for the
    /// image's own. Such a container need not take commands.
    ///
    /// # Errors
    /// As [`Container::docker`].
    pub fn docker_with(image: &Image, options: &[&str], command: &[&str]) -> Result<Self> {
        let shared = Shared::new()?;
        let (id, init_pid, runtime) = docker::start(image, &shared, options, command)?;
        Self::started(id, init_pid, Box::new(runtime), shared)
    }

    fn started(id: String, init_pid: i64, runtime: Box<dyn Handle>, shared: Shared) -> Result<Self> {
        let container = Self { id, init_pid, runtime, shared };
        container.upper_dir().context("the container's storage")?;
        Ok(container)
    }

    /// The container's id, 64 hex digits, as in its cgroup path.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The process id of the container's init, as the host sees it.
    #[must_use]
    pub fn init_pid(&self) -> i64 {
        self.init_pid
    }

    /// Copies a file of the host into the container, as the runtime's own command does.
    ///
    /// # Errors
    /// The runtime has no such command, or it failed.
    pub fn copy_in(&self, from: &Path, to: &str) -> Result<()> {
        self.runtime.copy_in(from, to)
    }

    /// What the runtime itself says has changed (`podman diff`, `docker diff`), each line `A`, `C` or `D` and
    /// a path; `None` where the runtime cannot tell.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn runtime_diff(&self) -> Result<Option<String>> {
        self.runtime.diff()
    }

    /// The container's writable layer on the host.
    ///
    /// # Errors
    /// The container has ended, or its root is no overlay.
    pub fn upper_dir(&self) -> Result<PathBuf> {
        let root = layer::root_mount(self.init_pid)?;
        root.upper().with_context(|| format!("the root is no overlay with an upper directory: {root:?}"))
    }

    /// The image's layers on the host, uppermost first.
    ///
    /// # Errors
    /// The container has ended.
    pub fn lower_dirs(&self) -> Result<Vec<PathBuf>> {
        Ok(layer::root_mount(self.init_pid)?.lower())
    }

    /// The host's directory behind `/vol`.
    #[must_use]
    pub fn vol(&self) -> PathBuf {
        self.shared.vol()
    }

    /// Puts a file into `/corpus`, readable and executable for all; returns its path in the container.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn put(&self, name: &str, content: &[u8]) -> Result<String> {
        let path = self.shared.corpus().join(name);
        std::fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(format!("/corpus/{name}"))
    }

    /// The processes that an engine knows before the first event: init and its ancestors on the host.
    ///
    /// # Errors
    /// The container has ended.
    pub fn table(&self) -> Result<Vec<Process>> {
        let mut table = process::with_ancestors(self.init_pid)?;
        if let Some(init) = table.last_mut() {
            init.pidns_start_ns = init.start_ns;
        }
        Ok(table)
    }

    /// Hands a command to init and returns: [`trace`](super::trace) follows it.
    ///
    /// # Errors
    /// Init does not come to read within 20 seconds, or the command holds a line break.
    pub fn run(&self, command: &str) -> Result<()> {
        self.run_while(command, &mut || Ok(()))
    }

    /// The same; `meanwhile` is called again and again until init reads. A tracer lets init go on there: one
    /// that is stopped never comes to read.
    pub(crate) fn run_while(&self, command: &str, meanwhile: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        if command.contains('\n') {
            bail!("a command is one line, this one is not: {command:?}");
        }
        let path = self.shared.pipe();
        let deadline = Instant::now() + READY_TIMEOUT;
        let mut pipe = loop {
            meanwhile()?;
            match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path) {
                Ok(pipe) => break pipe,
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("waiting for init to read {}", path.display()))
                }
            }
        };
        pipe.write_all(format!("{command}\n").as_bytes()).context("handing a command to the container")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Err(error) = self.runtime.remove() {
            eprintln!("container {} was not removed: {error:#}", self.id);
        }
    }
}
