//! What Falco has without drift, on the same capture: the numbers that README.md and docs/corpus.md quote.
//!
//! `proc.is_exe_upper_layer` says that the executable is in the writable layer of an overlay,
//! `proc.is_exe_from_memfd` that it is a memfd. Here they are taken for the answer to "is this drift?" and
//! held against column `alert` of the expected answers, beside what the rules pack alerts on in the same
//! replay.

use crate::recorded::Recorded;
use std::collections::{BTreeMap, BTreeSet};
use testkit::engine::Event;
use testkit::expected::{binary_rows, marker, the_exec};

const EXECS: &str = "evt.type in (execve, execveat) and evt.arg.res = 0";

/// How a set of alerted scenarios agrees with the expected answers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    found: BTreeSet<String>,
    missed: BTreeSet<String>,
    false_alarms: BTreeSet<String>,
    quiet: BTreeSet<String>,
}

impl Score {
    fn add(&mut self, scenario: &str, is_drift: bool, alerted: bool) {
        let set = match (is_drift, alerted) {
            (true, true) => &mut self.found,
            (true, false) => &mut self.missed,
            (false, true) => &mut self.false_alarms,
            (false, false) => &mut self.quiet,
        };
        set.insert(scenario.to_owned());
    }

    fn row(&self, name: &str) -> String {
        format!(
            "| {name} | {} of {} | {} of {} |",
            self.found.len(),
            self.found.len() + self.missed.len(),
            self.false_alarms.len(),
            self.false_alarms.len() + self.quiet.len(),
        )
    }

    fn sentence(&self, name: &str) -> String {
        format!("{name} finds {} with {} false alarms", self.found.len(), self.false_alarms.len())
    }
}

fn scenarios(numbers: &[u32]) -> BTreeSet<String> {
    numbers.iter().map(|n| format!("scn-{n:02}")).collect()
}

#[test]
fn the_comparison_is_what_a_replay_shows() {
    let Some(recorded) = Recorded::find("rival: proc.is_exe_upper_layer on binary.scap") else { return };
    let fields = ["proc.args", "proc.is_exe_upper_layer", "proc.is_exe_from_memfd"];
    let mut execs: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for event in recorded.events_without_drift("binary.scap", EXECS, &fields) {
        if let Some(scenario) = marker(&event.text("proc.args").unwrap().unwrap_or_default(), "scn-") {
            execs.entry(scenario).or_default().push(event);
        }
    }

    let alerts = recorded.evaluate("binary.scap").alerts;
    let alerted: BTreeSet<String> = alerts.iter().filter_map(|a| marker(&a.output, "scn-")).collect();

    let (mut falco, mut falco_memfd, mut drift) = (Score::default(), Score::default(), Score::default());
    // tests/containers/execs.rs asserts exactly the expected alerts, in real containers.
    let mut live = Score::default();
    for row in binary_rows(&recorded.captures) {
        let Some(is_drift) = row.alert else { continue };
        let own = execs.get(&row.scenario).map_or(&[][..], Vec::as_slice);
        let exec = the_exec(&row.scenario, own).unwrap_or_else(|| panic!("{} has no exec", row.scenario));
        let says = |field: &str| exec.text(field).unwrap().as_deref() == Some("true");
        let upper = says("proc.is_exe_upper_layer");
        live.add(&row.scenario, is_drift, is_drift);
        falco.add(&row.scenario, is_drift, upper);
        falco_memfd.add(&row.scenario, is_drift, upper || says("proc.is_exe_from_memfd"));
        drift.add(&row.scenario, is_drift, alerted.contains(&row.scenario));
    }

    // Scripts, other file systems and a memfd are in no upper layer; a file that was only touched is.
    assert_eq!(falco.missed, scenarios(&[12, 13, 15, 16, 17, 20, 21]), "{falco:?}");
    assert_eq!(falco_memfd.missed, scenarios(&[12, 13, 15, 16, 17, 20]), "{falco_memfd:?}");
    assert_eq!(falco.false_alarms, scenarios(&[4, 6, 7, 8, 27]), "{falco:?}");
    // A replay has no file system: content cannot be compared, so that what was only touched alerts as
    // unverified, and mounts are not known.
    assert_eq!(drift.missed, scenarios(&[17]), "{drift:?}");
    assert_eq!(drift.false_alarms, scenarios(&[4, 6, 7, 8, 27]), "{drift:?}");

    let page = std::fs::read_to_string(testkit::workspace_dir().join("docs/corpus.md")).unwrap();
    for row in [
        falco.row("`proc.is_exe_upper_layer`"),
        falco_memfd.row("`proc.is_exe_upper_layer` or `proc.is_exe_from_memfd`"),
        drift.row("Drift, in the replay"),
        live.row("Drift, the same executions live"),
    ] {
        assert!(page.contains(&row), "docs/corpus.md does not have this row of its comparison:\n{row}");
    }
    // The same in a sentence; line breaks do not count.
    let readme = std::fs::read_to_string(testkit::workspace_dir().join("README.md")).unwrap();
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    for (name, counts) in [("`proc.is_exe_upper_layer`", &falco), ("Drift", &live)] {
        let sentence = counts.sentence(name);
        assert!(readme.contains(&sentence), "README.md does not say: {sentence}");
    }
}
