//! The containers that run on this node, and which of them a name means.

use crate::arguments::Global;
use anyhow::{anyhow, bail, Context, Result};
use drift::config::{Config, RawConfig};
use drift_core::container::declared::read::read;
use drift_core::container::declared::Declared;
use drift_core::container::identity::Kind;
use drift_core::container::registry::{Container, LoadedManifest, Registry};
use drift_core::container::running::{running, Running};
use drift_core::host::Host;
use drift_core::image::view::Image;
use globset::{Glob, GlobSet, GlobSetBuilder};
use std::path::PathBuf;
use std::sync::Arc;

/// Most processes of a container through which it is tried to be looked at.
const MAX_TRIES: usize = 64;

/// This node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) host: Host,
    /// Where engines may have their storage.
    storage_roots: Vec<PathBuf>,
    registry: Registry,
}

/// A container, looked at.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) container: Arc<Container>,
    /// Its processes, ascending.
    pub(crate) pids: Vec<i64>,
    /// What was declared of it.
    pub(crate) declared: Declared,
}

/// Which container it is, in people's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Name {
    /// Namespace and name of its pod.
    pub(crate) pod: Option<(String, String)>,
    /// Its name: in the pod, or as its engine has it.
    pub(crate) name: Option<String>,
    /// It only holds the pod's namespaces.
    pub(crate) is_pause: bool,
}

impl Name {
    pub(crate) fn of(declared: &Declared) -> Self {
        let identity = &declared.identity;
        let pod = identity.pod.as_ref();
        Self {
            pod: pod.map(|pod| (pod.namespace.to_string(), pod.name.to_string())),
            name: identity.name.as_deref().map(str::to_owned),
            is_pause: identity.kind == Some(Kind::Pause),
        }
    }

    /// Whether somebody may mean it by `text`: `NAME`, `POD`, `POD/CONTAINER`, or either after `NAMESPACE/`.
    fn is_meant_by(&self, text: &str) -> bool {
        let name = self.name.as_deref();
        let Some((namespace, pod)) = &self.pod else { return name == Some(text) };
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [one] => one == pod && !self.is_pause,
            [a, b] => (a == pod && Some(*b) == name) || (a == namespace && b == pod && !self.is_pause),
            [a, b, c] => a == namespace && b == pod && Some(*c) == name,
            _ => false,
        }
    }
}

impl Target {
    pub(crate) fn name(&self) -> Name {
        Name::of(&self.declared)
    }

    /// How it is called in a message: by its name, else by the beginning of its id.
    pub(crate) fn title(&self) -> String {
        let name = self.name();
        match (name.pod, name.name) {
            (Some((namespace, pod)), Some(container)) => format!("{namespace}/{pod}/{container}"),
            (Some((namespace, pod)), None) => format!("{namespace}/{pod}"),
            (None, Some(name)) => name,
            (None, None) => self.container.id.chars().take(12).collect(),
        }
    }
}

impl Node {
    /// `image` stands in for that of each container, where its layers cannot be seen.
    ///
    /// # Errors
    /// The host's root is none that the plugin would take.
    pub(crate) fn open(global: &Global, image: Option<&Image>) -> Result<Self> {
        let raw = RawConfig { host_root: global.host_root.clone(), ..RawConfig::default() };
        let config = Arc::new(Config::try_from(raw)?);
        let host = Host::new(&config.host_root);
        let any = GlobSetBuilder::new().add(Glob::new("*")?).build()?;
        let given = |image: &Image| LoadedManifest {
            containers: any,
            images: GlobSet::empty(),
            image: image.clone(),
            config: None,
        };
        let manifests = image.map(given).into_iter().collect();
        let registry = Registry::new(host.clone(), config.registry(), manifests);
        Ok(Self { host, storage_roots: config.storage_roots.clone(), registry })
    }

    /// All running containers, by id.
    pub(crate) fn running(&self) -> Vec<Running> {
        running(&self.host)
    }

    /// # Errors
    /// It is gone, or may not be looked at.
    pub(crate) fn look_at(&mut self, running: Running) -> Result<Target> {
        let mut container = None;
        // The first process is the container's init, as a rule; any other will do.
        for pid in running.pids.iter().take(MAX_TRIES) {
            let found = self.registry.look_at_whole(&running.id, *pid);
            let seen = found.live.is_some();
            container = Some(found);
            if seen {
                break;
            }
        }
        let looked = container.as_ref().and_then(|c| Some((c, c.live.as_ref()?)));
        let (container, live) = looked.with_context(|| {
            format!(
                "container {} cannot be looked at: run as root, or with CAP_SYS_PTRACE and \
                 CAP_DAC_READ_SEARCH",
                running.id
            )
        })?;
        let declared = read(&self.host, &container.id, live, &self.storage_roots, &[]);
        let (host, container) = (self.host.clone(), Arc::clone(container));
        Ok(Target { host, container, pids: running.pids, declared })
    }

    /// The container that is meant by a name, an id, the beginning of one, or a process in it.
    ///
    /// # Errors
    /// None such runs, several do, or it cannot be looked at.
    pub(crate) fn find(&mut self, text: &str) -> Result<Target> {
        let all = self.running();
        let mut by_id = pick(&all, text);
        match (by_id.pop(), by_id.pop()) {
            (Some(one), None) => return self.look_at(one),
            (Some(b), Some(a)) => {
                bail!("{text:?} is the beginning of several ids, such as {} and {}", a.id, b.id)
            }
            (None, _) => {}
        }
        // Of those that cannot be looked at the name is not known.
        let looked = all.into_iter().filter_map(|running| self.look_at(running).ok());
        let mut named: Vec<Target> = looked.filter(|target| target.name().is_meant_by(text)).collect();
        match (named.pop(), named.pop()) {
            (Some(one), None) => Ok(one),
            (Some(b), Some(a)) => {
                bail!("{text:?} names several containers, such as {} and {}", a.title(), b.title())
            }
            (None, _) => Err(anyhow!("no container {text:?} runs here; `drift ls` lists those that do")),
        }
    }
}

/// Those whose id, beginning of the id or process it is.
fn pick(all: &[Running], text: &str) -> Vec<Running> {
    // Twelve digits are a short id, not a process.
    if let Some(pid) = text.parse::<i64>().ok().filter(|_| text.len() < 12) {
        if let Some(found) = all.iter().find(|r| r.pids.contains(&pid)) {
            return vec![found.clone()];
        }
    }
    all.iter().filter(|r| !text.is_empty() && r.id.starts_with(text)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_go_by_id_beginning_or_process() {
        let one = |id: &str, pid| Running { id: id.into(), pids: vec![pid] };
        let all = [one("abc123", 7), one("abd456", 8), one("1234", 9), one("12345678901234", 10)];
        for (text, ids) in [
            ("abc123", &["abc123"][..]),
            ("abd", &["abd456"]),
            ("8", &["abd456"]),
            ("123456789012", &["12345678901234"]),
            ("ab", &["abc123", "abd456"]),
            ("x", &[]),
            ("", &[]),
            ("99", &[]),
        ] {
            let found = pick(&all, text);
            assert_eq!(found.iter().map(|r| &*r.id).collect::<Vec<_>>(), ids, "{text}");
        }
    }

    #[test]
    fn names_are_those_people_know() {
        let pod = |name: &str, is_pause| Name {
            pod: Some(("shop".into(), "web-1".into())),
            name: Some(name.into()),
            is_pause,
        };
        let podman = Name { name: Some("db".into()), ..Name::default() };
        for (name, text, meant) in [
            (&podman, "db", true),
            (&podman, "web-1", false),
            (&pod("app", false), "web-1", true),
            (&pod("app", false), "shop/web-1", true),
            (&pod("app", false), "web-1/app", true),
            (&pod("app", false), "shop/web-1/app", true),
            (&pod("app", false), "other/web-1/app", false),
            (&pod("app", false), "app", false),
            (&pod("app", false), "shop/web-1/app/x", false),
            (&pod("POD", true), "web-1", false),
            (&pod("POD", true), "web-1/POD", true),
            (&Name::default(), "", false),
        ] {
            assert_eq!(name.is_meant_by(text), meant, "{name:?} by {text}");
        }
    }
}
