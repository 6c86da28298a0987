//! The tags of rules, by Falco's style guide: maturity, what it is about, MITRE ATT&CK tactics and
//! techniques.

const MATURITY: [&str; 4] =
    ["maturity_stable", "maturity_incubating", "maturity_sandbox", "maturity_deprecated"];

/// Where, and what about. Falco's own, and those of this pack.
const SUBJECTS: [&str; 13] = [
    "container",
    "host",
    "process",
    "filesystem",
    "network",
    "users",
    "drift",
    "package",
    "shell",
    "environment",
    "image",
    "deployment",
    "mount",
];

const TACTICS: [&str; 14] = [
    "mitre_reconnaissance",
    "mitre_resource_development",
    "mitre_initial_access",
    "mitre_execution",
    "mitre_persistence",
    "mitre_privilege_escalation",
    "mitre_defense_evasion",
    "mitre_credential_access",
    "mitre_discovery",
    "mitre_lateral_movement",
    "mitre_collection",
    "mitre_command_and_control",
    "mitre_exfiltration",
    "mitre_impact",
];

/// What is wrong with a rule's tags.
pub(crate) fn problems(tags: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    if tags.first().is_none_or(|first| !MATURITY.contains(first)) {
        found.push(
            "the first tag is none of maturity_stable, maturity_incubating, maturity_sandbox".to_owned(),
        );
    }
    if !tags.contains(&"container") && !tags.contains(&"host") {
        found.push("neither container nor host is among the tags".to_owned());
    }
    let kinds: Vec<Option<u8>> = tags.iter().map(|tag| kind(tag)).collect();
    for (tag, _) in tags.iter().zip(&kinds).filter(|(_, kind)| kind.is_none()) {
        found.push(format!("{tag:?} is no tag that is known"));
    }
    if !kinds.iter().flatten().is_sorted() {
        found.push("the tags are not in the order maturity, subject, tactics, techniques".to_owned());
    }
    let has = |wanted| kinds.contains(&Some(wanted));
    if has(2) != has(3) {
        found.push("a tactic (mitre_*) without a technique (T1234), or the other way round".to_owned());
    }
    let mut sorted = tags.to_vec();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair.first() == pair.last()) {
        found.push(format!("the tag {} is there twice", pair.first().copied().unwrap_or_default()));
    }
    found
}

/// What a tag is, as a number in the order in which they come.
fn kind(tag: &str) -> Option<u8> {
    if MATURITY.contains(&tag) {
        Some(0)
    } else if SUBJECTS.contains(&tag) {
        Some(1)
    } else if TACTICS.contains(&tag) {
        Some(2)
    } else {
        is_technique(tag).then_some(3)
    }
}

/// `T1059` or `T1059.004`.
fn is_technique(tag: &str) -> bool {
    let digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    match tag.strip_prefix('T').map(|rest| rest.split_once('.').map_or((rest, None), |(a, b)| (a, Some(b)))) {
        Some((number, below)) => digits(number, 4) && below.is_none_or(|below| digits(below, 3)),
        None => false,
    }
}
