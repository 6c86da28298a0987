//! The files of baselines: reading them, noticing that they changed, storing what was learned.
//!
//! Invariant: a file is replaced as a whole (rename(2)); whoever reads it, after whatever crash, finds the
//! old or the new one.

use crate::network::baseline::{Baselines, MAX_BASELINES};
use crate::network::learned::Learned;
use crate::policy::lists::{self, ListError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Largest file that is read, bytes.
const MAX_FILE: u64 = 32 << 20;

/// Reads all files, and those in the folders.
///
/// # Errors
/// The first that cannot be read or is not understood.
pub fn load(paths: &[PathBuf]) -> Result<Baselines, ListError> {
    let mut all = Baselines::default();
    for path in lists::list(paths)? {
        let text = lists::read_text(&path, MAX_FILE)?;
        let content = |why| ListError::Content { path: path.clone(), why };
        all.0.extend(Baselines::parse(&text).map_err(content)?.0);
        if all.0.len() > MAX_BASELINES {
            return Err(ListError::TooMany(format!("{MAX_BASELINES} baselines")));
        }
    }
    Ok(all)
}

/// Reads what was learned; nothing where there is no file yet.
///
/// # Errors
/// It cannot be read, or is not as it was written.
pub fn load_learned(path: &Path, period: u64) -> Result<Learned, ListError> {
    match lists::read_text(path, MAX_FILE) {
        Ok(text) => {
            Learned::parse(&text, period).map_err(|why| ListError::Content { path: path.into(), why })
        }
        Err(ListError::Io { why, .. }) if why.kind() == std::io::ErrorKind::NotFound => {
            Ok(Learned::new(period))
        }
        Err(error) => Err(error),
    }
}

/// Stores what was learned.
///
/// # Errors
/// The system's; the old file is as it was.
pub fn save(path: &Path, learned: &Learned) -> std::io::Result<()> {
    let dir = path.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let new = dir.join(name);
    // One that was left by a crash is no use to anybody.
    match std::fs::remove_file(&new) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file.write_all(learned.to_yaml().as_bytes()).and_then(|()| file.sync_all());
    if let Err(why) = written.and_then(|()| std::fs::rename(&new, path)) {
        // On a full disk half a file would be in everybody's way.
        let _ = std::fs::remove_file(&new);
        return Err(why);
    }
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::baseline::Peer;
    use crate::network::learned::LearnedPeer;
    use crate::network::Direction;
    use drift_formats::ports::Protocol;

    fn some(n: u8) -> Learned {
        let mut learned = Learned::new(100);
        let address = std::net::IpAddr::from([10, 0, 0, n]);
        let peer =
            Peer { direction: Direction::Outbound, address, name: None, port: 1, protocol: Protocol::Tcp };
        learned.add("app:1", LearnedPeer::of(&peer));
        learned
    }

    #[test]
    fn what_is_stored_is_read_and_nobody_else_may() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("learned.yaml");
        assert!(load_learned(&path, 100).unwrap().is_empty());
        std::fs::write(dir.path().join("learned.yaml.new"), "left by a crash").unwrap();
        for n in 1..4 {
            save(&path, &some(n)).unwrap();
            assert_eq!(load_learned(&path, 100).unwrap().to_yaml(), some(n).to_yaml());
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(save(&dir.path().join("none/learned.yaml"), &some(1)).is_err());
        std::fs::write(&path, "baselines: [{").unwrap();
        let error = load_learned(&path, 100).unwrap_err().to_string();
        assert!(error.contains("learned.yaml: line"), "{error}");
    }

    #[test]
    fn folders_are_read_whole_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.yaml"), "baselines: [{images: [a], outbound: []}]").unwrap();
        std::fs::write(dir.path().join("b.yaml"), "baselines: [{images: [b], inbound: []}]").unwrap();
        std::fs::write(dir.path().join(".hidden"), "{").unwrap();
        let paths = [dir.path().to_owned()];
        assert_eq!(load(&paths).unwrap().0.len(), 2);
        std::fs::write(dir.path().join("c.yaml"), "baselines: [{image: [c]}]").unwrap();
        let error = load(&paths).unwrap_err().to_string();
        assert!(error.contains("c.yaml: baselines[0]") && error.contains("`image`"), "{error}");
    }
}
