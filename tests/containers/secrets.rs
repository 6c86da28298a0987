//! Tier 3: secrets that are planted in a container appear in nothing that drift says or writes.

use crate::live::{engine, run, session};
use std::time::Duration;
use testkit::live::{self, Facts, Image, Runtime};

/// Declared for the container, by its deployment.
const DECLARED: &str = "planted-2f6f0c1e-declared";
/// In the environment of programs: added, changed, dangerous.
const IN_ENVIRONMENT: &str = "planted-9d3b7a52-environment";
/// In files that are read, written, copied and run.
const IN_FILE: &str = "planted-51c80e7d-file";
/// In the command line of a process that does nothing else.
const IN_COMMAND: &str = "planted-c4e1f9a6-command";

const SCRIPT: &str = "
umask 022
cat /vol/secret > /dev/null
echo TOKEN=IN_FILE > /etc/app.conf
echo key=IN_FILE >> /etc/passwd
cp /vol/secret /vol/copy
cp /bin/true /tmp/tool; echo IN_FILE >> /tmp/tool; /tmp/tool
printf '#!/bin/sh\\n# IN_FILE\\nexit 0\\n' > /tmp/script; chmod 755 /tmp/script; /tmp/script
API_KEY=IN_ENVIRONMENT basename added
APP_ENV=IN_ENVIRONMENT TOKEN=IN_ENVIRONMENT basename changed
LD_PRELOAD=/tmp/IN_ENVIRONMENT.so PATH=/tmp/IN_ENVIRONMENT:$PATH NODE_OPTIONS=IN_ENVIRONMENT basename risky
http_proxy=http://user:IN_ENVIRONMENT@192.0.2.1 sh /tmp/script
python3 -c 'import socket; s = socket.socket(); s.bind((\"127.0.0.1\", 4444)); s.listen(1)'
python3 -c 'import socket; s = socket.socket(); s.setblocking(False); s.connect_ex((\"127.0.0.1\", 4444))'
rm -f /tmp/tool /tmp/script /vol/copy
";

#[test]
fn secrets_appear_in_nothing_that_drift_says_or_writes() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Podman.usable("live: secrets", &[]) {
        return;
    }
    let image = Image::network().unwrap();
    let environment = format!("DECLARED_KEY={DECLARED}");
    let options = ["--env", &environment];
    let container = Runtime::Podman.start_with(&image, &options, &live::container::INIT).unwrap();
    std::fs::write(container.vol().join("secret"), format!("password={IN_FILE}\n")).unwrap();
    let script = SCRIPT.replace("IN_FILE", IN_FILE).replace("IN_ENVIRONMENT", IN_ENVIRONMENT);
    // Not by arguments: those of a process that does something are the engine's to show.
    let script = container.put("plant.sh", script.as_bytes()).unwrap();
    let bystander = format!("import time\nif True: time.sleep(8) # {IN_COMMAND}\n");
    container.put("bystander.py", bystander.as_bytes()).unwrap();
    let start = format!("python3 /corpus/bystander.py --password={IN_COMMAND} &\nsleep 1\nsh {script}\n");
    let start = container.put("start.sh", start.as_bytes()).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let learned = dir.path().join("learned.yaml");
    let approved = dir.path().join("approved.txt");
    std::fs::write(&approved, format!("{}\n", image.reference())).unwrap();
    let config = format!(
        "approved_images: [{}]\nnetwork: {{learning: 1h, learned: {}}}\n",
        approved.display(),
        learned.display()
    );
    // The kernel's own arguments and command lines are the engine's; every field of drift's is asked for.
    let is_of_syscalls = |f: &&drift::extract::FieldDef| {
        f.source != drift::extract::Source::Drift && f.argument != drift::extract::Argument::Key
    };
    let fields: Vec<&str> = drift::extract::FIELDS.iter().filter(is_of_syscalls).map(|f| f.name).collect();
    let filter = "drift.container_id exists or \
                  evt.type in (drift_binary, drift_file, drift_library, drift_container, drift_peer)";
    let mut session = session(&engine(dir.path(), &config).asking(filter, &fields), &container);
    let facts = Facts { files: true, sockets: true, ..Facts::default() };
    run(&container, &format!("sh {start}"), facts, &mut [&mut session]);
    session.settle(Duration::from_secs(5), Duration::from_secs(60)).unwrap();
    let lines = session.lines().to_vec();
    let told: Vec<&str> = lines.iter().filter_map(|l| l.text("evt.type")).collect();
    for due in ["execve", "openat", "listen", "connect", "drift_container", "drift_file"] {
        assert!(told.contains(&due), "the test saw no {due}");
    }
    let names = format!("{lines:?}");
    for due in ["API_KEY", "NODE_OPTIONS", "/etc/app.conf", "/tmp/script"] {
        assert!(names.contains(due), "the test saw no {due}: it would see no secret either");
    }
    let said = session.end().unwrap();

    let mut wrong = Vec::new();
    let mut look = |place: &str, text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        for secret in [DECLARED, IN_ENVIRONMENT, IN_FILE, IN_COMMAND] {
            if let Some(at) = text.find(secret) {
                let around: String = text.chars().skip(at.saturating_sub(60)).take(160).collect();
                wrong.push(format!("{place}: {around}"));
            }
        }
    };
    for line in &lines {
        for (field, value) in line.fields.as_object().unwrap() {
            // The command line of the event's process, as the engine's own `proc.cmdline` shows it.
            if field.starts_with("drift.") && field != "drift.process_cmdline" {
                look(&format!("{field} on {:?}", line.text("evt.type")), value.to_string().as_bytes());
            }
        }
        if let Some(payload) = line.payload() {
            look(&format!("payload of {:?}", line.text("evt.type")), &payload);
        }
    }
    look("what the engine and drift logged", said.as_bytes());
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        look(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
    let metrics = drift::metrics::Metrics::default();
    look("metrics", format!("{:?}", metrics.list()).as_bytes());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(learned.exists(), "drift wrote no file: there was none to look through");
}
