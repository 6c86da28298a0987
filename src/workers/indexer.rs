//! Indexes the layers of images, one after the other, at a share of one CPU.

use super::worker::Inbox;
use super::Pace;
use crate::config::Config;
use crate::facts::NewImage;
use crate::metrics::Metrics;
use drift_core::host::Host;
use drift_core::image::cache::LayerCache;
use drift_core::image::disk::WalkLimits;
use drift_core::image::view::Image;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

/// The indexer's thread.
#[derive(Debug)]
pub struct Indexer {
    host: Host,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
}

impl Indexer {
    /// An indexer that works until `stop`.
    pub fn new(host: Host, config: Arc<Config>, metrics: Arc<Metrics>, stop: Arc<AtomicBool>) -> Self {
        Self { host, config, metrics, stop }
    }

    /// Indexes what is asked for until the queue closes.
    pub fn run(&self, images: &Inbox<NewImage>) {
        let mut pace = Pace::new(self.config.cpu_percent, Arc::clone(&self.stop));
        for NewImage { image, looked_at } in images.iter() {
            pace.begin();
            // What the event thread will want to know of the container's volumes.
            let _ = self.host.init_mounts(looked_at);
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
            drift_core::packages::owners::build(layer, || pace.step());
        }
        // Afterwards, so that no first answer waits for it.
        image.layers().iter().for_each(|layer| drift_core::content::build(layer, &mut || pace.step()));
        LayerCache::shared().enforce(self.config.cache.max_bytes, self.config.cache.max_layers);
        self.metrics.note_cache(LayerCache::shared().totals());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawConfig;
    use drift_core::image::disk::XattrSpace;
    use drift_core::image::layer::Layer;
    use std::time::Instant;

    #[test]
    fn a_layer_that_is_gone_is_counted_and_the_others_are_indexed() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::create_dir(tmp.path().join("sub")).unwrap();
        let layer = |dir| Arc::new(Layer::on_disk(dir, XattrSpace::User));
        let (gone, there) = (layer(tmp.path().join("nowhere")), layer(tmp.path().to_owned()));
        let metrics = Arc::new(Metrics::default());
        let config = Arc::new(Config::try_from(RawConfig::default()).unwrap());
        let indexer =
            Indexer::new(Host::new(std::path::Path::new("/")), config, Arc::clone(&metrics), Arc::default());
        let (queue, images) = super::super::worker::queue(1, 1);
        let image = Image::new(vec![Arc::clone(&gone), Arc::clone(&there)]);
        queue.send(NewImage { image, looked_at: Instant::now() }).unwrap();
        drop(queue);
        indexer.run(&images);
        assert_eq!(metrics.layers_partial.get(), 1);
        assert!(gone.index().unwrap().partial().is_some());
        assert_eq!(there.index().unwrap().partial(), None);
    }
}
