//! Which package database a path belongs to.

use drift_formats::entry::ImagePath;

/// A family of packages with its own kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ecosystem {
    /// Debian's.
    Dpkg,
    /// Alpine's.
    Apk,
    /// rpm's.
    Rpm,
    /// Python's.
    Pip,
    /// Node's.
    Npm,
    /// Ruby's.
    Gem,
    /// conda's.
    Conda,
}

impl Ecosystem {
    /// The name that owners begin with (`dpkg:coreutils`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
            Self::Pip => "pip",
            Self::Npm => "npm",
            Self::Gem => "gem",
            Self::Conda => "conda",
        }
    }
}

/// A package database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Database {
    /// What is in it.
    pub ecosystem: Ecosystem,
    /// Its directory: of dpkg, apk and rpm the one with the files; of Python the one with the records
    /// (`site-packages`); `node_modules`; of Ruby `specifications`; `conda-meta`.
    pub dir: ImagePath,
}

const DPKG: &[u8] = b"/var/lib/dpkg";
/// `/usr/lib` since apk-tools 3, and where `/lib` is a link.
const APK: [&[u8]; 2] = [b"/lib/apk/db", b"/usr/lib/apk/db"];
/// The second is Fedora's and SUSE's, the third that of images built by ostree.
const RPM: [&[u8]; 3] = [b"/var/lib/rpm", b"/usr/lib/sysimage/rpm", b"/usr/share/rpm"];

impl Database {
    fn new(ecosystem: Ecosystem, dir: &[u8]) -> Option<Self> {
        Some(Self { ecosystem, dir: ImagePath::from_archive(dir).ok()? })
    }

    /// The databases that have a fixed place, whether they are there or not. Two may be one, by a link.
    pub fn of_systems() -> Vec<Self> {
        let apk = APK.iter().filter_map(|dir| Self::new(Ecosystem::Apk, dir));
        let rpm = RPM.iter().filter_map(|dir| Self::new(Ecosystem::Rpm, dir));
        Self::new(Ecosystem::Dpkg, DPKG).into_iter().chain(apk).chain(rpm).collect()
    }
}

/// The database that a change of `path` is a change of. Locks and caches are none: queries touch them too.
///
/// `/var/lib/apt` is none either: its lists say what could be installed.
pub fn database_of(path: &ImagePath) -> Option<Database> {
    system(path).or_else(|| language(path))
}

fn system(path: &ImagePath) -> Option<Database> {
    // As all of the directories do.
    if !matches!(path.as_bytes(), [b'/', b'v' | b'l' | b'u', ..]) {
        return None;
    }
    let below = |dir: &&[u8]| path.is_within(dir) && path.as_bytes() != *dir;
    let name = path.file_name()?;
    if below(&DPKG) {
        let rest = path.as_bytes().get(DPKG.len() + 1..)?;
        // Alternatives are links that are chosen among, whatever is installed.
        let other = matches!(rest, b"lock" | b"lock-frontend" | b"triggers/Lock")
            || rest.starts_with(b"alternatives");
        return if other { None } else { Database::new(Ecosystem::Dpkg, DPKG) };
    }
    if let Some(dir) = APK.iter().copied().find(|dir| below(dir)) {
        return if name == b"lock" { None } else { Database::new(Ecosystem::Apk, dir) };
    }
    if let Some(dir) = RPM.iter().copied().find(|dir| below(dir)) {
        // Shared memory and locks: every reader writes them.
        let shared = name.starts_with(b"__db.") || name.ends_with(b"-shm") || name.ends_with(b".lock");
        return if shared { None } else { Database::new(Ecosystem::Rpm, dir) };
    }
    None
}

/// Databases of languages may be anywhere: names tell them.
fn language(path: &ImagePath) -> Option<Database> {
    // Asked of each file that is written: of almost all two bytes side by side say no, and of the others the
    // names alone.
    if !may_have_sign(path.as_bytes()) {
        return None;
    }
    let is_sign = |part: &[u8]| {
        part.ends_with(b"-info") || matches!(part, b"node_modules" | b"specifications" | b"conda-meta")
    };
    if !path.components().any(is_sign) {
        return None;
    }
    let parts: Vec<&[u8]> = path.components().collect();
    let dir = |len: usize| -> Option<Vec<u8>> {
        let parts = parts.get(..len)?;
        Some([b"/", parts.join(&b'/').as_slice()].concat())
    };
    for (at, part) in parts.iter().enumerate() {
        let parent = at.checked_sub(1).and_then(|above| parts.get(above)).copied().unwrap_or_default();
        let rest = parts.get(at + 1..).unwrap_or_default();
        let (ecosystem, len) = match (*part, rest) {
            // pip writes them into the directory of `--target` too, whatever its name.
            (record, _) if record.ends_with(b".dist-info") && is_python(record) => (Ecosystem::Pip, at),
            // Elsewhere it is part of a source tree that is being built.
            (record, _) if record.ends_with(b".egg-info") && is_python(record) && is_site(parent) => {
                (Ecosystem::Pip, at)
            }
            (b"node_modules", rest) if is_node(rest) => (Ecosystem::Npm, at + 1),
            (b"specifications", [spec] | [b"default", spec]) if spec.ends_with(b".gemspec") => {
                (Ecosystem::Gem, at + 1)
            }
            (b"conda-meta", [record]) if record.ends_with(b".json") || *record == b"history" => {
                (Ecosystem::Conda, at + 1)
            }
            // What a package brings within itself is not installed.
            (b"node_modules", _) => return None,
            _ => continue,
        };
        return Database::new(ecosystem, &dir(len)?);
    }
    None
}

/// Whether a path has a pair of letters that each of the names has: `-info`, `conda-meta`, `node_modules`,
/// `specifications`.
fn may_have_sign(path: &[u8]) -> bool {
    let after = path.get(1..).unwrap_or_default();
    // Without an early end, so that the compiler takes many bytes at a time.
    path.iter().zip(after).fold(false, |found, (a, b)| {
        let of_sign = (*a == b'-') & ((*b == b'i') | (*b == b'm'));
        found | of_sign | ((*a == b'_') & (*b == b'm')) | ((*a == b'c') & (*b == b'i'))
    })
}

fn is_python(record: &[u8]) -> bool {
    drift_formats::packages::pip::is_record(record)
}

fn is_site(dir: &[u8]) -> bool {
    dir == b"site-packages" || dir == b"dist-packages"
}

/// Whether a path in `node_modules` tells of packages: npm's lock, yarn's and pnpm's state, and each
/// package's description (global installations have nothing else, nor has what was unpacked by hand).
fn is_node(rest: &[&[u8]]) -> bool {
    match rest {
        [state] => matches!(
            *state,
            b".package-lock.json" | b".yarn-integrity" | b".yarn-state.yml" | b".modules.yaml"
        ),
        // npm renames what it is about to replace to `.name-xxxx`.
        [package, b"package.json"] => !package.starts_with(b".") && !package.starts_with(b"@"),
        [scope, package, b"package.json"] => scope.starts_with(b"@") && !package.starts_with(b"."),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Option<(Ecosystem, String)> {
        let found = database_of(&ImagePath::from_archive(path.as_bytes()).unwrap())?;
        Some((found.ecosystem, String::from_utf8(found.dir.as_bytes().to_vec()).unwrap()))
    }

    #[test]
    fn databases_by_path() {
        use Ecosystem::*;
        let rows = [
            ("/var/lib/dpkg/status", Dpkg, "/var/lib/dpkg"),
            ("/var/lib/dpkg/status-new", Dpkg, "/var/lib/dpkg"),
            ("/var/lib/dpkg/info/jq.list", Dpkg, "/var/lib/dpkg"),
            ("/var/lib/dpkg/status.d/tzdata", Dpkg, "/var/lib/dpkg"),
            ("/lib/apk/db/installed", Apk, "/lib/apk/db"),
            ("/usr/lib/apk/db/scripts.tar", Apk, "/usr/lib/apk/db"),
            ("/var/lib/rpm/Packages", Rpm, "/var/lib/rpm"),
            ("/usr/lib/sysimage/rpm/rpmdb.sqlite-wal", Rpm, "/usr/lib/sysimage/rpm"),
            ("/usr/lib/sysimage/rpm/Packages.db", Rpm, "/usr/lib/sysimage/rpm"),
            ("/usr/lib/python3/dist-packages/six-1.egg-info", Pip, "/usr/lib/python3/dist-packages"),
            ("/v/lib/python3.11/site-packages/a-1.dist-info/RECORD", Pip, "/v/lib/python3.11/site-packages"),
            ("/opt/x/a-1.dist-info/METADATA", Pip, "/opt/x"),
            ("/app/node_modules/.package-lock.json", Npm, "/app/node_modules"),
            ("/app/node_modules/.yarn-integrity", Npm, "/app/node_modules"),
            ("/usr/lib/node_modules/npm/package.json", Npm, "/usr/lib/node_modules"),
            ("/usr/local/lib/node_modules/@a/b/package.json", Npm, "/usr/local/lib/node_modules"),
            ("/var/lib/gems/3.1.0/specifications/a-1.gemspec", Gem, "/var/lib/gems/3.1.0/specifications"),
            ("/r/specifications/default/a-1.gemspec", Gem, "/r/specifications"),
            ("/opt/conda/conda-meta/a-1-0.json", Conda, "/opt/conda/conda-meta"),
            ("/opt/conda/conda-meta/history", Conda, "/opt/conda/conda-meta"),
        ];
        for (path, ecosystem, dir) in rows {
            assert_eq!(of(path), Some((ecosystem, dir.to_owned())), "{path}");
        }
    }

    #[test]
    fn what_is_beside_a_database_is_none() {
        for path in [
            "/var/lib/dpkg",
            "/var/lib/dpkg/lock",
            "/var/lib/dpkg/lock-frontend",
            "/var/lib/dpkg/alternatives/awk",
            "/var/lib/dpkgx/status",
            "/var/lib/apt/lists/deb_Packages",
            "/lib/apk/db/lock",
            "/var/lib/rpm/.rpm.lock",
            "/var/lib/rpm/__db.001",
            "/usr/lib/sysimage/rpm/rpmdb.sqlite-shm",
            "/usr/lib/python3/dist-packages/six.py",
            "/usr/lib/python3/dist-packages/~ix-1.dist-info/RECORD",
            "/build/x/x.egg-info/PKG-INFO",
            "/app/node_modules/a/index.js",
            "/app/node_modules/.a-x1/package.json",
            "/app/node_modules/a/node_modules/b/package.json",
            "/app/node_modules/a/test/conda-meta/x.json",
            "/app/package.json",
            "/r/specifications/x.rb",
            "/r/specifications/a/b.gemspec",
            "/",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn fixed_places() {
        assert_eq!(Database::of_systems().len(), 6);
    }
}
