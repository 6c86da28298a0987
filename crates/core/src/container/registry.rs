//! The containers seen so far, and how each is told from a thread's control groups.
//!
//! Invariants: bounded, least recently used out first; of containers that have ended the last `KEEP_ENDED`
//! are kept, so that memory follows what runs, not how much has run. A container that could not be looked at
//! is tried again with each new process of it (a runtime starts several before the container's own); in a
//! replay that is one failed `open` each.

use crate::container::declared::{Declared, ImageIdentity};
use crate::container::directories::HostDirectories;
use crate::container::identity::read::glance;
use crate::container::identity::Identity;
use crate::container::live::{self, Live, NotLive};
use crate::container::records;
use crate::container::users::Users;
use crate::host::Host;
use crate::image::cache::LayerCache;
use crate::image::view::{Image, ManifestState};
use crate::packages::installed::Installed;
use arc_swap::ArcSwapOption;
use drift_formats::digest::Digest;
use drift_formats::entry::ImagePath;
use drift_formats::image_config::ImageConfig;
use lru::LruCache;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What is known of one container. Immutable: learning more replaces it.
#[derive(Debug)]
pub struct Container {
    /// Full id.
    pub id: Box<str>,
    /// The container on this host; `None` in a replay, or when it was gone before it could be looked at.
    pub live: Option<Live>,
    /// The image; why there is none otherwise.
    pub image: Result<Image, String>,
    /// Whether the image comes from a configured manifest: then no layer is on disk.
    pub from_manifest: bool,
    /// Drifted files, programs and packages seen in it so far; stays when the container is looked at anew.
    pub drifts: Arc<AtomicU64>,
    /// Files of packages that were installed in it; stays likewise.
    pub installed: Arc<ArcSwapOption<Installed>>,
    /// What was declared of it.
    pub declaration: Arc<Declaration>,
}

/// The image of a container, and what follows from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// The image.
    pub identity: ImageIdentity,
    /// [`ImageIdentity::digest`].
    pub digest: Option<Digest>,
    /// `ImageIdentity::is_pinned`.
    pub pinned: Option<bool>,
}

/// What was declared of a container, as it comes to be known.
#[derive(Debug, Default)]
pub struct Declaration {
    /// What the files on the node say; `None` while it is not known.
    read: ArcSwapOption<Declared>,
    /// What another plugin told of the image.
    told: ArcSwapOption<ImageIdentity>,
    /// Who the container is, as far as that is known.
    identity: ArcSwapOption<Identity>,
    /// The image by both.
    pub image: ArcSwapOption<ImageFacts>,
    /// Set by whoever reads it.
    asked: AtomicBool,
    /// The exec by which the container became known: process id and arguments.
    pub first_exec: OnceLock<(i64, Vec<Box<[u8]>>)>,
    /// Nameservers that it was given, as they were when its files were first read: a process may write that
    /// file.
    nameservers: OnceLock<Box<[IpAddr]>>,
    /// Names of its users, as they were then.
    users: OnceLock<Users>,
}

impl Declaration {
    /// Whether nobody reads it yet; from now on somebody does.
    pub fn ask(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }

    /// Takes the answer of [`Declaration::ask`] back: there was no room in the queue.
    pub fn ask_again(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Nameservers that it was given; none while they are not known.
    pub fn nameservers(&self) -> &[IpAddr] {
        self.nameservers.get().map_or(&[], |known| known)
    }

    /// Notes the nameservers; what was noted before stays.
    pub fn set_nameservers(&self, servers: Vec<IpAddr>) {
        let _ = self.nameservers.set(servers.into());
    }

    /// What the files on the node say; `None` while it is not known.
    pub fn read(&self) -> arc_swap::Guard<Option<Arc<Declared>>> {
        self.read.load()
    }

    /// Notes names of users; what was noted before stays.
    pub fn set_users(&self, users: Users) {
        let _ = self.users.set(users);
    }

    /// The name of a user of the container, whose id is the host's.
    pub fn user(&self, id: u32) -> Option<&Arc<str>> {
        self.users.get()?.name(id)
    }

    /// Who the container is, as far as that is known.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.load_full()
    }

    /// Notes who the container is; what was known before stands where this says nothing.
    pub fn note_identity(&self, identity: &Identity) {
        if !identity.is_empty() {
            self.identity.rcu(|known| {
                let known = known.as_deref().cloned().unwrap_or_default();
                Some(Arc::new(identity.clone().or(&known)))
            });
        }
    }

    /// Notes what the files on the node say.
    pub fn set_read(&self, declared: Option<Arc<Declared>>) {
        if let Some(declared) = &declared {
            self.note_identity(&declared.identity);
        }
        self.read.store(declared);
        self.settle();
    }

    /// The reference of the image, as far as it is known.
    pub fn reference(&self) -> Option<String> {
        self.image.load().as_ref().and_then(|facts| facts.identity.reference.clone())
    }

    /// Notes what another plugin told of the image.
    pub fn set_told(&self, image: Option<Arc<ImageIdentity>>) {
        self.told.store(image);
        self.settle();
    }

    /// After either changed. Merged again until nobody else stored meanwhile, so that the last one to store
    /// has seen both.
    fn settle(&self) {
        self.image.rcu(|_| {
            let identity = self.merged();
            Some(Arc::new(ImageFacts { digest: identity.digest(), pinned: identity.is_pinned(), identity }))
        });
    }

    /// What was read, and what was told where nothing was.
    fn merged(&self) -> ImageIdentity {
        let mut image = self.read.load().as_ref().map(|d| d.image.clone()).unwrap_or_default();
        if let Some(told) = self.told.load().as_ref() {
            image.reference = image.reference.or_else(|| told.reference.clone());
            image.id = image.id.or(told.id);
            if image.digests.is_empty() {
                image.digests.clone_from(&told.digests);
            }
        }
        image
    }
}

impl Container {
    /// How much of the image is known.
    pub fn manifest_state(&self) -> ManifestState<'_> {
        ManifestState(self.image.as_ref().map_err(String::as_str))
    }

    /// Whether what the kernel says of each program is all there is: it runs here, on an overlay whose layers
    /// cannot be read.
    pub fn rests_on_flags(&self) -> bool {
        self.image.is_err() && self.live.as_ref().is_some_and(|live| live.is_overlay)
    }

    /// Whether it was looked at through a process that still runs.
    pub fn is_current(&self) -> bool {
        self.live.as_ref().is_some_and(|live| !live.has_ended())
    }

    /// Whether this, found just now, is to replace what was known.
    fn says_more_than(&self, known: &Self) -> bool {
        self.live.is_some()
            || (known.live.is_none() && self.image.as_ref().err() != known.image.as_ref().err())
    }
}

/// A manifest loaded at start and the containers it describes.
#[derive(Debug, Clone)]
pub struct LoadedManifest {
    /// Globs on the container id.
    pub containers: globset::GlobSet,
    /// Globs on the image reference.
    pub images: globset::GlobSet,
    /// What it holds.
    pub image: Image,
    /// What the image declares, where the manifest tells.
    pub config: Option<ImageConfig>,
}

/// Containers that have ended, and are known for a while: events of their last processes may be on their way,
/// and a restart goes on with what was known.
const KEEP_ENDED: usize = 256;

/// Most containers passed over with each new one, to find one whose process may have ended without a word.
const LOOKED_AFTER: usize = 8;

/// What stays of a container that was let go, for a restart.
#[derive(Debug)]
struct Left {
    drifts: Arc<AtomicU64>,
    installed: Arc<ArcSwapOption<Installed>>,
}

/// Where the layers of a container are, by the records of whoever runs it.
#[derive(Debug)]
pub struct Located {
    /// The container.
    pub id: Box<str>,
    /// The process through which it was looked at.
    pid: i64,
    image: Image,
    upper: Option<Vec<u8>>,
}

/// What the registry is told by the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most containers kept.
    pub max_containers: usize,
    /// Where engines have their storage: relative layer names are looked up there.
    pub storage_roots: Vec<PathBuf>,
}

/// All containers.
#[derive(Debug)]
pub struct Registry {
    host: Host,
    settings: Settings,
    cache: &'static LayerCache,
    manifests: Vec<LoadedManifest>,
    containers: LruCache<Box<str>, Arc<Container>>,
    told: LruCache<Box<str>, (Arc<ImageIdentity>, Arc<Identity>)>,
    /// Containers by the process that each was looked at through.
    by_pid: LruCache<i64, Box<str>>,
    /// Containers by the device of their root file system.
    by_device: LruCache<(u32, u32), Box<str>>,
    directories: HostDirectories,
    /// Containers whose process has ended, in that order; one that was looked at through another one since is
    /// running.
    ended: VecDeque<Box<str>>,
    /// Containers that were let go, and that others may forget now.
    gone: VecDeque<Box<str>>,
    /// Of containers that drifted.
    left: LruCache<Box<str>, Left>,
    changes: u64,
}

fn bound(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)
}

impl Registry {
    /// An empty registry.
    pub fn new(host: Host, settings: Settings, manifests: Vec<LoadedManifest>) -> Self {
        let capacity = bound(settings.max_containers);
        Self {
            host,
            settings,
            cache: LayerCache::shared(),
            manifests,
            containers: LruCache::new(capacity),
            told: LruCache::new(capacity),
            by_pid: LruCache::new(capacity),
            by_device: LruCache::new(capacity),
            directories: HostDirectories::default(),
            ended: VecDeque::new(),
            gone: VecDeque::new(),
            left: LruCache::new(bound(KEEP_ENDED)),
            changes: 1,
        }
    }

    /// Number of containers known.
    pub fn len(&self) -> usize {
        self.containers.len()
    }

    /// Whether no container is known.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// All of them, those that ended a while ago included.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.containers.iter().map(|(_, container)| container)
    }

    /// Notes the image of a container, and who the container is, as another plugin told it.
    pub fn note_told(&mut self, id: &str, image: ImageIdentity, identity: Identity) {
        let (image, identity) = (Arc::new(image), Arc::new(identity));
        if let Some(container) = self.containers.peek(id) {
            container.declaration.set_told(Some(Arc::clone(&image)));
            // What the node's files say stands.
            let read = container.declaration.identity().unwrap_or_default();
            container.declaration.note_identity(&Identity::clone(&read).or(&identity));
        }
        self.told.put(id.into(), (image, identity));
        // Which manifest applies may have changed.
        if !self.manifests.is_empty() {
            self.containers.pop(id);
        }
    }

    /// How often what is known of a container changed; the same number means that nothing did.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Notes who a container is, as a recording says.
    pub fn note_identity(&mut self, id: &str, identity: Identity) {
        match self.told.get_mut(id) {
            Some((_, told)) => *told = Arc::new(identity.clone()),
            None => _ = self.told.put(id.into(), (Arc::default(), Arc::new(identity.clone()))),
        }
        if let Some(container) = self.containers.peek(id) {
            container.declaration.note_identity(&identity);
        }
    }

    /// The other containers of a container's pod that are known: running ones, and those that ended a short
    /// while ago, such as its init containers. One pass over all containers: for what is asked once.
    pub fn pod_of<'r>(&'r self, container: &'r Container) -> impl Iterator<Item = &'r Arc<Container>> {
        let identity = container.declaration.identity().filter(|identity| identity.pod.is_some());
        let others = self.containers.iter().map(|(_, other)| other).filter(|other| other.id != container.id);
        others.filter(move |other| match (&identity, other.declaration.identity()) {
            (Some(own), Some(other)) => own.shares_pod_with(&other),
            _ => false,
        })
    }

    /// The container with this id, as known; nothing is looked at.
    pub fn known(&mut self, id: &str) -> Option<&Arc<Container>> {
        self.containers.get(id)
    }

    /// The container with this id, looked at through `pid` unless that was done before.
    ///
    /// The second value is the image when it was just found on disk: its layers want indexing.
    pub fn look_at(&mut self, id: &str, pid: i64) -> (Arc<Container>, Option<Image>) {
        let known = self.containers.get(id).cloned();
        if let Some(known) = known.as_ref().filter(|c| c.is_current()) {
            return (Arc::clone(known), None);
        }
        let (mut container, fresh) = self.look(id, pid);
        if let Some(known) = &known {
            container.drifts = Arc::clone(&known.drifts);
            container.installed = Arc::clone(&known.installed);
        } else if let Some(left) = self.left.pop(id) {
            (container.drifts, container.installed) = (left.drifts, left.installed);
        }
        if let Some(live) = &mut container.live {
            let before = known.as_ref().and_then(|known| known.live.as_ref());
            live.first_started = before.and_then(|before| before.first_started).or(live.started);
        }
        let known_before = known.clone();
        if let Some(known) = known.filter(|k| !container.says_more_than(k)) {
            return (known, None);
        }
        let (mut told_image, told_identity) = self.told.peek(id).cloned().unzip();
        let known_identity = known_before.as_ref().and_then(|known| known.declaration.identity());
        container.declaration.note_identity(&told_identity.unwrap_or_default());
        if known_identity.is_none() {
            let seen_by = container.live.as_ref().map_or(pid, Live::pid);
            let (identity, reference) = glance(&self.host, id, seen_by, container.live.is_some());
            container.declaration.note_identity(&identity);
            let named = || Arc::new(ImageIdentity { reference, ..ImageIdentity::default() });
            told_image = told_image.or_else(|| Some(named()).filter(|image| image.reference.is_some()));
        }
        let told_before = || known_before.as_ref()?.declaration.told.load_full();
        container.declaration.set_told(told_image.or_else(told_before));
        if let Some(known) = &known_before {
            container.declaration.note_identity(&known.declaration.identity().unwrap_or_default());
            // A restart changes no declaration; it is read again all the same.
            if container.live.is_some() {
                container.declaration.set_read(known.declaration.read.load_full());
                if let Some(servers) = known.declaration.nameservers.get() {
                    container.declaration.set_nameservers(servers.to_vec());
                }
            }
        }
        let container = Arc::new(container);
        if let Some(live) = &container.live {
            self.by_pid.put(live.pid(), id.into());
            self.by_device.put(live.root_dev, id.into());
            if let Some(upper) = &live.upper_on_host {
                self.directories.add(upper, id, self.containers.cap().get());
            }
        }
        self.changes += 1;
        let out = self.containers.push(id.into(), Arc::clone(&container));
        match out.filter(|(out, _)| **out != *id) {
            // It will be looked at anew: what others remember of it holds.
            Some((out, old)) if old.is_current() => self.leave(&out, &old),
            Some((out, old)) => self.has_gone(out, &old),
            None => {}
        }
        self.look_after_oldest();
        (container, fresh)
    }

    /// Notes the end of the container used longest ago, if it was missed: one look at a process.
    fn look_after_oldest(&mut self) {
        for _ in 0..LOOKED_AFTER {
            let Some((id, oldest)) = self.containers.peek_lru() else { return };
            let id = id.clone();
            let running = oldest.live.as_ref().filter(|live| !live.has_ended()).map(Live::pid);
            // The next one, the next time.
            self.containers.promote(&id);
            let Some(pid) = running else { continue };
            if !live::is_member(&self.host, pid, &id) {
                self.by_pid.pop(&pid);
                self.end(id, pid);
            }
            return;
        }
    }

    /// Lets the containers go that ended before the last [`KEEP_ENDED`] did.
    fn let_go(&mut self) {
        while self.ended.len() > KEEP_ENDED {
            let Some(id) = self.ended.pop_front() else { return };
            if self.containers.peek(&id).is_none_or(|c| c.is_current()) {
                continue;
            }
            if let Some(container) = self.containers.pop(&id) {
                self.has_gone(id, &container);
            }
        }
    }

    fn has_gone(&mut self, id: Box<str>, container: &Container) {
        self.told.pop(&id);
        if let Some(live) = &container.live {
            if self.by_device.peek(&live.root_dev).is_some_and(|owner| *owner == id) {
                self.by_device.pop(&live.root_dev);
            }
            if let Some(upper) = &live.upper_on_host {
                self.directories.remove(upper, &id);
            }
        }
        self.leave(&id, container);
        if self.gone.len() >= self.containers.cap().get() {
            // What others know of it is forgotten when there is no room.
            self.gone.pop_front();
        }
        self.gone.push_back(id);
    }

    fn leave(&mut self, id: &str, container: &Container) {
        if container.drifts.load(Ordering::Relaxed) != 0 || container.installed.load().is_some() {
            let (drifts, installed) = (Arc::clone(&container.drifts), Arc::clone(&container.installed));
            self.left.put(id.into(), Left { drifts, installed });
        }
    }

    /// A container that was let go, so that what others remember of it can be forgotten.
    pub fn gone(&self) -> Option<&str> {
        self.gone.front().map(|id| &**id)
    }

    /// All is forgotten of the container that [`Registry::gone`] gives.
    pub fn forgotten(&mut self) {
        self.gone.pop_front();
    }

    /// Notes that a thread ended: the container that was looked at through it is looked at anew.
    pub fn note_exit(&mut self, tid: i64) {
        let Some(id) = self.by_pid.pop(&tid) else { return };
        self.end(id, tid);
    }

    fn end(&mut self, id: Box<str>, pid: i64) {
        let live = self.containers.peek(&id).and_then(|c| c.live.as_ref());
        if let Some(live) = live.filter(|live| live.pid() == pid) {
            live.set_ended();
            self.ended.push_back(id);
            self.let_go();
        }
    }

    /// The running container that a path of the host lies in, and the path inside it.
    pub fn at_host_path(&self, path: &[u8]) -> Option<(Arc<Container>, ImagePath)> {
        let (id, inside) = self.directories.find(path)?;
        let container = self.containers.peek(id).filter(|c| c.is_current())?;
        Some((Arc::clone(container), ImagePath::lexical(b"/", inside).ok()?))
    }

    /// The container whose root file system is on this device, as a call of any process told it. Overlayfs
    /// gives each mount a number of its own; one that is used again belongs to the container that was looked
    /// at last.
    pub fn on_device(&self, device: (u32, u32)) -> Option<Arc<Container>> {
        let container = self.containers.peek(self.by_device.peek(&device)?).filter(|c| c.is_current())?;
        let live = container.live.as_ref()?;
        (live.is_overlay && live.root_dev == device).then(|| Arc::clone(container))
    }

    /// The image of a container that its root does not tell, by the records of whoever runs it. Takes
    /// milliseconds: not for the event thread of a live capture.
    ///
    /// # Errors
    /// Why there is none.
    pub fn locate(host: &Host, container: &Container) -> Result<Located, String> {
        let live = container.live.as_ref().ok_or("the container is not running")?;
        let (image, upper) = records::image_of(host, &container.id, live, LayerCache::shared())?;
        Ok(Located { id: container.id.clone(), pid: live.pid(), image, upper })
    }

    /// Takes in where a container's layers are; the image, if that was news.
    pub fn set_located(&mut self, located: Located) -> Option<Arc<Container>> {
        let Located { id, pid, image, upper } = located;
        let known = self.containers.peek(&id).filter(|known| known.image.is_err())?;
        let live = known.live.as_ref().filter(|live| live.pid() == pid)?;
        let now = Arc::new(Container {
            live: Some(live.with_layers(&self.host, &image, upper)),
            id: id.clone(),
            image: Ok(image),
            from_manifest: false,
            drifts: Arc::clone(&known.drifts),
            installed: Arc::clone(&known.installed),
            declaration: Arc::clone(&known.declaration),
        });
        if let Some(upper) = now.live.as_ref().and_then(|live| live.upper_on_host.as_ref()) {
            self.directories.add(upper, &id, self.containers.cap().get());
        }
        self.changes += 1;
        self.containers.put(id, Arc::clone(&now));
        Some(now)
    }

    /// Notes why there are no records either of where a container's layers are.
    fn set_not_located(&mut self, container: &Container, why: &str) -> Arc<Container> {
        let of_root = container.image.as_ref().err().map_or("", String::as_str);
        let live = container.live.as_ref();
        let now = Arc::new(Container {
            id: container.id.clone(),
            live: live.map(|live| live.with_layers(&self.host, &Image::new(Vec::new()), None)),
            image: Err(format!("{of_root}; by its runtime's records: {why}")),
            from_manifest: false,
            drifts: Arc::clone(&container.drifts),
            installed: Arc::clone(&container.installed),
            declaration: Arc::clone(&container.declaration),
        });
        self.containers.put(container.id.clone(), Arc::clone(&now));
        now
    }

    /// As [`Registry::look_at`], and at once where the container's layers are by its runtime's records: for
    /// those who may take milliseconds.
    pub fn look_at_whole(&mut self, id: &str, pid: i64) -> Arc<Container> {
        let container = self.look_at(id, pid).0;
        if container.image.is_ok() || container.live.is_none() {
            return container;
        }
        match Self::locate(&self.host, &container) {
            Ok(located) => self.set_located(located).unwrap_or(container),
            Err(why) => self.set_not_located(&container, &why),
        }
    }

    fn look(&self, id: &str, pid: i64) -> (Container, Option<Image>) {
        let reference = self.told.peek(id).and_then(|(image, _)| image.reference.as_deref());
        let manifest = self
            .manifests
            .iter()
            .find(|m| m.containers.is_match(id) || reference.is_some_and(|r| m.images.is_match(r)));
        let config = manifest.and_then(|m| m.config.as_ref());
        // Where the container cannot be looked at, its image alone says what was declared.
        let declared = || {
            let declaration = Declaration::default();
            declaration.set_read(config.map(|c| Arc::new(Declared::of_image(c))));
            Arc::new(declaration)
        };
        let manifest = manifest.map(|m| m.image.clone());
        match Live::look(&self.host, pid, id) {
            Ok((mut live, root)) => {
                match live::image_of(&self.host, live.pid(), &root, &self.settings.storage_roots, self.cache)
                {
                    Ok((image, upper)) => {
                        live.set_layers(&self.host, &image, upper);
                        let fresh = Some(image.clone());
                        let c = Container {
                            id: id.into(),
                            live: Some(live),
                            image: Ok(image),
                            from_manifest: false,
                            drifts: Arc::default(),
                            installed: Arc::default(),
                            declaration: Arc::default(),
                        };
                        (c, fresh)
                    }
                    Err(why) => {
                        let from_manifest = manifest.is_some();
                        let image = manifest.ok_or_else(|| why.to_string());
                        let (declaration, drifts, installed) = Default::default();
                        let (id, live) = (id.into(), Some(live));
                        (Container { id, live, image, from_manifest, drifts, installed, declaration }, None)
                    }
                }
            }
            Err(why) => {
                let from_manifest = manifest.is_some();
                let image = manifest.ok_or_else(|| match why {
                    NotLive::Gone => "container not found on this host".to_owned(),
                    NotLive::BeingSetUp => "container is being set up".to_owned(),
                });
                let (declaration, drifts, installed) = (declared(), Arc::default(), Arc::default());
                let (id, live) = (id.into(), None);
                (Container { id, live, image, from_manifest, drifts, installed, declaration }, None)
            }
        }
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
