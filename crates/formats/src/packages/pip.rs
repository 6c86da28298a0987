//! Python's installed distributions: directories `*.dist-info` with `METADATA` and `RECORD`
//! (packaging.python.org, "Recording installed projects"), and before them `*.egg-info`, a directory with
//! `PKG-INFO` or that file itself.

use super::{show, word_with, Checksum};

/// A distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipPackage {
    /// `Name`, as written.
    pub name: String,
    /// `Version`, as written.
    pub version: String,
}

fn text(raw: &[u8]) -> Option<String> {
    // `!` is between epoch and version.
    word_with(b"+-._!", raw)
}

/// Parses `METADATA` or `PKG-INFO`, of which the beginning is enough.
///
/// # Errors
/// No name or version, or one that is no such thing.
pub fn parse_metadata(bytes: &[u8]) -> Result<PipPackage, String> {
    let (mut name, mut version) = (None, None);
    // Headers as of a mail: the first empty line ends them, and the description follows.
    for (_, line) in crate::packages::lines(bytes).take_while(|(_, line)| !line.is_empty()) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (key, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if key.eq_ignore_ascii_case(b"name") {
            name.get_or_insert(value);
        } else if key.eq_ignore_ascii_case(b"version") {
            version.get_or_insert(value);
        }
    }
    let need = |value: Option<&[u8]>, what| {
        let raw = value.ok_or_else(|| format!("no {what}"))?;
        text(raw).ok_or_else(|| format!("{what} is {}", show(raw)))
    };
    Ok(PipPackage { name: need(name, "Name")?, version: need(version, "Version")? })
}

/// Whether a name in a directory is that of a distribution's record.
///
/// pip renames what it is about to remove to `~name`, and Python takes no record for one whose name begins
/// so.
pub fn is_record(file_name: &[u8]) -> bool {
    let named = file_name.strip_suffix(b".dist-info").or_else(|| file_name.strip_suffix(b".egg-info"));
    named.is_some_and(|n| n.first().is_some_and(u8::is_ascii_alphanumeric))
}

/// The distribution by the name of its record alone: `six-1.16.0.dist-info`, `foo-1.0-py3.11.egg-info`,
/// `foo.egg-info`.
pub fn by_record_name(file_name: &[u8]) -> Option<PipPackage> {
    if !is_record(file_name) {
        return None;
    }
    let dot = file_name.iter().rposition(|b| *b == b'.')?;
    let mut parts = file_name.get(..dot)?.split(|b| *b == b'-');
    let (name, version) = (text(parts.next()?)?, parts.next().and_then(text).unwrap_or_default());
    Some(PipPackage { name, version })
}

/// A name as names are compared (PEP 503): `Zope.Interface` and `zope_interface` are one distribution.
pub fn normalised(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if out.ends_with('-') => {}
            '-' | '_' | '.' => out.push('-'),
            c => out.push(c.to_ascii_lowercase()),
        }
    }
    out
}

/// The paths of a `RECORD`: the first column of a CSV file, absolute or relative to the directory that the
/// record is in (`../../../bin/six`). Malformed lines are passed over.
pub fn parse_record(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    parse_record_sums(bytes).map(|(path, _)| path)
}

/// As [`parse_record`], with the checksum of each file where its line has one.
pub fn parse_record_sums(bytes: &[u8]) -> impl Iterator<Item = (Vec<u8>, Option<Checksum>)> + '_ {
    crate::packages::lines(bytes).filter_map(|(_, line)| {
        let mut after_path = line.split(|b| *b == b',').nth(1);
        let path = match line.strip_prefix(b"\"") {
            None => line.split(|b| *b == b',').next()?.to_vec(),
            // A quote in a quoted column is written twice.
            Some(mut rest) => {
                let mut path = Vec::new();
                loop {
                    let quote = rest.iter().position(|b| *b == b'"')?;
                    let (part, after) = rest.split_at(quote);
                    path.extend_from_slice(part);
                    match after.strip_prefix(b"\"\"") {
                        Some(more) => {
                            path.push(b'"');
                            rest = more;
                        }
                        None => {
                            after_path = after.get(1..).and_then(|rest| rest.split(|b| *b == b',').nth(1));
                            break path;
                        }
                    }
                }
            }
        };
        (!path.is_empty()).then(|| (path, after_path.and_then(Checksum::from_record)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn metadata_of_the_real_tools() {
        let six =
            parse_metadata(include_bytes!("../../../../tests/fixtures/packages/pip/six-1.16.0.METADATA"))
                .unwrap();
        assert_eq!((six.name.as_str(), six.version.as_str()), ("six", "1.16.0"));
        let egg =
            include_bytes!("../../../../tests/fixtures/packages/pip/Old.Egg_Thing-0.3.1-py3.11.PKG-INFO");
        let egg = parse_metadata(egg).unwrap();
        assert_eq!((normalised(&egg.name).as_str(), egg.version.as_str()), ("old-egg-thing", "0.3.1"));
        let record = include_bytes!("../../../../tests/fixtures/packages/pip/six-1.16.0.RECORD");
        let files: Vec<_> = parse_record(record).collect();
        assert_eq!((files.len(), files.last().unwrap().as_slice()), (9, &b"six.py"[..]));
        let sums: Vec<_> = parse_record_sums(b"six.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n\"a,b\",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\nRECORD,,\n").collect();
        assert!(sums[0].1.is_some() && sums[1].1.is_some() && sums[2].1.is_none(), "{sums:?}");
    }

    #[test]
    fn names_are_compared_normalised() {
        for (name, want) in [("Zope.Interface", "zope-interface"), ("a__b--.c", "a-b-c"), ("six", "six")] {
            assert_eq!(normalised(name), want);
        }
    }

    #[test]
    fn records_by_name() {
        for (file, want) in [
            ("six-1.16.0.dist-info", Some(("six", "1.16.0"))),
            ("Old.Egg_Thing-0.3.1-py3.11.egg-info", Some(("Old.Egg_Thing", "0.3.1"))),
            ("foo.egg-info", Some(("foo", ""))),
            ("~ix-1.16.0.dist-info", None),
            (".dist-info", None),
            ("six", None),
        ] {
            let got = by_record_name(file.as_bytes());
            assert_eq!(got.as_ref().map(|p| (p.name.as_str(), p.version.as_str())), want, "{file}");
        }
    }

    #[test]
    fn hostile_metadata_says_why() {
        for (bytes, want) in [
            (&b"Name: a\n\nVersion: 1\n"[..], "no Version"),
            (b"Version: 1\n", "no Name"),
            (b"Name: ../x\nVersion: 1\n", "Name is \"../x\""),
            (b"Name: a\nVersion: 1; rm\n", "Version is"),
        ] {
            assert!(parse_metadata(bytes).unwrap_err().starts_with(want));
        }
        let twice = parse_metadata(b"NAME: a\r\nname: b\r\nversion: 1!2.0+x\r\n\r\n").unwrap();
        assert_eq!((twice.name.as_str(), twice.version.as_str()), ("a", "1!2.0+x"));
    }

    #[test]
    fn records_are_csv() {
        let got: Vec<_> =
            parse_record(b"\"a,\"\"b\"\".py\",sha256=x,1\n../../../bin/x,,\n,\n\"open\n").collect();
        assert_eq!(got, [&b"a,\"b\".py"[..], b"../../../bin/x"]);
    }

    proptest! {
        #[test]
        fn never_panics(raw in prop::collection::vec(any::<u8>(), 0..300), text in "([Nn]ame: ?[a-z/]{0,4}\n|Version:.{0,5}\n|\"\"|,|\n){0,20}") {
            for bytes in [raw.as_slice(), text.as_bytes()] {
                if let Ok(package) = parse_metadata(bytes) {
                    prop_assert!(!package.name.contains('/'));
                }
                let _ = (parse_record(bytes).count(), by_record_name(bytes));
            }
        }
    }
}
