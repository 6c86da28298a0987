//! A report as text.

use crate::diff::Report;
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

/// Prints a report for people.
pub(crate) fn text(report: &Report, all: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    write!(out, "container {} pid {} image {}", report.container_id, report.pid, report.manifest_state)?;
    match &report.image {
        Some(image) => writeln!(out, " {}", printable(image.as_bytes()))?,
        None => writeln!(out)?,
    }
    let files = report.files.iter().zip(&report.owners);
    let files = files.filter(|(f, _)| all || f.change != FileChange::Touched);
    section(&mut out, "files", files.map(|(f, owner)| file_line(f, owner.as_deref())))?;
    section(&mut out, "packages", report.packages.iter().map(package_line))?;
    let ports = report.ports.iter().filter(|p| all || p.declared != Some(true));
    section(&mut out, "ports", ports.map(port_line))?;
    section(&mut out, "environment", report.environment.iter().map(environment_line))?;
    let processes = report.processes.iter().filter(|p| all || p.is_drift() || p.is_unknown());
    section(&mut out, "processes", processes.map(process_line))?;
    let gaps = report.gaps();
    if !gaps.is_empty() {
        section(&mut out, "not compared", gaps.into_iter())?;
    }
    let drifted = report.files.iter().filter(|f| f.change.is_drift()).count();
    let running = report.processes.iter().filter(|p| p.is_drift()).count();
    writeln!(
        out,
        "\n{drifted} files and {} packages differ, {} ports are not declared, {running} of {} processes run what the \
         image did not ship",
        report.packages.len(),
        report.ports.iter().filter(|p| p.is_drift()).count(),
        report.processes.len()
    )?;
    out.flush()
}

fn section(out: &mut impl Write, name: &str, mut lines: impl Iterator<Item = String>) -> io::Result<()> {
    writeln!(out, "\n{name}:")?;
    lines.try_for_each(|line| writeln!(out, "{line}"))
}

fn package_line(p: &PackageFinding) -> String {
    let versions = |releases| printable(PackageFinding::versions(releases).as_bytes());
    let between = if p.old.is_empty() || p.new.is_empty() { "" } else { " -> " };
    let id = printable(p.id().as_bytes());
    format!("{:<9} {id}  {}{between}{}", p.change(), versions(&p.old), versions(&p.new))
}

fn port_line(p: &PortFinding) -> String {
    let addresses: Vec<String> = p.addresses.iter().map(ToString::to_string).collect();
    format!("{:<10} {}  {}  {:>7} {}", declared(p), p.name(), addresses.join(","), p.pid, printable(&p.path))
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
        true => format!("{:<9} ", "dangerous"),
        false => format!("{:<9} ", "other"),
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
    let mut line = format!("{:<9} {}", f.change.as_str(), printable(f.path.as_bytes()));
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
    let mut line = format!("{:<9} {:>7} {}", p.origin.as_str(), p.pid, printable(&p.path));
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
