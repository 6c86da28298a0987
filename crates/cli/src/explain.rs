//! `drift explain`: what an alert means, what to look at next, and what would silence exactly this.

use crate::alert::exception::{refusal, yaml, Row};
use crate::alert::{self, meaning, Alert};
use crate::arguments::Explain;
use crate::json;
use crate::output::printable;
use crate::style::{paint, BAD, DIM, GOOD, HEAD, WARN};
use anyhow::{bail, Result};
use serde_json::{json, Value};
use std::io::Write;

/// Fields that answer "where from, by whom", with the words for them.
const FACTS: [(&str, &[&str]); 14] = [
    ("origin", &["drift.binary_origin", "drift.script_origin", "drift.file_origin", "drift.event.origin"]),
    ("change", &["drift.file_change", "drift.event.change", "drift.pkg_effect"]),
    ("written by", &["drift.binary_writer", "drift.script_writer", "drift.file_writer"]),
    ("written through", &["drift.binary_provenance", "drift.script_provenance", "drift.file_provenance"]),
    ("command", &["drift.process_cmdline", "drift.pkg_command", "proc.cmdline"]),
    ("started by", &["drift.pkg_pcommand", "proc.pcmdline"]),
    ("user", &["drift.process_user", "user.name"]),
    ("package", &["drift.binary_package", "drift.script_package", "drift.file_package"]),
    ("packages", &["drift.pkg_names", "drift.pkg_added"]),
    ("volume", &["drift.volume_kind"]),
    ("kind", &["drift.file_kind", "drift.event.kind"]),
    ("sha256", &["drift.binary_sha256"]),
    ("detail", &["drift.event.detail", "drift.lost"]),
    ("in words", &["drift.event.expected"]),
];

/// Longest fact that is shown, characters.
const MAX_FACT: usize = 300;

/// Explains each alert.
pub(crate) fn run(options: &Explain) -> Result<()> {
    let mut out = anstream::stdout().lock();
    let mut objects = Vec::new();
    let mut failed = None;
    let mut count = 0u64;
    let invalid = alert::read(&options.alerts, &mut |alert| {
        count += 1;
        match options.format.is_json() {
            true => objects.push(value(&alert)),
            false => {
                let written = write!(out, "{}{}", if count > 1 { "\n" } else { "" }, text(&alert));
                failed = failed.take().or(written.err());
            }
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if options.format.is_json() {
        json::write(&objects.into())?;
    }
    match (count, invalid) {
        (0, _) => {
            bail!("{}: no alert in it; expected Falco's JSON (`json_output: true`)", options.alerts.display())
        }
        (_, 0) => Ok(()),
        (_, invalid) => bail!("{invalid} lines are not alerts and were left out"),
    }
}

/// Commands for this container, each with what it is for.
fn commands(alert: &Alert) -> Vec<(String, &'static str)> {
    let mut commands = Vec::new();
    if let Some(id) = alert.container() {
        let id = quoted(&id.chars().take(12).collect::<String>());
        commands.push((format!("drift diff {id}"), "on the node: what else differs"));
        commands
            .push((format!("drift diff {id} --tar evidence.tar"), "on the node: keep it before it is gone"));
    }
    if let Some((namespace, pod)) = alert.pod() {
        let (namespace, pod) = (quoted(&namespace), quoted(&pod));
        commands
            .push((format!("kubectl --namespace {namespace} get pod {pod} -o wide"), "its node, its owner"));
        commands.push((
            format!("kubectl --namespace {namespace} logs {pod} --all-containers --since 1h"),
            "what it said",
        ));
    } else if let Some(name) = alert.name() {
        commands.push((format!("drift diff {}", quoted(&name)), "the same, by name"));
    }
    if let Some(sum) = alert.field("drift.binary_sha256").filter(|sum| sum != "unknown") {
        commands.push((format!("echo {}", quoted(&sum)), "look it up where you look up programs"));
    }
    commands
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let word = printable(word.as_bytes());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    match !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

fn facts(alert: &Alert) -> Vec<(&'static str, String)> {
    let fact = |(word, fields): &(&'static str, &[&str])| {
        let value = fields.iter().find_map(|field| alert.field(field)).filter(|value| value != "unknown")?;
        Some((*word, printable(value.as_bytes()).chars().take(MAX_FACT).collect()))
    };
    FACTS.iter().filter_map(fact).collect()
}

fn exception(alert: &Alert) -> Result<String, &'static str> {
    match (refusal(alert), Row::exactly(alert)) {
        (None, Some(row)) => Ok(yaml([(alert.rule.as_str(), &row, String::new())])),
        (why, _) => Err(why.unwrap_or("no field says what it is about")),
    }
}

fn text(alert: &Alert) -> String {
    let style = match alert.priority.to_ascii_lowercase().as_str() {
        "emergency" | "alert" | "critical" | "error" => BAD,
        "warning" => WARN,
        _ => DIM,
    };
    let line = |text: &str| printable(text.as_bytes());
    let mut out = format!(
        "{}  {}  {}\n",
        paint(HEAD, &line(&alert.rule)),
        paint(style, &line(&alert.priority)),
        paint(DIM, &line(&alert.time))
    );
    if let Some(thing) = alert.thing() {
        out += &format!("{} ", paint(style, &line(&thing.value)));
    }
    out += &format!("in {}", alert.place());
    if let Some(image) = alert.image() {
        out += &format!(", image {}", line(&image));
    }
    out.push('\n');
    match meaning::of(&alert.rule) {
        Some(known) => {
            out += &section("What it means", &known.meaning);
            if !known.action.is_empty() {
                out += &section("What to do", &known.action);
            }
        }
        None => out += &section("What it means", "It is not one of Drift's rules; its output is Falco's."),
    }
    let facts = facts(alert);
    if !facts.is_empty() {
        out += &format!("\n{}\n", paint(HEAD, "Facts"));
        facts.iter().for_each(|(word, fact)| out += &format!("  {word:<16}{fact}\n"));
    }
    let commands = commands(alert);
    if !commands.is_empty() {
        out += &format!("\n{}\n", paint(HEAD, "Next"));
        for (command, why) in commands {
            out += &format!("  {command}  {}\n", paint(DIM, &format!("# {why}")));
        }
    }
    match exception(alert) {
        Ok(yaml) => {
            let heading = "To silence exactly this, in a rules file that Falco loads after Drift's";
            out += &format!("\n{}\n{}", paint(GOOD, heading), yaml);
        }
        Err(why) => out += &format!("\n{} {why}\n", paint(WARN, "No exception:")),
    }
    out
}

/// A heading and a paragraph.
fn section(heading: &str, text: &str) -> String {
    let mut out = format!("\n{}\n", paint(HEAD, heading));
    let mut width = 0;
    for word in text.split_whitespace() {
        if width + word.len() > 96 {
            out.push('\n');
            width = 0;
        }
        out += if width == 0 { "  " } else { " " };
        out += word;
        width += word.len() + 1;
    }
    out.push('\n');
    out
}

fn value(alert: &Alert) -> Value {
    let meaning = meaning::of(&alert.rule);
    let exception = exception(alert);
    let facts = facts(alert).into_iter().map(|(word, fact)| (word.to_owned(), Value::from(fact)));
    let facts = Value::Object(facts.collect());
    json!({
        "rule": alert.rule,
        "priority": alert.priority,
        "time": alert.time,
        "container_id": alert.container(),
        "image": alert.image(),
        "workload": alert.workload(),
        "thing": alert.thing().map(|thing| thing.value),
        "meaning": meaning.map(|m| &m.meaning),
        "action": meaning.map(|m| &m.action),
        "facts": facts,
        "commands": commands(alert).into_iter().map(|(command, _)| command).collect::<Vec<_>>(),
        "exception": exception.as_ref().ok(),
        "no_exception_because": exception.as_ref().err(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_an_alert_are_words_of_a_shell() {
        for (word, shell) in [
            ("shop", "shop"),
            ("a b", "'a b'"),
            ("a;rm -rf /", "'a;rm -rf /'"),
            ("it's", "'it'\\''s'"),
            ("-x", "'-x'"),
            ("", "''"),
            ("\x1b[0m", "'\\033[0m'"),
        ] {
            assert_eq!(quoted(word), shell);
        }
    }
}
