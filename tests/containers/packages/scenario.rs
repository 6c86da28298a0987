//! The scenarios of `captures/scenarios/package.sh`, each with the alert that is due.

use super::{list, shown, start, watch, Outcome};
use std::path::Path;
use testkit::expected::{captures, expected};
use testkit::live::fixtures::{self, Deb};
use testkit::live::{Container, Runtime};

/// One row of `expected/package.tsv`.
#[derive(Debug)]
struct Row {
    scenario: String,
    alert: bool,
    /// Manager, action, names; `None` where no package manager is known by name.
    work: Option<[String; 3]>,
}

fn rows(captures: &Path) -> Vec<Row> {
    expected(captures, "package", |cells| {
        let work = [cells[2], cells[3], cells[4]].map(|cell| cell.trim_matches('-').to_owned());
        Row { scenario: cells[0].to_owned(), alert: cells[1] == "1", work: (cells[2] != "-").then_some(work) }
    })
}

/// The packages that the script takes from `/vol`; all for every architecture, whatever their file's name
/// says.
fn put_packages(container: &Container) {
    let vol = container.vol();
    for (file, name, version) in [
        ("hello_2.10-3_amd64.deb", "hello", "2.10-3"),
        ("cowsay_3.03+dfsg2-8_all.deb", "cowsay", "3.03+dfsg2-8"),
        ("sl_5.02-1+b1_amd64.deb", "sl", "5.02-1+b1"),
    ] {
        let program = format!("usr/games/{name}");
        let files = [(program.as_str(), 0o755, "#!/bin/sh\nexit 0\n")];
        fixtures::deb(&vol.join(file), &Deb { name, version, files: &files, ..Deb::default() }).unwrap();
    }
    for wheel in ["six-1.17.0-py2.py3-none-any.whl", "toolz-1.2.0-py3-none-any.whl"] {
        fixtures::wheel(&vol.join(wheel), &[]).unwrap();
    }
}

#[test]
fn podman_every_scenario() {
    let _turn = crate::turns::take(module_path!());
    run("live packages: podman, scenarios", Runtime::Podman);
}

#[test]
fn containerd_every_scenario() {
    let _turn = crate::turns::take(module_path!());
    run("live packages: containerd, scenarios", Runtime::Containerd);
}

fn run(test: &str, runtime: Runtime) {
    let Some(captures) = captures(test) else { return };
    let Some(container) = start(test, runtime) else { return };
    put_packages(&container);
    let script = std::fs::read_to_string(captures.join("scenarios/package.sh")).unwrap();
    let outcome = watch(&container, &script);
    let rows = rows(&captures);
    let wrong = compare(&rows, &outcome);
    let told: Vec<_> = outcome.told.iter().map(|line| line.fields.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\nall that was told: {told:#?}\n{:#?}", outcome.serious());
    // The lists are exact.
    let of = |command: &str| {
        let mut all = outcome.told.iter().filter(|l| l.text("drift.pkg_command").unwrap().contains(command));
        let line = all.next().unwrap_or_else(|| panic!("{command}: {told:#?}"));
        assert!(all.next().is_none(), "{command} is told twice: {told:#?}");
        let lists = ["added", "removed", "upgraded", "reinstalled"];
        lists.map(|name| list(&line.fields[&format!("drift.pkg_{name}")]).join(" "))
    };
    assert_eq!(of("dpkg -i /vol/hello"), ["hello=2.10-3", "", "", ""]);
    assert_eq!(of("install -y /vol/cowsay"), ["cowsay=3.03+dfsg2-8", "", "", ""]);
    assert_eq!(of("/vol/six-1.17.0"), ["six=1.17.0", "", "", ""]);
    assert_eq!(of("/vol/toolz-1.2.0"), ["toolz=1.2.0", "", "", ""]);
    assert_eq!(of("remove -y cowsay"), ["", "cowsay=3.03+dfsg2-8", "", ""]);
    assert_eq!(of("updater -i"), ["sl=5.02-1+b1", "", "", ""]);
    assert_eq!(of("uninstall -y"), ["", "six=1.17.0", "", ""]);
    assert_eq!(of("--reinstall"), ["", "", "", "hello=2.10-3"]);
    assert_eq!(of("--purge hello"), ["", "hello=2.10-3", "", ""]);
    let updater =
        outcome.told.iter().find(|l| l.text("drift.pkg_command").unwrap().contains("updater")).unwrap();
    assert_eq!(updater.text("drift.pkg_manager"), Some("unknown"));
    assert_eq!(updater.text("drift.binary_provenance"), Some("written"));
    assert_eq!(updater.text("drift.binary_writer"), Some("cp /usr/bin/dpkg /tmp/updater"));
    assert!(list(&updater.fields["drift.pkg_ancestors"]).contains(&"sh".to_owned()), "{updater:?}");
    assert_eq!(updater.fields["drift.pkg_uid"], 0);
}

fn compare(rows: &[Row], outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut alerts: Vec<_> =
        outcome.alerts.iter().filter(|a| a.tags.iter().any(|t| t == "package")).collect();
    alerts.retain(|alert| alert.priority != "Informational");
    for row in rows {
        if let Some(work) = &row.work {
            let is = |line: &&super::Line| {
                let fields = ["drift.pkg_manager", "drift.pkg_action", "drift.pkg_names"];
                fields.map(|field| list(&line.fields[field]).join(" ")) == *work
            };
            if !outcome.started.iter().any(|line| is(&line)) {
                wrong.push(format!("{}: no start of {work:?}", row.scenario));
            }
        }
        if !row.alert {
            continue;
        }
        let due = match &row.work {
            None => "Drift package database changed by another program: unknown install sl".to_owned(),
            Some([manager, action, names]) => {
                let rule = if action == "remove" {
                    "Drift package removed"
                } else {
                    "Drift package manager changed container"
                };
                format!("{rule}: {manager} {action} {names}")
            }
        };
        match alerts.iter().position(|alert| shown(alert) == due) {
            Some(at) => drop(alerts.remove(at)),
            None => wrong.push(format!("{}: no alert {due:?}", row.scenario)),
        }
    }
    wrong.extend(alerts.iter().map(|alert| format!("an alert that is not due: {}", alert.output)));
    // What pkg-10 copies, and the script of pkg-15, are other rules' drift, and so is what the copy writes.
    let known =
        |output: &str| ["/tmp/updater", "updater ", "/tmp/pip.py"].iter().any(|name| output.contains(name));
    let others =
        outcome.serious().into_iter().filter(|shown| !shown.starts_with("Drift package") && !known(shown));
    wrong.extend(others.map(|shown| format!("another alert: {shown}")));
    wrong
}
