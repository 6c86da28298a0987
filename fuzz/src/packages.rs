//! Package databases, and command lines of package managers.

use drift_core::command::interpreter::script_argument;
use drift_core::command::manager::identify;
use drift_core::packages::inventory::database_of;
use drift_formats::entry::ImagePath;
use drift_formats::packages::{apk, conda, dpkg, gem, npm, pip};
use drift_formats::rpm::header::Header;
use drift_formats::rpm::{Backend, ReadAt};

/// dpkg's and apk's files.
pub fn system(bytes: &[u8]) {
    for package in dpkg::parse_status(bytes).value {
        assert!(!package.name.contains('/'));
    }
    let _ = (dpkg::parse_list(bytes).count(), dpkg::parse_md5sums(bytes).count());
    let _ = apk::parse_installed(bytes);
}

/// Package records of languages, and which database a path (the first line) belongs to.
pub fn languages(bytes: &[u8]) {
    let cut = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    let (name, rest) = bytes.split_at(cut);
    if let Ok(package) = pip::parse_metadata(bytes) {
        assert!(!package.name.contains('/'));
        let _ = pip::normalised(&package.name);
    }
    let _ = (pip::by_record_name(name), pip::parse_record(bytes).count());
    if let Ok(gem) = gem::parse_gemspec(name, rest) {
        assert!(!gem.name.contains('/'));
    }
    let _ = (npm::parse_hidden_lock(bytes), npm::parse_package_json(bytes));
    let _ = conda::parse_record(bytes);
    if let Ok(path) = ImagePath::from_archive(name) {
        if let Some(database) = database_of(&path) {
            assert!(path.is_within(database.dir.as_bytes()));
        }
    }
}

/// Bytes as a file.
struct File<'a>(&'a [u8]);

impl ReadAt for File<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, buf)
    }
}

/// rpm's containers and headers: the first byte says which.
pub fn rpm(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    // A log needs a database beside it: the input's halves.
    let (database, log) = match which {
        3 => bytes.split_at(bytes.len() / 2),
        _ => (bytes, &b""[..]),
    };
    let backend = match which {
        0 => Backend::Ndb,
        1 => Backend::Bdb,
        2 | 3 => Backend::Sqlite,
        _ => {
            if let Ok(header) = Header::parse(bytes) {
                let _ = header.package();
                header.each_file(&mut |path| assert!(path.starts_with(b"/")));
            }
            return;
        }
    };
    let _ = backend.packages(&File(database), Some(&File(log)));
}

/// The command line of a package manager: the program's path, then its arguments, a line each.
pub fn command_line(bytes: &[u8]) {
    let mut lines = bytes.split(|b| *b == b'\n');
    let exe = lines.next().unwrap_or_default();
    let argv: Vec<&[u8]> = lines.collect();
    let script = script_argument(exe, &argv);
    for owner in [None, Some("dpkg:cmdtest")] {
        if let Some(found) = identify(exe, &argv, script, owner) {
            assert!(found.names.iter().all(|name| !name.contains('\n')), "{found:?}");
        }
    }
}
