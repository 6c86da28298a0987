//! `deploy/response/talon_rules.yaml` against Falco Talon's schema (its `internal/rules/rules.go` and the
//! actionners' parameters), and against the rules that it names.

use super::{documents, is_watch, keys, list, pairs, rules, text, texts};
use std::collections::{BTreeMap, BTreeSet};
use testkit::rules::{Priority, Rule};
use testkit::yaml::Node;

const FILE: &str = "deploy/response/talon_rules.yaml";

/// Actionners used here: the parameters that each knows, those that it wants, and whether its result needs an
/// output.
const ACTIONNERS: &[(&str, &[&str], &[&str], bool)] = &[
    ("kubernetes:label", &["labels", "level"], &["labels"], false),
    ("kubernetes:networkpolicy", &["allow_cidr", "allow_namespaces"], &[], false),
    ("kubernetes:log", &["tail_lines"], &[], false),
    ("kubernetes:download", &["file"], &["file"], true),
    (
        "kubernetes:terminate",
        &[
            "min_healthy_replicas",
            "ignore_daemonsets",
            "ignore_statefulsets",
            "ignore_standalone_pods",
            "grace_period_seconds",
        ],
        &[],
        false,
    ),
];

/// Outputs used here, with the parameters that each wants.
const OUTPUTS: &[(&str, &[&str])] = &[("local:file", &["destination"])];

const ACTION: &[&str] = &[
    "action",
    "description",
    "actionner",
    "parameters",
    "continue",
    "ignore_errors",
    "additional_contexts",
    "output",
];
const RULE: &[&str] = &["rule", "description", "continue", "dry_run", "actions", "notifiers", "match"];
const MATCH: &[&str] = &["rules", "output_fields", "priority", "source", "tags"];

struct Talon {
    actions: BTreeMap<String, Node>,
    rules: Vec<Node>,
}

fn load() -> Talon {
    let files = documents(FILE);
    assert_eq!(files.len(), 1, "Talon reads one document");
    let mut talon = Talon { actions: BTreeMap::new(), rules: Vec::new() };
    for item in list(&files[0]) {
        match item.get("rule") {
            Some(_) => talon.rules.push(item.clone()),
            None => {
                let twice = talon.actions.insert(text(item, "action").to_owned(), item.clone());
                assert!(twice.is_none(), "{item:?} twice");
            }
        }
    }
    talon
}

fn known(node: &Node, allowed: &[&str]) {
    for key in keys(node) {
        assert!(allowed.contains(&key), "{key} is none of {allowed:?}");
    }
}

fn is_bool(node: &Node, key: &str) {
    if let Some(value) = node.get(key) {
        assert!(matches!(value.text(), Some("true" | "false")), "{key}: {value:?}");
    }
}

/// The texts under a key of a rule's match; none where there is no such key.
fn matched<'a>(rule: &'a Node, key: &str) -> Vec<&'a str> {
    rule.get("match").unwrap().get(key).map(texts).unwrap_or_default()
}

#[test]
fn actions_are_as_talon_wants_them() {
    let talon = load();
    for (name, action) in &talon.actions {
        known(action, ACTION);
        is_bool(action, "continue");
        is_bool(action, "ignore_errors");
        let actionner = text(action, "actionner");
        let (_, allowed, wanted, needs_output) = ACTIONNERS
            .iter()
            .find(|(known, ..)| *known == actionner)
            .unwrap_or_else(|| panic!("{name}: unknown actionner {actionner}"));
        let given = action.get("parameters").map(keys).unwrap_or_default();
        assert!(given.iter().all(|p| allowed.contains(p)), "{name}: {given:?}");
        assert!(wanted.iter().all(|p| given.contains(p)), "{name}: {given:?}");
        let output = action.get("output");
        assert!(output.is_some() || !needs_output, "{name} needs an output");
        if let Some(output) = output {
            known(output, &["target", "parameters"]);
            let target = text(output, "target");
            let (_, parameters) = OUTPUTS.iter().find(|(known, _)| *known == target).unwrap();
            assert_eq!(keys(output.get("parameters").unwrap()), *parameters, "{name}");
        }
    }
}

#[test]
fn rules_match_on_what_there_is() {
    let (talon, pack) = (load(), rules());
    let names: BTreeSet<&str> = pack.iter().map(|r| r.name.as_str()).collect();
    let mut used = BTreeSet::new();
    for rule in &talon.rules {
        let name = text(rule, "rule");
        known(rule, RULE);
        is_bool(rule, "continue");
        is_bool(rule, "dry_run");
        known(rule.get("match").unwrap(), MATCH);
        for wanted in matched(rule, "rules") {
            assert!(names.contains(wanted), "{name}: no rule {wanted:?}");
        }
        for group in matched(rule, "tags") {
            let group: BTreeSet<String> = group.split(", ").map(str::to_owned).collect();
            assert!(pack.iter().any(|r| group.is_subset(&r.tags)), "{name}: no rule has all of {group:?}");
        }
        // Talon refuses an underscore in the name of a field, and any other form.
        for condition in matched(rule, "output_fields").iter().flat_map(|c| c.split(", ")) {
            let field = condition.split("!=").next().unwrap().split('=').next().unwrap();
            let is_plain = field.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
            assert!(is_plain && condition.contains('='), "{name}: {condition}");
        }
        if let Some(priority) = rule.get("match").unwrap().get("priority") {
            let priority = priority.text().unwrap().trim_start_matches(['<', '>', '=']);
            assert!(Priority::parse(priority).is_some_and(|p| p.name() == priority), "{name}: {priority}");
        }
        let actions = list(rule.get("actions").unwrap());
        assert!(!actions.is_empty(), "{name}");
        for action in actions {
            let action = text(action, "action");
            assert!(talon.actions.contains_key(action), "{name}: no action {action:?}");
            used.insert(action);
        }
    }
    assert_eq!(used.len(), talon.actions.len(), "an action that no rule uses");
}

/// Whether Talon takes a rule for alerts of one of Drift's: as its `CompareRule`, fields aside.
fn takes(talon: &Node, rule: &Rule) -> bool {
    let names = matched(talon, "rules");
    let groups = matched(talon, "tags");
    let has = |group: &str| group.split(", ").all(|tag| rule.tags.contains(tag));
    let source = talon.get("match").unwrap().get("source").and_then(Node::text);
    let priority = talon.get("match").unwrap().get("priority").and_then(Node::text);
    (names.is_empty() || names.contains(&rule.name.as_str()))
        && (groups.is_empty() || groups.iter().any(|g| has(g)))
        && source.is_none_or(|s| s == rule.source)
        && priority.is_none_or(|p| match p.strip_prefix(">=") {
            // The most severe is the least.
            Some(p) => rule.priority <= Priority::parse(p).unwrap(),
            None => panic!("{p}"),
        })
}

/// What would be done, but for dry runs.
fn actions(talon: &Talon, rule: &Rule) -> BTreeSet<String> {
    let live = talon.rules.iter().filter(|t| t.get("dry_run").and_then(Node::text) != Some("true"));
    live.filter(|t| takes(t, rule))
        .flat_map(|t| list(t.get("actions").unwrap()))
        .map(|a| text(a, "action").to_owned())
        .collect()
}

#[test]
fn each_severe_alert_has_a_response_and_each_mild_one_none() {
    let talon = load();
    for rule in rules().iter().filter(|r| r.source == "syscall" && !is_watch(r)) {
        let actions = actions(&talon, rule);
        let severe = rule.priority <= Priority::Warning;
        assert_eq!(severe, !actions.is_empty(), "{}: {actions:?}", rule.name);
    }
}

#[test]
fn what_cannot_be_undone_is_a_dry_run() {
    let talon = load();
    for rule in &rules() {
        for action in actions(&talon, rule) {
            let actionner = text(&talon.actions[&action], "actionner");
            let harmless = ["kubernetes:label", "kubernetes:log", "kubernetes:download"].contains(&actionner);
            assert!(harmless, "{}: {actionner}", rule.name);
        }
    }
    // What is installed on purpose or by habit is not isolated without a person.
    for rule in rules().iter().filter(|r| r.tags.contains("package")) {
        assert!(!actions(&talon, rule).contains("Quarantine the pod"), "{}", rule.name);
    }
}

#[test]
fn the_policy_isolates_what_talon_labels() {
    let talon = load();
    let labels = pairs(talon.actions["Quarantine the pod"].get("parameters").unwrap().get("labels").unwrap());
    let policy = &documents("deploy/response/quarantine.yaml")[0];
    assert_eq!(text(policy, "kind"), "NetworkPolicy");
    assert_eq!(pairs(super::at(policy, "spec.podSelector.matchLabels")), labels);
    assert_eq!(texts(super::at(policy, "spec.policyTypes")), ["Ingress", "Egress"]);
    for direction in ["ingress", "egress"] {
        assert!(list(super::at(policy, &format!("spec.{direction}"))).is_empty(), "nothing is allowed");
    }
    let cilium = &documents("deploy/response/quarantine-cilium.yaml")[0];
    assert_eq!(pairs(super::at(cilium, "spec.endpointSelector.matchLabels")), labels);
    for (direction, peer) in [("ingressDeny", "fromEntities"), ("egressDeny", "toEntities")] {
        assert_eq!(
            texts(list(super::at(cilium, &format!("spec.{direction}")))[0].get(peer).unwrap()),
            ["all"]
        );
    }
}
