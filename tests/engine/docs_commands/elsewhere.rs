//! Commands that need a cluster or a network: that they are commands, that the files they name are there,
//! and, where the program is, that it knows their options.

use super::blocks::{blocks, Block, Kind};
use std::process::Command;
use testkit::workspace_dir;

/// Programs that may stand at the beginning of such a command.
const PROGRAMS: &[&str] = &[
    "buildah",
    "docker",
    "drift",
    "falcoctl",
    "falcosidekick",
    "helm",
    "journalctl",
    "kubectl",
    "make",
    "scripts/publish.sh",
    "skopeo",
];

fn elsewhere() -> Vec<Block> {
    blocks().into_iter().filter(|b| matches!(b.kind, Kind::Cluster | Kind::Network)).collect()
}

/// Commands, one a line, continuations joined.
fn commands(block: &Block) -> Vec<String> {
    let joined = block.text.replace("\\\n", " ");
    joined
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|l| !l.is_empty())
        .collect()
}

#[test]
fn they_are_commands_of_known_programs() {
    for block in elsewhere() {
        let checked = Command::new("sh").args(["-n", "-c", &block.text]).output().unwrap();
        assert!(checked.status.success(), "{}: {}", block.place, String::from_utf8_lossy(&checked.stderr));
        for command in commands(&block) {
            let program = command.split(' ').next().unwrap();
            assert!(PROGRAMS.contains(&program), "{}: {command}", block.place);
        }
    }
}

#[test]
fn the_files_that_they_name_are_there() {
    let mut count = 0;
    for block in elsewhere() {
        for word in block.text.split([' ', '\n', '"', ':']) {
            let word = word.strip_prefix("$PWD/").unwrap_or(word);
            if ["deploy/", "scripts/", "docs/", "rules/"].iter().any(|top| word.starts_with(top)) {
                assert!(workspace_dir().join(word).exists(), "{}: {word} is not there", block.place);
                count += 1;
            }
        }
    }
    assert!(count > 8, "only {count} files are named");
}

/// kubectl knows its options without a cluster.
#[test]
fn kubectl_knows_the_options() {
    let help = |arguments: &[&str]| {
        let output = Command::new("kubectl").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(global) = help(&["options"]) else {
        return testkit::skip::skip_optional("docs: options of kubectl", "kubectl is not installed");
    };
    let mut count = 0;
    for block in elsewhere() {
        for command in commands(&block).iter().filter(|c| c.starts_with("kubectl ")) {
            let words: Vec<&str> = command.split([' ', '"']).collect();
            let known =
                ["apply", "label", "get", "cordon", "logs", "debug", "delete", "exec", "run", "cp", "patch"];
            let verb = words.iter().find(|w| known.contains(w)).unwrap_or_else(|| panic!("{command}"));
            // A command in a command is looked at as part of the outer one.
            let inner = words.iter().filter(|w| known.contains(w)).map(|v| help(&[v, "--help"]).unwrap());
            let text = inner.fold(global.clone(), |all, one| all + &one);
            for option in words.iter().filter(|w| w.starts_with("--") && w.len() > 2) {
                let name = option.split('=').next().unwrap();
                let is_known = text.lines().any(|l| l.trim_start().split([',', '=', ' ']).any(|w| w == name));
                assert!(is_known, "{}: kubectl {verb} knows no {name}", block.place);
                count += 1;
            }
        }
    }
    assert!(count > 15, "only {count} options were looked at");
}
