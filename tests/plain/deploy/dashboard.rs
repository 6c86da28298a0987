//! `deploy/grafana/drift.json`: a dashboard that Grafana imports, over metrics that Falco exports.

use super::read;
use serde_json::Value;
use std::collections::BTreeSet;

/// The one metric that is not the plugin's own: Falco's count of alerts.
const ALERTS: &str = "falcosecurity_falco_rules_matches_total";

/// Names as Falco exports them for Prometheus: all end in `_total`, gauges too.
fn metrics() -> BTreeSet<String> {
    let list = drift::metrics::Metrics::default().list();
    list.iter()
        .map(|(name, ..)| format!("falcosecurity_plugins_drift_{}_total", name.to_str().unwrap()))
        .collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/drift.json")).unwrap()
}

/// Every expression, with its panel's title.
fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((
                panel["title"].as_str().unwrap().to_owned(),
                target["expr"].as_str().unwrap().to_owned(),
            ));
        }
    }
    found
}

fn names(expression: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    expression.split(|c| !is_name(c)).filter(|w| w.starts_with("falcosecurity_")).collect()
}

#[test]
fn shows_every_metric_and_no_other() {
    let metrics = metrics();
    let mut shown = BTreeSet::new();
    for (title, expression) in expressions(&dashboard()) {
        let names = names(&expression);
        assert!(!names.is_empty(), "{title}: {expression}");
        for name in names {
            assert!(metrics.contains(name) || name == ALERTS, "{title}: no metric {name}");
            shown.insert(name.to_owned());
        }
    }
    let missing: Vec<&String> = metrics.difference(&shown).collect();
    assert!(missing.is_empty(), "not shown: {missing:?}");
}

#[test]
fn counters_are_shown_as_rates_and_gauges_as_they_are() {
    let list = drift::metrics::Metrics::default().list();
    for (title, expression) in expressions(&dashboard()) {
        for (name, kind, ..) in &list {
            let name = format!("falcosecurity_plugins_drift_{}_total", name.to_str().unwrap());
            let as_rate = ["rate(", "increase("].iter().any(|f| expression.contains(&format!("{f}{name}{{")));
            let is_counter = *kind == drift::metrics::Kind::Counter;
            // Few and rare: their number says it.
            let as_number =
                ["layers_partial", "declared", "_failed", "network_unsaved"].iter().any(|n| name.contains(n));
            if expression.contains(&format!("{name}{{")) && !as_number {
                assert_eq!(as_rate, is_counter, "{title}: {expression}");
            }
        }
    }
}

#[test]
fn grafana_can_import_it() {
    let dashboard = dashboard();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{} lies over another panel", panel["title"]);
            }
        }
        if panel["type"] != "row" {
            assert!(!panel["description"].as_str().unwrap().is_empty(), "{panel}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        }
    }
    let variables: BTreeSet<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "job", "instance"].into());
    for (title, expression) in expressions(&dashboard) {
        let (open, close) =
            (expression.matches(['(', '{', '[']).count(), expression.matches([')', '}', ']']).count());
        assert_eq!(open, close, "{title}: {expression}");
    }
}
