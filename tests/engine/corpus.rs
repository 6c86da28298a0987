//! False positives and false negatives, case by case: what the rules that Falco ships say, and what Drift
//! says. Writes the tables of docs/corpus.md (`UPDATE_DOCS=1 cargo test --test engine corpus::`).
//!
//! Of Falco's rules only the condition's own idea is here, without the lists of programs and images that are
//! left out: on these recordings none of those matters.

use crate::cases::{all_cases, shipped_rules, Setting};
use crate::recorded::Recorded;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use testkit::alerts::{Alert, Evaluator};
use testkit::engine::Engine;
use testkit::expected::{binary_rows, cells, expected, expected_table, marker};
use testkit::generated::{assert_current, table};
use testkit::rules::Rule;

const SPAWNED: &str = "evt.type in (execve, execveat) and evt.arg.res = 0";
/// "Drop and execute new binary in container" (stable).
const UPPER: &str = "proc.is_exe_upper_layer = true";
/// "Fileless execution via memfd_create" (stable).
const MEMFD: &str = "proc.is_exe_from_memfd = true";
/// "Terminal shell in container" (stable).
const TERMINAL: &str =
    "proc.name in (ash, bash, csh, ksh, sh, tcsh, zsh, dash) and proc.tty != 0 and (not proc.pname exists \
    or proc.pname in (runc, docker-runc, containerd-shim, systemd, crio))";
const MANAGERS: &str =
    "(dpkg, dpkg-preconfigu, dpkg-reconfigur, dpkg-divert, apt, apt-get, aptitude, apt-cache, \
    apt-key, rpm, yum, dnf, microdnf, gem, npm, pip, pip3, conda, apk, update-alternat, snapd)";
const WRITES: &str =
    "evt.type in (open, openat, openat2) and evt.is_open_write = true and fd.typechar = 'f' and fd.num >= 0";

/// "Launch Package Management Process in Container" (incubating).
fn packages() -> String {
    let ancestors = ["proc.pname", "proc.aname[2]", "proc.aname[3]", "proc.aname[4]"];
    let none = ancestors.map(|ancestor| format!(" and not {ancestor} in {MANAGERS}")).concat();
    format!("{SPAWNED} and proc.name in {MANAGERS}{none}")
}

/// "Write below etc", "Write below binary dir", "Write below root", "Modify binary dirs" (sandbox).
fn files() -> [String; 4] {
    let below_bin = ["path", "name", "oldpath", "newpath"].map(|argument| {
        let below = |dir: &str| format!("evt.arg.{argument} startswith {dir}/");
        ["/bin", "/sbin", "/usr/bin", "/usr/sbin"].map(below).join(" or ")
    });
    let modify = "evt.type in (rename, renameat, renameat2, rmdir, unlink, unlinkat)";
    [
        format!("{WRITES} and fd.name startswith /etc"),
        format!("{WRITES} and fd.directory in (/bin, /sbin, /usr/bin, /usr/sbin)"),
        format!("{WRITES} and (fd.directory in (/, /root) or fd.name startswith /root/)"),
        format!("{modify} and ({})", below_bin.join(" or ")),
    ]
}

/// How an answer agrees with what is due.
fn judged(due: bool, alerted: bool) -> &'static str {
    match (due, alerted) {
        (true, true) => "alert",
        (true, false) => "**missed**",
        (false, true) => "**false alarm**",
        (false, false) => "silent",
    }
}

/// One line of the summary.
#[derive(Debug, Default)]
struct Score {
    due: usize,
    found: usize,
    clean: usize,
    false_alarms: usize,
}

impl Score {
    fn add(&mut self, due: bool, alerted: bool) {
        match due {
            true => (self.due, self.found) = (self.due + 1, self.found + usize::from(alerted)),
            false => {
                (self.clean, self.false_alarms) = (self.clean + 1, self.false_alarms + usize::from(alerted))
            }
        }
    }

    fn cells(&self) -> [String; 2] {
        [format!("{} of {}", self.found, self.due), format!("{} of {}", self.false_alarms, self.clean)]
    }
}

/// A corpus: its rows for the table, and the scores of those that judge it.
struct Corpus {
    rows: Vec<Vec<String>>,
    scores: Vec<(String, Score)>,
}

impl Corpus {
    fn new(judges: &[&str]) -> Self {
        let scores = judges.iter().map(|judge| ((*judge).to_owned(), Score::default())).collect();
        Self { rows: Vec::new(), scores }
    }

    /// `None`: this judge has no opinion on the case.
    fn add(&mut self, case: &str, what: &str, due: bool, alerted: &[Option<bool>]) {
        let mut row = vec![case.to_owned(), what.to_owned()];
        for ((_, score), alerted) in self.scores.iter_mut().zip(alerted) {
            let Some(alerted) = alerted else {
                row.push(String::new());
                continue;
            };
            score.add(due, *alerted);
            row.push(judged(due, *alerted).to_owned());
        }
        self.rows.push(row);
    }

    fn table(&self) -> String {
        let judges = self.scores.iter().map(|(judge, _)| judge.as_str());
        let head: Vec<&str> = ["case", "what"].into_iter().chain(judges).collect();
        table(&head, self.rows.clone())
    }
}

/// What the last column of a file of expected answers says of each scenario.
fn what(captures: &Path, name: &str) -> BTreeMap<String, String> {
    let of = |cells: &[&str]| (cells[0].to_owned(), cells[cells.len() - 1].to_owned());
    expected(captures, name, of).into_iter().collect()
}

/// `binary.scap`: what runs.
fn executions(recorded: &Recorded) -> Corpus {
    let mut corpus = Corpus::new(&[
        "Drop and execute new binary in container",
        "Fileless execution via memfd_create",
        "Drift, in the replay",
        "Drift, live",
    ]);
    let what = what(&recorded.captures, "binary");
    let matched = |condition: &str| -> BTreeSet<String> {
        let events = recorded.events_without_drift(
            "binary.scap",
            &format!("{SPAWNED} and {condition}"),
            &["proc.args"],
        );
        events.iter().filter_map(|e| marker(&e.text("proc.args").unwrap()?, "scn-")).collect()
    };
    let (upper, memfd) = (matched(UPPER), matched(MEMFD));
    let replayed: BTreeSet<String> =
        recorded.evaluate("binary.scap").alerts.iter().filter_map(|a| marker(&a.output, "scn-")).collect();
    for row in binary_rows(&recorded.captures) {
        let Some(due) = row.alert else { continue };
        let name = &row.scenario;
        // A rule on memfds has no opinion on files.
        let by_memfd = (row.binary == "memfd" || memfd.contains(name)).then(|| memfd.contains(name));
        // tests/containers/execs.rs asserts that every row is right.
        corpus.add(
            name,
            &what[name],
            due,
            &[Some(upper.contains(name)), by_memfd, Some(replayed.contains(name)), Some(due)],
        );
    }
    corpus
}

/// `package.scap`: package managers.
fn package_managers(recorded: &Recorded) -> Corpus {
    let mut corpus = Corpus::new(&["Launch Package Management Process in Container", "Drift, in the replay"]);
    // The scenarios follow each other: one lasts until the next one's marker.
    let mut begins: Vec<(u64, String)> = Vec::new();
    for event in recorded.events_without_drift("package.scap", SPAWNED, &["proc.cmdline", "proc.env[M]"]) {
        let text = |field: &str| event.text(field).unwrap().unwrap_or_default();
        let both = format!("{} {}", text("proc.cmdline"), text("proc.env[M]"));
        let Some(name) = marker(&both, "pkg-") else { continue };
        if begins.last().is_none_or(|(_, last)| *last != name) {
            begins.push((event.num, name));
        }
    }
    let scenario =
        |num: u64| begins.iter().rev().find(|(begin, _)| *begin <= num).map(|(_, name)| name.clone());
    let events = recorded.events_without_drift("package.scap", &packages(), &["proc.name"]);
    let by_falco: BTreeSet<String> = events.iter().filter_map(|e| scenario(e.num)).collect();
    let alerts = recorded.evaluate("package.scap").alerts;
    let of_packages =
        alerts.iter().filter(|a| a.tags.iter().any(|t| t == "package") && a.priority != "Informational");
    let by_drift: BTreeSet<String> = of_packages.filter_map(|a| scenario(a.event?)).collect();
    for cells in cells(&expected_table(&recorded.captures, "package")) {
        let (name, due) = (cells[0], cells[1] == "1");
        let what = match cells[5] {
            "" => format!("{} {} {}", cells[2], cells[3], cells[4]),
            said if cells[2] == "-" => said.to_owned(),
            said => format!("{}: {said}", cells[2]),
        };
        corpus.add(name, &what, due, &[Some(by_falco.contains(name)), Some(by_drift.contains(name))]);
    }
    corpus
}

/// `file.scap`: changes of files.
fn changed_files(recorded: &Recorded) -> Corpus {
    let mut corpus = Corpus::new(&["Falco's rules on writes", "Drift, live"]);
    let fields = ["fd.name", "evt.args"];
    let mut touched = Vec::new();
    for filter in files() {
        for event in recorded.events_without_drift("file.scap", &filter, &fields) {
            touched.push(fields.map(|f| event.text(f).unwrap().unwrap_or_default()));
        }
    }
    for cells in cells(&expected_table(&recorded.captures, "file")) {
        let (name, path) = (cells[0], cells[2]);
        if cells[1] == "-" {
            continue;
        }
        let due = cells[1] == "1";
        let word = |text: &str| text.split([' ', '=', '(', ')']).any(|w| w == path);
        // A file may have another name than the row's when it is written.
        let marked = |text: &str| text.contains(name);
        let by_falco =
            touched.iter().any(|[file, args]| file == path || word(args) || marked(file) || marked(args));
        let what = format!("{path} {}: {}", cells[3], cells.get(4).copied().unwrap_or_default());
        // tests/live_files asserts that every row is right.
        corpus.add(name, what.trim_end_matches([':', ' ']), due, &[Some(by_falco), Some(due)]);
    }
    corpus
}

/// The cases in `rules/tests` that are made of system calls which Falco's rules look at as well.
fn written() -> Corpus {
    let mut corpus = Corpus::new(&["Falco's rules", "Drift"]);
    let about =
        |(file, _): &(String, testkit::cases::Case)| matches!(file.as_str(), "execution" | "packages");
    let cases: Vec<_> = all_cases().into_iter().filter(about).collect();
    let setting = Setting::new(cases);
    let (engine, replay) = (Engine::sysdig().unwrap(), setting.replay());
    let on: Vec<Rule> = shipped_rules().into_iter().filter(|r| r.enabled).collect();
    let loud = |a: &Alert| a.priority != "Informational";
    let alerts = Evaluator::new(&engine, &replay).alerts(&on).unwrap();
    let time = |a: &Alert| a.output_fields["evt.time"].as_u64().unwrap();
    let by_drift: BTreeSet<&str> =
        alerts.iter().filter(|a| loud(a)).filter_map(|a| setting.capture.case_at(time(a))).collect();
    let filters = [UPPER, MEMFD, TERMINAL].map(|condition| format!("{SPAWNED} and {condition}"));
    let mut by_falco: BTreeSet<&str> = BTreeSet::new();
    for filter in filters.into_iter().chain([packages()]) {
        let events = engine.replay(&replay, &filter, &[]).unwrap().events;
        by_falco.extend(events.iter().filter_map(|e| setting.capture.case_at(e.time)));
    }
    // What is only told by drift's own events has nothing that Falco's rules could look at.
    let told_only = |case: &testkit::cases::Case| {
        case.events.iter().all(|e| matches!(e, testkit::cases::Happening::Told { .. }))
    };
    let loud_rules: BTreeSet<&str> = on
        .iter()
        .filter(|r| r.priority < testkit::rules::Priority::Informational)
        .map(|r| r.name.as_str())
        .collect();
    for (_, case) in setting.cases.iter().filter(|(_, case)| !told_only(case)) {
        // Due is what the case is about, and whatever else alerts in it by its golden file; a case about a
        // rule that is off is none here.
        if !loud_rules.contains(case.rule.as_str()) {
            continue;
        }
        let name = case.name.as_str();
        let due = case.alerts || by_drift.contains(name);
        corpus.add(name, "", due, &[Some(by_falco.contains(name)), Some(by_drift.contains(name))]);
    }
    corpus
}

#[test]
fn the_corpus_is_what_the_engine_shows() {
    let Some(recorded) = Recorded::find("corpus: Falco's rules and Drift's") else { return };
    let corpora = [
        ("executions", "36 executions, recorded", executions(&recorded)),
        ("packages", "18 calls of package managers, recorded", package_managers(&recorded)),
        ("files", "24 changes of files, recorded", changed_files(&recorded)),
        ("written", "cases written down in `rules/tests`", written()),
    ];
    let mut summary = Vec::new();
    let mut parts = Vec::new();
    for (name, title, corpus) in &corpora {
        assert!(corpus.rows.len() > 15, "{name}");
        for (judge, score) in &corpus.scores {
            let [found, false_alarms] = score.cells();
            summary.push(vec![(*title).to_owned(), judge.clone(), found, false_alarms]);
            if judge.starts_with("Drift") {
                // In a replay nothing can be compared: programs that were only touched alert as unverified.
                let unverified = if *name == "executions" && judge.contains("replay") { 5 } else { 0 };
                assert_eq!(score.false_alarms, unverified, "{title}: {judge}");
            }
        }
        parts.push((*name, corpus.table()));
    }
    parts.push(("summary", table(&["corpus", "who judges", "drift found", "false alarms"], summary)));
    assert_current(&testkit::workspace_dir().join("docs/corpus.md"), &parts, "engine corpus::");
}
