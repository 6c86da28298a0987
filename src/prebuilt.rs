//! Prebuilt manifests, approved images and baselines that the configuration names: loaded at start, or
//! refused.

use crate::config::{Config, ConfigError};
use arc_swap::ArcSwap;
use drift_core::container::registry::LoadedManifest;
use drift_core::image::load::load;
use drift_core::network::{store, Network};
use drift_core::policy::approved::{self, Approved};
use drift_core::policy::lists::ListError;
use drift_formats::limits::Limits;
use std::path::PathBuf;
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

/// Lists that the configuration names, each replaced as a whole when its files change; `None` where none are
/// configured.
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
