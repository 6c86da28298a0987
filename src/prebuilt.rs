//! Prebuilt manifests that the configuration names: loaded once, at start, or refused.

use crate::config::{Config, ConfigError};
use crate::container::registry::LoadedManifest;
use crate::manifest::image::Image;
use crate::manifest::index::IndexBuilder;
use crate::manifest::layer::Layer;
use crate::manifest::limits::Limits;
use crate::manifest::mtree;
use std::path::Path;
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
            Ok(LoadedManifest { containers: m.containers.clone(), images: m.images.clone(), image })
        })
        .collect()
}

fn load(path: &Path, limits: &Limits) -> Result<Image, anyhow::Error> {
    let mut builder = IndexBuilder::new(limits.max_files);
    mtree::open(path, limits, &mut builder)?;
    Ok(Image::new(vec![Arc::new(Layer::indexed(None, builder.build()))]))
}
