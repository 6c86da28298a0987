//! A report as text.

use crate::fold::{fold, is_code, Group, Line};
use crate::report::Report;
use crate::style::{paint, BAD, DIM, GOOD, HEAD, WARN};
use anstyle::Style;
use drift_core::scan::finding::type_name;
use drift_core::scan::packages::PackageFinding;
use drift_core::scan::{EnvironmentFinding, FileChange, FileFinding, FileScan, PortFinding, ProcessFinding};
use drift_core::verdict::compare::sha256;
use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};

/// Bytes for a terminal: what is not printable ASCII is escaped as vis(3) does, and so is the backslash.
pub(crate) fn printable(raw: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len());
    for byte in raw {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b' '..=b'~' => out.push(char::from(*byte)),
            byte => out.push_str(&format!("\\{byte:03o}")),
        }
    }
    out
}

/// SHA-256 of each file of a report that differs and is there, in its order.
pub(crate) fn digests(report: &Report, scan: &FileScan, max: u64) -> Vec<Option<[u8; 32]>> {
    let digest = |f: &FileFinding| {
        let wanted = f.change.is_drift() && f.now.is_some_and(|n| n.size <= max);
        let mut file = scan.open_file(&f.path).ok().filter(|_| wanted)?;
        sha256(&mut file, max, || true).ok().flatten()
    };
    report.files.iter().map(digest).collect()
}

/// Most lines for the files of one container; the rest fits the screen as well.
const MAX_LINES: usize = 30;

/// Most lines of every other section, and of gaps.
const MAX_OTHERS: usize = 20;

/// Prints a report for people.
pub(crate) fn text(report: &Report, full: bool) -> io::Result<()> {
    let mut out = BufWriter::new(anstream::stdout().lock());
    write_text(&mut out, report, full)?;
    out.flush()
}

fn write_text(out: &mut impl Write, report: &Report, full: bool) -> io::Result<()> {
    let id = report.container_id.get(..12).unwrap_or(&report.container_id);
    write!(out, "{}", paint(HEAD, &printable(report.title.as_bytes())))?;
    writeln!(out, "  id {id}  pid {}  image view {}", report.pid, report.manifest_state)?;
    if let Some(image) = &report.image {
        writeln!(out, "image {}", printable(image.as_bytes()))?;
    }
    let shown = |f: &FileFinding| full || f.change != FileChange::Touched;
    let max = if full { usize::MAX } else { MAX_LINES };
    let files: Vec<String> = match full {
        true => (0..report.files.len()).filter_map(|i| one(report, i)).collect(),
        false => fold(&report.files, shown, MAX_LINES)
            .into_iter()
            .filter_map(|line| match line {
                Line::One(i) => one(report, i),
                Line::Below(group) => Some(group_line(&group)),
            })
            .collect(),
    };
    let folded = files.len() < report.files.iter().filter(|f| shown(f)).count();
    section(out, "files", files, max)?;
    if folded {
        writeln!(out, "{}", paint(DIM, "           many files are one line; --full lists each"))?;
    }
    let max = if full { usize::MAX } else { MAX_OTHERS };
    section(out, "packages", report.packages.iter().map(package_line), max)?;
    let ports = report.ports.iter().filter(|p| full || p.declared != Some(true));
    section(out, "ports", ports.map(port_line), max)?;
    section(out, "environment", report.environment.iter().map(environment_line), max)?;
    let processes = report.processes.iter().filter(|p| full || p.is_drift() || p.is_unknown());
    section(out, "processes", processes.map(process_line), max)?;
    section(out, "not compared", report.gaps().into_iter().map(|gap| format!("           {gap}")), max)?;
    writeln!(out, "\n{}", conclusion(report))
}

fn one(report: &Report, i: usize) -> Option<String> {
    let owner = report.owners.get(i).and_then(Option::as_deref);
    Some(file_line(report.files.get(i)?, owner))
}

/// What a report comes to, in a sentence.
pub(crate) fn conclusion(report: &Report) -> String {
    let counts = report.counts();
    let several = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {many}")),
    };
    let found: Vec<String> = [
        several(counts.files, "file differs", "files differ"),
        several(counts.packages, "package differs", "packages differ"),
        several(counts.ports, "port is not declared", "ports are not declared"),
        several(counts.environments, "dangerous environment", "dangerous environments"),
        several(counts.programs, "process runs", "processes run")
            .map(|text| format!("{text} what the image did not ship (of {})", report.processes.len())),
    ]
    .into_iter()
    .flatten()
    .collect();
    match (found.is_empty(), report.gaps().len()) {
        (true, 0) => paint(GOOD, "no drift"),
        (true, gaps) => paint(WARN, &format!("no drift found, and {gaps} things could not be compared")),
        (false, _) => paint(BAD, &found.join(", ")),
    }
}

fn section(
    out: &mut impl Write,
    name: &str,
    lines: impl IntoIterator<Item = String>,
    max: usize,
) -> io::Result<()> {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "\n{}", paint(HEAD, &format!("{name}:")))?;
    for line in lines.by_ref().take(max) {
        writeln!(out, "{line}")?;
    }
    match lines.count() {
        0 => Ok(()),
        more => writeln!(out, "{}", paint(DIM, &format!("           and {more} more; --full lists each"))),
    }
}

/// The word that a line begins with, in its colour, at its width.
fn word(word: &str, style: Style) -> String {
    paint(style, &format!("{word:<9}"))
}

fn change_style(change: FileChange) -> Style {
    match change {
        FileChange::Created | FileChange::Modified | FileChange::Deleted | FileChange::Renamed => WARN,
        FileChange::Metadata => BAD,
        FileChange::Touched => DIM,
        FileChange::Unknown => WARN,
    }
}

fn group_line(group: &Group) -> String {
    let what = match group.changes.iter().collect::<Vec<_>>().as_slice() {
        [(change, _)] => (*change).to_string(),
        _ => "various".to_owned(),
    };
    let mut line = format!("{} {}/*  ", word(&what, WARN), printable(&group.path));
    line += &match group.changes.len() {
        1 => format!("{} entries", group.count()),
        _ => {
            let changes: Vec<String> =
                group.changes.iter().map(|(change, n)| format!("{n} {change}")).collect();
            changes.join(", ")
        }
    };
    if group.bytes > 0 {
        line += &format!(", {}", size(group.bytes));
    }
    if group.code > 0 {
        line += &format!(", {}", paint(BAD, &format!("{} programs, libraries or scripts", group.code)));
    }
    if group.gained > 0 {
        line += &format!(", {}", paint(BAD, &format!("{} gained privileges", group.gained)));
    }
    line
}

/// A number of bytes as people read it.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "B" && value < 10.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

fn package_line(p: &PackageFinding) -> String {
    let versions = |releases| printable(PackageFinding::versions(releases).as_bytes());
    let between = if p.old.is_empty() || p.new.is_empty() { "" } else { " -> " };
    let id = printable(p.id().as_bytes());
    format!("{} {id}  {}{between}{}", word(p.change(), WARN), versions(&p.old), versions(&p.new))
}

fn port_line(p: &PortFinding) -> String {
    let addresses: Vec<String> = p.addresses.iter().map(ToString::to_string).collect();
    let style = if p.is_drift() { BAD } else { DIM };
    let declared = paint(style, &format!("{:<10}", declared(p)));
    format!("{declared} {}  {}  {:>7} {}", p.name(), addresses.join(","), p.pid, printable(&p.path))
}

fn declared(p: &PortFinding) -> &'static str {
    match p.declared {
        Some(true) => "declared",
        Some(false) => "undeclared",
        None => "unknown",
    }
}

fn environment_line(e: &EnvironmentFinding) -> String {
    let names =
        |names: &BTreeSet<Box<[u8]>>| names.iter().map(|n| printable(n)).collect::<Vec<_>>().join(",");
    let mut line = match e.is_drift() {
        true => format!("{} ", word("dangerous", BAD)),
        false => format!("{} ", word("other", DIM)),
    };
    line += &format!("{:>7} {}", e.pids.first().copied().unwrap_or_default(), printable(&e.path));
    if e.pids.len() > 1 {
        line += &format!(" and {} more", e.pids.len() - 1);
    }
    for (what, which) in [("dangerous", &e.risky), ("added", &e.added), ("changed", &e.changed)] {
        if !which.is_empty() {
            line += &format!("  {what}={}", names(which));
        }
    }
    line
}

fn file_line(f: &FileFinding, package: Option<&str>) -> String {
    let style = if is_code(f) || !f.gained.is_empty() { BAD } else { change_style(f.change) };
    let mut line = format!("{} {}", word(f.change.as_str(), style), printable(f.path.as_bytes()));
    if let Some(image) = &f.image_path {
        line += &format!(" (in the image {})", printable(image.as_bytes()));
    }
    line += &format!("  {}", type_name(f.kind));
    if f.content != "other" {
        line += &format!(" {}", f.content);
    }
    if let (Some(before), Some(now)) = (f.before, f.now) {
        if before.mode != now.mode {
            line += &format!(" mode={:04o}->{:04o}", before.mode, now.mode);
        }
        if before.owner != now.owner {
            let ((u, g), (v, h)) = (before.owner, now.owner);
            line += &format!(" owner={u}:{g}->{v}:{h}");
        }
        if before.size != now.size && f.kind == rustix::fs::FileType::RegularFile {
            line += &format!(" size={}->{}", before.size, now.size);
        }
    } else if let Some(now) = f.now.filter(|_| f.change == FileChange::Created) {
        line += &format!(" mode={:04o} owner={}:{}", now.mode, now.owner.0, now.owner.1);
        if f.kind == rustix::fs::FileType::RegularFile {
            line += &format!(" size={}", now.size);
        }
    }
    if !f.gained.is_empty() {
        line += &format!(" gained={}", f.gained.join(","));
    }
    if let Some(package) = package {
        line += &format!(" package={}", printable(package.as_bytes()));
    }
    if f.covered {
        line += " covered by a mount";
    }
    if !f.why.is_empty() {
        line += &format!(" ({})", f.why);
    }
    line
}

fn process_line(p: &ProcessFinding) -> String {
    let style = match (p.is_drift(), p.is_unknown()) {
        (true, _) => BAD,
        (false, true) => WARN,
        (false, false) => DIM,
    };
    let mut line = format!("{} {:>7} {}", word(p.origin.as_str(), style), p.pid, printable(&p.path));
    if p.deleted {
        line += " (deleted)";
    }
    if let Some((path, origin)) = &p.script {
        line += &format!("  script {} {}", origin.as_str(), printable(path));
    }
    if let Some(volume) = p.volume {
        line += &format!(" volume={volume}");
    }
    if let Some(package) = &p.package {
        line += &format!(" package={}", printable(package.as_bytes()));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_a_terminal() {
        assert_eq!(printable(b"a b\\c\nd\x1b[0m\xc3\xbc"), "a b\\\\c\\nd\\033[0m\\303\\274");
    }
}
