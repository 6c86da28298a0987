//! Resolves the macros and lists of one condition.
//!
//! A reader of libsinsp's filter grammar (userspace/libsinsp/filter/parser.h) that copies what it reads and puts in
//! the bodies of macros and lists where the grammar has an identifier or a list element. It does not judge
//! fields or values: libsinsp does when it gets the result.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail, Result};

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

/// `condition` with every macro replaced by its body in parentheses and every list element that names a list by
/// that list's items. `macros` holds resolved bodies.
///
/// # Errors
/// A syntax error or an unknown macro or list; the error names the token and where it stands.
pub fn resolve(
    condition: &str,
    macros: &BTreeMap<String, String>,
    lists: &BTreeMap<String, Vec<String>>,
) -> Result<String> {
    let mut reader = Reader { rest: condition, all: condition, macros, lists, out: String::new() };
    reader.expression(0)?;
    reader.blank();
    if !reader.rest.is_empty() {
        return Err(reader.expected("`and`, `or` or the end"));
    }
    Ok(reader.out)
}

struct Reader<'a> {
    rest: &'a str,
    all: &'a str,
    macros: &'a BTreeMap<String, String>,
    lists: &'a BTreeMap<String, Vec<String>>,
    out: String,
}

impl<'a> Reader<'a> {
    fn expression(&mut self, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            bail!("more than {MAX_DEPTH} parentheses inside each other");
        }
        loop {
            while self.keyword("not") {
                self.emit("not");
            }
            self.blank();
            if self.eat("(") {
                self.emit("(");
                self.expression(depth + 1)?;
                self.blank();
                if !self.eat(")") {
                    return Err(self.expected("`)`, `and` or `or`"));
                }
                self.emit(")");
            } else {
                self.check()?;
            }
            if self.keyword("and") {
                self.emit("and");
            } else if self.keyword("or") {
                self.emit("or");
            } else {
                return Ok(());
            }
        }
    }

    /// A field or transformer with its condition, or the name of a macro.
    fn check(&mut self) -> Result<()> {
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            self.rewind(name);
            return Err(self.expected("a field, a macro or `(`"));
        }
        if self.rest.starts_with('(') {
            let argument = self.balanced()?;
            self.emit(&format!("{name}{argument}"));
        } else if name.contains('.') {
            let argument = if self.rest.starts_with('[') { self.field_argument()? } else { "" };
            self.emit(&format!("{name}{argument}"));
        } else {
            let Some(body) = self.macros.get(name) else {
                self.rewind(name);
                return Err(anyhow!("unknown macro {name:?} at {}", self.place()));
            };
            self.emit("(");
            self.emit(body);
            self.emit(")");
            return Ok(());
        }
        self.operator_and_value()
    }

    fn operator_and_value(&mut self) -> Result<()> {
        self.blank();
        if let Some(symbol) = SYMBOL_OPERATORS.iter().find(|op| self.rest.starts_with(**op)) {
            self.eat(symbol);
            self.emit(symbol);
            return self.value();
        }
        let word = self.take_while(|c| c.is_ascii_alphabetic());
        match word {
            "exists" => {
                self.emit(word);
                return Ok(());
            }
            "pmatch" => {}
            _ if WORD_OPERATORS.contains(&word) => {}
            _ => {
                self.rewind(word);
                return Err(self.expected("an operator"));
            }
        }
        self.emit(word);
        let mut list = matches!(word, "in" | "intersects" | "pmatch");
        if let Some(modifier) = LIST_MODIFIERS.iter().find(|m| self.keyword(m)) {
            self.emit(modifier);
            list = true;
        }
        if list {
            self.list()
        } else {
            self.value()
        }
    }

    /// One value: quoted, bare, or a transformer of a field.
    fn value(&mut self) -> Result<()> {
        self.blank();
        if self.rest.starts_with('(') {
            return self.list();
        }
        let text = self.element()?;
        self.emit(&text);
        Ok(())
    }

    fn element(&mut self) -> Result<String> {
        self.blank();
        if self.rest.starts_with(['"', '\'']) {
            return Ok(self.quoted()?.to_owned());
        }
        let word = self.take_while(is_bare);
        if word.is_empty() {
            return Err(self.expected("a value"));
        }
        if self.rest.starts_with('(') {
            return Ok(format!("{word}{}", self.balanced()?));
        }
        Ok(word.to_owned())
    }

    /// `(a, b, some_list)`, or the bare name of a list.
    fn list(&mut self) -> Result<()> {
        self.blank();
        let mut values: Vec<String> = Vec::new();
        if !self.eat("(") {
            let before = self.rest;
            let name = self.element()?;
            if name.contains('(') {
                self.emit(&name); // `val(some.field)`
                return Ok(());
            }
            let Some(items) = self.lists.get(&name) else {
                self.rest = before;
                return Err(anyhow!("unknown list {name:?} at {}", self.place()));
            };
            values.extend(items.iter().map(|item| quote(item)));
        } else {
            self.blank();
            if !self.eat(")") {
                loop {
                    let value = self.element()?;
                    match self.lists.get(&value) {
                        Some(items) => values.extend(items.iter().map(|item| quote(item))),
                        None => values.push(value),
                    }
                    self.blank();
                    if self.eat(")") {
                        break;
                    }
                    if !self.eat(",") {
                        return Err(self.expected("`,` or `)`"));
                    }
                }
            }
        }
        self.emit(&format!("({})", values.join(", ")));
        Ok(())
    }

    /// The text from `(` to its `)`, quotes respected.
    fn balanced(&mut self) -> Result<&'a str> {
        let start = self.rest;
        let mut open = 0usize;
        loop {
            if self.rest.starts_with(['"', '\'']) {
                self.quoted()?;
                continue;
            }
            let Some(c) = self.rest.chars().next() else {
                self.rest = start;
                return Err(anyhow!("`(` without its `)` at {}", self.place()));
            };
            self.skip(c.len_utf8());
            match c {
                '(' => open += 1,
                ')' => open -= 1,
                _ => {}
            }
            if open == 0 {
                return Ok(taken(start, self.rest));
            }
        }
    }

    /// `[argument]` after a field: quoted or bare.
    fn field_argument(&mut self) -> Result<&'a str> {
        let start = self.rest;
        self.skip(1);
        if self.rest.starts_with(['"', '\'']) {
            self.quoted()?;
        } else {
            self.take_while(|c| !c.is_whitespace() && !matches!(c, '[' | ']' | '"' | '\''));
        }
        if !self.eat("]") {
            return Err(self.expected("`]`"));
        }
        Ok(taken(start, self.rest))
    }

    /// A quoted text with its quotes. A backslash keeps the quote after it from closing.
    fn quoted(&mut self) -> Result<&'a str> {
        let start = self.rest;
        let mut chars = start.char_indices();
        let Some((_, quote)) = chars.next() else { return Err(self.expected("a quote")) };
        let mut previous = quote;
        for (at, c) in chars {
            if c == quote && previous != '\\' {
                self.skip(at + c.len_utf8());
                return Ok(taken(start, self.rest));
            }
            previous = c;
        }
        Err(anyhow!("the quote that opens at {} is not closed", self.place()))
    }

    /// Reads `word` when it stands there as a whole word, followed by a blank or `(`.
    fn keyword(&mut self, word: &str) -> bool {
        self.blank();
        let Some(after) = self.rest.strip_prefix(word) else { return false };
        let whole = after.starts_with(|c: char| c.is_whitespace() || c == '(');
        if whole {
            self.rest = after;
        }
        whole
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let start = self.rest;
        self.rest = start.trim_start_matches(keep);
        taken(start, self.rest)
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

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or("");
    }

    /// Goes back by a text that was just read, so that an error shows it.
    fn rewind(&mut self, text: &str) {
        let at = self.all.len() - self.rest.len() - text.len();
        self.rest = self.all.get(at..).unwrap_or(self.rest);
    }

    fn emit(&mut self, text: &str) {
        let tight = self.out.is_empty() || self.out.ends_with('(') || text == ")";
        if !tight {
            self.out.push(' ');
        }
        self.out.push_str(text);
    }

    fn expected(&self, what: &str) -> anyhow::Error {
        let found = self.rest.split_whitespace().next().unwrap_or("the end");
        anyhow!("{what} is expected at {}, not {found:?}", self.place())
    }

    fn place(&self) -> String {
        let read = self.all.len() - self.rest.len();
        let before = self.all.get(..read).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        format!("line {line}, column {column} of the condition")
    }
}

fn taken<'a>(start: &'a str, rest: &str) -> &'a str {
    start.get(..start.len() - rest.len()).unwrap_or("")
}

fn is_bare(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '(' | ')' | '"' | '\'' | '=' | ',')
}

/// A list item as a list element: as it is when it is bare or already quoted, else in quotes.
pub fn quote(item: &str) -> String {
    let quoted = |q: char| item.len() > 1 && item.starts_with(q) && item.ends_with(q);
    if quoted('"') || quoted('\'') || (!item.is_empty() && item.chars().all(is_bare)) {
        item.to_owned()
    } else if item.contains('"') && !item.contains('\'') {
        format!("'{item}'")
    } else {
        format!("\"{}\"", item.replace('"', "\\\""))
    }
}
