//! `drift manifest`: an image's files as an mtree(5) manifest.

use crate::arguments::{Global, Manifest};
use crate::containers::Node;
use anyhow::{anyhow, Context, Result};
use drift_core::image::listing::Listing;
use drift_formats::limits::Limits;
use drift_formats::mtree_writer::{write_entry, write_head};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Reads the image and writes its manifest.
pub(crate) fn run(global: &Global, options: &Manifest) -> Result<()> {
    let path = Path::new(&options.subject);
    let limits = Limits::default();
    let listing = match path.exists() {
        true => drift_core::image::load::flatten(path, &limits)?,
        false => of_container(global, options, &limits)?,
    };
    match &options.output {
        Some(to) => {
            let file = std::fs::File::create_new(to).with_context(|| format!("making {}", to.display()))?;
            write(file, &listing)
        }
        None => write(io::stdout().lock(), &listing),
    }
}

fn of_container(global: &Global, options: &Manifest, limits: &Limits) -> Result<Listing> {
    let name = options.subject.to_str().context("no image of that name, and no container")?;
    let target = Node::open(global, None)
        .and_then(|mut node| node.find(name))
        .with_context(|| format!("no file or directory {name:?}"))?;
    let image = target.container.image.as_ref().map_err(|why| anyhow!("{why}"))?;
    drift_core::scan::layers::list(image.layers(), limits.max_files, &mut || true)
        .map_err(|why| anyhow!("{why}"))
}

fn write(out: impl Write, listing: &Listing) -> Result<()> {
    let mut out = BufWriter::new(out);
    write_head(&mut out)?;
    for (path, entry) in listing.iter() {
        write_entry(&mut out, path, entry)?;
    }
    Ok(out.flush()?)
}
