//! What on a package manager's command line makes it run something else, or work on another root.
//!
//! Manuals: dpkg(1), apt.conf(5), rpm(8), apk(8), dnf(8), zypper(8), pacman(8), `pip install --help`, npm's
//! "config". Only names are given, without values.

use super::parse::text;
use super::{Action, Manager, MAX_ARGUMENTS};

/// Most that are given of one command line.
const MAX_HOOKS: usize = 8;

/// Options that name a program or code to run.
fn runs(manager: Manager) -> &'static [&'static str] {
    match manager {
        Manager::Dpkg => &["--pre-invoke", "--post-invoke", "--status-logger"],
        Manager::Apt => &["--config-file"],
        Manager::Rpm => &["--define", "--eval", "--load", "--macros", "--pipe", "--rcfile"],
        Manager::Pacman => &["--config", "--hookdir"],
        Manager::Dnf | Manager::Microdnf | Manager::Yum => &["--config"],
        Manager::Npm | Manager::Pnpm => &["--node-options", "--script-shell"],
        _ => &[],
    }
}

/// Options that name another root, or another database.
fn roots(manager: Manager) -> &'static [&'static str] {
    match manager {
        Manager::Dpkg => &["--admindir", "--instdir", "--root"],
        Manager::Rpm => &["--dbpath", "--root"],
        Manager::Apk => &["--root"],
        Manager::Dnf | Manager::Microdnf | Manager::Yum => &["--installroot"],
        Manager::Zypper => &["--installroot", "--root"],
        Manager::Pacman => &["--dbpath", "--root", "--sysroot"],
        Manager::Pip | Manager::Uv => &["--prefix", "--root", "--target"],
        _ => &[],
    }
}

/// The same options by one letter.
fn letter(manager: Manager, letter: u8) -> Option<(&'static str, bool)> {
    let (name, is_root) = match (manager, letter) {
        (Manager::Apt, b'c') => ("--config-file", false),
        (Manager::Rpm, b'D') => ("--define", false),
        (Manager::Rpm, b'E') => ("--eval", false),
        (Manager::Dnf | Manager::Microdnf | Manager::Yum, b'c') => ("--config", false),
        (Manager::Apk, b'p') => ("--root", true),
        (Manager::Zypper, b'R') => ("--root", true),
        (Manager::Pacman, b'r') => ("--root", true),
        (Manager::Pacman, b'b') => ("--dbpath", true),
        (Manager::Pip, b't') => ("--target", true),
        _ => return None,
    };
    Some((name, is_root))
}

/// Names of apt's configuration that run programs or lead elsewhere, lower case.
const APT: [&str; 9] = [
    "invoke",
    "pre-install-pkgs",
    "dir::bin",
    "dir::state",
    "dpkg::options",
    "dpkg::path",
    "dpkg::tools",
    "chroot-directory",
    "rootdir",
];

/// The hooks and foreign roots of a command line; `args` come after the program's own name.
pub(super) fn find(manager: Manager, action: Action, args: &[&[u8]]) -> Vec<Box<str>> {
    // Whoever only asks may ask elsewhere.
    let changes = !matches!(action, Action::Query | Action::Refresh);
    let mut found: Vec<Box<str>> = Vec::new();
    let mut add = |name: Box<str>| {
        if found.len() < MAX_HOOKS && !found.contains(&name) {
            found.push(name);
        }
    };
    let mut rest = args.iter().take(MAX_ARGUMENTS);
    while let Some(arg) = rest.next() {
        if *arg == b"--" {
            break;
        }
        if let Some(setting) = apt_setting(manager, arg) {
            let setting = if setting.is_empty() { rest.next().copied().unwrap_or_default() } else { setting };
            let name = setting.split(|b| *b == b'=').next().unwrap_or_default();
            let lower = name.to_ascii_lowercase();
            let leads = APT.iter().any(|part| lower.windows(part.len()).any(|at| at == part.as_bytes()));
            if leads || lower == b"dir" {
                add(text(name));
            }
            continue;
        }
        let word = arg.split(|b| *b == b'=').next().unwrap_or(arg);
        // Python's and npm's parsers take what is left of a name, too.
        let short = matches!(manager, Manager::Pip | Manager::Npm) && word.len() >= 8;
        let is = |name: &&&str| word == name.as_bytes() || (short && name.as_bytes().starts_with(word));
        if let Some(name) = runs(manager).iter().find(is) {
            add((*name).into());
        } else if let Some(name) = roots(manager).iter().find(is).filter(|_| changes) {
            add((*name).into());
        } else if let [b'-', first, ..] = arg {
            if let Some((name, _)) = letter(manager, *first).filter(|(_, is_root)| changes || !is_root) {
                add(name.into());
            }
        }
    }
    found
}

/// The setting of apt's `-o NAME=VALUE`; empty where it is the next argument.
fn apt_setting(manager: Manager, arg: &[u8]) -> Option<&[u8]> {
    if manager != Manager::Apt {
        return None;
    }
    match arg {
        b"-o" | b"--option" => Some(b""),
        [b'-', b'o', setting @ ..] => Some(setting.strip_prefix(b"=").unwrap_or(setting)),
        _ => arg.strip_prefix(b"--option="),
    }
}

#[cfg(test)]
mod tests {
    use crate::command::interpreter::script_argument;
    use crate::command::manager::identify;

    fn hooks(line: &str) -> String {
        // These are scripts.
        let line = line.replace("pip3|", "python3|/usr/bin/pip3|").replace("npm|", "node|/usr/bin/npm|");
        let line = line.replace("dnf|", "python3|/usr/bin/dnf|");
        let argv: Vec<&[u8]> = line.split('|').map(str::as_bytes).collect();
        let exe = [b"/usr/bin/", argv[0]].concat();
        let script = script_argument(&exe, &argv);
        identify(&exe, &argv, script, None).map_or_else(|| panic!("{line}"), |i| i.hooks.join(" "))
    }

    #[test]
    fn hooks_and_roots_by_command_line() {
        for (line, want) in [
            ("dpkg|--pre-invoke=cp /payload/x /usr/bin|-r|nosuchpkg", "--pre-invoke"),
            ("dpkg|--post-invoke=x|--configure|-a", "--post-invoke"),
            ("dpkg|--root=/mnt|-i|x.deb", "--root"),
            ("dpkg|--admindir|/tmp/db|-i|x.deb", "--admindir"),
            ("dpkg|-i|x.deb", ""),
            ("dpkg|--admindir=/mnt/db|-l", ""),
            ("apt-get|-o|DPkg::Pre-Invoke::=sh x|install|jq", "DPkg::Pre-Invoke::"),
            ("apt-get|-oAPT::Update::Post-Invoke-Success=x|update", "APT::Update::Post-Invoke-Success"),
            ("apt-get|--option=Dir::Bin::dpkg=/tmp/x|install|jq", "Dir::Bin::dpkg"),
            ("apt-get|-o|Dir=/tmp/x|install|jq", "Dir"),
            ("apt-get|-c|/tmp/apt.conf|install|jq", "--config-file"),
            ("apt-get|-y|-o|Dir::Etc::SourceList=/x|-o|Dpkg::Use-Pty=0|install|jq", ""),
            ("apt-get|install|-y|--no-install-recommends|jq", ""),
            ("pip3|install|--target=/usr/lib/python3|x", "--target"),
            ("pip3|install|-t|/x|y", "--target"),
            ("pip3|install|--targ|/x|y", ""),
            ("pip3|install|--prefi|/x|y", ""),
            ("pip3|install|--pre|y", ""),
            ("pip3|install|--user|y", ""),
            ("npm|install|--script-shell=/tmp/x|y", "--script-shell"),
            ("npm|install|--script-sh=/tmp/x|y", "--script-shell"),
            ("npm|ci", ""),
            ("rpm|--define|%x %(sh)|-q|x", "--define"),
            ("rpm|--root|/mnt|-i|x.rpm", "--root"),
            ("rpm|--root|/mnt|-qa", ""),
            ("apk|add|-p|/mnt|x", "--root"),
            ("dnf|--installroot=/mnt|install|x", "--installroot"),
        ] {
            assert_eq!(hooks(line), want, "{line}");
        }
    }
}
