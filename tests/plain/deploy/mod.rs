//! What is in `deploy/` and the tables in `docs/` about it, against the rules, the metrics, and the forms
//! that the programs it is for accept. No cluster and none of these programs is needed: their rules are
//! written down here, from their sources; where one is at hand it is asked as well.

mod dashboard;
mod falco;
mod kubernetes;
mod mapping;
mod talon;

use testkit::rules::Rule;
use testkit::workspace_dir;
use testkit::yaml::{parse, Node};

fn read(name: &str) -> String {
    std::fs::read_to_string(workspace_dir().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Every rule of the pack, in both files.
fn rules() -> Vec<Rule> {
    ["rules/drift_rules.yaml", "rules/drift_source_rules.yaml"]
        .iter()
        .flat_map(|name| testkit::rules::load(&workspace_dir().join(name)).unwrap())
        .collect()
}

/// Rules that have drift look at something, and never alert.
fn is_watch(rule: &Rule) -> bool {
    rule.name.ends_with(" watch")
}

/// The YAML documents of a file.
fn documents(name: &str) -> Vec<Node> {
    let text = read(name);
    let mut documents: Vec<String> = vec![String::new()];
    for line in text.lines() {
        if line == "---" {
            documents.push(String::new());
        } else {
            let last = documents.last_mut().unwrap();
            last.push_str(line);
            last.push('\n');
        }
    }
    let parsed = documents.iter().map(|d| parse(d).unwrap_or_else(|e| panic!("{name}: {e}")));
    parsed.filter(|d| *d != Node::Null).collect()
}

/// The value at a path of keys.
fn at<'a>(node: &'a Node, path: &str) -> &'a Node {
    path.split('.').fold(node, |node, key| node.get(key).unwrap_or_else(|| panic!("no {key} of {path}")))
}

fn text<'a>(node: &'a Node, path: &str) -> &'a str {
    at(node, path).text().unwrap_or_else(|| panic!("{path} is no text"))
}

fn list(node: &Node) -> &[Node] {
    match node {
        Node::List(items) => items,
        other => panic!("no list: {other:?}"),
    }
}

fn texts(node: &Node) -> Vec<&str> {
    list(node).iter().map(|item| item.text().unwrap()).collect()
}

fn pairs(node: &Node) -> &[(String, Node)] {
    match node {
        Node::Map(pairs) => pairs,
        other => panic!("no mapping: {other:?}"),
    }
}

fn keys(node: &Node) -> Vec<&str> {
    pairs(node).iter().map(|(key, _)| key.as_str()).collect()
}
