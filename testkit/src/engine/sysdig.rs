//! Replay with sysdig.
//!
//! Fields are read from its JSON (`-j`): one line an event whatever bytes a value holds, absent (`null`)
//! apart from empty, lists as arrays. The format starts with `*`, or events that lack a field would be left
//! out.

use std::ffi::OsStr;
use std::io::Write;

use anyhow::{anyhow, bail, Context, Result};

use super::{plugin_config, Engine, Event, Replay, Replayed};

pub(super) fn replay(engine: &Engine, replay: &Replay, filter: &str, fields: &[&str]) -> Result<Replayed> {
    let mut format = String::from("*%evt.num %evt.time");
    for field in fields {
        if !field.contains('.') || field.contains(['%', '(', ' ', '"', '\'']) {
            bail!(
                "{field:?} is not a plain field name (`name.name`, `name.name[argument]`, no transformer, \
                no quotes)"
            );
        }
        format.push_str(&format!(" %{field}"));
    }
    // Held until the engine has ended.
    let config = match replay.plugin {
        Some(plugin) => {
            let mut file = tempfile::Builder::new().prefix("drift-engine-").suffix(".yaml").tempfile()?;
            file.write_all(plugin_config(plugin, replay.init_config)?.as_bytes())?;
            Some(file)
        }
        None => None,
    };
    let mut arguments: Vec<&OsStr> = Vec::new();
    if let Some(config) = &config {
        arguments.extend([OsStr::new("--plugin-config-file"), config.path().as_os_str()]);
    }
    arguments.extend([OsStr::new("-r"), replay.capture.as_os_str()]);
    // -v: whole values (else cut at 80 characters) and the number of events. -d: filter after parsing, as
    // Falco.
    arguments.extend(["-j", "-v", "-d", "-p", &format].map(OsStr::new));
    if !filter.trim().is_empty() {
        arguments.push(OsStr::new(filter));
    }
    let output = engine.output(&arguments).with_context(|| match filter {
        "" => format!("replay of {}", replay.capture.display()),
        filter => format!("replay of {} with filter {filter:?}", replay.capture.display()),
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    let total = total(&said).ok_or_else(|| anyhow!("sysdig did not tell the number of events: {said}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let events = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| Event::from_json(line, fields))
        .collect::<Result<Vec<_>>>()?;
    Ok(Replayed { events, total })
}

/// Reads `Elapsed time: 0.019, Captured Events: 52729, 2704467.35 eps`.
pub(super) fn total(stderr: &str) -> Option<u64> {
    let (_, rest) = stderr.rsplit_once("Captured Events: ")?;
    rest.split(',').next()?.trim().parse().ok()
}
