//! Which of the variables that differ from the declared ones are dangerous: make programs load or run other
//! code, or send their traffic elsewhere.
//!
//! The name says what a variable is for, the value whether it is dangerous: one that is empty, or that leads
//! to files and directories of the image alone, loads what the image would load anyway. Invariant: of a value
//! nothing goes into an answer.

mod kinds;
mod places;
mod values;

use crate::container::declared::environment::{Difference, Environment, Variables};
use kinds::kind_of;
pub use places::{Files, OfContainer, Place};

/// Most names in each list of an answer.
const MAX_NAMES: usize = 64;

/// Longest name in an answer, bytes; a longer one is cut.
const MAX_NAME: usize = 128;

/// Most variables of one environment whose values are judged by looking at files.
const MAX_JUDGED: usize = 256;

/// What stands for variables that could not be read.
pub const CUT: &[u8] = b"cut";

/// Bytes of undeclared variables from which on they are taken to hide those that are cut off: what is
/// declared may fill an event by itself, as the variables of a namespace's many services do.
pub const CUT_BYTES: usize = 512;

/// Names of the variables that differ from the declared ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvNames {
    /// Not declared.
    pub added: Vec<Box<[u8]>>,
    /// Declared with another value.
    pub changed: Vec<Box<[u8]>>,
    /// Of both, those that are dangerous.
    pub risky: Vec<Box<[u8]>>,
    /// The dangerous variables with their values, as hashes.
    pub found: Variables,
}

/// An environment to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// `NAME=value`, each ended by a NUL.
    pub environment: &'a [u8],
    /// The last variable may not be whole, and others may be missing.
    pub is_cut: bool,
    /// The working directory of the process, where it is known.
    pub cwd: Option<&'a [u8]>,
}

/// Judges an environment against the declared one. What is `known` already (the parent had it, or it was
/// reported) is no risk again.
pub fn judge(declared: &Environment, subject: Subject<'_>, known: &Variables, files: &dyn Files) -> EnvNames {
    let mut names = EnvNames::default();
    let mut judged = 0;
    for variable in declared.differences(subject.environment, subject.is_cut) {
        if variable.is_own && variable.name != b"HOME" {
            continue;
        }
        let is_new = judged < MAX_JUDGED && !known.has(variable.name, variable.value);
        let risky = is_new && is_risky(declared, &variable, subject.cwd, files);
        judged += usize::from(risky);
        if variable.is_own && !risky {
            continue;
        }
        let list = if variable.declared.is_some() { &mut names.changed } else { &mut names.added };
        push(list, variable.name);
        if risky {
            push(&mut names.risky, variable.name);
            names.found.add(variable.name, variable.value);
        }
    }
    names
}

/// Bytes of the variables that differ and are not `known`: what has taken the room of those that are cut off.
pub fn new_bytes(declared: &Environment, subject: Subject<'_>, known: &Variables) -> usize {
    let differences = declared.differences(subject.environment, subject.is_cut);
    let new = differences.filter(|v| !v.is_own && !known.has(v.name, v.value));
    new.map(|v| v.name.len() + v.value.len() + 2).sum()
}

fn is_risky(
    declared: &Environment,
    variable: &Difference<'_>,
    cwd: Option<&[u8]>,
    files: &dyn Files,
) -> bool {
    let kind = kind_of(variable.name);
    // A script may hand on what it was given under another name.
    if kind == kinds::Kind::Traffic && declared.has_value(variable.value) {
        return false;
    }
    values::Value { variable, cwd, files }.is_risky(kind)
}

fn push(names: &mut Vec<Box<[u8]>>, name: &[u8]) {
    let name = name.get(..MAX_NAME).unwrap_or(name);
    if names.len() < MAX_NAMES && !names.iter().any(|known| **known == *name) {
        names.push(name.into());
    }
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
