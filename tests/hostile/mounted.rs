//! A container that may mount, and mounts over a program of its image that was judged before: each run is
//! judged by the file that runs, whatever drift remembers of the container's mounts and of that path.

use super::{alone, ask, start_with, Host, Watch};
use std::collections::BTreeMap;
use testkit::live::{self, Facts, Runtime};

/// The runs, by `mnt-NN` in their arguments, and their origins.
const CASES: [(&str, &str, &str); 10] = [
    ("mnt-01", "image", "the image's program"),
    ("mnt-02", "added", "a file of the root, mounted over it"),
    ("mnt-03", "image", "the same without the mount"),
    // A single file of a tmpfs is how volumes of a runtime look, too.
    ("mnt-04", "volume|tmpfs", "a file of a tmpfs in the mount's place; the kernel uses ids of mounts again"),
    ("mnt-05", "added", "once more a file of the root"),
    ("mnt-06", "image", "the image's directory, mounted elsewhere"),
    // Of a directory of the image's name for it, and with other content than that has.
    ("mnt-07", "added", "a directory of its own, mounted there"),
    ("mnt-08", "added", "its own directory, mounted over the image's"),
    ("mnt-09", "image", "the image's program again"),
    ("mnt-10", "image", "another one, on the root"),
];

/// The run whose first answer needs no table of mounts: the kernel tells that the program is on the root.
const ON_THE_ROOT: &str = "mnt-10";

const SCRIPT: &str = "
mkdir -p /tmp/own /mnt/m /mnt/t
cp /usr/bin/umount /tmp/umount
cp /usr/bin/sort /tmp/own/id
/usr/bin/id mnt-01
mount --bind /tmp/own/id /usr/bin/id
/usr/bin/id mnt-02
umount /usr/bin/id
/usr/bin/id mnt-03
mount -t tmpfs t /mnt/t
cp /usr/bin/sort /mnt/t/id
mount --bind /mnt/t/id /usr/bin/id
/usr/bin/id mnt-04
umount /usr/bin/id
umount /mnt/t
mount --bind /tmp/own/id /usr/bin/id
/usr/bin/id mnt-05
umount /usr/bin/id
mount --bind /usr/bin /mnt/m
/mnt/m/id mnt-06
umount /mnt/m
mount --bind /tmp/own /mnt/m
/mnt/m/id mnt-07
umount /mnt/m
mount --bind /tmp/own /usr/bin
/usr/bin/id mnt-08
/tmp/umount /usr/bin
/usr/bin/id mnt-09
/usr/bin/wc mnt-10
";

fn run(test: &str, runtime: Runtime, options: &[&str]) {
    let _alone = alone();
    let Some(container) = start_with(test, runtime, options) else { return };
    let script = container.put("mounts.sh", SCRIPT.as_bytes()).unwrap();
    let mut host = Host::start(&serde_json::json!({}));
    let (mut answers, mut opens) = (BTreeMap::new(), Vec::new());
    live::trace(&container, &format!("sh {script}"), Facts::default(), &mut |event| {
        let marker = event.exec().and_then(|exec| {
            let args = exec.cmdline.split(|byte| *byte == 0);
            args.filter_map(|arg| std::str::from_utf8(arg).ok())
                .find(|arg| arg.starts_with("mnt-"))
                .map(str::to_owned)
        });
        let Some(marker) = marker else {
            host.feed(event.raw().to_vec());
            return Ok(());
        };
        let binary = if marker == ON_THE_ROOT {
            let fed = host.feed(event.raw().to_vec());
            let watch = Watch::start();
            let answer = host.text(&fed, "binary_origin");
            opens = watch.stop();
            answer
        } else {
            ask(&mut host, event).binary
        };
        answers.insert(marker, binary.unwrap_or_default());
        Ok(())
    })
    .unwrap();
    let wrong: Vec<String> = CASES
        .iter()
        .filter(|(marker, want, _)| answers.get(*marker).is_none_or(|got| !want.split('|').any(|w| w == got)))
        .map(|case| format!("{case:?}: {:?}", answers.get(case.0)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(opens.iter().any(|line| line.contains("/exe")), "strace saw no answer: {opens:#?}");
    let tables = opens.iter().filter(|line| line.contains("mountinfo") || line.contains("cgroup"));
    assert_eq!(tables.count(), 0, "{opens:#?}");
}

#[test]
fn what_is_mounted_over_a_program_is_what_runs_in_podman() {
    run("hostile: mounts, podman", Runtime::Podman, &["--cap-add=SYS_ADMIN"]);
}

#[test]
fn what_is_mounted_over_a_program_is_what_runs_in_containerd() {
    run("hostile: mounts, containerd", Runtime::Containerd, &["--cap-add", "CAP_SYS_ADMIN"]);
}
