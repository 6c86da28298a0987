//! Prebuilt manifests, approved images and baselines that the configuration names: loaded at start, or refused.

use crate::config::{Config, ConfigError};
use crate::container::approved::{self, Approved};
use crate::container::registry::LoadedManifest;
use crate::lists::ListError;
use crate::manifest::entry::LayerSink;
use crate::manifest::image::Image;
use crate::manifest::image_config::ImageConfig;
use crate::manifest::index::IndexBuilder;
use crate::manifest::layer::Layer;
use crate::manifest::limits::Limits;
use crate::manifest::listing::{LayerListing, Listing};
use crate::manifest::mtree;
use crate::manifest::oci;
use crate::network::{store, Network};
use arc_swap::ArcSwap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Loads every configured manifest.
///
/// # Errors
/// The first that is missing or damaged, with its key and what was wrong.
pub fn load_all(config: &Config) -> Result<Vec<LoadedManifest>, anyhow::Error> {
    let limits = Limits::default();
    config
        .manifests
        .iter()
        .map(|m| {
            let image = load(&m.path, &limits).map_err(|why| {
                let expected =
                    format!("an mtree file, OCI layout or docker-archive that can be read ({why})");
                ConfigError::new(&m.key, &m.path.display().to_string(), &expected)
            })?;
            let (image, config) = image;
            Ok(LoadedManifest { containers: m.containers.clone(), images: m.images.clone(), image, config })
        })
        .collect()
}

/// Lists that the configuration names, each replaced as a whole when its files change; `None` where none are configured.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    /// Approved images.
    pub approved: Option<Arc<ArcSwap<Approved>>>,
    /// Baselines of the network.
    pub network: Option<Arc<Network>>,
}

impl Lists {
    /// Loads them all.
    ///
    /// # Errors
    /// A file that is missing or damaged, with its key and what was wrong.
    pub fn load(config: &Config) -> Result<Self, anyhow::Error> {
        Ok(Self { approved: load_approved(config)?, network: load_network(config)? })
    }
}

fn load_approved(config: &Config) -> Result<Option<Arc<ArcSwap<Approved>>>, ConfigError> {
    let paths = &config.approved_images;
    if paths.is_empty() {
        return Ok(None);
    }
    let what = "lists of image references or manifests that have them";
    let list = approved::load(paths).map_err(|why| refused("approved_images", paths, what, &why))?;
    Ok(Some(Arc::new(ArcSwap::from_pointee(list))))
}

fn load_network(config: &Config) -> Result<Option<Arc<Network>>, ConfigError> {
    let paths = &config.network_baselines;
    if paths.is_empty() && config.learning.is_none() {
        return Ok(None);
    }
    let what = "baselines that can be read";
    let reviewed = store::load(paths).map_err(|why| refused("network.baselines", paths, what, &why))?;
    let learned = config.learning.as_ref().map(|learning| {
        let period = learning.period.as_secs();
        let paths = std::slice::from_ref(&learning.path);
        let what = "a file as drift wrote it; repair it, or remove it and all is learned anew";
        store::load_learned(&learning.path, period)
            .map_err(|why| refused("network.learned", paths, what, &why))
    });
    Ok(Some(Arc::new(Network::new(reviewed, learned.transpose()?))))
}

fn refused(key: &str, paths: &[PathBuf], expected: &str, why: &ListError) -> ConfigError {
    let shown: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    ConfigError::new(key, &shown.join(", "), &format!("{expected} ({why})"))
}

/// Goes through a manifest's paths, without keeping them. Of an image with several layers, each layer's in turn from the
/// base up: what upper ones remove is told too.
///
/// # Errors
/// It cannot be read, or the sink refused.
pub fn list(path: &Path, limits: &Limits, sink: &mut dyn LayerSink) -> Result<(), anyhow::Error> {
    if path.is_dir() || is_tar(path)? {
        let image = oci::open(path, limits)?;
        for i in 0..image.layers.len() {
            image.read_layer(i, limits, sink)?;
        }
        return Ok(());
    }
    mtree::open(path, limits, sink)?;
    Ok(())
}

/// Lists an OCI layout or docker-archive: what is left of its layers laid over each other.
///
/// # Errors
/// It is missing or damaged.
pub fn flatten(path: &Path, limits: &Limits) -> Result<Listing, anyhow::Error> {
    let image = oci::open(path, limits)?;
    let mut listing = Listing::default();
    for i in 0..image.layers.len() {
        let mut layer = LayerListing::new(limits.max_files);
        image.read_layer(i, limits, &mut layer)?;
        listing.add(layer);
    }
    Ok(listing)
}

/// Loads one manifest: an mtree file, an OCI layout or a docker-archive.
///
/// # Errors
/// It is missing or damaged.
pub fn load(path: &Path, limits: &Limits) -> Result<(Image, Option<ImageConfig>), anyhow::Error> {
    if path.is_dir() || is_tar(path)? {
        return load_image(path, limits);
    }
    let mut builder = IndexBuilder::new(limits.max_files);
    mtree::open(path, limits, &mut builder)?;
    Ok((Image::new(vec![Arc::new(Layer::indexed(None, builder.build()))]), None))
}

fn load_image(path: &Path, limits: &Limits) -> Result<(Image, Option<ImageConfig>), anyhow::Error> {
    let image = oci::open(path, limits)?;
    let mut layers = Vec::with_capacity(image.layers.len());
    for (i, layer) in image.layers.iter().enumerate() {
        let mut builder = IndexBuilder::new(limits.max_files);
        image.read_layer(i, limits, &mut builder)?;
        let name = layer.digest.as_ref().unwrap_or(&layer.diff_id).to_string();
        layers.push(Arc::new(Layer::indexed(Some(&name), builder.build())));
    }
    // An image's manifest lists its layers from the base up.
    layers.reverse();
    Ok((Image::new(layers), Some(image.config)))
}

/// Whether a file is a tar archive: POSIX and GNU tar have `ustar` at byte 257 (tar(5)).
fn is_tar(path: &Path) -> std::io::Result<bool> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Ok(false);
    }
    let mut head = Vec::new();
    std::fs::File::open(path)?.take(512).read_to_end(&mut head)?;
    Ok(head.get(257..262) == Some(b"ustar"))
}
