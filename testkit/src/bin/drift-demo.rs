//! Replays a capture through the plugin in a real engine and prints each alert of the rules pack as Falco's
//! JSON, then one line of totals.

#![allow(clippy::print_stdout)] // Printing is its purpose.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{anyhow, bail, Context, Result};
use testkit::alerts;
use testkit::engine::{Choice, Engine, Replay};

const USAGE: &str =
    "usage: drift-demo --plugin PATH --rules FILE --capture FILE [--manifest FILE] [--engine E]
  --plugin    the built libdrift.so
  --rules     a Falco rules file
  --capture   a capture (scap) of one container
  --manifest  the image's mtree listing, OCI layout or docker-archive
  --engine    any (default), falco, sysdig, debian, or the path of a falco or sysdig binary";

struct Arguments {
    plugin: PathBuf,
    rules: PathBuf,
    capture: PathBuf,
    manifest: Option<PathBuf>,
    engine: String,
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
    let evaluation = alerts::evaluate(&engine, &replay, &arguments.rules)?;
    for alert in &evaluation.alerts {
        println!("{}", serde_json::to_string(alert)?);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{}; engine {}; {seconds:.1} s", alerts::totals(&evaluation), engine.describe());
    Ok(())
}

/// `None` for `--help`.
fn arguments(mut given: impl Iterator<Item = String>) -> Result<Option<Arguments>> {
    let (mut plugin, mut rules, mut capture, mut manifest, mut engine) =
        (None, None, None, None, "any".to_owned());
    while let Some(option) = given.next() {
        if option == "--help" || option == "-h" {
            return Ok(None);
        }
        let mut value = || given.next().ok_or_else(|| anyhow!("{option} needs a value\n{USAGE}"));
        match option.as_str() {
            "--plugin" => plugin = Some(value()?.into()),
            "--rules" => rules = Some(value()?.into()),
            "--capture" => capture = Some(value()?.into()),
            "--manifest" => manifest = Some(value()?.into()),
            "--engine" => engine = value()?,
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
    }))
}
