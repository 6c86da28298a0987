//! Which package owns a path, for one layer of an image.
//!
//! Twelve bytes a path: a keyed hash and a package number. A layer's own databases are enough: dpkg's lists
//! and the files they name are in the layer that installed the package, and the databases of apk and rpm are
//! whole in every layer that changes them, so the top-most layer that knows a path decides.

use crate::image::disk::LayerDir;
use crate::image::layer::{Layer, PathOwners};
use crate::image::view::Image;
use crate::packages::inventory::{Database, Ecosystem};
use drift_formats::entry::ImagePath;
use drift_formats::packages::{apk, dpkg};
use drift_formats::path_key::{path_key, PathKey};
use drift_formats::rpm::header::Header;
use drift_formats::rpm::{Backend, ReadAt};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io::Read;

/// Largest list or database read, bytes.
const MAX_DATABASE: u64 = 64 << 20;
/// Most files looked at in one database directory.
const MAX_LISTS: usize = 100_000;
/// Most paths kept.
const MAX_PATHS: usize = 10_000_000;

const DPKG_INFO: &[u8] = b"/var/lib/dpkg/info";
/// Distroless images keep one file for each package here (bazel rules of GoogleContainerTools/distroless).
const DPKG_STATUS_D: &[u8] = b"/var/lib/dpkg/status.d";
/// Alpine's database; `/usr/lib` since apk-tools 3.
const APK_INSTALLED: [&[u8]; 2] = [b"/lib/apk/db/installed", b"/usr/lib/apk/db/installed"];

/// Owners of paths.
#[derive(Debug, Default)]
pub struct Owners {
    /// Sorted. Beside the numbers, not with them: a pair of both would be padded to sixteen bytes.
    paths: Box<[PathKey]>,
    /// Of each path's package.
    numbers: Box<[u32]>,
    packages: Box<[Box<str>]>,
    /// A database could not be read whole: a path that is not here may have an owner nevertheless.
    partial: bool,
}

/// Collects owners.
#[derive(Debug, Default)]
struct Builder {
    paths: Vec<(PathKey, u32)>,
    packages: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    partial: bool,
}

impl Builder {
    fn add(&mut self, package: &str, path: &[u8]) {
        let Ok(path) = ImagePath::from_archive(path) else { return };
        if path.as_bytes() == b"/" {
            return;
        }
        if self.paths.len() >= MAX_PATHS {
            self.partial = true;
            return;
        }
        let number = match self.numbers.get(package) {
            Some(number) => *number,
            None => {
                let Ok(number) = u32::try_from(self.packages.len()) else { return };
                self.packages.push(package.into());
                self.numbers.insert(package.into(), number);
                number
            }
        };
        self.paths.push((path_key(&path), number));
    }

    /// Reads a file of a database; empty where there is none.
    fn read(&mut self, layer: &LayerDir, dir: &[u8], name: &[u8]) -> Vec<u8> {
        let Ok(path) = ImagePath::from_archive(&[dir, b"/", name].concat()) else { return Vec::new() };
        let mut bytes = Vec::new();
        let read = match layer.open_file(&path) {
            Ok(fd) => std::fs::File::from(fd).take(MAX_DATABASE + 1).read_to_end(&mut bytes),
            Err(Errno::NOENT | Errno::NOTDIR) => return bytes,
            Err(e) => Err(e.into()),
        };
        if read.is_err() || bytes.len() as u64 > MAX_DATABASE {
            self.partial = true;
        }
        bytes
    }

    fn build(mut self) -> Owners {
        // Directories are in many packages' lists; whichever stays, only files are asked for.
        self.paths.sort_unstable();
        self.paths.dedup_by_key(|(key, _)| *key);
        Owners {
            paths: self.paths.iter().map(|(key, _)| *key).collect(),
            numbers: self.paths.iter().map(|(_, number)| *number).collect(),
            packages: self.packages.into_boxed_slice(),
            partial: self.partial,
        }
    }
}

/// Reads the package databases of a layer on disk, once; a thread that may take the time calls this.
pub fn build(layer: &Layer, keep_going: impl FnMut() -> bool) {
    if layer.owners().is_some() {
        return;
    }
    // A layer that cannot be opened owns nothing; that it is unreadable shows in its index.
    let read = layer.open_dir().map(|dir| Owners::read(&dir, keep_going)).unwrap_or(Some(Owners::default()));
    if let Some(owners) = read {
        layer.set_owners(Box::new(owners));
    }
}

/// The package that owns a path, reading databases that were not read yet; `unknown` where it is not known.
pub fn owner_now(image: &Image, path: &ImagePath, keep_going: &mut dyn FnMut() -> bool) -> Option<String> {
    for layer in image.layers() {
        build(layer, &mut *keep_going);
        if layer.owners().is_some_and(|owners| owners.owner(path).is_some()) {
            break;
        }
    }
    image.owner_or_unknown(path)
}

impl Owners {
    /// Reads the package databases of a layer. What cannot be read, or not whole, is noted
    /// ([`PathOwners::is_partial`]).
    ///
    /// `None` when `keep_going` said stop.
    pub fn read(layer: &LayerDir, mut keep_going: impl FnMut() -> bool) -> Option<Self> {
        let mut builder = Builder::default();
        for name in names(layer, DPKG_INFO) {
            let Some(package) = name.strip_suffix(b".list").and_then(dpkg_name) else { continue };
            if !keep_going() {
                return None;
            }
            let list = builder.read(layer, DPKG_INFO, &name);
            dpkg::parse_list(&list).for_each(|path| builder.add(&package, path));
        }
        for name in names(layer, DPKG_STATUS_D) {
            let Some(package) = name.strip_suffix(b".md5sums").and_then(dpkg_name) else { continue };
            let sums = builder.read(layer, DPKG_STATUS_D, &name);
            dpkg::parse_md5sums(&sums).for_each(|(_, path)| builder.add(&package, path));
        }
        for database in APK_INSTALLED {
            if !keep_going() {
                return None;
            }
            let bytes = builder.read(layer, database, b"");
            for package in apk::parse_installed(&bytes).value {
                let name = format!("apk:{}", package.name);
                package.files.iter().for_each(|path| builder.add(&name, path));
            }
        }
        for dir in Database::of_systems().iter().filter(|db| db.ecosystem == Ecosystem::Rpm) {
            if !keep_going() {
                return None;
            }
            read_rpm(layer, &dir.dir, &mut builder);
        }
        Some(builder.build())
    }

    fn by_key(&self, key: PathKey) -> Option<&str> {
        let at = self.paths.binary_search(&key).ok()?;
        self.packages.get(*self.numbers.get(at)? as usize).map(AsRef::as_ref)
    }
}

impl PathOwners for Owners {
    fn is_partial(&self) -> bool {
        self.partial
    }

    fn owner(&self, path: &ImagePath) -> Option<&str> {
        // Lists of a merged-/usr image may still say `/bin/x` for `/usr/bin/x`.
        let unmerged = path.as_bytes().strip_prefix(b"/usr").filter(|rest| rest.first() == Some(&b'/'));
        self.by_key(path_key(path))
            .or_else(|| self.by_key(path_key(&ImagePath::from_archive(unmerged?).ok()?)))
    }

    fn bytes(&self) -> usize {
        self.paths.len() * (std::mem::size_of::<PathKey>() + std::mem::size_of::<u32>())
            + self.packages.iter().map(|p| p.len() + std::mem::size_of::<Box<str>>()).sum::<usize>()
    }
}

/// `libc6:amd64` and `libc6` are the package `dpkg:libc6`; other names are none.
fn dpkg_name(stem: &[u8]) -> Option<String> {
    let name = stem.split(|b| *b == b':').next()?;
    drift_formats::packages::word(name).map(|name| format!("dpkg:{name}"))
}

/// rpm's database is whole in every layer that changes it, as apk's is.
fn read_rpm(layer: &LayerDir, dir: &ImagePath, builder: &mut Builder) {
    let open = |name: &str| {
        let path = ImagePath::from_archive(&[dir.as_bytes(), b"/", name.as_bytes()].concat()).ok()?;
        layer.open_file(&path).ok().map(std::fs::File::from)
    };
    for backend in Backend::ALL {
        let Some(database) = open(backend.file_name()) else { continue };
        let log = backend.log_name().and_then(open);
        // A damaged database owns what could be read of it until then: a file has one owner or none.
        let _ = backend.each_header(&database, log.as_ref().map(|l| l as &dyn ReadAt), &mut |blob| {
            let Ok(header) = Header::parse(blob) else { return };
            let Ok(package) = header.package() else { return };
            let owner = format!("rpm:{}", package.name);
            header.each_file(&mut |path| builder.add(&owner, path));
        });
        return;
    }
}

fn names(layer: &LayerDir, dir: &[u8]) -> Vec<Vec<u8>> {
    match ImagePath::from_archive(dir) {
        Ok(dir) => layer.names(&dir, MAX_LISTS).unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::disk::XattrSpace;
    use std::fs;

    #[test]
    fn owners_come_from_dpkg_distroless_apk_and_rpm() {
        let tmp = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = tmp.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("var/lib/dpkg/info/coreutils.list", "/.\n/bin\n/bin/ls\n/usr/bin/basename\n");
        put("var/lib/dpkg/info/libc6:amd64.list", "/.\n/lib/x86_64-linux-gnu/libc.so.6\n");
        put("var/lib/dpkg/info/coreutils.md5sums", "not a list\n");
        put("var/lib/dpkg/info/..evil.list", "/usr/bin/evil\n");
        put(
            "var/lib/dpkg/status.d/tzdata.md5sums",
            "d41d8cd98f00b204e9800998ecf8427e  usr/share/zoneinfo/UTC\n",
        );
        put("lib/apk/db/installed", "P:busybox\nV:1.36.1-r0\nF:bin\nR:busybox\nF:sbin\n\n");
        let rpmdb = include_bytes!("../../../../tests/fixtures/packages/rpm/Packages.db.gz");
        fs::create_dir_all(tmp.path().join("usr/lib/sysimage/rpm")).unwrap();
        let mut file = fs::File::create(tmp.path().join("usr/lib/sysimage/rpm/Packages.db")).unwrap();
        std::io::copy(&mut flate2::read::GzDecoder::new(&rpmdb[..]), &mut file).unwrap();
        let layer = LayerDir::open(tmp.path(), XattrSpace::User).unwrap();
        let owners = Owners::read(&layer, || true).unwrap();
        for (path, want) in [
            ("/usr/bin/basename", Some("dpkg:coreutils")),
            ("/usr/bin/ls", Some("dpkg:coreutils")),
            ("/bin/ls", Some("dpkg:coreutils")),
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", Some("dpkg:libc6")),
            ("/usr/share/zoneinfo/UTC", Some("dpkg:tzdata")),
            ("/bin/busybox", Some("apk:busybox")),
            ("/usr/share/beta/f2", Some("rpm:beta")),
            ("/usr/bin/big", Some("rpm:big")),
            ("/usr/bin/gamma", None),
            ("/usr/bin/evil", None),
            ("/usr/bin/none", None),
        ] {
            assert_eq!(owners.owner(&ImagePath::from_archive(path.as_bytes()).unwrap()), want, "{path}");
        }
        assert!(!owners.is_partial());
        assert!(Owners::read(&layer, || false).is_none());

        // A list that is too long to be read whole.
        let long = fs::File::create(tmp.path().join("var/lib/dpkg/info/long.list")).unwrap();
        long.set_len(MAX_DATABASE + 1).unwrap();
        assert!(Owners::read(&layer, || true).unwrap().is_partial());
    }
}
