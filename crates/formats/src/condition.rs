//! The condition of a rule, in pieces: for what looks rules over (`drift lint`), and for what resolves their
//! macros and lists (the testkit).
//!
//! A reader of libsinsp's filter grammar (userspace/libsinsp/filter/parser.h). It does not judge fields or
//! values: libsinsp does.

/// Nesting of parentheses beyond which a condition is refused.
const MAX_DEPTH: usize = 200;

const WORD_OPERATORS: [&str; 13] = [
    "contains",
    "icontains",
    "bcontains",
    "startswith",
    "istartswith",
    "bstartswith",
    "endswith",
    "iendswith",
    "glob",
    "iglob",
    "regex",
    "in",
    "intersects",
];
const SYMBOL_OPERATORS: [&str; 7] = ["==", "=", "!=", "<=", "<", ">=", ">"];
const LIST_MODIFIERS: [&str; 3] = ["oneof", "allof", "anyof"];

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `and`, `or` or `not`.
    Connective,
    /// `(` before conditions.
    Open,
    /// `)` after conditions.
    Close,
    /// `proc.name`, with its argument in brackets if it has one; or a transformed one, `toupper(proc.name)`.
    Field,
    /// A name without a dot where a condition may stand.
    Macro,
    /// An operator, `exists` included, or what stands between it and its list: `oneof` and the like.
    Operator,
    /// A value: quoted, bare, or another field as `val(proc.pname)`.
    Value,
    /// `(` before the values of a list.
    ListOpen,
    /// One of them; it may be the name of a list.
    Item,
    /// `)` after them.
    ListClose,
    /// The name of a list, in the place of one.
    List,
}

/// A piece of a condition, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its text, a part of the condition.
    pub text: &'a str,
    /// Where it stands, in bytes.
    pub at: usize,
}

impl<'a> Piece<'a> {
    /// The field that a [`Kind::Field`], or a value such as `val(proc.pname)`, asks for, without its
    /// transformers.
    pub fn field(&self) -> Option<&'a str> {
        let is_value = matches!(self.kind, Kind::Value | Kind::Item | Kind::List);
        let mut inner = self.text;
        // A parenthesis in a field's argument is none of a transformer.
        while let Some((_, rest)) = inner.split_once('(').filter(|(name, _)| !name.contains(['[', '"', '\'']))
        {
            inner = rest.strip_suffix(')')?.trim();
        }
        let name = inner.split('[').next().unwrap_or_default();
        let is_name = name.contains('.') && name.chars().all(is_of_name);
        (is_name && (self.kind == Kind::Field || is_value && inner.len() < self.text.len())).then_some(inner)
    }

    /// Whether it is in quotes: then it is no name of a list.
    pub fn is_quoted(&self) -> bool {
        self.text.starts_with(['"', '\''])
    }
}

/// Why a condition cannot be read: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(String);

/// The pieces of a condition, in order.
///
/// # Errors
/// It is none.
pub fn read(condition: &str) -> Result<Vec<Piece<'_>>, SyntaxError> {
    let mut reader = Reader::new(condition);
    match reader.whole() {
        Ok(()) => Ok(reader.pieces),
        Err(wrong) => Err(reader.error(&wrong)),
    }
}

/// The same of a text that need not be a condition: what cannot be read is passed over, and what follows a
/// quote or a transformer's parenthesis that has no end.
pub fn read_what_can_be(condition: &str) -> Vec<Piece<'_>> {
    let mut reader = Reader::new(condition);
    loop {
        let before = reader.rest.len();
        match reader.whole() {
            Ok(()) | Err(Wrong::Quote | Wrong::Parenthesis) => break,
            Err(Wrong::Expected(_) | Wrong::Depth) => {}
        }
        // A condition may come next, behind what was begun before.
        while reader.keyword("and") || reader.keyword("or") || reader.eat(")") {}
        reader.blank();
        if reader.rest.is_empty() {
            break;
        }
        // Each round gets on, so that there is an end.
        if reader.rest.len() == before && reader.take_while(|c| c.is_ascii_alphanumeric()).is_empty() {
            reader.skip_char();
        }
    }
    reader.pieces
}

/// In words where a piece stands: `line 1, column 5 of the condition`.
pub fn place(condition: &str, at: usize) -> String {
    let before = condition.get(..at).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    format!("line {line}, column {column} of the condition")
}

/// Whether a value can have this character without being quoted.
pub fn is_bare(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '(' | ')' | '"' | '\'' | '=' | ',')
}

/// Whether a name of a field or macro can have this character.
fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

/// What is wrong where a reader stands.
#[derive(Debug)]
enum Wrong {
    /// Something else than this stands there.
    Expected(&'static str),
    /// A quote that is not closed.
    Quote,
    /// A transformer's parenthesis that is not closed.
    Parenthesis,
    /// Parentheses within too many others.
    Depth,
}

struct Reader<'a> {
    /// What was not read yet.
    rest: &'a str,
    all: &'a str,
    pieces: Vec<Piece<'a>>,
}

impl<'a> Reader<'a> {
    fn new(condition: &'a str) -> Self {
        Self { rest: condition, all: condition, pieces: Vec::new() }
    }

    fn error(&self, wrong: &Wrong) -> SyntaxError {
        let place = place(self.all, self.all.len() - self.rest.len());
        SyntaxError(match wrong {
            Wrong::Expected(what) => {
                let found = self.rest.split_whitespace().next().unwrap_or("the end");
                format!("{what} is expected at {place}, not {found:?}")
            }
            Wrong::Quote => format!("the quote that opens at {place} is not closed"),
            Wrong::Parenthesis => format!("`(` without its `)` at {place}"),
            Wrong::Depth => format!("more than {MAX_DEPTH} parentheses inside each other"),
        })
    }

    /// All that is left.
    fn whole(&mut self) -> Result<(), Wrong> {
        self.expression(0)?;
        self.blank();
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Wrong::Expected("`and`, `or` or the end"))
        }
    }

    fn expression(&mut self, depth: usize) -> Result<(), Wrong> {
        if depth > MAX_DEPTH {
            return Err(Wrong::Depth);
        }
        loop {
            while self.keyword("not") {}
            self.blank();
            if self.piece(Kind::Open, "(") {
                self.expression(depth + 1)?;
                self.blank();
                if !self.piece(Kind::Close, ")") {
                    return Err(Wrong::Expected("`)`, `and` or `or`"));
                }
            } else {
                self.check()?;
            }
            if !self.keyword("and") && !self.keyword("or") {
                return Ok(());
            }
        }
    }

    /// A field or transformer with its condition, or the name of a macro.
    fn check(&mut self) -> Result<(), Wrong> {
        let start = self.rest;
        let name = self.take_while(is_of_name);
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            self.rest = start;
            return Err(Wrong::Expected("a field, a macro or `(`"));
        }
        if self.rest.starts_with('(') {
            self.balanced()?;
        } else if !name.contains('.') {
            self.add(Kind::Macro, start);
            return Ok(());
        } else if self.rest.starts_with('[') {
            self.field_argument()?;
        }
        self.add(Kind::Field, start);
        self.operator_and_value()
    }

    fn operator_and_value(&mut self) -> Result<(), Wrong> {
        self.blank();
        if SYMBOL_OPERATORS.iter().any(|symbol| self.piece(Kind::Operator, symbol)) {
            return self.value();
        }
        let start = self.rest;
        let word = self.take_while(|c| c.is_ascii_alphabetic());
        if !WORD_OPERATORS.contains(&word) && !matches!(word, "exists" | "pmatch") {
            self.rest = start;
            return Err(Wrong::Expected("an operator"));
        }
        self.add(Kind::Operator, start);
        if word == "exists" {
            return Ok(());
        }
        let modified = LIST_MODIFIERS.iter().any(|modifier| self.word(Kind::Operator, modifier));
        if modified || matches!(word, "in" | "intersects" | "pmatch") {
            self.list()
        } else {
            self.value()
        }
    }

    /// One value: quoted, bare, or a transformer of a field.
    fn value(&mut self) -> Result<(), Wrong> {
        self.blank();
        if self.rest.starts_with('(') {
            return self.list();
        }
        self.element(Kind::Value)
    }

    fn element(&mut self, kind: Kind) -> Result<(), Wrong> {
        self.blank();
        let start = self.rest;
        if self.rest.starts_with(['"', '\'']) {
            self.quoted()?;
        } else {
            if self.take_while(is_bare).is_empty() {
                return Err(Wrong::Expected("a value"));
            }
            if self.rest.starts_with('(') {
                self.balanced()?;
            }
        }
        self.add(kind, start);
        Ok(())
    }

    /// `(a, b, some_list)`, or the bare name of a list.
    fn list(&mut self) -> Result<(), Wrong> {
        self.blank();
        if !self.piece(Kind::ListOpen, "(") {
            return self.element(Kind::List);
        }
        self.blank();
        if self.piece(Kind::ListClose, ")") {
            return Ok(());
        }
        loop {
            self.element(Kind::Item)?;
            self.blank();
            if self.piece(Kind::ListClose, ")") {
                return Ok(());
            }
            if !self.eat(",") {
                return Err(Wrong::Expected("`,` or `)`"));
            }
        }
    }

    /// The text from `(` to its `)`, quotes respected.
    fn balanced(&mut self) -> Result<(), Wrong> {
        let start = self.rest;
        let mut open = 0usize;
        loop {
            if self.rest.starts_with(['"', '\'']) {
                self.quoted()?;
                continue;
            }
            match self.skip_char() {
                Some('(') => open += 1,
                Some(')') => open = open.saturating_sub(1),
                Some(_) => {}
                None => {
                    self.rest = start;
                    return Err(Wrong::Parenthesis);
                }
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    /// `[argument]` after a field: quoted or bare.
    fn field_argument(&mut self) -> Result<(), Wrong> {
        self.skip_char();
        if self.rest.starts_with(['"', '\'']) {
            self.quoted()?;
        } else {
            self.take_while(|c| !matches!(c, '[' | ']' | '"' | '\''));
        }
        if self.eat("]") {
            Ok(())
        } else {
            Err(Wrong::Expected("`]`"))
        }
    }

    /// A quoted text with its quotes. A backslash keeps the quote after it from closing.
    fn quoted(&mut self) -> Result<(), Wrong> {
        let start = self.rest;
        let quote = self.skip_char();
        let mut previous = quote;
        while let Some(c) = self.skip_char() {
            if Some(c) == quote && previous != Some('\\') {
                return Ok(());
            }
            previous = Some(c);
        }
        self.rest = start;
        Err(Wrong::Quote)
    }

    /// Reads `and`, `or` or `not`.
    fn keyword(&mut self, word: &str) -> bool {
        self.word(Kind::Connective, word)
    }

    /// Reads `word` when it stands there as a whole word, followed by a blank or `(`.
    fn word(&mut self, kind: Kind, word: &str) -> bool {
        self.blank();
        let Some(after) = self.rest.strip_prefix(word) else { return false };
        let is_whole = after.starts_with(|c: char| c.is_whitespace() || c == '(');
        is_whole && self.piece(kind, word)
    }

    /// Reads this very text.
    fn piece(&mut self, kind: Kind, text: &str) -> bool {
        let start = self.rest;
        let is_there = self.eat(text);
        if is_there {
            self.add(kind, start);
        }
        is_there
    }

    /// What was read since `start` is a piece.
    fn add(&mut self, kind: Kind, start: &'a str) {
        let text = start.get(..start.len() - self.rest.len()).unwrap_or("");
        self.pieces.push(Piece { kind, text, at: self.all.len() - start.len() });
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let start = self.rest;
        self.rest = start.trim_start_matches(keep);
        start.get(..start.len() - self.rest.len()).unwrap_or("")
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_char(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }
}

#[cfg(test)]
#[path = "condition_tests.rs"]
mod tests;
