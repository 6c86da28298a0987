//! What podman records of a container beside containers/storage: `libpod/bolt_state.db` below the storage's root (podman
//! 1 to 4, and 5 where it was upgraded). Its newer SQLite database is not read; no more than published ports is lost.
//!
//! Formats: podman `libpod/boltdb_state_internal.go` (buckets), `libpod/container_config.go`.

use super::bolt::{self, BoltError, Pages};
use super::ports::{Ports, Protocol};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The database, below the storage's root.
pub const DATABASE: &str = "libpod/bolt_state.db";

/// Ports that a container was created with: published and exposed ones. `None` if the container is not there.
///
/// # Errors
/// [`BoltError`].
pub fn ports<P: Pages>(pages: &P, id: &str) -> Result<Option<Vec<Ports>>, BoltError> {
    let config = bolt::ask(pages, |db| db.get(&[b"ctr", id.as_bytes(), b"config"]))?;
    Ok(config.map(|json| ports_of(&json)))
}

fn ports_of(json: &[u8]) -> Vec<Ports> {
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
    let raw: Raw = serde_json::from_slice(json).unwrap_or_default();
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
    published.chain(exposed).collect()
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
        assert_eq!(ports_of(json), want);
        assert_eq!(ports_of(b"{"), []);
    }
}
