//! Whether what became of the files of accounts is no more than an entry point needs: another id for the
//! application's user, an entry for the user that the deployment runs as.
//!
//! By content: whoever wrote, a new line that gives uid 0 or the group of root, or has no password, counts.

use crate::host::FoundFile;
use crate::image::view::Image;
use crate::packages::inventory::read as read_tree;
use drift_formats::entry::ImagePath;
use rustix::io::Errno;
use std::io::Read;

/// Largest file compared, bytes.
pub const MAX: u64 = 1 << 20;

/// A file of accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountFile {
    /// `/etc/passwd`.
    Passwd,
    /// `/etc/group`.
    Group,
    /// `/etc/shadow`, `/etc/gshadow`.
    Shadow,
}

impl AccountFile {
    /// The file of accounts that a path is, with the copies that shadow's tools keep; `None` for any other.
    pub fn of(path: &ImagePath) -> Option<Self> {
        let name = path.as_bytes().strip_prefix(b"/etc/")?;
        match name.strip_suffix(b"-").unwrap_or(name) {
            b"passwd" => Some(Self::Passwd),
            b"group" => Some(Self::Group),
            b"shadow" | b"gshadow" => Some(Self::Shadow),
            _ => None,
        }
    }

    /// Whether a line gives nobody the rights of root, nor entry without a password.
    fn is_harmless(self, line: &[u8]) -> bool {
        let fields: Vec<&[u8]> = line.split(|b| *b == b':').collect();
        let number = |at: usize| -> Option<u32> {
            let digits = std::str::from_utf8(fields.get(at)?).ok()?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let named = fields.first().is_some_and(|name| !name.is_empty() && !matches!(name, [b'+' | b'-', ..]));
        let has_password = fields.get(1).is_some_and(|password| !password.is_empty());
        let privileged = [&b"root"[..], b"wheel", b"sudo", b"admin", b"shadow", b"disk", b"docker"];
        match self {
            // The group may be root's: arbitrary ids of OpenShift have it.
            Self::Passwd => {
                named && has_password && number(2).is_some_and(|uid| uid != 0) && number(3).is_some()
            }
            Self::Group => {
                named
                    && number(2).is_some_and(|gid| gid != 0)
                    && !fields.first().is_some_and(|name| privileged.contains(name))
            }
            Self::Shadow => named && has_password && fields.first() != Some(&&b"root"[..]),
        }
    }
}

/// Whether the change of a file of accounts, from the image's to the one of a container, is harmless. What
/// cannot be read is not.
pub fn explains(image: &Image, path: &ImagePath, now: &FoundFile, file: AccountFile, by_tool: bool) -> bool {
    let mut after = Vec::new();
    let read = now.open().and_then(|file| file.take(MAX + 1).read_to_end(&mut after).map_err(|_| Errno::IO));
    let Ok(max) = usize::try_from(MAX) else { return false };
    // The copies that tools keep need not be in the image, and hold what the file itself was before.
    let own = |path: &ImagePath| read_tree(image, path, max).ok().flatten();
    let original = || {
        let name = path.as_bytes().strip_suffix(b"-")?;
        own(&ImagePath::from_archive(name).ok()?)
    };
    let mut befores = [own(path), original()].into_iter().flatten();
    read.is_ok_and(|n| n <= max) && befores.any(|before| is_harmless(file, &before, &after, by_tool))
}

/// Whether a change is harmless. `by_tool`: the image's useradd or the like wrote, which may change several
/// lines; anything else may append one to the image's.
pub(crate) fn is_harmless(file: AccountFile, before: &[u8], after: &[u8], by_tool: bool) -> bool {
    let lines = |bytes: &'_ [u8]| -> Vec<Vec<u8>> {
        bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
    };
    let (old, new) = (lines(before), lines(after));
    let fresh: Vec<&Vec<u8>> = new.iter().filter(|line| !old.contains(line)).collect();
    let keeps = |kept: &[Vec<u8>]| kept.get(..old.len()).is_some_and(|same| same == old.as_slice());
    let shape = by_tool || (fresh.len() == 1 && new.len() == old.len() + 1 && keeps(&new));
    // Root's own line may not go, nor be put behind another one that is found first.
    let of_root = |all: &[Vec<u8>]| all.iter().find(|line| line.starts_with(b"root:")).cloned();
    shape && of_root(&old) == of_root(&new) && fresh.iter().all(|line| file.is_harmless(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nabc:x:911:911::/home/abc:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nsudo:x:27:\nabc:x:911:\n";
    const SHADOW: &str = "root:*:19000:0:99999:7:::\nabc:!:19000::::::\n";

    #[test]
    fn accounts_by_content() {
        use AccountFile::*;
        let added = |before: &str, line: &str| format!("{before}{line}\n");
        let changed = |before: &str, from: &str, to: &str| {
            assert!(before.contains(from));
            before.replace(from, to)
        };
        // File, before, after, whether it is harmless for anybody, and by a tool.
        for (file, before, after, anybody, tool) in [
            (Passwd, PASSWD, added(PASSWD, "default:x:1234:0:default:/app:/sbin/nologin"), true, true),
            (Passwd, PASSWD, changed(PASSWD, "911:911", "1000:1000"), false, true),
            (Passwd, PASSWD, added(&added(PASSWD, "a:x:5:5::/:/b"), "b:x:6:6::/:/b"), false, true),
            (Passwd, PASSWD, added(PASSWD, "evil:x:0:0::/:/bin/sh"), false, false),
            (Passwd, PASSWD, added(PASSWD, "evil:x:00:0::/:/bin/sh"), false, false),
            (Passwd, PASSWD, added(PASSWD, "evil::0:0::/:/bin/sh"), false, false),
            (Passwd, PASSWD, added(PASSWD, "evil::5000:0::/:/bin/sh"), false, false),
            (Passwd, PASSWD, added(PASSWD, "evil:x:+0:0::/:/bin/sh"), false, false),
            (Passwd, PASSWD, added(PASSWD, "+::::::"), false, false),
            (Passwd, PASSWD, changed(PASSWD, "911:911", "0:0"), false, false),
            (Passwd, PASSWD, changed(PASSWD, "root:x", "root:"), false, false),
            (Passwd, PASSWD, changed(PASSWD, "root:x:0:0:root:/root:/bin/bash\n", ""), false, false),
            (Passwd, PASSWD, String::new(), false, false),
            (Group, GROUP, added(GROUP, "new:x:1000:"), true, true),
            (Group, GROUP, changed(GROUP, "abc:x:911", "abc:x:1000"), false, true),
            (Group, GROUP, changed(GROUP, "sudo:x:27:", "sudo:x:27:evil"), false, false),
            (Group, GROUP, added(GROUP, "evil:x:0:evil"), false, false),
            (Shadow, SHADOW, changed(SHADOW, "abc:!", "abc:$6$x"), false, true),
            (Shadow, SHADOW, changed(SHADOW, "abc:!", "abc:"), false, false),
            (Shadow, SHADOW, changed(SHADOW, "root:*", "root:$6$x"), false, false),
        ] {
            let got = [false, true].map(|tool| is_harmless(file, before.as_bytes(), after.as_bytes(), tool));
            assert_eq!(got, [anybody, tool], "{after}");
        }
    }

    #[test]
    fn files_of_accounts() {
        let of = |path: &str| AccountFile::of(&ImagePath::from_archive(path.as_bytes()).unwrap());
        assert_eq!(of("/etc/passwd"), Some(AccountFile::Passwd));
        assert_eq!(of("/etc/gshadow-"), Some(AccountFile::Shadow));
        assert_eq!((of("/etc/passwd.lock"), of("/srv/etc/passwd")), (None, None));
    }
}
