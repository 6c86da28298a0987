//! The table `tests/fixtures/file_cases.tsv`: calls on files, and what drift must tell of them.

use super::text::expand;
use super::{prepare, start, watch, Told};
use std::path::Path;
use testkit::expected::cells;
use testkit::live::Runtime;

/// An event that is expected.
#[derive(Debug)]
struct Expected {
    optional: bool,
    changes: Vec<String>,
    path: String,
    new_path: Option<String>,
    gained: Vec<String>,
}

#[derive(Debug)]
struct Case {
    id: String,
    events: Vec<Expected>,
    what: String,
}

fn table() -> (std::path::PathBuf, Vec<Case>) {
    let path = testkit::workspace_dir().join("tests/fixtures/file_cases.tsv");
    let text = std::fs::read_to_string(&path).unwrap();
    let case = |cells: Vec<&str>| {
        let [id, _, events, what] = cells[..] else { panic!("not four columns: {cells:?}") };
        let events = events.split(" ; ").filter(|event| *event != "-");
        Case {
            id: id.to_owned(),
            events: events.map(|event| expected(id, event)).collect(),
            what: what.to_owned(),
        }
    };
    (path, cells(&text).into_iter().map(case).collect())
}

/// Reads `?change|change path -> path +trait`.
fn expected(id: &str, text: &str) -> Expected {
    let (optional, text) = match text.strip_prefix('?') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let path = |word: &str| String::from_utf8_lossy(&expand(id, word)).into_owned();
    let (changes, rest) = text.split_once(' ').expect("a change and a path");
    let (rest, traits) = rest.split_once(" +").unwrap_or((rest, ""));
    let (old, new) = match rest.split_once(" -> ") {
        Some((old, new)) => (old, Some(path(new))),
        None => (rest, None),
    };
    let mut gained: Vec<String> =
        traits.split('+').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    gained.sort();
    Expected {
        optional,
        changes: changes.split('|').map(str::to_owned).collect(),
        path: path(old),
        new_path: new,
        gained,
    }
}

impl Expected {
    fn is(&self, told: &Told) -> bool {
        self.changes.contains(&told.change)
            && (&self.path, &self.new_path, &self.gained) == (&told.path, &told.new_path, &told.gained)
    }
}

/// Whether a path has a part that is the case's id.
fn belongs(told: &Told, id: &str) -> bool {
    let has = |path: &str| path.split('/').any(|part| part == id);
    has(&told.path) || told.new_path.as_deref().is_some_and(has)
}

/// What was told and should not have been, and the other way round.
fn compare(case: &Case, told: &[Told]) -> Vec<String> {
    let mut left: Vec<&Told> = told.iter().filter(|told| belongs(told, &case.id)).collect();
    let mut wrong = Vec::new();
    for event in &case.events {
        match left.iter().position(|told| event.is(told)) {
            Some(at) => drop(left.remove(at)),
            None if event.optional => {}
            None => wrong.push(format!("not told: {} {}", event.changes.join("|"), event.path)),
        }
    }
    wrong.extend(left.iter().map(|told| format!("told: {told}")));
    wrong.iter().map(|wrong| format!("{} ({}): {wrong}", case.id, case.what)).collect()
}

#[test]
fn podman_every_case() {
    let _turn = crate::turns::take(module_path!());
    run("live files: podman, cases", Runtime::Podman);
}

#[test]
fn containerd_every_case() {
    let _turn = crate::turns::take(module_path!());
    run("live files: containerd, cases", Runtime::Containerd);
}

fn run(test: &str, runtime: Runtime) {
    let Some(container) = start(test, runtime) else { return };
    let (path, cases) = table();
    for case in &cases {
        let dir = container.vol().join(&case.id);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("a"), "content of a\n").unwrap();
    }
    let program = std::fs::read(testkit::file_call_program().unwrap()).unwrap();
    let program = container.put("file-call", &program).unwrap();
    let table = container.put("cases.tsv", &std::fs::read(&path).unwrap()).unwrap();
    let script = "for d in /etc/case/*; do echo added >$d/added; mkdir /scratch/${d##*/}; done\n";
    let script = container.put("prepare.sh", script.as_bytes()).unwrap();
    prepare(&container, &format!("sh {script}"));
    let outcome = watch(&container, &format!("{program} {table} /vol/results"));
    let (mut wrong, unknown) = results(&container.vol().join("results"));
    for id in &unknown {
        eprintln!(
            "{test}: {id} makes a call that this kernel, or the container's seccomp profile, does not know"
        );
    }
    let ran = cases.iter().filter(|case| !unknown.contains(&case.id));
    wrong.extend(ran.flat_map(|case| compare(case, &outcome.told)));
    let strangers = outcome.told.iter().filter(|told| !cases.iter().any(|case| belongs(told, &case.id)));
    wrong.extend(strangers.map(|told| format!("of no case: {told}")));
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The operations that went otherwise than the table says, and the cases with a call that is not known here.
fn results(path: &Path) -> (Vec<String>, Vec<String>) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.ends_with("end\n"), "the cases did not all run: {text}");
    let lines = text.lines().filter(|line| *line != "end");
    let (unknown, wrong): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.ends_with("(os error 38)"));
    let id = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    (wrong.into_iter().map(str::to_owned).collect(), unknown.into_iter().map(id).collect())
}

#[test]
fn the_table_can_be_read() {
    let (_, cases) = table();
    assert!(cases.len() >= 60);
    let mut ids: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), cases.len(), "an id is there twice");
    let event = expected("c1", "?created|modified $/x -> $/y +setuid+setgid");
    assert!(event.optional);
    assert_eq!(event.changes, ["created", "modified"]);
    assert_eq!((event.path.as_str(), event.new_path.as_deref()), ("/etc/case/c1/x", Some("/etc/case/c1/y")));
    assert_eq!(event.gained, ["setgid", "setuid"]);
}
