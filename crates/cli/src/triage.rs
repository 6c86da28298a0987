//! `drift triage`: thousands of alerts as groups, and the fewest exceptions that would hide what is expected.
//!
//! Invariant: bounded memory, whatever the file holds: groups beyond [`MAX_GROUPS`] are counted as one.

use crate::alert::exception::{refusal, repository, yaml, Row};
use crate::alert::{self, Alert, Thing};
use crate::arguments::Triage;
use crate::json;
use crate::output::printable;
use crate::style::{self, cell, paint, BAD, DIM, GOOD, HEAD, WARN};
use anyhow::{bail, Context, Result};
use drift_core::policy::sensitive::{is_of_programs, is_sensitive};
use drift_formats::entry::ImagePath;
use serde_json::{json, Value};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;

/// Most groups that are kept.
const MAX_GROUPS: usize = 100_000;
/// Most groups that are printed of each list.
const MAX_ROWS: usize = 25;
/// So many things of one directory are taken together.
const MANY: usize = 3;
/// Longest cell, characters.
const MAX_CELL: usize = 48;

/// What alerts of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    rule: String,
    workload: String,
    image: String,
    thing: Option<(&'static str, String, bool)>,
}

/// Alerts that say the same.
#[derive(Debug)]
struct Group {
    key: Key,
    priority: String,
    count: u64,
    first: String,
    last: String,
    /// Why none of it should be hidden.
    refusal: Option<&'static str>,
}

/// All alerts of a file.
#[derive(Debug, Default)]
struct Groups {
    by_key: HashMap<Key, Group>,
    alerts: u64,
    /// Alerts of groups that were too many.
    beyond: u64,
    /// Alerts of other rules than Drift's.
    others: u64,
}

/// An exception: what it is for, and what it would hide.
#[derive(Debug)]
struct Proposal {
    rule: String,
    /// Of the most severe alert.
    priority: String,
    row: Row,
    alerts: u64,
    things: usize,
}

impl Groups {
    fn add(&mut self, alert: &Alert) {
        self.alerts += 1;
        if !alert.is_drifts() {
            self.others += 1;
            return;
        }
        let image = alert.image().unwrap_or_default();
        let key = Key {
            rule: alert.rule.clone(),
            workload: alert.workload().unwrap_or_default(),
            thing: alert.thing().map(|t| (t.field, t.value, t.is_list)),
            image,
        };
        if let Some(known) = self.by_key.get_mut(&key) {
            known.count += 1;
            // The smallest and the largest: files of several nodes are not in order.
            known.first = known.first.clone().min(alert.time.clone());
            known.last = known.last.clone().max(alert.time.clone());
            return;
        }
        if self.by_key.len() >= MAX_GROUPS {
            self.beyond += 1;
            return;
        }
        let group = Group {
            priority: alert.priority.clone(),
            count: 1,
            first: alert.time.clone(),
            last: alert.time.clone(),
            refusal: refusal(alert),
            key: key.clone(),
        };
        self.by_key.insert(key, group);
    }

    /// Those that matter most first, then those with the most alerts.
    fn sorted(&self) -> Vec<&Group> {
        let mut all: Vec<&Group> = self.by_key.values().collect();
        all.sort_by_key(|g| {
            (severity(&g.priority), Reverse(g.count), &g.key.rule, &g.key.image, &g.key.thing)
        });
        all
    }
}

/// As Falco orders its priorities.
fn severity(priority: &str) -> usize {
    const ORDER: [&str; 8] =
        ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"];
    let lower = priority.to_ascii_lowercase();
    ORDER.iter().position(|p| p.starts_with(&lower)).unwrap_or(ORDER.len())
}

/// Rule, repository of the image, and field that names the thing.
type Place<'g> = (&'g str, String, &'static str);

/// Each thing, whether it is a list, and what is known of its alerts: how many, and the most severe priority.
type Things<'g> = BTreeMap<(&'g str, bool), (u64, Reverse<usize>, &'g str)>;

/// The fewest exceptions that hide every group that one may hide, none of them wider than a directory of one
/// image in one rule.
fn propose(groups: &Groups) -> Vec<Proposal> {
    let mut by_directory: BTreeMap<Place<'_>, Things<'_>> = BTreeMap::new();
    for group in groups.by_key.values().filter(|g| g.refusal.is_none()) {
        let Some((field, value, is_list)) = &group.key.thing else { continue };
        let things = by_directory.entry((&group.key.rule, repository(&group.key.image), field)).or_default();
        let worst = (Reverse(severity(&group.priority)), group.priority.as_str());
        let known = things.entry((value, *is_list)).or_insert((0, worst.0, worst.1));
        known.0 += group.count;
        (known.1, known.2) = worst.max((known.1, known.2));
    }
    let mut proposals = Vec::new();
    for ((rule, image, field), mut things) in by_directory {
        let any_version = image.ends_with([':', '@']);
        let mut add = |value: String, is_list, is_directory, of: &Things<'_>| {
            let thing = Thing { field, value, is_list };
            let row = Row { image: image.clone(), any_version, thing, is_directory };
            let alerts = of.values().map(|(alerts, ..)| alerts).sum();
            let worst = of.values().map(|(_, rank, name)| (rank, *name)).max();
            let priority = worst.map_or("", |(_, name)| name).to_owned();
            proposals.push(Proposal { rule: rule.to_owned(), priority, row, alerts, things: of.len() });
        };
        while let Some(directory) = field.ends_with("path").then(|| common(&things)).flatten() {
            let (within, outside): (Things<'_>, Things<'_>) =
                things.into_iter().partition(|((value, _), _)| value.starts_with(&directory));
            add(directory, false, true, &within);
            things = outside;
        }
        for (key, of) in things {
            add(key.0.to_owned(), key.1, false, &BTreeMap::from([(key, of)]));
        }
    }
    proposals.sort_by(|a, b| (Reverse(a.alerts), &a.rule, &a.row).cmp(&(Reverse(b.alerts), &b.rule, &b.row)));
    proposals
}

/// The directory, with a slash at its end, that holds most of these: so many that it is worth an exception,
/// and none where programs or configuration are looked up.
fn common(things: &Things<'_>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, _) in things.keys() {
        for (end, _) in path.match_indices('/').filter(|(end, _)| *end > 0) {
            *counts.entry(path.get(..=end)?).or_default() += 1;
        }
    }
    let is_sensitive = |path: String| {
        ImagePath::from_archive(path.as_bytes()).map_or(true, |p| is_sensitive(&p) || is_of_programs(&p))
    };
    let may = |directory: &&str| {
        // Of `/var/`, `/var/lib/` and the like too much would be hidden.
        let is_systems = ["/usr/", "/var/", "/home/", "/root/"].iter().any(|top| directory.starts_with(top));
        let deep = directory.matches('/').count() > if is_systems { 3 } else { 2 };
        let inside =
            ["", "bin/x", "sbin/x", "lib/x"].iter().any(|name| is_sensitive(format!("{directory}{name}")));
        deep && !inside
    };
    let worth = counts.into_iter().filter(|(directory, n)| *n >= MANY && may(directory));
    // Of directories that hold as many the deepest.
    worth.max_by_key(|(directory, n)| (*n, directory.len())).map(|(directory, _)| directory.to_owned())
}

/// Groups the alerts of all files; `true` where some should be looked at, whatever is excepted.
pub(crate) fn run(options: &Triage) -> Result<bool> {
    let mut groups = Groups::default();
    let mut invalid = 0;
    let progress = style::progress("reading alerts");
    for file in &options.alerts {
        invalid += alert::read(file, &mut |alert| {
            groups.add(&alert);
            progress.inc(1);
        })?;
    }
    progress.finish_and_clear();
    if groups.alerts == 0 {
        bail!("no alert found; expected Falco's JSON (`json_output: true`), an alert a line");
    }
    let proposals = propose(&groups);
    if let Some(path) = &options.exceptions {
        let written =
            std::fs::File::create_new(path).and_then(|mut f| f.write_all(rules(&proposals).as_bytes()));
        written.with_context(|| format!("writing {}", path.display()))?;
    }
    match options.format.is_json() {
        true => json::write(&value(&groups, &proposals, invalid))?,
        false => {
            let mut out = anstream::stdout().lock();
            write!(out, "{}", text(&groups, &proposals, invalid))?;
        }
    }
    Ok(groups.by_key.values().any(|g| g.refusal.is_some()))
}

/// The proposals as a rules file.
fn rules(proposals: &[Proposal]) -> String {
    yaml(proposals.iter().map(|p| {
        let what = match p.things {
            1 => String::new(),
            things => format!(", {things} things, and whatever else is below"),
        };
        (p.rule.as_str(), &p.row, format!("would have hidden {} alerts{what}", p.alerts))
    }))
}

fn shown(text: &str) -> String {
    let text = printable(text.as_bytes());
    let skip = text.chars().count().saturating_sub(MAX_CELL);
    // The end of a path says more than its beginning.
    if skip > 0 {
        format!("..{}", text.chars().skip(skip + 2).collect::<String>())
    } else {
        text
    }
}

/// The style of a priority.
fn style_of(priority: &str) -> anstyle::Style {
    match severity(priority) {
        0..=3 => BAD,
        4 => WARN,
        _ => DIM,
    }
}

fn short_rule(rule: &str) -> String {
    shown(rule.strip_prefix("Drift ").unwrap_or(rule))
}

fn or_none(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        shown(text)
    }
}

/// The groups that should be looked at, each with the reason.
fn refused(groups: &[&Group]) -> String {
    let mut table = style::table(&["COUNT", "PRIORITY", "RULE", "WHAT", "WORKLOAD", "IMAGE", "WHY"]);
    for group in groups.iter().take(MAX_ROWS) {
        table.add_row([
            cell(None, group.count),
            cell(Some(style_of(&group.priority)), shown(&group.priority)),
            cell(None, short_rule(&group.key.rule)),
            cell(None, or_none(group.key.thing.as_ref().map_or("", |(_, value, _)| value))),
            cell(None, or_none(&group.key.workload)),
            cell(None, or_none(&group.key.image)),
            cell(Some(DIM), group.refusal.unwrap_or_default()),
        ]);
    }
    style::render(&mut table) + &more(groups.len(), "--output json lists all")
}

/// What each exception is for.
fn proposed(proposals: &[Proposal]) -> String {
    let mut table = style::table(&["COUNT", "PRIORITY", "RULE", "WHAT", "THINGS", "IMAGE"]);
    for p in proposals.iter().take(MAX_ROWS) {
        let every = if p.row.is_directory { "*" } else { "" };
        table.add_row([
            cell(None, p.alerts),
            cell(Some(style_of(&p.priority)), shown(&p.priority)),
            cell(None, short_rule(&p.rule)),
            cell(None, shown(&format!("{}{every}", p.row.thing.value))),
            cell(None, p.things),
            cell(None, shown(p.row.image.trim_end_matches([':', '@']))),
        ]);
    }
    style::render(&mut table) + &more(proposals.len(), "--exceptions FILE writes all")
}

fn more(count: usize, how: &str) -> String {
    match count.checked_sub(MAX_ROWS) {
        None | Some(0) => String::new(),
        Some(more) => format!("{}\n", paint(DIM, &format!("and {more} more; {how}"))),
    }
}

fn text(groups: &Groups, proposals: &[Proposal], invalid: u64) -> String {
    let refusals: Vec<&Group> = groups.sorted().into_iter().filter(|g| g.refusal.is_some()).collect();
    let mut out = format!("{} alerts in {} groups\n", groups.alerts - groups.others, groups.by_key.len());
    for (count, what) in [
        (groups.others, "alerts of other rules are left out"),
        (groups.beyond, "alerts of further groups are left out"),
        (invalid, "lines are not alerts"),
    ] {
        if count > 0 {
            out += &format!("{count} {what}\n");
        }
    }
    if !refusals.is_empty() {
        let count: u64 = refusals.iter().map(|g| g.count).sum();
        let heading = format!("Look at these: no exception should hide them ({count} alerts)");
        out += &format!("\n{}\n{}", paint(BAD, &heading), refused(&refusals));
    }
    if !proposals.is_empty() {
        let count: u64 = proposals.iter().map(|p| p.alerts).sum();
        let heading = format!("Expected or not, you decide ({count} alerts)");
        out += &format!("\n{}\n{}", paint(HEAD, &heading), proposed(proposals));
        let count = proposals.len();
        let heading = format!("{count} exceptions would hide these; delete what is not expected");
        out += &format!("\n{}\n", paint(GOOD, &heading));
        out += &rules(proposals.get(..count.min(MAX_ROWS)).unwrap_or_default());
        out += &more(count, "--exceptions FILE writes all");
    }
    out
}

fn value(groups: &Groups, proposals: &[Proposal], invalid: u64) -> Value {
    let group = |g: &&Group| {
        json!({
            "rule": g.key.rule, "priority": g.priority, "workload": g.key.workload, "image": g.key.image,
            "thing": g.key.thing.as_ref().map(|(_, value, _)| value),
            "count": g.count, "first": g.first, "last": g.last, "no_exception_because": g.refusal,
        })
    };
    let proposal = |p: &Proposal| {
        json!({
            "rule": p.rule, "priority": p.priority, "image": p.row.image,
            "field": p.row.thing.field, "value": p.row.thing.value,
            "below": p.row.is_directory, "alerts": p.alerts, "things": p.things,
        })
    };
    json!({
        "version": 1,
        "alerts": groups.alerts,
        "not_alerts": invalid,
        "not_grouped": groups.beyond,
        "of_other_rules": groups.others,
        "groups": groups.sorted().iter().map(group).collect::<Vec<_>>(),
        "exceptions": proposals.iter().map(proposal).collect::<Vec<_>>(),
        "rules": rules(proposals),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::alert;

    fn groups(alerts: &[(&str, &str, &str)]) -> Groups {
        let mut groups = Groups::default();
        for (rule, path, image) in alerts {
            groups.add(&alert(rule, "Warning", json!({"drift.file_path": path, "drift.image": image})));
        }
        groups
    }

    fn exceptions(groups: &Groups) -> Vec<(String, String, u64)> {
        propose(groups).into_iter().map(|p| (p.row.image, p.row.thing.value, p.alerts)).collect()
    }

    #[test]
    fn what_lies_in_one_directory_is_one_exception() {
        let rule = "Drift container file system write";
        let found = groups(&[
            (rule, "/var/lib/app/a", "shop:1"),
            (rule, "/var/lib/app/b", "shop:1"),
            (rule, "/var/lib/app/b", "shop:2"),
            (rule, "/var/lib/app/sub/c", "shop:2"),
            (rule, "/srv/one", "shop:1"),
            (rule, "/srv/one", "other:1"),
        ]);
        let expected = |image: &str, thing: &str, n| (image.to_owned(), thing.to_owned(), n);
        let all = exceptions(&found);
        assert_eq!(all[0], expected("shop:", "/var/lib/app/", 4));
        assert_eq!(all.len(), 3, "{all:?}");
    }

    #[test]
    fn no_exception_is_as_wide_as_a_directory_of_programs_or_of_intruders() {
        let rule = "Drift file created in sensitive directory";
        let found = groups(&[
            (rule, "/usr/local/bin/a", "s:1"),
            (rule, "/usr/local/bin/b", "s:1"),
            (rule, "/usr/local/bin/c", "s:1"),
            ("Drift binary executed", "/tmp/a/x", "s:1"),
            ("Drift binary executed", "/tmp/a/y", "s:1"),
            ("Drift binary executed", "/tmp/a/z", "s:1"),
        ]);
        let all = exceptions(&found);
        assert_eq!(all.len(), 3, "each program by itself, none of /tmp: {all:?}");
        assert_eq!(found.by_key.values().filter(|g| g.refusal.is_some()).count(), 3);
    }

    #[test]
    fn priorities_are_in_falcos_order() {
        let all = ["Critical", "Error", "Warning", "Notice", "Informational", "Debug", "?"];
        assert!(all.windows(2).all(|w| severity(w[0]) < severity(w[1])));
    }
}
