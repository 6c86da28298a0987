//! Names of a container's users: its `/etc/passwd` (passwd(5)), by user id as the host counts.
//!
//! Invariant: read once, when the container is first looked at; what a process writes there later names
//! nobody.

use crate::host::{Host, RootDir};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

/// Longest file that is read, bytes.
const MAX_FILE: u64 = 256 << 10;
/// Most users kept.
const MAX_USERS: usize = 512;
/// Longest name, bytes: the tools' own limit (useradd(8)).
const MAX_NAME: usize = 32;

/// Names by user id.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<u32, Arc<str>>);

impl Users {
    /// Reads those of a container with this root, which process `pid` is in.
    pub fn read(host: &Host, pid: i64, root: &RootDir) -> Self {
        let mut text = Vec::new();
        let file = root.find(b"/etc/passwd").and_then(|found| found.open());
        let read = file.map(|file| file.take(MAX_FILE).read_to_end(&mut text));
        let map = host.user_map(pid).unwrap_or_default();
        if matches!(read, Ok(Ok(_))) {
            Self::parse(&text, &map)
        } else {
            Self::default()
        }
    }

    /// The first user of each id, as C libraries look them up.
    fn parse(passwd: &[u8], map: &str) -> Self {
        let mut users = BTreeMap::new();
        for line in passwd.split(|b| *b == b'\n').filter_map(|line| std::str::from_utf8(line).ok()) {
            let mut fields = line.split(':');
            let (name, id) =
                (fields.next().unwrap_or_default(), fields.nth(1).and_then(|id| id.parse().ok()));
            let is_name =
                !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_graphic());
            if let Some(id) = id.filter(|_| is_name).and_then(|id| outside(map, id)) {
                users.entry(id).or_insert_with(|| name.into());
            }
            if users.len() >= MAX_USERS {
                break;
            }
        }
        Self(users)
    }

    /// The name of a user.
    pub fn name(&self, id: u32) -> Option<&Arc<str>> {
        self.0.get(&id)
    }
}

/// A user id of a namespace as the host counts (user_namespaces(7)); `None` where it has none.
fn outside(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (Ok(inside), Ok(outside), Ok(count)) = (numbers.next()?, numbers.next()?, numbers.next()?) else {
            return None;
        };
        let at = id.checked_sub(inside).filter(|at| *at < count)?;
        outside.checked_add(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_as_the_host_counts_them() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/:/x\ntoor:x:0:0::/:/x\nbad\n:x:5:5\n\
                       a b:x:6:6::/:/x\nneg:x:-1:0::/:/x\n";
        let name = |map: &str, id| Users::parse(passwd, map).name(id).map(|name| name.to_string());
        let all = "         0          0 4294967295\n";
        assert_eq!(name(all, 0).as_deref(), Some("root"));
        assert_eq!(name(all, 1000).as_deref(), Some("web"));
        assert_eq!((name(all, 5), name(all, 6), name(all, 7)), (None, None, None));
        let own = "0 100000 1000\n";
        assert_eq!(name(own, 100_000).as_deref(), Some("root"));
        assert_eq!((name(own, 0), name(own, 101_000)), (None, None), "beyond the map nobody is named");
        assert_eq!(name("", 0), None);
        let many: String = (0..9999).map(|id| format!("u{id}:x:{id}:0::/:/x\n")).collect();
        assert_eq!(Users::parse(many.as_bytes(), all).0.len(), MAX_USERS);
        let long = format!("{}:x:1:0::/:/x\n", "n".repeat(99));
        assert_eq!(Users::parse(long.as_bytes(), all), Users::default());
    }
}
