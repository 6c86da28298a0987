//! The script an interpreter was started on: which file that is, and its judgement.

use crate::container::live::{self, Live};
use crate::container::mounts::{Place, Sight};
use crate::container::registry::Container;
use crate::host::{path_of, strip_deleted, FoundFile};
use crate::host::{ExeFlags, InodeId};
use crate::image::view::Presence;
use crate::verdict::judge::{is_memfd_path, Judge, Judgement, Subject};
use crate::verdict::origin::Origin;
use drift_formats::entry::ImagePath;
use rustix::io::Errno;

/// A script and its judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Path inside the container, absolute where the working directory was known.
    pub path: Vec<u8>,
    /// What it is.
    pub judgement: Judgement,
    /// Its inode number; 0 where it was not found.
    pub ino: u64,
}

impl Script {
    /// A script whose file was not found.
    fn unseen(path: &[u8], judgement: Judgement) -> Self {
        Self { path: path.to_vec(), judgement, ino: 0 }
    }
}

/// The process that runs the script.
#[derive(Debug)]
pub struct Runner<'a> {
    /// Process id.
    pub pid: i64,
    /// Working directory as the engine followed it; may be empty.
    pub cwd: &'a [u8],
}

impl Judge {
    /// Judges the script named by `argument`, an interpreter's argument as given.
    pub fn judge_script(&self, container: &Container, runner: &Runner<'_>, argument: &[u8]) -> Script {
        let alive = live::is_member(self.host(), runner.pid, &container.id);
        let absolute = argument.first() == Some(&b'/');
        let cwd = match alive && !absolute {
            true => self.directory_at_exec(container, runner, argument),
            false => runner.cwd.to_vec(),
        };
        if !absolute && cwd.is_empty() {
            return Script::unseen(argument, unknown("working directory not known"));
        }
        let Ok(path) = ImagePath::lexical(&cwd, argument) else {
            return Script::unseen(argument, unknown("path too long"));
        };
        if let Some(live) = &container.live {
            return match self.find_script(container, live, runner.pid, alive, absolute, &path, argument) {
                Ok(Sight::File(found, place)) => {
                    self.judge_live_script(container, runner.pid, &path, Some(found), place)
                }
                Ok(Sight::Mount(place)) => self.judge_unlooked(container, runner.pid, &path, place),
                // On some mount, and which one only a server could tell.
                Err(Errno::XDEV) => Script::unseen(
                    path.as_bytes(),
                    Judgement { origin: Origin::Volume, path: Some(path.clone()), ..unknown("") },
                ),
                Err(_) => self.judge_live_script(container, runner.pid, &path, None, None),
            };
        }
        Script::unseen(path.as_bytes(), judge_replayed(container, &path))
    }

    /// The working directory that a relative name began at. The engine knows it as it was at the exec, the kernel as it is
    /// now: a script that changes its directory at once could name another file by that. But of a process in a chroot the
    /// engine does not know the root, and after lost events it may be wrong: then the file is not where it says.
    fn directory_at_exec(&self, container: &Container, runner: &Runner<'_>, argument: &[u8]) -> Vec<u8> {
        let is_there = || {
            let live = container.live.as_ref()?;
            let root = live.root(self.host(), &[])?;
            let path = ImagePath::lexical(runner.cwd, argument).ok()?;
            live.find(self.host(), &container.id, live.pid(), &root, &path).ok()
        };
        let has_own_root = || self.host().root_path_of(runner.pid).is_none_or(|root| root != b"/");
        if runner.cwd.starts_with(b"/") && !has_own_root() && is_there().is_some() {
            return runner.cwd.to_vec();
        }
        self.host().cwd_of(runner.pid).unwrap_or_else(|| runner.cwd.to_vec())
    }

    /// Looks for the file as the process would open it: from its own root (a chroot, perhaps) when it lives.
    #[expect(clippy::too_many_arguments, reason = "two ways to name one file, and who names it")]
    fn find_script(
        &self,
        container: &Container,
        live: &Live,
        pid: i64,
        alive: bool,
        absolute: bool,
        path: &ImagePath,
        argument: &[u8],
    ) -> Result<Sight, Errno> {
        let host = self.host();
        if alive {
            if let Some(number) = own_descriptor(argument) {
                let fd = host.hold_open_file(pid, number)?;
                let named = path_of(&fd).ok_or(Errno::NOENT)?;
                // What is no file, or in memory, is the kernel's own: nobody has to answer for it.
                if !named.starts_with(b"/") || is_memfd_path(&named) {
                    return Ok(Sight::File(FoundFile::from_fd(fd)?, None));
                }
                let Ok(named) = ImagePath::lexical(b"/", strip_deleted(&named)) else {
                    return Err(Errno::NAMETOOLONG);
                };
                return live.look_at(host, &container.id, pid, fd, &named).ok_or(Errno::NOENT);
            }
            // A working directory is a path from the namespace's root, also for a process in a chroot.
            if absolute {
                if let Ok(root) = host.root_of(pid) {
                    let path = ImagePath::lexical(b"/", argument).map_err(|_| Errno::NAMETOOLONG)?;
                    return live.find(host, &container.id, pid, &root, &path);
                }
            }
        }
        let root = live.root(host, &[]).ok_or(Errno::NOENT)?;
        live.find(host, &container.id, live.pid(), &root, path)
    }

    /// A script that may not be looked at: where it lies is known.
    fn judge_unlooked(&self, container: &Container, pid: i64, path: &ImagePath, place: Place) -> Script {
        let (flags, inode) = Default::default();
        let subject = Subject { path: path.as_bytes(), flags, flags_given: false, inode, found: None, pid };
        Script::unseen(path.as_bytes(), self.judge_at(container, &subject, Some(place)))
    }

    fn judge_live_script(
        &self,
        container: &Container,
        pid: i64,
        path: &ImagePath,
        found: Option<FoundFile>,
        place: Option<Place>,
    ) -> Script {
        let Some(found) = found else {
            // Gone since. A path that the image never had is drift whatever was there.
            let absent = matches!(container.image.as_ref().map(|i| i.resolve(path).1), Ok(Presence::Absent));
            let subject = Subject {
                path: path.as_bytes(),
                flags: ExeFlags::default(),
                flags_given: false,
                inode: InodeId::default(),
                found: None,
                pid,
            };
            let judgement = match absent {
                true => self.judge(container, &subject),
                false => unknown("script is gone"),
            };
            return Script::unseen(path.as_bytes(), judgement);
        };
        let real = found.path().unwrap_or_else(|| path.as_bytes().to_vec());
        if real.first() != Some(&b'/') {
            // A pipe or socket: input, not a file that could be the image's.
            return Script::unseen(path.as_bytes(), unknown("script is no file"));
        }
        let subject = Subject {
            path: &real,
            flags: ExeFlags::default(),
            flags_given: false,
            inode: InodeId::default(),
            found: Some(&found),
            pid,
        };
        let mut judgement = self.judge_at(container, &subject, place);
        if found.kind != rustix::fs::FileType::RegularFile && judgement.origin != Origin::Memfd {
            judgement = unknown("script is no regular file");
        }
        Script { path: real, judgement, ino: found.inode.ino }
    }
}

/// In a replay no layer can be told for a script: the kernel gives no flags for it. A path that the image has may
/// have been written to since. One that it lacks was added, unless it may lie on a mount.
fn judge_replayed(container: &Container, path: &ImagePath) -> Judgement {
    let Ok(image) = &container.image else { return unknown("image not known") };
    let (real, presence) = image.resolve(path);
    match presence {
        Presence::Absent if image.has_home_for(&real) == Some(true) => {
            Judgement { origin: Origin::Added, path: Some(real), ..unknown("") }
        }
        Presence::Absent => unknown("mounts not known"),
        Presence::Present { .. } => unknown("layer not known"),
        Presence::Unknown(_) => unknown("image layer not readable"),
    }
}

fn unknown(why: &'static str) -> Judgement {
    Judgement {
        origin: Origin::Unknown,
        path: None,
        layer: None,
        volume: None,
        sha256: None,
        why,
        comparable_later: false,
    }
}

/// The descriptor that `/proc/self/fd/N`, `/dev/fd/N` or `/dev/stdin` mean to the process itself.
pub fn own_descriptor(argument: &[u8]) -> Option<u32> {
    if argument == b"/dev/stdin" {
        return Some(0);
    }
    let number = [&b"/proc/self/fd/"[..], b"/proc/thread-self/fd/", b"/dev/fd/"]
        .iter()
        .find_map(|prefix| argument.strip_prefix(*prefix))?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_that_only_the_process_can_mean() {
        for (argument, want) in [
            ("/dev/stdin", Some(0)),
            ("/dev/fd/63", Some(63)),
            ("/proc/self/fd/3", Some(3)),
            ("/proc/1/fd/3", None),
            ("/dev/fd/x", None),
            ("/dev/fd/", None),
            ("/tmp/x", None),
        ] {
            assert_eq!(own_descriptor(argument.as_bytes()), want, "{argument}");
        }
    }
}
