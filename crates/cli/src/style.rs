//! How output looks: colours, tables, progress.
//!
//! Colours are ANSI codes in the text. [`anstream`] removes them where the output is not a terminal, where
//! NO_COLOR is set and with `--color never`, so that nothing else decides on them.

use anstyle::{AnsiColor, Style};
use comfy_table::{presets, Attribute, Cell, Color, ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// What somebody should look at first.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What somebody should look at.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// As it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Beside the point.
pub(crate) const DIM: Style = Style::new().dimmed();
/// A heading.
pub(crate) const HEAD: Style = Style::new().bold();

/// Text in a style.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A table without lines, as wide as the terminal; as wide as it needs where there is none.
pub(crate) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).enforce_styling();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    table
}

/// A cell in one of the styles above.
pub(crate) fn cell(style: Option<Style>, text: impl ToString) -> Cell {
    let cell = Cell::new(text);
    match style {
        Some(style) if style == BAD => cell.fg(Color::Red).add_attribute(Attribute::Bold),
        Some(style) if style == WARN => cell.fg(Color::Yellow),
        Some(style) if style == GOOD => cell.fg(Color::Green),
        Some(style) if style == DIM => cell.add_attribute(Attribute::Dim),
        _ => cell,
    }
}

/// A table as text.
pub(crate) fn render(table: &mut Table) -> String {
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Shows on standard error that work goes on; nothing where that is not a terminal.
pub(crate) fn progress(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
