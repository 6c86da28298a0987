//! Whether a change of a file is what a package manager's transaction brought: by the databases, not by who
//! wrote.
//!
//! Hooks, maintainer scripts and build steps run as the package manager's children and may do anything. So
//! only a path counts that a package owns which came with that transaction, with the content that the
//! database records where it records one; and what grants privileges to somebody never counts.

use crate::content::compiled_from;
use crate::host::RootDir;
use crate::packages::has_sum;
use crate::packages::installed::Installed;
use crate::packages::inventory::database_of;
use crate::verdict::change::{locate, Change};
use drift_formats::entry::ImagePath;
use rustix::fs::FileType;
use std::sync::Arc;

/// Files that decide who may do what, and what is loaded everywhere: exempt for nobody.
const NEVER: [&[u8]; 15] = [
    b"/etc/cron.allow",
    b"/etc/cron.d",
    b"/etc/cron.daily",
    b"/etc/cron.hourly",
    b"/etc/cron.monthly",
    b"/etc/cron.weekly",
    b"/etc/crontab",
    b"/etc/gshadow",
    b"/etc/group",
    b"/etc/ld.so.preload",
    b"/etc/passwd",
    b"/etc/shadow",
    b"/etc/sudoers",
    b"/etc/sudoers.d",
    b"/var/spool/cron",
];

/// A change of a file that was seen while a package manager was at work.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The path, links resolved.
    pub path: &'a ImagePath,
    /// What became of it.
    pub change: Change,
    /// Privileges that the file gained.
    pub gained: &'a [&'static str],
    /// The package that owns the path in the image; `unknown` where that is not known.
    pub image_owner: Option<&'a str>,
    /// Command line of the process that wrote last.
    pub writer: &'a str,
    /// The transaction.
    pub transaction: i64,
}

/// Whether a change counts whoever made it: set-id bits, accounts, sudoers, cron, SSH keys, preloaded
/// libraries.
pub fn is_nobodys(path: &ImagePath, gained: &[&'static str]) -> bool {
    !gained.is_empty()
        || NEVER.iter().any(|never| path.is_within(never))
        || path.components().any(|part| part == b".ssh")
}

/// The package that brought a change; `None` where nothing proves that one did. Content of more than `max`
/// bytes is not read, and proves nothing where the database records a checksum.
pub fn brought_by(
    installed: &Installed,
    root: &RootDir,
    subject: &Subject<'_>,
    max: u64,
    keep_going: &mut dyn FnMut() -> bool,
) -> Option<Arc<str>> {
    let Subject { path, change, gained, image_owner, writer, transaction } = *subject;
    if is_nobodys(path, gained) {
        return None;
    }
    let of_images_owner =
        |owner: &str| image_owner.is_none_or(|before| before == owner || before == "unknown");
    match change {
        Change::None | Change::Metadata | Change::Renamed | Change::Reverted => None,
        Change::Deleted => {
            installed.took_away(path, transaction).then(|| image_owner.unwrap_or("unknown").into())
        }
        Change::Created | Change::Modified => {
            let now = locate(root, path, false).ok()?.now?;
            let record = |path: &ImagePath| {
                let record = installed.record(path, transaction)?;
                (change == Change::Created || of_images_owner(&record.owner)).then_some(record)
            };
            if let Some(record) = record(path) {
                return match (record.sum, now.kind) {
                    (Some(sum), FileType::RegularFile) => {
                        let same = has_sum(&mut now.open().ok()?, sum, max, keep_going)?;
                        same.then_some(record.owner)
                    }
                    _ => Some(record.owner),
                };
            }
            // The databases themselves: what they say is compared and reported.
            if change == Change::Created && database_of(path).is_some() {
                return installed.brought(transaction).cloned();
            }
            match now.kind {
                // Alternatives, and links that maintainer scripts make: what they lead to counts.
                FileType::Symlink if change == Change::Created => {
                    let target = locate(root, path, true).ok()?;
                    target.now.filter(|target| target.kind != FileType::Symlink)?;
                    Some(installed.record(&target.path, transaction)?.owner)
                }
                FileType::RegularFile if change == Change::Created => {
                    let (source, _) = compiled_from(root, path, &now)?;
                    Some(installed.record(&source.path, transaction)?.owner)
                }
                // Made of the directories of libraries, each change of which alerts by itself.
                FileType::RegularFile
                    if path.as_bytes() == b"/etc/ld.so.cache" && is_plain_ldconfig(writer) =>
                {
                    installed.brought(transaction).cloned()
                }
                _ => None,
            }
        }
    }
}

/// Without options, by which it reads other configuration or another root.
fn is_plain_ldconfig(command: &str) -> bool {
    matches!(command.trim_end(), "ldconfig" | "ldconfig.real" | "/sbin/ldconfig" | "/sbin/ldconfig.real")
}

#[cfg(test)]
#[path = "packaged_tests.rs"]
mod tests;
