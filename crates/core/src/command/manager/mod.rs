//! What a process does to packages, from what it is and how it was started.
//!
//! Pure functions of an executable's path and its arguments: no files are read. A program counts by what it
//! *is*: the base name of the executable, of the script that an interpreter runs, of the module that Python
//! runs or of the applet of a multi-call binary. Wrappers (env, sudo, nice, timeout, xargs, a shell) are no
//! package managers: they start one, and its own exec is judged.
//!
//! Invariants: never panics, whatever the arguments; looks at [`MAX_ARGUMENTS`] arguments, keeps
//! [`MAX_NAMES`] names of `MAX_NAME_LEN` bytes. A command line that is not understood is `other`, never a
//! query: what changes nothing has to be said by the command line.

mod hooks;
mod language;
mod names;
mod node;
mod parse;
mod python;
mod system;
mod table;
mod wrappers;

/// Most arguments that are looked at. A longer command line without a verb so far is `other`.
pub const MAX_ARGUMENTS: usize = 128;
/// Most operands of one command line that are looked at for a name.
pub const MAX_NAMES: usize = 64;
/// Longest name kept, in bytes; the rest is cut off.
pub(crate) const MAX_NAME_LEN: usize = 200;

/// A package manager, or the family of tools around one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Manager {
    /// apt, apt-get, apt-cache, apt-mark, apt-key, aptitude, nala.
    Apt,
    /// dpkg, dpkg-deb, dpkg-query.
    Dpkg,
    /// Alpine's apk.
    Apk,
    /// yum, where it is still a program or script of that name.
    Yum,
    /// dnf 4 and 5, tdnf.
    Dnf,
    /// microdnf.
    Microdnf,
    /// rpm, rpmdb, rpmkeys.
    Rpm,
    /// zypper.
    Zypper,
    /// pacman.
    Pacman,
    /// pip and ensurepip.
    Pip,
    /// uv and uvx.
    Uv,
    /// Poetry.
    Poetry,
    /// conda, mamba, micromamba.
    Conda,
    /// npm and npx.
    Npm,
    /// Yarn, classic and later.
    Yarn,
    /// pnpm and pnpx.
    Pnpm,
    /// RubyGems.
    Gem,
    /// Bundler.
    Bundler,
    /// Cargo.
    Cargo,
    /// The go command.
    Go,
    /// PHP's Composer.
    Composer,
    /// cpan, cpanm, and Perl started with `-MCPAN`.
    Cpan,
    /// LuaRocks.
    Luarocks,
}

impl Manager {
    /// The name in `drift.pkg_manager`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dpkg => "dpkg",
            Self::Apk => "apk",
            Self::Yum => "yum",
            Self::Dnf => "dnf",
            Self::Microdnf => "microdnf",
            Self::Rpm => "rpm",
            Self::Zypper => "zypper",
            Self::Pacman => "pacman",
            Self::Pip => "pip",
            Self::Uv => "uv",
            Self::Poetry => "poetry",
            Self::Conda => "conda",
            Self::Npm => "npm",
            Self::Yarn => "yarn",
            Self::Pnpm => "pnpm",
            Self::Gem => "gem",
            Self::Bundler => "bundler",
            Self::Cargo => "cargo",
            Self::Go => "go",
            Self::Composer => "composer",
            Self::Cpan => "cpan",
            Self::Luarocks => "luarocks",
        }
    }
}

/// What a command line asks of a package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Packages are added.
    Install,
    /// Installed packages are replaced by later ones.
    Upgrade,
    /// Packages are taken away.
    Remove,
    /// The index of available packages is fetched anew.
    Refresh,
    /// Nothing changes: a question, help, or a simulation.
    Query,
    /// Anything else, and whatever is not understood.
    Other,
}

impl Action {
    /// The name in `drift.pkg_action`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Remove => "remove",
            Self::Refresh => "refresh",
            Self::Query => "query",
            Self::Other => "other",
        }
    }

    /// Whether packages are different afterwards.
    pub fn changes(self) -> bool {
        matches!(self, Self::Install | Self::Upgrade | Self::Remove)
    }
}

/// A package manager at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Which one.
    pub manager: Manager,
    /// What it was asked to do.
    pub action: Action,
    /// The packages named, without versions and paths; none for queries and refreshes, and where a file lists
    /// them (`-r requirements.txt`).
    pub names: Vec<Box<str>>,
    /// Options that make it run something else, or work on another root.
    pub hooks: Vec<Box<str>>,
}

/// What a process does to packages; `None` where it is no package manager.
///
/// `exe` is the path of its executable, links resolved; `argv` its arguments, `argv[0]` first; `script` the
/// script that an interpreter was started on ([`crate::command::interpreter::script_argument`]); `owner` the
/// image's package that owns the executable, or the script where there is one, as `dpkg:apt`, where known:
/// programs that share a package manager's name are told apart by it.
pub fn identify(
    exe: &[u8],
    argv: &[&[u8]],
    script: Option<&[u8]>,
    owner: Option<&str>,
) -> Option<Invocation> {
    match wrappers::find(exe, argv, script)? {
        wrappers::Found::Program { program, args } => {
            if owner.is_some_and(|owner| program.impostors.contains(&owner)) {
                return None;
            }
            let (action, names) = parse::parse(program.table, args);
            let manager = program.manager;
            Some(Invocation { manager, action, names, hooks: hooks::find(manager, action, args) })
        }
        wrappers::Found::Known { manager, action, names } => {
            Some(Invocation { manager, action, names, hooks: Vec::new() })
        }
    }
}

/// The module that Python is started on by `-m`, and where Python looks for it before its own directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PythonModule<'a> {
    /// Its outermost package: `pip` of `pip._internal`.
    pub name: &'a [u8],
    /// In the working directory.
    pub from_cwd: bool,
    /// In the directories of `PYTHONPATH`.
    pub from_env: bool,
    /// In the user's own site-packages.
    pub from_user: bool,
}

/// The module that a command line starts Python on; `None` for anything else.
pub fn python_module<'a>(exe: &[u8], argv: &[&'a [u8]]) -> Option<PythonModule<'a>> {
    wrappers::started_module(exe, argv)
}

/// Whether this package, as `dpkg:cmdtest`, has a program that only shares a package manager's name.
pub fn is_impostor(owner: &str) -> bool {
    table::is_impostor(owner)
}

/// Whether programs of other packages go by a name of this manager's, so that it matters who owns the
/// program.
pub fn has_impostors(manager: Manager) -> bool {
    table::impostors(manager)
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;
