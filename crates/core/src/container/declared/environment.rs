//! The environment that a container's processes are meant to have, and what another one adds to it or changes.
//!
//! Invariant: values come in to be hashed and compared; only names go out.

use drift_formats::bytes::nul_separated;
use drift_formats::image_config::{EnvVar, PATH};
use std::collections::HashMap;

/// Most variables that are kept or told; what is beyond is not looked at.
const MAX_VARIABLES: usize = 4096;

/// Most names in an answer.
const MAX_NAMES: usize = 64;

/// Longest name that is told, bytes; a longer one is cut.
const MAX_NAME: usize = 128;

/// Bytes of environment that an exec event can hold (`MAX_PROC_ARG_ENV` of libs' drivers). The last variable of a buffer
/// that is this full is cut.
const EVENT_MAX: usize = 4096;

/// Variables that shells and runtimes set themselves.
const OWN: [&[u8]; 7] = [b"PWD", b"OLDPWD", b"SHLVL", b"_", b"HOME", b"TERM", b"HOSTNAME"];

/// The declared variables.
#[derive(Debug, Clone, Default)]
pub struct Environment(HashMap<Box<[u8]>, EnvVar>);

/// How an environment differs from the declared one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvDrift {
    /// Names that are not declared, in the order of the environment.
    pub added: Vec<Box<[u8]>>,
    /// Names that are declared with another value.
    pub changed: Vec<Box<[u8]>>,
    /// Directories that `PATH` lists and the declared one does not. They are part of a value: for a verdict, never for
    /// an answer.
    pub directories: Directories,
}

/// Directories whose names are shown to nobody.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Directories(pub Vec<Box<[u8]>>);

impl std::fmt::Debug for Directories {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} directories", self.0.len())
    }
}

impl Environment {
    /// What all of these declare; a later one overrides an earlier.
    pub fn new<'e>(variables: impl Iterator<Item = &'e EnvVar>) -> Self {
        Self(variables.take(MAX_VARIABLES).map(|v| (v.name().as_bytes().into(), v.clone())).collect())
    }

    /// Number of variables.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares an environment, `NAME=value` each ended by a NUL, as execve events carry it. What is missing in it is no
    /// drift.
    pub fn compare(&self, actual: &[u8]) -> EnvDrift {
        self.compare_bytes(actual, actual.len() < EVENT_MAX - 1)
    }

    /// As [`Environment::compare`], of an environment from elsewhere; without `whole` the last variable may be cut.
    pub fn compare_bytes(&self, actual: &[u8], whole: bool) -> EnvDrift {
        let mut drift = EnvDrift::default();
        let cut = !whole;
        let mut variables = nul_separated(actual).take(MAX_VARIABLES).peekable();
        while let Some(variable) = variables.next() {
            let whole = !cut || variables.peek().is_some();
            let Some(equals) = variable.iter().position(|b| *b == b'=') else { continue };
            let (Some(name), Some(value)) = (variable.get(..equals), variable.get(equals + 1..)) else {
                continue;
            };
            if name.is_empty() || OWN.contains(&name) {
                continue;
            }
            let declared = self.0.get(name);
            match declared {
                Some(declared) if !whole || declared.value_is(value) => continue,
                Some(_) => push(&mut drift.changed, name),
                None => push(&mut drift.added, name),
            }
            if name == PATH.as_bytes() {
                let new = value.split(|b| *b == b':').filter(|dir| declared.is_none_or(|d| !d.lists(dir)));
                drift.directories.0.extend(new.take(MAX_NAMES).map(Box::from));
            }
        }
        drift
    }
}

fn push(names: &mut Vec<Box<[u8]>>, name: &[u8]) {
    let name = name.get(..MAX_NAME).unwrap_or(name);
    if names.len() < MAX_NAMES && !names.iter().any(|known| **known == *name) {
        names.push(name.into());
    }
}

/// Variables that make programs load or run other code, or send their traffic elsewhere, whatever program it is.
const RISKY: [&[u8]; 34] = [
    b"BASH_ENV",
    b"ENV",
    b"PROMPT_COMMAND",
    b"PYTHONPATH",
    b"PYTHONHOME",
    b"PYTHONSTARTUP",
    b"PYTHONINSPECT",
    b"PERL5LIB",
    b"PERL5OPT",
    b"PERL5DB",
    b"PERLLIB",
    b"RUBYOPT",
    b"RUBYLIB",
    b"NODE_OPTIONS",
    b"NODE_PATH",
    b"JAVA_TOOL_OPTIONS",
    b"JDK_JAVA_OPTIONS",
    b"_JAVA_OPTIONS",
    b"LUA_INIT",
    b"LUA_PATH",
    b"LUA_CPATH",
    b"PHPRC",
    b"PHP_INI_SCAN_DIR",
    b"GIT_SSH",
    b"GIT_SSH_COMMAND",
    b"GIT_EXTERNAL_DIFF",
    b"GIT_PROXY_COMMAND",
    b"GIT_ASKPASS",
    b"GCONV_PATH",
    b"GLIBC_TUNABLES",
    b"OPENSSL_CONF",
    b"OPENSSL_MODULES",
    b"SSL_CERT_FILE",
    b"SSLKEYLOGFILE",
];

/// Whether a variable of this name is dangerous whatever its value. Of `PATH` the value decides.
pub fn is_risky(name: &[u8]) -> bool {
    let proxy =
        name.get(name.len().saturating_sub(6)..).is_some_and(|end| end.eq_ignore_ascii_case(b"_proxy"));
    let is_proxy = proxy && !name.eq_ignore_ascii_case(b"no_proxy");
    name.starts_with(b"LD_") || name.ends_with(b"_PRELOAD") || is_proxy || RISKY.contains(&name)
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
