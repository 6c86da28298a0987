//! Paths by what a file there can do: the one list that workers go by. The rules' lists
//! `drift_sensitive_directories` and `drift_scratch_directories` hold the same (`tests/engine/rules.rs`), and
//! can be changed by users; these decide only how soon and how often a path is looked at, and the value of
//! `drift.file_sensitive`.

use drift_formats::entry::ImagePath;

/// Directories where a new file is run or read by programs as their configuration.
pub(crate) const DIRECTORIES: &[&str] = &[
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/usr/libexec",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/local/lib",
    "/etc",
    "/root/.ssh",
];

/// Directories of programs.
const PROGRAMS: &[&str] =
    &["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/libexec"];

/// Directories, anywhere below scratch directories too, whose files are obeyed.
const OBEYED: &[&str] = &["/var/spool/cron", "/run/systemd/system", "/usr/local/share/ca-certificates"];

/// Files that a shell, an editor or git reads at its start, in whatever home.
const NAMES: &[&str] = &[
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".profile",
    ".zshrc",
    ".zprofile",
    ".zshenv",
    ".zlogin",
    ".kshrc",
    ".cshrc",
    ".tcshrc",
    ".vimrc",
    ".exrc",
    ".gitconfig",
];

/// What gives somebody rights, or code a start, by itself: never one of many.
const ALONE: &[&str] = &[
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/pam.d",
    "/etc/crontab",
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/etc/ld.so.preload",
    "/etc/ld.so.conf.d",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/bash.bashrc",
    "/etc/ssh",
    "/etc/systemd/system",
    "/etc/init.d",
];

/// Directories whose files come and go in normal operation.
pub const SCRATCH: &[&str] = &[
    "/tmp",
    "/var/tmp",
    "/run",
    "/var/run",
    "/dev/shm",
    "/var/log",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/lib/apk/db",
    "/usr/lib/apk/db",
    "/var/lib/rpm",
    "/usr/lib/sysimage/rpm",
    "/root/.cache",
];

/// Whether a file there is run, or obeyed, by other programs.
pub fn is_sensitive(path: &ImagePath) -> bool {
    has_name(path) || is_in(path, DIRECTORIES) || is_in(path, OBEYED)
}

/// Whether each such file is worth a report of its own, however many there are.
pub fn is_alone(path: &ImagePath) -> bool {
    has_name(path) || is_in(path, ALONE) || is_in(path, OBEYED)
}

/// Whether a path lies in a directory of programs.
pub fn is_of_programs(path: &ImagePath) -> bool {
    is_in(path, PROGRAMS)
}

/// Whether files come and go there in normal operation.
pub fn is_scratch(path: &ImagePath) -> bool {
    is_in(path, SCRATCH) && !is_sensitive(path)
}

fn is_in(path: &ImagePath, directories: &[&str]) -> bool {
    directories.iter().any(|dir| path.is_within(dir.as_bytes()))
}

fn has_name(path: &ImagePath) -> bool {
    let name = path.file_name().unwrap_or_default();
    NAMES.iter().any(|known| known.as_bytes() == name)
        || path.as_bytes().split(|b| *b == b'/').any(|part| part == b".ssh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_known_by_directory_and_by_name() {
        for (path, sensitive, alone, scratch) in [
            ("/etc/passwd", true, true, false),
            ("/etc/app/site.conf", true, false, false),
            ("/etcetera/x", false, false, false),
            ("/usr/bin/x", true, false, false),
            ("/usr/lib/python3/__pycache__/x.pyc", true, false, false),
            ("/home/a/.ssh/authorized_keys", true, true, false),
            ("/tmp/x/.ssh/authorized_keys", true, true, false),
            ("/home/a/.bashrc", true, true, false),
            ("/home/a/x.bashrc", false, false, false),
            ("/var/spool/cron/crontabs/root", true, true, false),
            ("/run/systemd/system/x.service", true, true, false),
            ("/run/x.pid", false, false, true),
            ("/tmp/x", false, false, true),
            ("/tmpx", false, false, false),
            ("/app/x", false, false, false),
        ] {
            let p = ImagePath::lexical(b"/", path.as_bytes()).unwrap();
            assert_eq!(
                (is_sensitive(&p), is_alone(&p), is_scratch(&p)),
                (sensitive, alone, scratch),
                "{path}"
            );
        }
    }
}
