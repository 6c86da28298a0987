//! Whose the files are that package managers installed in a running container, and which change of a file
//! that proves.
//!
//! The databases of the live container tell, read once a package manager of the image has ended and for the
//! packages that it installed: nobody else's entry in a database makes a file a package's. Invariant:
//! bounded; what does not fit makes the answer `unknown`, not "nobody's", and proves nothing.

use crate::packages::inventory::{read, Changes, Database, Ecosystem, Tree};
use drift_formats::entry::ImagePath;
use drift_formats::packages::{apk, dpkg, gem, pip, Checksum};
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

/// Takes a package's name, a path of it, and the checksum that is recorded.
type Add<'a> = dyn FnMut(&str, &[u8], Option<Checksum>) + 'a;

/// A path that a package brought.
#[derive(Debug, Clone, Copy)]
struct Listed {
    path: PathKey,
    sum: Option<Checksum>,
}

/// A package, with the transaction that brought it.
#[derive(Debug, Clone)]
struct Came {
    transaction: i64,
    files: Arc<[Listed]>,
}

/// Whose a path is.
#[derive(Debug, Clone)]
struct Owned {
    owner: Arc<str>,
    transaction: i64,
    sum: Option<Checksum>,
}

/// The packages that were installed at run time, with their files.
#[derive(Debug, Clone, Default)]
pub struct Installed {
    /// By the owner's name (`dpkg:hello`). Of a directory of a package's own (npm, gem) the directory stands
    /// for what is in it.
    packages: BTreeMap<Arc<str>, Came>,
    files: HashMap<PathKey, Owned>,
    directories: HashMap<PathKey, Owned>,
    /// Of the image's packages that the last transaction took away or replaced: their paths, and the
    /// transaction.
    gone: Gone,
    partial: bool,
}

/// What a transaction took away of the image: paths, and directories of a package's own.
#[derive(Debug, Clone, Default)]
struct Gone {
    transaction: i64,
    files: BTreeSet<PathKey>,
    directories: BTreeSet<PathKey>,
}

/// What a package database says of a path that a transaction brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The package, as `dpkg:hello`.
    pub owner: Arc<str>,
    /// The content that it has, where the database records it.
    pub sum: Option<Checksum>,
}

impl Installed {
    /// The package that owns a path: `Ok(None)` where none does.
    ///
    /// # Errors
    /// It does not fit into memory what there is.
    pub fn owner(&self, path: &ImagePath) -> Result<Option<&Arc<str>>, &'static str> {
        match self.find(path) {
            None if self.partial => Err("too many installed files"),
            found => Ok(found.map(|owned| &owned.owner)),
        }
    }

    /// What the databases say of a path whose package came with this transaction; `None` where none did.
    pub fn record(&self, path: &ImagePath, transaction: i64) -> Option<Record> {
        let owned = self.find(path).filter(|owned| owned.transaction == transaction)?;
        Some(Record { owner: Arc::clone(&owned.owner), sum: owned.sum })
    }

    /// Whether this transaction took away, or replaced, a package of the image that had this path.
    pub(crate) fn took_away(&self, path: &ImagePath, transaction: i64) -> bool {
        let Gone { transaction: by, files, directories } = &self.gone;
        let is_gone = |path: &ImagePath| {
            let keys = PathKeys::new(path);
            files.contains(&keys.own()) || keys.ancestors().iter().any(|key| directories.contains(key))
        };
        *by == transaction && (is_gone(path) || unmerged(path).is_some_and(|path| is_gone(&path)))
    }

    /// A package that came with this transaction; `None` where none did.
    pub fn brought(&self, transaction: i64) -> Option<&Arc<str>> {
        self.packages.iter().find(|(_, came)| came.transaction == transaction).map(|(name, _)| name)
    }

    fn find(&self, path: &ImagePath) -> Option<&Owned> {
        let of = |path: &ImagePath| {
            let keys = PathKeys::new(path);
            let below = || keys.ancestors().iter().rev().find_map(|key| self.directories.get(key));
            self.files.get(&keys.own()).or_else(below)
        };
        of(path).or_else(|| of(&unmerged(path)?))
    }
}

/// Lists of merged-/usr images may still say `/bin/x` for `/usr/bin/x`.
fn unmerged(path: &ImagePath) -> Option<ImagePath> {
    let rest = path.as_bytes().strip_prefix(b"/usr").filter(|rest| rest.first() == Some(&b'/'))?;
    ImagePath::from_archive(rest).ok()
}

/// What is installed after a transaction. `tree` is the container, `image` what it was made from.
pub fn after(
    before: &Installed,
    tree: &dyn Tree,
    image: &dyn Tree,
    databases: &BTreeSet<Database>,
    changes: &Changes,
    transaction: i64,
) -> Installed {
    let mut packages = before.packages.clone();
    let mut partial = before.partial;
    for gone in &changes.removed {
        packages.remove(owner_name(gone.ecosystem, &gone.name).as_str());
    }
    let came: Vec<_> =
        [&changes.added, &changes.upgraded, &changes.reinstalled].into_iter().flatten().collect();
    let went: Vec<_> = [&changes.removed, &changes.upgraded].into_iter().flatten().collect();
    partial |= came.len() > MAX_PACKAGES;
    let mut files: BTreeMap<Arc<str>, Vec<Listed>> = BTreeMap::new();
    let mut gone = Gone { transaction, ..Gone::default() };
    let mut room = MAX_PATHS;
    for database in databases {
        let of = |list: &[&crate::packages::inventory::PackageChange]| -> BTreeSet<String> {
            let ours = list.iter().filter(|change| change.ecosystem == database.ecosystem);
            ours.take(MAX_PACKAGES).map(|change| change.name.clone()).collect()
        };
        let mut add = |name: &str, path: &[u8], sum: Option<Checksum>| {
            let Ok(path) = ImagePath::from_archive(path) else { return };
            match room.checked_sub(1) {
                Some(left) if path.as_bytes() != b"/" => {
                    room = left;
                    let listed = Listed { path: path_key(&path), sum };
                    files.entry(owner_name(database.ecosystem, name).into()).or_default().push(listed);
                }
                Some(_) => {}
                None => partial = true,
            }
        };
        let (came, went) = (of(&came), of(&went));
        // A database that cannot be read owns nothing; the comparison has said so.
        if !came.is_empty() && read_files(tree, database, &came, &mut add).is_none() {
            partial = true;
        }
        let mut take = |_: &str, path: &[u8], _: Option<Checksum>| {
            let whole = matches!(database.ecosystem, Ecosystem::Npm | Ecosystem::Gem);
            let into = if whole { &mut gone.directories } else { &mut gone.files };
            if let Some(path) = ImagePath::from_archive(path).ok().filter(|_| into.len() < MAX_PATHS) {
                into.insert(path_key(&path));
            }
        };
        if !went.is_empty() {
            // What cannot be read proves nothing.
            let _ = read_files(image, database, &went, &mut take);
        }
    }
    packages.extend(files.into_iter().map(|(name, files)| (name, Came { transaction, files: files.into() })));
    let (mut files, mut directories) = (HashMap::new(), HashMap::new());
    for (name, came) in &packages {
        let whole = name.starts_with("npm:") || name.starts_with("gem:");
        let into = if whole { &mut directories } else { &mut files };
        for listed in came.files.iter() {
            if into.len() >= MAX_PATHS {
                partial = true;
                break;
            }
            let (owner, transaction) = (Arc::clone(name), came.transaction);
            into.insert(listed.path, Owned { owner, transaction, sum: listed.sum });
        }
    }
    Installed { packages, files, directories, gone, partial }
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
    names: &BTreeSet<String>,
    add: &mut Add<'_>,
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
                    // dpkg writes them itself where a package has none; configuration files are not in them.
                    let sums = read(&at(dir, &[b"info/", stem, b".md5sums"].concat())?)?;
                    let sums: HashMap<&[u8], [u8; 16]> =
                        dpkg::parse_md5sums(&sums).map(|(sum, path)| (path, sum)).collect();
                    let sum_of = |path: &[u8]| sums.get(path.strip_prefix(b"/")?).copied();
                    dpkg::parse_list(&bytes)
                        .for_each(|path| add(&name, path, sum_of(path).map(Checksum::Md5)));
                }
            }
        }
        Ecosystem::Apk => {
            for package in apk::parse_installed(&read(&at(dir, b"installed")?)?).value {
                if names.contains(package.name.as_str()) {
                    let files = package.files.iter().zip(&package.sums);
                    files.for_each(|(path, sum)| add(&package.name, path, *sum));
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
                for (path, sum) in pip::parse_record_sums(&bytes) {
                    if let Some(path) = at(dir, &path) {
                        add(name, path.as_bytes(), sum);
                    }
                }
            }
        }
        // A directory for each package.
        Ecosystem::Npm => {
            for name in names {
                add(name, at(dir, name.as_bytes())?.as_bytes(), None);
            }
        }
        Ecosystem::Gem => {
            for spec in list(dir)? {
                let Ok(found) = gem::parse_gemspec(&spec, b"") else { continue };
                let Some(stem) = spec.strip_suffix(b".gemspec") else { continue };
                if names.contains(found.name.as_str()) {
                    add(&found.name, at(dir, &[b"../gems/", stem].concat())?.as_bytes(), None);
                }
            }
        }
        // Its records name files of the environment; they are not read.
        Ecosystem::Conda => {}
    }
    Some(())
}

fn rpm_files(tree: &dyn Tree, dir: &ImagePath, names: &BTreeSet<String>, add: &mut Add<'_>) -> Option<()> {
    for backend in Backend::ALL {
        let Some(database) = tree.open(&at(dir, backend.file_name().as_bytes())?).ok()? else { continue };
        let log = backend.log_name().and_then(|name| tree.open(&at(dir, name.as_bytes())?).ok()?);
        let read = backend.each_header(&database, log.as_ref().map(|l| l as &dyn ReadAt), &mut |blob| {
            let Ok(header) = Header::parse(blob) else { return };
            let Ok(package) = header.package() else { return };
            if names.contains(package.name.as_str()) {
                header.each_file_with_sum(&mut |path, sum| add(&package.name, path, sum));
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
        put("var/lib/dpkg/info/hello.md5sums", &format!("{}  usr/bin/hello\n", "ab".repeat(16)));
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
        let all = BTreeSet::from([
            db(Ecosystem::Dpkg, "/var/lib/dpkg"),
            db(Ecosystem::Pip, "/p/site-packages"),
            db(Ecosystem::Npm, "/app/node_modules"),
            db(Ecosystem::Gem, "/g/specifications"),
            db(Ecosystem::Apk, "/lib/apk/db"),
        ]);
        let root = RootDir::open(tmp.path()).unwrap();
        let tree = LiveTree::new(&root).unwrap();
        let now = Inventory::read(&tree, &all);
        let mut came = changes(&Inventory::default(), &now);
        came.added.retain(|change| change.name != "other");
        let first = after(&Installed::default(), &tree, &tree, &all, &came, 7);
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
        let second = after(&first, &tree, &tree, &all, &gone, 8);
        assert_eq!(owner(&second, "/usr/bin/hello"), None);

        // Of the transaction that brought it, and no other, with the content that is recorded.
        let path = |path: &str| ImagePath::from_archive(path.as_bytes()).unwrap();
        let record = first.record(&path("/usr/bin/hello"), 7).unwrap();
        assert_eq!((&*record.owner, record.sum), ("dpkg:hello", Some(Checksum::Md5([0xab; 16]))));
        assert!(first.record(&path("/usr/bin/hi"), 7).is_some_and(|record| record.sum.is_none()));
        assert_eq!(first.record(&path("/usr/bin/hello"), 8), None);
        assert_eq!(first.record(&path("/usr/bin/evil"), 7), None);
        for (gone, by, want) in [
            ("/usr/bin/hello", 8, true),
            ("/usr/bin/hello", 7, false),
            ("/usr/bin/evil", 8, false),
            ("/app/node_modules/left/lib/x.js", 8, true),
        ] {
            assert_eq!(second.took_away(&path(gone), by), want, "{gone} {by}");
        }
    }
}
