//! Control groups that look like another container's, below a container's own.

use std::path::{Path, PathBuf};

/// The groups, taken away with their owner.
pub struct Forged(Vec<PathBuf>);

impl Forged {
    /// Makes them, and moves the process there, in every hierarchy that lets it.
    pub fn around(pid: i64) -> Self {
        let lines = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let mut made = Vec::new();
        for line in lines.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let below = format!("{}/docker/{}", path.trim_start_matches('/'), "ab".repeat(32));
            let names = controllers.split(',').map(|name| name.trim_start_matches("name="));
            let top = Path::new("/sys/fs/cgroup");
            for hierarchy in names.map(|name| top.join(name)).chain([top.join("unified")]) {
                let group = hierarchy.join(&below);
                if !hierarchy.join(path.trim_start_matches('/')).join("cgroup.procs").exists() {
                    continue;
                }
                if std::fs::create_dir_all(&group).is_ok() {
                    // cpuset takes no process before it is set up.
                    let moved = std::fs::write(group.join("cgroup.procs"), pid.to_string()).is_ok();
                    made.extend(moved.then(|| group.clone()));
                    if !moved {
                        remove(&group);
                    }
                }
            }
        }
        Self(made)
    }

    /// Whether the process was moved in any hierarchy.
    pub fn is_somewhere(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Drop for Forged {
    fn drop(&mut self) {
        self.0.iter().for_each(|group| remove(group));
    }
}

fn remove(group: &Path) {
    let _ = std::fs::remove_dir(group);
    let _ = group.parent().map(std::fs::remove_dir);
}
