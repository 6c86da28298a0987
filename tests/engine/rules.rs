//! Tier 2: every rule of the pack alerts in the cases in which it must, and in no other, in real libsinsp;
//! where a real Falco is installed, there too.
//!
//! The cases are `rules/tests/*.yaml`, the alerts that they must give `rules/tests/*.alerts.json`;
//! `UPDATE_GOLDEN=1 cargo test --test engine rules::` writes the alerts anew.

use crate::cases::{all_cases, folder, packs, shipped_rules, Setting};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use testkit::alerts::{Alert, Evaluator};
use testkit::engine::{Choice, Engine};
use testkit::rules::Rule;
use testkit::skip::skip_optional;

/// Alerts by case: those of the rules that are on, and of the rule that the case is about if that is off as
/// shipped.
fn alerts(setting: &Setting, rules: &[Rule]) -> BTreeMap<String, Vec<Alert>> {
    let engine = Engine::sysdig().unwrap();
    let replay = setting.replay();
    let mut evaluator = Evaluator::new(&engine, &replay);
    let (on, off): (Vec<Rule>, Vec<Rule>) = rules.iter().cloned().partition(|rule| rule.enabled);
    let mut by_case: BTreeMap<String, Vec<Alert>> =
        setting.cases.iter().map(|(_, case)| (case.name.clone(), Vec::new())).collect();
    let case_of = |alert: &Alert| {
        let time = alert.output_fields["evt.time"].as_u64().unwrap();
        setting.capture.case_at(time).unwrap_or_else(|| panic!("in no case: {}", alert.output)).to_owned()
    };
    for alert in evaluator.alerts(&on).unwrap() {
        by_case.get_mut(&case_of(&alert)).unwrap().push(alert);
    }
    for rule in off {
        let about: BTreeSet<&str> = setting
            .cases
            .iter()
            .filter(|(_, case)| case.rule == rule.name)
            .map(|(_, case)| case.name.as_str())
            .collect();
        let mut with: Vec<Rule> = on.iter().filter(|r| r.never_alerts()).cloned().collect();
        with.push(rule);
        for alert in evaluator.alerts(&with).unwrap() {
            let case = case_of(&alert);
            if about.contains(case.as_str()) {
                by_case.get_mut(&case).unwrap().push(alert);
            }
        }
    }
    by_case
}

#[test]
fn every_rule_alerts_where_it_must_and_nowhere_else() {
    let setting = Setting::new(all_cases());
    let rules = shipped_rules();
    let alerts = alerts(&setting, &rules);
    let mut wrong = Vec::new();
    for (file, case) in &setting.cases {
        let told: Vec<&str> = alerts[&case.name].iter().map(|alert| alert.rule.as_str()).collect();
        if told.contains(&case.rule.as_str()) != case.alerts {
            wrong.push(format!(
                "{file}: {:?}: rule {:?} alerts: {}, told: {told:?}",
                case.name, case.rule, !case.alerts
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    compare_with_golden(&setting, &alerts);
}

fn compare_with_golden(setting: &Setting, alerts: &BTreeMap<String, Vec<Alert>>) {
    let mut by_file: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (file, case) in &setting.cases {
        let of = serde_json::to_value(&alerts[&case.name]).unwrap();
        by_file.entry(file).or_default().insert(case.name.clone(), of);
    }
    for (file, golden) in by_file {
        let path = folder().join(format!("{file}.alerts.json"));
        let text = format!("{}\n", serde_json::to_string_pretty(&golden).unwrap());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, text).unwrap();
            continue;
        }
        let known: Map<String, Value> =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_default()).unwrap_or_default();
        for (case, alerts) in &golden {
            let expected = known.get(case).unwrap_or(&Value::Null);
            assert_eq!(
                serde_json::to_string_pretty(alerts).unwrap(),
                serde_json::to_string_pretty(expected).unwrap(),
                "{case}: if the new alerts are right: UPDATE_GOLDEN=1 cargo test --test engine rules::"
            );
        }
        assert_eq!(known.len(), golden.len(), "{}: has cases that are none", path.display());
    }
}

/// Falco itself, where one is installed, says the same of all rules that are on: its loader, its engine, its
/// words.
#[test]
fn falco_says_the_same() {
    let falco = match Engine::find(&Choice::Falco) {
        Ok(falco) => falco,
        Err(why) => return skip_optional("rules: cases in Falco", &format!("{why:#}")),
    };
    let setting = Setting::new(all_cases());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.yaml");
    std::fs::write(&file, packs().join("\n")).unwrap();
    let replay = setting.replay();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let alerts = falco.falco_alerts(&replay, &file).unwrap();
    let mut by_falco: Vec<(String, String)> =
        alerts.iter().map(|alert| (text(&alert["output"]), text(&alert["rule"]))).collect();
    by_falco.sort();
    let engine = Engine::sysdig().unwrap();
    let on: Vec<Rule> = shipped_rules().into_iter().filter(|rule| rule.enabled).collect();
    let alerts = Evaluator::new(&engine, &replay).alerts(&on).unwrap();
    let mut by_us: Vec<(String, String)> = alerts.into_iter().map(|a| (a.output, a.rule)).collect();
    by_us.sort();
    assert!(by_us.len() > 50);
    let missing: Vec<_> = by_us.iter().filter(|alert| !by_falco.contains(alert)).collect();
    let more: Vec<_> = by_falco.iter().filter(|alert| !by_us.contains(alert)).collect();
    assert!(missing.is_empty() && more.is_empty(), "not by Falco: {missing:#?}\nby Falco alone: {more:#?}");
    assert_eq!(by_us.len(), by_falco.len());
}

/// Every rule that can alert has a case in which it does and one in which it does not, though nearly.
#[test]
fn every_rule_has_cases() {
    let cases = all_cases();
    let rules = shipped_rules();
    for rule in rules.iter().filter(|rule| !rule.never_alerts()) {
        for alerts in [true, false] {
            let has = cases.iter().any(|(_, case)| case.rule == rule.name && case.alerts == alerts);
            assert!(has, "rule {:?} has no case with `alerts: {alerts}` in rules/tests", rule.name);
        }
    }
    for (file, case) in &cases {
        assert!(rules.iter().any(|rule| rule.name == case.rule), "{file}: {:?}: no such rule", case.name);
    }
}
