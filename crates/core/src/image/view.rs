//! An image as its stack of layers, and the question it answers: does the image have this path?

use crate::image::index::IndexedEntry;
use crate::image::layer::{Answer, Layer};
use drift_formats::entry::{FileKind, ImagePath};
use drift_formats::path_key::PathKeys;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Symbolic links followed in one look-up; the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// An image: layers, top-most first.
#[derive(Debug, Clone)]
pub struct Image {
    layers: Vec<Arc<Layer>>,
    /// Why answers may be missing although every layer is indexed.
    caveat: Option<Arc<str>>,
}

/// Where the image has a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// In the layer with this index into [`Image::layers`].
    Present {
        /// Position in [`Image::layers`], 0 being the top.
        layer: usize,
        /// What that layer says of it.
        entry: IndexedEntry,
    },
    /// The image does not have it.
    Absent,
    /// Could not be found out, and why.
    Unknown(String),
}

/// How much of an image is known, shown as users see it: the image, or why there is none.
///
/// `ready`: every layer is indexed whole. `building`: at least one layer's index is not built yet, and
/// look-ups go to the disk. `partial:<why>`: an index has holes. `unavailable:<why>`: nothing is known.
#[derive(Debug, Clone, Copy)]
pub struct ManifestState<'a>(pub Result<&'a Image, &'a str>);

impl std::fmt::Display for ManifestState<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let image = match self.0 {
            Ok(image) => image,
            Err(why) => return write!(f, "unavailable:{why}"),
        };
        let mut partial = None;
        for layer in &image.layers {
            match layer.is_partial() {
                None => return f.write_str("building"),
                Some(holes) => partial = partial.or(holes.then_some(layer)),
            }
        }
        match (&image.caveat, partial.and_then(|layer| layer.index())) {
            (Some(why), _) => write!(f, "partial:{why}"),
            (None, Some(index)) => write!(f, "partial:{}", index.partial().unwrap_or_default()),
            (None, None) => f.write_str("ready"),
        }
    }
}

/// How a layer is named to users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerName<'a> {
    /// By its digest.
    Digest(&'a str),
    /// By its number, counted from the base layer, 0.
    Number(usize),
}

impl std::fmt::Display for LayerName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Digest(digest) => f.write_str(digest),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl Image {
    /// An image of these layers, top-most first.
    pub fn new(layers: Vec<Arc<Layer>>) -> Self {
        Self { layers, caveat: None }
    }

    /// Notes why the image can never be fully known (such as overlay xattrs that may not be read).
    pub(crate) fn with_caveat(mut self, why: &str) -> Self {
        self.caveat = Some(why.into());
        self
    }

    /// The layers, top-most first.
    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// How a layer is named to users: its digest, or its number counted from the base layer, 0.
    pub fn layer_name(&self, layer: usize) -> LayerName<'_> {
        match self.layers.get(layer).and_then(|l| l.name()) {
            Some(name) => LayerName::Digest(name),
            None => LayerName::Number(self.layers.len().saturating_sub(layer + 1)),
        }
    }

    /// Looks a path up without following a link in its last component or any other.
    pub fn lookup(&self, path: &ImagePath) -> Presence {
        let keys = PathKeys::new(path);
        for (i, layer) in self.layers.iter().enumerate() {
            match layer.lookup(path, &keys) {
                Answer::Entry(entry) => return self.confirm(path, &keys, i, entry),
                Answer::Hidden => return Presence::Absent,
                Answer::Silent => {}
                Answer::Unknown(why) => return Presence::Unknown(why),
            }
        }
        Presence::Absent
    }

    /// A hit in layer `i` counts only if no layer above hides a directory of the path.
    fn confirm(&self, path: &ImagePath, keys: &PathKeys, i: usize, entry: IndexedEntry) -> Presence {
        for above in self.layers.iter().take(i) {
            match above.hides_below(path, keys) {
                Ok(false) => {}
                Ok(true) => return Presence::Absent,
                Err(e) => return Presence::Unknown(format!("layer unreadable: {e}")),
            }
        }
        Presence::Present { layer: i, entry }
    }

    /// Looks a path up as a process would open it: links are followed, inside the image only.
    ///
    /// The answer's path is where the file really is in the image (`/usr/bin/dash` for `/bin/sh`); for an
    /// absent file it is the path with the links above it resolved.
    pub fn resolve(&self, path: &ImagePath) -> (ImagePath, Presence) {
        let mut pending: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
        pending.reverse();
        let mut at: Vec<u8> = Vec::new();
        let mut links = 0;
        let mut last = None;
        while let Some(name) = pending.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    let cut = at.iter().rposition(|b| *b == b'/').unwrap_or(0);
                    at.truncate(cut);
                    last = None;
                    continue;
                }
                _ => {}
            }
            let parent = at.len();
            at.push(b'/');
            at.extend_from_slice(&name);
            let Ok(here) = ImagePath::from_archive(&at) else {
                return (path.clone(), Presence::Absent);
            };
            let found = self.lookup(&here);
            let target = match &found {
                Presence::Present { entry, layer } if entry.kind == FileKind::Symlink => {
                    self.link_target(&here, *layer, entry)
                }
                Presence::Present { .. } => None,
                // Nothing is below a path that is not there.
                _ => return (join(&at, &pending).unwrap_or_else(|| path.clone()), found),
            };
            match target {
                Some(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return (path.clone(), Presence::Absent);
                    }
                    at.truncate(if target.first() == Some(&b'/') { 0 } else { parent });
                    pending.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                    last = None;
                }
                None => last = Some((here, found)),
            }
        }
        match last {
            Some((here, found)) => (here, found),
            // The path ended in `..` or is the root: look at what it came to.
            None => match ImagePath::from_archive(&at) {
                Ok(here) => {
                    let found = self.lookup(&here);
                    (here, found)
                }
                Err(_) => (path.clone(), Presence::Absent),
            },
        }
    }

    /// Names in a directory of the image, in order; `None` where the image has no such directory. `path` has
    /// no links in it: it comes from [`Self::resolve`]. One more than `max` names where a layer has more.
    ///
    /// # Errors
    /// A layer cannot be read, or is known by its index alone, which cannot be listed.
    pub fn list(&self, path: &ImagePath, max: usize) -> Result<Option<Vec<Vec<u8>>>, String> {
        let keys = PathKeys::new(path);
        let mut names: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
        let mut found = false;
        // Below the directory: an opaque mark on the directory itself counts too.
        let inside =
            ImagePath::from_archive(&[path.as_bytes(), b"/-"].concat()).map_err(|e| e.to_string())?;
        let inside_keys = PathKeys::new(&inside);
        // Every layer has the root; an index has no entry for it.
        let is_root = path.as_bytes() == b"/";
        for layer in &self.layers {
            let answer = match layer.lookup(path, &keys) {
                Answer::Silent if is_root => Answer::Entry(IndexedEntry::of_kind(FileKind::Directory)),
                answer => answer,
            };
            match answer {
                Answer::Entry(entry) if entry.kind == FileKind::Directory => {
                    let unlisted = |e| format!("layer cannot be listed: {e}");
                    for (name, held) in layer.list(path, max).map_err(unlisted)? {
                        names.entry(name).or_insert(held);
                    }
                    found = true;
                }
                // Replaced or removed: what is below does not count.
                Answer::Entry(_) | Answer::Hidden => break,
                // An archive may leave the directory out that its files are in.
                Answer::Silent if layer.dir().is_none() => {
                    return Err("a layer is not on disk".into());
                }
                Answer::Silent => {}
                Answer::Unknown(why) => return Err(why),
            }
            // Asked of the disk: an index answers for the path as a whole.
            let hides = layer.hides_below_now(&inside, &inside_keys);
            if hides.map_err(|e| format!("layer unreadable: {e}"))? {
                break;
            }
        }
        let held = names.into_iter().filter_map(|(name, held)| held.then_some(name));
        Ok(found.then(|| held.collect()))
    }

    /// The package that owns a path, as the top-most layer says whose databases know it.
    ///
    /// # Errors
    /// A layer's databases were not read (yet), or not whole, and no layer above it knows the path.
    pub fn owner(&self, path: &ImagePath) -> Result<Option<String>, &'static str> {
        for layer in &self.layers {
            let owners = layer.owners().ok_or("package databases not read")?;
            if let Some(owner) = owners.owner(path) {
                return Ok(Some(owner.to_owned()));
            }
            if owners.is_partial() {
                return Err("package databases too long, or not readable");
            }
        }
        Ok(None)
    }

    /// As [`Self::owner`], with `unknown` where it is not known: what an event says that is read later.
    pub fn owner_or_unknown(&self, path: &ImagePath) -> Option<String> {
        self.owner(path).unwrap_or_else(|_| Some("unknown".to_owned()))
    }

    fn link_target(&self, path: &ImagePath, layer: usize, entry: &IndexedEntry) -> Option<Vec<u8>> {
        if let Some(target) = &entry.link {
            return Some(target.to_vec());
        }
        self.layers.get(layer)?.read_link(path)
    }

    /// Whether a directory of the image other than its root holds `path`, present or not: the nearest
    /// directory above it that the image has. `None` where that could not be found out.
    ///
    /// In a replay the mounts are not known. A path below a directory that the image does not have may well
    /// lie on a volume, whose mount point the runtime made; one below the image's own directories most likely
    /// does not.
    pub(crate) fn has_home_for(&self, path: &ImagePath) -> Option<bool> {
        let parent = path.parent()?;
        if parent.as_bytes() == b"/" {
            return Some(true);
        }
        let mut dir = Some(parent);
        while let Some(d) = dir {
            if d.as_bytes() == b"/" {
                return Some(false);
            }
            match self.resolve(&d).1 {
                Presence::Present { .. } => return Some(true),
                Presence::Absent => {}
                Presence::Unknown(_) => return None,
            }
            dir = d.parent();
        }
        Some(false)
    }
}

fn join(at: &[u8], pending: &[Vec<u8>]) -> Option<ImagePath> {
    let mut full = at.to_vec();
    for name in pending.iter().rev() {
        full.push(b'/');
        full.extend_from_slice(name);
    }
    ImagePath::lexical(b"/", &full).ok()
}

#[cfg(test)]
mod tests {
    use super::super::index::IndexBuilder;
    use super::*;
    use drift_formats::entry::{Entry, LayerSink};

    fn p(path: &str) -> ImagePath {
        ImagePath::from_archive(path.as_bytes()).unwrap()
    }
    fn entry(kind: FileKind, link: Option<&str>) -> Entry {
        Entry { kind, mode: 0o755, size: 1, link: link.map(|l| l.as_bytes().into()), sha256: None }
    }
    /// `d:` directory, `l:path>target` link, `w:` whiteout, `o:` opaque, else a file.
    fn layer(rows: &[&str]) -> Arc<Layer> {
        let mut b = IndexBuilder::new(1000);
        for row in rows {
            match row.split_once(':') {
                Some(("d", dir)) => b.entry(&p(dir), entry(FileKind::Directory, None)).unwrap(),
                Some(("w", path)) => b.whiteout(&p(path)).unwrap(),
                Some(("o", path)) => b.opaque(&p(path)).unwrap(),
                Some(("l", both)) => {
                    let (path, target) = both.split_once('>').unwrap();
                    b.entry(&p(path), entry(FileKind::Symlink, Some(target))).unwrap();
                }
                _ => b.entry(&p(row), entry(FileKind::Regular, None)).unwrap(),
            }
        }
        Arc::new(Layer::indexed(None, b.build()))
    }
    fn image() -> Image {
        Image::new(vec![
            layer(&["w:/etc/gone", "o:/opt/app", "/opt/app/new"]),
            layer(&["/etc/conf", "/usr/bin/tool", "d:/opt/app", "/opt/app/old"]),
            layer(&[
                "d:/usr",
                "d:/usr/bin",
                "l:/bin>usr/bin",
                "/usr/bin/dash",
                "l:/usr/bin/sh>dash",
                "d:/etc",
                "/etc/gone",
                "l:/loop>loop",
                "l:/abs>/usr/bin/dash",
                "l:/up>../../../usr/bin/dash",
                "d:/tmp",
                "l:/usr/bin/x>../bin/sh",
            ]),
        ])
    }

    #[test]
    fn layers_stack() {
        let i = image();
        let at = |path: &str| match i.lookup(&p(path)) {
            Presence::Present { layer, .. } => Some(layer),
            Presence::Absent => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(at("/usr/bin/tool"), Some(1));
        assert_eq!(at("/usr/bin/dash"), Some(2));
        assert_eq!(at("/etc/gone"), None, "whiteout");
        assert_eq!(at("/opt/app/new"), Some(0));
        assert_eq!(at("/opt/app/old"), None, "opaque directory above");
        assert_eq!(at("/nowhere"), None);
        assert_eq!(i.layer_name(2).to_string(), "0", "the base layer is number 0");
    }

    #[test]
    fn links_resolve_inside_the_image() {
        let i = image();
        for (path, want) in [
            ("/bin/sh", Some("/usr/bin/dash")),
            ("/bin/x", Some("/usr/bin/dash")),
            ("/abs", Some("/usr/bin/dash")),
            ("/up", Some("/usr/bin/dash")),
            ("/loop", None),
            ("/bin/none", None),
            ("/loop/x", None),
        ] {
            let (real, found) = i.resolve(&p(path));
            match want {
                Some(w) => {
                    assert!(matches!(found, Presence::Present { .. }), "{path}: {found:?}");
                    assert_eq!(real.as_bytes(), w.as_bytes(), "{path}");
                }
                None => assert_eq!(found, Presence::Absent, "{path}"),
            }
        }
        assert_eq!(i.resolve(&p("/bin/none")).0.as_bytes(), b"/usr/bin/none");
        assert!(matches!(i.resolve(&p("/")).1, Presence::Absent | Presence::Present { .. }));
    }

    #[test]
    fn a_home_is_a_directory_of_the_image_below_its_root() {
        let i = image();
        assert_eq!(i.has_home_for(&p("/tmp/x")), Some(true));
        assert_eq!(i.has_home_for(&p("/tmp/a/b/x")), Some(true));
        assert_eq!(i.has_home_for(&p("/bin/x")), Some(true), "through a link");
        assert_eq!(i.has_home_for(&p("/vol/x")), Some(false));
        assert_eq!(i.has_home_for(&p("/x")), Some(true), "directly in the root");
    }
}
