//! Recall on acts that others wrote, in real Falco and real containers: `make corpus`. What is due was
//! written down before the first run (`tests/recall/`). Writes a table of docs/corpus.md.

use crate::falco::{falco, Falco};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testkit::generated::{assert_current, table};
use testkit::live::{self, Container, Image};
use testkit::skip::skip_optional;
use testkit::workspace_dir;

const SETS: [&str; 3] = ["event-generator", "atomic", "ways-round"];
/// Containers at a time.
const BATCH: usize = 12;
/// An act is over when nothing has alerted for so long.
const QUIET: Duration = Duration::from_secs(12);
const LONGEST: Duration = Duration::from_secs(90);

/// What an act deserves, or got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Silent,
    Notice,
    Warning,
}

impl Answer {
    fn of(word: &str) -> Self {
        match word {
            "silent" | "Informational" | "Debug" => Self::Silent,
            "notice" | "Notice" => Self::Notice,
            _ => Self::Warning,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Notice => "notice",
            Self::Warning => "warning",
        }
    }
}

struct Act {
    name: String,
    due: Answer,
    what: String,
    script: String,
}

/// The acts of a file: `## name due: what it is`, and a shell script.
fn acts(set: &str) -> Vec<Act> {
    let text = std::fs::read_to_string(workspace_dir().join(format!("tests/recall/{set}.txt"))).unwrap();
    let act = |part: &str| {
        let (head, script) = part.split_once('\n').unwrap();
        let (name, rest) = head.split_once(' ').unwrap();
        let (due, what) = rest.split_once(": ").unwrap();
        Act { name: name.into(), due: Answer::of(due), what: what.into(), script: script.into() }
    };
    text.split("\n## ").skip(1).map(act).collect()
}

/// Plays acts, each in a container of its own, and gives the loudest alert that each of them got.
fn play(falco: &Falco, image: &Image, acts: &[Act]) -> Vec<Answer> {
    let containers: Vec<Container> = acts.iter().map(|_| Container::podman(image).unwrap()).collect();
    for (container, act) in containers.iter().zip(acts) {
        let script = container.put("act.sh", act.script.as_bytes()).unwrap();
        container.run(&format!("sh {script} > /dev/null 2>&1")).unwrap();
    }
    let mut loudest = BTreeMap::new();
    let deadline = Instant::now() + LONGEST;
    let mut last = Instant::now();
    while last.elapsed() < QUIET && Instant::now() < deadline {
        let Some(alert) = falco.next(Duration::from_secs(1)) else { continue };
        let fields = &alert["output_fields"];
        let id = fields["drift.container_id"].as_str().unwrap_or_default().to_owned();
        // The script that plays the act lies on a volume.
        let is_own = fields["drift.script_path"].as_str().is_some_and(|path| path.starts_with("/vol/"));
        if is_own || !containers.iter().any(|container| container.id() == id) {
            continue;
        }
        last = Instant::now();
        let answer = Answer::of(alert["priority"].as_str().unwrap());
        let known = loudest.entry(id).or_insert(answer);
        *known = answer.max(*known);
    }
    let of = |container: &Container| loudest.get(container.id()).copied().unwrap_or(Answer::Silent);
    containers.iter().map(of).collect()
}

#[test]
fn acts_get_what_is_due() {
    let _turn = crate::turns::take(module_path!());
    const TEST: &str = "recall";
    let Some(engine) = falco(TEST) else { return };
    if let Some(why) = live::missing(live::PODMAN_TOOLS) {
        return skip_optional(TEST, &why);
    }
    let image = Image::network().unwrap();
    let mut falco = Falco::start(&engine);
    if !falco.is_watching(&Container::podman(&image).unwrap()) {
        return skip_optional(TEST, "Falco cannot load its probe here");
    }
    let (mut rows, mut sums, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for set in SETS {
        let acts = acts(set);
        let mut got = Vec::new();
        for batch in acts.chunks(BATCH) {
            got.extend(play(&falco, &image, batch));
        }
        let both = || acts.iter().zip(&got);
        let due = both().filter(|(act, _)| act.due > Answer::Silent).count();
        let found = both().filter(|(act, got)| act.due > Answer::Silent && **got >= act.due).count();
        let false_alarms = both().filter(|(act, got)| **got > act.due).count();
        sums.push(vec![
            set.to_owned(),
            acts.len().to_string(),
            format!("{found} of {due}"),
            format!("{false_alarms} of {}", acts.len() - due),
        ]);
        for (act, got) in both() {
            let judged = match got.cmp(&act.due) {
                std::cmp::Ordering::Equal => got.as_str().to_owned(),
                std::cmp::Ordering::Less => format!("**missed** ({})", got.as_str()),
                std::cmp::Ordering::Greater => format!("**louder** ({})", got.as_str()),
            };
            if *got != act.due {
                wrong.push(format!("{set} {}: {}, due {}", act.name, got.as_str(), act.due.as_str()));
            }
            rows.push(vec![
                set.to_owned(),
                act.name.clone(),
                act.what.clone(),
                act.due.as_str().into(),
                judged,
            ]);
        }
    }
    eprintln!("{wrong:#?}");
    let parts = [
        ("recall", table(&["set", "acts", "found", "louder than due"], sums)),
        ("acts", table(&["set", "act", "what", "due", "Drift, live"], rows)),
    ];
    assert_current(&workspace_dir().join("docs/corpus.md"), &parts, "containers recall::");
}
