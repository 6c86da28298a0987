//! Tests that this machine cannot run: said aloud, counted, and refused where everything must run.

use std::io::Write;

use crate::target_dir;

/// Reports that `test` cannot run here and why. Writes `SKIP: <test>: <reason>` to stderr (past the test
/// harness, which would hide it) and adds the line to `skips.txt` in the target folder, which `make test`
/// counts.
///
/// # Panics
/// As root with `CI=true`: there every test must run, so a skip is a failure of the set-up.
pub fn skip(test: &str, reason: &str) {
    record(test, reason);
    let in_ci = std::env::var("CI").is_ok_and(|v| v == "true");
    #[allow(clippy::panic)] // Failing the test is the purpose.
    if in_ci && rustix::process::geteuid().is_root() {
        panic!("{test} must run in CI but cannot: {reason}");
    }
}

/// Like [`skip`] for tests that need what CI does not have either (a live Falco, falcosidekick): never a
/// failure.
pub fn skip_optional(test: &str, reason: &str) {
    record(test, reason);
}

fn record(test: &str, reason: &str) {
    let line = format!("SKIP: {}: {}\n", one_line(test), one_line(reason));
    // A report that cannot be written must not fail the tests that can run.
    let _ = std::io::stderr().write_all(line.as_bytes());
    let path = target_dir().join("skips.txt");
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
        let _ = file.write_all(line.as_bytes());
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_reason_stays_on_its_line() {
        assert_eq!(one_line("no podman\n  (exit 127)"), "no podman (exit 127)");
    }
}
