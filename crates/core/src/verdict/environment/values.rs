//! Whether the value of a variable is dangerous.
//!
//! Options and commands are no risk where every word is known to be none: programs of the image by their
//! names, options that load nothing, paths of the image. What is not understood is a risk.

use super::kinds::Kind;
use super::places::{Files, Place};
use crate::command::interpreter::is_interpreter;
use crate::container::declared::environment::Difference;
use drift_formats::entry::ImagePath;

/// Most elements of one value that are judged; a value with more is a risk.
const MAX_ELEMENTS: usize = 128;

/// Where programs of npm's packages are.
const NODE_BIN: &[u8] = b"/node_modules/.bin";

/// Files in a home directory that shells and other programs run or obey.
const STARTUP: [&str; 21] = [
    ".bash_login",
    ".bash_profile",
    ".bashrc",
    ".config/git/config",
    ".config/nvim",
    ".config/pip/pip.conf",
    ".curlrc",
    ".exrc",
    ".gitconfig",
    ".irbrc",
    ".kshrc",
    ".local/lib",
    ".npmrc",
    ".pip/pip.conf",
    ".profile",
    ".ssh/config",
    ".vimrc",
    ".wgetrc",
    ".zlogin",
    ".zshenv",
    ".zshrc",
];

/// The same, below `XDG_CONFIG_HOME`.
const STARTUP_CONFIG: [&str; 4] = ["git/config", "nvim", "pip/pip.conf", "fish/config.fish"];

/// Endings of files that hold code which programs load.
const LOADABLE: [&[u8]; 20] = [
    b".bash", b".cjs", b".class", b".dll", b".jar", b".js", b".jsp", b".lua", b".mjs", b".node", b".php",
    b".pl", b".pm", b".py", b".pyc", b".rb", b".sh", b".so", b".tcl", b".war",
];

/// A value, and what is asked to judge it.
pub(super) struct Value<'a> {
    pub(super) variable: &'a Difference<'a>,
    pub(super) cwd: Option<&'a [u8]>,
    pub(super) files: &'a dyn Files,
}

impl Value<'_> {
    pub(super) fn is_risky(&self, kind: Kind) -> bool {
        let value = self.variable.value;
        // What a cut value goes on to be is not known: the whole environment is read elsewhere.
        if value.is_empty() || self.variable.is_cut {
            return false;
        }
        match kind {
            Kind::Inert => false,
            Kind::Code | Kind::Traffic => true,
            Kind::Programs => self.any(b":", |dir| self.leads_programs_away(dir)),
            Kind::Search(separators) => self.any(separators, |path| self.leads_away(path)),
            Kind::Libraries(separators) => {
                self.any(separators, |path| path.contains(&b'/') && self.leads_away(path))
            }
            Kind::Templates => self.any(b";", |template| self.template_leads_away(template)),
            Kind::IfThere => self.is_there_and_not_the_images(value),
            Kind::Home => self.home_has_startup_files(),
            Kind::Java => self.java(),
            Kind::Node => self.node(),
            Kind::Perl => self.any_word(|_, word| match word.strip_prefix(b"-").unwrap_or(word) {
                [b'I', path @ ..] => self.leads_away(path),
                [b'M' | b'm', module @ ..] => {
                    !module.iter().all(|b| b.is_ascii_alphanumeric() || b":_-".contains(b))
                }
                options => !options.iter().all(|b| b.is_ascii_alphanumeric()) || options.contains(&b'd'),
            }),
            Kind::Ruby => self.ruby(),
            Kind::Make => self.make(),
            Kind::Tunables => self.any(b":", |pair| {
                let mut sides = pair.split(|b| *b == b'=');
                let (name, number) = (sides.next(), sides.next());
                let plain =
                    |side: &[u8]| side.iter().all(|b| b.is_ascii_alphanumeric() || b"._-,".contains(b));
                !(name.is_some_and(plain)
                    && number.is_some_and(|n| n.len() <= 64 && plain(n))
                    && sides.next().is_none())
            }),
            Kind::Command => self.command(),
            Kind::Prompt => is_expanded(value),
            Kind::GitKey => !is_harmless_git_key(value),
            Kind::GitSettings => self.git_settings(),
            Kind::Other => self.any(b":", |path| self.is_loadable(path)),
        }
    }

    /// Whether any element of the value that the declared one does not have is dangerous.
    fn any(&self, separators: &[u8], is_risky: impl Fn(&[u8]) -> bool) -> bool {
        let declared = self.variable.declared;
        let elements = self.variable.value.split(|b| separators.contains(b));
        let mut new = elements.filter(|element| declared.is_none_or(|d| !d.lists(element)));
        new.by_ref().take(MAX_ELEMENTS).any(is_risky) || new.next().is_some()
    }

    /// Whether a path, or an empty element, leads to anything but the image's or the deployment's files.
    fn leads_away(&self, path: &[u8]) -> bool {
        let path = path.strip_suffix(b"*").unwrap_or(path);
        if path.is_empty() {
            // The working directory, or nothing.
            return self.cwd.is_some_and(|cwd| self.place_leads_away(cwd));
        }
        if path.iter().any(|b| b"$`~".contains(b)) {
            return true;
        }
        match (path.starts_with(b"/"), self.cwd) {
            (true, _) => self.place_leads_away(path),
            (false, Some(cwd)) => {
                ImagePath::lexical(cwd, path).map_or(true, |path| self.place_leads_away(path.as_bytes()))
            }
            (false, None) => true,
        }
    }

    fn place_leads_away(&self, path: &[u8]) -> bool {
        !matches!(self.files.place(path), Place::Image | Place::Declared)
    }

    fn leads_programs_away(&self, dir: &[u8]) -> bool {
        // Relative, or empty: the working directory, whichever that will be.
        if !dir.starts_with(b"/") {
            return true;
        }
        match self.files.place(dir) {
            Place::Image | Place::Declared | Place::Unknown => false,
            Place::Writable => true,
            // Nothing is there: what is put there later alerts when it runs. npm names such a directory for each
            // one above the application's, and scripts those of other systems.
            Place::Absent => match self.files.exists(dir) {
                Some(exists) => exists,
                None => !dir.ends_with(NODE_BIN),
            },
        }
    }

    fn template_leads_away(&self, template: &[u8]) -> bool {
        let fixed = template.split(|b| *b == b'?').next().unwrap_or_default();
        let dir = fixed.iter().rposition(|b| *b == b'/').and_then(|at| fixed.get(..at));
        match (template.is_empty(), dir) {
            // `;;` is the built-in path.
            (true, _) => false,
            (false, Some(dir)) => self.leads_away(if dir.is_empty() { b"/" } else { dir }),
            (false, None) => self.leads_away(b""),
        }
    }

    fn is_there_and_not_the_images(&self, path: &[u8]) -> bool {
        match self.files.place(path) {
            _ if !path.starts_with(b"/") => true,
            Place::Image | Place::Declared => false,
            Place::Writable => true,
            Place::Absent | Place::Unknown => self.files.exists(path) == Some(true),
        }
    }

    /// Whether the home directory has files that programs run, and the image did not ship them.
    fn home_has_startup_files(&self) -> bool {
        let (value, is_home) = (self.variable.value, self.variable.name == b"HOME");
        let home = match (value.starts_with(b"/"), self.cwd) {
            (true, _) => ImagePath::lexical(b"/", value),
            (false, _) if value.is_empty() => return false,
            (false, Some(cwd)) => ImagePath::lexical(cwd, value),
            (false, None) => return true,
        };
        let Ok(home) = home else { return true };
        let home = home.as_bytes();
        if matches!(self.files.place(home), Place::Image | Place::Declared) {
            return false;
        }
        // As su and sudo set it. A new user is a change of its own, and so is what lies in that directory.
        if is_home && self.files.is_users_home(home) {
            return false;
        }
        let names: &[&str] = if is_home { &STARTUP } else { &STARTUP_CONFIG };
        names.iter().any(|name| {
            let path = [home, b"/", name.as_bytes()].concat();
            self.files.exists(&path) == Some(true) && self.place_leads_away(&path)
        })
    }

    /// Whether a path that a variable of any name leads to is a file of code that the image did not ship.
    fn is_loadable(&self, path: &[u8]) -> bool {
        path.starts_with(b"/")
            && LOADABLE.iter().any(|end| path.ends_with(end))
            && matches!(self.files.place(path), Place::Writable | Place::Absent)
            && self.files.exists(path) == Some(true)
    }

    /// `JDK_JAVA_OPTIONS` and the like: what loads agents and classes, or runs commands.
    fn java(&self) -> bool {
        const LOADS: [&[u8]; 15] = [
            b"-javaagent:",
            b"-agentpath:",
            b"-Xbootclasspath:",
            b"-Xbootclasspath/a:",
            b"-Xbootclasspath/p:",
            b"-Djava.class.path=",
            b"-Djava.endorsed.dirs=",
            b"-Djava.ext.dirs=",
            b"-Djava.library.path=",
            b"--class-path=",
            b"--module-path=",
            b"--upgrade-module-path=",
            b"--patch-module=",
            b"-XX:Flags=",
            b"-XX:VMOptionsFile=",
        ];
        const NEXT: [&[u8]; 5] = [b"-cp", b"-classpath", b"--class-path", b"-p", b"--module-path"];
        const AWAY: [&[u8]; 6] = [
            b"-agentlib:jdwp",
            b"-Xrunjdwp",
            b"-Dhttp.proxy",
            b"-Dhttps.proxy",
            b"-DsocksProxy",
            b"-Djava.system.class.loader=",
        ];
        let mut loads_next = false;
        self.any_word(|_, word| {
            let word = unquoted(word);
            let lists = |paths: &[u8]| paths.split(|b| *b == b':').any(|path| self.leads_away(path));
            if std::mem::take(&mut loads_next) {
                return lists(word);
            }
            loads_next = NEXT.contains(&word);
            if let Some(file) = word.strip_prefix(b"@") {
                return self.leads_away(file);
            }
            for ends in [&b"-XX:OnError="[..], b"-XX:OnOutOfMemoryError="] {
                if let Some(command) = word.strip_prefix(ends) {
                    return unquoted(command) != b"kill";
                }
            }
            let target = LOADS.iter().find_map(|option| word.strip_prefix(*option));
            match target {
                // Of an agent its options follow; of a patch its module comes before.
                Some(target) if word.starts_with(b"--patch-module=") => {
                    lists(target.split(|b| *b == b'=').nth(1).unwrap_or_default())
                }
                Some(target) => lists(target.split(|b| *b == b'=').next().unwrap_or_default()),
                None => AWAY.iter().any(|option| word.starts_with(option)),
            }
        })
    }

    /// `NODE_OPTIONS`: what loads modules, or opens a debugger.
    fn node(&self) -> bool {
        const LOADS: [&[u8]; 10] = [
            b"-r",
            b"--require",
            b"--import",
            b"--loader",
            b"--experimental-loader",
            b"--env-file",
            b"--env-file-if-exists",
            b"--experimental-config-file",
            b"--openssl-config",
            b"--snapshot-blob",
        ];
        let mut loads_next = false;
        self.any_word(|_, word| {
            let word = unquoted(word);
            if std::mem::take(&mut loads_next) {
                return self.module_leads_away(word);
            }
            let (option, target) = match word.iter().position(|b| *b == b'=') {
                Some(at) => (word.get(..at).unwrap_or_default(), word.get(at + 1..)),
                None => (word, None),
            };
            match (LOADS.contains(&option), target) {
                (true, Some(target)) => self.module_leads_away(unquoted(target)),
                (true, None) => {
                    loads_next = true;
                    false
                }
                (false, _) => {
                    !option.starts_with(b"--")
                        || option.starts_with(b"--inspect")
                        || option.starts_with(b"--debug")
                        || option.starts_with(b"--eval")
                }
            }
        })
    }

    /// Whether a module that Node.js is to load is any but the image's: a path, or a package's name.
    fn module_leads_away(&self, module: &[u8]) -> bool {
        let module = module.strip_prefix(b"file://").unwrap_or(module);
        if module.starts_with(b"/") || module.starts_with(b".") {
            return self.leads_away(module);
        }
        if module.contains(&b':') && !module.starts_with(b"node:") {
            return true;
        }
        // A package: in the nearest `node_modules` above the working directory that has it.
        let of_scope = if module.starts_with(b"@") { 2 } else { 1 };
        let package: Vec<&[u8]> = module.split(|b| *b == b'/').take(of_scope).collect();
        let Some(mut dir) = self.cwd.and_then(|cwd| ImagePath::lexical(b"/", cwd).ok()) else { return true };
        loop {
            let at = [dir.as_bytes(), b"/node_modules/", &package.join(&b'/')].concat();
            match self.files.place(&at) {
                Place::Image | Place::Declared => return false,
                Place::Absent => {}
                Place::Writable | Place::Unknown => return true,
            }
            match dir.parent() {
                Some(parent) => dir = parent,
                None => return true,
            }
        }
    }

    /// `RUBYOPT`: `-r` of a path, `-I`; a bare name is looked for where `RUBYLIB` and the image say.
    fn ruby(&self) -> bool {
        let mut loads_next = false;
        self.any_word(|_, word| {
            if std::mem::take(&mut loads_next) {
                return word.contains(&b'/') && self.leads_away(word);
            }
            match word {
                b"-r" | b"-I" => {
                    loads_next = true;
                    false
                }
                [b'-', b'I', dirs @ ..] => dirs.split(|b| *b == b':').any(|dir| self.leads_away(dir)),
                [b'-', b'r', name @ ..] => {
                    (name.starts_with(b"/") || name.starts_with(b".")) && self.leads_away(name)
                }
                [b'-', ..] => false,
                _ => true,
            }
        })
    }

    /// `MAKEFLAGS`, which make hands on to those it starts: letters, jobs, and variables.
    fn make(&self) -> bool {
        self.any_word(|at, word| {
            let is_letters = |word: &[u8]| word.iter().all(u8::is_ascii_alphabetic);
            match word {
                b"--" => false,
                _ if word.iter().any(|b| b"$`".contains(b)) => true,
                [b'-', b'-', option @ ..] => {
                    let name = option.split(|b| *b == b'=').next().unwrap_or_default();
                    matches!(name, b"eval" | b"file" | b"makefile" | b"include-dir" | b"directory")
                }
                [b'-', b'I' | b'f' | b'C', path @ ..] => self.leads_away(path),
                [b'-', ..] => false,
                // The first word may be letters without a dash; others are variables of the command line.
                _ if at == 0 && is_letters(word) => false,
                _ => match word.iter().position(|b| *b == b'=') {
                    Some(equals) => {
                        let value = word.get(equals + 1..).unwrap_or_default();
                        value.starts_with(b"/") && self.place_leads_away(value)
                            || word.starts_with(b"SHELL=") && value.contains(&b'/') && self.leads_away(value)
                    }
                    None => true,
                },
            }
        })
    }

    /// A program of the image, with options that do nothing but what the program is for.
    fn command(&self) -> bool {
        // less has a preprocessor's output piped in: `|lesspipe %s`.
        let words = self.variable.value.split(|b| b.is_ascii_whitespace());
        let mut words = words.map(|word| word.strip_prefix(b"|").unwrap_or(word)).filter(|w| !w.is_empty());
        let Some(program) = words.next().map(unquoted) else { return false };
        let is_plain = |word: &[u8]| word.iter().all(|b| b.is_ascii_alphanumeric() || b"_-+.".contains(b));
        let is_away = match program.contains(&b'/') {
            true => self.leads_away(program),
            false => !is_plain(program),
        };
        let name = program.rsplit(|b| *b == b'/').next().unwrap_or(program);
        let (mut count, is_ssh) = (0, name == b"ssh");
        is_away
            || words.any(|word| {
                count += 1;
                let is_allowed = match is_ssh {
                    true => is_harmless_for_ssh(word),
                    false => word == b"%s" || (word.starts_with(b"-") && is_plain(word)),
                };
                !is_allowed || is_interpreter(name) || count > MAX_ELEMENTS
            })
    }

    /// `GIT_CONFIG_PARAMETERS`, which git hands on: `'key=value'` or `'key'='value'`.
    fn git_settings(&self) -> bool {
        let value = self.variable.value;
        let quoted = value.split(|b| *b == b'\'').skip(1).step_by(2);
        let mut is_value = false;
        let mut count = 0;
        let has_risky = value.contains(&b'\\')
            || quoted.into_iter().any(|text| {
                count += 1;
                let (was_value, is_pair) = (is_value, text.contains(&b'='));
                // `'key'='value'`: what has no `=` in it is followed by its value.
                is_value = !was_value && !is_pair;
                count > MAX_ELEMENTS
                    || !was_value
                        && !is_harmless_git_key(text.split(|b| *b == b'=').next().unwrap_or_default())
            });
        has_risky || count == 0
    }

    /// Whether any word of the value that the declared one does not have is dangerous; `is_risky` sees them
    /// all.
    fn any_word(&self, mut is_risky: impl FnMut(usize, &[u8]) -> bool) -> bool {
        let words = self.variable.value.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let is_declared = |word: &[u8]| self.variable.declared.is_some_and(|declared| declared.lists(word));
        words.enumerate().any(|(at, word)| at >= MAX_ELEMENTS || is_risky(at, word) && !is_declared(word))
    }
}

/// Whether a shell that expands this runs a command.
fn is_expanded(text: &[u8]) -> bool {
    text.contains(&b'`') || text.windows(2).any(|pair| pair == b"$(")
}

/// Without quotes around it.
fn unquoted(word: &[u8]) -> &[u8] {
    let is_quote = |b: &u8| matches!(b, b'"' | b'\'');
    let start = word.iter().position(|b| !is_quote(b)).unwrap_or(word.len());
    let end = word.iter().rposition(|b| !is_quote(b)).map_or(start, |at| at + 1);
    word.get(start..end).unwrap_or_default()
}

/// Whether an argument of ssh runs and loads nothing.
fn is_harmless_for_ssh(word: &[u8]) -> bool {
    const NOT: [&[u8]; 6] = [b"command", b"provider", b"include", b"proxy", b"forward", b"match"];
    let lower = word.to_ascii_lowercase();
    let is_plain = word.iter().all(|b| b.is_ascii_alphanumeric() || b"_-+./=:@,".contains(b));
    let is_refused = NOT.iter().any(|part| lower.windows(part.len()).any(|window| window == *part));
    is_plain && !is_refused && !matches!(word, [b'-', b'F' | b'J' | b'I' | b'D' | b'L' | b'R', ..])
}

/// Whether a setting of git runs nothing and sends nothing elsewhere.
fn is_harmless_git_key(key: &[u8]) -> bool {
    const SECTIONS: [&[u8]; 15] = [
        b"advice.",
        b"author.",
        b"branch.",
        b"checkout.",
        b"color.",
        b"column.",
        b"committer.",
        b"fetch.",
        b"index.",
        b"log.",
        b"pack.",
        b"pull.",
        b"push.",
        b"safe.",
        b"user.",
    ];
    const KEYS: [&[u8]; 18] = [
        b"core.abbrev",
        b"core.autocrlf",
        b"core.bare",
        b"core.compression",
        b"core.filemode",
        b"core.longpaths",
        b"core.quotepath",
        b"core.symlinks",
        b"credential.interactive",
        b"diff.renames",
        b"feature.manyfiles",
        b"gc.auto",
        b"http.extraheader",
        b"init.defaultbranch",
        b"protocol.version",
        b"status.showuntrackedfiles",
        b"tag.gpgsign",
        b"commit.gpgsign",
    ];
    let key = key.to_ascii_lowercase();
    KEYS.contains(&key.as_slice()) || SECTIONS.iter().any(|section| key.starts_with(section))
}
