//! Tier 4: real Falco, where one is installed, and real containers: the source alone; and where the machine
//! lets Falco load its kernel probe, files that engines copy into containers. Their processes are the host's,
//! so that only a real probe tells what they do.

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use testkit::engine::{write_config, Choice, Engine};
use testkit::live::{self, Container, Image};
use testkit::skip::skip_optional;

/// Until Falco has loaded its probe: the kernel looks at the programs for some seconds.
const START: Duration = Duration::from_secs(120);
/// Until an alert: about a second, and more on a machine that does much else.
const ALERT: Duration = Duration::from_secs(15);

pub(crate) fn falco(test: &str) -> Option<Engine> {
    match Engine::find(&Choice::Falco) {
        Ok(engine) => Some(engine),
        Err(why) => {
            skip_optional(test, &format!("{why:#}"));
            None
        }
    }
}

/// A Falco with the shipped rules; stopped with its owner.
pub(crate) struct Falco {
    child: Child,
    lines: Receiver<String>,
    _dir: tempfile::TempDir,
}

impl Drop for Falco {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Falco {
    pub(crate) fn start(engine: &Engine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = write_config(dir.path(), "{}").unwrap();
        let text = std::fs::read_to_string(&config).unwrap();
        let rules = testkit::workspace_dir().join("rules/drift_rules.yaml");
        let more = format!(
            "engine: {{kind: modern_ebpf}}\nrules_files: [{}]\npriority: debug\njson_output: true\n\
             buffered_outputs: false\nstdout_output: {{enabled: true}}\nwebserver: {{enabled: false}}\n",
            rules.display()
        );
        std::fs::write(&config, format!("{text}{more}")).unwrap();
        let command = engine.command();
        let mut falco = Command::new(&command[0]);
        falco.args(&command[1..]).arg("-c").arg(&config).args(["-U", "-o", "config_files="]);
        let mut child = falco.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| said.send(line).is_ok()));
        Self { child, lines, _dir: dir }
    }

    /// The next alert, of whatever container; `None` if none comes within `limit`.
    pub(crate) fn next(&self, limit: Duration) -> Option<Value> {
        let line = self.lines.recv_timeout(limit).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// The rule that alerts on this path of the container, and when; `None` if none does within `limit`.
    fn alert(&self, container: &Container, path: &str, limit: Duration) -> Option<(String, Instant)> {
        let deadline = Instant::now() + limit;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            let line = self.lines.recv_timeout(left).ok()?;
            let Ok(alert) = serde_json::from_str::<Value>(&line) else { continue };
            let fields = &alert["output_fields"];
            if fields["drift.container_id"] == container.id() && fields["drift.file_path"] == path {
                return Some((alert["rule"].as_str().unwrap().to_owned(), Instant::now()));
            }
        }
        None
    }

    /// Waits until it sees what happens in the container; `false` if it ended instead, as where the kernel
    /// refuses the probe.
    pub(crate) fn is_watching(&mut self, container: &Container) -> bool {
        let deadline = Instant::now() + START;
        for attempt in 0.. {
            let path = format!("/etc/watching-{attempt}");
            container.run(&format!("touch {path}")).unwrap();
            if self.alert(container, &path, Duration::from_secs(2)).is_some() {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(Instant::now() < deadline, "Falco runs and tells nothing");
        }
        false
    }
}

/// Copies a new file in, and another one over a file of the image.
fn copies_alert(falco: &Falco, container: &Container, engine: &str) {
    let dir = tempfile::tempdir().unwrap();
    let copy = |content: &str, path: &str| {
        let file = dir.path().join("file");
        std::fs::write(&file, content).unwrap();
        container.copy_in(Path::new(&file), path).unwrap();
        let copied = Instant::now();
        let (rule, at) = falco.alert(container, path, ALERT).unwrap_or_else(|| panic!("{engine}: {path}"));
        eprintln!("{engine}: {path} told {:?} after the copy", at.saturating_duration_since(copied));
        rule
    };
    assert_eq!(
        copy("from the host\n", "/etc/copied"),
        "Drift file created in sensitive directory",
        "{engine}"
    );
    assert_eq!(copy("root:x:0:0::/:/bin/sh\n", "/etc/passwd"), "Drift image file modified", "{engine}");
}

#[test]
fn what_engines_copy_in_alerts() {
    let _turn = crate::turns::take(module_path!());
    const TEST: &str = "falco: copied files";
    let Some(engine) = falco(TEST) else { return };
    if let Some(why) = live::missing(&[live::PODMAN_TOOLS, live::DOCKER_TOOLS].concat()) {
        return skip_optional(TEST, &why);
    }
    let image = Image::debian().unwrap();
    let containers =
        [("docker", Container::docker(&image).unwrap()), ("podman", Container::podman(&image).unwrap())];
    let mut falco = Falco::start(&engine);
    for (engine, container) in &containers {
        if !falco.is_watching(container) {
            return skip_optional(TEST, "Falco cannot load its probe here");
        }
        copies_alert(&falco, container, engine);
    }
}

/// A Falco that is stopped with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Without a kernel probe: the source alone, on a container that drifted before Falco was started.
#[test]
fn falco_runs_the_source_without_a_probe() {
    let _turn = crate::turns::take(module_path!());
    let test = "falco: source";
    let Some(engine) = falco(test) else { return };
    if let Some(why) = live::missing(live::PODMAN_TOOLS) {
        return skip_optional(test, &why);
    }
    let container = Container::podman(&Image::debian().unwrap()).unwrap();
    let script = "cp /bin/sleep /opt/x\n/opt/x 1000 &\nchmod u+s /bin/cat\ntouch /vol/done\n";
    let script = container.put("changes.sh", script.as_bytes()).unwrap();
    container.run(&format!("sh {script}")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !container.vol().join("done").exists() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    let dir = tempfile::tempdir().unwrap();
    let config = write_config(dir.path(), "{}").unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let params = r#"'{"interval_seconds": 1, "cpu_percent": 100}'"#;
    let text = text.replace("    init_config:\n", &format!("    open_params: {params}\n    init_config:\n"));
    let more = format!(
        "engine: {{kind: nodriver}}\nrules_files: [{}]\njson_output: true\n\
         stdout_output: {{enabled: true}}\n",
        testkit::workspace_dir().join("rules/drift_source_rules.yaml").display()
    );
    std::fs::write(&config, format!("{text}{more}")).unwrap();
    let command = engine.command();
    let mut running = Command::new(&command[0]);
    running.args(&command[1..]).arg("-c").arg(&config).args(["--disable-source", "syscall", "-U"]);
    running.args(["-o", "config_files="]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running(running.spawn().unwrap());
    let mut alerts = BTreeSet::new();
    let wanted: BTreeSet<String> = [
        "Drift found container file added /opt/x",
        "Drift found container file gained privilege /usr/bin/cat",
        "Drift found process not from image /opt/x",
    ]
    .map(str::to_owned)
    .into();
    let output = BufReader::new(running.0.stdout.take().unwrap());
    let (said, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| said.send(line).is_ok()));
    while let Ok(line) = lines.recv_timeout(Duration::from_secs(120)) {
        let Ok(alert) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        let fields = &alert["output_fields"];
        if fields["drift.event.container_id"] == container.id() {
            assert_eq!(alert["source"], "drift");
            let path = fields["drift.event.path"].as_str().unwrap();
            alerts.insert(format!("{} {path}", alert["rule"].as_str().unwrap()));
        }
        if alerts.is_superset(&wanted) {
            break;
        }
    }
    assert_eq!(alerts, wanted);
}
