//! Containers under Docker: a daemon of our own with its own storage, so that the machine's is not touched.
//!
//! It starts a containerd of its own, has no network but its containers' loopback, and changes no packet
//! filter. Its data is removed with it. Whatever a killed test has left is ended and removed at the next
//! start.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use serde_json::{json, Value};

use super::container::{Handle, Shared};
use super::image::{self, Image};
use super::run::output;
use super::state_dir;

/// Until the daemon answers.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Until it has ended after it was asked to; then it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest that one of Docker's commands may take, in seconds: no daemon that hangs may hang a test.
const COMMAND_SECONDS: &str = "60";
/// The machine's containerd, which Docker takes where it runs.
const SYSTEMS_CONTAINERD: &str = "/run/containerd/containerd.sock";

/// The daemon of this process, while a container needs it.
static RUNNING: Mutex<Weak<Daemon>> = Mutex::new(Weak::new());

/// A dockerd. Only one process at a time may use its directories: the lock says who.
#[derive(Debug)]
struct Daemon {
    child: Child,
    dirs: Dirs,
    /// References of the images that were loaded.
    loaded: Mutex<Vec<String>>,
    _lock: image::Lock,
}

/// The daemon's directories, the same at every start.
#[derive(Debug)]
struct Dirs {
    /// Data root and log, on the file system of the build.
    data: PathBuf,
    /// Sockets and state, in the directory for temporary files, because socket paths must be short.
    state: PathBuf,
}

impl Dirs {
    fn socket(&self) -> PathBuf {
        self.state.join("sock")
    }

    fn log(&self) -> PathBuf {
        self.data.join("dockerd.log")
    }

    /// Ends what runs in them, by the process ids that it left, and removes them.
    fn clear(&self) -> Result<()> {
        for (file, signal) in [("pid", Signal::SIGTERM), ("exec/containerd/containerd.pid", Signal::SIGKILL)]
        {
            end(&self.state.join(file), &self.state, signal);
        }
        for dir in [&self.state, &self.data] {
            // Roots of containers are mounted in them; a directory that is mounted somewhere must not be
            // emptied.
            for mount in mounts_below(dir)?.iter().rev() {
                output(Command::new("umount").arg("--lazy").arg(mount))?;
            }
            if dir.exists() && mounts_below(dir)?.is_empty() {
                std::fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
            }
        }
        Ok(())
    }
}

/// Ends the process whose id is in a file, if its command line names the directory: another process may have
/// that id.
fn end(pid_file: &Path, dir: &Path, signal: Signal) {
    let pid = std::fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let Some(pid) = pid else { return };
    let dir = dir.as_os_str().as_encoded_bytes();
    let is_ours = || {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(dir.len()).any(|part| part == dir)
    };
    let deadline = Instant::now() + END_TIMEOUT;
    let mut signal = Some(signal);
    while is_ours() {
        if let Some(signal) = signal.take() {
            let _ = kill(Pid::from_raw(pid), signal);
        }
        if Instant::now() > deadline {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Mount points below a directory, in the order in which they were mounted.
fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    Ok(points.filter(|point| point.starts_with(dir) && point != dir).collect())
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
        let base = state_dir();
        std::fs::create_dir_all(&base).with_context(|| format!("making {}", base.display()))?;
        // As the table of mounts has it: dockerd mounts its data root onto itself.
        let base = base.canonicalize().with_context(|| format!("looking for {}", base.display()))?;
        let lock = image::lock(&base.join("docker.lock"))?;
        let data = base.join("docker");
        let key = image::short_name(data.as_os_str().as_encoded_bytes());
        let state = std::env::temp_dir().join(format!("drift-live-docker-{key}"));
        let dirs = Dirs { data, state };
        dirs.clear()?;
        for dir in [&dirs.data, &dirs.state] {
            std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        // Not the machine's settings, which may name another socket or storage.
        let config = dirs.state.join("daemon.json");
        std::fs::write(&config, "{}").with_context(|| format!("writing {}", config.display()))?;
        let log = File::create(dirs.log()).with_context(|| format!("making {}", dirs.log().display()))?;
        let mut command = Command::new("dockerd");
        command.arg("--config-file").arg(&config).arg("--data-root").arg(dirs.data.join("root"));
        command.arg("--exec-root").arg(dirs.state.join("exec")).arg("--pidfile").arg(dirs.state.join("pid"));
        command.arg("--host").arg(format!("unix://{}", dirs.socket().display()));
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        command.args(["--ip-masq=false", "--userland-proxy=false", "--storage-driver=overlay2"]);
        // The machine may have no systemd.
        command.arg("--exec-opt=native.cgroupdriver=cgroupfs");
        if Path::new(SYSTEMS_CONTAINERD).exists() {
            command.args(["--containerd-namespace=drift-live", "--containerd-plugins-namespace=drift-live"]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.context("starting dockerd")?;
        let mut daemon = Self { child, dirs, loaded: Mutex::default(), _lock: lock };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let Err(error) = output(self.docker().args(["version", "--format", "{{.Server.Version}}"]))
            else {
                return Ok(());
            };
            let ended = self.child.try_wait().context("looking after dockerd")?;
            if ended.is_some() || Instant::now() > deadline {
                let text = std::fs::read_to_string(self.dirs.log()).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(5).collect();
                bail!("dockerd does not come up ({ended:?}): {error:#}; its last log lines: {tail:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Docker's command, with our daemon, for a limited time. That of Debian's package where there is one:
    /// another may be too new for the daemon.
    fn docker(&self) -> Command {
        let packaged = Path::new("/usr/bin/docker");
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", COMMAND_SECONDS]);
        command.arg(if packaged.is_file() { packaged } else { Path::new("docker") });
        command.arg("--host").arg(format!("unix://{}", self.dirs.socket().display()));
        command.env_remove("DOCKER_CONTEXT").env_remove("DOCKER_HOST");
        command
    }

    /// Loads the image if it is not there yet. Its archive has the form that Docker takes only with one file
    /// more.
    fn load(&self, image: &Image) -> Result<()> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.iter().any(|known| known == image.reference()) {
            return Ok(());
        }
        let archive = image.archive();
        let index = member(archive, "index.json")?;
        let digest = index.pointer("/manifests/0/digest").and_then(Value::as_str);
        let digest = digest.context("an index without a manifest")?;
        let manifest = member(archive, &blob(digest))?;
        let layers = manifest.get("layers").and_then(Value::as_array).context("a manifest without layers")?;
        let of = |descriptor: &Value| descriptor.get("digest").and_then(Value::as_str).map(blob);
        let description = json!([{
            "Config": manifest.get("config").and_then(of),
            "RepoTags": [image.reference()],
            "Layers": layers.iter().map(of).collect::<Vec<_>>(),
        }]);
        let file = self.dirs.state.join("manifest.json");
        std::fs::write(&file, description.to_string())
            .with_context(|| format!("writing {}", file.display()))?;
        let mut whole = Command::new("bsdtar")
            .args(["-cf", "-", "-C"])
            .arg(&self.dirs.state)
            .arg("manifest.json")
            .arg(format!("@{}", archive.display()))
            .stdout(Stdio::piped())
            .spawn()
            .context("starting bsdtar")?;
        let stdin = whole.stdout.take().context("bsdtar's pipe is missing")?;
        let said =
            self.docker().args(["load", "--quiet"]).stdin(stdin).output().context("starting docker")?;
        let _ = whole.wait();
        if !said.status.success() {
            bail!("docker load: {}: {}", said.status, String::from_utf8_lossy(&said.stderr).trim());
        }
        loaded.push(image.reference().to_owned());
        Ok(())
    }
}

/// The path of a blob in an OCI image layout.
fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

/// A JSON file of an archive.
fn member(archive: &Path, name: &str) -> Result<Value> {
    let text = output(Command::new("tar").arg("-xOf").arg(archive).arg(format!("./{name}")))?;
    serde_json::from_str(&text).with_context(|| format!("{name} of {}", archive.display()))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its containerd; ours, by its own process id.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let deadline = Instant::now() + END_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Err(error) = self.dirs.clear() {
            eprintln!("dockerd's directories were not removed: {error:#}");
        }
    }
}

/// A container that our dockerd runs.
#[derive(Debug)]
pub(crate) struct Docker {
    id: String,
    daemon: Arc<Daemon>,
}

impl Handle for Docker {
    fn remove(&mut self) -> Result<()> {
        output(self.daemon.docker().args(["rm", "--force", "--volumes", &self.id])).map(drop)
    }

    fn copy_in(&self, from: &Path, to: &str) -> Result<()> {
        output(self.daemon.docker().arg("cp").arg(from).arg(format!("{}:{to}", self.id))).map(drop)
    }

    fn diff(&self) -> Result<Option<String>> {
        output(self.daemon.docker().args(["diff", &self.id])).map(Some)
    }
}

pub(crate) fn start(
    image: &Image,
    shared: &Shared,
    options: &[&str],
    arguments: &[&str],
) -> Result<(String, i64, Docker)> {
    let daemon = Daemon::shared()?;
    daemon.load(image)?;
    // Made, then started: whatever fails in between, the container's own drop removes it.
    let mut command = daemon.docker();
    command.args(["create", "--pull", "never", "--log-driver", "none", "--stop-signal", "SIGKILL"]);
    if !options.iter().any(|option| option.starts_with("--network")) {
        command.args(["--network", "none"]);
    }
    command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]);
    command.arg("--volume").arg(format!("{}:/vol", shared.vol().display()));
    command.arg("--volume").arg(format!("{}:/corpus:ro", shared.corpus().display()));
    command.args(["--tmpfs", "/scratch:rw,exec,mode=1777"]);
    let id = output(command.args(options).arg(image.reference()).args(arguments))?;
    let mut container = Docker { id: id.clone(), daemon: Arc::clone(&daemon) };
    let started = output(daemon.docker().args(["start", &id])).and_then(|_| {
        let pid = output(daemon.docker().args(["inspect", "--format", "{{.State.Pid}}", &id]))?;
        pid.parse().with_context(|| format!("docker gave {pid:?} as the container's process id"))
    });
    match started {
        Ok(pid) => Ok((id, pid, container)),
        Err(error) => {
            let _ = container.remove();
            Err(error)
        }
    }
}
