//! Containers under podman, with storage of its own: the machine's podman is not touched.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

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
    storage: Storage,
}

impl Handle for Podman {
    fn remove(&mut self) -> Result<()> {
        output(self.storage.podman().args(["rm", "--force", "--time", "0", "--ignore", &self.id])).map(drop)
    }

    fn copy_in(&self, from: &Path, to: &str) -> Result<()> {
        output(self.storage.podman().arg("cp").arg(from).arg(format!("{}:{to}", self.id))).map(drop)
    }

    fn diff(&self) -> Result<Option<String>> {
        output(self.storage.podman().args(["diff", &self.id])).map(Some)
    }
}

/// Where podman keeps containers and images.
#[derive(Debug, Clone)]
struct Storage {
    root: PathBuf,
    run_root: PathBuf,
    driver: &'static str,
    /// Where it has images of, beside its own.
    images: Option<Arc<Disk>>,
}

impl Storage {
    fn own() -> Self {
        Self { root: state_dir().join("podman/root"), run_root: run_root(), driver: "overlay", images: None }
    }

    /// podman with our storage. cgroupfs: the machine may have no systemd.
    fn podman(&self) -> Command {
        let mut command = Command::new("podman");
        command.arg("--root").arg(&self.root).arg("--runroot").arg(&self.run_root);
        command.args(["--storage-driver", self.driver, "--cgroup-manager", "cgroupfs", "--runtime", "runc"]);
        command.args(["--events-backend", "file"]);
        if let Some(images) = &self.images {
            let store = images.0.path().join("root");
            command.arg("--storage-opt").arg(format!("additionalimagestore={}", store.display()));
        }
        command
    }
}

/// A file system of its own, in memory.
#[derive(Debug)]
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("drift-live-disk-").tempdir().context("making a directory")?;
        output(Command::new("mount").args(["-t", "tmpfs", "-o", "size=700m", "drift"]).arg(dir.path()))?;
        Ok(Self(dir))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = output(Command::new("umount").arg("-l").arg(self.0.path()));
    }
}

/// podman keeps sockets in its run directory, whose paths must be short; one for each storage root.
fn run_root() -> PathBuf {
    let key = super::image::short_name(state_dir().as_os_str().as_encoded_bytes());
    std::env::temp_dir().join(format!("drift-live-podman-{key}"))
}

/// As [`start`], with the image's layers on another file system than the container's own.
pub(crate) fn start_on_two_disks(
    image: &Image,
    shared: &Shared,
    options: &[&str],
    arguments: &[&str],
) -> Result<(String, i64, Podman)> {
    let disk = Disk::new()?;
    let (root, run) = (disk.0.path().join("root"), disk.0.path().join("run"));
    load(image, &Storage { root, run_root: run, driver: "overlay", images: None })?;
    let storage = Storage {
        root: state_dir().join("podman/two"),
        run_root: run_root().with_extension("two"),
        driver: "overlay",
        images: Some(Arc::new(disk)),
    };
    start_in(storage, image.reference(), shared, options, arguments)
}

/// As [`start`], with storage that copies the image for each container.
pub(crate) fn start_in_vfs(
    image: &Image,
    shared: &Shared,
    options: &[&str],
    arguments: &[&str],
) -> Result<(String, i64, Podman)> {
    let storage = Storage {
        root: state_dir().join("podman/vfs"),
        run_root: run_root().with_extension("vfs"),
        driver: "vfs",
        images: None,
    };
    load(image, &storage)?;
    start_in(storage, image.reference(), shared, options, arguments)
}

pub(crate) fn start(
    image: &Image,
    shared: &Shared,
    options: &[&str],
    arguments: &[&str],
) -> Result<(String, i64, Podman)> {
    let storage = Storage::own();
    load(image, &storage)?;
    start_in(storage, image.reference(), shared, options, arguments)
}

fn start_in(
    storage: Storage,
    reference: &str,
    shared: &Shared,
    options: &[&str],
    arguments: &[&str],
) -> Result<(String, i64, Podman)> {
    let name = format!("{NAME}{}-{}", std::process::id(), random_id()?);
    let mount = |kind: &str, rest: String| format!("type={kind},{rest}");
    // Made, then started: whatever fails in between, the container's own drop removes it.
    let mut command = storage.podman();
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
    command.args(options).arg(reference).args(arguments);
    let id = output(&mut command)?;
    let container = Podman { id: id.clone(), storage: storage.clone() };
    let started = output(storage.podman().args(["start", &id])).and_then(|_| {
        let pid = output(storage.podman().args(["inspect", "--format", "{{.State.Pid}}", &id]))?;
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

/// Loads the image into a storage, if it is not there yet.
fn load(image: &Image, storage: &Storage) -> Result<()> {
    let reference = image.reference();
    let dir = state_dir().join("podman");
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let _lock = super::image::lock(&dir.join("load.lock"))?;
    sweep(storage)?;
    if output(storage.podman().args(["image", "exists", reference])).is_err() {
        let archive = format!("oci-archive:{}", image.archive().display());
        let loaded = output(storage.podman().args(["pull", "--quiet", &archive]))?;
        let id = loaded.lines().last().unwrap_or_default();
        output(storage.podman().args(["tag", id, reference]))?;
    }
    Ok(())
}

/// Removes containers whose makers were killed before they could.
fn sweep(storage: &Storage) -> Result<()> {
    for name in output(storage.podman().args(["ps", "--all", "--format", "{{.Names}}"]))?.lines() {
        let maker = name.strip_prefix(NAME).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists()) {
            output(storage.podman().args(["rm", "--force", "--time", "0", "--ignore", name]))?;
        }
    }
    Ok(())
}
