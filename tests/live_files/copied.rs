//! Files that a command of the runtime copies into a container: its process has the container's root as its own, so that
//! its paths do not say so. The device does.

use super::{start, watch_while};
use std::time::{SystemTime, UNIX_EPOCH};
use testkit::live::{Event, Runtime};

#[test]
fn podman_cp() {
    let Some(container) = start("live files: podman cp", Runtime::Podman) else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("copied");
    std::fs::write(&file, "from the host\n").unwrap();
    let outcome = watch_while(&container, |session| {
        container.copy_in(&file, "/etc/copied").unwrap();
        let seen = format!("/proc/{}/root/etc/copied", container.init_pid());
        let made = std::fs::metadata(seen).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        // What the probe tells of podman's process; ours stands in for it, which the engine found in /proc.
        let event = Event::from_created(now, i64::from(std::process::id()), b"/etc/copied", &made);
        session.feed(&event).unwrap();
    });
    let told: Vec<String> = outcome.told.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["created /etc/copied"]);
    let rules: Vec<&str> = outcome.alerts.iter().map(|alert| alert.rule.as_str()).collect();
    assert_eq!(rules, ["Drift file created in sensitive directory"]);
}
