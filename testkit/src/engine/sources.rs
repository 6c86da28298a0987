//! Where this machine gets its Debian or Ubuntu packages from: sources.list(5), one-line and deb822 style.

/// One archive: a URI with a suite and its components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Base address, as written.
    pub uri: String,
    /// Suite, such as `bookworm` or `noble-security`.
    pub suite: String,
    /// Components, such as `main`.
    pub components: Vec<String>,
}

/// Reads a `.list` file: `deb [options] uri suite component...`, one a line. Disabled and source lines are
/// left out.
pub fn one_line(text: &str) -> Vec<Archive> {
    let mut archives = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        let Some(rest) = line.strip_prefix("deb").filter(|r| r.starts_with([' ', '\t', '['])) else {
            continue;
        };
        let mut rest = rest.trim_start();
        if let Some(options) = rest.strip_prefix('[') {
            let Some((_, after)) = options.split_once(']') else { continue };
            rest = after;
        }
        let mut words = rest.split_whitespace().map(str::to_owned);
        if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
            archives.push(Archive { uri, suite, components: words.collect() });
        }
    }
    archives
}

/// Reads a `.sources` file: deb822 paragraphs. Disabled and source-only paragraphs are left out.
pub fn deb822(text: &str) -> Vec<Archive> {
    let mut archives = Vec::new();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for paragraph in lines.split(|line| line.trim().is_empty()) {
        let words = |key: &str| field(paragraph, key);
        if words("Enabled")
            .first()
            .is_some_and(|v| v.eq_ignore_ascii_case("no") || v.eq_ignore_ascii_case("false"))
        {
            continue;
        }
        if !words("Types").iter().any(|t| t == "deb") {
            continue;
        }
        let components = words("Components");
        for uri in words("URIs") {
            for suite in words("Suites") {
                archives.push(Archive { uri: uri.clone(), suite, components: components.clone() });
            }
        }
    }
    archives
}

/// The words of one field of a paragraph, its continuation lines (that begin with a blank) included.
fn field(paragraph: &[&str], key: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut inside = false;
    for line in paragraph {
        let value = if line.starts_with([' ', '\t']) {
            *line
        } else {
            let Some((name, value)) = line.split_once(':') else { continue };
            inside = name.trim().eq_ignore_ascii_case(key);
            value
        };
        if inside {
            words.extend(value.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The main mirror of distribution `id` (`debian`, `ubuntu`) among `archives`: the one that has component
/// `main` of the release itself (not its security, updates or backports suites), preferring an address that
/// ends like the distribution's own (`…/debian`), since others publish for the same release names.
pub fn main_mirror<'a>(archives: &'a [Archive], id: &str, codename: &str) -> Option<&'a str> {
    let rolling = ["stable", "oldstable", "testing", "unstable", "sid", "devel"];
    let mut candidates: Vec<&Archive> = archives
        .iter()
        .filter(|a| a.components.iter().any(|c| c == "main"))
        .filter(|a| a.suite == codename || rolling.contains(&a.suite.as_str()))
        .filter(|a| !a.uri.starts_with("cdrom:") && !a.uri.starts_with("file:"))
        .collect();
    let own = |a: &&Archive| {
        let last = a.uri.trim_end_matches('/').rsplit('/').next().unwrap_or("");
        last == id
            || last.strip_prefix(id).is_some_and(|rest| rest.starts_with('-') && !rest.contains("security"))
    };
    candidates.sort_by_key(|a| !own(a));
    candidates.first().map(|a| a.uri.as_str())
}
