//! A mounted secret that a process in a container changes: told at once, by calls and by opens that no rule
//! asks about.

use super::{watching, LIMIT, QUIET};
use crate::live::{run, Watch};
use testkit::live::container::INIT;
use testkit::live::{Facts, Image, Runtime};

const SCRIPT: &str = "
cat /etc/tls/key > /dev/null
echo 1 > /etc/tls/key
echo 2 > /etc/tls/key
echo 3 > /spool/out
mv /etc/tls/key /etc/tls/old
rm /etc/tls/old
";

#[test]
fn a_mounted_secret_is_changed_inside_the_container() {
    let _turn = crate::turns::take(module_path!());
    if !Runtime::Podman.usable("live files: secrets", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let pod = dir.path().join("var/lib/kubelet/pods/1b4e28ba-2fa1-11d2-883f-0016d3cca427/volumes");
    let mounts = [("kubernetes.io~secret/tls", "/etc/tls"), ("kubernetes.io~empty-dir/spool", "/spool")];
    let options: Vec<String> = mounts
        .iter()
        .map(|(volume, target)| {
            std::fs::create_dir_all(pod.join(volume)).unwrap();
            format!("--volume={}:{target}", pod.join(volume).display())
        })
        .collect();
    std::fs::write(pod.join("kubernetes.io~secret/tls/key"), "0\n").unwrap();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let container = Runtime::Podman.start_with(&Image::files().unwrap(), &options, &INIT).unwrap();
    container.put("secrets.sh", SCRIPT.as_bytes()).unwrap();

    let filter = format!("evt.type = drift_secret or ({})", watching());
    let fields = &["drift.file_path", "drift.file_new_path", "drift.file_change", "drift.volume_kind"];
    let watch = Watch { filter: &filter, fields, quiet: QUIET, limit: LIMIT };
    let seen = watch.over(&container, |session| {
        let facts = Facts { files: true, ..Facts::default() };
        run(&container, "sh /corpus/secrets.sh", facts, &mut [session]);
    });
    let told: Vec<String> = seen
        .lines
        .iter()
        .map(|line| fields.map(|field| line.text(field).unwrap_or("-").to_owned()).join(" "))
        .collect();
    // The second `echo` is the same change by the same command.
    let want = [
        "/etc/tls/key - opened secret",
        "/etc/tls/key /etc/tls/old renamed secret",
        "/etc/tls/old - deleted secret",
    ];
    assert_eq!(told, want);
    let rule = "Drift mounted secret or configuration tampered";
    assert_eq!(seen.alerts.iter().filter(|alert| alert.rule == rule).count(), want.len());
}
