//! `--tar`: the changed files in an archive that is safe to unpack.
//!
//! Invariants: the first member, `manifest.json`, is the whole report; the others are regular files below
//! `files/`, owned by root, neither executable nor set-id; links and devices are told in the manifest alone.
//! A member is as long as the file was when it was looked at, whatever the container does to it meanwhile.

use crate::report::Report;
use crate::{json, output};
use anyhow::{Context, Result};
use drift_core::scan::{FileFinding, FileScan};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a new archive; one that exists is not written over.
pub(crate) fn write(
    path: &Path,
    report: &Report,
    scan: &FileScan,
    digests: &[Option<[u8; 32]>],
    max: u64,
) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut archive = tar::Builder::new(BufWriter::new(file));
    let manifest = json::ascii(&json::value(report, true, digests))?;
    let mut header = header(manifest.len() as u64, 0);
    archive.append_data(&mut header, "manifest.json", manifest.as_slice())?;
    for finding in report.files.iter().filter(|f| f.change.is_drift()) {
        add(&mut archive, finding, scan, max).with_context(|| output::printable(finding.path.as_bytes()))?;
    }
    archive.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}

fn add(
    archive: &mut tar::Builder<impl Write>,
    finding: &FileFinding,
    scan: &FileScan,
    max: u64,
) -> Result<()> {
    // Gone since, or no regular file: the manifest tells of it.
    let Ok(file) = scan.open_file(&finding.path) else { return Ok(()) };
    let size = file.metadata()?.len();
    if size > max {
        return Ok(());
    }
    let mtime = finding.now.map_or(0, |n| n.inode.mtime / 1_000_000_000);
    let mut name = b"files".to_vec();
    name.extend_from_slice(finding.path.as_bytes());
    let exactly = file.take(size).chain(io::repeat(0)).take(size);
    archive.append_data(&mut header(size, mtime), Path::new(std::ffi::OsStr::from_bytes(&name)), exactly)?;
    Ok(())
}

fn header(size: u64, mtime: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    header
}
