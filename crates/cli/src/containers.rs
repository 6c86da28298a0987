//! Finds the container that is meant.

use anyhow::{bail, Context, Result};
use drift::config::{Config, RawConfig};
use drift_core::container::registry::{Container, LoadedManifest, Registry};
use drift_core::container::running::{running, Running};
use drift_core::host::Host;
use drift_core::image::view::Image;
use globset::{Glob, GlobSet, GlobSetBuilder};
use std::path::PathBuf;
use std::sync::Arc;

/// A container, looked at.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) container: Arc<Container>,
    /// Its processes, ascending.
    pub(crate) pids: Vec<i64>,
    /// Where engines may have their storage.
    pub(crate) storage_roots: Vec<PathBuf>,
}

/// Looks a container up by id, by the beginning of one, or by a process in it. `image` stands in where its
/// layers cannot be seen.
///
/// # Errors
/// None such runs, several do, or it cannot be looked at.
pub(crate) fn find(name: &str, host_root: Option<&str>, image: Option<&Image>) -> Result<Target> {
    let raw = RawConfig { host_root: host_root.map(str::to_owned), ..RawConfig::default() };
    let config = Arc::new(Config::try_from(raw)?);
    let host = Host::new(&config.host_root);
    let running = pick(running(&host), name)?;
    let any = GlobSetBuilder::new().add(Glob::new("*")?).build()?;
    let given = |image: &Image| LoadedManifest {
        containers: any,
        images: GlobSet::empty(),
        image: image.clone(),
        config: None,
    };
    let manifests = image.map(given).into_iter().collect();
    let storage_roots = config.storage_roots.clone();
    let mut registry = Registry::new(host.clone(), config.registry(), manifests);
    let mut container = None;
    // The first process is the container's init, as a rule; any other will do.
    for pid in running.pids.iter().take(64) {
        let found = registry.look_at_whole(&running.id, *pid);
        let seen = found.live.is_some();
        container = Some(found);
        if seen {
            break;
        }
    }
    let container = container.filter(|c| c.live.is_some());
    let container = container.with_context(|| {
        format!(
            "container {} cannot be looked at (that needs root, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH)",
            running.id
        )
    })?;
    Ok(Target { host, container, pids: running.pids, storage_roots })
}

fn pick(all: Vec<Running>, name: &str) -> Result<Running> {
    // Twelve digits are a short id, not a process.
    if let Some(pid) = name.parse::<i64>().ok().filter(|_| name.len() < 12) {
        if let Some(found) = all.iter().find(|r| r.pids.contains(&pid)) {
            return Ok(found.clone());
        }
    }
    let mut matching = all.into_iter().filter(|r| !name.is_empty() && r.id.starts_with(name));
    match (matching.next(), matching.next()) {
        (Some(found), None) => Ok(found),
        (Some(a), Some(b)) => {
            bail!("{name:?} is the beginning of several ids, such as {} and {}", a.id, b.id)
        }
        (None, _) => bail!("no container {name:?} runs here, and no process of that id in one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_go_by_id_beginning_or_process() {
        let all = || {
            let one = |id: &str, pid| Running { id: id.into(), pids: vec![pid] };
            vec![one("abc123", 7), one("abd456", 8), one("1234", 9), one("12345678901234", 10)]
        };
        let id = |name| pick(all(), name).map(|r| r.id.to_string());
        assert_eq!(id("abc123").unwrap(), "abc123");
        assert_eq!(id("abd").unwrap(), "abd456");
        assert_eq!(id("8").unwrap(), "abd456");
        assert_eq!(id("123456789012").unwrap(), "12345678901234");
        for (name, why) in
            [("ab", "several"), ("x", "no container"), ("", "no container"), ("99", "no container")]
        {
            assert!(id(name).unwrap_err().to_string().contains(why), "{name}");
        }
    }
}
