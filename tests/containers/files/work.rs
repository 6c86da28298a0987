//! Files that the image's own work brings about: its entry point's, while it starts, and a build's.

use super::{start, watch, Outcome};
use testkit::engine::{Engine, Replay};
use testkit::live::{Container, Image, Runtime, START};

/// Rule, path, work of each alert.
fn alerts(container: &Container, command: &str) -> Vec<(String, String, String)> {
    let outcome = watch(container, command);
    let text = |alert: &testkit::alerts::Alert, field: &str| {
        alert.output_fields.get(field).and_then(|v| v.as_str()).unwrap_or("-").to_owned()
    };
    let mut alerts: Vec<_> = outcome
        .alerts
        .iter()
        .map(|alert| (alert.rule.clone(), text(alert, "drift.file_path"), text(alert, "drift.file_work")))
        .collect();
    alerts.sort();
    alerts
}

fn expected(rows: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    rows.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
}

const OWN: &str = "Drift file changed by own work";
const SENSITIVE: &str = "Drift file created in sensitive directory";
const ELSEWHERE: &str = "Drift container file system write";

/// What the programs and scripts that a capture has run are, in a replay.
fn replayed(outcome: &Outcome, name: &str, field: &str) -> Vec<Option<String>> {
    replayed_with(outcome, "", name, field)
}

/// The same, of a plugin that is configured so. No rule asks for changes of files.
fn replayed_with(outcome: &Outcome, config: &str, name: &str, field: &str) -> Vec<Option<String>> {
    let library = testkit::plugin_library().unwrap();
    let replay = Replay { plugin: Some(&library), init_config: config, capture: outcome.capture() };
    let filter = format!("evt.type = execve and proc.name = {name}");
    let events = Engine::sysdig().unwrap().replay(&replay, &filter, &[field]).unwrap().events;
    events.iter().map(|event| event.text(field).unwrap()).collect()
}

/// Live, the engine of the tests does not know the container's first process, whose start it did not see; the
/// capture has it.
#[test]
fn an_entry_point_that_writes() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Podman.usable("live files: entry point", &[]) {
        return;
    }
    let image = Image::files().unwrap();
    let brings =
        |name: &str| format!("find /bin/true -exec cp {{}} /usr/bin/{name} ; -exec /usr/bin/{name} ;");
    let own = Runtime::Podman.start_with(&image, &[], &[START]).unwrap();
    let outcome = watch(&own, &brings("brought"));
    assert_eq!(replayed(&outcome, "brought", "drift.binary_work"), [Some("start".to_owned())]);
    // The first process of this one runs the command that was declared: as good as a script of the image.
    let other = Runtime::Podman.start(&image).unwrap();
    let outcome = watch(&other, &brings("dropped"));
    assert_eq!(replayed(&outcome, "dropped", "drift.binary_work"), [Some("start".to_owned())]);
    assert_eq!(replayed(&outcome, "dropped", "drift.binary_provenance"), [Some("written".to_owned())]);
    let unwatched = replayed_with(&outcome, "watch_files: false\n", "dropped", "drift.binary_provenance");
    assert_eq!(unwatched, [Some("unknown".to_owned())]);
}

#[test]
fn a_build_by_a_script_of_the_image() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live files: build", Runtime::Podman) else { return };
    let told = alerts(&container, "/opt/build/configure");
    // No compiler wrote them.
    let rows = [(ELSEWHERE, "/opt/build/config.status", "-"), (SENSITIVE, "/usr/local/bin/made", "-")];
    assert_eq!(told, expected(&rows));

    // A script of that name that the image does not have.
    let made = "(cat /opt/build/configure; echo) > /opt/opaque/configure; chmod 755 /opt/opaque/configure";
    let told = alerts(&container, made);
    assert!(told.iter().all(|(rule, _, work)| rule != OWN && work == "-"), "{told:?}");
    let told = alerts(&container, "/opt/opaque/configure");
    assert!(told.iter().all(|(rule, _, work)| rule != OWN && work == "-"), "{told:?}");
}

#[test]
fn who_takes_a_package_managers_name_is_none() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live files: package manager's name", Runtime::Podman) else { return };
    // A program of the image writes, below one that only calls itself dpkg.
    let script = "cp /bin/dash /opt/opaque/dpkg; /opt/opaque/dpkg -i /corpus/inner.sh; /usr/bin/brought";
    container.put("inner.sh", b"cp /bin/true /usr/bin/brought").unwrap();
    let script = container.put("outer.sh", script.as_bytes()).unwrap();
    let outcome = watch(&container, &format!("sh {script}"));
    let provenance = replayed(&outcome, "brought", "drift.binary_provenance");
    assert_eq!(provenance, [Some("written".to_owned())]);
    let rules: Vec<_> = outcome.alerts.iter().map(|alert| alert.rule.as_str()).collect();
    assert!(rules.contains(&"Drift file created in sensitive directory"), "{rules:?}");
}
