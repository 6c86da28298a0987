//! `drift ls`: the running containers, those that drifted most first.

use crate::arguments::{Global, Ls};
use crate::containers::Node;
use crate::json;
use crate::output::printable;
use crate::report::{self, compare, Report};
use crate::style::{self, cell, BAD, DIM, GOOD, WARN};
use anyhow::Result;
use drift_core::scan::Limits;
use serde_json::json;
use std::cmp::Reverse;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most files that are counted of one container: a list needs no more.
const MAX_FILES: u64 = 100_000;
/// Longest name and image that are shown, characters.
const MAX_NAME: usize = 60;

/// Lists them; `true` when any drifted.
pub(crate) fn run(global: &Global, options: &Ls) -> Result<bool> {
    let Some(seconds) = options.watch else { return once(global, options, false) };
    loop {
        once(global, options, true)?;
        std::thread::sleep(Duration::from_secs(seconds.max(1)));
    }
}

fn once(global: &Global, options: &Ls, clear: bool) -> Result<bool> {
    let mut node = Node::open(global, None)?;
    let limits = Limits { max_findings: MAX_FILES, ..Limits::default() };
    let all = node.running();
    let progress = style::progress(&format!("comparing {} containers", all.len()));
    let (mut reports, mut failed) = (Vec::new(), Vec::new());
    for running in all {
        let id = running.id.clone();
        let looked = node.look_at(running);
        let report = looked.and_then(|target| {
            let mut go_on = || {
                progress.inc(1);
                true
            };
            if target.name().is_pause && !options.all {
                return Ok(None);
            }
            Ok(Some(compare(&target, &report::open(&target, None, limits)?, false, &mut go_on)))
        });
        match report {
            Ok(report) => reports.extend(report),
            Err(why) => failed.push((id, format!("{why:#}"))),
        }
    }
    progress.finish_and_clear();
    reports.sort_by_key(|r| (Reverse(r.counts()), r.title.clone()));
    match options.format.is_json() {
        true => json::write(&value(&reports, &failed))?,
        false => {
            let mut out = anstream::stdout().lock();
            if clear {
                write!(out, "\x1b[H\x1b[2J")?;
            }
            write!(out, "{}", text(&reports, &failed, now()))?;
            out.flush()?;
        }
    }
    Ok(reports.iter().any(Report::is_drift))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

fn value(reports: &[Report], failed: &[(Box<str>, String)]) -> serde_json::Value {
    let row = |r: &Report| {
        let counts = r.counts();
        json!({
            "container_id": r.container_id,
            "container_name": r.name.name,
            "pod_name": r.name.pod.as_ref().map(|(_, pod)| pod),
            "pod_namespace": r.name.pod.as_ref().map(|(namespace, _)| namespace),
            "image": r.image,
            "started_ns": r.started,
            "manifest_state": r.manifest_state,
            "complete": r.gaps().is_empty(),
            "drift": r.is_drift(),
            "programs": counts.programs,
            "environments": counts.environments,
            "ports": counts.ports,
            "packages": counts.packages,
            "files": counts.files,
        })
    };
    let gap = |(id, why): &(Box<str>, String)| json!({"container_id": id, "why": why});
    json!({
        "version": 1,
        "containers": reports.iter().map(row).collect::<Vec<_>>(),
        "not_compared": failed.iter().map(gap).collect::<Vec<_>>(),
    })
}

fn text(reports: &[Report], failed: &[(Box<str>, String)], now: u64) -> String {
    if reports.is_empty() && failed.is_empty() {
        return "no container runs here\n".to_owned();
    }
    let head = ["NAME", "POD", "ID", "IMAGE", "AGE", "VIEW", "PROGRAMS", "PORTS", "PACKAGES", "FILES"];
    let mut table = style::table(&head);
    let short = |text: &str| -> String { printable(text.as_bytes()).chars().take(MAX_NAME).collect() };
    for r in reports {
        let counts = r.counts();
        let count = |n: usize, style| cell(Some(if n == 0 { DIM } else { style }), n);
        let (view, style) = view(r);
        let pod = r.name.pod.as_ref().map(|(namespace, pod)| format!("{namespace}/{pod}"));
        table.add_row([
            cell(None, short(r.name.name.as_deref().unwrap_or("-"))),
            cell(None, short(pod.as_deref().unwrap_or("-"))),
            cell(None, r.container_id.get(..12).unwrap_or(&r.container_id)),
            cell(None, short(r.image.as_deref().unwrap_or("unknown"))),
            cell(None, r.started.map_or("-".to_owned(), |at| age(now.saturating_sub(at) / 1_000_000_000))),
            cell(Some(style), view),
            count(counts.programs, BAD),
            count(counts.ports, BAD),
            count(counts.packages, WARN),
            count(counts.files, WARN),
        ]);
    }
    for (id, _) in failed {
        let id = id.get(..12).unwrap_or(id);
        table.add_row([
            cell(None, "-"),
            cell(None, "-"),
            cell(None, id),
            cell(None, "unknown"),
            cell(None, "-"),
            cell(Some(WARN), "none"),
        ]);
    }
    let mut out = style::render(&mut table);
    for (id, why) in failed {
        out += &format!("{}: {}\n", id.get(..12).unwrap_or(id), printable(why.as_bytes()));
    }
    out
}

/// How much of the image is seen, in a word.
fn view(r: &Report) -> (&'static str, anstyle::Style) {
    match (r.manifest_state.split(':').next(), r.gaps().is_empty()) {
        (Some("unavailable"), _) => ("none", BAD),
        (_, false) | (Some("partial"), _) => ("partial", WARN),
        _ => ("whole", GOOD),
    }
}

/// A number of seconds as people read it, as kubectl does.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d")] {
            assert_eq!(age(seconds), text);
        }
    }
}
