//! Which of the variables that differ from the declared ones are dangerous.

use crate::container::declared::environment::{is_risky, EnvDrift};
use crate::container::registry::Container;
use crate::image::view::Presence;
use drift_formats::entry::ImagePath;
use drift_formats::image_config::PATH;

/// Names of those that make programs load or run other code, or send their traffic elsewhere; `PATH` among them when it
/// gained a directory that anybody may write to.
pub fn risky(container: &Container, drift: &EnvDrift) -> Vec<Box<[u8]>> {
    let gained = drift.directories.0.iter().any(|dir| is_risky_directory(container, dir));
    let names = drift.added.iter().chain(&drift.changed);
    names.filter(|name| is_risky(name) || (***name == *PATH.as_bytes() && gained)).cloned().collect()
}

/// Directories that every process may write, wherever programs are looked for in them.
const SCRATCH: [&[u8]; 6] = [b"/tmp", b"/var/tmp", b"/dev", b"/proc", b"/run", b"/var/run"];

/// Whether programs in a directory may be others than the image's.
fn is_risky_directory(container: &Container, dir: &[u8]) -> bool {
    if !dir.starts_with(b"/") {
        // Relative, or empty: the working directory.
        return true;
    }
    let Ok(path) = ImagePath::lexical(b"/", dir) else { return true };
    if SCRATCH.iter().any(|scratch| path.is_within(scratch)) {
        return true;
    }
    if let Some(live) = &container.live {
        if live.mounts().covering(path.as_bytes()).is_some_and(|m| m.dev != live.root_dev && !m.read_only) {
            return true;
        }
    }
    match container.image.as_ref().map(|image| image.resolve(&path).1) {
        Ok(Presence::Absent) => true,
        Ok(Presence::Present { entry, .. }) => entry.mode.is_some_and(|mode| mode & 0o002 != 0),
        Ok(Presence::Unknown(_)) | Err(_) => false,
    }
}
