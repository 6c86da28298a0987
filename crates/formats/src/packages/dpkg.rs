//! dpkg's database under `/var/lib/dpkg`: `status`, `status.d/*` (distroless), `info/*.list`,
//! and `info/*.md5sums` (deb-control(5), dpkg-query(1)).

use super::{lines, show, word, Parsed};

/// The most packages kept. Debian has some 60,000 in all.
const MAX_PACKAGES: usize = 200_000;

/// A package of the status file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpkgPackage {
    /// `Package`.
    pub name: String,
    /// `Version`; empty where the stanza has none, as with removed packages.
    pub version: String,
    /// `Architecture`; empty where the stanza has none.
    pub architecture: String,
    /// Whether its files are there: by its `Status` neither `not-installed` nor `config-files`. Stanzas
    /// without a `Status`, as in `status.d`, are of installed packages.
    pub installed: bool,
}

#[derive(Default)]
struct Stanza<'a> {
    line: usize,
    package: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    architecture: Option<&'a [u8]>,
    status: Option<&'a [u8]>,
}

/// Parses `status`, or one file of `status.d`.
pub fn parse_status(bytes: &[u8]) -> Parsed<Vec<DpkgPackage>> {
    let mut parsed = Parsed::new(Vec::new());
    let mut stanza = Stanza::default();
    for (line, text) in lines(bytes) {
        if text.trim_ascii().is_empty() {
            finish(std::mem::take(&mut stanza), &mut parsed);
            continue;
        }
        if stanza.line == 0 {
            stanza.line = line;
        }
        // Continuation lines begin with white space; none of the fields read here has any.
        if matches!(text.first(), Some(b' ' | b'\t')) {
            continue;
        }
        let Some(colon) = text.iter().position(|b| *b == b':') else {
            parsed.warn(line, || format!("{} is no field", show(text)));
            continue;
        };
        let (field, value) = text.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        // Field names are not case-sensitive (deb-control(5)).
        let slot = match field.to_ascii_lowercase().as_slice() {
            b"package" => &mut stanza.package,
            b"version" => &mut stanza.version,
            b"architecture" => &mut stanza.architecture,
            b"status" => &mut stanza.status,
            _ => continue,
        };
        *slot = Some(value);
    }
    finish(stanza, &mut parsed);
    parsed
}

fn finish(stanza: Stanza<'_>, parsed: &mut Parsed<Vec<DpkgPackage>>) {
    if stanza.line == 0 {
        return;
    }
    if parsed.value.len() >= MAX_PACKAGES {
        parsed.warn(stanza.line, || format!("more than {MAX_PACKAGES} packages"));
        return;
    }
    let Some(name) = stanza.package.and_then(word) else {
        let given = stanza.package.map_or("missing".into(), show);
        parsed.warn(stanza.line, || format!("Package is {given}, not a package name"));
        return;
    };
    let mut optional = |field: &str, value: Option<&[u8]>| match value.map(|v| (v, word(v))) {
        None => String::new(),
        Some((_, Some(text))) => text,
        Some((raw, None)) => {
            parsed.warn(stanza.line, || format!("{field} of {name} is {}, not one word", show(raw)));
            String::new()
        }
    };
    let version = optional("Version", stanza.version);
    let architecture = optional("Architecture", stanza.architecture);
    // "want flag state", such as "install ok installed" or "deinstall ok config-files".
    let state = stanza.status.map(|s| s.rsplit(|b| *b == b' ').next().unwrap_or_default());
    let installed = !matches!(state, Some(b"not-installed" | b"config-files"));
    parsed.value.push(DpkgPackage { name, version, architecture, installed });
}

/// The paths of an `info/*.list`, absolute as listed; the root (`/.`) and lines that are no absolute path are
/// passed over.
pub fn parse_list(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n').filter(|line| line.starts_with(b"/") && *line != b"/." && line.len() > 1)
}

/// The files of an `info/*.md5sums`: MD5, and path relative to the root. Malformed lines are passed over.
///
/// Distroless images have no `.list`: these are then the package's files.
pub fn parse_md5sums(bytes: &[u8]) -> impl Iterator<Item = ([u8; 16], &[u8])> {
    lines(bytes).filter_map(|(_, line)| {
        let (hex, rest) = line.split_at_checked(32)?;
        // Two spaces, or a space and `*` for binary mode, as md5sum(1) writes.
        let path = rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"))?;
        let mut sum = [0u8; 16];
        for (byte, pair) in sum.iter_mut().zip(hex.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok().filter(|p| !p.starts_with('+'))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        (!path.is_empty()).then_some((sum, path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // As Debian 12 writes it, shortened.
    const STATUS: &[u8] = b"\
Package: coreutils
Essential: yes
Status: install ok installed
Priority: required
Architecture: amd64
Multi-Arch: foreign
Version: 9.1-1
Description: GNU core utilities
 This package contains the basic file, shell and text manipulation
 Package: not-this-one
 .
 utilities.

Package: libc6
Status: install ok unpacked
Architecture: amd64
Multi-Arch: same
Version: 2.36-9+deb12u10
Conffiles:
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7a7b88a71b5ffd9e2644e71a0cfab

Package: nginx-common
Status: deinstall ok config-files
Architecture: all
Version: 1:1.22.1-9~bpo


Package: gone
Status: purge ok not-installed
";

    #[test]
    fn status_of_debian() {
        let parsed = parse_status(STATUS);
        assert_eq!(parsed.warnings, Vec::<String>::new());
        let got: Vec<_> = parsed
            .value
            .iter()
            .map(|p| (p.name.as_str(), p.version.as_str(), p.architecture.as_str(), p.installed))
            .collect();
        assert_eq!(
            got,
            [
                ("coreutils", "9.1-1", "amd64", true),
                ("libc6", "2.36-9+deb12u10", "amd64", true),
                ("nginx-common", "1:1.22.1-9~bpo", "all", false),
                ("gone", "", "", false),
            ]
        );
    }

    #[test]
    fn status_d_of_distroless_has_no_status() {
        let parsed = parse_status(b"Package: base-files\nVersion: 12.4+deb12u10\nArchitecture: amd64");
        assert!(parsed.value[0].installed && parsed.value[0].name == "base-files");
        assert!(parse_status(b"package:tzdata\r\nVERSION: 2024a-0\r\n\r\n").value[0].version == "2024a-0");
    }

    #[test]
    fn hostile_names_are_passed_over() {
        let parsed = parse_status(
            b"Package: ../../etc/x\nVersion: 1\n\nPackage: ok\nVersion: a b\nnonsense\n\nVersion: 2\n\nPackage: \n\nPackage: .hid\n",
        );
        assert_eq!(parsed.value.len(), 1);
        assert_eq!((parsed.value[0].name.as_str(), parsed.value[0].version.as_str()), ("ok", ""));
        assert_eq!(parsed.warnings.len(), 6);
        assert!(parsed.warnings[0].starts_with("line 1: ") && parsed.warnings[0].contains("../../etc/x"));
        let many = parse_status(&b"Package: /\n\n".repeat(100));
        assert_eq!((many.warnings.len(), many.more_warnings), (20, 80));
    }

    #[test]
    fn lists() {
        let list = b"/.\n/usr\n/usr/bin\n/usr/bin/a b\n\nrelative\n/\n/bin/\xff";
        assert_eq!(
            parse_list(list).collect::<Vec<_>>(),
            [&b"/usr"[..], b"/usr/bin", b"/usr/bin/a b", b"/bin/\xff"]
        );
    }

    #[test]
    fn md5sums() {
        let sums = b"d41d8cd98f00b204e9800998ecf8427e  usr/bin/a b\n900150983cd24fb0d6963f7d28e17f72 *x\n\
            d41d8cd98f00b204e9800998ecf8427  short\nzz1d8cd98f00b204e9800998ecf8427e  bad\n\n\
            d41d8cd98f00b204e9800998ecf8427e  \n+41d8cd98f00b204e9800998ecf8427e  plus\n";
        let got: Vec<_> = parse_md5sums(sums).collect();
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].0[0], got[0].0[15], got[0].1), (0xd4, 0x7e, &b"usr/bin/a b"[..]));
        assert_eq!((got[1].0[0], got[1].1), (0x90, &b"x"[..]));
    }

    proptest! {
        #[test]
        fn never_panics(raw in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "(Package: ?[a-z/.]{0,4}\n|Status:[a-z ]{0,8}\n|Version:.{0,5}\n| x\n|\n|:\n){0,20}".prop_map(String::into_bytes),
        ]) {
            for package in parse_status(&raw).value {
                prop_assert!(!package.name.contains('/') && !package.architecture.contains('/'));
            }
            let _ = parse_list(&raw).count() + parse_md5sums(&raw).count();
        }
    }
}
