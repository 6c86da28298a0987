//! The command `drift`, on real containers: exit status, text, JSON, the archive, manifests, and hostile
//! names.

use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use testkit::live::{Container, Image, Runtime};

fn drift(arguments: &[&str]) -> Output {
    Command::new(testkit::command::drift()).args(arguments).env_remove("HOST_ROOT").output().unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.stdout.is_ascii(), "nothing but ASCII reaches a terminal");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Changes a container in every way, some of them hostile, and leaves programs running.
const CHANGES: &str = r#"#!/bin/sh
mkdir -p /opt/tool/bin /opt/empty
cp /bin/sleep /opt/tool/bin/x
printf '#!/bin/sh\nsleep 1000\n' > /opt/tool/run.sh
/opt/tool/bin/x 1000 &
sh /opt/tool/run.sh &
printf 'PASSWORD=hunter2-planted\n' > /etc/evil.conf
printf 'planted on a volume' > /vol/secret
printf 'planted on a tmpfs' > /scratch/secret
TOKEN=planted-in-environment LD_PRELOAD=/planted.so sleep 1000 2>/dev/null &
sh -c 'sleep 1000; :' --password=planted-in-arguments &
printf 'Package: evil\nStatus: install ok installed\nVersion: 6.6\nArchitecture: all\n\n' \
    >> /var/lib/dpkg/status
perl -MIO::Socket::INET -e '
    my $declared = IO::Socket::INET->new(Listen => 1, LocalAddr => "0.0.0.0", LocalPort => 8080) or die;
    my $tcp = IO::Socket::INET->new(Listen => 1, LocalAddr => "0.0.0.0", LocalPort => 4444) or die;
    open(my $f, ">", "/vol/listening"); sleep 1000;' &
touch "$(printf '/opt/new\nline\033[31m')"
touch "$(printf '/opt/\377bytes')"
mkfifo /opt/fifo
truncate -s 100G /opt/sparse
ln -s /etc/shadow /opt/link
echo x:x:0:0::/:/bin/sh >> /etc/passwd
chmod u+s /bin/cat
chmod 0700 /bin/ls
cp -p /etc/group /tmp/group; cat /tmp/group > /etc/group; rm /tmp/group
rm /usr/bin/tty
rm -rf /etc/apt
ln -sf /nowhere /etc/issue
i=0; while [ $i -lt 300 ]; do mkdir -p d; cd d; i=$((i+1)); done; cd /
until [ -e /vol/listening ]; do sleep 0.1; done
touch /vol/done
"#;

fn change(container: &Container) {
    let script = container.put("changes.sh", CHANGES.as_bytes()).unwrap();
    container.run(&format!("sh {script}")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !container.vol().join("done").exists() {
        assert!(Instant::now() < deadline, "the changes are not made");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `change path` of each file of a JSON report, the deep tree left out.
fn files(report: &Value) -> BTreeMap<String, String> {
    let rows = report["files"].as_array().unwrap().iter();
    rows.map(|f| (f["path"].as_str().unwrap().to_owned(), f["change"].as_str().unwrap().to_owned()))
        .filter(|(path, _)| !path.starts_with("/d/") && path != "/d")
        .collect()
}

fn expected() -> BTreeMap<String, String> {
    [
        ("/opt/tool", "created"),
        ("/opt/tool/bin", "created"),
        ("/opt/tool/bin/x", "created"),
        ("/opt/tool/run.sh", "created"),
        ("/opt/empty", "created"),
        ("/etc/evil.conf", "created"),
        ("/opt/new\nline\u{1b}[31m", "created"),
        ("/opt/\u{fffd}bytes", "created"),
        ("/opt/fifo", "created"),
        ("/opt/sparse", "created"),
        ("/opt/link", "created"),
        ("/etc/passwd", "modified"),
        ("/var/lib/dpkg/status", "modified"),
        ("/usr/bin/cat", "metadata"),
        ("/usr/bin/tty", "deleted"),
        ("/etc/apt", "deleted"),
        ("/etc/issue", "modified"),
    ]
    .map(|(path, change)| (path.to_owned(), change.to_owned()))
    .into()
}

fn run_in(container: &Container) {
    let id = container.id();
    let clean = drift(&["diff", id]);
    assert_eq!(status(&clean), 0, "{}{}", out(&clean), String::from_utf8_lossy(&clean.stderr));
    change(container);

    let json = drift(&["diff", "--json", id]);
    assert_eq!(status(&json), 1);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(files(&report), expected());
    assert_eq!(report["container_id"], id);
    assert_eq!(report["drift"], true);
    // A tree of 300 levels is not walked to its end, and that is said.
    assert_eq!(report["complete"], false, "{:?}", report["not_compared"]);
    let row =
        |path: &str| report["files"].as_array().unwrap().iter().find(|f| f["path"] == path).unwrap().clone();
    assert_eq!(row("/opt/tool/bin/x")["kind"], "elf_exec");
    assert_eq!(row("/opt/tool/run.sh")["kind"], "script");
    assert_eq!(row("/usr/bin/cat")["package"], "dpkg:coreutils");
    assert_eq!(row("/usr/bin/cat")["gained"], json!(["setuid"]));
    assert_eq!(row("/opt/\u{fffd}bytes")["path_escaped"], "/opt/\\377bytes");
    assert_eq!(row("/etc/passwd")["before"]["type"], "file");
    let processes = report["processes"].as_array().unwrap();
    let added: Vec<_> = processes.iter().filter(|p| p["path"] == "/opt/tool/bin/x").collect();
    assert_eq!((added.len(), &added[0]["origin"]), (1, &Value::from("added")), "{processes:?}");
    let scripted: Vec<_> = processes.iter().filter(|p| p["script_path"] == "/opt/tool/run.sh").collect();
    assert_eq!((scripted.len(), &scripted[0]["script_origin"]), (1, &Value::from("added")));

    assert_eq!(
        report["packages"],
        json!([{"package": "dpkg:evil", "change": "added", "before": [],
                "now": [{"version": "6.6", "architecture": "all"}]}])
    );
    let ports = report["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 1, "8080 is declared: {ports:?}");
    assert_eq!((&ports[0]["port"], &ports[0]["declared"]), (&json!("4444/tcp"), &json!(false)));
    assert_eq!((&ports[0]["path"], &ports[0]["addresses"]), (&json!("/usr/bin/perl"), &json!(["0.0.0.0"])));
    let environment = report["environment"].as_array().unwrap();
    assert_eq!(environment.len(), 1, "{environment:?}");
    assert_eq!(environment[0]["path"], "/usr/bin/sleep");
    assert_eq!(environment[0]["dangerous"], json!(["LD_PRELOAD"]));
    assert_eq!(environment[0]["added"], json!(["LD_PRELOAD", "TOKEN"]));
    assert!(json.stdout.is_ascii(), "nothing but ASCII reaches a terminal");

    // By the beginning of the id, by process, as text, with what was only touched.
    let text = drift(&["diff", "--full", &id[..12]]);
    assert_eq!(status(&text), 1);
    let text = out(&text);
    for line in [
        "created   /opt/new\\nline\\033[31m  file",
        "metadata  /usr/bin/cat  file elf_exec mode=0755->4755 gained=setuid package=dpkg:coreutils",
        "deleted   /etc/apt  directory",
        "touched   /usr/bin/ls  file mode=0755->0700 package=dpkg:coreutils",
        "touched   /etc/group  file",
        "added     dpkg:evil  6.6",
        "undeclared 4444/tcp  0.0.0.0  ",
        "declared   8080/tcp  0.0.0.0  ",
        "/usr/bin/sleep  dangerous=LD_PRELOAD  added=LD_PRELOAD,TOKEN",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    assert_eq!(status(&drift(&["diff", &container.init_pid().to_string()])), 1);

    for printed in [String::from_utf8_lossy(&json.stdout), text.as_str().into()] {
        assert!(!printed.contains("planted"), "a secret is printed: {printed}");
    }

    let hardened = drift(&["harden", "--json", id]);
    assert_eq!(status(&hardened), 0, "{}", String::from_utf8_lossy(&hardened.stderr));
    let hardened: Value = serde_json::from_slice(&hardened.stdout).unwrap();
    let spec = &hardened[0]["patch"]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(spec["securityContext"]["readOnlyRootFilesystem"], true);
    let lines = hardened[0]["containerfile"].as_array().unwrap();
    assert!(lines.contains(&json!("COPY ./opt/tool/run.sh /opt/tool/run.sh")), "{lines:?}");
    assert!(lines.iter().any(|l| l.as_str().unwrap().contains("evil=6.6")), "{lines:?}");
    let page = container.vol().join("report.html");
    let paged = drift(&["diff", "--html", page.to_str().unwrap(), id]);
    assert_eq!(status(&paged), 1);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("run.sh") && !page.contains("hunter2") && page.is_ascii());
    let listed = drift(&["ls", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let row = listed["containers"].as_array().unwrap().iter().find(|c| c["container_id"] == id).unwrap();
    assert_eq!((&row["packages"], &row["ports"]), (&json!(1), &json!(1)));

    assert_agrees_with_runtime(container, &report, &text);
    archive(container, &report);
    manifest(container);
}

/// Every path that podman names is ours, and the other way round; it says less of each.
fn assert_agrees_with_runtime(container: &Container, report: &Value, all: &str) {
    let Some(lines) = container.runtime_diff().unwrap() else { return };
    let ours = files(report);
    for line in lines.lines() {
        let Some((kind, path)) = line.split_once(' ').filter(|(k, _)| matches!(*k, "A" | "C" | "D")) else {
            continue;
        };
        // What podman itself made: directories to mount something on, and a link to /proc.
        if ["/corpus", "/scratch", "/vol", "/etc/mtab"].contains(&path) {
            continue;
        }
        // Newlines break podman's lines; below the deep tree it goes deeper than we do.
        if path.starts_with("/d") || path.starts_with("/opt/new") || !path.is_ascii() {
            continue;
        }
        let is_dir = kind == "C" && Path::new(&format!("/proc/{}/root{path}", container.init_pid())).is_dir();
        let change = ours.get(path).map(String::as_str);
        let agrees = match (kind, change) {
            ("A", Some("created")) | ("D", Some("deleted")) | ("C", Some("modified" | "metadata")) => true,
            // A directory in which something changed, or a file that was only touched.
            ("C", None) => is_dir || all.contains(&format!("touched   {path}  ")),
            // What lies in a deleted directory.
            ("D", None) => path.starts_with("/etc/apt/"),
            _ => false,
        };
        assert!(agrees, "podman says {line:?}, we {change:?}");
    }
    for (path, change) in ours.iter().filter(|(p, _)| p.is_ascii() && !p.contains('\n')) {
        let letter = match change.as_str() {
            "created" => "A",
            "deleted" => "D",
            _ => "C",
        };
        assert!(
            lines.lines().any(|l| l == format!("{letter} {path}")),
            "podman lacks {letter} {path}: {lines}"
        );
    }
}

fn archive(container: &Container, report: &Value) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("changes.tar");
    let path = path.to_str().unwrap();
    assert_eq!(status(&drift(&["diff", "--tar", path, container.id()])), 1);
    let again = drift(&["diff", "--tar", path, container.id()]);
    assert_eq!(status(&again), 2, "an archive that exists is not written over");
    let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
    let mut members = BTreeMap::new();
    let mut order = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(header.entry_type(), tar::EntryType::Regular);
        assert_eq!((header.mode().unwrap(), header.uid().unwrap()), (0o600, 0));
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        order.push(name.clone());
        members.insert(name, content);
    }
    assert_eq!(order[0], "manifest.json");
    let listed: Value = serde_json::from_slice(&members["manifest.json"]).unwrap();
    assert_eq!(files(&listed).iter().filter(|(_, c)| *c != "touched").count(), files(report).len());
    let names: Vec<_> =
        members.keys().filter(|n| n.starts_with("files/opt") || n.starts_with("files/etc")).collect();
    assert_eq!(
        names,
        [
            "files/etc/evil.conf",
            "files/etc/passwd",
            "files/opt/new\nline\u{1b}[31m",
            "files/opt/tool/bin/x",
            "files/opt/tool/run.sh",
            "files/opt/\u{fffd}bytes",
        ],
        "links, FIFOs and what is too large are in the manifest alone"
    );
    let digest = |path: &str| {
        listed["files"].as_array().unwrap().iter().find(|f| f["path"] == path).unwrap()["sha256"].clone()
    };
    use sha2::Digest;
    let want: String =
        sha2::Sha256::digest(&members["files/etc/evil.conf"]).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(digest("/etc/evil.conf"), Value::from(want));
    for (name, content) in &members {
        let secret = content.windows(7).any(|w| w == b"planted") && name != "files/etc/evil.conf";
        assert!(!secret, "{name} holds a secret");
    }
    // Contents are in the archive, and nowhere in the reports.
    assert!(members["files/etc/evil.conf"].ends_with(b"hunter2-planted\n"));
    assert!(!String::from_utf8_lossy(&members["manifest.json"]).contains("hunter2"));
}

/// The manifest of the container's image and that of its archive say the same, and the container compared
/// with either gives what the layers gave.
fn manifest(container: &Container) {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (of_container, of_archive) = (at("container.mtree"), at("archive.mtree"));
    let made = drift(&["manifest", "-o", &of_container, container.id()]);
    assert_eq!(status(&made), 0, "{}", String::from_utf8_lossy(&made.stderr));
    let image = Image::debian().unwrap();
    let made = drift(&["manifest", image.archive().to_str().unwrap()]);
    assert_eq!(status(&made), 0, "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(&of_archive, &made.stdout).unwrap();
    let lines = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap();
        // Runtimes do not agree on the root directory itself.
        text.lines().filter(|l| !l.starts_with("./ ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (a, b) = (lines(&of_container), lines(&of_archive));
    assert!(a.len() > 1000);
    let differ: Vec<_> = a.iter().filter(|l| !b.contains(l)).take(5).collect();
    assert!(a == b, "{differ:?}");

    let json = drift(&["diff", "--json", "--image", &of_archive, container.id()]);
    let report: Value = serde_json::from_slice(&json.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&json.stderr)));
    assert_eq!(files(&report), expected());
}

#[test]
fn podman_containers() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Podman.usable("command: podman", &[]) {
        return;
    }
    run_in(&Runtime::Podman.start(&Image::debian().unwrap()).unwrap());
}

#[test]
fn containerd_containers() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Containerd.usable("command: containerd", &[]) {
        return;
    }
    run_in(&Runtime::Containerd.start(&Image::debian().unwrap()).unwrap());
}

#[test]
fn errors_have_status_2() {
    for arguments in [
        &["diff", "no-such-container"][..],
        &["diff"],
        &["manifest", "/no/such/image"],
        &["undo"],
        &["diff", "--host-root", "relative", "x"],
    ] {
        let output = drift(arguments);
        assert_eq!(status(&output), 2, "{arguments:?}");
        assert!(output.stdout.is_empty());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with("drift: ") || said.starts_with("error: "), "{said}");
    }
    let hostile = drift(&["diff", "\x1b[31m"]);
    assert!(!hostile.stderr.contains(&0x1b));
    assert_eq!(status(&drift(&["--help"])), 0);
}
