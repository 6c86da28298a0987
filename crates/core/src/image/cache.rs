//! The process-wide cache of layers: one index for each layer, whichever container or plugin instance uses
//! it.
//!
//! Invariant: bounded by configuration. Containers hold the layers they use; over the bound, indexes of the
//! layers used longest ago are dropped and look-ups in them go to the disk.

use crate::image::disk::XattrSpace;
use crate::image::layer::Layer;
use lru::LruCache;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What tells a layer's directory from another one at the same path later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LayerId {
    path: PathBuf,
    xattrs: XattrSpace,
    dev: u64,
    ino: u64,
}

/// Layers by directory.
#[derive(Debug)]
pub struct LayerCache {
    layers: Mutex<LruCache<LayerId, Arc<Layer>>>,
}

/// Sums over a cache, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheTotals {
    /// Layers known.
    pub layers: u64,
    /// Paths in indexes.
    pub files: u64,
    /// Heap bytes of indexes.
    pub bytes: u64,
}

impl LayerCache {
    /// The cache that all plugin instances of the process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<LayerCache> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    /// An empty cache.
    pub fn new() -> Self {
        Self { layers: Mutex::new(LruCache::unbounded()) }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<LayerId, Arc<Layer>>> {
        // A panic while the lock was held leaves the map usable: every change is one insertion or removal.
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The layer in this directory of the host.
    pub fn layer(&self, path: &Path, xattrs: XattrSpace) -> Arc<Layer> {
        let (dev, ino) = std::fs::metadata(path).map(|m| (m.dev(), m.ino())).unwrap_or((0, 0));
        let id = LayerId { path: path.to_owned(), xattrs, dev, ino };
        let mut layers = self.lock();
        if let Some(layer) = layers.get(&id) {
            return Arc::clone(layer);
        }
        let layer = Arc::new(Layer::on_disk(path.to_owned(), xattrs));
        layers.put(id, Arc::clone(&layer));
        layer
    }

    /// Brings the cache under its bounds: layers that no container uses go first, then indexes of those used
    /// longest ago.
    pub fn enforce(&self, max_bytes: u64, max_layers: usize) {
        let dropped = self.take_surplus(max_bytes, max_layers);
        // Without the lock, for which the event thread may wait: an index has millions of entries.
        for layer in dropped {
            layer.evict();
        }
    }

    /// Takes out what is over the bounds, in one pass for each of the two kinds.
    fn take_surplus(&self, max_bytes: u64, max_layers: usize) -> Vec<Arc<Layer>> {
        let mut layers = self.lock();
        let mut bytes: u64 = layers.iter().map(|(_, l)| l.bytes() as u64).sum();
        let mut left = layers.len();
        let mut surplus = Vec::new();
        for unused_only in [true, false] {
            let mut taken = Vec::new();
            for (id, layer) in layers.iter().rev() {
                if bytes <= max_bytes && left <= max_layers {
                    break;
                }
                if !unused_only || Arc::strong_count(layer) == 1 {
                    bytes = bytes.saturating_sub(layer.bytes() as u64);
                    left -= 1;
                    taken.push(id.clone());
                }
            }
            surplus.extend(taken.iter().filter_map(|id| layers.pop(id)));
        }
        surplus
    }

    /// Sums for metrics.
    pub fn totals(&self) -> CacheTotals {
        let layers = self.lock();
        let mut totals = CacheTotals { layers: layers.len() as u64, ..CacheTotals::default() };
        for (_, layer) in layers.iter() {
            if let Some(index) = layer.index() {
                totals.files += index.len() as u64;
            }
            totals.bytes += layer.bytes() as u64;
        }
        totals
    }
}

impl Default for LayerCache {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::WalkLimits;
    use super::*;

    #[test]
    fn one_directory_is_one_layer_and_bounds_hold() {
        let tmp = tempfile::tempdir().unwrap();
        let cache = LayerCache::new();
        let dir = |n: &str| {
            let d = tmp.path().join(n);
            std::fs::create_dir_all(d.join("sub")).unwrap();
            d
        };
        let a = cache.layer(&dir("a"), XattrSpace::User);
        assert!(Arc::ptr_eq(&a, &cache.layer(&dir("a"), XattrSpace::User)));
        a.build_index(WalkLimits::default(), || true).unwrap();
        let b = cache.layer(&dir("b"), XattrSpace::User);
        b.build_index(WalkLimits::default(), || true).unwrap();
        drop(b);
        assert_eq!(cache.totals().files, 2);
        cache.enforce(9, 10);
        assert_eq!(cache.totals().layers, 1, "the layer that nobody uses went first");
        assert!(a.index().is_some());
        cache.enforce(0, 10);
        assert!(a.index().is_none(), "an index in use is dropped; the layer answers from disk");
        assert_eq!(cache.totals().layers, 0);
    }
}
