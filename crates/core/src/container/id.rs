//! The container id in a thread's cgroup paths.
//!
//! Invariant: the leftmost container in a path wins. Only the node's own runtime controls that part of the
//! path; a container that may write cgroups can make a child group named `docker-<another id>.scope` and move
//! into it, and that child is always further right. So a container started inside a container
//! (docker-in-docker) counts as the outer one, as the node's runtime sees it, and a process cannot pass
//! itself off as another container by the name of its cgroup.
//!
//! One thing stands against it: the modern eBPF probe of libs reports only the last `EVENT_COMPONENTS`
//! components of a path (`MAX_CGROUP_PATH_POINTERS`), so a deep enough forged path has lost its true
//! beginning. An id from a path that may be cut is marked ([`ContainerId::path_may_be_cut`]), and
//! `/proc/<pid>/cgroup` has the whole path while the process lives.

use crate::host::Host;
use std::fmt;
use std::sync::Arc;

/// How many components of a cgroup path an event holds at most; what is further left is lost.
pub(crate) const EVENT_COMPONENTS: usize = 6;

/// The longest id: containerd's limit for the identifiers it accepts.
pub(crate) const MAX_ID: usize = 76;

/// The longest entry looked at, in bytes. A cgroup path cannot be longer than `PATH_MAX`.
const MAX_ENTRY: usize = 8192;

/// The most entries looked at: version 1 of cgroups has fewer than 20 hierarchies.
const MAX_ENTRIES: usize = 64;

/// What names of systemd's units end in that have control groups.
const UNITS: [&[u8]; 3] = [b".slice", b".scope", b".service"];

/// What follows a path in `/proc/<pid>/cgroup` when the cgroup has been removed.
const DELETED: &[u8] = b" (deleted)";

/// Which runtime's way of naming cgroups the path has. A hint where to look for the container's state first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// Docker Engine.
    Docker,
    /// containerd, through CRI, nerdctl, ctr or another client.
    Containerd,
    /// CRI-O.
    Crio,
    /// podman.
    Podman,
    /// LXC, LXD or Incus.
    Lxc,
    /// BuildKit: a step of an image build.
    Buildkit,
    /// A container by its 64 digits, but several runtimes name it so (cgroupfs driver: `/kubepods/…/<id>`).
    Unknown,
}

/// A container's id as its runtime knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerId {
    /// 64 lower-case hex digits, or for plain containerd, LXC and BuildKit any name of ASCII letters, digits,
    /// `.`, `_`, `-`.
    pub id: Box<str>,
    /// Whose way of naming it is.
    pub runtime: Runtime,
    /// The path came from an event and is so long that its beginning may be missing, so the id could be a
    /// forged one.
    pub path_may_be_cut: bool,
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

impl ContainerId {
    /// The first 12 characters, as `docker ps` and Falco's `container.id` show it; all of a shorter id.
    pub fn short(&self) -> ShortId<'_> {
        ShortId::of(&self.id)
    }
}

/// The first 12 characters of a container id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShortId<'a>(&'a str);

impl<'a> ShortId<'a> {
    /// Shortens an id.
    pub fn of(id: &'a str) -> Self {
        Self(id.get(..12).unwrap_or(id))
    }

    /// The characters.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

impl fmt::Display for ShortId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Namespaces of containerd that are known without a look: Kubernetes', Docker's, and that of `ctr`.
const NAMESPACES: [&[u8]; 3] = [b"default", b"k8s.io", b"moby"];

/// What has to be known of the node to read its cgroup paths; by default the usual namespaces of containerd, and
/// a node that is not itself a container.
#[derive(Debug, Clone, Default)]
pub struct IdRules {
    /// Namespaces beside the usual ones: below `/<namespace>/`, any name is a container.
    namespaces: Arc<Vec<Vec<u8>>>,
    node_ids: Vec<Vec<u8>>,
}

impl IdRules {
    /// With the namespaces that were met on this host.
    pub fn of(host: &Host) -> Self {
        Self { namespaces: host.namespaces(), node_ids: Vec::new() }
    }

    /// The namespace of containerd and the container that an entry would name if there were such a namespace.
    pub fn possible(entry: &[u8]) -> Option<(&[u8], &[u8])> {
        let (path, whole) = path_of(entry)?;
        let mut parts = components(path).skip_while(|p| *p == b"..");
        let (namespace, name) = (parts.next()?, parts.next()?);
        let is_whole = whole || parts.count() + 2 < EVENT_COMPONENTS;
        // What systemd makes has nothing of the kind: `/system.slice/ssh.service`.
        let is_unit = |part: &[u8]| UNITS.iter().any(|end| part.ends_with(end));
        let is_it = is_whole && entry.len() <= MAX_ENTRY && !is_unit(namespace) && !is_unit(name);
        (is_it && is_name(namespace) && is_name(name)).then_some((namespace, name))
    }

    /// Names the container that the whole node runs in (kind, k3d): its cgroup is looked through, not taken
    /// for a container.
    pub fn add_node_id(&mut self, id: &str) {
        self.node_ids.push(id.as_bytes().to_vec());
    }

    /// Finds the container in a thread's cgroups.
    ///
    /// An entry is a path (`/a/b`), a controller and a path as events have it (`cpuset=/a/b`), or a line of
    /// `/proc/<pid>/cgroup` (`4:memory:/a/b`, `0::/a/b`). All hierarchies name the same container or none, so
    /// one is enough: an entry that is surely whole goes before one that may be cut, one in a runtime's own
    /// way of naming before bare digits, an earlier before a later. `None`: no entry names a container; the
    /// process is the host's, or the list is empty or cut too short to tell.
    pub fn find<'a>(&self, entries: impl IntoIterator<Item = &'a [u8]>) -> Option<ContainerId> {
        let found = entries.into_iter().take(MAX_ENTRIES).filter_map(|entry| self.find_in(entry));
        found.min_by_key(|id| (id.path_may_be_cut, id.runtime == Runtime::Unknown))
    }

    fn find_in(&self, entry: &[u8]) -> Option<ContainerId> {
        if entry.len() > MAX_ENTRY {
            return None;
        }
        let (path, whole) = path_of(entry)?;
        // `/..` at the start: the reader is in a cgroup namespace, and the group lies outside of it.
        let parts: Vec<&[u8]> = components(path).skip_while(|p| *p == b"..").collect();
        let path_may_be_cut = !whole && parts.len() >= EVENT_COMPONENTS;
        let mut before: &[&[u8]] = &[];
        for (at, part) in parts.iter().enumerate() {
            match self.component(before, part) {
                Seen::Container(id, runtime) if !self.is_node(id) => {
                    let id = std::str::from_utf8(id).ok()?.into();
                    return Some(ContainerId { id, runtime, path_may_be_cut });
                }
                // Below the node's own container the path begins anew: `/docker/<node>/default/<name>`.
                Seen::Container(..) => before = &[],
                Seen::NotContainer => return None,
                Seen::Nothing => {
                    let start = at - before.len();
                    before = parts.get(start..=at).unwrap_or_default();
                }
            }
        }
        None
    }

    fn is_namespace(&self, name: &[u8]) -> bool {
        NAMESPACES.contains(&name) || self.namespaces.iter().any(|known| known == name)
    }

    fn is_node(&self, id: &[u8]) -> bool {
        self.node_ids.iter().any(|node| node == id)
    }

    /// What one component says, after those before it said nothing.
    fn component<'a>(&self, before: &[&[u8]], part: &'a [u8]) -> Seen<'a> {
        if let Some(seen) = named(part) {
            return seen;
        }
        match before {
            [b"lxc" | b"lxc.payload"] if is_name(part) => return Seen::Container(part, Runtime::Lxc),
            [b"buildkit"] | [b"docker", b"buildkit"] if is_name(part) => {
                return Seen::Container(part, Runtime::Buildkit);
            }
            [namespace] if self.is_namespace(namespace) && is_name(part) => {
                return Seen::Container(part, Runtime::Containerd);
            }
            _ => {}
        }
        if !is_hex_id(part) {
            return Seen::Nothing;
        }
        match before.last() {
            // A podman pod: `/libpod_parent/<pod>/libpod-<container>`.
            Some(&b"libpod_parent") => Seen::Nothing,
            // Kata's shim and hypervisor, which are the host's; the container's own processes are in its
            // guest.
            Some(&b"kata_overhead") => Seen::NotContainer,
            Some(&b"docker") => Seen::Container(part, Runtime::Docker),
            Some(above) if is_podman_unit(above) => Seen::Container(part, Runtime::Podman),
            _ => Seen::Container(part, Runtime::Unknown),
        }
    }
}

/// Some entry is so long that its beginning may be missing.
///
/// Where [`IdRules::find`] then finds nothing, that does not mean the host: a container that nests cgroups of
/// harmless names deep enough pushes its own name out of the event. `/proc/<pid>/cgroup` tells, while the
/// process lives.
pub fn may_be_cut<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> bool {
    entries.into_iter().take(MAX_ENTRIES).any(|entry| match path_of(entry) {
        Some((path, whole)) => !whole && components(path).count() >= EVENT_COMPONENTS,
        None => false,
    })
}

/// What a path component means.
enum Seen<'a> {
    Container(&'a [u8], Runtime),
    /// A runtime's own process beside a container, such as its monitor.
    NotContainer,
    Nothing,
}

/// The names runtimes give a systemd scope or, with CRI-O's and podman's cgroupfs driver, a plain directory.
const PREFIXES: [(&[u8], Runtime); 7] = [
    (b"docker-", Runtime::Docker),
    (b"cri-containerd-", Runtime::Containerd),
    (b"nerdctl-", Runtime::Containerd),
    (b"crio-", Runtime::Crio),
    (b"libpod-payload-", Runtime::Podman),
    (b"libpod-", Runtime::Podman),
    (b"buildkit-", Runtime::Buildkit),
];

/// The names of monitors: they start and outlive a container and are not in it.
const MONITORS: [&[u8]; 2] = [b"crio-conmon-", b"libpod-conmon-"];

/// The middle of `<slice>:<prefix>:<id>`, which is a plain directory where a runtime was told to use
/// systemd's form but does not (or only in one hierarchy of version 1).
const COLON_PREFIXES: [(&[u8], Runtime); 6] = [
    (b"docker", Runtime::Docker),
    (b"cri-containerd", Runtime::Containerd),
    (b"nerdctl", Runtime::Containerd),
    (b"crio", Runtime::Crio),
    (b"libpod", Runtime::Podman),
    (b"buildkit", Runtime::Buildkit),
];

/// A component whose name alone tells.
fn named(part: &[u8]) -> Option<Seen<'_>> {
    let unit = part.strip_suffix(b".scope").unwrap_or(part);
    if MONITORS.iter().any(|m| unit.strip_prefix(*m).is_some_and(is_hex_id)) {
        return Some(Seen::NotContainer);
    }
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = unit.strip_prefix(prefix) {
            // A user's own `docker-compose.scope` is no container; nor is what systemd itself calls
            // otherwise.
            return is_id_of(runtime, id).then_some(Seen::Container(id, runtime));
        }
    }
    if let Some(name) = part.strip_prefix(b"lxc.payload.") {
        return is_name(name).then_some(Seen::Container(name, Runtime::Lxc));
    }
    if part.starts_with(b"lxc.monitor.") || part == b"lxc.monitor" {
        return Some(Seen::NotContainer);
    }
    let mut pieces = part.split(|b| *b == b':');
    let (_slice, prefix, id) = (pieces.next()?, pieces.next()?, pieces.next()?);
    if pieces.next().is_some() {
        return None;
    }
    let (_, runtime) = COLON_PREFIXES.iter().find(|(name, _)| *name == prefix)?;
    is_id_of(*runtime, id).then_some(Seen::Container(id, *runtime))
}

fn is_id_of(runtime: Runtime, id: &[u8]) -> bool {
    match runtime {
        // BuildKit makes ids of 25 characters in base 36.
        Runtime::Buildkit => {
            id.len() == 25 && id.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        }
        _ => is_hex_id(id),
    }
}

/// Where old podman puts a user's containers with the cgroupfs driver: below its own scope,
/// `podman-<pid>.scope`.
fn is_podman_unit(part: &[u8]) -> bool {
    match part.strip_prefix(b"podman-").and_then(|rest| rest.strip_suffix(b".scope")) {
        Some(pid) => !pid.is_empty() && pid.iter().all(u8::is_ascii_digit),
        None => false,
    }
}

/// 64 lower-case hex digits.
fn is_hex_id(id: &[u8]) -> bool {
    id.len() == 64 && id.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
}

/// An identifier as containerd accepts it: letters and digits, with single `.`, `_` or `-` between them.
fn is_name(id: &[u8]) -> bool {
    let inner = id
        .split(|b| b"._-".contains(b))
        .all(|run| !run.is_empty() && run.iter().all(u8::is_ascii_alphanumeric));
    inner && id.len() <= MAX_ID
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty())
}

/// The path of an entry, and whether it surely is the whole path.
fn path_of(entry: &[u8]) -> Option<(&[u8], bool)> {
    let entry = entry.strip_suffix(b"\n").unwrap_or(entry);
    let entry = entry.strip_suffix(DELETED).unwrap_or(entry);
    if entry.first() == Some(&b'/') {
        return Some((entry, false));
    }
    // `12:cpu,cpuacct:/path`: the hierarchy's number, its controllers, the path.
    let mut fields = entry.splitn(3, |b| *b == b':');
    if let (Some(number), Some(_), Some(path)) = (fields.next(), fields.next(), fields.next()) {
        if !number.is_empty() && number.iter().all(u8::is_ascii_digit) && path.first() == Some(&b'/') {
            return Some((path, true));
        }
    }
    let equals = entry.windows(2).position(|w| w == b"=/")?;
    Some((entry.get(equals + 1..)?, false))
}

#[cfg(test)]
#[path = "id_tests.rs"]
mod tests;
