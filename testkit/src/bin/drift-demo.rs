//! Replays a capture through the plugin in a real engine and prints what the rules pack alerts on: a table
//! for people, beside what Falco's own check says of the same programs, or with `--json` Falco's lines.

#![allow(clippy::print_stdout)] // Printing is its purpose.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anstyle::{AnsiColor, Style};
use anyhow::{anyhow, bail, Context, Result};
use serde_json::Value;
use testkit::alerts::{self, Alert, Evaluation};
use testkit::engine::{Choice, Engine, Replay};

const USAGE: &str =
    "usage: drift-demo --plugin PATH --rules FILE --capture FILE [--manifest FILE] [--engine E] [--json]
  --plugin    the built libdrift.so
  --rules     a Falco rules file
  --capture   a capture (scap) of one container
  --manifest  the image's mtree listing, OCI layout or docker-archive
  --engine    any (default), falco, sysdig, debian, or the path of a falco or sysdig binary
  --json      Falco's JSON, an alert a line, instead of a table
  --color     auto (default), always or never";

/// What Falco checks of each program without Drift, by its own rules' conditions: "Drop and execute new
/// binary in container" and "Fileless execution via memfd_create" (falcosecurity/rules).
const STOCK: &str = "
- rule: Drop and execute
  desc: The executable is in the writable layer of the container.
  condition: evt.type in (execve, execveat) and evt.arg.res = 0 and proc.is_exe_upper_layer = true
  output: Drop and execute | file=%proc.exepath
  priority: CRITICAL
- rule: Fileless execution
  desc: The executable is in memory.
  condition: evt.type in (execve, execveat) and evt.arg.res = 0 and proc.is_exe_from_memfd = true
  output: Fileless execution | file=%proc.exepath
  priority: CRITICAL
";

struct Arguments {
    plugin: PathBuf,
    rules: PathBuf,
    capture: PathBuf,
    manifest: Option<PathBuf>,
    engine: String,
    json: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("drift-demo: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(arguments) = arguments(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    let engine = match arguments.engine.as_str() {
        "any" => Engine::find(&Choice::Any),
        "falco" => Engine::find(&Choice::Falco),
        "sysdig" => Engine::find(&Choice::Sysdig),
        "debian" => Engine::debian(),
        path => Engine::find(&Choice::Path(path.into())),
    }?;
    // The capture is of another machine: an empty host keeps this one's processes out of the answers.
    let host = tempfile::tempdir().context("cannot make an empty folder for host_root")?;
    let mut config = serde_json::json!({ "host_root": host.path() });
    if let (Some(manifest), Some(object)) = (&arguments.manifest, config.as_object_mut()) {
        let path =
            std::fs::canonicalize(manifest).with_context(|| format!("manifest {}", manifest.display()))?;
        object.insert("manifests".to_owned(), serde_json::json!([{ "path": path, "containers": ["*"] }]));
    }
    let init_config = serde_json::to_string_pretty(&config)?; // JSON is YAML.
    let replay =
        Replay { plugin: Some(&arguments.plugin), init_config: &init_config, capture: &arguments.capture };
    let start = Instant::now();
    if !arguments.json {
        eprintln!("replaying {} in {} ...", arguments.capture.display(), engine.describe());
    }
    let evaluation = alerts::evaluate(&engine, &replay, &arguments.rules)?;
    let totals = |start: Instant| {
        let seconds = start.elapsed().as_secs_f64();
        format!("{}; engine {}; {seconds:.1} s", alerts::totals(&evaluation), engine.describe())
    };
    if arguments.json {
        for alert in &evaluation.alerts {
            println!("{}", serde_json::to_string(alert)?);
        }
        println!("{}", totals(start));
        return Ok(());
    }
    let stock = stock(&engine, &replay, host.path())?;
    let mut out = anstream::stdout().lock();
    write!(out, "{}", table(&evaluation, &stock))?;
    writeln!(out, "{}", totals(start))?;
    Ok(())
}

/// What Falco says by itself of the same capture.
fn stock(engine: &Engine, replay: &Replay<'_>, folder: &Path) -> Result<Evaluation> {
    let rules = folder.join("stock.yaml");
    std::fs::write(&rules, STOCK).context("cannot write Falco's own checks")?;
    alerts::evaluate(engine, &Replay { plugin: None, ..replay.clone() }, &rules)
}

const HEAD: [&str; 7] = ["TIME", "PRIORITY", "WHAT HAPPENED", "FILE", "ORIGIN", "WRITTEN BY", "FALCO ALONE"];
/// Most characters of each column.
const WIDTHS: [usize; 7] = [12, 8, 27, 28, 17, 36, 18];

const BAD: Style = AnsiColor::Red.on_default().bold();
const WARN: Style = AnsiColor::Yellow.on_default();
const GOOD: Style = AnsiColor::Green.on_default();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// A line of the table: cells, each with its style.
type Row = [(String, Style); 7];

/// The alerts in the order in which they happened, with what Falco says alone, and both in total.
fn table(drift: &Evaluation, stock: &Evaluation) -> String {
    // Both replays give an event the same time.
    let mut rows: BTreeMap<&str, (Option<&Alert>, Option<&Alert>)> = BTreeMap::new();
    drift.alerts.iter().for_each(|a| rows.entry(&a.time).or_default().0 = Some(a));
    stock.alerts.iter().for_each(|a| rows.entry(&a.time).or_default().1 = Some(a));
    let lines: Vec<Row> = rows.iter().map(|(time, (drift, stock))| row(time, *drift, *stock)).collect();
    let mut out = String::new();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|i| {
            let cells = lines.iter().filter_map(|row| row.get(i)).map(|(text, _)| text.chars().count());
            cells.chain(HEAD.get(i).map(|h| h.len())).max().unwrap_or_default()
        })
        .collect();
    let mut line = |cells: &mut dyn Iterator<Item = (&str, Style)>| {
        for (i, ((text, style), width)) in cells.zip(&widths).enumerate() {
            // Nothing stands to the right of the last one.
            let (between, width) = if i + 1 == widths.len() { ("\n", 0) } else { ("  ", *width) };
            out += &format!("{style}{text:<width$}{style:#}{between}");
        }
    };
    line(&mut HEAD.iter().map(|head| (*head, BOLD)));
    lines.iter().for_each(|row| line(&mut row.iter().map(|(text, style)| (text.as_str(), *style))));
    let missed = rows.values().filter(|(drift, stock)| drift.is_some() && stock.is_none()).count();
    let alone = rows.values().filter(|(drift, stock)| drift.is_none() && stock.is_some()).count();
    out += &format!(
        "\n{BOLD}{} alerts.{BOLD:#} Falco alone has {}: {WARN}{missed} of these it does not have{WARN:#}",
        drift.alerts.len(),
        stock.alerts.len()
    );
    if alone > 0 {
        out += &format!(", {GOOD}{alone} of its own are of programs of the image{GOOD:#}");
    }
    out + "\n"
}

fn row(time: &str, drift: Option<&Alert>, stock: Option<&Alert>) -> Row {
    let text = |fields: &[&str]| {
        let alert = drift.or(stock)?;
        fields.iter().find_map(|field| match alert.output_fields.get(*field)? {
            Value::String(text) if !text.is_empty() && text != "unknown" => Some(text.clone()),
            _ => None,
        })
    };
    let script = drift.is_some_and(|d| d.rule.contains("script"));
    let files: &[&str] = match script {
        true => &["drift.script_path", "drift.file_path"],
        false => &["drift.file_path", "drift.script_path", "proc.exepath"],
    };
    let file = text(files);
    let origin = text(&["drift.binary_origin", "drift.script_origin", "drift.file_change"]);
    let writer = text(&["drift.binary_writer", "drift.script_writer", "drift.file_writer"]);
    let priority = drift.map_or("-", |d| d.priority.as_str());
    let style = match priority {
        "Critical" | "Error" => BAD,
        "Warning" => WARN,
        _ => DIM,
    };
    let what = match drift {
        Some(alert) => alert.rule.strip_prefix("Drift ").unwrap_or(&alert.rule).to_owned(),
        None => "nothing: it is the image's".to_owned(),
    };
    let alone = match (drift, stock) {
        (Some(_), Some(stock)) => (stock.rule.clone(), Style::new()),
        (None, Some(stock)) => (stock.rule.clone(), BAD),
        _ => ("-".to_owned(), BAD),
    };
    let mut row = [
        (time.get(11..23).unwrap_or(time).to_owned(), DIM),
        (priority.to_owned(), style),
        (what, if drift.is_some() { Style::new() } else { GOOD }),
        (file.unwrap_or_else(|| "-".to_owned()), Style::new()),
        (origin.unwrap_or_else(|| "-".to_owned()), style),
        (writer.unwrap_or_else(|| "-".to_owned()), DIM),
        alone,
    ];
    for ((text, _), width) in row.iter_mut().zip(WIDTHS) {
        *text = shortened(text, width);
    }
    row
}

/// A text with nothing that acts on a terminal, so many characters long.
fn shortened(text: &str, width: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    match text.chars().count() > width {
        true => text.chars().take(width.saturating_sub(2)).chain("..".chars()).collect(),
        false => text,
    }
}

/// `None` for `--help`.
fn arguments(mut given: impl Iterator<Item = String>) -> Result<Option<Arguments>> {
    let (mut plugin, mut rules, mut capture, mut manifest, mut engine, mut json) =
        (None, None, None, None, "any".to_owned(), false);
    while let Some(option) = given.next() {
        match option.as_str() {
            "--help" | "-h" => return Ok(None),
            "--json" => {
                json = true;
                continue;
            }
            _ => {}
        }
        let mut value = || given.next().ok_or_else(|| anyhow!("{option} needs a value\n{USAGE}"));
        match option.as_str() {
            "--plugin" => plugin = Some(value()?.into()),
            "--rules" => rules = Some(value()?.into()),
            "--capture" => capture = Some(value()?.into()),
            "--manifest" => manifest = Some(value()?.into()),
            "--engine" => engine = value()?,
            "--color" => color(&value()?)?,
            other => bail!("unknown argument {other:?}\n{USAGE}"),
        }
    }
    let missing = |name: &str| anyhow!("{name} is missing\n{USAGE}");
    Ok(Some(Arguments {
        plugin: plugin.ok_or_else(|| missing("--plugin"))?,
        rules: rules.ok_or_else(|| missing("--rules"))?,
        capture: capture.ok_or_else(|| missing("--capture"))?,
        manifest,
        engine,
        json,
    }))
}

fn color(when: &str) -> Result<()> {
    let choice = match when {
        "auto" => anstream::ColorChoice::Auto,
        "always" => anstream::ColorChoice::Always,
        "never" => anstream::ColorChoice::Never,
        other => bail!("--color {other:?}: expected auto, always or never"),
    };
    choice.write_global();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(rule: &str, time: &str, fields: Value) -> Alert {
        Alert {
            event: None,
            hostname: None,
            output: String::new(),
            output_fields: fields.as_object().cloned().unwrap_or_default(),
            priority: "Warning".into(),
            rule: rule.into(),
            source: "syscall".into(),
            tags: Vec::new(),
            time: time.into(),
        }
    }

    fn evaluation(alerts: Vec<Alert>) -> Evaluation {
        Evaluation { alerts, events: None, skipped: Vec::new() }
    }

    #[test]
    fn what_happened_is_beside_what_falco_says_alone() {
        let fields = serde_json::json!({"drift.file_path": "/tmp/x\u{1b}[0m", "drift.binary_origin": "added",
            "drift.binary_writer": "cp /bin/ls /tmp/x"});
        let (first, second) = ("2026-12-01T18:13:51.705000000Z", "2026-12-01T18:13:52.000000000Z");
        let drift = evaluation(vec![alert("Drift binary executed", first, fields)]);
        let touched = alert("Drop and execute", second, serde_json::json!({"proc.exepath": "/bin/ls"}));
        let text = anstream::adapter::strip_str(&table(&drift, &evaluation(vec![touched]))).to_string();
        assert_eq!(
            text,
            "\
TIME          PRIORITY  WHAT HAPPENED               FILE        ORIGIN  WRITTEN BY         FALCO ALONE
18:13:51.705  Warning   binary executed             /tmp/x?[0m  added   cp /bin/ls /tmp/x  -
18:13:52.000  -         nothing: it is the image's  /bin/ls     -       -                  Drop and execute

1 alerts. Falco alone has 1: 1 of these it does not have, 1 of its own are of programs of the image
"
        );
    }
}
