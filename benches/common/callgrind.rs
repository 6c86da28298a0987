//! Counts of instructions, which do not depend on the machine's load.

use std::process::{Command, Stdio};

/// Instructions within a function of [`super::abi::Engine`] (one: with two, callgrind collects nothing) in a
/// run of this program with these arguments; `None` where there is no valgrind.
pub fn within(function: &str, arguments: &[&str]) -> Option<f64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(format!("--toggle-collect=*abi*Engine*{function}*"));
    command.arg(std::env::current_exe().ok()?).args(arguments).stdout(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.split(':').nth(1)?.trim().parse().ok()
}
