//! The one program of the init container's image: copies Drift's files from the image into the volumes that
//! Falco's container mounts, and ends.
//!
//!     copy [PLUGINS [RULES]]      default: /plugins /rulesfiles, where Falco's chart mounts them
//!
//! An image from scratch has no shell and no `cp`. This needs the standard library only, and is linked
//! statically (`scripts/image.sh`). Each file is written under another name and renamed, so that a Falco that
//! is running never sees half of one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The files of the image, by the folder that they go to.
const FROM: [&str; 2] = ["/drift/plugins", "/drift/rules"];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let to = ["/plugins", "/rulesfiles"].map(|default| arguments.next().unwrap_or_else(|| default.into()));
    if arguments.next().is_some() {
        eprintln!("drift: usage: copy [PLUGINS [RULES]]");
        return ExitCode::FAILURE;
    }
    for (from, to) in FROM.iter().zip(&to) {
        if let Err(why) = copy_all(Path::new(from), to) {
            eprintln!("drift: {from} to {}: {why}", to.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Copies each file of a folder. The target folder must be there: it is a mounted volume, and a made one
/// would be lost.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let target = to.join(&name);
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(&name);
        let written = to.join(hidden);
        // A link that somebody left there is not followed.
        match fs::remove_file(&written) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).open(&written)?;
        file.write_all(&fs::read(entry.path())?)?;
        let is_program = entry.metadata()?.permissions().mode() & 0o100 != 0;
        file.set_permissions(fs::Permissions::from_mode(if is_program { 0o755 } else { 0o644 }))?;
        file.sync_all()?;
        fs::rename(&written, &target)?;
        println!("drift: {}", target.display());
    }
    Ok(())
}
