//! Alpine's database of installed packages, `/lib/apk/db/installed` (apk-installed(5)): records of `X:value`
//! lines, an empty line between them.

use super::{lines, show, word, word_with, Checksum, Parsed};
use crate::entry::{ImagePath, MAX_PATH};

/// The most packages kept.
const MAX_PACKAGES: usize = 100_000;

/// The most bytes of file paths kept. Each is its directory's and its own name, so a short record could
/// otherwise grow a thousandfold. Ten times what Alpine's largest images have.
const MAX_PATH_BYTES: usize = 64 << 20;

/// An installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApkPackage {
    /// `P:`.
    pub name: String,
    /// `V:`; empty where the record has none.
    pub version: String,
    /// `C:`, the checksum of the package; empty where the record has none.
    pub checksum: String,
    /// Its files (`F:` and `R:`), absolute; directories are not among them.
    pub files: Vec<Vec<u8>>,
    /// The checksums of their contents (`Z:`), of links of their targets, in the same order.
    pub sums: Vec<Option<Checksum>>,
}

/// Parses `installed`.
pub fn parse_installed(bytes: &[u8]) -> Parsed<Vec<ApkPackage>> {
    let mut parsed = Parsed::new(Vec::new());
    let mut record = Record::default();
    let mut room = MAX_PATH_BYTES;
    for (line, text) in lines(bytes) {
        if text.is_empty() {
            record.finish(line, &mut parsed);
            record = Record::default();
            continue;
        }
        record.used = true;
        let (key, value) = match text {
            [key, b':', value @ ..] => (*key, value),
            _ => {
                parsed.warn(line, || format!("{} is no field", show(text)));
                continue;
            }
        };
        match key {
            b'P' => record.name = Some(value),
            b'V' => record.version = Some(value),
            b'C' => record.checksum = Some(value),
            b'F' => record.dir = Some(value),
            b'R' => match record.path(value) {
                Some(path) if path.len() <= room => {
                    room -= path.len();
                    record.files.push(path);
                    record.sums.push(None);
                }
                Some(_) => parsed.warn(line, || format!("more than {MAX_PATH_BYTES} bytes of paths")),
                None => {
                    parsed.warn(line, || format!("R:{} is no file in a directory before it", show(value)))
                }
            },
            // Of the file before it.
            b'Z' => {
                if let Some(sum) = record.sums.last_mut() {
                    *sum = Checksum::from_apk(value);
                }
            }
            // M: and a: are modes; the rest describes the package.
            _ => {}
        }
    }
    record.finish(0, &mut parsed);
    parsed
}

#[derive(Default)]
struct Record<'a> {
    used: bool,
    name: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    checksum: Option<&'a [u8]>,
    dir: Option<&'a [u8]>,
    files: Vec<Vec<u8>>,
    sums: Vec<Option<Checksum>>,
}

impl Record<'_> {
    /// The path of a file in the current directory. The root directory is an empty `F:`.
    fn path(&self, name: &[u8]) -> Option<Vec<u8>> {
        let dir = self.dir?;
        if name.is_empty() || name.contains(&b'/') || name == b"." || dir.len() + name.len() > MAX_PATH {
            return None;
        }
        let path = ImagePath::from_archive(&[dir, b"/", name].concat()).ok()?;
        Some(path.as_bytes().to_vec())
    }

    fn finish(self, line: usize, parsed: &mut Parsed<Vec<ApkPackage>>) {
        if !self.used {
            return;
        }
        if parsed.value.len() >= MAX_PACKAGES {
            parsed.warn(line, || format!("more than {MAX_PACKAGES} packages"));
            return;
        }
        let Some(name) = self.name.and_then(word) else {
            let given = self.name.map_or("missing".into(), show);
            parsed.warn(line, || format!("in the record before it, P is {given}, not a package name"));
            return;
        };
        let version = self.version.and_then(word).unwrap_or_default();
        // Base64, which has a slash.
        let checksum = self.checksum.and_then(|c| word_with(b"+/=", c)).unwrap_or_default();
        parsed.value.push(ApkPackage { name, version, checksum, files: self.files, sums: self.sums });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // As Alpine 3.19 writes it, shortened.
    const INSTALLED: &[u8] = b"\
C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=
P:alpine-baselayout
V:3.4.3-r2
A:x86_64
S:8911
I:331776
T:Alpine base dir structure and init scripts
L:GPL-2.0-only
o:alpine-baselayout
t:1699889039
D:alpine-baselayout-data=3.4.3-r2 /bin/sh
F:dev
F:etc
R:motd
Z:Q1SLkS9hBidUbPwwrw+XR0Whv3ww8=
F:etc/crontabs
R:root
a:0:0:600
Z:Q1vfk1apUWI4yLJGhhNRd0kJixfvY=
F:var/spool/cron
M:0:0:755
R:crontabs
a:0:0:777
Z:Q1OFZt+ZMp7j0Gny0rqSKuWJyqYmA=
F:
R:top

P:busybox
V:1.36.1-r15
F:bin
R:busybox
a:0:0:755
";

    #[test]
    fn installed_of_alpine() {
        let parsed = parse_installed(INSTALLED);
        assert_eq!(parsed.warnings, Vec::<String>::new());
        let [base, busybox] = parsed.value.as_slice() else { panic!("{:?}", parsed.value) };
        assert_eq!((base.name.as_str(), base.version.as_str()), ("alpine-baselayout", "3.4.3-r2"));
        assert_eq!(
            base.files,
            [&b"/etc/motd"[..], b"/etc/crontabs/root", b"/var/spool/cron/crontabs", b"/top"]
        );
        assert_eq!((busybox.name.as_str(), busybox.version.as_str()), ("busybox", "1.36.1-r15"));
        assert_eq!(busybox.files, [b"/bin/busybox"]);
    }

    #[test]
    fn hostile_records_are_passed_over() {
        let parsed = parse_installed(
            b"P:a\nR:no-dir\nF:../etc\nR:x\nF:bin\nR:../x\nR:a/b\nR:\nR:.\nR:..\nR:fine\n\nP:../b\nF:bin\nR:x\n\nV:1\n\nnonsense\n",
        );
        assert_eq!(parsed.value.len(), 1);
        assert_eq!(parsed.value[0].files, [b"/bin/fine"]);
        // Seven files; two names (one of them missing); and a line that is no field in a record without a
        // name.
        assert_eq!(parsed.warnings.len(), 7 + 2 + 2);
        assert!(parsed.warnings[0].starts_with("line 2: "), "{:?}", parsed.warnings);
    }

    #[test]
    fn paths_are_bounded() {
        let mut text = b"P:a\nF:".to_vec();
        text.extend_from_slice(&vec![b'd'; 4000]);
        text.push(b'\n');
        text.extend_from_slice(&b"R:x\n".repeat(20_000));
        let parsed = parse_installed(&text);
        let kept: usize = parsed.value[0].files.iter().map(Vec::len).sum();
        assert!(kept <= MAX_PATH_BYTES && kept > MAX_PATH_BYTES - 4100);
        assert!(parsed.warnings[0].contains("bytes of paths"));
    }

    proptest! {
        #[test]
        fn never_panics(raw in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "([PVFRMaZ]:[a-z./]{0,6}\n|\n|x\n){0,40}".prop_map(String::into_bytes),
        ]) {
            for package in parse_installed(&raw).value {
                for file in package.files {
                    prop_assert!(file.starts_with(b"/") && !file.split(|b| *b == b'/').any(|c| c == b".."));
                }
            }
        }
    }
}
