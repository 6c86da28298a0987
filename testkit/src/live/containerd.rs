//! Containers under containerd: a daemon of our own with its own storage, so that the machine's is not touched.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use super::container::{Runtime, Shared, INIT};
use super::image::{self, Image};
use super::run::{output, random_id};
use super::state_dir;

const NAMESPACE: &str = "drift-live";
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// The daemon of this process, while a container needs it.
static RUNNING: Mutex<Weak<Daemon>> = Mutex::new(Weak::new());

/// A containerd. Its storage is kept between runs, so only one process at a time may use it: the lock says who.
#[derive(Debug)]
struct Daemon {
    child: Child,
    /// Sockets and state: a short path, as socket paths must be.
    state: tempfile::TempDir,
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
        let state = tempfile::Builder::new()
            .prefix("drift-ctd-")
            .tempdir()
            .context("making containerd's state directory")?;
        let config = state.path().join("config.toml");
        let text = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [{}]\n[grpc]\naddress = {:?}\n",
            dir.join("root"),
            state.path().join("state"),
            r#""io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp""#,
            state.path().join("sock"),
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
        daemon.wait_until_ready(&log_path)?;
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

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.socket()).args(["--namespace", NAMESPACE]);
        command
    }

    fn socket(&self) -> PathBuf {
        self.state.path().join("sock")
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

impl Runtime for Containerd {
    fn remove(&mut self) -> Result<()> {
        let ctr = || self.daemon.ctr();
        // The task may be gone or never have been: only the container's own removal must succeed.
        let _ = output(ctr().args(["task", "rm", "--force", &self.id]));
        output(ctr().args(["container", "rm", &self.id])).map(drop)
    }
}

pub(crate) fn start(image: &Image, shared: &Shared) -> Result<(String, i64, Containerd)> {
    let daemon = Daemon::shared()?;
    daemon.load(image)?;
    let id = random_id()?;
    let pid_file = shared.vol().join(".pid");
    let mut command = daemon.ctr();
    command.args(["run", "--detach", "--null-io", "--snapshotter", "overlayfs", "--pid-file"]).arg(&pid_file);
    let binds = [("vol", "rbind:rw", shared.vol()), ("corpus", "rbind:ro", shared.corpus())];
    for (name, options, dir) in binds {
        command.arg("--mount").arg(format!("type=bind,src={},dst=/{name},options={options}", dir.display()));
    }
    command.args(["--mount", "type=tmpfs,src=tmpfs,dst=/scratch,options=rw:mode=1777"]);
    command.arg(image.reference()).arg(&id).args(INIT);
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
