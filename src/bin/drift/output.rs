//! A report as text and as JSON.

use crate::diff::Report;
use drift::scan::finding::type_name;
use drift::scan::processes::ProcessFinding;
use drift::scan::{Attributes, FileChange, FileFinding, FileScan};
use drift::verdict::compare::{hex, sha256};
use serde_json::{json, Map, Value};
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
    writeln!(out, "container {} pid {} image {}", report.container_id, report.pid, report.manifest_state)?;
    writeln!(out, "\nfiles:")?;
    for (finding, package) in report.files.iter().zip(&report.packages) {
        if all || finding.change != FileChange::Touched {
            writeln!(out, "{}", file_line(finding, package.as_deref()))?;
        }
    }
    writeln!(out, "\nprocesses:")?;
    for process in report.processes.iter().filter(|p| all || p.is_drift() || p.is_unknown()) {
        writeln!(out, "{}", process_line(process))?;
    }
    let gaps = report.gaps();
    if !gaps.is_empty() {
        writeln!(out, "\nnot compared:")?;
        gaps.iter().try_for_each(|gap| writeln!(out, "{gap}"))?;
    }
    let drifted = report.files.iter().filter(|f| f.change.is_drift()).count();
    let running = report.processes.iter().filter(|p| p.is_drift()).count();
    writeln!(
        out,
        "\n{drifted} files differ, {running} of {} processes run what the image did not ship",
        report.processes.len()
    )?;
    out.flush()
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

/// Prints a report for programs.
pub(crate) fn json(report: &Report, all: bool, digests: &[Option<[u8; 32]>]) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    serde_json::to_writer_pretty(&mut out, &value(report, all, digests))?;
    writeln!(out)?;
    out.flush()
}

/// A report as JSON.
pub(crate) fn value(report: &Report, all: bool, digests: &[Option<[u8; 32]>]) -> Value {
    let shown = |f: &FileFinding| all || f.change != FileChange::Touched;
    let files: Vec<Value> = report
        .files
        .iter()
        .zip(&report.packages)
        .enumerate()
        .filter(|(_, (f, _))| shown(f))
        .map(|(i, (f, package))| file_value(f, package.as_deref(), digests.get(i).copied().flatten()))
        .collect();
    let processes: Vec<Value> = report
        .processes
        .iter()
        .filter(|p| all || p.is_drift() || p.is_unknown())
        .map(process_value)
        .collect();
    json!({
        "version": 1,
        "container_id": report.container_id,
        "pid": report.pid,
        "manifest_state": report.manifest_state,
        "drift": report.is_drift(),
        "complete": report.gaps().is_empty(),
        "not_compared": report.gaps(),
        "files": files,
        "processes": processes,
    })
}

/// A path as JSON: text, and where it is no UTF-8, its bytes in vis(3) beside it.
fn put_path(object: &mut Map<String, Value>, key: &str, path: &[u8]) {
    object.insert(key.to_owned(), String::from_utf8_lossy(path).into());
    if std::str::from_utf8(path).is_err() {
        object.insert(format!("{key}_escaped"), printable(path).into());
    }
}

fn file_value(f: &FileFinding, package: Option<&str>, sha256: Option<[u8; 32]>) -> Value {
    let mut object = Map::new();
    put_path(&mut object, "path", f.path.as_bytes());
    if let Some(image) = &f.image_path {
        put_path(&mut object, "image_path", image.as_bytes());
    }
    let attributes = |a: Attributes| {
        json!({
            "type": type_name(a.kind),
            "mode": format!("{:04o}", a.mode),
            "uid": a.owner.0,
            "gid": a.owner.1,
            "size": a.size,
            "mtime_ns": a.inode.mtime,
            "ctime_ns": a.inode.ctime,
        })
    };
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.to_owned(), value);
        }
    };
    put("change", Some(f.change.as_str().into()));
    put("origin", Some(f.change.origin().as_str().into()));
    put("type", Some(type_name(f.kind).into()));
    put("kind", Some(f.content.into()));
    put("now", f.now.map(attributes));
    put("before", f.before.map(attributes));
    put("gained", (!f.gained.is_empty()).then(|| f.gained.clone().into()));
    put("package", package.map(Into::into));
    put("sha256", sha256.map(|d| hex(&d).into()));
    put("covered", f.covered.then_some(true.into()));
    put("why", (!f.why.is_empty()).then(|| f.why.clone().into()));
    object.into()
}

fn process_value(p: &ProcessFinding) -> Value {
    let mut object = Map::new();
    object.insert("pid".into(), p.pid.into());
    put_path(&mut object, "path", &p.path);
    object.insert("origin".into(), p.origin.as_str().into());
    object.insert("deleted".into(), p.deleted.into());
    if let Some((path, origin)) = &p.script {
        put_path(&mut object, "script_path", path);
        object.insert("script_origin".into(), origin.as_str().into());
    }
    if let Some(volume) = p.volume {
        object.insert("volume".into(), volume.into());
    }
    if let Some(package) = &p.package {
        object.insert("package".into(), package.as_str().into());
    }
    object.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_a_terminal() {
        assert_eq!(printable(b"a b\\c\nd\x1b[0m\xc3\xbc"), "a b\\\\c\\nd\\033[0m\\303\\274");
    }
}
