//! What a variable is for, by its name.

/// What the value of a variable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Directories that programs are looked for in: those that are relative move with whoever runs there.
    Programs,
    /// Files to load code from, or directories to look for it in, between any of these characters.
    Search(&'static [u8]),
    /// The same, of libraries: a bare name is looked for where libraries are.
    Libraries(&'static [u8]),
    /// Templates of paths, as Lua has them.
    Templates,
    /// A file or directory that programs have a name for, whether it is there or not.
    IfThere,
    /// A home directory: files in it are run or obeyed.
    Home,
    /// Options of Java.
    Java,
    /// Options of Node.js.
    Node,
    /// Options of Perl.
    Perl,
    /// Options of Ruby.
    Ruby,
    /// Options of make.
    Make,
    /// `name=number` pairs of the C library.
    Tunables,
    /// A program that is run, with its options.
    Command,
    /// Code, or what can be nothing else.
    Code,
    /// Code where it has a command in it.
    Prompt,
    /// The name of a setting of git.
    GitKey,
    /// Settings of git, quoted.
    GitSettings,
    /// Where traffic, or its keys, go.
    Traffic,
    /// Changes nothing about what is loaded.
    Inert,
    /// Anything else.
    Other,
}

const COLON: Kind = Kind::Search(b":");

/// What a variable is for.
pub(super) fn kind_of(name: &[u8]) -> Kind {
    match name {
        b"PATH" => Kind::Programs,
        b"LD_PRELOAD" => Kind::Libraries(b" :"),
        b"LD_AUDIT" => Kind::Libraries(b":"),
        b"LD_LIBRARY_PATH" => Kind::Search(b":;"),
        // What ldd and debuggers of the loader set: it prints, and loads nothing else.
        b"LD_BIND_NOW"
        | b"LD_BIND_NOT"
        | b"LD_DEBUG"
        | b"LD_DEBUG_OUTPUT"
        | b"LD_DYNAMIC_WEAK"
        | b"LD_HWCAP_MASK"
        | b"LD_LIBRARY_VERSION"
        | b"LD_PROFILE"
        | b"LD_PROFILE_OUTPUT"
        | b"LD_SHOW_AUXV"
        | b"LD_TRACE_LOADED_OBJECTS"
        | b"LD_TRACE_PRELINKING"
        | b"LD_VERBOSE"
        | b"LD_WARN" => Kind::Inert,
        b"BASH_ENV" | b"ENV" | b"ZDOTDIR" | b"PYTHONPATH" | b"PYTHONHOME" | b"PYTHONUSERBASE"
        | b"PYTHONSTARTUP" | b"PERL5LIB" | b"PERLLIB" | b"RUBYLIB" | b"GEM_HOME" | b"GEM_PATH"
        | b"BUNDLE_GEMFILE" | b"NODE_PATH" | b"CLASSPATH" | b"PHPRC" | b"PHP_INI_SCAN_DIR"
        | b"GCONV_PATH" | b"OPENSSL_CONF" | b"OPENSSL_ENGINES" | b"OPENSSL_MODULES" | b"SSL_CERT_FILE"
        | b"AWKPATH" | b"AWKLIBPATH" | b"GIT_EXEC_PATH" | b"GIT_TEMPLATE_DIR" => COLON,
        b"TCLLIBPATH" | b"MAKEFILES" => Kind::Search(b" "),
        b"LUA_PATH" | b"LUA_CPATH" => Kind::Templates,
        b"HOME" | b"XDG_CONFIG_HOME" => Kind::Home,
        b"JAVA_TOOL_OPTIONS" | b"JDK_JAVA_OPTIONS" | b"_JAVA_OPTIONS" | b"JAVA_OPTS" | b"CATALINA_OPTS" => {
            Kind::Java
        }
        b"NODE_OPTIONS" => Kind::Node,
        b"PERL5OPT" => Kind::Perl,
        b"RUBYOPT" => Kind::Ruby,
        b"MAKEFLAGS" | b"GNUMAKEFLAGS" => Kind::Make,
        b"GLIBC_TUNABLES" => Kind::Tunables,
        b"GIT_SSH"
        | b"GIT_SSH_COMMAND"
        | b"GIT_EXTERNAL_DIFF"
        | b"GIT_PROXY_COMMAND"
        | b"GIT_ASKPASS"
        | b"GIT_EDITOR"
        | b"GIT_SEQUENCE_EDITOR"
        | b"GIT_PAGER"
        | b"SSH_ASKPASS"
        | b"SUDO_ASKPASS"
        | b"PAGER"
        | b"MANPAGER"
        | b"EDITOR"
        | b"VISUAL"
        | b"BROWSER"
        | b"LESSOPEN"
        | b"LESSCLOSE"
        | b"RSYNC_RSH" => Kind::Command,
        b"PROMPT_COMMAND" | b"PERL5DB" | b"LUA_INIT" | b"VIMINIT" | b"EXINIT" | b"GVIMINIT"
        | b"PYTHONINSPECT" => Kind::Code,
        b"PS4" => Kind::Prompt,
        b"GIT_CONFIG_GLOBAL" | b"GIT_CONFIG_SYSTEM" | b"GIT_CONFIG" => Kind::IfThere,
        b"GIT_CONFIG_PARAMETERS" => Kind::GitSettings,
        b"SSLKEYLOGFILE" => Kind::Traffic,
        // sudo's word for what it was asked to run.
        b"SUDO_COMMAND" => Kind::Inert,
        _ => of_family(name),
    }
}

/// Families of variables, by how their names begin or end.
fn of_family(name: &[u8]) -> Kind {
    let rest = |prefix: &[u8]| {
        let begins = name.get(..prefix.len())?.eq_ignore_ascii_case(prefix);
        begins.then(|| name.get(prefix.len()..).unwrap_or_default().to_ascii_lowercase())
    };
    if name.starts_with(b"BASH_FUNC_") || name.starts_with(b"LUA_INIT_") {
        return Kind::Code;
    }
    if name.starts_with(b"LUA_PATH_") || name.starts_with(b"LUA_CPATH_") {
        return Kind::Templates;
    }
    if let Some(key) = rest(b"GIT_CONFIG_") {
        return if key.starts_with(b"key_") { Kind::GitKey } else { Kind::Inert };
    }
    if let Some(key) = rest(b"npm_config_") {
        let key: Vec<u8> = key.iter().map(|b| if *b == b'-' { b'_' } else { *b }).collect();
        return match key.as_slice() {
            b"node_options" => Kind::Node,
            b"script_shell" | b"shell" | b"git" | b"editor" | b"viewer" | b"python" => Kind::Command,
            b"call" => Kind::Code,
            b"onload_script" | b"node_gyp" | b"nodedir" => COLON,
            b"userconfig" | b"globalconfig" | b"init_module" => Kind::IfThere,
            b"registry" | b"proxy" | b"https_proxy" | b"http_proxy" => Kind::Traffic,
            _ => Kind::Inert,
        };
    }
    if let Some(key) = rest(b"PIP_") {
        return match key.as_slice() {
            b"config_file" => Kind::IfThere,
            b"python" => Kind::Command,
            b"index_url" | b"extra_index_url" | b"find_links" | b"proxy" => Kind::Traffic,
            _ => Kind::Inert,
        };
    }
    for family in [&b"DOTNET_"[..], b"CORECLR_", b"COMPlus_"] {
        let Some(key) = rest(family) else { continue };
        return match key.as_slice() {
            b"startup_hooks" | b"additional_deps" | b"shared_store" | b"root" => COLON,
            key if key.starts_with(b"profiler_path") => COLON,
            _ => Kind::Other,
        };
    }
    if name.starts_with(b"LD_") {
        return Kind::Search(b":; ");
    }
    if name.ends_with(b"_PRELOAD") {
        return Kind::Libraries(b" :");
    }
    let ends_in = |end: &[u8]| {
        name.len()
            .checked_sub(end.len())
            .and_then(|at| name.get(at..))
            .is_some_and(|e| e.eq_ignore_ascii_case(end))
    };
    match ends_in(b"_proxy") && !name.eq_ignore_ascii_case(b"no_proxy") {
        true => Kind::Traffic,
        false => Kind::Other,
    }
}
