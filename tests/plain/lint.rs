//! `drift lint`: nothing is wrong with the shipped rules, and everything with a file that is wrong in every
//! way.
//!
//! `UPDATE_GOLDEN=1 cargo test --test plain lint::` writes anew what it says of that file.

use std::path::Path;
use std::process::{Command, Output};
use testkit::workspace_dir;

fn lint(arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = Command::new(testkit::command::drift())
        .arg("lint")
        .args(arguments)
        .current_dir(workspace_dir())
        .output()
        .unwrap();
    let text = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.code().unwrap(), text)
}

#[test]
fn nothing_is_wrong_with_the_shipped_rules() {
    for file in ["rules/drift_rules.yaml", "rules/drift_source_rules.yaml"] {
        let (status, said) = lint(&["--prefix", "drift", "--cases", "rules/tests", file]);
        assert_eq!((status, said.as_str()), (0, ""), "{file}");
    }
}

#[test]
fn everything_that_can_be_wrong_is_told() {
    let (no_yaml, bad) = ("tests/fixtures/lint/no-yaml.yaml", "tests/fixtures/lint/bad.yaml");
    let (status, said) = lint(&["--prefix", "drift", "--cases", "rules/tests", no_yaml, bad]);
    assert_eq!(status, 1, "{said}");
    let golden = workspace_dir().join("tests/fixtures/lint/bad.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &said).unwrap();
    }
    assert_eq!(
        said,
        std::fs::read_to_string(&golden).unwrap(),
        "UPDATE_GOLDEN=1 cargo test --test plain lint::"
    );
    // No kind of problem is untried.
    let codes = std::fs::read_to_string(workspace_dir().join("crates/cli/src/lint/code.rs")).unwrap();
    let codes: Vec<&str> =
        codes.lines().filter_map(|l| l.trim().strip_prefix("Self::")?.split('"').nth(1)).collect();
    assert!(codes.len() >= 15, "{codes:?}");
    for code in codes {
        assert!(said.lines().any(|line| line.contains(&format!(": {code}: "))), "{code} is in no message");
    }
    // Of the rule that is right nothing is said but that nobody has tried it, and that its name is there
    // twice.
    let of_good: Vec<&str> = said.lines().filter(|l| l.contains("\"Drift good\"")).collect();
    assert!(of_good.iter().all(|l| l.contains(": cases: ") || l.contains("twice")), "{of_good:#?}");
}

/// Files are looked over in the order in which they are loaded: a later one may use and change what earlier
/// ones have.
#[test]
fn later_files_see_earlier_ones() {
    let pack = "rules/drift_rules.yaml";
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("mine.yaml");
    let tuning = std::fs::read_to_string(workspace_dir().join("docs/tuning.md")).unwrap();
    let blocks: Vec<&str> =
        tuning.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() > 20);
    for block in blocks {
        std::fs::write(&mine, block).unwrap();
        let (status, said) = lint(&[pack, "rules/drift_source_rules.yaml", mine.to_str().unwrap()]);
        assert_eq!((status, said.as_str()), (0, ""), "{block}");
    }
    let rule = "- required_engine_version: 0.50.0\n- required_plugin_versions:\n    \
                  - name: drift\n      version: 0.1.0\n\
                - list: drift_allowed_binaries\n  items: []\n\
                - rule: My rule\n  desc: It is mine. Tune with the list drift_allowed_binaries.\n\
                  \x20 condition: drift_spawned and not drift.file_path in (drift_allowed_binaries)\n\
                  \x20 output: It is mine | where=%drift.where container_id=%drift.container_id\n\
                  \x20 priority: INFO\n  \
                  tags: [maturity_sandbox, container]\n";
    std::fs::write(&mine, rule).unwrap();
    let mine = mine.to_str().unwrap();
    let (status, said) = lint(&[pack, mine]);
    let clash = "name: list \"drift_allowed_binaries\" takes the place of the one in an earlier file\n";
    assert!(status == 1 && said.lines().count() == 1 && said.ends_with(clash), "{said}");
    assert!(lint(&[mine]).1.contains("drift_spawned\", which is not there"));
}

#[test]
fn users_rules_need_no_cases_and_no_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.yaml");
    let rule = "- required_engine_version: 0.50.0\n- required_plugin_versions:\n    \
                  - name: drift\n      version: 0.1.0\n\
                - list: mine\n  items: [sh]\n\
                - rule: My rule\n  desc: It is mine. Tune with the list mine.\n\
                  \x20 condition: evt.type = execve and not proc.name in (mine)\n\
                  \x20 output: It is mine | where=%drift.where container_id=%drift.container_id\n\
                  \x20 priority: INFO\n  \
                  tags: [maturity_sandbox, container]\n";
    std::fs::write(&file, rule).unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(lint(&[path]), (0, String::new()));
    std::fs::write(&file, rule.replace("%drift.container_id", "%drift.container")).unwrap();
    let (status, said) = lint(&[path]);
    assert_eq!(status, 1);
    assert!(said.ends_with("drift has no field drift.container\n"), "{said}");
    // The examples in the documentation change other files' items.
    std::fs::write(&file, "- list: drift_allowed_binaries\n  items: [/x]\n  override: {items: append}\n")
        .unwrap();
    assert!(!lint(&[path]).1.contains("unused"));
    assert_eq!(lint(&["/nonexistent"]).0, 2);
    assert!(Path::new(path).exists());
}
