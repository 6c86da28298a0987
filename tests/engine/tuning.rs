//! The examples of docs/tuning.md: each changes the alerts of the cases it is about, and of no other case in
//! `rules/tests`.
//!
//! Before each example a comment names its cases: `quiets:` those whose alerts end, `changes:` those that
//! alert otherwise, `with:` a rule that is off as shipped and turned on here.

use crate::cases::{all_cases, packs, Setting};
use std::collections::{BTreeMap, BTreeSet};
use testkit::alerts::{Alert, Evaluator};
use testkit::engine::Engine;
use testkit::rules::{parse_all, Rule};

/// One example.
#[derive(Debug, Default)]
struct Example {
    heading: String,
    yaml: String,
    quiets: BTreeSet<String>,
    changes: BTreeSet<String>,
    with: Option<String>,
}

fn examples() -> Vec<Example> {
    let text = std::fs::read_to_string(testkit::workspace_dir().join("docs/tuning.md")).unwrap();
    let (mut all, mut heading, mut marker) = (Vec::new(), String::new(), None);
    let mut yaml: Option<String> = None;
    for line in text.lines() {
        match (&mut yaml, line) {
            (Some(block), "```") => {
                all.push(example(&heading, marker.take(), std::mem::take(block)));
                yaml = None;
            }
            (Some(block), line) => block.push_str(&format!("{line}\n")),
            (None, "```yaml") => yaml = Some(String::new()),
            (None, line) => {
                if let Some(title) = line.strip_prefix("## ") {
                    heading = title.to_owned();
                }
                if let Some(comment) = line.strip_prefix("<!-- ").and_then(|l| l.strip_suffix(" -->")) {
                    marker = Some(comment.to_owned());
                }
            }
        }
    }
    all
}

fn example(heading: &str, marker: Option<String>, yaml: String) -> Example {
    let marker = marker.unwrap_or_else(|| panic!("the example below {heading:?} names no case"));
    let mut example = Example { heading: heading.to_owned(), yaml, ..Example::default() };
    let mut key = "";
    for part in marker.split("; ") {
        let name = match part.split_once(": ").or_else(|| Some((part.strip_suffix(':')?, ""))) {
            Some((k @ ("quiets" | "changes" | "with"), name)) => {
                key = k;
                name
            }
            _ => part,
        };
        match key {
            "quiets" => drop(example.quiets.insert(name.to_owned())),
            // `changes:` and no more: nothing in a replay.
            "changes" if name.is_empty() => {}
            "changes" => drop(example.changes.insert(name.to_owned())),
            "with" => example.with = Some(name.to_owned()),
            _ => panic!("{marker:?} of {heading:?}"),
        }
    }
    example
}

fn on(rules: Vec<Rule>, with: Option<&str>) -> Vec<Rule> {
    rules.into_iter().filter(|rule| rule.enabled || Some(rule.name.as_str()) == with).collect()
}

#[test]
fn each_example_changes_its_own_cases_and_no_other() {
    let setting = Setting::new(all_cases());
    let (engine, replay) = (Engine::sysdig().unwrap(), setting.replay());
    let mut evaluator = Evaluator::new(&engine, &replay);
    let mut alerts = |rules: &[Rule]| -> BTreeMap<String, Vec<Alert>> {
        let mut by_case: BTreeMap<String, Vec<Alert>> = BTreeMap::new();
        for alert in evaluator.alerts(rules).unwrap() {
            let time = alert.output_fields["evt.time"].as_u64().unwrap();
            // Programs of a replay are not known; what an exception is for is another rule's.
            if alert.rule == "Drift verdict unavailable" {
                continue;
            }
            by_case.entry(setting.capture.case_at(time).unwrap().to_owned()).or_default().push(alert);
        }
        by_case
    };
    let packs = packs();
    let examples = examples();
    assert!(examples.len() >= 20, "only {} examples", examples.len());
    let mut knobs = BTreeSet::new();
    let mut wrong = Vec::new();
    for example in &examples {
        let with = example.with.as_deref();
        let mut texts: Vec<&str> = packs.iter().map(String::as_str).collect();
        let before = alerts(&on(parse_all(&texts).unwrap(), with));
        texts.push(&example.yaml);
        let rules = parse_all(&texts).unwrap_or_else(|e| panic!("{}: {e:#}", example.heading));
        let after = alerts(&on(rules, with));
        let none = Vec::new();
        let of =
            |alerts: &BTreeMap<String, Vec<Alert>>, case: &str| alerts.get(case).unwrap_or(&none).clone();
        let changed: BTreeSet<String> = setting
            .cases
            .iter()
            .map(|(_, case)| case.name.clone())
            .filter(|case| of(&before, case) != of(&after, case))
            .collect();
        let expected: BTreeSet<String> = example.quiets.union(&example.changes).cloned().collect();
        if changed != expected {
            wrong.push(format!("{:?}: changed {changed:?}, expected {expected:?}", example.heading));
        }
        for case in &example.quiets {
            if of(&before, case).is_empty() || !of(&after, case).is_empty() {
                wrong.push(format!("{:?}: {case:?} before and after", example.heading));
            }
        }
        // The first run is reported as before, and the others as well.
        if example.yaml.contains("drift_repeated_binary") {
            for case in &example.changes {
                assert_eq!(of(&after, case)[..1], of(&before, case)[..], "{case}");
            }
        }
        knobs.insert(example.yaml.lines().next().unwrap_or_default().to_owned());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(knobs.len() >= 20, "{knobs:?}");
}
