//! What podman records of a container beside containers/storage: `db.sql` below the storage's root (podman
//! 4.8 and later), or `libpod/bolt_state.db` (before, and where it was upgraded).
//!
//! Formats: podman `libpod/sqlite_state_internal.go` (tables), `libpod/boltdb_state_internal.go` (buckets),
//! `libpod/container_config.go`.

use drift_formats::bolt::{self, BoltError, Pages};
use drift_formats::ports::{Ports, Protocol};
use drift_formats::read_at::{Broken, ReadAt};
use drift_formats::sqlite;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The bolt database, below the storage's root.
pub(crate) const BOLT: &str = "libpod/bolt_state.db";
/// The SQLite database there, and what has not been written into it yet.
pub(crate) const SQLITE: [&str; 2] = ["db.sql", "db.sql-wal"];

/// As [`ports`], of the SQLite database and its log.
///
/// # Errors
/// [`Broken`].
pub(crate) fn sqlite_ports(
    database: &dyn ReadAt,
    log: Option<&dyn ReadAt>,
    id: &str,
) -> Result<Option<Vec<Ports>>, Broken> {
    let mut found = None;
    // ID, Name, PodID, JSON.
    sqlite::each_row(database, log, b"ContainerConfig", &mut |row| {
        if sqlite::column(row, 0) == Some(id.as_bytes()) {
            let ports = sqlite::column(row, 3).and_then(ports_of);
            found = Some(ports.ok_or(Broken::Format(NO_CONFIG))?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Ports that a container was created with: published and exposed ones. `None` if the container is not there.
///
/// # Errors
/// [`BoltError`].
pub fn ports<P: Pages>(pages: &P, id: &str) -> Result<Option<Vec<Ports>>, BoltError> {
    let config = bolt::ask(pages, |db| db.get(&[b"ctr", id.as_bytes(), b"config"]))?;
    config.map(|json| ports_of(&json).ok_or(BoltError::Damaged(NO_CONFIG))).transpose()
}

/// What is wrong where a record is not what podman writes: then ports are not known, which is not to say that
/// there are none.
const NO_CONFIG: &str = "a container's configuration that is none";

fn ports_of(json: &[u8]) -> Option<Vec<Ports>> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Raw {
        #[serde(rename = "newPortMappings")]
        mappings: Option<Vec<Mapping>>,
        #[serde(rename = "exposedPorts")]
        exposed: Option<BTreeMap<String, Vec<String>>>,
    }
    #[derive(Deserialize)]
    struct Mapping {
        container_port: u16,
        #[serde(default)]
        range: u16,
        #[serde(default)]
        protocol: String,
    }
    let raw: Raw = serde_json::from_slice(json).ok()?;
    // "tcp,udp": both.
    let protocols = |text: &str| text.split(',').filter_map(Protocol::parse).collect::<Vec<_>>();
    let published = raw.mappings.iter().flatten().flat_map(|m| {
        let last = m.container_port.saturating_add(m.range.saturating_sub(1));
        let ports = move |protocol| Ports { protocol, first: m.container_port, last };
        protocols(&m.protocol).into_iter().map(ports)
    });
    let exposed = raw.exposed.iter().flatten().flat_map(|(port, names)| {
        let port = port.parse().ok();
        let of = move |name: &String| Some(Ports::one(Protocol::parse(name)?, port?));
        names.iter().filter_map(of)
    });
    Some(published.chain(exposed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_and_exposed_ports_are_found() {
        let json = br#"{"newPortMappings":[{"host_ip":"","container_port":80,"host_port":8080,"range":2,"protocol":"tcp,udp"}],
            "exposedPorts":{"9090":["udp"],"x":["tcp"]}}"#;
        let want = [
            Ports { protocol: Protocol::Tcp, first: 80, last: 81 },
            Ports { protocol: Protocol::Udp, first: 80, last: 81 },
            Ports::one(Protocol::Udp, 9090),
        ];
        assert_eq!(ports_of(json), Some(want.into()));
        assert_eq!(ports_of(b"{"), None, "not known is not none");
    }

    /// A database that SQLite itself made, as podman has it: open, with all of it in the log; and when it was
    /// closed.
    #[test]
    fn the_newer_database_is_read() {
        const MAKE: &str = r#"
import sqlite3, sys
db = sqlite3.connect("db.sql", isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("CREATE TABLE DBConfig(ID INTEGER PRIMARY KEY NOT NULL)")
db.execute("CREATE TABLE ContainerConfig(ID TEXT PRIMARY KEY NOT NULL, Name TEXT UNIQUE NOT NULL, PodID TEXT, JSON TEXT NOT NULL)")
for n in range(300):
    long = "x" * (n * 40)
    json = '{"labels":{"a":"%s"},"newPortMappings":[{"host_ip":"","container_port":%d,"host_port":1,"range":1,"protocol":"tcp"}]}'
    db.execute("INSERT INTO ContainerConfig VALUES (?, ?, NULL, ?)", ("id%d" % n, "name%d" % n, json % (long, 1000 + n)))
print("made", flush=True)
sys.stdin.read()
"#;
        let dir = tempfile::tempdir().unwrap();
        let mut python = std::process::Command::new("python3");
        python.args(["-c", MAKE]).current_dir(&dir);
        python.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut python = python.spawn().unwrap();
        let mut line = String::new();
        let mut said = std::io::BufReader::new(python.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        assert_eq!(line, "made\n");
        let open = |name: &str| std::fs::File::open(dir.path().join(name)).ok();
        let ask = |id: &str| {
            let log = open(SQLITE[1]);
            let log = log.as_ref().map(|log| log as &dyn ReadAt);
            sqlite_ports(&open(SQLITE[0]).unwrap(), log, id).unwrap()
        };
        let check = || {
            for n in [0u16, 7, 150, 299] {
                assert_eq!(ask(&format!("id{n}")), Some(vec![Ports::one(Protocol::Tcp, 1000 + n)]), "id{n}");
            }
            assert_eq!(ask("id300"), None);
        };
        assert!(open(SQLITE[1]).is_some(), "the log is there while somebody has the database open");
        check();
        drop(python.stdin.take());
        python.wait().unwrap();
        check();
    }
}
