//! Languages whose code is read while a program runs (`include`, `import`, `require`, `source`, class
//! loaders): which programs run them, which libraries have others run them, and which files are their code.
//!
//! One table. A reader and a file have to be of the same language: a web server that gives out a `.js` file
//! does not run it.

use super::grammar::stem;
use super::interpreter::base_name;
use std::sync::LazyLock;

/// A language, or a family of them with one run-time environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// Shells.
    Shell,
    /// PHP.
    Php,
    /// Python.
    Python,
    /// Perl.
    Perl,
    /// Ruby.
    Ruby,
    /// JavaScript.
    JavaScript,
    /// Lua.
    Lua,
    /// Java, and what else runs on its virtual machine.
    Java,
    /// Tcl.
    Tcl,
    /// R.
    R,
    /// Erlang and Elixir.
    Erlang,
    /// PowerShell.
    PowerShell,
}

/// What a file of code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeKind {
    /// Text.
    Source,
    /// Compiled for a virtual machine, or an archive of that.
    Compiled,
}

impl CodeKind {
    /// The value of `drift.file_kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "code",
            Self::Compiled => "bytecode",
        }
    }
}

struct Row {
    language: Language,
    /// Programs that run it, versions and the like taken off.
    programs: &'static [&'static str],
    /// Libraries whose mapping shows that a program of another name runs it: how their names begin.
    libraries: &'static [&'static str],
    /// Endings of sources, and of what is compiled.
    sources: &'static [&'static str],
    compiled: &'static [&'static str],
    /// How compiled files of any name begin.
    magic: &'static [&'static [u8]],
}

#[rustfmt::skip]
const TABLE: [Row; 12] = [
    Row { language: Language::Shell,
        programs: &["sh", "dash", "ash", "yash", "bash", "rbash", "zsh", "mksh", "lksh", "oksh", "pdksh",
            "loksh", "ksh", "csh", "tcsh", "fish", "busybox", "busybox.static", "toybox"],
        libraries: &[],
        sources: &["sh", "bash", "zsh", "ksh", "ash", "csh", "fish", "bashrc", "bash_profile", "bash_login",
            "bash_logout", "profile", "zshrc", "zshenv", "zprofile", "zlogin", "kshrc", "mkshrc", "shrc",
            "cshrc", "tcshrc"],
        compiled: &["zwc"], magic: &[] },
    Row { language: Language::Php,
        programs: &["php", "php-fpm", "php-cgi", "phpdbg", "lsphp", "frankenphp", "roadrunner", "swoole-cli"],
        libraries: &["libphp", "mod_php", "php_plugin.so", "php.unit.so"],
        sources: &["php", "php3", "php4", "php5", "php7", "php8", "phtml", "pht", "phps", "inc"],
        compiled: &["phar"], magic: &[] },
    Row { language: Language::Python,
        programs: &["python", "pypy", "platform-python"],
        libraries: &["libpython", "libpypy", "mod_wsgi", "python_plugin.so", "python3_plugin.so"],
        sources: &["py", "pyw", "pth", "wsgi"],
        compiled: &["pyc", "pyo", "pyz", "egg", "whl"], magic: &[] },
    Row { language: Language::Perl,
        programs: &["perl"], libraries: &["libperl", "mod_perl", "psgi_plugin.so"],
        sources: &["pl", "pm", "al", "psgi", "cgi"], compiled: &["plc", "pmc"], magic: &[] },
    Row { language: Language::Ruby,
        programs: &["ruby", "jruby", "truffleruby"],
        libraries: &["libruby", "mod_passenger", "rack_plugin.so"],
        sources: &["rb", "ru", "rake", "gemspec"], compiled: &["yarb"], magic: &[b"YARB"] },
    Row { language: Language::JavaScript,
        programs: &["node", "nodejs", "deno", "bun", "qjs"],
        libraries: &["libnode", "ngx_http_js_module", "ngx_stream_js_module", "libmozjs"],
        sources: &["js", "mjs", "cjs", "jsx", "ts", "mts", "cts"], compiled: &["jsc"], magic: &[] },
    Row { language: Language::Lua,
        programs: &["lua", "luajit", "texlua", "openresty", "haproxy", "redis-server"],
        libraries: &["liblua", "mod_lua", "ngx_http_lua_module", "lua_plugin.so"],
        sources: &["lua"], compiled: &["luac"], magic: &[b"\x1bLua", b"\x1bLJ"] },
    Row { language: Language::Java,
        programs: &["java", "javaw", "jsvc", "catalina"], libraries: &["libjvm"],
        sources: &["jsp", "jspx", "jspf", "groovy", "gsp", "clj", "kts"],
        compiled: &["class", "jar", "war", "ear", "jmod"], magic: &[b"\xca\xfe\xba\xbe"] },
    Row { language: Language::Tcl,
        programs: &["tclsh", "wish", "jimsh", "expect"], libraries: &["libtcl"],
        sources: &["tcl", "tm", "exp"], compiled: &["tbc"], magic: &[] },
    Row { language: Language::R,
        programs: &["R", "Rscript"], libraries: &["libR.so"],
        sources: &["R", "r", "Rprofile"], compiled: &["rdb", "rds"], magic: &[] },
    Row { language: Language::Erlang,
        programs: &["beam.smp", "beam", "erl", "erlexec"], libraries: &[],
        sources: &["erl", "ex", "exs", "escript"], compiled: &["beam"], magic: &[b"FOR1"] },
    Row { language: Language::PowerShell,
        programs: &["pwsh", "pwsh-preview"], libraries: &["libpsl-native"],
        sources: &["ps1", "psm1", "psd1"], compiled: &[], magic: &[] },
];

impl Language {
    fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.language == self)
    }

    /// The language that a program runs, by its executable's name.
    pub fn of_program(exe: &[u8]) -> Option<Self> {
        let name = base_name(exe);
        // Debian's `php-fpm8.2` as well as others' `php82-fpm`: the versions are anywhere.
        let stem = match name.starts_with(b"php") || name.starts_with(b"lsphp") {
            true => &without_digits(name),
            false => stem(name),
        };
        TABLE.iter().find(|row| row.programs.iter().any(|p| p.as_bytes() == stem)).map(|row| row.language)
    }

    /// The language that a program runs which has this file mapped.
    pub fn of_library(path: &[u8]) -> Option<Self> {
        let name = base_name(path);
        let is_it = |row: &&Row| row.libraries.iter().any(|library| name.starts_with(library.as_bytes()));
        TABLE.iter().find(is_it).map(|row| row.language)
    }

    /// What kind of this language's code a file is, by its name, or by its first bytes where the name does
    /// not tell.
    pub fn kind_of(self, path: &[u8], head: &[u8]) -> Option<CodeKind> {
        let row = self.row()?;
        let ending = ending(base_name(path)).unwrap_or_default();
        let is = |endings: &[&str]| endings.iter().any(|known| known.as_bytes() == ending);
        if is(row.sources) {
            return Some(CodeKind::Source);
        }
        if is(row.compiled) || row.magic.iter().any(|magic| head.starts_with(magic)) {
            return Some(CodeKind::Compiled);
        }
        self.is_source(head).then_some(CodeKind::Source)
    }

    fn is_source(self, head: &[u8]) -> bool {
        let has = |mark: &[u8]| head.windows(mark.len()).any(|part| part == mark);
        let interpreter = head.strip_prefix(b"#!").and_then(|line| line.split(|b| *b == b'\n').next());
        let words = interpreter.map(|line| line.split(|b| matches!(b, b' ' | b'\t' | b'\r')));
        let named = words.and_then(|words| words.filter_map(Self::of_program).next());
        named == Some(self) || (self == Self::Php && (has(b"<?php") || has(b"<?=")))
    }
}

/// Whether a file's name has an ending of some language's code.
pub fn is_code_name(path: &[u8]) -> bool {
    static ENDINGS: LazyLock<Vec<&[u8]>> = LazyLock::new(|| {
        let all = TABLE.iter().flat_map(|row| row.sources.iter().chain(row.compiled));
        let mut endings: Vec<&[u8]> = all.map(|ending| ending.as_bytes()).collect();
        endings.sort_unstable();
        endings
    });
    ending(base_name(path)).is_some_and(|ending| ENDINGS.binary_search(&ending).is_ok())
}

/// Whether a command line has a shell read this file: `. /tmp/x`, `source /tmp/x`.
pub fn is_sourced(command: &[u8], path: &[u8]) -> bool {
    let mut words =
        command.split(|b| b.is_ascii_whitespace() || matches!(b, b';' | b'&' | b'|' | b'(' | b'\'' | b'"'));
    let mut is_next = false;
    words.any(|word| {
        if word.is_empty() {
            return false;
        }
        // Relative names by their end: the working directory of then is not known here.
        let relative = word.strip_prefix(b"./").unwrap_or(word);
        let is_it = is_next
            && (word == path
                || (!relative.starts_with(b"/")
                    && path.strip_suffix(relative).is_some_and(|dir| dir.ends_with(b"/"))));
        is_next = matches!(word, b"." | b"source");
        is_it
    })
}

fn ending(name: &[u8]) -> Option<&[u8]> {
    name.rsplit(|b| *b == b'.').next().filter(|ending| ending.len() < name.len())
}

fn without_digits(name: &[u8]) -> Vec<u8> {
    let kept = |b: &&u8| !(b.is_ascii_digit() || **b == b'.');
    name.iter().filter(kept).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_run_a_language_whatever_their_version() {
        use Language::*;
        for (exe, want) in [
            ("/usr/bin/python3.11", Some(Python)),
            ("/usr/sbin/php-fpm8.2", Some(Php)),
            ("/usr/sbin/php-fpm", Some(Php)),
            ("/usr/sbin/php-fpm82", Some(Php)),
            ("/usr/local/bin/php82", Some(Php)),
            ("/usr/bin/php8.2", Some(Php)),
            ("/usr/bin/php-cgi8.2", Some(Php)),
            ("/usr/bin/perl5.36-x86_64-linux-gnu", Some(Perl)),
            ("/usr/bin/node", Some(JavaScript)),
            ("/opt/java/openjdk/bin/java", Some(Java)),
            ("/bin/bash", Some(Shell)),
            ("/bin/busybox", Some(Shell)),
            ("/usr/bin/lua5.4", Some(Lua)),
            ("/usr/sbin/apache2", None),
            ("/usr/bin/php-config", None),
            ("/bin/cat", None),
            ("/usr/bin/sed", None),
        ] {
            assert_eq!(Language::of_program(exe.as_bytes()), want, "{exe}");
        }
        for (library, want) in [
            ("/usr/lib/apache2/modules/libphp8.2.so", Some(Php)),
            ("/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0", Some(Python)),
            ("/usr/lib/jvm/lib/server/libjvm.so", Some(Java)),
            ("/usr/lib/libc.so.6", None),
        ] {
            assert_eq!(Language::of_library(library.as_bytes()), want, "{library}");
        }
    }

    #[test]
    fn a_file_is_code_of_its_reader() {
        use CodeKind::*;
        use Language::*;
        for (language, path, head, want) in [
            (Php, "/var/www/x.php", "", Some(Source)),
            (Php, "/tmp/upload.jpg", "GIF89a;<?php system($_GET[0]);", Some(Source)),
            (Php, "/tmp/data.txt", "just text", None),
            (Php, "/srv/x.phar", "", Some(Compiled)),
            (Python, "/srv/x.php", "<?php", None),
            (Python, "/srv/x.py", "", Some(Source)),
            (Python, "/srv/tool", "#!/usr/bin/env python3\n", Some(Source)),
            (Python, "/srv/tool", "#!/bin/sh\n", None),
            (Shell, "/tmp/x", "#!/bin/sh -e\n", Some(Source)),
            (Shell, "/root/.bashrc", "", Some(Source)),
            (Shell, "/srv/x.php", "<?php", None),
            (Java, "/srv/x.bin", "\u{0}", None),
            (Lua, "/srv/x", "\x1bLua", Some(Compiled)),
            (JavaScript, "/srv/package.json", "{}", None),
        ] {
            assert_eq!(language.kind_of(path.as_bytes(), head.as_bytes()), want, "{language:?} {path}");
        }
        assert_eq!(Java.kind_of(b"/srv/x", b"\xca\xfe\xba\xbe\0"), Some(Compiled));
        for (path, is) in
            [("/a/x.php", true), ("/a.php/x", false), ("/a/.bashrc", true), ("php", false), ("/x.txt", false)]
        {
            assert_eq!(is_code_name(path.as_bytes()), is, "{path}");
        }
    }

    #[test]
    fn sourced_files_are_named_on_a_command_line() {
        for (command, path, is) in [
            ("sh -c . /tmp/x", "/tmp/x", true),
            ("bash -c source /tmp/x; id", "/tmp/x", true),
            ("bash -c cd /tmp; . ./x", "/tmp/x", true),
            ("bash -c cd /tmp; . x/y", "/tmp/x/y", true),
            ("bash -c cat /tmp/x", "/tmp/x", false),
            ("bash -c . /tmp/y; cat < /tmp/x", "/tmp/x", false),
            ("bash -c . x", "/tmp/ax", false),
        ] {
            assert_eq!(is_sourced(command.as_bytes(), path.as_bytes()), is, "{command}");
        }
    }
}
