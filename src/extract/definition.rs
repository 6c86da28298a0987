//! What the definition of a field is made of.

use super::value::Value;
use crate::engine::Query;
use bumpalo::Bump;

/// Type of a field, as the engine names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    String,
    /// Yes or no.
    Bool,
    /// A number.
    Uint64,
    /// A duration in nanoseconds.
    Reltime,
}

impl FieldType {
    /// The engine's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bool => "bool",
            Self::Uint64 => "uint64",
            Self::Reltime => "reltime",
        }
    }
}

/// Whether a field takes an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// None.
    None,
    /// A key in brackets, which may be left out.
    OptionalKey,
    /// A key in brackets.
    Key,
}

/// The event source that a field is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `syscall`.
    Syscall,
    /// Drift's own, `drift`.
    Drift,
    /// Both of them: on events of `drift` it is the payload's key of that name.
    Both,
}

/// The definition of one field.
#[derive(Clone, Copy)]
pub struct FieldDef {
    /// Full name, `drift.` included.
    pub name: &'static str,
    /// Type of its value, or of each value of a list.
    pub field_type: FieldType,
    /// Whether it gives a list.
    pub is_list: bool,
    /// Its argument.
    pub argument: Argument,
    /// The event source it is for; on events of another it is absent.
    pub source: Source,
    /// What it means.
    pub description: &'static str,
    /// Answers it.
    pub answer: for<'a> fn(&mut Question<'_, 'a>) -> Value<'a>,
}

impl std::fmt::Debug for FieldDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// One question: a field on an event.
pub struct Question<'q, 'a> {
    /// Who knows.
    pub engine: Query<'q>,
    /// The field's argument.
    pub argument: Option<&'q [u8]>,
    /// Where values live until the engine has read them.
    pub arena: &'a Bump,
}

impl std::fmt::Debug for Question<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").field("event", self.engine.event()).finish_non_exhaustive()
    }
}

/// A field of system calls, with one value and no argument.
pub(super) const fn field(
    name: &'static str,
    field_type: FieldType,
    description: &'static str,
    answer: for<'a> fn(&mut Question<'_, 'a>) -> Value<'a>,
) -> FieldDef {
    let (is_list, argument, source) = (false, Argument::None, Source::Syscall);
    FieldDef { name, field_type, is_list, argument, source, description, answer }
}
