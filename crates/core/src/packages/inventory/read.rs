//! Reads one package database of a tree.
//!
//! A record that cannot be read is passed over with a warning, or known by its file's name; a database that
//! cannot be read as a whole is an error: half of it would look like removed packages.

use super::{Packages, Release};
use crate::packages::inventory::database::{Database, Ecosystem};
use crate::packages::inventory::tree::{read, read_head, Tree, Unreadable};
use drift_formats::entry::ImagePath;
use drift_formats::packages::{apk, conda, dpkg, gem, npm, pip, Parsed};
use drift_formats::rpm::{Backend, ReadAt};
use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// Largest database of one file, bytes. Debian's `status` has some 2 MB for 1,000 packages.
const MAX_DATABASE: usize = 64 << 20;
/// Largest lock file or record in JSON, bytes.
const MAX_JSON: usize = 32 << 20;
/// How much is read of a file whose beginning tells enough, bytes.
const MAX_HEAD: usize = 64 << 10;
/// The most packages below one `node_modules` that are looked at one by one.
const MAX_WALKED: usize = 20_000;
/// How often a database is read again that changes meanwhile.
const MAX_TRIES: usize = 3;

/// Reads a database; one that is not there has no packages.
pub(super) fn read_database(tree: &dyn Tree, database: &Database) -> Result<Packages, Unreadable> {
    let mut out = Packages::default();
    let dir = &database.dir;
    match database.ecosystem {
        Ecosystem::Dpkg => dpkg_status(tree, dir, &mut out)?,
        Ecosystem::Apk => {
            if let Some(bytes) = read(tree, &child(dir, b"installed")?, MAX_DATABASE)? {
                let parsed = apk::parse_installed(&bytes);
                let packages = take(&mut out, "installed", parsed);
                packages.into_iter().for_each(|p| out.add(&p.name, &p.name, p.version, "", &p.checksum));
            }
        }
        Ecosystem::Rpm => rpm(tree, dir, &mut out)?,
        Ecosystem::Pip => pip(tree, dir, &mut out)?,
        Ecosystem::Npm => npm(tree, dir, &mut out)?,
        Ecosystem::Gem => {
            gems(tree, dir, &mut out)?;
            gems(tree, &child(dir, b"default")?, &mut out)?;
        }
        Ecosystem::Conda => {
            for name in names_with(tree, dir, b".json")? {
                let record = read(tree, &child(dir, &name)?, MAX_JSON);
                let parsed = record.map_err(|e| e.0).and_then(|bytes| match bytes {
                    Some(bytes) => conda::parse_record(&bytes).map(Some),
                    None => Ok(None),
                });
                match parsed {
                    Ok(Some(p)) => out.add(&p.name, &p.name, p.version, &p.subdir, ""),
                    // Removed since the directory was listed.
                    Ok(None) => {}
                    Err(why) => out.warn(&name, &why),
                }
            }
        }
    }
    Ok(out)
}

fn child(dir: &ImagePath, name: &[u8]) -> Result<ImagePath, Unreadable> {
    ImagePath::from_archive(&[dir.as_bytes(), b"/", name].concat()).map_err(|e| Unreadable::at(dir, e))
}

fn names_with(tree: &dyn Tree, dir: &ImagePath, end: &[u8]) -> Result<Vec<Vec<u8>>, Unreadable> {
    let mut names = tree.list(dir)?.unwrap_or_default();
    names.retain(|name| name.ends_with(end));
    Ok(names)
}

fn take<T>(out: &mut Packages, file: &str, parsed: Parsed<T>) -> T {
    parsed.warnings.iter().for_each(|why| out.warn(file.as_bytes(), why));
    out.more_warnings += parsed.more_warnings;
    parsed.value
}

fn dpkg_status(tree: &dyn Tree, dir: &ImagePath, out: &mut Packages) -> Result<(), Unreadable> {
    let mut add = |name: &str, bytes: &[u8]| {
        for p in take(out, name, dpkg::parse_status(bytes)) {
            if p.installed {
                out.add(&p.name, &p.name, p.version, &p.architecture, "");
            }
        }
    };
    if let Some(bytes) = read(tree, &child(dir, b"status")?, MAX_DATABASE)? {
        add("status", &bytes);
    }
    // Distroless images: a file for each package, and its checksums beside it.
    let status_d = child(dir, b"status.d")?;
    for name in tree.list(&status_d)?.unwrap_or_default() {
        if !name.ends_with(b".md5sums") {
            if let Some(bytes) = read(tree, &child(&status_d, &name)?, MAX_DATABASE)? {
                add("status.d", &bytes);
            }
        }
    }
    Ok(())
}

/// What tells that a file was written to or replaced.
fn stamp(file: Option<&File>) -> Option<(u64, u64, i64, i64, i64, i64)> {
    let m = file?.metadata().ok()?;
    Some((m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()))
}

fn rpm(tree: &dyn Tree, dir: &ImagePath, out: &mut Packages) -> Result<(), Unreadable> {
    for backend in Backend::ALL {
        let path = child(dir, backend.file_name().as_bytes())?;
        for _ in 0..MAX_TRIES {
            let Some(database) = tree.open(&path)? else { break };
            let log_path = backend.log_name().map(|name| child(dir, name.as_bytes())).transpose()?;
            let open_log = || log_path.as_ref().map_or(Ok(None), |path| tree.open(path));
            let log = open_log()?;
            let before = (stamp(Some(&database)), stamp(log.as_ref()));
            let parsed = backend.packages(&database, log.as_ref().map(|l| l as &dyn ReadAt));
            // Read while rpm moves its log into the database, the two do not fit together.
            let after = (stamp(tree.open(&path)?.as_ref()), stamp(open_log()?.as_ref()));
            if before != after {
                continue;
            }
            let packages = take(out, backend.file_name(), parsed.map_err(|e| Unreadable::at(&path, e))?);
            for p in packages {
                out.add(&p.name, &p.name, p.version, &p.architecture, &p.installed);
            }
            return Ok(());
        }
        if tree.open(&path)?.is_some() {
            return Err(Unreadable::at(&path, "changes while it is read"));
        }
    }
    Ok(())
}

fn pip(tree: &dyn Tree, dir: &ImagePath, out: &mut Packages) -> Result<(), Unreadable> {
    for name in tree.list(dir)?.unwrap_or_default() {
        if !pip::is_record(&name) {
            continue;
        }
        let record = child(dir, &name)?;
        // An `.egg-info` is a directory or the file itself.
        let files: &[&[u8]] = match name.ends_with(b".dist-info") {
            true => &[b"METADATA"],
            false => &[b"PKG-INFO", b""],
        };
        let mut metadata = Ok(None);
        for file in files {
            metadata = read_head(tree, &child(&record, file)?, MAX_HEAD);
            if !matches!(metadata, Ok(None)) {
                break;
            }
        }
        let parsed = match metadata {
            Ok(Some(bytes)) => pip::parse_metadata(&bytes),
            Ok(None) => Err("no metadata".to_owned()),
            Err(e) => Err(e.0),
        };
        let package = parsed.map_err(|why| {
            out.warn(&name, &why);
            pip::by_record_name(&name)
        });
        if let Some(p) = package.map_or_else(|by_name| by_name, Some) {
            out.add(&pip::normalised(&p.name), &p.name, p.version, "", "");
        }
    }
    Ok(())
}

fn npm(tree: &dyn Tree, dir: &ImagePath, out: &mut Packages) -> Result<(), Unreadable> {
    let mut locked = std::collections::HashSet::new();
    let lock = child(dir, b".package-lock.json")?;
    if let Some(bytes) = read(tree, &lock, MAX_JSON)? {
        let parsed = npm::parse_hidden_lock(&bytes).map_err(|why| Unreadable::at(&lock, why))?;
        for p in take(out, ".package-lock.json", parsed) {
            out.add(&p.name, &p.name, p.version, "", "");
            locked.insert(p.place.into_bytes());
        }
    }
    // What the lock does not have: global installations, other managers', and what was put there by hand.
    let mut pending = vec![(dir.clone(), b"node_modules".to_vec())];
    let mut walked = 0;
    while let Some((dir, place)) = pending.pop() {
        for name in tree.list(&dir)?.unwrap_or_default() {
            if name.starts_with(b".") {
                continue;
            }
            let (path, place) = (child(&dir, &name)?, [place.as_slice(), b"/", &name].concat());
            if locked.contains(&place) {
                continue;
            }
            walked += 1;
            if walked > MAX_WALKED {
                return Err(Unreadable::at(&dir, format!("more than {MAX_WALKED} packages")));
            }
            if name.starts_with(b"@") {
                pending.push((path, place));
                continue;
            }
            match read(tree, &child(&path, b"package.json")?, MAX_JSON)
                .map(|b| b.map(|b| npm::parse_package_json(&b)))
            {
                Ok(Some(Ok(p))) => out.add(&p.name, &p.name, p.version, "", ""),
                Ok(Some(Err(why))) => out.warn(&name, &why),
                // No package: a file, or a directory of something else.
                Ok(None) => continue,
                Err(e) => out.warn(&name, &e.0),
            }
            let nested = [place.as_slice(), b"/node_modules"].concat();
            // Paths have a bound, and with them the depth.
            if let Ok(path) = child(&path, b"node_modules") {
                pending.push((path, nested));
            }
        }
    }
    Ok(())
}

fn gems(tree: &dyn Tree, dir: &ImagePath, out: &mut Packages) -> Result<(), Unreadable> {
    for name in names_with(tree, dir, b".gemspec")? {
        let head = match read_head(tree, &child(dir, &name)?, MAX_HEAD) {
            Ok(head) => head.unwrap_or_default(),
            Err(e) => {
                out.warn(&name, &e.0);
                Vec::new()
            }
        };
        match gem::parse_gemspec(&name, &head) {
            Ok(p) => out.add(&p.name, &p.name, p.version, &p.platform, ""),
            Err(why) => out.warn(&name, &why),
        }
    }
    Ok(())
}

impl Packages {
    fn add(&mut self, key: &str, name: &str, version: String, architecture: &str, stamp: &str) {
        let package =
            self.by_name.entry(key.to_owned()).or_insert_with(|| crate::packages::inventory::Package {
                name: name.to_owned(),
                releases: std::collections::BTreeSet::new(),
            });
        let (architecture, stamp) = (architecture.to_owned(), stamp.to_owned());
        package.releases.insert(Release { version, architecture, stamp });
    }

    fn warn(&mut self, file: &[u8], why: &str) {
        if self.warnings.len() < crate::packages::inventory::MAX_WARNINGS {
            self.warnings.push(format!("{}: {why}", drift_formats::packages::show(file)));
        } else {
            self.more_warnings += 1;
        }
    }
}
