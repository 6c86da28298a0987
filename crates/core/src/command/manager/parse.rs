//! Goes through a command line as its package manager does.

use super::{Action, MAX_ARGUMENTS, MAX_NAMES, MAX_NAME_LEN};
use crate::command::manager::names::reduce;
use crate::command::manager::table::{Command, Does, Effect, Kind, Lookup, Marks, Operands, Table, Verb};

/// The action of a command line, and the packages it names. `args` come after the program's own name.
pub(super) fn parse(table: &Table, args: &[&[u8]]) -> (Action, Vec<Box<str>>) {
    let cut = args.len() > MAX_ARGUMENTS;
    let args = args.get(..MAX_ARGUMENTS).unwrap_or(args);
    Scan {
        command: &table.command,
        lookup: &table.lookups().before,
        rest: args.iter(),
        names: Vec::new(),
        operands: 0,
        source: None,
        query: false,
        other: false,
        upgrade: false,
        marks: Marks::new(!args.is_empty()),
        unknown_option: false,
        cut,
    }
    .run(table)
}

struct Scan<'t, 'a> {
    command: &'t Command,
    lookup: &'t Lookup,
    rest: std::slice::Iter<'t, &'a [u8]>,
    names: Vec<Box<str>>,
    /// Operands that were looked at for a name.
    operands: usize,
    source: Option<Box<str>>,
    query: bool,
    other: bool,
    upgrade: bool,
    marks: Marks,
    /// The element before was an option that no table has, without a value: the next word may be its value.
    unknown_option: bool,
    /// There are more arguments than are looked at.
    cut: bool,
}

impl<'t, 'a> Scan<'t, 'a> {
    fn run(mut self, table: &'t Table) -> (Action, Vec<Box<str>>) {
        let (top, mut chosen): (&[Verb], Option<(Action, Operands)>) = match self.command.kind {
            Kind::Verbs(verbs) => (verbs, None),
            // Every word is a package.
            Kind::Marks(_) => (&[], Some((Action::Other, Operands::All))),
            Kind::Package => (&[], Some((Action::Other, Operands::Package))),
        };
        let mut level = top;
        let mut bare = if self.cut { Action::Other } else { self.command.bare };
        let mut skip = false;
        let mut options = true;
        let mut operands = 0;
        while let Some(arg) = self.rest.next() {
            if options && *arg == b"--" {
                if chosen.is_some() && self.command.dashes_end {
                    break;
                }
                options = false;
                continue;
            }
            if options && matches!(arg, [b'-', _, ..]) {
                self.option(arg);
                continue;
            }
            if std::mem::take(&mut skip) {
                continue;
            }
            let Some((_, how)) = chosen else {
                if is_selector(arg) {
                    continue;
                }
                let unknown_option = std::mem::take(&mut self.unknown_option);
                match level.iter().find(|(words, _)| has_word(words, arg)).map(|(_, does)| *does) {
                    Some(Does::Sub(verbs, without)) => (level, bare) = (verbs, without),
                    Some(Does::Skip) => (level, skip, bare) = (top, true, Action::Other),
                    Some(Does::Again) => (level, bare) = (top, Action::Query),
                    Some(Does::Act(action, how)) => chosen = Some((action, how)),
                    // A word after an option that is not known may be its value.
                    None if unknown_option && self.command.bare == Action::Query => {
                        bare = Action::Other;
                        continue;
                    }
                    None => chosen = Some((Action::Other, Operands::Ignored)),
                }
                self.lookup = &table.lookups().after;
                continue;
            };
            operands += 1;
            match how {
                Operands::Ignored => {}
                Operands::First if operands > 1 => {}
                Operands::All | Operands::First => self.name(arg),
                Operands::Program => break,
                Operands::Package => {
                    self.name(arg);
                    break;
                }
            }
        }
        self.finish(chosen.map_or(bare, |(action, _)| action))
    }

    fn finish(mut self, action: Action) -> (Action, Vec<Box<str>>) {
        self.marks.named = !self.names.is_empty();
        let action = match self.command.kind {
            Kind::Marks(decide) => decide(&self.marks),
            Kind::Verbs(_) | Kind::Package => action,
        };
        let action = match action {
            _ if self.query => Action::Query,
            Action::Install | Action::Upgrade | Action::Remove if self.other => Action::Other,
            Action::Install if self.upgrade => Action::Upgrade,
            other => other,
        };
        if self.marks.has(b"n") {
            self.names.clear();
        }
        if matches!(action, Action::Query | Action::Refresh) {
            return (action, Vec::new());
        }
        if self.names.is_empty() {
            self.names.extend(self.source.or_else(|| self.command.acts_on.map(Into::into)));
        }
        (action, self.names)
    }

    fn option(&mut self, arg: &'a [u8]) {
        self.unknown_option = false;
        if self.command.clusters && !arg.starts_with(b"--") {
            // Some programs spell long options with one dash (`yum -version`); none here that matters.
            return self.cluster(arg.get(1..).unwrap_or_default());
        }
        let equals = arg.iter().position(|b| *b == b'=');
        let word = equals.and_then(|at| arg.get(..at)).unwrap_or(arg);
        let value = equals.and_then(|at| arg.get(at + 1..));
        let effect = match self.command.clusters {
            true => self.lookup.long(word),
            // `--tags` is `-tags`, as Go's flag package has it.
            false => {
                self.lookup.long(word.strip_prefix(b"-").filter(|w| w.starts_with(b"-")).unwrap_or(word))
            }
        };
        self.unknown_option = effect.is_none() && value.is_none();
        self.apply(effect.unwrap_or(Effect::Flag), value);
    }

    fn cluster(&mut self, letters: &'a [u8]) {
        let mut rest = letters;
        while let Some((letter, after)) = rest.split_first() {
            rest = after;
            let effect = self.lookup.short(*letter);
            match effect {
                None if !letter.is_ascii_alphanumeric() => return,
                None => self.unknown_option = rest.is_empty(),
                Some(Effect::Arg | Effect::Operand | Effect::Source) => {
                    let value = (!rest.is_empty()).then(|| rest.strip_prefix(b"=").unwrap_or(rest));
                    return self.apply(effect.unwrap_or(Effect::Flag), value);
                }
                // `-s=no`
                Some(effect) if rest.starts_with(b"=") => return self.apply(effect, rest.get(1..)),
                Some(effect) => self.apply(effect, None),
            }
        }
    }

    fn apply(&mut self, effect: Effect, value: Option<&'a [u8]>) {
        // APT's way to take an option back: apt-get(8), OPTIONS.
        let no =
            value.is_some_and(|v| [&b"no"[..], b"false", b"0", b"off", b"without", b"disable"].contains(&v));
        match effect {
            Effect::Flag => {}
            Effect::Arg => drop(value.or_else(|| self.rest.next().copied())),
            Effect::Operand => {
                if let Some(value) = value.or_else(|| self.rest.next().copied()) {
                    self.name(value);
                }
            }
            Effect::Source => {
                let value = value.or_else(|| self.rest.next().copied());
                self.source =
                    value.and_then(|v| reduce(self.command.form, v)).map(text).filter(|n| !n.is_empty());
            }
            Effect::Query => self.query |= !no,
            Effect::Other => self.other |= !no,
            Effect::Upgrade => self.upgrade |= !no,
            Effect::Mark(mark) => self.marks.set(mark),
        }
    }

    fn name(&mut self, operand: &[u8]) {
        // Those that name nothing count, too: each costs a look.
        if self.operands < MAX_NAMES {
            self.operands += 1;
            self.names.extend(reduce(self.command.form, operand).map(text).filter(|n| !n.is_empty()));
        }
    }
}

/// Which version of itself, or of its toolchain, a program is to be: `cargo +nightly`, `bundle _2.3.1_`.
fn is_selector(arg: &[u8]) -> bool {
    arg.starts_with(b"+") || (arg.len() > 2 && arg.starts_with(b"_") && arg.ends_with(b"_"))
}

fn has_word(words: &str, word: &[u8]) -> bool {
    words.split_ascii_whitespace().any(|w| w.as_bytes() == word)
}

/// A name as text: bytes that are no UTF-8 become U+FFFD, and what is too long is cut.
pub(super) fn text(name: &[u8]) -> Box<str> {
    let cut = name.get(..MAX_NAME_LEN).unwrap_or(name);
    if let Some(plain) = std::str::from_utf8(cut).ok().filter(|text| !text.chars().any(char::is_control)) {
        return plain.into();
    }
    String::from_utf8_lossy(cut).chars().filter(|c| !c.is_control()).collect::<String>().into()
}
