//! Loads a manifest as users have it: an mtree file, an OCI layout or a docker-archive.

use super::index::IndexBuilder;
use super::layer::Layer;
use super::listing::{LayerListing, Listing};
use super::oci;
use super::view::Image;
use drift_formats::entry::LayerSink;
use drift_formats::image_config::ImageConfig;
use drift_formats::limits::Limits;
use drift_formats::mtree;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Goes through a manifest's paths, without keeping them. Of an image with several layers, each layer's in
/// turn from the base up: what upper ones remove is told too.
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
