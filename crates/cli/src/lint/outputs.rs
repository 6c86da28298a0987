//! The outputs of rules: a sentence for people, then pairs for machines.

use std::collections::BTreeSet;

/// The fields that an output names.
pub fn fields(output: &str) -> impl Iterator<Item = &str> {
    output.split_whitespace().filter_map(|word| word.split_once("=%")).map(|(_, field)| field)
}

/// What is wrong with an output. One that is never printed need not say where it comes from.
pub(crate) fn problems(output: &str, watches: bool) -> Vec<String> {
    let mut found = Vec::new();
    let Some((sentence, pairs)) = output.split_once(" | ") else {
        return vec!["the output is not `Sentence | key=%field ...`".to_owned()];
    };
    let sentence = sentence.trim();
    let capital = sentence.starts_with(|c: char| c.is_ascii_uppercase());
    if !capital || sentence.ends_with('.') || sentence.contains('%') {
        found.push(format!("{sentence:?} is no sentence without fields, with a capital and no full stop"));
    }
    let mut keys = BTreeSet::new();
    for pair in pairs.split_whitespace() {
        let (key, field) = pair.split_once("=%").unwrap_or((pair, ""));
        let plain = |text: &str, more: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !plain(key, "_") || !plain(field, "_.[]-") {
            found.push(format!("{pair:?} is not `key=%field`"));
        } else if !keys.insert(key) {
            found.push(format!("the key {key} is there twice"));
        }
    }
    for key in ["where", "container_id"].into_iter().filter(|key| !watches && !keys.contains(key)) {
        found.push(format!("it does not say in which container: {key}=%drift.{key}"));
    }
    found
}
