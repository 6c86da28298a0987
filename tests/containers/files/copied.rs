//! Files that a command of the runtime copies into a container: its process has the container's root as its
//! own, so that its paths do not say so. The device does.

use super::{start, watch_while};
use crate::live::copy_in;
use testkit::live::Runtime;

#[test]
fn podman_cp() {
    let _turn = crate::turns::take(module_path!());
    let Some(container) = start("live files: podman cp", Runtime::Podman) else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("copied");
    std::fs::write(&file, "from the host\n").unwrap();
    let outcome = watch_while(&container, |session| {
        copy_in(&container, &file, "/etc/copied", session);
    });
    let told: Vec<String> = outcome.told.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["created /etc/copied"]);
    let rules: Vec<&str> = outcome.alerts.iter().map(|alert| alert.rule.as_str()).collect();
    assert_eq!(rules, ["Drift file created in sensitive directory"]);
}
