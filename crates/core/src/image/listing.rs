//! A whole image as one list of paths: what is left when its layers are laid over each other.
//!
//! Bounded by the limits of what fills it; holds every path in memory, unlike an index.

use drift_formats::entry::{Entry, FileKind, ImagePath, LayerSink, LimitExceeded};
use std::collections::BTreeMap;

/// The paths of an image, sorted.
#[derive(Debug, Default)]
pub struct Listing {
    paths: BTreeMap<ImagePath, Entry>,
}

/// What one layer says, until all of it is known: what it removes counts before what it holds, in any order.
#[derive(Debug)]
pub struct LayerListing {
    max_files: usize,
    entries: Vec<(ImagePath, Entry)>,
    whiteouts: Vec<ImagePath>,
    opaque: Vec<ImagePath>,
}

impl LayerListing {
    /// Takes at most so many paths.
    pub fn new(max_files: u64) -> Self {
        let max_files = usize::try_from(max_files).unwrap_or(usize::MAX);
        Self { max_files, entries: Vec::new(), whiteouts: Vec::new(), opaque: Vec::new() }
    }

    fn room(&self) -> Result<(), LimitExceeded> {
        match self.entries.len() + self.whiteouts.len() + self.opaque.len() < self.max_files {
            true => Ok(()),
            false => Err(LimitExceeded { what: "files", limit: self.max_files as u64 }),
        }
    }
}

impl LayerSink for LayerListing {
    fn entry(&mut self, path: &ImagePath, entry: Entry) -> Result<(), LimitExceeded> {
        self.room()?;
        self.entries.push((path.clone(), entry));
        Ok(())
    }

    fn whiteout(&mut self, path: &ImagePath) -> Result<(), LimitExceeded> {
        self.room()?;
        self.whiteouts.push(path.clone());
        Ok(())
    }

    fn opaque(&mut self, dir: &ImagePath) -> Result<(), LimitExceeded> {
        self.room()?;
        self.opaque.push(dir.clone());
        Ok(())
    }
}

impl Listing {
    /// Lays a layer over what is there. Layers come from the base up.
    pub fn add(&mut self, layer: LayerListing) {
        for path in layer.whiteouts {
            self.paths.remove(&path);
            self.remove_below(&path);
        }
        for dir in layer.opaque {
            self.remove_below(&dir);
        }
        for (path, entry) in layer.entries {
            if entry.kind != FileKind::Directory {
                self.remove_below(&path);
            }
            self.paths.insert(path, entry);
        }
    }

    fn remove_below(&mut self, dir: &ImagePath) {
        let Ok(first) = dir.join(b"\x01") else { return };
        // Every path below begins with the directory's and a slash; the first byte of a name is at least 1.
        let below: Vec<ImagePath> = self
            .paths
            .range(first..)
            .take_while(|(p, _)| p.is_within(dir.as_bytes()))
            .map(|(p, _)| p.clone())
            .collect();
        for path in below {
            self.paths.remove(&path);
        }
    }

    /// All paths, sorted by their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&ImagePath, &Entry)> {
        self.paths.iter()
    }

    /// Number of paths.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(path: &str) -> ImagePath {
        ImagePath::from_archive(path.as_bytes()).unwrap()
    }

    fn layer(rows: &[&str]) -> LayerListing {
        let mut layer = LayerListing::new(100);
        for row in rows {
            let entry = |kind| Entry { kind, mode: 0o755, size: 0, link: None, sha256: None };
            match row.split_at(2) {
                ("w:", path) => layer.whiteout(&p(path)).unwrap(),
                ("o:", path) => layer.opaque(&p(path)).unwrap(),
                ("d:", path) => layer.entry(&p(path), entry(FileKind::Directory)).unwrap(),
                (_, path) => layer.entry(&p(path), entry(FileKind::Regular)).unwrap(),
            }
        }
        layer
    }

    #[test]
    fn layers_lie_over_each_other() {
        let mut listing = Listing::default();
        listing.add(layer(&[
            "d:/a", "f:/a/1", "f:/a/2", "f:/a-b", "d:/b", "f:/b/1", "d:/c", "f:/c/1", "d:/d", "f:/d/1",
        ]));
        // A file in place of a directory, an opaque one, one removed, and one removed and made again.
        listing.add(layer(&["f:/a", "d:/b", "f:/b/2", "o:/b", "w:/c", "f:/d/2", "w:/d", "d:/d"]));
        let paths: Vec<_> =
            listing.iter().map(|(p, _)| String::from_utf8_lossy(p.as_bytes()).into_owned()).collect();
        assert_eq!(paths, ["/a", "/a-b", "/b", "/b/2", "/d", "/d/2"]);
    }

    #[test]
    fn a_layer_is_bounded() {
        let mut layer = LayerListing::new(1);
        layer.whiteout(&p("/x")).unwrap();
        assert!(layer.opaque(&p("/y")).is_err());
    }
}
