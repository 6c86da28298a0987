//! The containers seen so far, and how each is told from a thread's control groups.
//!
//! Invariant: bounded, least recently used out first. A container that could not be looked at is tried again with
//! the next of its processes, ever less often; a replay's containers cost one failed `open` a try.

use super::live::{self, Live, NotLive};
use crate::config::Config;
use crate::host::Host;
use crate::manifest::cache::LayerCache;
use crate::manifest::image::{Image, ManifestState};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::Arc;

/// What is known of one container. Immutable but for a count of tries: learning more replaces it.
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
    /// Times it was asked for while it could not be looked at.
    attempts: AtomicU32,
}

impl Container {
    /// How much of the image is known.
    pub fn manifest_state(&self) -> ManifestState {
        match &self.image {
            Ok(image) => image.state(),
            Err(why) => ManifestState::Unavailable(why.clone()),
        }
    }

    /// Whether another try could learn more.
    fn wants_retry(&self) -> bool {
        // 0, 1, 2, 4, 8 … 64, then each 64th time.
        let attempts = self.attempts.load(Relaxed);
        self.live.is_none() && (attempts < 2 || attempts.is_power_of_two() || attempts % 64 == 0)
    }

    fn count_attempt(&self) {
        if self.live.is_none() {
            self.attempts.store(self.attempts.load(Relaxed).saturating_add(1), Relaxed);
        }
    }
}

/// A manifest loaded at start and the containers it describes.
#[derive(Debug)]
pub struct LoadedManifest {
    /// Globs on the container id.
    pub containers: globset::GlobSet,
    /// Globs on the image reference.
    pub images: globset::GlobSet,
    /// What it holds.
    pub image: Image,
}

/// All containers.
#[derive(Debug)]
pub struct Registry {
    host: Host,
    config: Arc<Config>,
    cache: &'static LayerCache,
    manifests: Vec<LoadedManifest>,
    containers: LruCache<Box<str>, Arc<Container>>,
    references: LruCache<Box<str>, Box<str>>,
}

fn bound(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)
}

impl Registry {
    /// An empty registry.
    pub fn new(host: Host, config: Arc<Config>, manifests: Vec<LoadedManifest>) -> Self {
        let capacity = bound(config.cache.max_containers);
        Self {
            host,
            config,
            cache: LayerCache::shared(),
            manifests,
            containers: LruCache::new(capacity),
            references: LruCache::new(capacity),
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

    /// Notes the image reference of a container, as another plugin told it.
    pub fn note_reference(&mut self, id: &str, reference: &str) {
        self.references.put(id.into(), reference.into());
        // Which manifest applies may have changed.
        if !self.manifests.is_empty() {
            self.containers.pop(id);
        }
    }

    /// The container with this id, looked at through `pid` if that was not possible before.
    ///
    /// The second value is the image when it was just found on disk: its layers want indexing.
    pub fn get(&mut self, id: &str, pid: i64) -> (Arc<Container>, Option<Image>) {
        if let Some(known) = self.containers.get(id) {
            if !known.wants_retry() {
                known.count_attempt();
                return (Arc::clone(known), None);
            }
        }
        let attempts = self.containers.peek(id).map_or(0, |c| c.attempts.load(Relaxed));
        let (container, fresh) = self.look(id, pid, attempts.saturating_add(1));
        let container = Arc::new(container);
        self.containers.put(id.into(), Arc::clone(&container));
        (container, fresh)
    }

    fn look(&self, id: &str, pid: i64, attempts: u32) -> (Container, Option<Image>) {
        let reference = self.references.peek(id).map(AsRef::as_ref);
        let manifest = self
            .manifests
            .iter()
            .find(|m| m.containers.is_match(id) || reference.is_some_and(|r| m.images.is_match(r)));
        let manifest = manifest.map(|m| m.image.clone());
        let attempts = AtomicU32::new(attempts);
        match Live::look(&self.host, pid, id) {
            Ok((mut live, root)) => {
                match live::image_of(&self.host, &root, &self.config.storage_roots, self.cache) {
                    Ok((image, upper)) => {
                        live.upper = upper;
                        let fresh = Some(image.clone());
                        let c = Container {
                            id: id.into(),
                            live: Some(live),
                            image: Ok(image),
                            from_manifest: false,
                            attempts,
                        };
                        (c, fresh)
                    }
                    Err(why) => {
                        let from_manifest = manifest.is_some();
                        let image = manifest.ok_or_else(|| why.to_string());
                        (Container { id: id.into(), live: Some(live), image, from_manifest, attempts }, None)
                    }
                }
            }
            Err(why) => {
                let from_manifest = manifest.is_some();
                let image = manifest.ok_or_else(|| match why {
                    NotLive::Gone => "container not found on this host".to_owned(),
                    NotLive::BeingSetUp => "container is being set up".to_owned(),
                });
                (Container { id: id.into(), live: None, image, from_manifest, attempts }, None)
            }
        }
    }
}
