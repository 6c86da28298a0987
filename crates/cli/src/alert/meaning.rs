//! What each rule means and what to do about it: the tables of the documentation, built in.

use std::sync::LazyLock;

/// The pages that have a table of rules: `rule (PRIORITY)`, what it means, what to do.
const PAGES: [&str; 2] =
    [include_str!("../../../../docs/rules.md"), include_str!("../../../../docs/source.md")];

/// What a rule means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meaning {
    rule: String,
    pub(crate) meaning: String,
    /// What to do; empty where the page has no such column.
    pub(crate) action: String,
}

static MEANINGS: LazyLock<Vec<Meaning>> =
    LazyLock::new(|| PAGES.iter().flat_map(|page| table(page)).collect());

fn table(page: &str) -> impl Iterator<Item = Meaning> + '_ {
    page.lines().filter_map(|line| {
        // A bar in a cell is escaped.
        let line = line.replace("\\|", "\u{1}");
        let mut cells = line.strip_prefix("| Drift ")?.split(" | ");
        let (rule, _) = cells.next()?.split_once(" (")?;
        let mut text = || Some(plain(cells.next()?.trim_end_matches(" |")));
        Some(Meaning { rule: format!("Drift {rule}"), meaning: text()?, action: text().unwrap_or_default() })
    })
}

/// Markdown as it is read on a terminal: links by their text.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        out.push_str(before);
        match link.split_once("](").and_then(|(name, to)| Some((name, to.split_once(')')?.1))) {
            Some((name, after)) => {
                out.push_str(name);
                rest = after;
            }
            None => {
                out.push('[');
                rest = link;
            }
        }
    }
    out.push_str(rest);
    out.replace('`', "").replace('\u{1}', "|")
}

/// What a rule of Drift means; `None` for another's.
pub(crate) fn of(rule: &str) -> Option<&'static Meaning> {
    MEANINGS.iter().find(|m| m.rule == rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_meaning() {
        let rules = [
            include_str!("../../../../rules/drift_rules.yaml"),
            include_str!("../../../../rules/drift_source_rules.yaml"),
        ];
        let names = rules.iter().flat_map(|r| r.lines()).filter_map(|l| l.strip_prefix("- rule: "));
        let names = names.map(|name| name.trim_matches('"'));
        let missing: Vec<_> = names.filter(|name| of(name).is_none_or(|m| m.meaning.is_empty())).collect();
        assert!(missing.is_empty(), "not in docs/rules.md or docs/source.md: {missing:?}");
    }

    #[test]
    fn cells_are_plain_text() {
        assert_eq!(plain("a [link](x.md#y), `code` [not"), "a link, code [not");
        let row = "| Drift x (INFO, off) | It `a \\| b`. | Do [that](x.md). |";
        let found = table(row).next().unwrap();
        assert_eq!((&*found.rule, &*found.meaning, &*found.action), ("Drift x", "It a | b.", "Do that."));
    }
}
