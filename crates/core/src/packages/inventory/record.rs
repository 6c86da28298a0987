//! Which package a changed path of a database is the record of.
//!
//! A package that is installed again in the version that it had leaves its database as it was, but for its
//! own record.

use crate::packages::inventory::database::{Database, Ecosystem};
use drift_formats::entry::ImagePath;
use drift_formats::packages::{gem, npm, pip, word, word_with};

/// The package whose own record `path` is, by the key of [`crate::packages::inventory::Packages::by_name`].
/// `None` for files that tell of several, such as dpkg's `status`, and where the name is not in the path.
pub fn record_of(path: &ImagePath, database: &Database) -> Option<String> {
    let rest = path.as_bytes().strip_prefix(database.dir.as_bytes())?.strip_prefix(b"/")?;
    let parts: Vec<&[u8]> = rest.split(|b| *b == b'/').collect();
    match (database.ecosystem, parts.as_slice()) {
        // `info/libc6:amd64.list`; `info/format` is of none.
        (Ecosystem::Dpkg, [b"info", file]) => {
            let dot = file.iter().rposition(|b| *b == b'.')?;
            file.get(..dot)?.split(|b| *b == b':').next().and_then(word)
        }
        (Ecosystem::Pip, [record, ..]) => Some(pip::normalised(&pip::by_record_name(record)?.name)),
        (Ecosystem::Npm, [scope, name, b"package.json"]) => npm_name(&[*scope, b"/", *name].concat()),
        (Ecosystem::Npm, [name, b"package.json"]) => npm_name(name),
        (Ecosystem::Gem, [.., spec]) => gem::parse_gemspec(spec, b"").ok().map(|gem| gem.name),
        // `wheel-0.41.2-py311_0.json`
        (Ecosystem::Conda, [record]) => {
            let mut parts = record.strip_suffix(b".json")?.rsplitn(3, |b| *b == b'-');
            let (_, _, name) = (parts.next()?, parts.next()?, parts.next()?);
            word_with(b"+-._", name)
        }
        _ => None,
    }
}

fn npm_name(name: &[u8]) -> Option<String> {
    let described = serde_json::json!({ "name": std::str::from_utf8(name).ok()? }).to_string();
    npm::parse_package_json(described.as_bytes()).ok().map(|package| package.name)
}

#[cfg(test)]
mod tests {
    use super::super::database_of;
    use super::*;

    #[test]
    fn records_by_path() {
        for (path, want) in [
            ("/var/lib/dpkg/info/jq.list", Some("jq")),
            ("/var/lib/dpkg/info/libc6:amd64.md5sums", Some("libc6")),
            ("/var/lib/dpkg/info/jq.list-new", Some("jq")),
            ("/var/lib/dpkg/info/python3.11.list", Some("python3.11")),
            ("/var/lib/dpkg/info/format", None),
            ("/var/lib/dpkg/info/..evil.list", None),
            ("/var/lib/dpkg/status", None),
            ("/lib/apk/db/installed", None),
            ("/p/dist-packages/Zope.Interface-5.0.dist-info/RECORD", Some("zope-interface")),
            ("/p/dist-packages/six-1.egg-info", Some("six")),
            ("/app/node_modules/left-pad/package.json", Some("left-pad")),
            ("/app/node_modules/@a/b/package.json", Some("@a/b")),
            ("/app/node_modules/.package-lock.json", None),
            ("/g/specifications/left-right-1.2.0.pre.gemspec", Some("left-right")),
            ("/g/specifications/default/json-2.6.1.gemspec", Some("json")),
            ("/c/conda-meta/python-dateutil-2.8-py_0.json", Some("python-dateutil")),
            ("/c/conda-meta/history", None),
        ] {
            let path = ImagePath::from_archive(path.as_bytes()).unwrap();
            let database = database_of(&path).unwrap();
            assert_eq!(record_of(&path, &database).as_deref(), want, "{path:?}");
        }
    }
}
