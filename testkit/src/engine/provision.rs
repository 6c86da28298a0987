//! Debian testing's `sysdig` with its libraries, unpacked into a private folder and run with its own loader.
//!
//! No root, nothing installed: apt works on private state folders, verifies the archive's signature against
//! the machine's own archive keyring, and only downloads; `dpkg-deb -x` unpacks. Safe under parallel callers
//! (a lock) and against being interrupted (unpacked beside, checked, then renamed).

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{anyhow, bail, Context, Result};

use super::sources::{self, Archive};

/// Changes when the layout of the folder does, so that older ones are made again.
const LAYOUT: &str = "1";

/// An archive that has a recent sysdig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub mirror: String,
    pub suite: &'static str,
    pub components: &'static str,
    pub keyring: PathBuf,
}

/// The command that runs the unpacked sysdig in `dir`, which is made when it is not there.
pub(super) fn ensure(dir: &Path) -> Result<Vec<OsString>> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let dir = std::fs::canonicalize(dir)?;
    let lock = File::create(dir.join("lock")).context("cannot make the lock file")?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .context("cannot lock the engine folder")?;
    let root = dir.join("root");
    let stamp = dir.join("stamp");
    if std::fs::read_to_string(&stamp).is_ok_and(|s| s.lines().next() == Some(LAYOUT)) {
        if let Ok(command) = command(&root) {
            return Ok(command);
        }
    }
    let fresh = tempfile::Builder::new().prefix("new-").tempdir_in(&dir)?;
    let debs = download(fresh.path(), &origin()?)?;
    let unpacked = fresh.path().join("root");
    for deb in &debs {
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("-x").arg(deb).arg(&unpacked);
        succeed(&mut unpack, "cannot unpack a package")?;
    }
    let package = debs.iter().filter_map(|d| d.file_name()?.to_str()).find(|n| n.starts_with("sysdig_"));
    let package = package.ok_or_else(|| anyhow!("apt downloaded no sysdig package"))?;
    let check = command(&unpacked)?;
    let (program, arguments) = check.split_first().ok_or_else(|| anyhow!("no command"))?;
    succeed(Command::new(program).args(arguments).arg("--version"), "the unpacked sysdig does not run")?;
    // No stamp while the folder is in between: an interruption here means doing it again, never half an
    // engine.
    let _ = std::fs::remove_file(&stamp);
    if root.exists() {
        std::fs::remove_dir_all(&root)
            .with_context(|| format!("cannot remove the old {}", root.display()))?;
    }
    std::fs::rename(&unpacked, &root).context("cannot put the engine in place")?;
    std::fs::write(&stamp, format!("{LAYOUT}\n{package}\n"))?;
    command(&root)
}

/// The loader with the library folder and the binary: the packages' own libc, not the machine's.
fn command(root: &Path) -> Result<Vec<OsString>> {
    let (triplet, loader) = match std::env::consts::ARCH {
        "x86_64" => ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
        "aarch64" => ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
        other => bail!("no engine package is known for {other}"),
    };
    let binary = root.join("usr/bin/sysdig");
    if !binary.is_file() {
        bail!("{} is missing", binary.display());
    }
    let dirs: Vec<PathBuf> =
        ["usr/lib", "lib"].iter().map(|d| root.join(d).join(triplet)).filter(|d| d.is_dir()).collect();
    let loader = dirs
        .iter()
        .map(|d| d.join(loader))
        .find(|l| l.exists())
        .ok_or_else(|| anyhow!("{loader} is not in the unpacked packages"))?;
    let path = std::env::join_paths(&dirs).context("the target folder's name has a `:`")?;
    Ok(vec![loader.into(), "--library-path".into(), path, binary.into()])
}

/// Downloads sysdig and everything it depends on, down to libc, into `work`; the files.
fn download(work: &Path, origin: &Origin) -> Result<Vec<PathBuf>> {
    for folder in ["apt/lists/partial", "apt/cache/archives/partial", "apt/log", "apt/preferences.d", "root"]
    {
        std::fs::create_dir_all(work.join(folder))?;
    }
    // An empty list of installed packages: then libc and all others are downloaded too.
    std::fs::write(work.join("apt/status"), "")?;
    std::fs::write(work.join("apt/sources.list"), source_line(origin))?;
    std::fs::write(work.join("apt/conf"), apt_conf(&work.join("apt")))?;
    let conf = work.join("apt/conf");
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.arg("-c").arg(&conf).args(arguments).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    let what = format!("cannot download sysdig from {} {}", origin.mirror, origin.suite);
    succeed(&mut apt(&["-q", "update"]), &what)?;
    succeed(
        &mut apt(&["-q", "-y", "--no-install-recommends", "--download-only", "install", "sysdig"]),
        &what,
    )?;
    let mut debs = Vec::new();
    for entry in std::fs::read_dir(work.join("apt/cache/archives"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "deb") {
            debs.push(path);
        }
    }
    debs.sort();
    Ok(debs)
}

pub(super) fn source_line(origin: &Origin) -> String {
    let Origin { mirror, suite, components, keyring } = origin;
    format!("deb [signed-by={}] {mirror} {suite} {components}\n", keyring.display())
}

/// Read after the machine's own configuration, of which proxies and such are kept. The machine's hooks are
/// not run, only package lists are fetched.
fn apt_conf(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"#clear APT::Update;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
#clear APT::Architectures;
Dir::State "{dir}";
Dir::State::lists "{dir}/lists";
Dir::State::status "{dir}/status";
Dir::Cache "{dir}/cache";
Dir::Cache::archives "archives";
Dir::Log "{dir}/log";
Dir::Etc::sourcelist "{dir}/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{dir}/preferences.d";
APT::Sandbox::User "";
APT::Get::List-Cleanup "false";
APT::Default-Release "";
APT::Update::Error-Mode "any";
Debug::NoLocking "true";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
"#
    )
}

/// The archive to take it from, after the machine's own sources.
fn origin() -> Result<Origin> {
    for tool in ["apt-get", "dpkg-deb"] {
        if super::in_path(tool).is_none() {
            bail!("{tool} is not installed: this is no Debian or Ubuntu");
        }
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mirror = std::env::var("DRIFT_DEBIAN_MIRROR").ok().filter(|m| !m.is_empty());
    choose(&release, mirror.as_deref(), &machine_sources(), Path::new("/usr/share/keyrings"))
}

pub(super) fn choose(
    os_release: &str,
    mirror: Option<&str>,
    archives: &[Archive],
    keyrings: &Path,
) -> Result<Origin> {
    let value = |key: &str| {
        os_release
            .lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix('='))
            .map(|v| v.trim_matches('"').to_owned())
    };
    let ids = format!("{} {}", value("ID").unwrap_or_default(), value("ID_LIKE").unwrap_or_default());
    let ubuntu = mirror.is_none() && ids.split_whitespace().any(|id| id == "ubuntu");
    let codename = match ubuntu {
        true => value("UBUNTU_CODENAME").or_else(|| value("VERSION_CODENAME")),
        false => value("VERSION_CODENAME"),
    };
    let (id, suite, components) =
        if ubuntu { ("ubuntu", "devel", "main universe") } else { ("debian", "testing", "main") };
    let found = || sources::main_mirror(archives, id, &codename.unwrap_or_default()).map(str::to_owned);
    let mirror = mirror.map(str::to_owned).or_else(found).ok_or_else(|| {
        anyhow!(
            "no {id} mirror is in this machine's apt sources: set DRIFT_DEBIAN_MIRROR to the address of one"
        )
    })?;
    let keyring = ["gpg", "pgp"]
        .iter()
        .map(|extension| keyrings.join(format!("{id}-archive-keyring.{extension}")))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let package = if ubuntu { "ubuntu-keyring" } else { "debian-archive-keyring" };
            anyhow!("{id}'s archive keyring is not in {}: install the package {package}", keyrings.display())
        })?;
    Ok(Origin { mirror, suite, components, keyring })
}

fn machine_sources() -> Vec<Archive> {
    let mut archives =
        std::fs::read_to_string("/etc/apt/sources.list").map(|t| sources::one_line(&t)).unwrap_or_default();
    let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") else { return archives };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        match path.extension().and_then(|e| e.to_str()) {
            Some("list") => archives.extend(sources::one_line(&text)),
            Some("sources") => archives.extend(sources::deb822(&text)),
            _ => {}
        }
    }
    archives
}

fn succeed(command: &mut Command, what: &str) -> Result<()> {
    let output =
        command.output().with_context(|| format!("{what}: cannot run {:?}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // The last lines say it; the first are progress.
    let tail: Vec<&str> = said.trim().lines().rev().take(8).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    bail!("{what}: {:?} ended with {}:\n{}", command.get_program(), output.status, tail.join("\n"))
}
