//! `drift lint`: what is wrong with a rules file, before Falco loads it and before somebody is woken by it.
//!
//! Whether a condition is one, Falco tells (`falco -V`); here is what Falco does not look at: the style that
//! its own rules keep, fields that drift does not have, lists that nobody uses, rules that nobody has tried.
//! [`code::Code`] has all of it.

mod checks;
mod code;
mod event_types;
mod outputs;
mod pack;
mod tags;
mod words;
mod yaml;

use crate::arguments::Lint;
use crate::output::printable;
use anyhow::Context;
use code::Problem;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

/// Largest file that is read, bytes.
const MAX_FILE: u64 = 8 << 20;

/// Cases by rule: whether there is one in which it alerts, and one in which it does not.
type Cases = BTreeMap<String, (bool, bool)>;

/// Writes each problem on a line of its own; whether there was any.
pub fn run(options: &Lint) -> Result<bool, anyhow::Error> {
    let cases = options.cases.as_deref().map(cases).transpose()?;
    let mut out = std::io::stdout().lock();
    let mut count = 0;
    let files: Vec<_> = options
        .files
        .iter()
        .map(|path| Ok((path, yaml::parse(&read(path)?))))
        .collect::<Result<_, anyhow::Error>>()?;
    // As Falco loads them: a file may use, and change, what those before it have.
    let mut earlier: Vec<&yaml::Node> = Vec::new();
    for (path, parsed) in &files {
        let mut problems = match parsed {
            Ok(top) => {
                let pack = pack::Pack::new(top, &earlier);
                earlier.push(top);
                checks::all(&pack, options.prefix.as_deref(), cases.as_ref())
            }
            Err((line, why)) => vec![Problem::new(*line, code::Code::Yaml, why.as_str())],
        };
        problems.sort();
        count += problems.len();
        for problem in problems {
            let (line, code) = (problem.line, problem.code.as_str());
            let text = format!("{}:{line}: {code}: {}", path.display(), problem.text);
            writeln!(out, "{}", printable(text.as_bytes()))?;
        }
    }
    Ok(count > 0)
}

fn read(path: &Path) -> Result<String, anyhow::Error> {
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let size =
        file.take(MAX_FILE + 1).read_to_string(&mut text).with_context(|| path.display().to_string())?;
    anyhow::ensure!(size as u64 <= MAX_FILE, "{} is larger than {MAX_FILE} bytes", path.display());
    Ok(text)
}

/// The cases of a folder, `rules/tests/README.md` says how they are written.
fn cases(folder: &Path) -> Result<Cases, anyhow::Error> {
    let mut cases = Cases::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let top = yaml::parse(&read(&path)?)
            .map_err(|(line, why)| anyhow::anyhow!("{}:{line}: {why}", path.display()))?;
        for case in top.items() {
            let text = |key: &str| case.get(key).and_then(yaml::Node::text);
            if let (Some(rule), Some(alerts)) = (text("rule"), text("alerts")) {
                let known = cases.entry(rule.to_owned()).or_default();
                known.0 |= alerts == "true";
                known.1 |= alerts == "false";
            }
        }
    }
    Ok(cases)
}
