//! Tier 3: ports, peers and mounts of real podman and containerd containers, told by the shipped plugin to a real, live
//! libsinsp, with the shipped rules' own conditions.

// Helpers of tests: a failure there is a failure of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{captures, engine_config};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::engine::Engine;
use testkit::live::session::Line;
use testkit::live::{self, Container, Facts, Image, Session, Spec};
use testkit::skip::skip;

#[derive(Debug, Clone, Copy)]
enum Runtime {
    Podman,
    Containerd,
}

impl Runtime {
    fn start(self) -> Container {
        let image = Image::network().unwrap();
        match self {
            Self::Podman => Container::podman(&image).unwrap(),
            Self::Containerd => Container::containerd(&image).unwrap(),
        }
    }

    /// Whether the test can run here; says and counts why not.
    fn usable(self, test: &str) -> bool {
        let mut tools = vec!["ip", "nsenter"];
        tools.extend(match self {
            Self::Podman => live::PODMAN_TOOLS,
            Self::Containerd => live::CONTAINERD_TOOLS,
        });
        let missing = live::missing(&tools);
        if let Some(why) = &missing {
            skip(test, why);
        }
        missing.is_none()
    }
}

/// Condition of a shipped rule.
fn rule(name: &str) -> String {
    let rules = testkit::rules::load(&testkit::workspace_dir().join("rules/drift_rules.yaml")).unwrap();
    rules.into_iter().find(|rule| rule.name == name).expect(name).filter
}

/// An engine with the plugin that prints these fields of what passes the filter.
fn session(container: &Container, dir: &Path, init_config: &str, filter: &str, fields: &[&str]) -> Session {
    let spec = Spec {
        program: Engine::sysdig().unwrap().command(),
        plugin_config: Some(engine_config(dir, &testkit::plugin_library().unwrap(), init_config)),
        filter: filter.to_owned(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    };
    let source = testkit::source_library().unwrap();
    Session::start(&spec, &source, &container.table().unwrap()).unwrap()
}

/// Runs a script in the container while the engines watch.
fn run(container: &Container, sessions: &mut [&mut Session], script: &str) {
    let script = container.put("script.sh", script.as_bytes()).unwrap();
    let facts = Facts { files: true, sockets: true, ..Facts::default() };
    live::trace(container, &format!("sh {script}"), facts, &mut |event| {
        sessions.iter_mut().try_for_each(|session| session.feed(event))
    })
    .unwrap();
    for session in sessions {
        session.settle(Duration::from_millis(500), Duration::from_secs(20)).unwrap();
    }
}

/// Gives the container's network more addresses of its own.
fn add_addresses(container: &Container, addresses: &[&str]) {
    for address in addresses {
        let mut command = Command::new("nsenter");
        command.args([
            "-t",
            &container.init_pid().to_string(),
            "-n",
            "ip",
            "address",
            "add",
            address,
            "dev",
            "lo",
        ]);
        if address.contains(':') {
            command.arg("nodad");
        }
        assert!(command.status().unwrap().success(), "{address}");
    }
    let up = ["-t", &container.init_pid().to_string(), "-n", "ip", "link", "set", "lo", "up"];
    assert!(Command::new("nsenter").args(up).status().unwrap().success());
}

fn ports(lines: &[Line]) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    lines
        .iter()
        .map(|l| format!("{}/{}", text(&l.fields["fd.sport"]), text(&l.fields["fd.l4proto"])))
        .collect()
}

/// The ports of the scenarios; nothing for those that open none.
const SCENARIOS: [(&str, &str); 7] = [
    ("net-01", "8080/tcp"),
    ("net-02", "4444/tcp"),
    ("net-03", "5353/udp"),
    ("net-04", "8080/tcp"),
    ("net-05", ""),
    ("net-06", "8000/tcp"),
    ("net-07", ""),
];

fn every_row(test: &str, runtime: Runtime) {
    if !runtime.usable(test) {
        return;
    }
    let Some(captures) = captures(test) else { return };
    let script = std::fs::read_to_string(captures.join("scenarios/network.sh")).unwrap();
    let table = std::fs::read_to_string(captures.join("expected/network.tsv")).unwrap();
    let rows: BTreeMap<&str, bool> = table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .map(|cells| (cells[0], cells[1] == "1"))
        .collect();
    let container = runtime.start();
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let fields = ["drift.container_id", "fd.sport", "fd.l4proto", "drift.port_declared", "drift.image"];
    let mut alerts = session(&container, dirs[0].path(), "", &rule("Drift undeclared port"), &fields);
    let opened = "evt.type in (bind, listen) and drift.port_declared exists";
    let mut all = session(&container, dirs[1].path(), "", opened, &fields);
    // More than once: the same port is told once. Traced on a busy machine, python takes longer to come up than the
    // script gives it.
    for seconds in [1, 1, 4, 16] {
        let patient = script.replace("timeout 1 python3", &format!("timeout {seconds} python3"));
        assert!(seconds == 1 || patient != script);
        run(&container, &mut [&mut alerts, &mut all], &patient);
        if seconds > 1 && ports(all.lines()).contains(&"8000/tcp".to_owned()) {
            break;
        }
    }
    for line in alerts.lines().iter().chain(all.lines()) {
        assert_eq!(line.text("drift.container_id"), Some(container.id()), "{line:?}");
        assert!(line.text("drift.image").is_some_and(|i| i.starts_with("localhost/drift-live:")), "{line:?}");
    }
    let told = ports(alerts.lines());
    for (scenario, port) in SCENARIOS {
        let due = usize::from(rows[scenario]);
        if port.is_empty() {
            assert_eq!(due, 0, "{scenario}");
            continue;
        }
        let count = told.iter().filter(|told| *told == port).count();
        assert_eq!(count, due, "{scenario} {port}: {told:?}");
        let answers: BTreeSet<String> = all
            .lines()
            .iter()
            .zip(ports(all.lines()))
            .filter(|(_, of)| of == port)
            .map(|(line, _)| line.fields["drift.port_declared"].to_string())
            .collect();
        assert_eq!(answers, [(due == 0).to_string()].into(), "{scenario} {port}");
    }
    assert_eq!(told.len(), rows.values().filter(|due| **due).count(), "{told:?}");
}

#[test]
fn podman_every_row_of_the_network_is_right() {
    every_row("live: network, podman", Runtime::Podman);
}

#[test]
fn containerd_every_row_of_the_network_is_right() {
    every_row("live: network, containerd", Runtime::Containerd);
}

/// A client's own port, ports that the kernel chooses, wildcards and dual stack, and what the image exposes.
#[test]
fn ports_are_told_where_somebody_can_come_in() {
    let test = "live: network, ports";
    if !Runtime::Podman.usable(test) {
        return;
    }
    let container = Runtime::Podman.start();
    add_addresses(&container, &[]);
    let dir = tempfile::tempdir().unwrap();
    let fields = ["fd.sport", "fd.l4proto"];
    let config = "allowed_ports: [9100/tcp, 30000-32767/udp]\n";
    let mut alerts = session(&container, dir.path(), config, &rule("Drift undeclared port"), &fields);
    let other = tempfile::tempdir().unwrap();
    let fields = ["fd.name", "fd.l4proto", "drift.port_declared", "drift.port_new"];
    let mut all = session(&container, other.path(), config, "evt.type in (bind, listen)", &fields);
    let python = r#"
import socket as s
def sock(family=s.AF_INET, kind=s.SOCK_STREAM): return s.socket(family, kind)
def bound(address, family=s.AF_INET, kind=s.SOCK_STREAM, listen=True, v6only=None):
    k = sock(family, kind)
    if v6only is not None: k.setsockopt(s.IPPROTO_IPV6, s.IPV6_V6ONLY, v6only)
    k.bind(address)
    if listen and kind == s.SOCK_STREAM: k.listen(1)
    return k
keep = [
    bound(('0.0.0.0', 7001)),
    bound(('::', 7002), s.AF_INET6, v6only=0),
    bound(('::', 7003), s.AF_INET6, v6only=1),
    bound(('::ffff:127.0.0.1', 7004), s.AF_INET6, v6only=0),
    bound(('0.0.0.0', 7005), kind=s.SOCK_DGRAM),
    bound(('::', 7006), s.AF_INET6, s.SOCK_DGRAM),
    bound(('127.0.0.1', 0)),
    bound(('127.0.0.1', 0), kind=s.SOCK_DGRAM),
    bound(('127.0.0.1', 7007), listen=False),
    bound(('0.0.0.0', 8080)),
    bound(('0.0.0.0', 9100)),
    bound(('0.0.0.0', 31000), kind=s.SOCK_DGRAM),
    bound(('0.0.0.0', 9100), kind=s.SOCK_DGRAM),
]
client = bound(('127.0.0.1', 7008), listen=False)
client.connect(('127.0.0.1', 8080))
autobound = sock()
autobound.listen(1)
again = bound(('127.0.0.1', 7009))
again.close()
again = bound(('127.0.0.1', 7009))
"#;
    container.put("ports.py", python.as_bytes()).unwrap();
    run(&container, &mut [&mut alerts, &mut all], "python3 /corpus/ports.py");
    let mut told = ports(alerts.lines());
    told.sort();
    let expected =
        ["7001/tcp", "7002/tcp", "7003/tcp", "7004/tcp", "7005/udp", "7006/udp", "7009/tcp", "9100/udp"];
    let lines: Vec<String> = all.lines().iter().map(|line| line.fields.to_string()).collect();
    assert_eq!(told, expected, "{lines:#?}");
}

const PEER_FIELDS: [&str; 7] = [
    "drift.peer",
    "drift.peer_direction",
    "drift.peer_expected",
    "drift.peer_baseline",
    "drift.peer_new",
    "drift.peer_name",
    "drift.image",
];
const CONTACTS: &str = "evt.type in (connect, accept, accept4, drift_peer) and drift.peer exists";

/// Each contact in words: `outbound 192.0.2.1:8080/tcp expected reviewed new`.
fn contacts(lines: &[Line]) -> Vec<String> {
    let word = |line: &Line, field: &str| line.text(field).unwrap_or("-").to_owned();
    let all = lines.iter().map(|line| {
        let is_new = line.fields["drift.peer_new"] == Value::Bool(true);
        let words = ["drift.peer_direction", "drift.peer", "drift.peer_expected", "drift.peer_baseline"];
        let words = words.map(|field| word(line, field)).join(" ");
        format!("{words}{}", if is_new { " new" } else { "" })
    });
    all.collect()
}

/// Serves once for each client, on all addresses.
const SERVER: &str = "
import socket, sys
port, clients = int(sys.argv[1]), int(sys.argv[2])
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('::', port)); s.listen(8)
print('ready', flush=True)
for _ in range(clients): s.accept()[0].close()
";

/// Connects from one address to another.
const CLIENT: &str = "
import socket, sys
own, peer, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET6 if ':' in peer else socket.AF_INET)
s.bind((own, 0)); s.settimeout(5); s.connect((peer, port)); s.recv(1)
";

/// Two programs talk: the script of a list of `own peer port`.
fn talk(container: &Container, talks: &[(&str, &str, u16)]) -> String {
    container.put("server.py", SERVER.as_bytes()).unwrap();
    container.put("client.py", CLIENT.as_bytes()).unwrap();
    let mut script = String::from("set -u\n");
    let ports: BTreeSet<u16> = talks.iter().map(|talk| talk.2).collect();
    for port in &ports {
        let clients = talks.iter().filter(|talk| talk.2 == *port).count();
        let start = format!("python3 /corpus/server.py {port} {clients} >/vol/ready-{port} 2>&1 &\n");
        script.push_str(&format!("rm -f /vol/ready-{port}\n{start}"));
    }
    for port in ports {
        script
            .push_str(&format!("while ! grep -q ready /vol/ready-{port} 2>/dev/null; do sleep 0.1; done\n"));
    }
    for (own, peer, port) in talks {
        script.push_str(&format!("python3 /corpus/client.py {own} {peer} {port}\n"));
    }
    script.push_str("wait\n");
    script
}

const ADDRESSES: [&str; 5] =
    ["192.0.2.1/24", "192.0.2.2/24", "198.51.100.2/24", "2001:db8::1/64", "2001:db8::2/64"];

#[test]
fn peers_are_judged_by_the_reviewed_baseline_and_its_changes() {
    let test = "live: network, peers";
    if !Runtime::Podman.usable(test) {
        return;
    }
    let container = Runtime::Podman.start();
    add_addresses(&container, &ADDRESSES);
    let dir = tempfile::tempdir().unwrap();
    let baseline = dir.path().join("baseline.yaml");
    let text = "baselines:
  - images: ['localhost/drift-live:*-network-*']
    outbound:
      - {to: [192.0.2.0/24, '2001:db8::/64'], ports: [8080/tcp]}
    inbound:
      - {from: [192.0.2.2, '2001:db8::2'], ports: [8080]}
";
    std::fs::write(&baseline, text).unwrap();
    let config = format!("network: {{baselines: [{}]}}\n", baseline.display());
    let mut all = session(&container, dir.path(), &config, CONTACTS, &PEER_FIELDS);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let outbound = rule("Drift unexpected outbound peer");
    let mut out = session(&container, dirs[0].path(), &config, &outbound, &PEER_FIELDS);
    let inbound = rule("Drift unexpected inbound peer");
    let mut inward = session(&container, dirs[1].path(), &config, &inbound, &PEER_FIELDS);
    let talks = [
        ("192.0.2.2", "192.0.2.1", 8080),
        ("192.0.2.2", "192.0.2.1", 8080),
        ("2001:db8::2", "2001:db8::1", 8080),
        ("198.51.100.2", "192.0.2.1", 8080),
        ("127.0.0.1", "127.0.0.1", 8080),
        ("192.0.2.1", "192.0.2.1", 8080),
        ("192.0.2.2", "192.0.2.1", 9090),
        ("192.0.2.2", "192.0.2.1", 9090),
    ];
    let script = talk(&container, &talks);
    run(&container, &mut [&mut all, &mut out, &mut inward], &script);
    let mut told = contacts(all.lines());
    told.sort();
    let mut expected = [
        "outbound 192.0.2.1:8080/tcp expected reviewed new",
        "inbound 192.0.2.2:8080/tcp expected reviewed new",
        "outbound 192.0.2.1:8080/tcp expected reviewed",
        "inbound 192.0.2.2:8080/tcp expected reviewed",
        "outbound [2001:db8::1]:8080/tcp expected reviewed new",
        "inbound [2001:db8::2]:8080/tcp expected reviewed new",
        "outbound 192.0.2.1:8080/tcp expected reviewed",
        "inbound 198.51.100.2:8080/tcp unexpected reviewed new",
        "outbound 192.0.2.1:9090/tcp unexpected reviewed new",
        "inbound 192.0.2.2:9090/tcp unexpected reviewed new",
        "outbound 192.0.2.1:9090/tcp unexpected reviewed",
        "inbound 192.0.2.2:9090/tcp unexpected reviewed",
    ];
    expected.sort_unstable();
    assert_eq!(told, expected);
    assert_eq!(contacts(out.lines()), ["outbound 192.0.2.1:9090/tcp unexpected reviewed new"]);
    let mut alerts = contacts(inward.lines());
    alerts.sort();
    let due = [
        "inbound 192.0.2.2:9090/tcp unexpected reviewed new",
        "inbound 198.51.100.2:8080/tcp unexpected reviewed new",
    ];
    assert_eq!(alerts, due);

    // A damaged file changes nothing; the next whole one does.
    let before = all.lines().len();
    std::fs::write(&baseline, "baselines: [{").unwrap();
    std::thread::sleep(Duration::from_secs(12));
    let one = talk(&container, &talks[..1]);
    run(&container, &mut [&mut all], &one);
    std::fs::write(&baseline, text.replace("8080", "9090")).unwrap();
    std::thread::sleep(Duration::from_secs(12));
    run(&container, &mut [&mut all], &one);
    let mut told = contacts(&all.lines()[before..]);
    told[..2].sort();
    told[2..].sort();
    let due = [
        "inbound 192.0.2.2:8080/tcp expected reviewed",
        "outbound 192.0.2.1:8080/tcp expected reviewed",
        "inbound 192.0.2.2:8080/tcp unexpected reviewed new",
        "outbound 192.0.2.1:8080/tcp unexpected reviewed new",
    ];
    assert_eq!(told, due);
}

#[test]
fn peers_are_learned_and_kept_when_the_engine_is_killed() {
    let test = "live: network, learning";
    if !Runtime::Containerd.usable(test) {
        return;
    }
    let container = Runtime::Containerd.start();
    add_addresses(&container, &ADDRESSES);
    let dir = tempfile::tempdir().unwrap();
    let learned = dir.path().join("learned.yaml");
    let config = format!("network: {{learning: 15s, learned: {}}}\n", learned.display());
    let known = [("192.0.2.2", "192.0.2.1", 8080), ("127.0.0.1", "127.0.0.1", 8080)];
    let also = [known[0], ("192.0.2.2", "192.0.2.1", 9090)];
    let mut engine = session(&container, dir.path(), &config, CONTACTS, &PEER_FIELDS);
    let script = talk(&container, &known);
    run(&container, &mut [&mut engine], &script);
    let mut told = contacts(engine.lines());
    told.sort();
    let due = [
        "inbound 192.0.2.2:8080/tcp learning learned new",
        "outbound 192.0.2.1:8080/tcp learning learned new",
    ];
    assert_eq!(told, due);
    // What was learned is stored before the time is over: SIGKILL is how a session ends.
    std::thread::sleep(Duration::from_secs(12));
    drop(engine);
    let text = std::fs::read_to_string(&learned).unwrap();
    assert!(text.contains(r#"to: ["192.0.2.1"]"#) && text.contains(r#"from: ["192.0.2.0/24"]"#), "{text}");
    assert!(!text.contains("127.0.0."), "{text}");

    let mut engine = session(&container, dir.path(), &config, CONTACTS, &PEER_FIELDS);
    std::thread::sleep(Duration::from_secs(22));
    let script = talk(&container, &also);
    run(&container, &mut [&mut engine], &script);
    let mut told = contacts(engine.lines());
    told.sort();
    let due = [
        "inbound 192.0.2.2:8080/tcp expected learned new",
        "inbound 192.0.2.2:9090/tcp unexpected learned new",
        "outbound 192.0.2.1:8080/tcp expected learned new",
        "outbound 192.0.2.1:9090/tcp unexpected learned new",
    ];
    assert_eq!(told, due);
    let text = std::fs::read_to_string(&learned).unwrap();
    // A person's copy of the file is a reviewed baseline. Other containers of this machine may be in it as well.
    let reviewed = drift::network::baseline::Baselines::parse(&text).unwrap();
    let image = Image::network().unwrap();
    let ours: Vec<_> = reviewed.0.iter().filter(|b| b.patterns == [image.reference()]).collect();
    assert_eq!(ours.len(), 1, "{text}");
    assert!(ours[0].learned_seconds.is_some_and(|seconds| seconds >= 15), "{text}");
    assert!(!format!("{:?}", ours[0].outbound).contains("9090"), "{text}");
}

#[test]
fn names_come_from_the_containers_nameserver_alone() {
    let test = "live: network, names";
    if !Runtime::Podman.usable(test) {
        return;
    }
    let image = Image::network().unwrap();
    // The container's file says which nameservers count.
    let dir = tempfile::tempdir().unwrap();
    let servers = dir.path().join("resolv.conf");
    std::fs::write(&servers, "nameserver 127.0.0.1\n").unwrap();
    let servers = format!("{}:/etc/resolv.conf:ro", servers.display());
    let container = Container::podman_with(&image, &["-v", &servers], &live::container::INIT).unwrap();
    add_addresses(&container, &ADDRESSES);
    let baseline = dir.path().join("baseline.yaml");
    let text = "baselines: [{images: ['*'], outbound: [{to: ['*.example.com'], ports: [8080]}]}]\n";
    std::fs::write(&baseline, text).unwrap();
    let config = format!("network: {{baselines: [{}]}}\n", baseline.display());
    let watch = "(evt.type in (recvfrom, recvmsg) and drift.name_watch exists and evt.num = 0)";
    let filter = format!("{watch} or ({CONTACTS} and evt.type = connect)");
    let mut engine = session(&container, dir.path(), &config, &filter, &PEER_FIELDS);
    let dns = r#"
import socket, struct, sys
def answer(question, address):
    name_end = question.index(b'\0', 12) + 5
    record = b'\xc0\x0c' + struct.pack('>HHIH', 1, 1, 60, 4) + socket.inet_aton(address)
    return question[:2] + b'\x81\x80\0\1\0\1\0\0\0\0' + question[12:name_end] + record
own, address = sys.argv[1], sys.argv[2]
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); server.bind((own, 53))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); client.connect((own, 53))
name = b''.join(bytes([len(l)]) + l for l in b'api.example.com'.split(b'.')) + b'\0'
client.send(b'\x12\x34\1\0\0\1\0\0\0\0\0\0' + name + b'\0\1\0\1')
question, who = server.recvfrom(512)
server.sendto(answer(question, address), who)
client.recvfrom(512)
"#;
    container.put("dns.py", dns.as_bytes()).unwrap();
    let talks = [("192.0.2.2", "192.0.2.1", 8080), ("192.0.2.2", "198.51.100.2", 8080)];
    let script = talk(&container, &talks);
    let ask = "python3 /corpus/dns.py 127.0.0.1 192.0.2.1\npython3 /corpus/dns.py 192.0.2.2 198.51.100.2\n";
    run(&container, &mut [&mut engine], &format!("{ask}{script}"));
    let told: Vec<String> = engine
        .lines()
        .iter()
        .map(|line| {
            let text = |field| line.text(field).unwrap_or("-").to_owned();
            [text("drift.peer"), text("drift.peer_name"), text("drift.peer_expected")].join(" ")
        })
        .filter(|line| line.contains(":8080"))
        .collect();
    let due = ["192.0.2.1:8080/tcp api.example.com expected", "198.51.100.2:8080/tcp - unexpected"];
    assert_eq!(told, due);
}

#[test]
fn mounts_of_a_running_container_are_told() {
    let test = "live: mounts";
    if !Runtime::Podman.usable(test) {
        return;
    }
    let image = Image::network().unwrap();
    let container = Container::podman_with(&image, &["--privileged"], &live::container::INIT).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let fields = ["evt.type", "proc.name", "evt.args", "drift.container_id"];
    let mut alerts = session(&container, dir.path(), "", &rule("Drift mount in container"), &fields);
    let script = "mkdir -p /mnt/a /mnt/b
mount -t tmpfs none /mnt/a
mount --bind /etc /mnt/b
mount -o remount,ro,bind /mnt/b
umount /mnt/b
umount /mnt/none
cat /proc/mounts > /dev/null
";
    run(&container, &mut [&mut alerts], script);
    let told: Vec<&str> = alerts.lines().iter().filter_map(|line| line.text("proc.name")).collect();
    // New versions of mount(8) make several calls for one mount, of which one is move_mount.
    let mounts = told.iter().filter(|name| **name == "mount").count();
    let unmounts = told.iter().filter(|name| **name == "umount").count();
    assert!(mounts >= 3 && unmounts == 1 && told.len() == mounts + unmounts, "{:#?}", alerts.lines());
    for line in alerts.lines() {
        assert_eq!(line.text("drift.container_id"), Some(container.id()), "{line:?}");
    }
}
