//! Whose the files are that package managers installed in a running container.
//!
//! The databases of the live container tell, read once a package manager of the image has ended and for the packages that
//! it installed: nobody else's entry in a database makes a file a package's. Invariant: bounded; what does not fit makes
//! the answer `unknown`, not "nobody's".

use crate::packages::inventory::{read, Changes, Database, Ecosystem, Tree};
use drift_formats::entry::ImagePath;
use drift_formats::packages::{apk, dpkg, gem, pip};
use drift_formats::path_key::{path_key, PathKey, PathKeys};
use drift_formats::rpm::header::Header;
use drift_formats::rpm::{Backend, ReadAt};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Most paths kept of one container.
const MAX_PATHS: usize = 200_000;
/// Most packages read after one transaction.
const MAX_PACKAGES: usize = 5_000;
/// Largest list of files, bytes.
const MAX_LIST: usize = 32 << 20;

/// The packages that were installed at run time, with their files.
#[derive(Debug, Clone, Default)]
pub struct Installed {
    /// Paths of each package, by its owner's name (`dpkg:hello`). Of a directory of a package's own (npm, gem) the
    /// directory stands for what is in it.
    packages: BTreeMap<Arc<str>, Arc<[PathKey]>>,
    files: HashMap<PathKey, Arc<str>>,
    directories: HashMap<PathKey, Arc<str>>,
    partial: bool,
}

impl Installed {
    /// The package that owns a path: `Ok(None)` where none does.
    ///
    /// # Errors
    /// It does not fit into memory what there is.
    pub fn owner(&self, path: &ImagePath) -> Result<Option<&Arc<str>>, &'static str> {
        let of = |path: &ImagePath| {
            let keys = PathKeys::new(path);
            let below = || keys.ancestors().iter().rev().find_map(|key| self.directories.get(key));
            self.files.get(&keys.own()).or_else(below)
        };
        // Lists of merged-/usr images may still say `/bin/x` for `/usr/bin/x`.
        let unmerged = path.as_bytes().strip_prefix(b"/usr").filter(|rest| rest.first() == Some(&b'/'));
        let found = of(path).or_else(|| of(&ImagePath::from_archive(unmerged?).ok()?));
        match found {
            None if self.partial => Err("too many installed files"),
            found => Ok(found),
        }
    }
}

/// What is installed after a transaction.
pub fn after<'a>(
    before: &Installed,
    tree: &dyn Tree,
    databases: impl IntoIterator<Item = &'a Database>,
    changes: &Changes,
) -> Installed {
    let mut packages = before.packages.clone();
    let mut partial = before.partial;
    for gone in &changes.removed {
        packages.remove(owner_name(gone.ecosystem, &gone.name).as_str());
    }
    let came: Vec<_> =
        [&changes.added, &changes.upgraded, &changes.reinstalled].into_iter().flatten().collect();
    partial |= came.len() > MAX_PACKAGES;
    let mut files: BTreeMap<Arc<str>, Vec<PathKey>> = BTreeMap::new();
    let mut room = MAX_PATHS;
    for database in databases {
        let names: BTreeSet<&str> = came
            .iter()
            .filter(|change| change.ecosystem == database.ecosystem)
            .take(MAX_PACKAGES)
            .map(|change| change.name.as_str())
            .collect();
        let mut add = |name: &str, path: &[u8]| {
            let Ok(path) = ImagePath::from_archive(path) else { return };
            match room.checked_sub(1) {
                Some(left) if path.as_bytes() != b"/" => {
                    room = left;
                    files
                        .entry(owner_name(database.ecosystem, name).into())
                        .or_default()
                        .push(path_key(&path));
                }
                Some(_) => {}
                None => partial = true,
            }
        };
        // A database that cannot be read owns nothing; the comparison has said so.
        if !names.is_empty() && read_files(tree, database, &names, &mut add).is_none() {
            partial = true;
        }
    }
    packages.extend(files.into_iter().map(|(name, paths)| (name, paths.into())));
    let (mut files, mut directories) = (HashMap::new(), HashMap::new());
    for (name, paths) in &packages {
        let whole = name.starts_with("npm:") || name.starts_with("gem:");
        let into = if whole { &mut directories } else { &mut files };
        for key in paths.iter() {
            if into.len() >= MAX_PATHS {
                partial = true;
                break;
            }
            into.insert(*key, Arc::clone(name));
        }
    }
    Installed { packages, files, directories, partial }
}

fn owner_name(ecosystem: Ecosystem, name: &str) -> String {
    format!("{}:{name}", ecosystem.as_str())
}

fn at(dir: &ImagePath, rest: &[u8]) -> Option<ImagePath> {
    ImagePath::lexical(dir.as_bytes(), rest).ok()
}

/// Gives the files of these packages; `None` where a list cannot be read.
fn read_files(
    tree: &dyn Tree,
    database: &Database,
    names: &BTreeSet<&str>,
    add: &mut dyn FnMut(&str, &[u8]),
) -> Option<()> {
    let dir = &database.dir;
    let list = |path: &ImagePath| tree.list(path).ok().map(Option::unwrap_or_default);
    let read = |path: &ImagePath| read(tree, path, MAX_LIST).ok().map(Option::unwrap_or_default);
    match database.ecosystem {
        Ecosystem::Dpkg => {
            for file in list(&at(dir, b"info")?)? {
                let Some(stem) = file.strip_suffix(b".list") else { continue };
                let Some(name) = stem.split(|b| *b == b':').next().and_then(drift_formats::packages::word)
                else {
                    continue;
                };
                if names.contains(name.as_str()) {
                    let bytes = read(&at(dir, &[b"info/", file.as_slice()].concat())?)?;
                    dpkg::parse_list(&bytes).for_each(|path| add(&name, path));
                }
            }
        }
        Ecosystem::Apk => {
            for package in apk::parse_installed(&read(&at(dir, b"installed")?)?).value {
                if names.contains(package.name.as_str()) {
                    package.files.iter().for_each(|path| add(&package.name, path));
                }
            }
        }
        Ecosystem::Rpm => rpm_files(tree, dir, names, add)?,
        Ecosystem::Pip => {
            for record in list(dir)?.iter().filter(|name| pip::is_record(name)) {
                let named = pip::by_record_name(record)?.name;
                let mine = names.iter().find(|n| pip::normalised(n) == pip::normalised(&named));
                let Some(name) = mine else { continue };
                let bytes = read(&at(dir, &[record.as_slice(), b"/RECORD"].concat())?)?;
                for path in pip::parse_record(&bytes) {
                    if let Some(path) = at(dir, &path) {
                        add(name, path.as_bytes());
                    }
                }
            }
        }
        // A directory for each package.
        Ecosystem::Npm => {
            for name in names {
                add(name, at(dir, name.as_bytes())?.as_bytes());
            }
        }
        Ecosystem::Gem => {
            for spec in list(dir)? {
                let Ok(found) = gem::parse_gemspec(&spec, b"") else { continue };
                let Some(stem) = spec.strip_suffix(b".gemspec") else { continue };
                if names.contains(found.name.as_str()) {
                    add(&found.name, at(dir, &[b"../gems/", stem].concat())?.as_bytes());
                }
            }
        }
        // Its records name files of the environment; they are not read.
        Ecosystem::Conda => {}
    }
    Some(())
}

fn rpm_files(
    tree: &dyn Tree,
    dir: &ImagePath,
    names: &BTreeSet<&str>,
    add: &mut dyn FnMut(&str, &[u8]),
) -> Option<()> {
    for backend in Backend::ALL {
        let Some(database) = tree.open(&at(dir, backend.file_name().as_bytes())?).ok()? else { continue };
        let log = backend.log_name().and_then(|name| tree.open(&at(dir, name.as_bytes())?).ok()?);
        let read = backend.each_header(&database, log.as_ref().map(|l| l as &dyn ReadAt), &mut |blob| {
            let Ok(header) = Header::parse(blob) else { return };
            let Ok(package) = header.package() else { return };
            if names.contains(package.name.as_str()) {
                header.each_file(&mut |path| add(&package.name, path));
            }
        });
        return read.ok();
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::inventory::{changes, Inventory, LiveTree};
    use super::*;
    use crate::host::RootDir;
    use std::fs;

    #[test]
    fn files_belong_to_what_was_installed_and_only_to_that() {
        let tmp = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = tmp.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("var/lib/dpkg/status", "Package: hello\nStatus: install ok installed\nVersion: 2\n");
        put("var/lib/dpkg/info/hello.list", "/.\n/usr\n/usr/bin\n/usr/bin/hello\n/bin/hi\n");
        put("var/lib/dpkg/info/evil.list", "/usr/bin/evil\n");
        put("p/site-packages/Six_x-1.0.dist-info/METADATA", "Name: Six.x\nVersion: 1.0\n");
        put("p/site-packages/Six_x-1.0.dist-info/RECORD", "six.py,,\n../../bin/six,,\n");
        put("app/node_modules/left/package.json", r#"{"name":"left","version":"1.0.0"}"#);
        put("g/specifications/rack-3.0.gemspec", "# stub: rack 3.0 ruby lib\n");
        put("lib/apk/db/installed", "P:jq\nV:1\nF:usr/bin\nR:jq\n\nP:other\nV:1\nF:usr/bin\nR:other\n\n");
        let db = |ecosystem, dir: &str| Database {
            ecosystem,
            dir: ImagePath::from_archive(dir.as_bytes()).unwrap(),
        };
        let all = [
            db(Ecosystem::Dpkg, "/var/lib/dpkg"),
            db(Ecosystem::Pip, "/p/site-packages"),
            db(Ecosystem::Npm, "/app/node_modules"),
            db(Ecosystem::Gem, "/g/specifications"),
            db(Ecosystem::Apk, "/lib/apk/db"),
        ];
        let root = RootDir::open(tmp.path()).unwrap();
        let tree = LiveTree::new(&root).unwrap();
        let now = Inventory::read(&tree, &all);
        let mut came = changes(&Inventory::default(), &now);
        came.added.retain(|change| change.name != "other");
        let first = after(&Installed::default(), &tree, &all, &came);
        let owner = |installed: &Installed, path: &str| {
            let path = ImagePath::from_archive(path.as_bytes()).unwrap();
            installed.owner(&path).unwrap().map(|owner| owner.to_string())
        };
        for (path, want) in [
            ("/usr/bin/hello", Some("dpkg:hello")),
            ("/usr/bin/hi", Some("dpkg:hello")),
            ("/usr/bin/evil", None),
            ("/usr/bin/x", None),
            ("/p/site-packages/six.py", Some("pip:Six.x")),
            ("/p/bin/six", None),
            ("/bin/six", Some("pip:Six.x")),
            ("/app/node_modules/left/lib/x.js", Some("npm:left")),
            ("/app/node_modules/right/x.js", None),
            ("/g/gems/rack-3.0/bin/rackup", Some("gem:rack")),
            ("/usr/bin/jq", Some("apk:jq")),
            ("/usr/bin/other", None),
        ] {
            assert_eq!(owner(&first, path).as_deref(), want, "{path}");
        }
        let gone = Changes { removed: came.added.clone(), ..Changes::default() };
        let second = after(&first, &tree, &all, &gone);
        assert_eq!(owner(&second, "/usr/bin/hello"), None);
    }
}
