//! Completions and man pages, both made from the command line's definition.

use crate::arguments::{Arguments, Completions, Man};
use anyhow::{Context, Result};
use clap::CommandFactory;
use std::io::Write;

/// Prints a shell's completions.
pub(crate) fn completions(options: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "drift", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

/// Writes `drift.1` and a page for each command.
pub(crate) fn man(options: &Man) -> Result<()> {
    let to = &options.directory;
    clap_mangen::generate_to(Arguments::command(), to).with_context(|| format!("writing to {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap_complete::Shell;

    #[test]
    fn each_command_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        man(&Man { directory: directory.path().to_owned() }).unwrap();
        for page in ["drift", "drift-diff", "drift-manifest", "drift-lint", "drift-completions"] {
            let text = std::fs::read_to_string(directory.path().join(format!("{page}.1"))).unwrap();
            assert!(text.contains(".SH NAME"), "{page}");
        }
        assert!(!directory.path().join("drift-man.1").exists(), "a hidden command has none");
    }

    #[test]
    fn each_shell_is_completed() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "drift", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("max-findings"), "{shell}");
        }
    }
}
