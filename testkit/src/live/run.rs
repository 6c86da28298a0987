//! Running helper programs: output on success, the program's own words on failure.

use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};

/// Runs to the end and gives what was written to standard output, without surrounding space.
///
/// # Errors
/// The program cannot be started or fails; the error holds its command line and what it wrote to standard
/// error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("starting {line}"))?;
    if !out.status.success() {
        bail!("{line}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Sixty-four hex digits that no other container has, as runtimes make them.
///
/// # Errors
/// The kernel's random source cannot be read.
pub(crate) fn random_id() -> Result<String> {
    use std::fmt::Write as _;
    use std::io::Read as _;
    let mut bytes = [0u8; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("reading /dev/urandom")?;
    Ok(bytes.iter().fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    }))
}
