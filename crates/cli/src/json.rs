//! A report as JSON, for programs and for the archive.

use crate::output::printable;
use crate::report::Report;
use drift_core::packages::inventory::Release;
use drift_core::scan::finding::type_name;
use drift_core::scan::packages::PackageFinding;
use drift_core::scan::{
    Attributes, EnvironmentFinding, FileChange, FileFinding, PortFinding, ProcessFinding,
};
use drift_formats::bytes::hex;
use serde_json::{json, Map, Value};
use std::collections::BTreeSet;
use std::io::{self, Write};

/// Prints a report for programs.
pub(crate) fn print(report: &Report, all: bool, digests: &[Option<[u8; 32]>]) -> io::Result<()> {
    write(&value(report, all, digests))
}

/// Prints any value, in ASCII.
pub(crate) fn write(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(&ascii(value)?)?;
    out.flush()
}

/// JSON text in ASCII alone: other characters may act on a terminal too.
pub(crate) fn ascii(value: &Value) -> io::Result<Vec<u8>> {
    let text = serde_json::to_string_pretty(value)?;
    let mut out = Vec::with_capacity(text.len() + 1);
    for c in text.chars() {
        match c {
            '\n' | ' '..='~' => out.push(c as u8),
            // Outside of strings JSON has none of them.
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
        }
    }
    out.push(b'\n');
    Ok(out)
}

/// A report as one object. `all`: also what is as it should be.
pub(crate) fn value(report: &Report, all: bool, digests: &[Option<[u8; 32]>]) -> Value {
    let shown = |f: &FileFinding| all || f.change != FileChange::Touched;
    let files: Vec<Value> = report
        .files
        .iter()
        .enumerate()
        .filter(|(_, f)| shown(f))
        .map(|(i, f)| {
            let package = report.owners.get(i).and_then(Option::as_deref);
            file_value(f, package, digests.get(i).copied().flatten())
        })
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
        "container_name": report.name.name,
        "pod_name": report.name.pod.as_ref().map(|(_, pod)| pod),
        "pod_namespace": report.name.pod.as_ref().map(|(namespace, _)| namespace),
        "pid": report.pid,
        "image": report.image,
        "manifest_state": report.manifest_state,
        "drift": report.is_drift(),
        "complete": report.gaps().is_empty(),
        "not_compared": report.gaps(),
        "files": files,
        "packages": report.packages.iter().map(package_value).collect::<Vec<_>>(),
        "ports": report.ports.iter().filter(|p| all || p.declared != Some(true)).map(port_value).collect::<Vec<_>>(),
        "environment": report.environment.iter().map(environment_value).collect::<Vec<_>>(),
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

fn package_value(p: &PackageFinding) -> Value {
    let releases = |releases: &BTreeSet<Release>| {
        releases
            .iter()
            .map(|r| json!({"version": r.version, "architecture": r.architecture}))
            .collect::<Vec<_>>()
    };
    json!({"package": p.id(), "change": p.change(), "before": releases(&p.old), "now": releases(&p.new)})
}

fn port_value(p: &PortFinding) -> Value {
    let mut object = Map::new();
    object.insert("port".into(), p.name().into());
    object.insert("declared".into(), p.declared.into());
    object.insert("addresses".into(), p.addresses.iter().map(ToString::to_string).collect());
    object.insert("pid".into(), p.pid.into());
    put_path(&mut object, "path", &p.path);
    object.into()
}

fn environment_value(e: &EnvironmentFinding) -> Value {
    let names =
        |names: &BTreeSet<Box<[u8]>>| names.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect();
    let mut object = Map::new();
    put_path(&mut object, "path", &e.path);
    object.insert("pids".into(), e.pids.clone().into());
    for (key, which) in [("dangerous", &e.risky), ("added", &e.added), ("changed", &e.changed)] {
        object.insert(key.into(), names(which));
    }
    object.into()
}
