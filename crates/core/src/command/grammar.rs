//! The command lines of the interpreters Drift knows: one table, from their manual pages.
//!
//! Only what decides where the script is: options that take the next argument, and options that mean there is
//! no script. An option that no table names is a flag.

/// What an option does to the search for the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Flag,
    /// Takes the rest of its element, or the next element when nothing is left (`-Idir`, `-I dir`).
    Arg,
    /// Takes the next element wherever it stands in its cluster (the shells' `-oe pipefail`).
    Next,
    /// Takes the rest of its element only, which may be empty (Perl's `-i.bak`).
    Rest,
    /// Ends the options (`zsh -b`).
    End,
    /// There is no script: code in an argument that ends the options, or a question such as `--version`.
    NoScript,
    /// Its argument is code, and options go on (`ruby -e 1 -r x`).
    Code,
    /// The program is read from standard input (the shells' `-s`).
    Stdin,
    /// Its argument is the script (`php -f x`, `R --file=x`).
    Script,
    /// Its argument is a file of code that is run besides (`node -r x`, `awk -f x`).
    Load,
    /// As [`Effect::Load`], of [`Effect::Next`]'s form.
    LoadNext,
    /// Its argument is a module by its name, looked for in directories; attached to the option, or the next
    /// element.
    Module,
    /// As [`Effect::Module`], attached only (Perl's `-MFoo`).
    ModuleRest,
    /// As [`Effect::Module`], and the module is the program (`python -m x`).
    MainModule,
    /// Its argument is a directory in which modules are looked for.
    ModuleDir,
    /// Its argument is a list of files and directories of code, with colons between them (`java -cp`).
    SearchPath,
    /// Its argument is a setting, and some settings load code (`php -d`).
    Setting,
    /// Its argument is the directory whose files are served (`php -t`).
    Root,
    /// Starts a server that runs the files of a directory; its argument is an address (`php -S`).
    Server,
    /// Its argument is the directory that names begin at from here on (`make -C`).
    Chdir,
    /// Its argument stands for `argv[0]` of the program that follows (`ld.so --argv0`).
    Argv0,
    /// The first positional argument is a file, whatever its name (`java -jar`).
    AnyFile,
    /// As [`Effect::AnyFile`], and takes an argument itself (`java --source 17`).
    ArgAnyFile,
}

/// What a lone `-` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dash {
    /// The end of the options, as in the shells.
    Ends,
    /// The program is read from standard input.
    Stdin,
}

/// What `--` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DoubleDash {
    /// The end of the options; the script may follow.
    Ends,
    /// The program is read from standard input and arguments follow (PHP).
    Stdin,
}

/// What the first argument that is not an option means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Positional {
    /// The script.
    Script,
    /// The script, but for Node's `inspect` subcommand, which starts another Node on it.
    NodeScript,
    /// A source file if it ends in `.java`, else a main class.
    JavaSource,
    /// A program, which may be an interpreter and have arguments of its own (ld.so).
    Program,
    /// The program itself, where no option gives it; all others are data (awk, sed).
    Code,
    /// Nothing (R, and make's targets).
    Ignored,
    /// The script, if it ends in one of these; else a verb, or data (`dotnet exec x.dll`, `deno run x.ts`).
    WithEnding(&'static [&'static str]),
}

/// How an interpreter spells a module's name, and where it looks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modules {
    /// It has none.
    None,
    /// `a.b`: in the working directory and in `PYTHONPATH`.
    Python,
    /// `A::B`: in the directories of `-I`.
    Perl,
    /// A path, or a name in the directories of `-I`.
    Ruby,
    /// `a.b`: in the working directory.
    Lua,
}

/// One interpreter's command line.
#[derive(Debug)]
pub(super) struct Grammar {
    /// Base names, without version.
    names: &'static [&'static str],
    /// Short options, by effect; the letters not listed are flags.
    shorts: &'static [(&'static [u8], Effect)],
    /// Options spelled as a whole element, dashes included, before any `=`.
    longs: &'static [(&'static str, Effect)],
    /// Whether short options can share an element.
    pub(super) clusters: bool,
    /// Whether `+x` is an option too.
    pub(super) plus: bool,
    /// Whether white space and a dash inside an element start another option (Perl, for shebang lines).
    pub(super) spaces: bool,
    /// What `-` means.
    pub(super) dash: Dash,
    /// What `--` means.
    pub(super) double_dash: DoubleDash,
    /// What the first positional argument means.
    pub(super) positional: Positional,
    /// Whether the program is read from standard input where no argument gives one.
    pub(super) reads_stdin: bool,
    /// What is put after a script's name where no file has that name: `python dir` runs `dir/__main__.py`.
    pub(super) endings: &'static [&'static str],
    /// Files that are run where none is named (make).
    pub(super) defaults: &'static [&'static str],
    /// How modules are named.
    pub(super) modules: Modules,
    /// Whether what execve(2) does not know is run in the process itself, without another exec: bash and
    /// ksh93 (execute_cmd.c, `shell_execve`; sh/xec.c). Others start `sh` on it.
    pub(super) runs_unknown: bool,
}

impl Grammar {
    /// The effect of a short option's letter.
    pub(super) fn short(&self, letter: u8) -> Effect {
        self.shorts.iter().find(|(set, _)| set.contains(&letter)).map_or(Effect::Flag, |(_, effect)| *effect)
    }

    /// The effect of an option spelled as a whole element; `None` where the table does not name it.
    pub(super) fn long(&self, name: &[u8]) -> Option<Effect> {
        self.longs.iter().find(|(long, _)| same_option(long.as_bytes(), name)).map(|(_, effect)| *effect)
    }
}

/// Node takes `_` for `-` within a long option; no other interpreter here has an underscore in one.
fn same_option(long: &[u8], given: &[u8]) -> bool {
    long.len() == given.len() && long.iter().zip(given).all(|(a, b)| a == b || (*a == b'-' && *b == b'_'))
}

/// Whether this base name is busybox's.
pub(super) fn is_busybox(name: &[u8]) -> bool {
    matches!(name, b"busybox" | b"busybox.static" | b"busybox-static" | b"toybox")
}

/// The grammar of a busybox applet; `None` where it runs no scripts.
pub(super) fn applet(name: &[u8]) -> Option<&'static Grammar> {
    match name {
        b"sh" | b"ash" | b"bash" | b"hush" | b"lash" => Some(&SH),
        b"awk" => Some(&AWK),
        b"sed" => Some(&SED),
        _ => None,
    }
}

/// The grammar for an executable's base name, version and build suffixes ignored; `None` for no interpreter.
pub(super) fn by_name(name: &[u8]) -> Option<&'static Grammar> {
    if is_elf_interpreter(name) {
        return Some(&LD_SO);
    }
    let stem = stem(name);
    ALL.iter().find(|g| g.names.iter().any(|n| n.as_bytes() == stem)).copied()
}

/// glibc's and musl's dynamic loaders, under their names on every architecture (`ld-linux-x86-64.so.2`,
/// `ld64.so.1`,
/// `ld-2.31.so`, `ld-musl-aarch64.so.1`).
fn is_elf_interpreter(name: &[u8]) -> bool {
    let loader = [&b"ld-linux"[..], b"ld-musl-", b"ld64.so.", b"ld.so."].iter().any(|p| name.starts_with(p));
    let versioned = name.strip_prefix(b"ld-").and_then(|n| n.strip_suffix(b".so"));
    loader || versioned.is_some_and(|v| v.first().is_some_and(u8::is_ascii_digit))
}

/// `python3.11` → `python`, `perl5.36-x86_64-linux-gnu` → `perl`, `luajit-2.1.0-beta3` → `luajit`,
/// `bash-static` →
/// `bash`; a name of another shape is left as it is.
fn stem(name: &[u8]) -> &[u8] {
    for suffix in [&b"-static"[..], b".static", b"-dbg"] {
        if let Some(head) = name.strip_suffix(suffix).filter(|h| !h.is_empty()) {
            return stem(head);
        }
    }
    // PHP's server builds take other options than its command line; `python3-config` is no Python.
    if [&b"-fpm"[..], b"-cgi", b"-config"].iter().any(|other| name.ends_with(other)) {
        return name;
    }
    let Some(at) = name.iter().position(u8::is_ascii_digit) else { return name };
    let (head, tail) = name.split_at(at);
    let head = head.strip_suffix(b"-").unwrap_or(head);
    let end = tail.iter().position(|b| !(b.is_ascii_digit() || *b == b'.')).unwrap_or(tail.len());
    // What may follow the version: a word after a dash, or Python's build flags (`3.13t`, `3.7m`), `ksh93u`.
    match tail.get(end..).unwrap_or_default() {
        [] | [b'-', ..] => head,
        flags if flags.len() <= 2 && flags.iter().all(u8::is_ascii_lowercase) => head,
        _ => name,
    }
}

const SHELL: Grammar = Grammar {
    names: &[],
    shorts: &[],
    longs: &[],
    clusters: true,
    plus: true,
    spaces: false,
    dash: Dash::Ends,
    double_dash: DoubleDash::Ends,
    positional: Positional::Script,
    reads_stdin: true,
    endings: &[],
    defaults: &[],
    modules: Modules::None,
    runs_unknown: false,
};

const LANGUAGE: Grammar = Grammar { plus: false, dash: Dash::Stdin, ..SHELL };

/// A program that takes its code from options, and whose other arguments are data.
const TOOL: Grammar = Grammar { reads_stdin: false, positional: Positional::Ignored, ..LANGUAGE };

/// As [`TOOL`], but the first argument is code where no option gives any.
const FILTER: Grammar = Grammar { positional: Positional::Code, ..TOOL };

use Effect::{
    AnyFile, Arg, ArgAnyFile, Argv0, Chdir, Code, End, Flag, Load, LoadNext, MainModule, Module, ModuleDir,
    ModuleRest, Next, NoScript, Rest, Root, Script, SearchPath, Server, Setting, Stdin,
};

static ALL: &[&Grammar] = &[
    &SH, &BASH, &ZSH, &KSH, &KSH93, &CSH, &FISH, &PYTHON, &PERL, &RUBY, &NODE, &PHP, &LUA, &LUAJIT, &RSCRIPT,
    &R, &JAVA, &AWK, &SED, &MAKE, &TCLSH, &EXPECT, &VIM, &SQLITE, &GDB, &PWSH, &GUILE, &DENO, &DOTNET,
    &PLAIN, &EMACS, &LISP, &LD_SO,
];

// dash(1), busybox ash.
static SH: Grammar = Grammar {
    names: &["sh", "dash", "ash", "yash"],
    shorts: &[(b"c", NoScript), (b"s", Stdin), (b"o", Next)],
    ..SHELL
};

// bash(1), OPTIONS: the long ones must come first and may be written with one dash.
static BASH: Grammar = Grammar {
    names: &["bash", "rbash"],
    shorts: &[(b"c", NoScript), (b"s", Stdin), (b"oO", Next)],
    longs: &[
        ("--rcfile", LoadNext),
        ("--init-file", LoadNext),
        ("--help", NoScript),
        ("--version", NoScript),
        ("-rcfile", LoadNext),
        ("-init-file", LoadNext),
        ("-help", NoScript),
        ("-version", NoScript),
        ("-debug", Flag),
        ("-debugger", Flag),
        ("-dump-po-strings", Flag),
        ("-dump-strings", Flag),
        ("-login", Flag),
        ("-noediting", Flag),
        ("-noprofile", Flag),
        ("-norc", Flag),
        ("-posix", Flag),
        ("-pretty-print", Flag),
        ("-protected", Flag),
        ("-restricted", Flag),
        ("-verbose", Flag),
    ],
    runs_unknown: true,
    ..SHELL
};

// zshmisc, INVOCATION.
static ZSH: Grammar = Grammar {
    names: &["zsh"],
    shorts: &[(b"c", NoScript), (b"s", Stdin), (b"o", Arg), (b"b", End)],
    longs: &[("--emulate", Arg), ("--help", NoScript), ("--version", NoScript)],
    ..SHELL
};

// ksh93(1) (-R writes a cross reference to a file), mksh(1) (-T names a terminal).
static KSH: Grammar = Grammar {
    names: &["mksh", "lksh", "oksh", "pdksh", "loksh"],
    shorts: &[(b"c", NoScript), (b"s", Stdin), (b"oRT", Arg)],
    longs: &[("--help", NoScript), ("--version", NoScript)],
    ..SHELL
};

static KSH93: Grammar = Grammar { names: &["ksh"], runs_unknown: true, ..KSH };

// csh(1), tcsh(1).
static CSH: Grammar = Grammar {
    names: &["csh", "tcsh"],
    shorts: &[(b"c", NoScript), (b"s", Stdin), (b"b", End), (b"D", Rest)],
    longs: &[("--help", NoScript), ("--version", NoScript)],
    plus: false,
    ..SHELL
};

// fish(1).
static FISH: Grammar = Grammar {
    names: &["fish"],
    shorts: &[(b"chv", NoScript), (b"Cdfop", Arg), (b"D", Arg)],
    longs: &[
        ("--command", NoScript),
        ("--help", NoScript),
        ("--version", NoScript),
        ("--init-command", Arg),
        ("--debug", Arg),
        ("--debug-output", Arg),
        ("--debug-stack-frames", Arg),
        ("--features", Arg),
        ("--profile", Arg),
        ("--profile-startup", Arg),
    ],
    plus: false,
    ..SHELL
};

// python(1), "Command line and environment" (-Q is Python 2's), pypy(1).
static PYTHON: Grammar = Grammar {
    names: &["python", "pypy", "platform-python"],
    shorts: &[(b"chV?", NoScript), (b"m", MainModule), (b"WXQ", Arg)],
    longs: &[
        ("--check-hash-based-pycs", Arg),
        ("--jit", Arg),
        ("--help", NoScript),
        ("--help-all", NoScript),
        ("--help-env", NoScript),
        ("--help-xoptions", NoScript),
        ("--info", NoScript),
        ("--version", NoScript),
    ],
    endings: &["/__main__.py", "/__main__.pyc"],
    modules: Modules::Python,
    ..LANGUAGE
};

// perlrun(1). Of `-0777` and `-0xFF` the digits count as flags and `x` takes the rest, as Perl itself falls
// back to.
static PERL: Grammar = Grammar {
    names: &["perl"],
    shorts: &[(b"eE", Code), (b"vVh?", NoScript), (b"I", ModuleDir), (b"mM", ModuleRest), (b"CDFix", Rest)],
    longs: &[("--help", NoScript), ("--version", NoScript)],
    spaces: true,
    modules: Modules::Perl,
    ..LANGUAGE
};

// ruby(1).
static RUBY: Grammar = Grammar {
    names: &["ruby"],
    shorts: &[
        (b"e", Code),
        (b"h", NoScript),
        (b"CX", Chdir),
        (b"E", Arg),
        (b"I", ModuleDir),
        (b"r", Module),
        (b"FKix", Rest),
    ],
    longs: &[
        ("--backtrace-limit", Arg),
        ("--crash-report", Arg),
        ("--disable", Arg),
        ("--dump", Arg),
        ("--enable", Arg),
        ("--encoding", Arg),
        ("--external-encoding", Arg),
        ("--internal-encoding", Arg),
        ("--parser", Arg),
        ("--copyright", NoScript),
        ("--help", NoScript),
        ("--version", NoScript),
    ],
    modules: Modules::Ruby,
    ..LANGUAGE
};

// node(1). V8's own options (--max-old-space-size=N) take a value only after `=`.
static NODE: Grammar = Grammar {
    names: &["node", "nodejs"],
    longs: &[
        ("-e", Code),
        ("-p", NoScript),
        ("-pe", Code),
        ("-h", NoScript),
        ("-v", NoScript),
        ("-r", Load),
        ("-C", Arg),
        ("--completion-bash", NoScript),
        ("--eval", Code),
        ("--help", NoScript),
        ("--print", NoScript),
        ("--prof-process", NoScript),
        ("--run", NoScript),
        ("--v8-options", NoScript),
        ("--version", NoScript),
        ("--build-snapshot-config", Arg),
        ("--conditions", Arg),
        ("--cpu-prof-dir", Arg),
        ("--cpu-prof-interval", Arg),
        ("--cpu-prof-name", Arg),
        ("--diagnostic-dir", Arg),
        ("--disable-proto", Arg),
        ("--disable-warning", Arg),
        ("--dns-result-order", Arg),
        ("--env-file", Arg),
        ("--env-file-if-exists", Arg),
        ("--es-module-specifier-resolution", Arg),
        ("--experimental-default-type", Arg),
        ("--experimental-loader", Load),
        ("--experimental-policy", Arg),
        ("--experimental-sea-config", NoScript),
        ("--heap-prof-dir", Arg),
        ("--heap-prof-interval", Arg),
        ("--heap-prof-name", Arg),
        ("--heapsnapshot-near-heap-limit", Arg),
        ("--heapsnapshot-signal", Arg),
        ("--icu-data-dir", Arg),
        ("--import", Load),
        ("--input-type", Arg),
        ("--inspect-port", Arg),
        ("--debug-port", Arg),
        ("--inspect-publish-uid", Arg),
        ("--loader", Load),
        ("--localstorage-file", Arg),
        ("--max-http-header-size", Arg),
        ("--network-family-autoselection-attempt-timeout", Arg),
        ("--openssl-config", Arg),
        ("--policy-integrity", Arg),
        ("--redirect-warnings", Arg),
        ("--report-dir", Arg),
        ("--report-directory", Arg),
        ("--report-filename", Arg),
        ("--report-signal", Arg),
        ("--require", Load),
        ("--secure-heap", Arg),
        ("--secure-heap-min", Arg),
        ("--security-revert", Arg),
        ("--snapshot-blob", Load),
        ("--test-concurrency", Arg),
        ("--test-name-pattern", Arg),
        ("--test-reporter", Arg),
        ("--test-reporter-destination", Arg),
        ("--test-shard", Arg),
        ("--test-timeout", Arg),
        ("--title", Arg),
        ("--tls-cipher-list", Arg),
        ("--tls-keylog", Arg),
        ("--trace-event-categories", Arg),
        ("--trace-event-file-pattern", Arg),
        ("--unhandled-rejections", Arg),
        ("--use-largepages", Arg),
        ("--v8-pool-size", Arg),
        ("--watch-path", Arg),
    ],
    clusters: false,
    positional: Positional::NodeScript,
    endings: &[".js", ".cjs", ".mjs", ".json", "/index.js", "/package.json"],
    ..LANGUAGE
};

// php(1). After `--` come arguments for a program read from standard input.
static PHP: Grammar = Grammar {
    names: &["php"],
    shorts: &[
        (b"ahimv?", NoScript),
        (b"BERr", Code),
        (b"cz", Load),
        (b"d", Setting),
        (b"t", Root),
        (b"S", Server),
        (b"fF", Script),
    ],
    longs: &[
        ("--file", Script),
        ("--process-file", Script),
        ("--define", Setting),
        ("--docroot", Root),
        ("--php-ini", Load),
        ("--process-begin", Code),
        ("--process-end", Code),
        ("--zend-extension", Load),
        ("--help", NoScript),
        ("--info", NoScript),
        ("--ini", NoScript),
        ("--interactive", NoScript),
        ("--modules", NoScript),
        ("--process-code", Code),
        ("--rc", NoScript),
        ("--rclass", NoScript),
        ("--re", NoScript),
        ("--rextension", NoScript),
        ("--rextinfo", NoScript),
        ("--rf", NoScript),
        ("--rfunction", NoScript),
        ("--ri", NoScript),
        ("--run", Code),
        ("--rz", NoScript),
        ("--rzendextension", NoScript),
        ("--server", Server),
        ("--usage", NoScript),
        ("--version", NoScript),
    ],
    double_dash: DoubleDash::Stdin,
    ..LANGUAGE
};

// lua(1): a script may follow `-e stat`.
static LUA: Grammar =
    Grammar { names: &["lua"], shorts: &[(b"e", Arg), (b"l", Module)], modules: Modules::Lua, ..LANGUAGE };

// luajit(1): -b compiles and does not run.
static LUAJIT: Grammar = Grammar {
    names: &["luajit", "texlua"],
    shorts: &[(b"ej", Arg), (b"l", Module), (b"O", Rest), (b"b", NoScript)],
    modules: Modules::Lua,
    ..LANGUAGE
};

// Rscript(1).
static RSCRIPT: Grammar = Grammar {
    names: &["Rscript"],
    longs: &[("-e", NoScript), ("--help", NoScript), ("--version", NoScript)],
    clusters: false,
    reads_stdin: false,
    ..LANGUAGE
};

// R(1): takes no positional script.
static R: Grammar = Grammar {
    names: &["R"],
    longs: &[
        ("-f", Script),
        ("--file", Script),
        ("-e", NoScript),
        ("--args", NoScript),
        ("--help", NoScript),
        ("-h", NoScript),
        ("--version", NoScript),
        ("-d", Arg),
        ("--debugger", Arg),
        ("--encoding", Arg),
        ("-g", Arg),
        ("--gui", Arg),
    ],
    clusters: false,
    positional: Positional::Ignored,
    ..LANGUAGE
};

// java(1). `-jar` says what the first positional argument is; options may stand between them.
static JAVA: Grammar = Grammar {
    names: &["java"],
    longs: &[
        ("-jar", AnyFile),
        ("--source", ArgAnyFile),
        ("-cp", SearchPath),
        ("-classpath", SearchPath),
        ("--class-path", SearchPath),
        ("-p", SearchPath),
        ("--module-path", SearchPath),
        ("--upgrade-module-path", SearchPath),
        ("-javaagent", SearchPath),
        ("-agentpath", SearchPath),
        ("-Xbootclasspath/a", SearchPath),
        ("--add-exports", Arg),
        ("--add-modules", Arg),
        ("--add-opens", Arg),
        ("--add-reads", Arg),
        ("--enable-native-access", Arg),
        ("--limit-modules", Arg),
        ("--patch-module", Arg),
        ("-m", NoScript),
        ("--module", NoScript),
        ("-d", NoScript),
        ("--describe-module", NoScript),
        ("--list-modules", NoScript),
        ("--validate-modules", NoScript),
        ("-version", NoScript),
        ("--version", NoScript),
        ("-h", NoScript),
        ("-help", NoScript),
        ("--help", NoScript),
        ("-?", NoScript),
        ("-X", NoScript),
        ("--help-extra", NoScript),
    ],
    clusters: false,
    positional: Positional::JavaSource,
    reads_stdin: false,
    ..LANGUAGE
};

// gawk(1), mawk(1), busybox awk. `-E` is a script after which nothing is an option.
static AWK: Grammar = Grammar {
    names: &["awk", "gawk", "mawk", "nawk", "original-awk"],
    shorts: &[(b"f", Load), (b"i", Load), (b"E", Script), (b"vFlW", Arg), (b"e", Code)],
    longs: &[
        ("--file", Load),
        ("--include", Load),
        ("--exec", Script),
        ("--load", Arg),
        ("--assign", Arg),
        ("--field-separator", Arg),
        ("--source", Code),
    ],
    ..FILTER
};

// sed(1). Its `e` command and the `w` command act on the system.
static SED: Grammar = Grammar {
    names: &["sed", "gsed"],
    shorts: &[(b"f", Load), (b"e", Code), (b"l", Arg), (b"iI", Rest)],
    longs: &[("--file", Load), ("--expression", Code), ("--line-length", Arg)],
    ..FILTER
};

// make(1).
static MAKE: Grammar = Grammar {
    names: &["make", "gmake", "bmake"],
    shorts: &[(b"f", Load), (b"C", Chdir), (b"IWo", Arg), (b"jlO", Rest), (b"vh", NoScript)],
    longs: &[
        ("--file", Load),
        ("--makefile", Load),
        ("--directory", Chdir),
        ("--eval", Code),
        ("--include-dir", Arg),
        ("--old-file", Arg),
        ("--assume-old", Arg),
        ("--what-if", Arg),
        ("--new-file", Arg),
        ("--assume-new", Arg),
        ("--help", NoScript),
        ("--version", NoScript),
    ],
    defaults: &["GNUmakefile", "makefile", "Makefile"],
    ..TOOL
};

// tclsh(1), wish(1).
static TCLSH: Grammar = Grammar {
    names: &["tclsh", "wish", "jimsh"],
    longs: &[("-encoding", Arg), ("-e", NoScript)],
    clusters: false,
    ..LANGUAGE
};

// expect(1).
static EXPECT: Grammar = Grammar {
    names: &["expect", "expectk"],
    shorts: &[(b"c", Arg), (b"D", Arg), (b"fb", Script), (b"v", NoScript)],
    ..LANGUAGE
};

// vim(1), starting.txt. Files that are edited are no scripts.
static VIM: Grammar = Grammar {
    names: &[
        "vim",
        "vi",
        "view",
        "ex",
        "rvim",
        "rview",
        "nvim",
        "vimdiff",
        "vim.basic",
        "vim.tiny",
        "vim.nox",
    ],
    shorts: &[(b"SuUls", Load), (b"ctTWwi", Arg)],
    longs: &[
        ("-es", Flag),
        ("-Es", Flag),
        ("-l", Load),
        ("-r", Flag),
        ("-d", Flag),
        ("-p", Flag),
        ("--cmd", Arg),
        ("--help", NoScript),
        ("--version", NoScript),
    ],
    ..TOOL
};

// sqlite3(1): every option is one word, with one dash or two.
static SQLITE: Grammar = Grammar {
    names: &["sqlite3", "sqlite"],
    longs: &[("-init", Load), ("--init", Load), ("-cmd", Arg), ("--cmd", Arg), ("-A", NoScript)],
    clusters: false,
    ..FILTER
};

// gdb(1): likewise.
static GDB: Grammar = Grammar {
    names: &["gdb", "gdb-multiarch", "gdbserver"],
    longs: &[
        ("-x", Load),
        ("--command", Load),
        ("-command", Load),
        ("-ix", Load),
        ("--init-command", Load),
        ("-init-command", Load),
        ("-P", Script),
        ("--python", Script),
        ("-ex", Arg),
        ("--eval-command", Arg),
        ("-iex", Arg),
        ("-p", Arg),
        ("--pid", Arg),
        ("-cd", Arg),
        ("-d", Arg),
        ("-s", Arg),
        ("-c", Arg),
        ("-e", Arg),
        ("--args", NoScript),
    ],
    clusters: false,
    ..TOOL
};

// pwsh(1), about_Pwsh; options may be shortened and in any case, which this does not follow.
static PWSH: Grammar = Grammar {
    names: &["pwsh", "pwsh-preview"],
    longs: &[
        ("-File", Script),
        ("-file", Script),
        ("-f", Script),
        ("-Command", NoScript),
        ("-command", NoScript),
        ("-c", NoScript),
        ("-EncodedCommand", NoScript),
        ("-e", NoScript),
        ("-ec", NoScript),
        ("-enc", NoScript),
        ("-WorkingDirectory", Arg),
        ("-wd", Arg),
        ("-ExecutionPolicy", Arg),
        ("-ep", Arg),
        ("-InputFormat", Arg),
        ("-OutputFormat", Arg),
        ("-Version", NoScript),
        ("-Help", NoScript),
    ],
    clusters: false,
    ..LANGUAGE
};

// guile(1).
static GUILE: Grammar = Grammar {
    names: &["guile"],
    shorts: &[
        (b"c", NoScript),
        (b"s", Script),
        (b"l", Load),
        (b"L", ModuleDir),
        (b"Cex", Arg),
        (b"hv", NoScript),
    ],
    ..LANGUAGE
};

// docs.deno.com, bun.sh: `deno run x.ts`, `bun x.ts`.
static DENO: Grammar = Grammar {
    names: &["deno", "bun"],
    longs: &[("--preload", Load), ("--import", Load), ("-r", Flag), ("-e", NoScript), ("--eval", NoScript)],
    clusters: false,
    positional: Positional::WithEnding(&[".ts", ".js", ".mts", ".mjs", ".cjs", ".tsx", ".jsx"]),
    reads_stdin: false,
    ..LANGUAGE
};

// dotnet(1), mono(1): `dotnet x.dll`, `dotnet exec x.dll`.
static DOTNET: Grammar = Grammar {
    names: &["dotnet", "mono", "mono-sgen"],
    longs: &[("--additional-deps", Arg), ("--depsfile", Arg), ("--runtimeconfig", Arg)],
    clusters: false,
    positional: Positional::WithEnding(&[".dll", ".exe"]),
    reads_stdin: false,
    ..LANGUAGE
};

// Languages of which only the first file matters: julia(1), octave(1), gnuplot(1), ocaml(1), jshell(1), qjs,
// gjs(1), racket(1).
static PLAIN: Grammar = Grammar {
    names: &[
        "julia",
        "octave",
        "octave-cli",
        "gnuplot",
        "ocaml",
        "jshell",
        "qjs",
        "gjs",
        "escript",
        "racket",
    ],
    longs: &[
        ("-e", NoScript),
        ("-E", NoScript),
        ("--eval", NoScript),
        ("-c", NoScript),
        ("--command", NoScript),
        ("-L", Load),
        ("--load", Load),
        ("-l", Arg),
        ("-p", Arg),
        ("-t", Arg),
        ("-I", Arg),
        ("--version", NoScript),
        ("--help", NoScript),
    ],
    clusters: false,
    ..LANGUAGE
};

// emacs(1), "Initial Options": files that are edited are no scripts.
static EMACS: Grammar = Grammar {
    names: &["emacs", "emacs-nox", "emacs-gtk", "emacs-lucid"],
    longs: &[
        ("--script", Script),
        ("-script", Script),
        ("-x", Script),
        ("-l", Load),
        ("--load", Load),
        ("-load", Load),
        ("--eval", Arg),
        ("-eval", Arg),
        ("--init-directory", Arg),
    ],
    clusters: false,
    ..TOOL
};

// sbcl(1), clisp(1).
static LISP: Grammar = Grammar {
    names: &["sbcl", "clisp", "ecl"],
    longs: &[
        ("--script", Script),
        ("--load", Load),
        ("-load", Load),
        ("-i", Load),
        ("--eval", Arg),
        ("-eval", Arg),
        ("-x", NoScript),
        ("--core", Arg),
        ("-M", Arg),
        ("-K", Arg),
    ],
    clusters: false,
    ..LANGUAGE
};

// ld.so(8), and musl's ldso/dynlink.c, whose options are among glibc's. Started by hand, the loader runs any
// program, also one without execute permission or on a noexec mount: what it was given is what runs.
static LD_SO: Grammar = Grammar {
    names: &["ld.so"],
    longs: &[
        ("--library-path", Next),
        ("--inhibit-rpath", Next),
        ("--audit", Next),
        ("--preload", Next),
        ("--argv0", Argv0),
        ("--glibc-hwcaps-prepend", Next),
        ("--glibc-hwcaps-mask", Next),
        ("--list", NoScript),
        ("--verify", NoScript),
        ("--list-tunables", NoScript),
        ("--list-diagnostics", NoScript),
        ("--help", NoScript),
        ("--version", NoScript),
    ],
    clusters: false,
    positional: Positional::Program,
    reads_stdin: false,
    ..LANGUAGE
};
