//! Peers of containers, against baselines that were reviewed or learned, by address and by name.

use super::{add_addresses, condition, run, session, start, TOOLS};
use rustix::fs::inotify;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::live::session::Line;
use testkit::live::{self, Container, Image, Runtime};

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

/// Asks again until it is so, or two minutes have passed; gives whether it is.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        if Instant::now() > deadline {
            eprintln!("{what}: not within two minutes");
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    true
}

/// Puts another file in the place of one, and waits until it was read there: an engine looks after its files
/// each ten seconds.
fn replace(file: &Path, text: &str) {
    let dir = file.parent().unwrap();
    let new = dir.join("new");
    std::fs::write(&new, text).unwrap();
    let events = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&events, dir, inotify::WatchFlags::CLOSE_NOWRITE).unwrap();
    std::fs::rename(&new, file).unwrap();
    let name = file.file_name().unwrap();
    let mut buf = [std::mem::MaybeUninit::uninit(); 4096];
    let read = wait_for("a reader of the file", || {
        let mut reader = inotify::Reader::new(&events, &mut buf);
        std::iter::from_fn(|| {
            reader.next().ok().map(|e| e.file_name().is_some_and(|n| n.to_bytes() == name.as_encoded_bytes()))
        })
        .any(|is_it| is_it)
    });
    assert!(read, "{} was not read", file.display());
}

const ADDRESSES: [&str; 5] =
    ["192.0.2.1/24", "192.0.2.2/24", "198.51.100.2/24", "2001:db8::1/64", "2001:db8::2/64"];

#[test]
fn peers_are_judged_by_the_reviewed_baseline_and_its_changes() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live: network, peers", Runtime::Podman) else { return };
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
    let outbound = condition("Drift unexpected outbound peer");
    let mut out = session(&container, dirs[0].path(), &config, &outbound, &PEER_FIELDS);
    let inbound = condition("Drift unexpected inbound peer");
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

    // A damaged file changes nothing; the next whole one does. One engine is left to read it.
    drop((out, inward));
    let before = all.lines().len();
    replace(&baseline, "baselines: [{");
    let one = talk(&container, &talks[..1]);
    run(&container, &mut [&mut all], &one);
    replace(&baseline, &text.replace("8080", "9090"));
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
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live: network, learning", Runtime::Containerd) else { return };
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
    let stored = wait_for("what was learned", || {
        let text = std::fs::read_to_string(&learned).unwrap_or_default();
        text.contains(r#"to: ["192.0.2.1"]"#) && text.contains(r#"from: ["192.0.2.0/24"]"#)
    });
    drop(engine);
    let text = std::fs::read_to_string(&learned).unwrap();
    assert!(stored, "{text}");
    assert!(!text.contains("127.0.0."), "{text}");

    // The time that is left passes, and no more is learned of what is known.
    let mut engine = session(&container, dir.path(), &config, CONTACTS, &PEER_FIELDS);
    let script = talk(&container, &known[..1]);
    wait_for("the end of learning", || {
        run(&container, &mut [&mut engine], &script);
        contacts(engine.lines()).iter().any(|line| line.contains(" expected learned"))
    });
    let before = engine.lines().len();
    let script = talk(&container, &also);
    run(&container, &mut [&mut engine], &script);
    let mut told = contacts(&engine.lines()[before..]);
    told.sort();
    let due = [
        "inbound 192.0.2.2:8080/tcp expected learned",
        "inbound 192.0.2.2:9090/tcp unexpected learned new",
        "outbound 192.0.2.1:8080/tcp expected learned",
        "outbound 192.0.2.1:9090/tcp unexpected learned new",
    ];
    assert_eq!(told, due);
    // A copy of the file is a reviewed baseline. Other containers of this machine may be in it as well.
    let image = Image::network().unwrap();
    let ours = || {
        let text = std::fs::read_to_string(&learned).unwrap();
        let mut reviewed = drift_core::network::baseline::Baselines::parse(&text).unwrap().0;
        reviewed.retain(|baseline| baseline.patterns == [image.reference()]);
        assert_eq!(reviewed.len(), 1, "{text}");
        reviewed.remove(0)
    };
    assert!(wait_for("the time of learning", || ours().learned_seconds.is_some_and(|seconds| seconds >= 15)));
    assert!(!format!("{:?}", ours().outbound).contains("9090"), "{:?}", ours());
}

#[test]
fn names_come_from_the_containers_nameserver_alone() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Podman.usable("live: network, names", TOOLS) {
        return;
    }
    let image = Image::network().unwrap();
    // The container's file says which nameservers count.
    let dir = tempfile::tempdir().unwrap();
    let servers = dir.path().join("resolv.conf");
    std::fs::write(&servers, "nameserver 127.0.0.1\n").unwrap();
    let servers = format!("{}:/etc/resolv.conf:ro", servers.display());
    let container = Runtime::Podman.start_with(&image, &["-v", &servers], &live::container::INIT).unwrap();
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
