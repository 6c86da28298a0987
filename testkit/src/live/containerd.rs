//! Containers under containerd: a daemon of our own with its own storage, so that the machine's is not
//! touched.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use super::container::{Handle, Shared};
use super::image::{self, Image};
use super::run::{output, random_id};
use super::state_dir;

/// Plugins that tests have no use for, and that may fail to load.
const DISABLED: [&str; 6] = [
    "grpc.v1.cri",
    "snapshotter.v1.btrfs",
    "snapshotter.v1.zfs",
    "snapshotter.v1.devmapper",
    "internal.v1.opt",
    "tracing.processor.v1.otlp",
];

const NAMESPACE: &str = "drift-live";
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// The daemon of this process, while a container needs it.
static RUNNING: Mutex<Weak<Daemon>> = Mutex::new(Weak::new());

/// A containerd. Its storage is kept between runs, so only one process at a time may use it: the lock says
/// who.
#[derive(Debug)]
struct Daemon {
    child: Child,
    /// Sockets and state; the same at every start, so that what a killed test has left is found again.
    state: PathBuf,
    _lock: image::Lock,
}

impl Daemon {
    fn shared() -> Result<Arc<Self>> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(daemon) = running.upgrade() {
            return Ok(daemon);
        }
        let daemon = Arc::new(Self::start()?);
        *running = Arc::downgrade(&daemon);
        Ok(daemon)
    }

    fn start() -> Result<Self> {
        let dir = state_dir().join("containerd");
        std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let lock = image::lock(&dir.join("daemon.lock"))?;
        let pid_file = dir.join("daemon.pid");
        end_stale(&pid_file);
        // In the directory for temporary files, because socket paths must be short.
        let key = image::short_name(dir.as_os_str().as_encoded_bytes());
        let state = std::env::temp_dir().join(format!("drift-live-containerd-{key}"));
        std::fs::create_dir_all(&state).with_context(|| format!("making {}", state.display()))?;
        let config = state.join("config.toml");
        let text = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [{}]\n[grpc]\naddress = {:?}\n",
            dir.join("root"),
            state.join("state"),
            DISABLED.map(|plugin| format!("{:?}", format!("io.containerd.{plugin}"))).join(", "),
            state.join("sock"),
        );
        std::fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
        let log_path = dir.join("containerd.log");
        let log = File::create(&log_path).with_context(|| format!("making {}", log_path.display()))?;
        let child = Command::new("containerd")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting containerd")?;
        let mut daemon = Self { child, state, _lock: lock };
        let known = format!("{} {}", daemon.child.id(), config.display());
        std::fs::write(&pid_file, known).with_context(|| format!("writing {}", pid_file.display()))?;
        daemon.wait_until_ready(&log_path)?;
        daemon.sweep()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let Err(error) = output(self.ctr().args(["version"])) else { return Ok(()) };
            let ended = self.child.try_wait().context("looking after containerd")?;
            if ended.is_some() || Instant::now() > deadline {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(5).collect();
                bail!("containerd does not come up ({ended:?}): {error:#}; its last log lines: {tail:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Removes the containers that a killed test has left. We hold the lock, so nobody is using them.
    fn sweep(&self) -> Result<()> {
        for id in output(self.ctr().args(["container", "ls", "--quiet"]))?.lines() {
            remove(self, id)?;
        }
        Ok(())
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.socket()).args(["--namespace", NAMESPACE]);
        command
    }

    fn socket(&self) -> PathBuf {
        self.state.join("sock")
    }

    /// Imports the image if it is not there yet.
    fn load(&self, image: &Image) -> Result<()> {
        let _lock = image::lock(&state_dir().join("containerd/load.lock"))?;
        let known = output(self.ctr().args(["image", "ls", "--quiet"]))?;
        if !known.lines().any(|line| line == image.reference()) {
            output(
                self.ctr()
                    .args(["image", "import", "--snapshotter", "overlayfs", "--digests"])
                    .arg(image.archive()),
            )?;
            let imported = output(self.ctr().args(["image", "ls", "--quiet"]))?;
            if !imported.lines().any(|line| line == image.reference()) {
                bail!("containerd imported the image as {imported:?}, not as {:?}", image.reference());
            }
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM, so that the database is closed in order; ours, by its own process id.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                let _ = std::fs::remove_dir_all(&self.state);
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A container that our containerd runs.
#[derive(Debug)]
pub(crate) struct Containerd {
    id: String,
    daemon: Arc<Daemon>,
}

impl Handle for Containerd {
    fn remove(&mut self) -> Result<()> {
        remove(&self.daemon, &self.id)
    }
}

fn remove(daemon: &Daemon, id: &str) -> Result<()> {
    // The task may be gone or never have been: only the container's own removal must succeed.
    let _ = output(daemon.ctr().args(["task", "rm", "--force", id]));
    output(daemon.ctr().args(["container", "rm", id]))?;
    // The writable layer's files go with containerd's next garbage collection. The daemon does not live that
    // long, so it is asked for one now: that is what giving back a lease and waiting for it does.
    output(daemon.ctr().args(["leases", "create", "--id", id]))?;
    output(daemon.ctr().args(["leases", "rm", "--sync", id])).map(drop)
}

/// Ends a daemon that a killed test has left: it still holds the database. The file names its process id and
/// its configuration; a process with another command line is not it.
fn end_stale(pid_file: &Path) {
    let Ok(text) = std::fs::read_to_string(pid_file) else { return };
    let Some((pid, config)) = text.split_once(' ') else { return };
    let command_line = || std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_ours = || command_line().split(|&byte| byte == 0).any(|word| word == config.as_bytes());
    let Ok(number) = pid.parse::<i32>() else { return };
    let deadline = Instant::now() + Duration::from_secs(10);
    if is_ours() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(number), nix::sys::signal::Signal::SIGTERM);
    }
    while is_ours() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn start(
    image: &Image,
    shared: &Shared,
    options: &[&str],
    arguments: &[&str],
) -> Result<(String, i64, Containerd)> {
    start_as(random_id()?, image, shared, options, arguments)
}

/// As [`start`], under this name.
pub(crate) fn start_as(
    id: String,
    image: &Image,
    shared: &Shared,
    options: &[&str],
    arguments: &[&str],
) -> Result<(String, i64, Containerd)> {
    let daemon = Daemon::shared()?;
    daemon.load(image)?;
    let pid_file = shared.vol().join(".pid");
    let mut command = daemon.ctr();
    command.args(["run", "--detach", "--null-io", "--snapshotter", "overlayfs", "--pid-file"]).arg(&pid_file);
    let binds = [("vol", "rbind:rw", shared.vol()), ("corpus", "rbind:ro", shared.corpus())];
    for (name, options, dir) in binds {
        command.arg("--mount").arg(format!("type=bind,src={},dst=/{name},options={options}", dir.display()));
    }
    command.args(["--mount", "type=tmpfs,src=tmpfs,dst=/scratch,options=rw:mode=1777"]);
    command.args(options).arg(image.reference()).arg(&id).args(arguments);
    let mut container = Containerd { id: id.clone(), daemon: Arc::clone(&daemon) };
    let started = output(&mut command).and_then(|_| {
        let pid = std::fs::read_to_string(&pid_file).context("reading the container's process id")?;
        let _ = std::fs::remove_file(&pid_file);
        pid.trim().parse().with_context(|| format!("ctr gave {pid:?} as the container's process id"))
    });
    match started {
        Ok(pid) => Ok((id, pid, container)),
        Err(error) => {
            let _ = container.remove();
            Err(error)
        }
    }
}
