//! The shape of a package manager's command line, and which programs have which.
//!
//! The command lines themselves are in `system`, `python`, `node` and `language`. They hold what decides the
//! action and the names: verbs, options that take an argument, options that change what happens. An option
//! that no table names is a flag.

use super::{language as l, node, python, system as s, Action, Manager};
use crate::command::manager::names::Form;
use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Flag,
    /// Takes an argument: the rest of its element, or the next one.
    Arg,
    /// Takes an argument that names a package (`pip install -e`).
    Operand,
    /// Takes an argument that says where the package comes from, and names it where nothing else does.
    Source,
    /// Nothing will change: help, version, a simulation.
    Query,
    /// What would be installed is only fetched, or only written down.
    Other,
    /// An installation that replaces what is there.
    Upgrade,
    /// Remembered for [`Kind::Marks`].
    Mark(u8),
}

/// What the arguments after a verb are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operands {
    /// Packages.
    All,
    /// A package, and then something else.
    First,
    /// No packages.
    Ignored,
    /// A program and its arguments, which are not the manager's any more.
    Program,
    /// The same, and the program is a package.
    Package,
}

/// What a verb leads to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Does {
    /// An action.
    Act(Action, Operands),
    /// A verb below it; without one, the action.
    Sub(&'static [Verb], Action),
    /// A word (Yarn's `workspace NAME`), and then the top level's verbs.
    Skip,
    /// The top level's verbs again (Composer's `global`).
    Again,
}

/// One or more spellings of a verb, separated by white space.
pub(super) type Verb = (&'static str, Does);

/// A verb that changes nothing, whatever follows.
pub(super) const fn asks(words: &'static str) -> Verb {
    (words, Does::Act(Action::Query, Operands::Ignored))
}

/// A verb that does something else than to change packages, whatever follows.
pub(super) const fn other(words: &'static str) -> Verb {
    (words, Does::Act(Action::Other, Operands::Ignored))
}

/// A verb with the packages that it is about.
pub(super) const fn named(words: &'static str, action: Action) -> Verb {
    (words, Does::Act(action, Operands::All))
}

/// A verb whose packages are not on the command line.
pub(super) const fn unnamed(words: &'static str, action: Action) -> Verb {
    (words, Does::Act(action, Operands::Ignored))
}

/// A verb that starts a program.
pub(super) const fn starts(words: &'static str) -> Verb {
    (words, Does::Act(Action::Other, Operands::Program))
}

/// A verb that starts a package's program, fetched if need be.
pub(super) const fn starts_package(words: &'static str) -> Verb {
    (words, Does::Act(Action::Other, Operands::Package))
}

/// Spellings of options, separated by white space, with what they do.
pub(super) type Options = &'static [(&'static str, Effect)];

/// How the action is found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// By the first argument that is no option.
    Verbs(&'static [Verb]),
    /// By marks that options leave.
    Marks(fn(&Marks) -> Action),
    /// The first argument that is no option is a package, whose program is run.
    Package,
}

/// The marks of a command line without verbs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    bits: u128,
    /// Whether a package was named.
    pub(super) named: bool,
    /// Whether there was any argument.
    pub(super) any: bool,
}

impl Marks {
    pub(super) fn new(any: bool) -> Self {
        Self { any, ..Self::default() }
    }

    pub(super) fn set(&mut self, mark: u8) {
        self.bits |= 1 << (mark & 127);
    }

    /// Whether one of these was left.
    pub(super) fn has(&self, marks: &[u8]) -> bool {
        marks.iter().any(|m| self.bits & (1 << (m & 127)) != 0)
    }
}

/// One command line.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) kind: Kind,
    /// Options that mean the same everywhere.
    pub(super) options: Options,
    /// Options before the verb.
    pub(super) before: Options,
    /// Options after the verb.
    pub(super) after: Options,
    /// What happens without a verb.
    pub(super) bare: Action,
    /// How packages are spelled.
    pub(super) form: Form,
    /// Whether short options share an element; else a single dash starts a long one too.
    pub(super) clusters: bool,
    /// The package that the command is for, where no argument names it.
    pub(super) acts_on: Option<&'static str>,
    /// Whether `--` ends what the manager itself reads (RubyGems' build options follow).
    pub(super) dashes_end: bool,
}

/// What the commands below share.
pub(super) const COMMAND: Command = Command {
    kind: Kind::Verbs(&[]),
    options: &[],
    before: &[],
    after: &[],
    bare: Action::Query,
    form: Form::Plain,
    clusters: true,
    acts_on: None,
    dashes_end: false,
};

/// A command with its look-up tables, made at first use.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) command: Command,
    lookups: OnceLock<Lookups>,
}

/// Look-up tables of a command.
#[derive(Debug)]
pub(super) struct Lookups {
    pub(super) before: Lookup,
    pub(super) after: Lookup,
}

/// Options by spelling.
#[derive(Debug)]
pub(super) struct Lookup {
    shorts: [Option<Effect>; 128],
    /// Sorted by length and spelling: most comparisons end at the length.
    longs: Vec<(&'static [u8], Effect)>,
}

impl Table {
    pub(super) const fn new(command: Command) -> Self {
        Self { command, lookups: OnceLock::new() }
    }

    pub(super) fn lookups(&self) -> &Lookups {
        self.lookups.get_or_init(|| {
            let c = &self.command;
            Lookups {
                before: Lookup::new(&[c.options, c.before], c.clusters),
                after: Lookup::new(&[c.options, c.after], c.clusters),
            }
        })
    }
}

impl Lookup {
    fn new(parts: &[Options], clusters: bool) -> Self {
        let mut made = Self { shorts: [None; 128], longs: Vec::new() };
        for (words, effect) in parts.iter().flat_map(|options| options.iter()) {
            for word in words.split_ascii_whitespace().map(str::as_bytes) {
                match word {
                    [b'-', letter] if clusters => {
                        if let Some(slot) = made.shorts.get_mut(usize::from(*letter)) {
                            *slot = Some(*effect);
                        }
                    }
                    _ => made.longs.push((word, *effect)),
                }
            }
        }
        made.longs.sort_by_key(|(word, _)| (word.len(), *word));
        made
    }

    pub(super) fn short(&self, letter: u8) -> Option<Effect> {
        self.shorts.get(usize::from(letter)).copied().flatten()
    }

    pub(super) fn long(&self, word: &[u8]) -> Option<Effect> {
        let at = self.longs.binary_search_by_key(&(word.len(), word), |(w, _)| (w.len(), w)).ok()?;
        self.longs.get(at).map(|(_, effect)| *effect)
    }

    #[cfg(test)]
    pub(super) fn spellings(&self) -> Vec<&'static [u8]> {
        self.longs.iter().map(|(w, _)| *w).collect()
    }
}

/// What may run a program, as bits.
pub(super) mod runs {
    /// The kernel, or the dynamic loader, or busybox.
    pub(crate) const NATIVE: u8 = 1;
    pub(crate) const PYTHON: u8 = 2;
    pub(crate) const PERL: u8 = 4;
    pub(crate) const RUBY: u8 = 8;
    pub(crate) const NODE: u8 = 16;
    pub(crate) const PHP: u8 = 32;
    pub(crate) const LUA: u8 = 64;
    pub(crate) const SHELL: u8 = 128;
}

/// A package manager's program.
#[derive(Debug)]
pub(super) struct Program {
    /// Base names, separated by white space.
    names: &'static str,
    /// Whether a version may follow the name (`pip3.11`, `dnf-3`).
    versions: bool,
    /// What runs it: bits of [`runs`].
    pub(super) runs: u8,
    pub(super) manager: Manager,
    pub(super) table: &'static Table,
    /// Packages whose program of the same name is something else.
    pub(super) impostors: &'static [&'static str],
}

const fn program(names: &'static str, runs: u8, manager: Manager, table: &'static Table) -> Program {
    Program { names, versions: false, runs, manager, table, impostors: &[] }
}

const fn versioned(names: &'static str, runs: u8, manager: Manager, table: &'static Table) -> Program {
    Program { versions: true, ..program(names, runs, manager, table) }
}

use runs::{LUA, NATIVE, NODE, PERL, PHP, PYTHON, RUBY, SHELL};

static PROGRAMS: &[Program] = &[
    program("apt apt-get", NATIVE | PYTHON, Manager::Apt, &s::APT),
    program("aptitude aptitude-curses nala", NATIVE | PYTHON, Manager::Apt, &s::APTITUDE),
    program("apt-cache", NATIVE, Manager::Apt, &s::APT_CACHE),
    program("apt-mark", NATIVE, Manager::Apt, &s::APT_MARK),
    program("apt-key", SHELL, Manager::Apt, &s::APT_KEY),
    program("dpkg", NATIVE, Manager::Dpkg, &s::DPKG),
    program("dpkg-deb", NATIVE, Manager::Dpkg, &s::DPKG_DEB),
    program("dpkg-query", NATIVE, Manager::Dpkg, &s::DPKG_QUERY),
    program("apk apk.static", NATIVE, Manager::Apk, &s::APK),
    program("yum", NATIVE | PYTHON, Manager::Yum, &s::DNF),
    versioned("dnf tdnf", NATIVE | PYTHON, Manager::Dnf, &s::DNF),
    program("microdnf", NATIVE, Manager::Microdnf, &s::DNF),
    program("rpm", NATIVE, Manager::Rpm, &s::RPM),
    program("rpmdb rpmkeys", NATIVE, Manager::Rpm, &s::RPMDB),
    program("zypper", NATIVE, Manager::Zypper, &s::ZYPPER),
    // Debian's package pacman is a game.
    Program {
        impostors: &["dpkg:pacman"],
        ..program("pacman pacman-static", NATIVE, Manager::Pacman, &s::PACMAN)
    },
    versioned("pip pip.pyz", PYTHON, Manager::Pip, &python::PIP),
    program("ensurepip", PYTHON, Manager::Pip, &python::ENSUREPIP),
    program("uv", NATIVE | PYTHON, Manager::Uv, &python::UV),
    program("uvx", NATIVE | PYTHON, Manager::Uv, &python::UVX),
    program("poetry", PYTHON, Manager::Poetry, &python::POETRY),
    program("conda mamba micromamba", NATIVE | PYTHON, Manager::Conda, &python::CONDA),
    program("npm npm-cli.js", NODE, Manager::Npm, &node::NPM),
    program("npx npx-cli.js", NODE, Manager::Npm, &node::NPX),
    // Debian's package cmdtest has a yarn that runs tests.
    Program {
        impostors: &["dpkg:cmdtest"],
        ..program("yarn yarnpkg yarn.js yarn.cjs", NODE, Manager::Yarn, &node::YARN)
    },
    program("pnpm pnpm.cjs pnpm.mjs pnpm.js", NODE | NATIVE, Manager::Pnpm, &node::PNPM),
    program("pnpx pnpx.cjs pnpx.mjs", NODE | NATIVE, Manager::Pnpm, &node::NPX),
    versioned("gem", RUBY, Manager::Gem, &l::GEM),
    versioned("bundle bundler", RUBY, Manager::Bundler, &l::BUNDLER),
    program("cargo", NATIVE, Manager::Cargo, &l::CARGO),
    versioned("go", NATIVE, Manager::Go, &l::GO),
    versioned("composer composer.phar", PHP, Manager::Composer, &l::COMPOSER),
    versioned("cpan", PERL, Manager::Cpan, &l::CPAN),
    program("cpanm cpanminus", PERL, Manager::Cpan, &l::CPANM),
    versioned("luarocks", LUA | NATIVE, Manager::Luarocks, &l::LUAROCKS),
];

/// The program of this base name; `None` for no package manager's.
pub(super) fn by_name(base: &[u8]) -> Option<&'static Program> {
    static BY_NAME: LazyLock<HashMap<&'static [u8], &'static Program>> = LazyLock::new(|| {
        let words = |p: &'static Program| p.names.split_ascii_whitespace().map(move |n| (n.as_bytes(), p));
        PROGRAMS.iter().flat_map(words).collect()
    });
    // dpkg-divert(1) moves a program aside as `.distrib`, and many do as `.real`.
    let base = [&b".distrib"[..], b".real"].iter().find_map(|s| base.strip_suffix(*s)).unwrap_or(base);
    if let Some(program) = BY_NAME.get(base) {
        return Some(program);
    }
    let at = base.iter().position(u8::is_ascii_digit)?;
    let (head, tail) = base.split_at(at);
    let head = head.strip_suffix(b"-").unwrap_or(head);
    let program = BY_NAME.get(head)?;
    if program.manager == Manager::Yarn {
        // `.yarn/releases/yarn-4.1.0.cjs`
        let stem = tail.strip_suffix(b".cjs").or_else(|| tail.strip_suffix(b".js"))?;
        return is_version(stem).then_some(program);
    }
    // `cpan5.36-x86_64-linux-gnu`
    let version = tail.split(|b| *b == b'-').next().unwrap_or(tail);
    let version = version.strip_suffix(b".phar").unwrap_or(version);
    (program.versions && is_version(version)).then_some(program)
}

/// Whether other packages have a program that goes by a name of this manager's.
pub(super) fn impostors(manager: Manager) -> bool {
    PROGRAMS.iter().any(|p| p.manager == manager && !p.impostors.is_empty())
}

/// Whether a package has a program that only shares a package manager's name.
pub(super) fn is_impostor(owner: &str) -> bool {
    PROGRAMS.iter().any(|p| p.impostors.contains(&owner))
}

fn is_version(text: &[u8]) -> bool {
    let numbers = text.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    numbers && text.last().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
pub(super) fn programs() -> &'static [Program] {
    PROGRAMS
}

#[cfg(test)]
impl Program {
    pub(super) fn first_name(&self) -> &'static str {
        self.names.split_ascii_whitespace().next().unwrap_or_default()
    }
}
