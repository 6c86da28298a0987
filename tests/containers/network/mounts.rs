//! Mounts that are made, changed and taken away in a running container.

use super::{condition, run, session, TOOLS};
use testkit::live::{self, Image, Runtime};

#[test]
fn mounts_of_a_running_container_are_told() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Podman.usable("live: mounts", TOOLS) {
        return;
    }
    let image = Image::network().unwrap();
    let container = Runtime::Podman.start_with(&image, &["--privileged"], &live::container::INIT).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let fields = ["evt.type", "proc.name", "evt.args", "drift.container_id"];
    let mut alerts = session(&container, dir.path(), "", &condition("Drift mount in container"), &fields);
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
