//! Packages that came from the image itself: the wheels that its Python carries for new virtual environments.
//!
//! `python -m venv` installs pip from them. That is no new package as long as each file is the wheel's, by
//! the checksums in the wheel: a wheel of the same name from elsewhere is.

use crate::packages::has_sum;
use crate::packages::inventory::{read, read_head, Database, Ecosystem, PackageChange, Tree};
use drift_formats::entry::ImagePath;
use drift_formats::packages::pip;
use drift_formats::zip::Part;
use std::io::Read;

/// Where wheels lie, below a Python's library or anywhere.
const WHEELS: [&[u8]; 2] = [b"/usr/share/python-wheels", b"/usr/share/python3-wheels"];
/// The same, below a Python's own library.
const BUNDLED: &[u8] = b"/ensurepip/_bundled";
/// Most members of a wheel, and the largest file of one.
const MAX: (usize, u64) = (5_000, 16 << 20);

/// The virtual environment that Python's packages are installed in; `None` where they are not in one.
pub fn environment_of(tree: &dyn Tree, database: &Database) -> Option<ImagePath> {
    let root = environment(database)?;
    let marker = ImagePath::lexical(root.as_bytes(), b"pyvenv.cfg").ok()?;
    matches!(read_head(tree, &marker, 1), Ok(Some(_))).then_some(root)
}

/// `/v` of `/v/lib/python3.11/site-packages`.
fn environment(database: &Database) -> Option<ImagePath> {
    let site = &database.dir;
    if database.ecosystem != Ecosystem::Pip || site.file_name() != Some(b"site-packages") {
        return None;
    }
    site.parent()?.parent()?.parent()
}

/// Whether a package that a virtual environment has gained is, file by file, that of a wheel of the image.
pub fn is_bundled(tree: &dyn Tree, image: &dyn Tree, database: &Database, change: &PackageChange) -> bool {
    let Some(new) = change.new.as_ref().filter(|_| environment_of(tree, database).is_some()) else {
        return false;
    };
    let python =
        database.dir.parent().and_then(|dir| dir.file_name().map(<[u8]>::to_vec)).unwrap_or_default();
    let libraries = [&b"/usr/lib/"[..], b"/usr/local/lib/"].map(|lib| [lib, &python, BUNDLED].concat());
    let wheels = WHEELS.iter().map(|dir| dir.to_vec()).chain(libraries);
    wheels.filter_map(|dir| ImagePath::from_archive(&dir).ok()).any(|dir| {
        let names = image.list(&dir).ok().flatten().unwrap_or_default();
        let is_it = |name: &&Vec<u8>| {
            // `pip-23.0.1-py3-none-any.whl`
            let mut parts = name.strip_suffix(b".whl").unwrap_or_default().split(|b| *b == b'-');
            let text = |part: Option<&[u8]>| {
                String::from_utf8(part.unwrap_or_default().to_vec()).unwrap_or_default()
            };
            let (package, version) = (text(parts.next()), text(parts.next()));
            pip::normalised(&package) == pip::normalised(&change.name) && version == new.version
        };
        let found =
            names.iter().filter(is_it).filter_map(|name| ImagePath::lexical(dir.as_bytes(), name).ok());
        found.into_iter().any(|wheel| has_files_of(tree, image, &database.dir, &wheel).unwrap_or(false))
    })
}

/// Whether a directory of packages has each file of a wheel, as the wheel's own record says.
fn has_files_of(tree: &dyn Tree, image: &dyn Tree, site: &ImagePath, wheel: &ImagePath) -> Option<bool> {
    let file = image.open(wheel).ok()??;
    let whole = Part::whole(&file, file.metadata().ok()?.len());
    let members = whole.members(MAX.0).ok()?;
    let record = members.iter().find(|member| member.name.ends_with(b".dist-info/RECORD"))?;
    let mut listed = Vec::new();
    whole.content(record).ok()?.take(MAX.1).read_to_end(&mut listed).ok()?;
    let mut seen = 0;
    for (path, sum) in pip::parse_record_sums(&listed) {
        // Its own record, and what goes elsewhere.
        if path.ends_with(b".dist-info/RECORD") || path.windows(6).any(|part| part == b".data/") {
            continue;
        }
        let path =
            ImagePath::lexical(site.as_bytes(), &path).ok().filter(|path| path.is_within(site.as_bytes()))?;
        let mut now = tree.open(&path).ok()??;
        if !has_sum(&mut now, sum?, MAX.1, &mut || true)? {
            return Some(false);
        }
        seen += 1;
    }
    // And no module more: what else the database lists is byte code and what pip adds.
    Some(seen > 0 && adds_nothing(tree, site, &record.name, &listed)?)
}

/// Whether the installed record lists no file that the wheel's does not, but for byte code, scripts of its
/// entry points and what pip notes.
fn adds_nothing(tree: &dyn Tree, site: &ImagePath, record: &[u8], listed: &[u8]) -> Option<bool> {
    let path = ImagePath::lexical(site.as_bytes(), record).ok()?;
    let now = read(tree, &path, usize::try_from(MAX.1).ok()?).ok()??;
    let wheels: std::collections::HashSet<Vec<u8>> = pip::parse_record(listed).collect();
    let notes: [&[u8]; 4] = [b"/INSTALLER", b"/REQUESTED", b"/direct_url.json", b"/RECORD"];
    let adds_nothing = pip::parse_record(&now).all(|path| {
        wheels.contains(&path)
            || path.ends_with(b".pyc")
            || path.starts_with(b"../../../bin/")
            || notes.iter().any(|note| path.ends_with(note))
    });
    Some(adds_nothing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::RootDir;
    use crate::packages::inventory::{LiveTree, Release};
    use sha2::{Digest, Sha256};
    use std::fs;
    use std::path::Path;

    fn put(root: &Path, path: &str, content: &[u8]) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn record_line(path: &str, content: &[u8]) -> String {
        use std::fmt::Write;
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let digest = Sha256::digest(content);
        let mut text = String::new();
        for three in digest.chunks(3) {
            let bits =
                three.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - three.len()));
            for at in 0..=three.len() {
                let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
                write!(text, "{}", char::from(letter)).unwrap();
            }
        }
        format!("{path},sha256={text},{}\n", content.len())
    }

    /// The image's wheel, by its bytes: members that are stored.
    fn wheel(members: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (name, content) in members {
            let mut crc = flate2::Crc::new();
            crc.update(content);
            let sizes =
                [crc.sum(), content.len() as u32, content.len() as u32].map(u32::to_le_bytes).concat();
            let offset = out.len() as u32;
            let name_len = (name.len() as u16).to_le_bytes();
            out.extend([&b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0"[..], &sizes, &name_len, &[0, 0]].concat());
            out.extend([name.as_bytes(), content].concat());
            directory.extend(
                [&b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0"[..], &sizes, &name_len, &[0; 12]].concat(),
            );
            directory.extend([&offset.to_le_bytes()[..], name.as_bytes()].concat());
        }
        let start = out.len() as u32;
        out.extend(&directory);
        let count = (members.len() as u16).to_le_bytes();
        out.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count].concat());
        out.extend([(directory.len() as u32).to_le_bytes(), start.to_le_bytes()].concat());
        out.extend([0, 0]);
        out
    }

    #[test]
    fn a_new_environment_has_the_images_wheels_and_nothing_else_counts() {
        const INFO: &str = "pip-23.0.1.dist-info";
        let (module, metadata) = (&b"print(1)\n"[..], &b"Name: pip\nVersion: 23.0.1\n"[..]);
        let lines =
            [record_line("pip/__init__.py", module), record_line(&format!("{INFO}/METADATA"), metadata)]
                .concat();
        let record = format!("{lines}{INFO}/RECORD,,\n");
        let members: [(&str, &[u8]); 3] = [
            ("pip/__init__.py", module),
            ("pip-23.0.1.dist-info/METADATA", metadata),
            ("pip-23.0.1.dist-info/RECORD", record.as_bytes()),
        ];
        let image = tempfile::tempdir().unwrap();
        put(image.path(), "usr/share/python-wheels/pip-23.0.1-py3-none-any.whl", &wheel(&members));
        let now = tempfile::tempdir().unwrap();
        let site = "srv/v/lib/python3.11/site-packages";
        let installed = |path: &str, content: &[u8]| put(now.path(), &format!("{site}/{path}"), content);
        let roots = [image.path(), now.path()].map(|dir| RootDir::open(dir).unwrap());
        let [image, tree] = [&roots[0], &roots[1]].map(LiveTree::new);
        let dir = ImagePath::from_archive(format!("/{site}").as_bytes()).unwrap();
        let database = Database { ecosystem: Ecosystem::Pip, dir };
        let of = |name: &str, version: &str| {
            let new = Some(Release { version: version.into(), ..Release::default() });
            let change = PackageChange { ecosystem: Ecosystem::Pip, name: name.into(), old: None, new };
            is_bundled(&tree, &image, &database, &change)
        };
        for (name, content) in members {
            installed(name, content);
        }
        assert!(!of("pip", "23.0.1"), "no virtual environment");
        put(now.path(), "srv/v/pyvenv.cfg", b"home = /usr/bin\n");
        assert!(of("pip", "23.0.1") && !of("pip", "24.0") && !of("six", "1.0"));
        assert_eq!(environment_of(&tree, &database).unwrap().as_bytes(), b"/srv/v");
        let noted = format!(
            "{record}../../../bin/pip,,\npip/__pycache__/__init__.cpython-311.pyc,,\n{INFO}/INSTALLER,,\n"
        );
        installed("pip-23.0.1.dist-info/RECORD", noted.as_bytes());
        assert!(of("pip", "23.0.1"));

        // A wheel of the same name from elsewhere.
        installed("pip-23.0.1.dist-info/RECORD", format!("{noted}pip/evil.py,,\n").as_bytes());
        assert!(!of("pip", "23.0.1"), "it brings a module more");
        installed("pip-23.0.1.dist-info/RECORD", noted.as_bytes());
        installed("pip/__init__.py", b"import os\n");
        assert!(!of("pip", "23.0.1"), "a module has other content");
    }
}
