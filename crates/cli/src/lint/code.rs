//! What can be wrong with a rules file.

/// A kind of problem; its name is printed and stays the same from version to version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The file is no YAML of one document.
    Yaml,
    /// An item is no rule, macro, list or required version, or lacks what it must have.
    Item,
    /// A name does not begin as all of them should.
    Name,
    /// A rule's keys come in another order than in Falco's own rules.
    Order,
    /// The file does not say which engine or plugin it needs.
    Required,
    /// A macro that is not there, or comes later than the macro that uses it.
    Unknown,
    /// A list or macro that nobody uses.
    Unused,
    /// A field that drift does not have, or that needs a plugin which the file does not require.
    Field,
    /// A rule on system calls does not begin with the type of event.
    EventType,
    /// A description does not end by telling how to tune the rule.
    Tuning,
    /// A list or macro for exceptions that is not empty.
    Exception,
    /// An output that is not `Sentence | key=%field ...`.
    Output,
    /// No priority of Falco's, in capitals.
    Priority,
    /// Tags that are not known, or not in order.
    Tags,
    /// A rule without a case in which it alerts, or without one in which it does not.
    Cases,
}

impl Code {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Item => "item",
            Self::Name => "name",
            Self::Order => "order",
            Self::Required => "required",
            Self::Unknown => "unknown",
            Self::Unused => "unused",
            Self::Field => "field",
            Self::EventType => "event-type",
            Self::Tuning => "tuning",
            Self::Exception => "exception",
            Self::Output => "output",
            Self::Priority => "priority",
            Self::Tags => "tags",
            Self::Cases => "cases",
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub line: usize,
    pub code: Code,
    pub text: String,
}

impl Problem {
    pub fn new(line: usize, code: Code, text: impl Into<String>) -> Self {
        Self { line, code, text: text.into() }
    }
}
