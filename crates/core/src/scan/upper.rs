//! The writable layer of an overlay against the layers underneath.
//!
//! What is in it was written since the container started: new files, copies of changed ones, and the marks of
//! what is gone (whiteouts, opaque directories) or renamed (redirects). Format: the kernel's
//! Documentation/filesystems/overlayfs.rst. Marks cannot be made from within the container: overlayfs keeps
//! them for itself.

use crate::host::{FoundFile, RootDir};
use crate::image::disk::XattrSpace;
use crate::image::view::Presence;
use crate::scan::files::{is_runtimes_own, Cut, Run};
use crate::scan::finding::{FileChange, FileFinding};
use crate::scan::walk::{Item, Marks, Walk};
use drift_formats::entry::{FileKind, ImagePath};
use rustix::fs::FileType;
use std::collections::BTreeSet;

/// Most names looked for in one opaque directory, of each layer.
const MAX_NAMES: usize = 1_000_000;
/// Most removed directories kept until all renamed ones are known.
const MAX_REMOVED: usize = 100_000;

/// A directory the walk is in.
#[derive(Debug, Clone, Default)]
struct Above {
    /// Where the image has it; `None` where it has not.
    image_path: Option<ImagePath>,
    /// What the image has in it is hidden. What is made in an opaque directory is not marked again.
    opaque: bool,
}

/// What a directory's renaming may explain.
#[derive(Default)]
struct Renames {
    /// Directories and files of the image that are there under another name.
    from: BTreeSet<ImagePath>,
    /// Paths of the image that are gone: path, path in the image, kind.
    removed: Vec<(ImagePath, ImagePath, FileKind)>,
}

impl Run<'_> {
    pub(super) fn upper(&mut self, dir: &RootDir, xattrs: XattrSpace, metacopy: bool) -> Result<(), Cut> {
        let mut walk = Walk::new(dir, Some(xattrs), self.limits().max_depth)
            .map_err(|e| Cut(format!("the writable layer cannot be read: {e}")))?;
        if xattrs == XattrSpace::Trusted && !crate::image::disk::may_read_trusted_xattrs() {
            let why = "opaque directories not readable without CAP_SYS_ADMIN".to_owned();
            self.summary.gap(ImagePath::root(), why);
        }
        let mut above = vec![Above { image_path: Some(ImagePath::root()), opaque: false }];
        let mut renames = Renames::default();
        let walked = self.walk_upper(&mut walk, &mut above, &mut renames, metacopy.then_some(xattrs));
        for (path, image_path, kind) in renames.removed {
            if !renames.from.contains(&image_path) {
                self.tell_deleted(path, image_path, kind)?;
            }
        }
        walked
    }

    fn walk_upper(
        &mut self,
        walk: &mut Walk,
        above: &mut Vec<Above>,
        renames: &mut Renames,
        metacopy: Option<XattrSpace>,
    ) -> Result<(), Cut> {
        while let Some(item) = walk.next() {
            if matches!(item, Item::Leave) {
                above.pop();
                continue;
            }
            self.step()?;
            let parent = above.last().cloned().unwrap_or_default();
            // Where the image would have an entry of this directory.
            let in_image = |path: &ImagePath| {
                let name = path.file_name()?;
                parent.image_path.as_ref()?.join(name).ok()
            };
            match item {
                Item::Leave => {}
                Item::Whiteout(path) => {
                    let Some(image_path) = in_image(&path) else { continue };
                    self.removed(path, image_path, renames)?;
                }
                Item::File(path, found) => {
                    let image_path = in_image(&path);
                    self.upper_file(&path, image_path, found, metacopy, renames)?;
                }
                Item::Enter(path, found, marks) => {
                    let image_path = in_image(&path);
                    let opaque = marks.opaque || (parent.opaque && marks.redirect.is_none());
                    let marks = Marks { opaque, ..marks };
                    let image_path = self.upper_dir(walk, &path, image_path, &found, &marks, renames)?;
                    above.push(Above { image_path, opaque });
                }
                // The runtime mounts nothing in there; what another mount hides is not the container's to
                // see.
                Item::Mount(path) => self.summary.gap(path, "another mount in the writable layer".to_owned()),
                Item::Problem(path, why) => self.summary.gap(path, why),
            }
        }
        Ok(())
    }

    /// The image's path is gone, if the image has it.
    fn removed(&mut self, path: ImagePath, image_path: ImagePath, renames: &mut Renames) -> Result<(), Cut> {
        let kind = match self.image().lookup(&image_path) {
            Presence::Present { entry, .. } => entry.kind,
            Presence::Absent => return Ok(()),
            Presence::Unknown(why) => {
                self.summary.gap(path, why);
                return Ok(());
            }
        };
        // It may have been renamed, which is known only at the end.
        if renames.removed.len() < MAX_REMOVED {
            renames.removed.push((path, image_path, kind));
            return Ok(());
        }
        self.tell_deleted(path, image_path, kind)
    }

    fn upper_file(
        &mut self,
        path: &ImagePath,
        image_path: Option<ImagePath>,
        found: FoundFile,
        metacopy: Option<XattrSpace>,
        renames: &mut Renames,
    ) -> Result<(), Cut> {
        if is_runtimes_own(path, &found) {
            return Ok(());
        }
        let regular = found.kind == FileType::RegularFile;
        let target = self.scan.is_mount_point(path);
        if target && regular && found.size == 0 {
            // The runtime made it to mount something on it.
            return Ok(());
        }
        if let Some(space) =
            metacopy.filter(|space| regular && found.xattr(&space.name("metacopy")).is_some())
        {
            return self.metacopy(path, image_path, &found, space, renames);
        }
        match image_path {
            Some(image_path) => self.compare(path, &image_path, found, true),
            None => {
                let gained = crate::verdict::change::privileges(&found);
                let finding = FileFinding { gained, ..self.finding(path, &found, FileChange::Created) };
                self.tell(finding)
            }
        }
    }

    /// A copy of metadata alone: the content is the image's, at the same path or at the one of its redirect.
    fn metacopy(
        &mut self,
        path: &ImagePath,
        image_path: Option<ImagePath>,
        found: &FoundFile,
        space: XattrSpace,
        renames: &mut Renames,
    ) -> Result<(), Cut> {
        let redirect = found.xattr(&space.name("redirect"));
        let source = match &redirect {
            Some(redirect) => redirected(redirect, image_path.as_ref()),
            None => image_path.clone(),
        };
        let source = source.filter(|s| matches!(self.image().lookup(s), Presence::Present { .. }));
        let Some(source) = source else {
            let why = "content in a layer that cannot be told".to_owned();
            self.summary.gap(path.clone(), why.clone());
            let finding = FileFinding { why, ..self.finding(path, found, FileChange::Unknown) };
            return self.tell(finding);
        };
        let before = self.before(&source);
        let mut gained = crate::verdict::change::set_ids(found.mode).collect::<Vec<_>>();
        if let Some(before) = &before {
            gained.retain(|bit| !crate::verdict::change::set_ids(before.mode).any(|had| had == *bit));
        }
        let moved = image_path.as_ref() != Some(&source);
        let change = match (moved, gained.is_empty()) {
            (true, _) => FileChange::Renamed,
            (false, false) => FileChange::Metadata,
            (false, true) => FileChange::Touched,
        };
        if moved {
            renames.from.insert(source.clone());
        }
        // The content is not in this file: what it is cannot be told from it.
        let content = crate::verdict::change::file_kind(path, None);
        let image_path = Some(source).filter(|s| s != path);
        let finding =
            FileFinding { before, gained, content, image_path, ..self.finding(path, found, change) };
        self.tell(finding)
    }

    /// A directory of the writable layer; answers where the image has it.
    fn upper_dir(
        &mut self,
        walk: &mut Walk,
        path: &ImagePath,
        image_path: Option<ImagePath>,
        found: &FoundFile,
        marks: &Marks,
        renames: &mut Renames,
    ) -> Result<Option<ImagePath>, Cut> {
        let source = match &marks.redirect {
            Some(redirect) => redirected(redirect, image_path.as_ref()),
            None => image_path.clone(),
        };
        let Some(source) = source else { return self.new_dir(path, found).map(|()| None) };
        match self.image().lookup(&source) {
            Presence::Present { entry, .. } if entry.kind == FileKind::Directory => {}
            Presence::Present { .. } => {
                let before = self.before(&source);
                let finding = FileFinding { before, ..self.finding(path, found, FileChange::Modified) };
                self.tell(finding)?;
                return Ok(None);
            }
            Presence::Absent => return self.new_dir(path, found).map(|()| None),
            Presence::Unknown(why) => {
                self.summary.gap(path.clone(), why);
                walk.pass_over();
                return Ok(None);
            }
        }
        if Some(&source) != image_path.as_ref() {
            renames.from.insert(source.clone());
            // What the image has under the new name is hidden.
            if let Some(hidden) = image_path {
                self.removed(path.clone(), hidden, renames)?;
            }
            let before = self.before(&source);
            let image_path = Some(source.clone());
            let finding =
                FileFinding { before, image_path, ..self.finding(path, found, FileChange::Renamed) };
            self.tell(finding)?;
        } else {
            let before = self.before(&source);
            let differs = before.is_some_and(|b| (b.mode, b.owner) != (found.mode, found.owner));
            if differs {
                self.tell_touched(path, &source, found)?;
            }
        }
        if marks.opaque {
            self.opaque_dir(walk, path, &source, renames)?;
        }
        Ok(Some(source))
    }

    fn new_dir(&mut self, path: &ImagePath, found: &FoundFile) -> Result<(), Cut> {
        // Runtimes make directories to mount something in.
        if self.scan.is_mount_point(path) || self.scan.is_above_mount(path) {
            return Ok(());
        }
        let finding = self.finding(path, found, FileChange::Created);
        self.tell(finding)
    }

    /// What the image has in a directory that was removed and made again.
    fn opaque_dir(
        &mut self,
        walk: &Walk,
        path: &ImagePath,
        source: &ImagePath,
        renames: &mut Renames,
    ) -> Result<(), Cut> {
        let mut names = BTreeSet::new();
        for i in 0..self.image().layers().len() {
            let Some(layer) = self.image().layers().get(i) else { break };
            // A layer that has no such directory has no names in it.
            let Ok(found) = layer.names(source, MAX_NAMES) else { continue };
            if found.len() >= MAX_NAMES {
                self.summary.gap(path.clone(), format!("more than {MAX_NAMES} names"));
            }
            names.extend(found);
            self.paced()?;
        }
        for name in names {
            self.paced()?;
            let (Ok(child), Ok(image_child)) = (path.join(&name), source.join(&name)) else { continue };
            match walk.has(&name) {
                Ok(true) => {}
                Ok(false) => self.removed(child, image_child, renames)?,
                Err(e) => self.summary.gap(child, format!("unreadable: {e}")),
            }
        }
        Ok(())
    }
}

/// Where a redirect leads: an absolute path, or another name in the same directory of the image.
fn redirected(redirect: &[u8], image_path: Option<&ImagePath>) -> Option<ImagePath> {
    match redirect.first()? {
        b'/' => ImagePath::from_archive(redirect).ok(),
        _ if redirect.contains(&b'/') => None,
        _ => image_path?.parent()?.join(redirect).ok(),
    }
}
