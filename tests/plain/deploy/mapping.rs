//! `docs/alert-mapping.md`: every rule, once, and no other.

use super::{read, rules};
use std::collections::BTreeMap;

fn rows() -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in read("docs/alert-mapping.md").lines().filter(|l| l.starts_with("| Drift ")) {
        let cells: Vec<String> = line.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect();
        assert_eq!(cells.len(), 5, "{line}");
        assert!(cells.iter().all(|c| !c.is_empty()), "an empty cell is a dash: {line}");
        assert!(rows.insert(cells[0].clone(), cells).is_none(), "twice: {line}");
    }
    rows
}

#[test]
fn every_rule_is_mapped() {
    let rows = rows();
    let rules = rules();
    for rule in &rules {
        assert!(rows.contains_key(&rule.name), "docs/alert-mapping.md lacks {:?}", rule.name);
    }
    assert_eq!(rows.len(), rules.len(), "docs/alert-mapping.md has a rule that does not exist");
}

/// Its content is the image's: no binary has drifted.
const EXPLAINED: &str = "Drift content of image executed";

/// Where the alerts carry Defender's type, the table says so.
#[test]
fn defenders_binary_drift_is_where_a_binary_drifted() {
    for rule in rules() {
        let cells = &rows()[&rule.name];
        // The fields that defender.env looks at.
        let drifts =
            ["drift.binary_origin in (added", "drift.script_origin in (added", "_origin in (memfd, detached"];
        let says = (drifts.iter().any(|what| rule.filter.contains(what)) && rule.name != EXPLAINED)
            || rule.name == "Drift found process not from image";
        assert_eq!(cells[2].contains("K8S.NODE_ImageBinaryDrift"), says, "{}", rule.name);
    }
}

/// Falco's own rules, where Falco's files are at hand: `FALCO_RULES_DIR`.
#[test]
fn falcos_rules_exist() {
    let Some(folder) = std::env::var_os("FALCO_RULES_DIR") else {
        return testkit::skip::skip_optional("deploy: names of Falco's rules", "FALCO_RULES_DIR is not set");
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        names.extend(text.lines().filter_map(|l| l.strip_prefix("- rule: ")).map(str::to_owned));
    }
    for (rule, cells) in rows() {
        for name in cells[1].split("; ").filter(|n| *n != "–") {
            assert!(names.iter().any(|n| n == name), "{rule}: Falco has no rule {name:?}");
        }
    }
}
