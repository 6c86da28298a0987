//! Tier 3: the scenarios in real podman and containerd containers on overlayfs, judged by the shipped plugin
//! and rules inside real libsinsp while each process stands at its exec.

use crate::live::{engine, rules};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use testkit::expected::{binary_rows, captures, marker, the_exec, Row};
use testkit::live::{self, Container, Delay, Facts, Flags, Image, Runtime, Stream};
use testkit::rules::Rule;
use testkit::skip::skip;

/// How a run differs from the plain one.
#[derive(Debug, Clone, Default)]
struct Mode {
    facts: Facts,
    /// Put before the engine's command line (to take its privileges away).
    wrapper: Vec<PathBuf>,
    init_config: String,
}

/// What was answered and which rules fired, by scenario.
#[derive(Debug, Default)]
struct Outcome {
    answers: BTreeMap<String, Vec<Value>>,
    alerts: BTreeMap<String, Vec<String>>,
}

const FIELDS: &[&str] = &[
    "proc.args",
    "proc.exepath",
    "drift.container_id",
    "drift.binary_origin",
    "drift.script_origin",
    "drift.script_path",
    "drift.volume_kind",
    "drift.manifest_state",
    "drift.rootfs_readonly",
    "drift.binary_layer",
    "drift.binary_package",
    "drift.binary_traits",
    "drift.image_has_file",
    "drift.container_age",
];

struct Setting {
    captures: PathBuf,
    rows: Vec<Row>,
    rules: Vec<Rule>,
}

fn setting(test: &str, runtime: Runtime) -> Option<Setting> {
    if !runtime.usable(test, &[]) {
        return None;
    }
    let captures = captures(test)?;
    let rules = rules().into_iter().filter(|r| r.enabled).collect();
    Some(Setting { rows: binary_rows(&captures), captures, rules })
}

impl Setting {
    fn run(&self, runtime: Runtime, mode: &Mode) -> Outcome {
        let image = Image::debian().unwrap();
        let mut container = runtime.start(&image).unwrap();
        let mut outcome = self.run_in(&container, mode);
        // scn-22 removes a file while another process starts it; when the removal comes first there is no
        // exec to judge, and the scenario is played again.
        for _ in 0..10 {
            if outcome.answers.contains_key("scn-22") {
                break;
            }
            container = runtime.start(&image).unwrap();
            outcome = self.run_in(&container, mode);
        }
        for answer in outcome.answers.values().flatten() {
            assert_eq!(answer["drift.container_id"], Value::from(container.id()), "{answer}");
        }
        outcome
    }

    fn run_in(&self, container: &Container, mode: &Mode) -> Outcome {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path(), &mode.init_config);
        engine.program.splice(..0, mode.wrapper.iter().cloned());
        let table = container.table().unwrap();
        let stream =
            |filter: &str, fields: &[&str]| Stream::new(&engine.asking(filter, fields), &table).unwrap();
        let mut streams = vec![stream("evt.type = execve", FIELDS)];
        streams.extend(self.rules.iter().map(|rule| stream(&rule.filter, &["proc.args"])));
        let script = std::fs::read(self.captures.join("scenarios/binary.sh")).unwrap();
        let script = container.put("binary.sh", &script).unwrap();
        let mut outcome = Outcome::default();
        live::trace(container, &format!("sh {script}"), mode.facts, &mut |event| {
            let lines = Stream::feed_all(&mut streams, event)?;
            let Some(scenario) = event.exec().and(event.marker()) else { return Ok(()) };
            outcome.answers.entry(scenario.to_owned()).or_default().extend(lines[0].iter().cloned());
            // `rule_matching: first`: of the rules that match an event, the first in the file fires.
            let fired = self.rules.iter().zip(&lines[1..]).find(|(_, lines)| !lines.is_empty());
            if let Some((rule, _)) = fired {
                outcome.alerts.entry(scenario.to_owned()).or_default().push(rule.name.clone());
            }
            Ok(())
        })
        .unwrap();
        outcome
    }
}

fn text<'v>(answer: &'v Value, field: &str) -> Option<&'v str> {
    answer[field].as_str()
}

/// Every row exactly as expected, and one alert where one is due.
fn assert_exact(setting: &Setting, outcome: &Outcome) {
    let mut wrong = Vec::new();
    for row in setting.rows.iter().filter(|r| r.alert.is_some()) {
        let execs = outcome.answers.get(&row.scenario).map_or(&[][..], Vec::as_slice);
        let Some(answer) = the_exec(&row.scenario, execs) else {
            wrong.push(format!("{}: no exec seen", row.scenario));
            continue;
        };
        let got = (text(answer, "drift.binary_origin"), text(answer, "drift.script_origin"));
        if got != (Some(row.binary.as_str()), row.script.as_deref()) {
            wrong.push(format!("{}: {got:?}, expected {row:?}: {answer}", row.scenario));
        }
        let alerts = outcome.alerts.get(&row.scenario).map_or(0, Vec::len);
        if alerts != usize::from(row.alert == Some(true)) {
            wrong.push(format!("{}: {alerts} alerts, expected {:?}", row.scenario, row.alert));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// No answer is wrong: each is the expected one, or says that it does not know.
fn assert_never_wrong(setting: &Setting, outcome: &Outcome, least_known: usize) {
    let mut wrong = Vec::new();
    let mut known = 0;
    let mut touched = BTreeSet::new();
    for row in setting.rows.iter().filter(|r| r.alert.is_some()) {
        let execs = outcome.answers.get(&row.scenario).map_or(&[][..], Vec::as_slice);
        let Some(answer) = the_exec(&row.scenario, execs) else {
            wrong.push(format!("{}: no exec seen", row.scenario));
            continue;
        };
        let binary = text(answer, "drift.binary_origin").unwrap_or("absent");
        let compared = matches!(row.binary.as_str(), "image_touched" | "image_modified");
        if binary == row.binary {
            known += 1;
        } else if binary == "added_or_modified" {
            // The floor: the kernel's flags alone, which tell neither the two nor what was only touched.
            known += usize::from(matches!(row.binary.as_str(), "added" | "image_modified"));
            touched.extend((row.binary == "image_touched").then(|| row.scenario.clone()));
        } else if compared && binary == "image_unverified" {
            touched.extend((row.binary == "image_touched").then(|| row.scenario.clone()));
        } else if binary == "volume" && row.binary == "tmpfs" {
            // On no overlay: of which kind it is the kernel does not say.
            known += 1;
        } else if binary != "unknown" {
            wrong.push(format!("{}: binary {binary}, expected {}: {answer}", row.scenario, row.binary));
        }
        let script = text(answer, "drift.script_origin");
        if script != row.script.as_deref() && script != Some("unknown") {
            wrong.push(format!("{}: script {script:?}, expected {:?}: {answer}", row.scenario, row.script));
        }
        // Stock Falco alerts on those that were touched, too.
        let is_touched = touched.contains(&row.scenario);
        let mut alerts = outcome.alerts.get(&row.scenario).cloned().unwrap_or_default();
        // It says that it does not know.
        alerts.retain(|rule| rule != "Drift verdict unavailable");
        if row.alert == Some(false) && !is_touched && !alerts.is_empty() {
            wrong.push(format!("{}: false alarm {:?}", row.scenario, outcome.alerts[&row.scenario]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(known >= least_known, "only {known} rows known, at least {least_known} should be");
}

#[test]
fn podman_every_row_is_right() {
    let _turn = crate::turns::take(module_path!());
    let Some(s) = setting("live: podman", Runtime::Podman) else { return };
    let outcome = s.run(Runtime::Podman, &Mode::default());
    assert_exact(&s, &outcome);
    assert_details(&outcome);
}

#[test]
fn containerd_every_row_is_right() {
    let _turn = crate::turns::take(module_path!());
    let Some(s) = setting("live: containerd", Runtime::Containerd) else { return };
    let outcome = s.run(Runtime::Containerd, &Mode::default());
    assert_exact(&s, &outcome);
    assert_details(&outcome);
}

/// Answers beside the origin, on rows where they are known beforehand.
fn assert_details(outcome: &Outcome) {
    let of = |scenario: &str| the_exec(scenario, &outcome.answers[scenario]).unwrap();
    assert_eq!(text(of("scn-12"), "drift.volume_kind"), Some("tmpfs"));
    assert_eq!(text(of("scn-13"), "drift.volume_kind"), Some("bind"));
    assert_eq!(text(of("scn-17"), "drift.volume_kind"), Some("bind"));
    assert_eq!(text(of("scn-01"), "drift.volume_kind"), None);
    assert_eq!(text(of("scn-16"), "drift.script_path"), Some("/tmp/s16"));
    assert_eq!(text(of("scn-20"), "drift.script_path"), Some("/tmp/s20.pl"));
    for (scenario, has) in [("scn-01", true), ("scn-05", true), ("scn-02", false), ("scn-28", false)] {
        assert_eq!(of(scenario)["drift.image_has_file"], Value::from(has), "{scenario}");
    }
    assert_eq!(of("scn-01")["drift.rootfs_readonly"], Value::from(false));
    let age = of("scn-01")["drift.container_age"].as_u64().unwrap();
    assert!(age < 600_000_000_000, "the container is {age} ns old");
    // The image has three layers and its programs are in the first, number 0.
    assert_eq!(text(of("scn-01"), "drift.binary_layer"), Some("0"));
    assert_eq!(text(of("scn-02"), "drift.binary_layer"), None);
}

#[test]
fn times_as_new_kernels_and_old_probes_garble_them() {
    let _turn = crate::turns::take(module_path!());
    let Some(s) = setting("live: garbled times", Runtime::Podman) else { return };
    let facts = Facts { garbled_times: true, ..Facts::default() };
    assert_exact(&s, &s.run(Runtime::Podman, &Mode { facts, ..Mode::default() }));
}

#[test]
fn without_the_kernels_flags() {
    let _turn = crate::turns::take(module_path!());
    let Some(s) = setting("live: no flags", Runtime::Containerd) else { return };
    let facts = Facts { flags: Flags::Absent, ..Facts::default() };
    // All that is needed can be seen while the process is there.
    assert_exact(&s, &s.run(Runtime::Containerd, &Mode { facts, ..Mode::default() }));
}

#[test]
fn when_the_process_has_exited() {
    let _turn = crate::turns::take(module_path!());
    let Some(s) = setting("live: exited", Runtime::Podman) else { return };
    let facts = Facts { delay: Delay::AfterExit, ..Facts::default() };
    let outcome = s.run(Runtime::Podman, &Mode { facts, ..Mode::default() });
    assert_never_wrong(&s, &outcome, 30);
}

#[test]
fn when_the_process_has_exited_and_there_are_no_flags() {
    let _turn = crate::turns::take(module_path!());
    let Some(s) = setting("live: exited, no flags", Runtime::Containerd) else { return };
    let facts =
        Facts { flags: Flags::Absent, delay: Delay::AfterExit, garbled_times: true, ..Facts::default() };
    let outcome = s.run(Runtime::Containerd, &Mode { facts, ..Mode::default() });
    assert_never_wrong(&s, &outcome, 20);
}

#[test]
fn when_the_containers_files_cannot_be_read() {
    let _turn = crate::turns::take(module_path!());
    let Some(s) = setting("live: no privileges", Runtime::Podman) else { return };
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.exists() {
        skip("live: no privileges", "setpriv (util-linux) is not there");
        return;
    }
    // Root without capabilities: /proc/<pid>/root and exe are refused, trusted xattrs are not shown.
    let wrapper =
        [setpriv, Path::new("--bounding-set=-all"), Path::new("--inh-caps=-all")].map(Path::to_owned);
    let mode = Mode { wrapper: wrapper.to_vec(), ..Mode::default() };
    let outcome = s.run(Runtime::Podman, &mode);
    assert_never_wrong(&s, &outcome, 10);
    let facts = Facts { flags: Flags::Absent, ..Facts::default() };
    assert_never_wrong(&s, &s.run(Runtime::Podman, &Mode { facts, ..mode }), 1);
}

#[test]
fn when_the_host_cannot_be_seen_at_all() {
    let _turn = crate::turns::take(module_path!());
    let Some(s) = setting("live: no host", Runtime::Podman) else { return };
    let mode = Mode { init_config: "host_root: /nonexistent\n".to_owned(), ..Mode::default() };
    let outcome = s.run(Runtime::Podman, &mode);
    assert_never_wrong(&s, &outcome, 1);
    for answer in outcome.answers.values().flatten() {
        let state = text(answer, "drift.manifest_state");
        assert!(state.is_some_and(|s| s == "kernel_flags" || s.starts_with("unavailable:")), "{answer}");
    }
}

#[test]
fn markers_are_found() {
    assert_eq!(marker("x scn-07 y", "scn-").as_deref(), Some("scn-07"));
}
