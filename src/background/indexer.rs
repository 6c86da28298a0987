//! Indexes the layers of images, one after the other, at a share of one CPU.

use super::Pace;
use crate::config::Config;
use crate::manifest::cache::LayerCache;
use crate::manifest::disk::WalkLimits;
use crate::manifest::image::Image;
use crate::metrics::Metrics;
use crossbeam_channel::Receiver;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

/// The indexer's thread.
#[derive(Debug)]
pub struct Indexer {
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
}

impl Indexer {
    /// An indexer that works until `stop`.
    pub fn new(config: Arc<Config>, metrics: Arc<Metrics>, stop: Arc<AtomicBool>) -> Self {
        Self { config, metrics, stop }
    }

    /// Indexes what is asked for until the queue closes.
    pub fn run(&self, images: &Receiver<Image>) {
        let mut pace = Pace::new(self.config.cpu_percent, Arc::clone(&self.stop));
        for image in images {
            pace.begin();
            self.index(&image, &mut pace);
        }
    }

    fn index(&self, image: &Image, pace: &mut Pace) {
        let limits = WalkLimits { max_files: self.config.max_files, ..WalkLimits::default() };
        for layer in image.layers() {
            if layer.index().is_none() {
                let Some(index) = layer.build_index(limits, || pace.step()) else { return };
                if index.partial().is_some() {
                    self.metrics.layers_partial.inc();
                }
            }
            if !pace.step() {
                return;
            }
            layer.build_owners(|| pace.step());
        }
        LayerCache::shared().enforce(self.config.cache.max_bytes, self.config.cache.max_layers);
        self.metrics.note_cache(LayerCache::shared().totals());
    }
}
