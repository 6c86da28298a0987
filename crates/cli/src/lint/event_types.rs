//! Which events the engine shows to a rule: those whose types its condition names.
//!
//! Falco keeps its rules by event type, found out from the whole condition wherever it names them: `and`
//! narrows, `or` widens, `not` is taken for all (falcosecurity/libs
//! `userspace/libsinsp/filter/ppm_codes.cpp`). A rule without a type is evaluated on every event. Where in a
//! condition the type stands decides nothing but what is evaluated first.

use super::pack::{Item, Kind as ItemKind, Pack};
use drift_formats::condition::{read_what_can_be, Kind, Piece};

/// Most macros within macros that are followed.
const MAX_DEPTH: usize = 64;

/// Whether a rule's condition names the types of its events on every way through it.
pub(crate) fn are_named(pack: &Pack<'_>, rule: &Item<'_>) -> bool {
    let condition = rule.node.get("condition").and_then(|c| c.text()).unwrap_or_default();
    of_condition(pack, condition, MAX_DEPTH)
}

fn of_condition(pack: &Pack<'_>, condition: &str, depth: usize) -> bool {
    let pieces = read_what_can_be(condition);
    let mut reader = Reader { pack, rest: &pieces, depth };
    reader.any_of()
}

struct Reader<'p, 'a> {
    pack: &'p Pack<'p>,
    rest: &'p [Piece<'a>],
    depth: usize,
}

impl<'a> Reader<'_, 'a> {
    fn next_if(&mut self, is: impl Fn(&Piece<'a>) -> bool) -> Option<Piece<'a>> {
        let (first, rest) = self.rest.split_first()?;
        let found = is(first).then_some(*first);
        if found.is_some() {
            self.rest = rest;
        }
        found
    }

    fn connective(&mut self, word: &str) -> bool {
        self.next_if(|p| p.kind == Kind::Connective && p.text.eq_ignore_ascii_case(word)).is_some()
    }

    fn any_of(&mut self) -> bool {
        let mut named = self.all_of();
        while self.connective("or") {
            named &= self.all_of();
        }
        named
    }

    fn all_of(&mut self) -> bool {
        let mut named = self.one();
        while self.connective("and") {
            named |= self.one();
        }
        named
    }

    fn one(&mut self) -> bool {
        if self.connective("not") {
            self.one();
            return false;
        }
        if self.next_if(|p| p.kind == Kind::Open).is_some() {
            let named = self.any_of();
            self.next_if(|p| p.kind == Kind::Close);
            return named;
        }
        if let Some(name) = self.next_if(|p| p.kind == Kind::Macro) {
            let Some(depth) = self.depth.checked_sub(1) else { return false };
            let found = self.pack.find(ItemKind::Macro, name.text);
            let condition = found.and_then(|found| found.node.get("condition")?.text());
            return condition.is_some_and(|condition| of_condition(self.pack, condition, depth));
        }
        let field = self.next_if(|p| p.kind == Kind::Field);
        let operator = self.next_if(|p| p.kind == Kind::Operator);
        // The rest of the comparison.
        while self
            .next_if(|p| {
                matches!(
                    p.kind,
                    Kind::Operator | Kind::Value | Kind::ListOpen | Kind::Item | Kind::ListClose | Kind::List
                )
            })
            .is_some()
        {}
        // What belongs to no condition is passed over, so that there is an end.
        if field.is_none() && operator.is_none() {
            self.next_if(|p| !matches!(p.kind, Kind::Connective | Kind::Close));
        }
        field.is_some_and(|f| f.text == "evt.type")
            && operator.is_some_and(|o| matches!(o.text, "=" | "==" | "in"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    #[test]
    fn types_count_wherever_they_are_named() {
        let rows = [
            ("evt.type = open and fd.num >= 0", true),
            ("evt.is_open_write = true and evt.type in (open, openat)", true),
            ("(evt.is_open_write = true and evt.type in (open, openat)) or evt.type = creat", true),
            ("evt.type = open or proc.name = sh", false),
            ("evt.type != open", false),
            ("not evt.type = open", false),
            ("not (evt.type = open) and evt.type = creat", true),
            ("evt.type = open and (proc.name = sh or proc.name = dash)", true),
            ("opens and proc.name = sh", true),
            ("proc.name = sh and opens", true),
            ("proc.name = sh or opens", false),
            ("nothing and proc.name = sh", false),
            ("evt.type exists", false),
            ("proc.name = sh", false),
            ("", false),
        ];
        for (condition, want) in rows {
            let text = format!(
                "- macro: opens\n  condition: (evt.type in (open, openat))\n- rule: r\n  condition: >\n    {condition}\n"
            );
            let document = yaml::parse(&text).unwrap();
            let pack = Pack::new(&document, &[]);
            let rule = pack.items.iter().find(|i| i.kind == ItemKind::Rule).unwrap();
            assert_eq!(are_named(&pack, rule), want, "{condition}");
        }
    }
}
