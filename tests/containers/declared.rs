//! Tier 3: what was declared of real podman and containerd containers, read from what those really keep on
//! disk, and the scenarios of `config.sh` in them.

use crate::live::{condition, engine};
use serde_json::Value;
use std::collections::BTreeMap;
use testkit::expected::{captures, cells, expected_table, marker};
use testkit::live::{self, Container, Facts, Image, Runtime, Stream};

const FIELDS: &[&str] = &[
    "proc.args",
    "drift.container_id",
    "drift.image",
    "drift.image_id",
    "drift.image_digest",
    "drift.image_pinned",
    "drift.image_approved",
    "drift.runtime_overrides",
    "drift.entrypoint_match",
    "drift.env_added",
    "drift.env_changed",
    "drift.env_risky",
];

/// Answers and fired rules by scenario.
type Outcome = BTreeMap<String, (Value, bool)>;

fn scenario(answer: &Value) -> Option<String> {
    marker(answer["proc.args"].as_str()?, "cfg-")
}

fn run(container: &Container, image: &Image) -> Outcome {
    let captures = captures("live: declared").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("approved.txt");
    std::fs::write(&list, format!("{}\n", image.reference())).unwrap();
    let init_config = format!("approved_images: [{}]\n", list.display());
    let engine = engine(dir.path(), &init_config);
    let table = container.table().unwrap();
    let stream = |filter: &str, fields: &[&str]| Stream::new(&engine.asking(filter, fields), &table).unwrap();
    let mut streams = [
        stream("evt.type = execve", FIELDS),
        stream(&condition("Drift dangerous environment"), &["proc.args"]),
    ];
    let script = std::fs::read(captures.join("scenarios/config.sh")).unwrap();
    let script = container.put("config.sh", &script).unwrap();
    let mut outcome = Outcome::new();
    live::trace(container, &format!("sh {script}"), Facts::default(), &mut |event| {
        let lines = Stream::feed_all(&mut streams, event)?;
        if let Some((scenario, answer)) = lines[0].first().and_then(|a| Some((scenario(a)?, a.clone()))) {
            outcome.insert(scenario, (answer, !lines[1].is_empty()));
        }
        Ok(())
    })
    .unwrap();
    outcome
}

fn assert_rows(outcome: &Outcome, image: &Image, container: &Container) {
    let captures = captures("live: declared").unwrap();
    let mut wrong = Vec::new();
    for cells in cells(&expected_table(&captures, "config")) {
        let Some((answer, alert)) = outcome.get(cells[0]) else {
            wrong.push(format!("{}: no exec seen", cells[0]));
            continue;
        };
        let names = |field: &str| match &answer[field] {
            Value::Null => "-".to_owned(),
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        };
        if (names("drift.env_added").as_str(), names("drift.env_changed").as_str()) != (cells[2], cells[3])
            || *alert != (cells[1] == "1")
        {
            wrong.push(format!("{}: {answer} alert: {alert}", cells[0]));
        }
        let expected = [
            ("drift.container_id", Value::from(container.id())),
            ("drift.image", Value::from(image.reference())),
            ("drift.image_pinned", Value::from(false)),
            ("drift.image_approved", Value::from("approved")),
            ("drift.entrypoint_match", Value::Null),
        ];
        for (field, want) in expected {
            if answer[field] != want {
                wrong.push(format!("{}: {field} {}, expected {want}", cells[0], answer[field]));
            }
        }
        for field in ["drift.image_id", "drift.image_digest"] {
            let digest = answer[field].as_str().unwrap_or_default();
            if digest.strip_prefix("sha256:").is_none_or(|hex| hex.len() != 64) {
                wrong.push(format!("{}: {field} {}", cells[0], answer[field]));
            }
        }
        // Another command than the image's, and the test's /vol, which is writable.
        let overrides = answer["drift.runtime_overrides"].to_string();
        let vol = format!("hostpath_rw:{}", container.vol().display());
        if !overrides.contains("command") || !overrides.contains(&vol) || overrides.contains("/corpus") {
            wrong.push(format!("{}: {overrides}", cells[0]));
        }
        if answer.to_string().contains("evil.so") || answer.to_string().contains("debug") {
            wrong.push(format!("{}: a value in {answer}", cells[0]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The scenarios in a container of this runtime.
fn every_row(test: &str, runtime: Runtime) {
    if !runtime.usable(test, &[]) || captures(test).is_none() {
        return;
    }
    let image = Image::debian().unwrap();
    let container = runtime.start(&image).unwrap();
    assert_rows(&run(&container, &image), &image, &container);
}

#[test]
fn podman_containers_are_told_as_declared() {
    let _turn = crate::turns::take(module_path!());
    every_row("live: declared, podman", Runtime::Podman);
}

#[test]
fn containerd_containers_are_told_as_declared() {
    let _turn = crate::turns::take(module_path!());
    every_row("live: declared, containerd", Runtime::Containerd);
}

/// Pairs: what ordinary programs set, with an odd number, and its hostile twin, with the next even one.
const PAIRS: &str = r#"
library=/usr/lib/x86_64-linux-gnu/libz.so.1
mkdir -p /opt /srv/dropped/node_modules/.bin /tmp/home
cp $library /opt/dropped.so
: > /tmp/home/.bashrc
LD_PRELOAD=$library basename env-01
LD_PRELOAD=/opt/dropped.so basename env-02
PATH=/srv/app/node_modules/.bin:/node_modules/.bin:$PATH basename env-03
PATH=/srv/dropped/node_modules/.bin:$PATH basename env-04
HOME=/tmp basename env-05
HOME=/tmp/home basename env-06
GIT_SSH_COMMAND="ssh -o BatchMode=yes" basename env-07
GIT_SSH_COMMAND="ssh -o ProxyCommand=/opt/x" basename env-08
PLUGIN=/opt/none.so basename env-09
PLUGIN=/opt/dropped.so basename env-10
LD_BIND_NOW=1 LD_LIBRARY_PATH= basename env-11
LD_LIBRARY_PATH=/opt/none basename env-12
"#;

#[test]
fn values_of_variables_decide() {
    if !Runtime::Podman.usable("live: values of variables", &[]) {
        return;
    }
    let container = Runtime::Podman.start(&Image::debian().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let asking = engine(dir.path(), "").asking(&condition("Drift dangerous environment"), &["proc.args"]);
    let mut alerts = [Stream::new(&asking, &container.table().unwrap()).unwrap()];
    let script = container.put("pairs.sh", PAIRS.as_bytes()).unwrap();
    let mut found = Vec::new();
    live::trace(&container, &format!("sh {script}"), Facts::default(), &mut |event| {
        let lines = Stream::feed_all(&mut alerts, event)?;
        found.extend(lines[0].iter().filter_map(|line| marker(line["proc.args"].as_str()?, "env-")));
        Ok(())
    })
    .unwrap();
    assert_eq!(found, ["env-02", "env-04", "env-06", "env-08", "env-10", "env-12"]);
}

/// The background reads a container's declaration, and tells it once.
#[test]
fn the_background_tells_what_was_declared() {
    let _turn = crate::turns::take(module_path!());
    use drift::config::{Config, RawConfig};
    use drift::events::{ContainerReport, OwnEvent};
    use drift::workers::declarer::{Declarer, Notice};
    use drift_core::container::live::Live;
    use drift_core::container::registry::{Container as Known, Declaration};
    use drift_core::host::Host;
    use std::sync::{Arc, Mutex};

    if !Runtime::Podman.usable("live: declarer", &[]) {
        return;
    }
    let image = Image::debian().unwrap();
    let container = Runtime::Podman.start(&image).unwrap();
    let host = Host::new(std::path::Path::new("/"));
    let (found, _) = Live::look(&host, container.init_pid(), container.id()).unwrap();
    let declaration = Declaration::default();
    assert!(declaration.ask() && !declaration.ask());
    let line = host.command_line(container.init_pid()).unwrap();
    let argv = line.strip_suffix(b"\0").unwrap().split(|b| *b == 0).map(Box::from).collect();
    declaration.first_exec.set((container.init_pid(), argv)).unwrap();
    let known = Arc::new(Known {
        id: container.id().into(),
        live: Some(found),
        image: Err("not looked at".into()),
        from_manifest: false,
        drifts: Arc::default(),
        installed: Arc::default(),
        declaration: declaration.into(),
    });
    let config = Arc::new(Config::try_from(RawConfig::default()).unwrap());
    let declarer =
        Declarer::new(host, config, Arc::default(), Arc::default(), None, crossbeam_channel::bounded(1).0);
    let (queue, containers) = drift::workers::worker::queue(16, 1);
    queue.send(Notice::Container(Arc::clone(&known))).unwrap();
    drop(queue);
    let told = Mutex::new(Vec::new());
    let tell = |report: &ContainerReport| told.lock().unwrap().push(report.payload());
    declarer.run(&containers, &tell);
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["image"], image.reference());
    assert_eq!(told[0]["entrypoint_match"], true);
    assert_eq!(told[0]["image_pinned"], false);
    assert_eq!(told[0]["image_approved"], Value::Null);
    assert!(told[0]["runtime_overrides"].to_string().contains("command"), "{told:?}");
    assert!(!told[0].to_string().contains("production"), "{told:?}");
    assert!(known.declaration.read().is_some());
}
