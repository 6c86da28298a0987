//! Counts of instructions, which do not depend on the machine's load.

use std::process::{Command, Stdio};

/// Instructions within [`super::abi::Engine::ask`] and [`super::abi::Engine::parse`] in a run of this program with these arguments; `None` where there is no
/// valgrind.
pub fn asked(arguments: &[&str]) -> Option<f64> {
    let mut command = Command::new("valgrind");
    command.args([
        "--tool=callgrind",
        "--toggle-collect=*Engine*ask*",
        "--toggle-collect=*Engine*parse*",
        "--callgrind-out-file=/dev/null",
    ]);
    command.arg(std::env::current_exe().ok()?).args(arguments).stdout(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.split(':').nth(1)?.trim().parse().ok()
}
