//! The command lines of the interpreters Drift knows: one table, from their manual pages.
//!
//! Only what decides where the script is: options that take the next argument, and options that mean there is no
//! script. An option that no table names is a flag.

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
    /// There is no script: code in an argument, a module, standard input, or a question such as `--version`.
    NoScript,
    /// Its argument is the script (`php -f x`, `R --file=x`).
    Script,
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
    /// Nothing (R).
    Ignored,
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
    matches!(name, b"busybox" | b"busybox.static" | b"busybox-static")
}

/// The grammar of a busybox applet; `None` where it runs no scripts.
pub(super) fn applet(name: &[u8]) -> Option<&'static Grammar> {
    matches!(name, b"sh" | b"ash" | b"bash" | b"hush" | b"lash").then_some(&SH)
}

/// The grammar for an executable's base name, version and build suffixes ignored; `None` for no interpreter.
pub(super) fn by_name(name: &[u8]) -> Option<&'static Grammar> {
    if is_elf_interpreter(name) {
        return Some(&LD_SO);
    }
    let stem = stem(name);
    ALL.iter().find(|g| g.names.iter().any(|n| n.as_bytes() == stem)).copied()
}

/// glibc's and musl's dynamic loaders, under their names on every architecture (`ld-linux-x86-64.so.2`, `ld64.so.1`,
/// `ld-2.31.so`, `ld-musl-aarch64.so.1`).
fn is_elf_interpreter(name: &[u8]) -> bool {
    let loader = [&b"ld-linux"[..], b"ld-musl-", b"ld64.so.", b"ld.so."].iter().any(|p| name.starts_with(p));
    let versioned = name.strip_prefix(b"ld-").and_then(|n| n.strip_suffix(b".so"));
    loader || versioned.is_some_and(|v| v.first().is_some_and(u8::is_ascii_digit))
}

/// `python3.11` → `python`, `perl5.36-x86_64-linux-gnu` → `perl`, `luajit-2.1.0-beta3` → `luajit`, `bash-static` →
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
};

const LANGUAGE: Grammar = Grammar { plus: false, dash: Dash::Stdin, ..SHELL };

use Effect::{AnyFile, Arg, ArgAnyFile, End, Flag, Next, NoScript, Rest, Script};

static ALL: &[&Grammar] =
    &[&SH, &BASH, &ZSH, &KSH, &PYTHON, &PERL, &RUBY, &NODE, &PHP, &LUA, &LUAJIT, &RSCRIPT, &R, &JAVA, &LD_SO];

// dash(1), busybox ash.
static SH: Grammar =
    Grammar { names: &["sh", "dash", "ash"], shorts: &[(b"cs", NoScript), (b"o", Next)], ..SHELL };

// bash(1), OPTIONS: the long ones must come first and may be written with one dash.
static BASH: Grammar = Grammar {
    names: &["bash", "rbash"],
    shorts: &[(b"cs", NoScript), (b"oO", Next)],
    longs: &[
        ("--rcfile", Next),
        ("--init-file", Next),
        ("--help", NoScript),
        ("--version", NoScript),
        ("-rcfile", Next),
        ("-init-file", Next),
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
    ..SHELL
};

// zshmisc, INVOCATION.
static ZSH: Grammar = Grammar {
    names: &["zsh"],
    shorts: &[(b"cs", NoScript), (b"o", Arg), (b"b", End)],
    longs: &[("--emulate", Arg), ("--help", NoScript), ("--version", NoScript)],
    ..SHELL
};

// ksh93(1) (-R writes a cross reference to a file), mksh(1) (-T names a terminal).
static KSH: Grammar = Grammar {
    names: &["ksh", "mksh", "lksh", "oksh", "pdksh"],
    shorts: &[(b"cs", NoScript), (b"oRT", Arg)],
    longs: &[("--help", NoScript), ("--version", NoScript)],
    ..SHELL
};

// python(1), "Command line and environment" (-Q is Python 2's), pypy(1).
static PYTHON: Grammar = Grammar {
    names: &["python", "pypy", "platform-python"],
    shorts: &[(b"cmhV?", NoScript), (b"WXQ", Arg)],
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
    ..LANGUAGE
};

// perlrun(1). Of `-0777` and `-0xFF` the digits count as flags and `x` takes the rest, as Perl itself falls back to.
static PERL: Grammar = Grammar {
    names: &["perl"],
    shorts: &[(b"eEvVh?", NoScript), (b"I", Arg), (b"CDFimMx", Rest)],
    longs: &[("--help", NoScript), ("--version", NoScript)],
    spaces: true,
    ..LANGUAGE
};

// ruby(1).
static RUBY: Grammar = Grammar {
    names: &["ruby"],
    shorts: &[(b"eh", NoScript), (b"CEIXr", Arg), (b"FKix", Rest)],
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
    ..LANGUAGE
};

// node(1). V8's own options (--max-old-space-size=N) take a value only after `=`.
static NODE: Grammar = Grammar {
    names: &["node", "nodejs"],
    longs: &[
        ("-e", NoScript),
        ("-p", NoScript),
        ("-pe", NoScript),
        ("-h", NoScript),
        ("-v", NoScript),
        ("-r", Arg),
        ("-C", Arg),
        ("--completion-bash", NoScript),
        ("--eval", NoScript),
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
        ("--experimental-loader", Arg),
        ("--experimental-policy", Arg),
        ("--experimental-sea-config", NoScript),
        ("--heap-prof-dir", Arg),
        ("--heap-prof-interval", Arg),
        ("--heap-prof-name", Arg),
        ("--heapsnapshot-near-heap-limit", Arg),
        ("--heapsnapshot-signal", Arg),
        ("--icu-data-dir", Arg),
        ("--import", Arg),
        ("--input-type", Arg),
        ("--inspect-port", Arg),
        ("--debug-port", Arg),
        ("--inspect-publish-uid", Arg),
        ("--loader", Arg),
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
        ("--require", Arg),
        ("--secure-heap", Arg),
        ("--secure-heap-min", Arg),
        ("--security-revert", Arg),
        ("--snapshot-blob", Arg),
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
    ..LANGUAGE
};

// php(1). After `--` come arguments for a program read from standard input.
static PHP: Grammar = Grammar {
    names: &["php"],
    shorts: &[(b"aRSrhimv?", NoScript), (b"BEcdtz", Arg), (b"fF", Script)],
    longs: &[
        ("--file", Script),
        ("--process-file", Script),
        ("--define", Arg),
        ("--docroot", Arg),
        ("--php-ini", Arg),
        ("--process-begin", Arg),
        ("--process-end", Arg),
        ("--zend-extension", Arg),
        ("--help", NoScript),
        ("--info", NoScript),
        ("--ini", NoScript),
        ("--interactive", NoScript),
        ("--modules", NoScript),
        ("--process-code", NoScript),
        ("--rc", NoScript),
        ("--rclass", NoScript),
        ("--re", NoScript),
        ("--rextension", NoScript),
        ("--rextinfo", NoScript),
        ("--rf", NoScript),
        ("--rfunction", NoScript),
        ("--ri", NoScript),
        ("--run", NoScript),
        ("--rz", NoScript),
        ("--rzendextension", NoScript),
        ("--server", NoScript),
        ("--usage", NoScript),
        ("--version", NoScript),
    ],
    double_dash: DoubleDash::Stdin,
    ..LANGUAGE
};

// lua(1): a script may follow `-e stat`.
static LUA: Grammar = Grammar { names: &["lua"], shorts: &[(b"el", Arg)], ..LANGUAGE };

// luajit(1): -b compiles and does not run.
static LUAJIT: Grammar =
    Grammar { names: &["luajit"], shorts: &[(b"elj", Arg), (b"O", Rest), (b"b", NoScript)], ..LANGUAGE };

// Rscript(1).
static RSCRIPT: Grammar = Grammar {
    names: &["Rscript"],
    longs: &[("-e", NoScript), ("--help", NoScript), ("--version", NoScript)],
    clusters: false,
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
        ("-cp", Arg),
        ("-classpath", Arg),
        ("--class-path", Arg),
        ("-p", Arg),
        ("--module-path", Arg),
        ("--upgrade-module-path", Arg),
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
    ..LANGUAGE
};

// ld.so(8), and musl's ldso/dynlink.c, whose options are among glibc's. Started by hand, the loader runs any program,
// also one without execute permission or on a noexec mount: what it was given is what runs.
static LD_SO: Grammar = Grammar {
    names: &["ld.so"],
    longs: &[
        ("--library-path", Next),
        ("--inhibit-rpath", Next),
        ("--audit", Next),
        ("--preload", Next),
        ("--argv0", Next),
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
    ..LANGUAGE
};
