//! Ports that containers open: what is declared, and one alert for each that is not.

use super::{add_addresses, condition, run, session, start};
use std::collections::{BTreeMap, BTreeSet};
use testkit::expected::{captures, expected};
use testkit::live::session::Line;
use testkit::live::Runtime;

fn ports(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|l| l.text("drift.port").unwrap_or("-").to_owned()).collect()
}

/// The condition of both rules: for ports on loopback, and for others.
fn either() -> String {
    let [reachable, loopback] = ["Drift undeclared port", "Drift undeclared loopback port"].map(condition);
    format!("({reachable}) or ({loopback})")
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
    let Some(captures) = captures(test) else { return };
    let Some(container) = start(test, runtime) else { return };
    let script = std::fs::read_to_string(captures.join("scenarios/network.sh")).unwrap();
    let due = |cells: &[&str]| (cells[0].to_owned(), cells[1] == "1");
    let rows: BTreeMap<String, bool> = expected(&captures, "network", due).into_iter().collect();
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let fields = ["drift.container_id", "drift.port", "drift.port_declared", "drift.image"];
    let mut alerts = session(&container, dirs[0].path(), "", &either(), &fields);
    let opened = "evt.type in (bind, listen) and drift.port_declared exists";
    let mut all = session(&container, dirs[1].path(), "", opened, &fields);
    // More than once: the same port is told once. Traced on a busy machine, python takes longer to come up
    // than the script gives it.
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
    let _turn = crate::turns::take(module_path!());
    every_row("live: network, podman", Runtime::Podman);
}

#[test]
fn containerd_every_row_of_the_network_is_right() {
    let _turn = crate::turns::take(module_path!());
    every_row("live: network, containerd", Runtime::Containerd);
}

/// A client's own port, ports that the kernel chooses, wildcards and dual stack, and what the image exposes.
#[test]
fn ports_are_told_where_somebody_can_come_in() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live: network, ports", Runtime::Podman) else { return };
    add_addresses(&container, &[]);
    let dir = tempfile::tempdir().unwrap();
    let fields = ["drift.port"];
    let config = "allowed_ports: [9100/tcp, 30000-32767/udp]\n";
    let mut alerts = session(&container, dir.path(), config, &either(), &fields);
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
