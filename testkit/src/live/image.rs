//! A small Debian image made on the spot, in the form that every runtime takes: an OCI image layout in a tar
//! archive.
//!
//! Its lowest layer is what debootstrap makes of the machine's own release and mirror (minimal variant,
//! merged `/usr`, dpkg's database). Two thin layers lie on it, so that lower layers are several and hide
//! things of each other:
//!
//! | path | layers |
//! |---|---|
//! | `/etc/drift-live/removed` | in 1, whited out by 2 |
//! | `/etc/drift-live/kept` | in 1, replaced by 3 |
//! | `/opt/opaque/old` | in 1; 2 makes `/opt/opaque` opaque |
//! | `/opt/opaque/new`, `/usr/local/bin/second` | in 2 |
//! | `/usr/local/share/third` | in 3 |
//!
//! The image for tests of files ([`Image::files`]) has python3 and a fourth layer: `/etc/case/c001` to
//! `c150`, each with the files of [`CASE_FILES`]; an entry point that takes commands, [`START`]; and
//! `/opt/build/configure`, which makes a script, runs it and installs it as `/usr/local/bin/made`.
//!
//! The image for tests of the network ([`Image::network`]) has python3, nc and curl. The image for tests of
//! packages ([`Image::packages`]) has pip and gem, and in a fourth layer the machine's own node and npm,
//! which take a tenth of the time and space that Debian's packages of them would.
//!
//! The archives are kept in [`state_dir`], one for each kind, recipe and release.

use std::collections::hash_map::DefaultHasher;
use std::fs::{File, OpenOptions};
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{anyhow, Context, Result};
use nix::fcntl::{Flock, FlockArg};
use serde_json::json;

use super::run::output;
use super::{find_program, state_dir};

/// Counts the ways the image was made: raise it with every change here, so that old archives are not taken.
const RECIPE: u32 = 1;

/// The environment that the image declares, as the recorded captures' image does.
pub const ENV: [&str; 2] =
    ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "APP_ENV=production"];

/// How many directories `/etc/case/cNNN` the image for tests of files has.
pub const CASES: usize = 150;

/// The files of each such directory: path, mode, content. Beside them lie `s`, a symlink to `a`, `sd`, a
/// symlink to `d`, and `e`, an empty directory.
pub const CASE_FILES: [(&str, u32, &str); 5] = [
    ("a", 0o644, "content of a\n"),
    ("b", 0o644, "content of b\n"),
    ("x", 0o755, "#!/bin/sh\nexit 0\n"),
    ("empty", 0o644, ""),
    ("d/f", 0o644, "content of f\n"),
];

/// The entry point of the image for tests of files: a script that does what [`super::container::INIT`] does.
pub const START: &str = "/opt/start.sh";

/// As scripts of that name do: makes a script, and runs it.
const CONFIGURE: &str = "#!/bin/sh
printf '#!/bin/sh\\nexit 0\\n' > /opt/build/config.status
chmod 755 /opt/build/config.status
/opt/build/config.status
cp /opt/build/config.status /usr/local/bin/made
";

/// What distinguishes the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Plain,
    Files,
    Network,
    Packages,
}

/// An image ready to be loaded into a runtime.
#[derive(Debug, Clone)]
pub struct Image {
    reference: String,
    archive: PathBuf,
}

impl Image {
    /// The Debian image of the machine's own release; made on first use, which takes half a minute and the
    /// network.
    ///
    /// # Errors
    /// The machine has no apt source to take a mirror from, or debootstrap or tar fail.
    pub fn debian() -> Result<Self> {
        Self::of(Variant::Plain)
    }

    /// The same with python3 and files to change.
    ///
    /// # Errors
    /// As [`Image::debian`].
    pub fn files() -> Result<Self> {
        Self::of(Variant::Files)
    }

    /// The plain image with what `scenarios/network.sh` starts: nc, curl and all of python3.
    ///
    /// # Errors
    /// As [`Image::debian`].
    pub fn network() -> Result<Self> {
        Self::of(Variant::Network)
    }

    /// The same with package managers: apt, dpkg, pip, gem, npm.
    ///
    /// # Errors
    /// As [`Image::debian`]; also where the machine has no node and npm.
    pub fn packages() -> Result<Self> {
        Self::of(Variant::Packages)
    }

    fn of(variant: Variant) -> Result<Self> {
        let os = std::fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
        let release =
            os_release(&os, "VERSION_CODENAME").context("/etc/os-release has no VERSION_CODENAME")?;
        let key = match variant {
            Variant::Plain => format!("{release}-{RECIPE}"),
            Variant::Files => format!("{release}-files-2-{RECIPE}"),
            Variant::Network => format!("{release}-network-{RECIPE}"),
            Variant::Packages => format!("{release}-packages-{RECIPE}"),
        };
        let dir = state_dir().join("image");
        std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let archive = dir.join(format!("{key}.oci.tar"));
        let image = Self { reference: format!("localhost/drift-live:{key}"), archive };
        let _lock = lock(&dir.join("build.lock"))?;
        if !image.archive.is_file() {
            image.build(&dir, &release, variant)?;
        }
        Ok(image)
    }

    /// The name by which runtimes know the image.
    #[must_use]
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The archive on the host.
    #[must_use]
    pub fn archive(&self) -> &Path {
        &self.archive
    }

    fn build(&self, dir: &Path, release: &str, variant: Variant) -> Result<()> {
        let work =
            tempfile::Builder::new().prefix("build-").tempdir_in(dir).context("making a build directory")?;
        let root = work.path().join("root");
        let mirror = apt_mirror(Path::new("/etc/apt"), release)
            .with_context(|| format!("no apt source of this machine is for its release {release}"))?;
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.arg("--variant=minbase");
        match variant {
            Variant::Plain => {}
            Variant::Files => drop(debootstrap.arg("--include=python3-minimal")),
            Variant::Network => _ = debootstrap.arg("--include=python3,netcat-openbsd,curl"),
            Variant::Packages => drop(debootstrap.arg("--include=python3-pip,ruby,libstdc++6")),
        }
        output(debootstrap.arg(release).arg(&root).arg(&mirror))?;
        clear(&root.join("var/cache/apt/archives"))?;
        put(&root, "etc/drift-live/removed", "layer 1\n", 0o644)?;
        put(&root, "etc/drift-live/kept", "layer 1\n", 0o644)?;
        put(&root, "opt/opaque/old", "layer 1\n", 0o644)?;

        let second = work.path().join("second");
        put(&second, "etc/drift-live/.wh.removed", "", 0o644)?;
        put(&second, "opt/opaque/.wh..wh..opq", "", 0o644)?;
        put(&second, "opt/opaque/new", "layer 2\n", 0o644)?;
        put(&second, "usr/local/bin/second", "#!/bin/sh\necho second\n", 0o755)?;

        let third = work.path().join("third");
        put(&third, "etc/drift-live/kept", "layer 3\n", 0o644)?;
        put(&third, "usr/local/share/third", "layer 3\n", 0o644)?;

        let layout = Layout::new(work.path().join("layout"))?;
        let mut layers = vec![layout.layer(&root)?, layout.layer(&second)?, layout.layer(&third)?];
        if variant == Variant::Files {
            let fourth = work.path().join("fourth");
            put_cases(&fourth)?;
            layers.push(layout.layer(&fourth)?);
        }
        if variant == Variant::Packages {
            let fourth = work.path().join("fourth");
            put_npm(&root, &fourth)?;
            layers.push(layout.layer(&fourth)?);
        }
        layout.finish(&self.reference, &layers)?;
        let made = work.path().join("image.tar");
        output(Command::new("tar").arg("-C").arg(&layout.dir).arg("-cf").arg(&made).arg("."))?;
        std::fs::rename(&made, &self.archive).with_context(|| format!("writing {}", self.archive.display()))
    }
}

/// A content-addressed file of the layout.
struct Blob {
    digest: String,
    size: u64,
}

/// An OCI image layout being written.
struct Layout {
    dir: PathBuf,
}

impl Layout {
    fn new(dir: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(dir.join("blobs/sha256"))
            .with_context(|| format!("making {}", dir.display()))?;
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(Self { dir })
    }

    /// A layer of everything below `root`, uncompressed, so that its digest is its diff id.
    fn layer(&self, root: &Path) -> Result<Blob> {
        let tar = self.dir.join("layer.tar");
        let mut command = Command::new("tar");
        command.args([
            "--numeric-owner",
            "--sort=name",
            "--exclude=./dev/*",
            "--exclude=./proc/*",
            "--exclude=./sys/*",
        ]);
        output(command.arg("-C").arg(root).arg("-cf").arg(&tar).arg("."))?;
        self.adopt(&tar)
    }

    fn json(&self, value: &serde_json::Value) -> Result<Blob> {
        let file = self.dir.join("blob.json");
        std::fs::write(&file, value.to_string()).with_context(|| format!("writing {}", file.display()))?;
        self.adopt(&file)
    }

    /// Moves a file to the place of its digest.
    fn adopt(&self, file: &Path) -> Result<Blob> {
        let line = output(Command::new("sha256sum").arg(file))?;
        let digest = line.split_whitespace().next().context("sha256sum printed nothing")?.to_owned();
        let size = file.metadata().with_context(|| format!("stat of {}", file.display()))?.len();
        std::fs::rename(file, self.dir.join("blobs/sha256").join(&digest)).context("moving a blob")?;
        Ok(Blob { digest: format!("sha256:{digest}"), size })
    }

    fn finish(&self, reference: &str, layers: &[Blob]) -> Result<()> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let config = self.json(&json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": ENV, "Cmd": ["/bin/sleep", "100000"], "ExposedPorts": {"8080/tcp": {}}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }))?;
        let described = |kind: &str, blob: &Blob| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            json!({"mediaType": media_type, "digest": blob.digest, "size": blob.size})
        };
        let layers: Vec<_> = layers.iter().map(|layer| described("layer.v1.tar", layer)).collect();
        let manifest = self.json(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described("config.v1+json", &config),
            "layers": layers,
        }))?;
        let mut entry = described("manifest.v1+json", &manifest);
        if let Some(fields) = entry.as_object_mut() {
            let name = json!({
                "org.opencontainers.image.ref.name": reference,
                "io.containerd.image.name": reference,
            });
            fields.insert("annotations".to_owned(), name);
        }
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        std::fs::write(self.dir.join("index.json"), index.to_string()).context("writing index.json")
    }
}

/// A lock between processes and threads, held until dropped.
pub(crate) type Lock = Flock<File>;

/// Waits for the lock `path`, which is made if it is not there.
///
/// # Errors
/// The file cannot be made or locked.
pub(crate) fn lock(path: &Path) -> Result<Lock> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| anyhow!("locking {}: {errno}", path.display()))
}

/// A short name for some bytes, the same in every process of this build.
pub(crate) fn short_name(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn put(root: &Path, path: &str, content: &str, mode: u32) -> Result<()> {
    let file = root.join(path);
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    std::fs::write(&file, content).with_context(|| format!("writing {}", file.display()))?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).context("setting a file's mode")
}

/// Copies the machine's node and npm into `layer`, with those libraries that the image's `root` does not
/// have.
fn put_npm(root: &Path, layer: &Path) -> Result<()> {
    let node = find_program("node").context("the machine has no node")?;
    let npm = find_program("npm").context("the machine has no npm")?;
    let npm = npm.canonicalize().context("looking for npm")?;
    let node = node.canonicalize().context("looking for node")?;
    let modules = npm.ancestors().nth(3).context("npm lies in no directory of modules")?;
    let mut files = vec![node.clone()];
    // Debian keeps what npm needs beside it, others in it.
    files.push(if modules.ends_with("nodejs") { modules.to_owned() } else { modules.join("npm") });
    let libraries = output(Command::new("ldd").arg(&node))?;
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let path = Path::new(library).canonicalize().context("looking for a library")?;
        let inside = |path: &Path| path.strip_prefix("/").is_ok_and(|path| root.join(path).exists());
        if !inside(&path) && !inside(Path::new(library)) {
            files.push(Path::new(library).to_owned());
        }
    }
    for file in &files {
        let to = layer.join(file.strip_prefix("/").context("a path that is not absolute")?);
        let dir = to.parent().context("a path without a directory")?;
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        output(Command::new("cp").arg("-rL").arg(file).arg(&to))?;
    }
    let bin = layer.join("usr/local/bin");
    std::fs::create_dir_all(&bin).with_context(|| format!("making {}", bin.display()))?;
    let made = std::os::unix::fs::symlink(&node, bin.join("node"))
        .and_then(|()| std::os::unix::fs::symlink(&npm, bin.join("npm")));
    made.context("linking node and npm")
}

fn put_cases(root: &Path) -> Result<()> {
    for number in 1..=CASES {
        let dir = format!("etc/case/c{number:03}");
        for (name, mode, content) in CASE_FILES {
            put(root, &format!("{dir}/{name}"), content, mode)?;
        }
        let dir = root.join(dir);
        let made = std::fs::create_dir(dir.join("e"))
            .and_then(|()| std::os::unix::fs::symlink("a", dir.join("s")))
            .and_then(|()| std::os::unix::fs::symlink("d", dir.join("sd")));
        made.with_context(|| format!("making {}", dir.display()))?;
    }
    let [_, _, takes_commands] = super::container::INIT;
    put(root, START.trim_start_matches('/'), &format!("#!/bin/sh\n{takes_commands}\n"), 0o755)?;
    put(root, "opt/build/configure", CONFIGURE, 0o755)
}

fn clear(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry?.path();
        if path.is_file() {
            std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

fn os_release(text: &str, name: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .map(|value| value.trim_matches('"').to_owned())
}

/// The first mirror for `release` in apt's sources, in either of their formats.
fn apt_mirror(apt: &Path, release: &str) -> Option<String> {
    let mut files = vec![apt.join("sources.list")];
    let mut listed: Vec<PathBuf> = std::fs::read_dir(apt.join("sources.list.d"))
        .map(|dir| dir.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    listed.sort();
    files.extend(listed);
    files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .find_map(|text| mirror_in(&text, release))
}

fn mirror_in(text: &str, release: &str) -> Option<String> {
    let one_line = text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace();
        let uri = words.next()?;
        (words.next()? == release).then(|| uri.to_owned())
    });
    one_line.or_else(|| {
        text.split("\n\n").find_map(|stanza| {
            let value = |name: &str| {
                stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
            };
            let ours = value("Suites")?.split_whitespace().any(|suite| suite == release);
            let binary =
                value("Types").is_none_or(|types| types.split_whitespace().any(|kind| kind == "deb"));
            (ours && binary).then(|| value("URIs")?.split_whitespace().next().map(str::to_owned))?
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_found_in_both_formats_of_sources() {
        let cases = [
            ("deb http://a.test/x trixie main\n", Some("http://a.test/x")),
            (
                "# deb http://no.test trixie main\ndeb [arch=amd64 signed-by=/k] \
                http://b.test trixie main\n",
                Some("http://b.test"),
            ),
            ("deb http://a.test other main\n", None),
            ("deb-src http://a.test trixie main\n", None),
            ("Types: deb\nURIs: http://c.test/\nSuites: trixie trixie-updates\n", Some("http://c.test/")),
            (
                "Types: deb-src\nURIs: http://no.test/\nSuites: trixie\n\nTypes: deb\n\
                URIs: http://d.test http://e.test\nSuites: trixie\n",
                Some("http://d.test"),
            ),
            ("Types: deb\nURIs: http://c.test/\nSuites: trixie-security\n", None),
        ];
        for (text, expected) in cases {
            assert_eq!(mirror_in(text, "trixie").as_deref(), expected, "{text}");
        }
    }
}
