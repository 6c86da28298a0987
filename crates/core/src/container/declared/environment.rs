//! The environment that a container's processes are meant to have, and how another one differs from it.
//!
//! Invariant: declared values are kept as keyed hashes. A difference borrows the value from the environment
//! that was compared, for a verdict; names alone leave this crate.

use drift_formats::bytes::nul_separated;
use drift_formats::image_config::EnvVar;
use drift_formats::path_key::value_key;
use std::collections::HashMap;

/// Most variables that are kept or compared; what is beyond is not looked at.
const MAX_VARIABLES: usize = 4096;

/// Bytes of environment that an exec event can hold (`MAX_PROC_ARG_ENV` of libs' drivers), the last of them a
/// NUL. The last variable of a buffer that is this full is cut, and variables may be missing after it.
const EVENT_MAX: usize = 4096;

/// Variables that shells and runtimes set themselves. Of `HOME` the value is judged all the same.
const OWN: [&[u8]; 7] = [b"PWD", b"OLDPWD", b"SHLVL", b"_", b"HOME", b"TERM", b"HOSTNAME"];

/// The declared variables.
#[derive(Debug, Clone, Default)]
pub struct Environment(HashMap<Box<[u8]>, EnvVar>);

/// A variable that is not declared, or has another value than declared.
#[derive(Clone, Copy)]
pub struct Difference<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value. It may be a secret.
    pub value: &'a [u8],
    /// The declaration, where there is one.
    pub declared: Option<&'a EnvVar>,
    /// Shells and runtimes set it themselves.
    pub is_own: bool,
    /// The value may go on: the environment is cut here.
    pub is_cut: bool,
}

impl std::fmt::Debug for Difference<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=…", String::from_utf8_lossy(self.name))
    }
}

/// Whether an environment of an exec event is cut.
pub fn is_cut(of_event: &[u8]) -> bool {
    of_event.len() >= EVENT_MAX - 1
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

    /// Whether some declared variable has this value.
    pub(crate) fn has_value(&self, value: &[u8]) -> bool {
        self.0.values().any(|declared| declared.value_is(value))
    }

    /// How an environment differs from this one: `NAME=value` each ended by a NUL. What is missing in it is
    /// no difference. With `cut` the last variable may not be whole.
    pub fn differences<'a>(&'a self, actual: &'a [u8], cut: bool) -> impl Iterator<Item = Difference<'a>> {
        let mut variables = nul_separated(actual).take(MAX_VARIABLES).peekable();
        std::iter::from_fn(move || loop {
            let variable = variables.next()?;
            let is_cut = cut && variables.peek().is_none();
            let Some(at) = variable.iter().position(|b| *b == b'=').filter(|at| *at > 0) else { continue };
            let (name, value) = variable.split_at_checked(at)?;
            let value = value.get(1..)?;
            let declared = self.0.get(name);
            // The declared value may be what a cut one goes on to be.
            if declared.is_some_and(|declared| is_cut || declared.value_is(value)) {
                continue;
            }
            return Some(Difference { name, value, declared, is_own: OWN.contains(&name), is_cut });
        })
    }
}

/// The variables of an environment, each by one keyed hash of its name and value: to find out whether another
/// process has the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(Vec<u64>);

impl Variables {
    /// Those of an environment, `NAME=value` each ended by a NUL.
    pub fn of(environment: &[u8]) -> Self {
        Self(nul_separated(environment).take(MAX_VARIABLES).map(value_key).collect())
    }

    /// Adds a variable.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        if self.0.len() < MAX_VARIABLES {
            self.0.push(value_key(&[name, b"=", value].concat()));
        }
    }

    /// Adds all of others.
    pub fn extend(&mut self, others: &Self) {
        let room = MAX_VARIABLES.saturating_sub(self.0.len());
        self.0.extend(others.0.iter().take(room));
    }

    /// Whether this variable is among them.
    pub fn has(&self, name: &[u8], value: &[u8]) -> bool {
        !self.0.is_empty() && self.0.contains(&value_key(&[name, b"=", value].concat()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
