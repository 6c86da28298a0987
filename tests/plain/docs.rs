//! The documentation against the code: generated parts are up to date, and every name in it exists.
//!
//! `UPDATE_DOCS=1 cargo test --test plain docs::` rewrites the generated parts.

use drift::extract::{Argument, Source, FIELDS};
use drift_core::verdict::origin::Origin;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use testkit::engine::{Choice, Engine, Replay};
use testkit::generated::{table, with_part};
use testkit::skip::skip_optional;
use testkit::workspace_dir;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every documentation file: those at the top, those in `docs/` and the decision records.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [workspace_dir(), workspace_dir().join("docs"), workspace_dir().join("docs/adr")] {
        let entries = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
        found.extend(entries.filter(|p| p.extension().is_some_and(|e| e == "md")));
    }
    found.sort();
    assert!(found.len() > 4, "{found:?}");
    found
}

/// The files in which names of fields are checked.
fn documents_and_rules() -> Vec<PathBuf> {
    let rules = std::fs::read_dir(workspace_dir().join("rules")).unwrap().map(|e| e.unwrap().path());
    let yaml = ["falco.yaml.example", "falco.drift_plugin.yaml"].map(|name| workspace_dir().join(name));
    let rules = rules.filter(|p| p.extension().is_some_and(|e| e == "yaml"));
    documents().into_iter().chain(rules).chain(yaml).collect()
}

fn fields_table(source: Source) -> String {
    table(
        &["field", "type", "meaning"],
        FIELDS
            .iter()
            .filter(|f| f.source == source || (f.source == Source::Both && source == Source::Syscall))
            .map(|f| {
                let name = match f.argument {
                    Argument::None => format!("`{}`", f.name),
                    Argument::OptionalKey => format!("`{}`, `{}[path]`", f.name, f.name),
                    Argument::Key => format!("`{}[key]`", f.name),
                };
                let list = if f.is_list { "list of " } else { "" };
                vec![name, format!("{list}{}", f.field_type.as_str()), f.description.to_owned()]
            }),
    )
}

fn origins_table() -> String {
    table(&["origin", "meaning"], Origin::ALL.iter().map(|o| vec![format!("`{o}`"), o.meaning().to_owned()]))
}

fn configuration_table() -> String {
    let schema = schemars::schema_for!(drift::config::RawConfig).to_value();
    let mut rows = Vec::new();
    keys("", &schema, &mut rows);
    table(&["key", "type", "meaning"], rows)
}

/// One row for each key of an object's schema, those of nested objects after it.
fn keys(prefix: &str, schema: &Value, rows: &mut Vec<Vec<String>>) {
    for (name, property) in schema["properties"].as_object().unwrap() {
        let key = format!("{prefix}{name}");
        let described =
            property["description"].as_str().unwrap_or_else(|| panic!("{key} has no description"));
        rows.push(vec![format!("`{key}`"), kind(&key, property), described.to_owned()]);
        if property.get("properties").is_some() {
            keys(&format!("{key}."), property, rows);
        }
        if let Some(items) = property.get("items").filter(|i| i.get("properties").is_some()) {
            keys(&format!("{key}[]."), items, rows);
        }
    }
}

/// The type of a key's value in a user's words.
fn kind(key: &str, schema: &Value) -> String {
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().map(|t| t.as_str().unwrap()).collect(),
        _ => match schema["anyOf"].as_array() {
            // A size: a number of bytes, or text with a unit; possibly null.
            Some(choices) if choices.iter().any(|c| c["type"] == "string" || c.get("anyOf").is_some()) => {
                return "size".to_owned();
            }
            _ => panic!("{key}: a schema this table cannot show: {schema}"),
        },
    };
    let named: Vec<&str> = types.into_iter().filter(|t| *t != "null").collect();
    match named.as_slice() {
        ["array"] if schema["items"].get("properties").is_some() => "list".to_owned(),
        ["array"] => format!("list of {}s", kind(key, &schema["items"])),
        ["object"] => "map".to_owned(),
        ["string"] => "text".to_owned(),
        ["integer"] => "number".to_owned(),
        [other] => (*other).to_owned(),
        _ => panic!("{key}: a schema this table cannot show: {schema}"),
    }
}

/// One row for each rule of the shipped files.
fn rules_table() -> String {
    let folder = workspace_dir().join("rules");
    let files = ["drift_rules.yaml", "drift_source_rules.yaml"].map(|name| read(&folder.join(name)));
    let mut rows = Vec::new();
    for text in &files {
        let rules = testkit::rules::parse(text).unwrap();
        let items = testkit::yaml::parse(text).unwrap();
        let testkit::yaml::Node::List(items) = &items else { panic!("no list") };
        for rule in &rules {
            let item =
                items.iter().find(|i| i.get("rule").and_then(|n| n.text()) == Some(&rule.name)).unwrap();
            let of = |key: &str| item.get(key).and_then(|n| n.text()).unwrap().trim().to_owned();
            let tags = match item.get("tags").unwrap() {
                testkit::yaml::Node::List(tags) => tags.iter().map(|t| t.text().unwrap()).collect::<Vec<_>>(),
                other => panic!("{other:?}"),
            };
            let state = if rule.enabled { "" } else { ", off" };
            let priority = format!("{}{state}", of("priority"));
            let shown: Vec<&str> =
                tags.into_iter().filter(|t| !matches!(*t, "container" | "drift")).collect();
            rows.push(vec![rule.name.clone(), priority, of("desc"), shown.join(" ")]);
        }
    }
    let note = "Every rule has the tags `container` and `drift` as well.\n\n";
    format!("{note}{}", table(&["rule", "priority", "description", "tags"], rows))
}

#[test]
fn generated_parts_are_current() {
    let parts = [
        ("docs/fields.md", vec![("fields", fields_table(Source::Syscall)), ("origins", origins_table())]),
        ("docs/configuration.md", vec![("configuration", configuration_table())]),
        ("docs/rules.md", vec![("rules", rules_table())]),
    ];
    for (name, parts) in parts {
        let path = workspace_dir().join(name);
        let text = read(&path);
        let fresh = parts.iter().fold(text.clone(), |text, (part, table)| with_part(&text, part, table));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, fresh).unwrap();
            continue;
        }
        assert!(text == fresh, "{name} is stale; run `UPDATE_DOCS=1 cargo test --test plain docs::`");
    }
}

#[test]
fn the_readme_is_short() {
    let lines = read(&workspace_dir().join("README.md")).lines().count();
    assert!(lines <= 120, "README.md has {lines} lines; at most 120 are read");
}

/// The index of the decision records, in `docs/adr`.
#[test]
fn every_decision_is_in_the_index() {
    let folder = workspace_dir().join("docs/adr");
    let index = read(&folder.join("README.md"));
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "README.md" {
            continue;
        }
        assert!(index.contains(&format!("({name})")), "docs/adr/README.md lacks {name}");
        let text = read(&path);
        for part in ["\nStatus: ", "\n## Context\n", "\n## Decision\n", "\n## Consequences\n"] {
            assert!(text.contains(part), "{name} lacks {part:?}");
        }
        count += 1;
    }
    assert!(count >= 10, "{count}");
}

#[test]
fn the_sources_fields_and_rules_are_in_its_page() {
    let path = workspace_dir().join("docs/source.md");
    let text = read(&path);
    let fresh = with_part(&text, "source fields", &fields_table(Source::Drift));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, fresh).unwrap();
        return;
    }
    assert!(text == fresh, "docs/source.md is stale; run `UPDATE_DOCS=1 cargo test --test plain docs::`");
    let rules = testkit::rules::load(&workspace_dir().join("rules/drift_source_rules.yaml")).unwrap();
    for rule in &rules {
        assert!(text.contains(&format!("| {} (", rule.name)), "docs/source.md lacks rule {:?}", rule.name);
    }
    let rows = text.lines().filter(|l| l.starts_with("| Drift ") && l.contains(" ("));
    assert_eq!(rows.count(), rules.len(), "docs/source.md has a rule that does not exist");
}

/// Every `drift.<name>` in a text that can be a field's name.
fn named_fields(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("drift.") {
        let begins = !text[..at].ends_with(|c: char| word(c) || matches!(c, '.' | '/' | '-'));
        let rest = &text[at + "drift.".len()..];
        // Fields of the source `drift` have one more part.
        let from = if rest.starts_with("event.") { "event.".len() } else { 0 };
        let name = &rest[..rest[from..].find(|c| !word(c)).map_or(rest.len(), |len| from + len)];
        if begins && !name.is_empty() && !rest[name.len()..].starts_with('*') {
            names.insert(format!("drift.{name}"));
        }
    }
    names
}

#[test]
fn every_field_that_is_named_exists() {
    let fields: BTreeSet<String> = FIELDS.iter().map(|f| f.name.to_owned()).collect();
    let metrics: BTreeSet<String> = metrics().iter().map(|m| format!("drift.{m}")).collect();
    let mut seen = BTreeSet::new();
    for path in documents_and_rules() {
        for name in named_fields(&read(&path)) {
            let known = fields.contains(&name) || metrics.contains(&name);
            assert!(known, "{} names {name}, which is no field or metric", path.display());
            seen.insert(name);
        }
    }
    assert!(fields.is_subset(&seen), "named nowhere: {:?}", fields.difference(&seen));
    assert_eq!(
        named_fields("%drift.a_b drift.c. falco.drift.d drift.* /drift.e `drift.f` drift.event.g."),
        ["drift.a_b", "drift.c", "drift.event.g", "drift.f"].map(str::to_owned).into()
    );
}

fn metrics() -> BTreeSet<String> {
    let list = drift::metrics::Metrics::default().list();
    list.iter().map(|(name, ..)| name.to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_metric_that_is_named_exists() {
    // Documents name metrics as Falco prints them: `plugins.drift.<name>`, in Prometheus
    // `falcosecurity_plugins_drift_<name>`; counters end in `_total` there.
    let metrics = metrics();
    let mut seen = BTreeSet::new();
    for path in documents() {
        let text = read(&path);
        for prefix in ["plugins.drift.", "falcosecurity_plugins_drift_"] {
            for (at, _) in text.match_indices(prefix) {
                let rest = &text[at + prefix.len()..];
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                let name = rest[..end].strip_suffix("_total").unwrap_or(&rest[..end]);
                if rest.starts_with('<') {
                    continue;
                }
                assert!(metrics.contains(name), "{} names metric {prefix}{name}", path.display());
                seen.insert(name.to_owned());
            }
        }
    }
    assert_eq!(seen, metrics, "docs/troubleshooting.md explains every metric");
}

#[test]
fn every_rule_says_what_to_do() {
    let rules = testkit::rules::load(&workspace_dir().join("rules/drift_rules.yaml")).unwrap();
    let text = read(&workspace_dir().join("docs/rules.md"));
    let text = text.split("## Reference").next().unwrap();
    for rule in &rules {
        assert!(text.contains(&format!("| {} (", rule.name)), "docs/rules.md lacks rule {:?}", rule.name);
    }
    let rows = text.lines().filter(|l| l.starts_with("| Drift ") && l.contains(" ("));
    assert_eq!(rows.count(), rules.len(), "docs/rules.md has a rule that does not exist");
}

/// What users are meant to change.
fn knobs() -> BTreeSet<String> {
    let mut knobs = BTreeSet::new();
    for file in ["drift_rules.yaml", "drift_source_rules.yaml"] {
        let rules = read(&workspace_dir().join("rules").join(file));
        let names = rules
            .lines()
            .filter_map(|l| l.strip_prefix("- list: ").or_else(|| l.strip_prefix("- macro: ")))
            .filter(|name| {
                name.contains("_allowed")
                    || name.starts_with("drift_repeated_")
                    || name.starts_with("drift_packaged_")
                    || matches!(
                        *name,
                        "drift_shells"
                            | "drift_scratch_directories"
                            | "drift_sensitive_directories"
                            | "drift_trusted_baseline"
                    )
            })
            .filter(|name| !name.ends_with("_not_allowed"));
        knobs.extend(names.map(str::to_owned));
    }
    assert!(knobs.len() >= 20, "{knobs:?}");
    knobs
}

#[test]
fn every_tuning_knob_is_explained() {
    let tuning = read(&workspace_dir().join("docs/tuning.md"));
    let knobs = knobs();
    for knob in &knobs {
        // A section with an example, and a row of the table.
        let name = format!("`{knob}`");
        let in_text = tuning.lines().any(|line| !line.starts_with('|') && line.contains(&name));
        let in_table = tuning.lines().any(|line| line.starts_with('|') && line.contains(&name));
        assert!(in_text && in_table, "docs/tuning.md does not explain {knob}");
    }
    for name in
        tuning.lines().filter_map(|l| l.strip_prefix("- list: ").or_else(|| l.strip_prefix("- macro: ")))
    {
        assert!(knobs.contains(name), "docs/tuning.md changes {name}, which is not in the rules");
    }
}

/// Each YAML example, loaded by a real Falco after the shipped rules, where there is one.
#[test]
fn falco_accepts_every_tuning_example() {
    let test = "docs: examples of docs/tuning.md in Falco";
    let falco = match Engine::find(&Choice::Falco) {
        Ok(falco) => falco,
        Err(why) => return skip_optional(test, &format!("{why:#}")),
    };
    let library = testkit::plugin_library().unwrap();
    let capture = workspace_dir().join("demo/binary.scap");
    let nowhere = tempfile::tempdir().unwrap();
    let config = format!("host_root: {}\n", nowhere.path().display());
    let replay = Replay { plugin: Some(&library), init_config: &config, capture: &capture };
    let folder = workspace_dir().join("rules");
    let rules =
        ["drift_rules.yaml", "drift_source_rules.yaml"].map(|name| read(&folder.join(name))).join("\n");
    let tuning = read(&workspace_dir().join("docs/tuning.md"));
    let mut tried = 0;
    for example in tuning.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        let file = nowhere.path().join("rules.yaml");
        std::fs::write(&file, format!("{rules}\n{example}")).unwrap();
        if let Err(why) = falco.falco_alerts(&replay, &file) {
            panic!("{example}\n{why:#}");
        }
        tried += 1;
    }
    assert!(tried > 6, "only {tried} examples found");
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_block = false;
    let headings = text.lines().filter(|line| {
        in_block ^= line.trim_start().starts_with("```");
        !in_block && line.starts_with('#')
    });
    headings
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    for path in documents() {
        let text = read(&path);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{} links to {target}, which is not there", path.display());
            assert!(
                anchor.is_empty() || anchors(&read(&file)).contains(anchor),
                "{} links to {target}, and there is no such heading",
                path.display()
            );
        }
    }
    assert_eq!(
        anchors("# One\n```sh\n# no\n```\n## `drift diff X`: two"),
        ["one", "drift-diff-x-two"].map(str::to_owned).into()
    );
}

/// Every word in backquotes that looks like a file of this project.
#[test]
fn files_that_are_named_exist() {
    let tops = [
        "src/", "crates/", "tests/", "testkit/", "rules/", "docs/", "scripts/", "demo/", "benches/",
        "deploy/", ".ci/",
    ];
    let mut checked = 0;
    for path in documents() {
        let text = read(&path);
        for word in text.split('`').skip(1).step_by(2) {
            let is_path =
                tops.iter().any(|top| word.starts_with(top)) && !word.contains([' ', '*', '<', '{']);
            if is_path {
                assert!(
                    workspace_dir().join(word).exists(),
                    "{} names {word}, which is not there",
                    path.display()
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 40, "only {checked} files are named");
}

#[test]
fn the_architecture_names_every_room() {
    let text = read(&workspace_dir().join("ARCHITECTURE.md"));
    let mut folders: Vec<_> = ["src", "crates/formats/src", "crates/core/src", "crates/cli/src"]
        .map(|d| workspace_dir().join(d))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                let name = path.strip_prefix(workspace_dir()).unwrap().to_str().unwrap().to_owned();
                assert!(text.contains(&name), "ARCHITECTURE.md does not name {name}");
                folders.push(path);
            }
        }
    }
}
