//! A container's whole root against its image, where there is no writable layer to look at: other storage
//! drivers.

use crate::host::RootDir;
use crate::image::view::Presence;
use crate::scan::files::{is_runtimes_own, Cut, Run};
use crate::scan::finding::{FileChange, FileFinding};
use crate::scan::walk::{Item, Walk};
use drift_formats::entry::{Entry, FileKind, ImagePath, LayerSink, LimitExceeded};
use drift_formats::limits::Limits;
use rustix::io::Errno;
use std::collections::BTreeSet;

/// Most names looked for in one directory, of each layer.
const MAX_NAMES: usize = 1_000_000;

impl Run<'_> {
    pub(super) fn root(&mut self, root: &RootDir) -> Result<(), Cut> {
        let mut walk = Walk::new(root, None, self.limits().max_depth)
            .map_err(|e| Cut(format!("the container's root cannot be read: {e}")))?;
        // For each directory the walk is in: whether the image has it.
        let mut above = vec![true];
        let on_disk = self.image().layers().iter().any(|l| l.dir().is_some());
        if on_disk {
            self.deleted_here(&walk, &ImagePath::root())?;
        }
        while let Some(item) = walk.next() {
            if matches!(item, Item::Leave) {
                above.pop();
                continue;
            }
            self.step()?;
            let in_image = above.last().copied().unwrap_or(false);
            match item {
                Item::Leave | Item::Mount(_) | Item::Whiteout(_) => {}
                Item::Problem(path, why) => self.summary.gap(path, why),
                // A bind mount of the same file system.
                Item::File(path, found)
                    if self.scan.is_mount_point(&path) || is_runtimes_own(&path, &found) => {}
                Item::Enter(path, ..) if self.scan.is_mount_point(&path) => {
                    walk.pass_over();
                    above.push(false);
                }
                Item::File(path, found) if in_image => {
                    let image_path = path.clone();
                    self.compare(&path, &image_path, found, false)?;
                }
                Item::File(path, found) => {
                    let gained = crate::verdict::change::privileges(&found);
                    let finding = FileFinding { gained, ..self.finding(&path, &found, FileChange::Created) };
                    self.tell(finding)?;
                }
                Item::Enter(path, found, _) => {
                    let presence = match in_image {
                        true => self.image().lookup(&path),
                        false => Presence::Absent,
                    };
                    let here = match presence {
                        Presence::Present { entry, .. } if entry.kind == FileKind::Directory => true,
                        Presence::Present { .. } => {
                            let finding = self.finding(&path, &found, FileChange::Modified);
                            self.tell(finding)?;
                            false
                        }
                        Presence::Absent => {
                            if !self.scan.is_above_mount(&path) {
                                let finding = self.finding(&path, &found, FileChange::Created);
                                self.tell(finding)?;
                            }
                            false
                        }
                        Presence::Unknown(why) => {
                            self.summary.gap(path.clone(), why);
                            walk.pass_over();
                            false
                        }
                    };
                    above.push(here);
                    if here && on_disk {
                        self.deleted_here(&walk, &path)?;
                    }
                }
            }
        }
        match &self.scan.listing {
            _ if on_disk => Ok(()),
            Some(listing) => {
                let listing = listing.clone();
                self.deleted_of(&listing, root)
            }
            None => {
                let why = "deleted files are not known: there is no listing of the image".to_owned();
                self.summary.gap(ImagePath::root(), why);
                Ok(())
            }
        }
    }

    /// What the image's layers have in the directory that the walk has just entered, and the container has
    /// not.
    fn deleted_here(&mut self, walk: &Walk, dir: &ImagePath) -> Result<(), Cut> {
        let mut names = BTreeSet::new();
        for layer in self.image().layers() {
            names.extend(layer.names(dir, MAX_NAMES).unwrap_or_default());
        }
        for name in names {
            self.paced()?;
            let Ok(path) = dir.join(&name) else { continue };
            match walk.has(&name) {
                Ok(true) => {}
                Ok(false) => match self.image().lookup(&path) {
                    Presence::Present { entry, .. } => self.tell_deleted(path.clone(), path, entry.kind)?,
                    Presence::Absent => {}
                    Presence::Unknown(why) => self.summary.gap(path, why),
                },
                Err(e) => self.summary.gap(path, format!("unreadable: {e}")),
            }
        }
        Ok(())
    }

    /// Goes through the listing that the image was read from, and looks for each path.
    fn deleted_of(&mut self, listing: &std::path::Path, root: &RootDir) -> Result<(), Cut> {
        let mut sink = Deleted { run: self, root, cut: None, told: BTreeSet::new() };
        let read = crate::image::load::list(listing, &Limits::default(), &mut sink);
        match (sink.cut, read) {
            (Some(cut), _) => Err(cut),
            (None, Ok(())) => Ok(()),
            (None, Err(e)) => Err(Cut(format!("the image's listing cannot be read: {e}"))),
        }
    }
}

/// Told of each path of a listing.
struct Deleted<'r, 'a> {
    run: &'r mut Run<'a>,
    root: &'r RootDir,
    cut: Option<Cut>,
    /// Paths told, of which nothing below is told.
    told: BTreeSet<ImagePath>,
}

impl Deleted<'_, '_> {
    fn look(&mut self, path: &ImagePath) -> Result<(), Cut> {
        self.run.paced()?;
        if !matches!(self.root.find_beneath(path.as_bytes()), Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
        {
            return Ok(());
        }
        // Only the uppermost path that is gone is told.
        let mut top = path.clone();
        while let Some(parent) = top.parent() {
            match self.root.find_beneath(parent.as_bytes()) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => top = parent,
                // Replaced by something else, which is told already.
                Ok(found) if found.kind != rustix::fs::FileType::Directory => return Ok(()),
                _ => break,
            }
        }
        let Presence::Present { entry, .. } = self.run.image().lookup(&top) else { return Ok(()) };
        if self.told.insert(top.clone()) {
            self.run.tell_deleted(top.clone(), top, entry.kind)?;
        }
        Ok(())
    }
}

impl LayerSink for Deleted<'_, '_> {
    fn entry(&mut self, path: &ImagePath, _: Entry) -> Result<(), LimitExceeded> {
        // Of several layers the upper ones may have removed it.
        if !matches!(self.run.image().lookup(path), Presence::Present { .. }) {
            return Ok(());
        }
        self.look(path).map_err(|cut| {
            self.cut = Some(cut);
            LimitExceeded { what: "paths", limit: 0 }
        })
    }

    fn whiteout(&mut self, _: &ImagePath) -> Result<(), LimitExceeded> {
        Ok(())
    }

    fn opaque(&mut self, _: &ImagePath) -> Result<(), LimitExceeded> {
        Ok(())
    }
}
