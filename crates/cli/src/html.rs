//! A report as one page that needs no network: no script, no font, no image from elsewhere.
//!
//! Invariants: everything a container chose is escaped for the terminal ([`printable`]) and then for HTML;
//! the page is bounded ([`MAX_ROWS`]), whatever the container wrote; of contents only differences of small
//! configuration files that everybody in the container may read are shown, and no line that may hold a
//! secret.

use crate::containers::Target;
use crate::fold::is_code;
use crate::output::{printable, size};
use crate::report::Report;
use drift_core::image::view::{Image, Presence};
use drift_core::scan::finding::type_name;
use drift_core::scan::packages::PackageFinding;
use drift_core::scan::{FileChange, FileFinding, FileScan, ProcessFinding};
use rustix::fs::FileType;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;

/// Most files, and most rows of any other list, of one container.
const MAX_ROWS: usize = 5000;
/// Most directories above a file that are shown as such.
const MAX_DEPTH: usize = 64;
/// Largest file whose difference is shown, bytes.
const MAX_TEXT: u64 = 64 << 10;
/// Most files whose differences are shown, and most lines of each.
const MAX_TEXTS: usize = 50;
const MAX_LINES: usize = 200;

/// Words by which a line may hold a secret.
const SECRETS: [&str; 8] = ["pass", "secret", "token", "key", "credential", "auth", "cookie", "private"];

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>drift diff</title>
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<style>
:root { color-scheme: light dark; --bad: #c62828; --warn: #b26a00; --good: #2e7d32; --dim: #757575;
  --line: #8884; --card: #8881 }
@media (prefers-color-scheme: dark) { :root { --bad: #ff7b72; --warn: #e3b341; --good: #56d364 } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1rem }
h1 { font-size: 1.3rem; margin: 1.5rem 0 .3rem } h2 { font-size: 1.05rem; margin: 1.4rem 0 .3rem }
code, pre, td, summary { font-family: ui-monospace, monospace; font-size: .85rem }
.cards { display: flex; flex-wrap: wrap; gap: .6rem; margin: .8rem 0 }
.card { background: var(--card); border-radius: .4rem; padding: .5rem .9rem; min-width: 6rem }
.card b { display: block; font-size: 1.4rem }
.bad { color: var(--bad) } .warn { color: var(--warn) } .good { color: var(--good) }
.dim { color: var(--dim) }
table { border-collapse: collapse }
td, th { text-align: left; padding: .1rem .9rem .1rem 0; vertical-align: top }
td { overflow-wrap: anywhere }
details { margin-left: 1.1rem } .top > details { margin-left: 0 } .file { margin-left: 2.2rem; font-family:
  ui-monospace, monospace; font-size: .85rem; overflow-wrap: anywhere }
pre { background: var(--card); padding: .6rem; overflow-x: auto; border-radius: .4rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem } dd { margin: 0 }
</style></head><body>
";

/// What the page says of one container.
#[derive(Debug)]
pub(crate) struct Part {
    title: String,
    body: String,
    is_drift: bool,
}

impl Part {
    pub(crate) fn new(target: &Target, report: &Report, scan: &FileScan) -> Self {
        let image = target.container.image.as_ref().ok();
        let texts = image.map(|image| texts(report, image, scan)).unwrap_or_default();
        let parents =
            report.processes.iter().map(|p| (p.pid, target.host.parent_of(p.pid).unwrap_or(0))).collect();
        Self {
            title: text(report.title.as_bytes()),
            body: body(report, &texts, &parents),
            is_drift: report.is_drift(),
        }
    }
}

/// The page.
pub(crate) fn page(parts: &[Part]) -> String {
    let mut page = HEAD.to_owned();
    if parts.len() > 1 {
        let drifted = parts.iter().filter(|p| p.is_drift).count();
        let _ = write!(page, "<h1>{drifted} of {} containers differ</h1><ul>", parts.len());
        for (i, part) in parts.iter().enumerate() {
            let class = if part.is_drift { "bad" } else { "good" };
            let _ = write!(page, "<li><a class={class} href=\"#c{i}\">{}</a></li>", part.title);
        }
        page.push_str("</ul>\n");
    }
    for (i, part) in parts.iter().enumerate() {
        let _ = writeln!(page, "<section id=c{i}>\n<h1>{}</h1>\n{}</section>", part.title, part.body);
    }
    page.push_str("</body></html>\n");
    page
}

/// Bytes that a container chose, for a page.
fn text(raw: &[u8]) -> String {
    let mut out = String::new();
    for c in printable(raw).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn body(report: &Report, texts: &[(String, String)], parents: &BTreeMap<i64, i64>) -> String {
    let mut out = String::new();
    let image = report.image.as_deref().map_or("unknown".to_owned(), |i| text(i.as_bytes()));
    let _ = writeln!(
        out,
        "<dl><dt>Image</dt><dd><code>{image}</code></dd><dt>Id</dt><dd><code>{}</code></dd>\
         <dt>Process</dt><dd>{}</dd><dt>Image view</dt><dd>{}</dd></dl>",
        text(report.container_id.as_bytes()),
        report.pid,
        text(report.manifest_state.as_bytes())
    );
    let counts = report.counts();
    out.push_str("<div class=cards>");
    for (what, count) in [
        ("processes", counts.programs),
        ("files", counts.files),
        ("packages", counts.packages),
        ("ports", counts.ports),
        ("environments", counts.environments),
        ("not compared", report.gaps().len()),
    ] {
        let class = match (what, count) {
            (_, 0) => "good",
            ("not compared", _) => "warn",
            _ => "bad",
        };
        let _ = write!(out, "<div class=card><b class={class}>{count}</b>{what}</div>");
    }
    out.push_str("</div>\n");
    processes(&mut out, report, parents);
    files(&mut out, report);
    for (path, difference) in texts {
        let _ = writeln!(out, "<details><summary>{path}</summary><pre>{difference}</pre></details>");
    }
    let packages = report.packages.iter().map(|p| {
        let versions = |releases| text(PackageFinding::versions(releases).as_bytes());
        vec![p.change().to_owned(), text(p.id().as_bytes()), versions(&p.old), versions(&p.new)]
    });
    rows(&mut out, "Packages", &["change", "package", "in the image", "now"], packages);
    let ports = report.ports.iter().filter(|p| p.declared != Some(true)).map(|p| {
        let addresses: Vec<String> = p.addresses.iter().map(ToString::to_string).collect();
        vec![p.name(), text(addresses.join(" ").as_bytes()), p.pid.to_string(), text(&p.path)]
    });
    rows(&mut out, "Ports that are not declared", &["port", "addresses", "process", "program"], ports);
    let environment = report.environment.iter().map(|e| {
        let names = |names: &std::collections::BTreeSet<Box<[u8]>>| {
            names.iter().map(|n| text(n)).collect::<Vec<_>>().join(" ")
        };
        vec![text(&e.path), names(&e.risky), names(&e.added), names(&e.changed)]
    });
    rows(&mut out, "Environment names", &["program", "dangerous", "added", "changed"], environment);
    let gaps = report.gaps().into_iter().map(|gap| vec![text(gap.as_bytes())]);
    rows(&mut out, "Not compared", &["what and why"], gaps);
    out
}

fn rows(out: &mut String, title: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = write!(out, "<h2>{title}</h2>\n<table><tr>");
    head.iter().for_each(|name| _ = write!(out, "<th>{name}</th>"));
    out.push_str("</tr>\n");
    for row in rows.by_ref().take(MAX_ROWS) {
        out.push_str("<tr>");
        row.iter().for_each(|cell| _ = write!(out, "<td>{cell}</td>"));
        out.push_str("</tr>\n");
    }
    let _ = match rows.count() {
        0 => writeln!(out, "</table>"),
        more => writeln!(out, "</table>\n<p class=dim>and {more} more</p>"),
    };
}

/// Processes below their parents.
fn processes(out: &mut String, report: &Report, parents: &BTreeMap<i64, i64>) {
    if report.processes.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Processes</h2>\n<table><tr><th>process</th><th>origin</th><th>program</th><th></th></tr>\n",
    );
    let mut children: BTreeMap<i64, Vec<&ProcessFinding>> = BTreeMap::new();
    for process in &report.processes {
        let parent = parents.get(&process.pid).copied().filter(|parent| parents.contains_key(parent));
        // Process ids may be reused while they are read: one is never its own parent.
        children.entry(parent.filter(|p| *p != process.pid).unwrap_or(0)).or_default().push(process);
    }
    let mut next: Vec<(usize, &ProcessFinding)> = Vec::new();
    let mut left = MAX_ROWS;
    let mut push = |next: &mut Vec<_>, parent: i64, depth: usize| {
        let below = children.remove(&parent).unwrap_or_default();
        next.extend(below.into_iter().rev().map(|p| (depth, p)));
    };
    push(&mut next, 0, 0);
    while let Some((depth, p)) = next.pop() {
        if left == 0 {
            out.push_str("<tr><td class=dim>and more</td></tr>\n");
            break;
        }
        left -= 1;
        let class = match (p.is_drift(), p.is_unknown()) {
            (true, _) => "bad",
            (false, true) => "warn",
            (false, false) => "dim",
        };
        let indent = "&nbsp;&nbsp;".repeat(depth.min(MAX_DEPTH));
        let script = p.script.as_ref().map(|(path, origin)| format!("script {origin} {}", text(path)));
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class={class}>{}</td><td>{indent}{}{}</td><td>{}</td></tr>",
            p.pid,
            p.origin,
            text(&p.path),
            if p.deleted { " (deleted)" } else { "" },
            script.unwrap_or_default()
        );
        push(&mut next, p.pid, depth + 1);
    }
    out.push_str("</table>\n");
}

/// The changed files as a tree.
fn files(out: &mut String, report: &Report) {
    let changed: Vec<&FileFinding> =
        report.files.iter().filter(|f| f.change != FileChange::Touched).collect();
    if changed.is_empty() {
        return;
    }
    let code = changed.iter().filter(|f| is_code(f)).count();
    let _ = writeln!(
        out,
        "<h2>Files</h2>\n<p>{} changes, {code} of them programs, libraries or scripts.</p>",
        changed.len()
    );
    out.push_str("<div class=top>");
    // How many findings each directory has, to open the small ones.
    let mut below: BTreeMap<&[u8], usize> = BTreeMap::new();
    for finding in &changed {
        directories(finding).for_each(|d| *below.entry(d).or_default() += 1);
    }
    let mut open: Vec<&[u8]> = Vec::new();
    for finding in changed.iter().take(MAX_ROWS) {
        let wanted: Vec<&[u8]> = directories(finding).collect();
        let same = open.iter().zip(&wanted).take_while(|(a, b)| a == b).count();
        (same..open.len()).for_each(|_| out.push_str("</details>\n"));
        open.truncate(same);
        for directory in wanted.into_iter().skip(same) {
            let count = below.get(directory).copied().unwrap_or_default();
            let state = if count <= 20 { " open" } else { "" };
            let _ = writeln!(
                out,
                "<details{state}><summary>{}/ <span class=dim>{count}</span></summary>",
                text(directory)
            );
            open.push(directory);
        }
        file(out, finding);
    }
    open.iter().for_each(|_| out.push_str("</details>\n"));
    out.push_str("</div>\n");
    if changed.len() > MAX_ROWS {
        let _ = writeln!(out, "<p class=dim>and {} more</p>", changed.len() - MAX_ROWS);
    }
}

/// The directories above a file, the uppermost first.
fn directories(f: &FileFinding) -> impl Iterator<Item = &[u8]> {
    let path = f.path.as_bytes();
    let ends = path.iter().enumerate().filter(|(i, b)| **b == b'/' && *i > 0).map(|(i, _)| i);
    ends.take(MAX_DEPTH).filter_map(|end| path.get(..end))
}

fn file(out: &mut String, f: &FileFinding) {
    let class = if is_code(f) || !f.gained.is_empty() { "bad" } else { "warn" };
    let name = f.path.file_name().unwrap_or(b"/");
    let _ = write!(out, "<div class=file><span class={class}>{}</span> {} ", f.change.as_str(), text(name));
    let mut about = vec![type_name(f.kind).to_owned()];
    if f.content != "other" {
        about.push(f.content.to_owned());
    }
    if let Some(now) = f.now.filter(|_| f.kind == FileType::RegularFile) {
        about.push(size(now.size));
    }
    about.extend(f.gained.iter().map(|what| format!("gained {what}")));
    if let Some(from) = &f.image_path {
        about.push(format!("in the image {}", text(from.as_bytes())));
    }
    let _ = writeln!(out, "<span class=dim>{}</span></div>", about.join(", "));
}

/// Path and difference of each small configuration file that changed.
fn texts(report: &Report, image: &Image, scan: &FileScan) -> Vec<(String, String)> {
    let small = |f: &&FileFinding| {
        f.change == FileChange::Modified
            && f.content == "config"
            && [f.before, f.now].into_iter().all(|a| {
                a.is_some_and(|a| {
                    a.kind == FileType::RegularFile && a.size <= MAX_TEXT && a.mode & 0o004 != 0
                })
            })
    };
    let difference = |f: &FileFinding| {
        let image_path = f.image_path.as_ref().unwrap_or(&f.path);
        let Presence::Present { layer, .. } = image.lookup(image_path) else { return None };
        let before = image.layers().get(layer)?.open_file(image_path).ok()?;
        let (before, now) = (read(before.into())?, read(scan.open_file(&f.path).ok()?)?);
        Some((text(f.path.as_bytes()), unified(&before, &now)))
    };
    report.files.iter().filter(small).filter_map(difference).take(MAX_TEXTS).collect()
}

fn read(file: std::fs::File) -> Option<String> {
    let mut content = String::new();
    file.take(MAX_TEXT).read_to_string(&mut content).ok()?;
    Some(content)
}

fn unified(before: &str, now: &str) -> String {
    let difference = similar::TextDiff::from_lines(before, now);
    let mut out = String::new();
    let mut lines = 0;
    for hunk in difference.unified_diff().context_radius(1).iter_hunks() {
        for change in hunk.iter_changes() {
            lines += 1;
            if lines > MAX_LINES {
                out.push_str("<span class=dim>and more</span>\n");
                return out;
            }
            let (sign, class) = match change.tag() {
                similar::ChangeTag::Delete => ('-', "bad"),
                similar::ChangeTag::Insert => ('+', "good"),
                similar::ChangeTag::Equal => (' ', "dim"),
            };
            let line = change.value().trim_end_matches('\n');
            let lower = line.to_ascii_lowercase();
            let line = match SECRETS.iter().any(|word| lower.contains(word)) {
                true => "(a line that may hold a secret)".to_owned(),
                false => text(line.as_bytes()),
            };
            let _ = writeln!(out, "<span class={class}>{sign} {line}</span>");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_container_is_markup() {
        assert_eq!(text(b"<script>\x1b'\"&"), "&lt;script&gt;\\033&#39;&quot;&amp;");
    }

    #[test]
    fn differences_show_no_secret() {
        let shown = unified("listen 80\nworkers 1\n", "listen 81\nworkers 1\ndb_password = hunter2\n<b>\n");
        assert!(shown.contains("- listen 80") && shown.contains("+ listen 81"), "{shown}");
        assert!(shown.contains("may hold a secret") && !shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("&lt;b&gt;"), "{shown}");
        let many: String = (0..1000).map(|i| format!("{i}\n")).collect();
        assert!(unified("", &many).lines().count() <= MAX_LINES + 1);
    }
}
