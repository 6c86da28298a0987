//! Tier 2: package managers by name, in real libsinsp, over a real capture, against the expected answers.

use crate::recorded::{Recorded, EXECS};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use testkit::engine::Event;
use testkit::expected::{expected, given};

const CAPTURE: &str = "package.scap";
const FIELDS: [&str; 8] = [
    "proc.pid",
    "proc.ppid",
    "proc.cmdline",
    "proc.env[M]",
    "drift.pkg_manager",
    "drift.pkg_action",
    "drift.pkg_names",
    "drift.pkg_role",
];

/// Found by its writes to the package database only: no name tells what the copy of dpkg in /tmp is.
const BY_EFFECT: &str = "pkg-10";

/// One row of `expected/package.tsv`.
#[derive(Debug)]
struct Row {
    scenario: String,
    alerts: usize,
    manager: Option<String>,
    action: Option<String>,
    names: Option<String>,
}

fn rows(captures: &Path) -> Vec<Row> {
    expected(captures, "package", |cells| Row {
        scenario: cells[0].to_owned(),
        alerts: cells[1].parse().unwrap(),
        manager: given(cells[2]),
        action: given(cells[3]),
        names: given(cells[4]),
    })
}

/// An exec with the scenario it belongs to: the marker of the process or of the nearest ancestor that has
/// one.
#[derive(Debug)]
struct Exec {
    scenario: String,
    command: String,
    manager: Option<String>,
    action: Option<String>,
    names: Option<String>,
    role: Option<String>,
}

fn execs(recorded: &Recorded) -> Vec<Exec> {
    let events = recorded.events(CAPTURE, EXECS, &FIELDS);
    let mut scenarios: BTreeMap<String, String> = BTreeMap::new();
    let mut execs = Vec::new();
    for event in events {
        let text = |field: &str| Event::text(&event, field).unwrap();
        let (pid, parent) = (text("proc.pid").unwrap(), text("proc.ppid").unwrap_or_default());
        let command = text("proc.cmdline").unwrap_or_default();
        let own = marker(&command).or_else(|| marker(&text("proc.env[M]").unwrap_or_default()));
        let known = own.or_else(|| scenarios.get(&pid).or_else(|| scenarios.get(&parent)).cloned());
        let Some(scenario) = known else { continue };
        scenarios.insert(pid, scenario.clone());
        let strip = |list: String| list.trim_start_matches('(').trim_end_matches(')').replace(',', " ");
        execs.push(Exec {
            scenario,
            command,
            manager: text("drift.pkg_manager"),
            action: text("drift.pkg_action"),
            names: text("drift.pkg_names").map(strip),
            role: text("drift.pkg_role"),
        });
    }
    execs
}

/// None of it is in the name of a program such as `dpkg-deb`.
fn marker(text: &str) -> Option<String> {
    testkit::expected::marker(text, "pkg-").filter(|found| found[4..].bytes().all(|b| b.is_ascii_digit()))
}

#[test]
fn every_row_of_the_package_capture_is_right() {
    let Some(recorded) = Recorded::find("replay: package.scap") else { return };
    let execs = execs(&recorded);
    let rows = rows(&recorded.captures);
    assert_eq!(rows.len(), 18);
    let mut wrong = Vec::new();
    for row in rows {
        let of = execs.iter().filter(|e| e.scenario == row.scenario);
        let managers: Vec<&Exec> = of.clone().filter(|e| e.role.as_deref() == Some("manager")).collect();
        assert!(of.clone().count() > 0, "{} has no exec in the capture", row.scenario);
        if row.scenario == BY_EFFECT {
            // What the copy starts is dpkg's own helpers: they unpack and read, and install nothing by
            // themselves.
            let harmless = |e: &&Exec| matches!(e.action.as_deref(), Some("query" | "other"));
            assert!(managers.iter().all(harmless), "{managers:?}");
            assert!(of.clone().all(|e| !e.command.starts_with("updater") || e.manager.is_none()));
            continue;
        }
        // dpkg -l starts dpkg-query in its own place: the first is the process that the row is about.
        match (managers.first(), &row.manager) {
            (None, None) => {}
            (Some(exec), Some(_)) => {
                let got = (&exec.manager, &exec.action, &exec.names);
                if got != (&row.manager, &row.action, &row.names) {
                    wrong.push(format!("{row:?}: {exec:?}"));
                }
            }
            (got, _) => wrong.push(format!("{row:?}: {got:?}")),
        }
        let changing = managers.iter().filter(|e| {
            let action = e.action.as_deref().unwrap_or_default();
            ["install", "upgrade", "remove"].contains(&action)
        });
        if changing.count() != row.alerts {
            wrong.push(format!("{row:?}: not {} change(s) in {managers:?}", row.alerts));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn children_take_part_in_their_managers_work() {
    let Some(recorded) = Recorded::find("replay: package roles") else { return };
    let execs = execs(&recorded);
    let find = |scenario: &str, command: &str| {
        let found = execs.iter().find(|e| e.scenario == scenario && e.command.starts_with(command));
        let e = found.unwrap_or_else(|| panic!("{scenario}: no {command} in {execs:#?}"));
        let text = |t: &Option<String>| t.clone().unwrap_or_else(|| "-".into());
        [text(&e.manager), text(&e.action), text(&e.names), text(&e.role)]
    };
    // dpkg under apt-get answers for itself, and is part of apt-get's change.
    assert_eq!(
        find("pkg-16", "dpkg --status-fd 10 --no-triggers --unpack"),
        ["dpkg", "install", "hello", "nested"]
    );
    assert_eq!(find("pkg-16", "dpkg --status-fd 10 --configure"), ["dpkg", "other", "-", "nested"]);
    // What no package manager is takes the nearest one above.
    assert_eq!(find("pkg-16", "rm -rf"), ["dpkg", "install", "hello", "child"]);
    assert_eq!(find("pkg-16", "sh -c /usr/sbin/dpkg-preconfigure"), ["apt", "install", "hello", "child"]);
    assert_eq!(find("pkg-06", "uname"), ["pip", "install", "six", "child"]);
    assert_eq!(find("pkg-01", "dpkg-deb --fsys-tarfile"), ["dpkg", "query", "-", "nested"]);
    // Under a refresh nothing is part of a change: a hook that installs is an alert of its own.
    assert_eq!(find("pkg-13", "dpkg --print-foreign-architectures"), ["dpkg", "query", "-", "manager"]);
    // What starts a package manager is none.
    assert_eq!(find("pkg-01", "env M=pkg-01"), ["-", "-", "-", "-"]);
    assert_eq!(find("pkg-02", "sh -c : pkg-02"), ["-", "-", "-", "-"]);
}

#[test]
fn the_pack_gives_one_alert_per_transaction() {
    let Some(recorded) = Recorded::find("replay: package alerts") else { return };
    let evaluation = recorded.evaluate(CAPTURE);
    // Of rules on packages; the script of pkg-15 and the copied dpkg of pkg-10 are other rules' drift.
    let expected: BTreeMap<&str, &str> = BTreeMap::from([
        ("install", "Drift package manager changed container"),
        ("upgrade", "Drift package manager changed container"),
        ("remove", "Drift package removed"),
    ]);
    let names = BTreeSet::from(["Drift package manager changed container", "Drift package removed"]);
    let mut got: Vec<(String, String)> = evaluation
        .alerts
        .iter()
        .filter(|a| names.contains(a.rule.as_str()))
        .map(|a| (a.rule.clone(), a.output_fields["drift.pkg_names"].to_string()))
        .collect();
    let mut missing = Vec::new();
    for row in rows(&recorded.captures).into_iter().filter(|r| r.alerts == 1 && r.scenario != BY_EFFECT) {
        let rule = expected[row.action.as_deref().unwrap()];
        let name = row.names.unwrap();
        match got.iter().position(|(r, n)| r == rule && n.contains(&name)) {
            Some(at) => drop(got.remove(at)),
            None => missing.push(format!("{}: {rule} of {name}", row.scenario)),
        }
    }
    assert!(missing.is_empty() && got.is_empty(), "missing {missing:#?}, more than expected {got:#?}");
    let refreshed = evaluation.alerts.iter().filter(|a| a.rule == "Drift package index refreshed");
    assert_eq!(refreshed.count(), 0, "off by default");
}
