//! How output looks: colours, tables, progress.
//!
//! Colours are ANSI codes in the text. [`anstream`] removes them where the output is not a terminal, where
//! NO_COLOR is set and with `--color never`, so that nothing else decides on them.

use anstyle::{AnsiColor, Style};

/// What somebody should look at first.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Text in a style.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
