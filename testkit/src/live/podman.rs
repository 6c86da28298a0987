//! Containers under podman, with storage of its own: the machine's podman is not touched.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::container::{Handle, Shared};
use super::image::Image;
use super::run::{output, random_id};
use super::state_dir;

/// What our containers' names begin with; the process that made them comes next.
const NAME: &str = "drift-live-";

/// A container that podman runs.
#[derive(Debug)]
pub(crate) struct Podman {
    id: String,
}

impl Handle for Podman {
    fn remove(&mut self) -> Result<()> {
        output(podman().args(["rm", "--force", "--time", "0", "--ignore", &self.id])).map(drop)
    }

    fn copy_in(&self, from: &Path, to: &str) -> Result<()> {
        output(podman().arg("cp").arg(from).arg(format!("{}:{to}", self.id))).map(drop)
    }

    fn diff(&self) -> Result<Option<String>> {
        output(podman().args(["diff", &self.id])).map(Some)
    }
}

/// podman with our storage. cgroupfs: the machine may have no systemd.
fn podman() -> Command {
    let dir = state_dir().join("podman");
    let mut command = Command::new("podman");
    command.arg("--root").arg(dir.join("root"));
    command.arg("--runroot").arg(run_root());
    command.args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--runtime", "runc"]);
    command.args(["--events-backend", "file"]);
    command
}

/// podman keeps sockets in its run directory, whose paths must be short; one for each storage root.
fn run_root() -> PathBuf {
    let key = super::image::short_name(state_dir().as_os_str().as_encoded_bytes());
    std::env::temp_dir().join(format!("drift-live-podman-{key}"))
}

pub(crate) fn start(
    image: &Image,
    shared: &Shared,
    options: &[&str],
    arguments: &[&str],
) -> Result<(String, i64, Podman)> {
    let reference = load(image)?;
    let name = format!("{NAME}{}-{}", std::process::id(), random_id()?);
    let mount = |kind: &str, rest: String| format!("type={kind},{rest}");
    // Made, then started: whatever fails in between, the container's own drop removes it.
    let mut command = podman();
    command.args(["create", "--pull", "never", "--name", &name, "--log-driver", "none"]);
    if !options.iter().any(|option| option.starts_with("--network")) {
        command.args(["--network", "none"]);
    }
    command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]);
    command.arg("--mount").arg(mount("bind", format!("src={},dst=/vol", shared.vol().display())));
    command
        .arg("--mount")
        .arg(mount("bind", format!("src={},dst=/corpus,ro=true", shared.corpus().display())));
    command.args(["--tmpfs", "/scratch:rw,exec,mode=1777"]);
    command.args(options).arg(&reference).args(arguments);
    let id = output(&mut command)?;
    let container = Podman { id: id.clone() };
    let started = output(podman().args(["start", &id])).and_then(|_| {
        let pid = output(podman().args(["inspect", "--format", "{{.State.Pid}}", &id]))?;
        pid.parse().with_context(|| format!("podman gave {pid:?} as the container's process id"))
    });
    match started {
        Ok(pid) => Ok((id, pid, container)),
        Err(error) => {
            let mut container = container;
            let _ = container.remove();
            Err(error)
        }
    }
}

/// The image's reference in our storage, loaded there if it is not yet.
fn load(image: &Image) -> Result<String> {
    let reference = image.reference();
    let dir = state_dir().join("podman");
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let _lock = super::image::lock(&dir.join("load.lock"))?;
    sweep()?;
    if output(podman().args(["image", "exists", reference])).is_err() {
        let archive = format!("oci-archive:{}", image.archive().display());
        let loaded = output(podman().args(["pull", "--quiet", &archive]))?;
        let id = loaded.lines().last().unwrap_or_default();
        output(podman().args(["tag", id, reference]))?;
    }
    Ok(reference.to_owned())
}

/// Removes containers whose makers were killed before they could.
fn sweep() -> Result<()> {
    for name in output(podman().args(["ps", "--all", "--format", "{{.Names}}"]))?.lines() {
        let maker = name.strip_prefix(NAME).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists()) {
            output(podman().args(["rm", "--force", "--time", "0", "--ignore", name]))?;
        }
    }
    Ok(())
}
