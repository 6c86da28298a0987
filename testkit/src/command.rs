//! The command `drift`, for tests that run it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The command, built from the tree as it is, beside the test that asks.
///
/// # Panics
/// It cannot be built.
#[expect(clippy::expect_used, clippy::panic, reason = "a test without its program has failed")]
pub fn drift() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // target/<profile>/deps/<test>: Cargo sets CARGO_BIN_EXE_* only for tests of the program's own
        // package.
        let test = std::env::current_exe().expect("the test's own path");
        let profile = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps");
        let release: &[&str] = if profile.ends_with("release") { &["--release"] } else { &[] };
        let built = Command::new(option_env!("CARGO").unwrap_or("cargo"))
            .args(["build", "--quiet", "--locked", "--package", "drift-cli"])
            .args(release)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .env("CARGO_TARGET_DIR", profile.parent().expect("target"))
            .status();
        match built {
            Ok(status) if status.success() => profile.join("drift"),
            other => panic!("building the command: {other:?}"),
        }
    })
}
