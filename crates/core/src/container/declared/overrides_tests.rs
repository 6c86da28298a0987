use super::*;
use crate::container::declared::spec::Bind;

fn image(entrypoint: &[&str], cmd: &[&str], user: &str) -> ImageConfig {
    let texts = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    ImageConfig {
        entrypoint: texts(entrypoint),
        cmd: texts(cmd),
        user: user.to_owned(),
        ..ImageConfig::default()
    }
}

fn run(args: &[&str]) -> RunSpec {
    RunSpec { args: args.iter().map(|s| (*s).to_owned()).collect(), masked: true, ..RunSpec::default() }
}

#[test]
fn command_lines_are_compared_with_the_image() {
    let both = image(&["/entry"], &["a", "b"], "");
    let cmd_only = image(&[], &["sleep", "1"], "");
    for (image, args, want) in [
        (&both, &["/entry", "a", "b"][..], &[][..]),
        (&both, &["/sbin/docker-init", "--", "/entry", "a", "b"], &[]),
        (&both, &["/entry", "c"], &["command"]),
        (&both, &["/entry"], &["command"]),
        (&both, &["sh", "a", "b"], &["entrypoint"]),
        (&both, &["sh"], &["entrypoint", "command"]),
        (&cmd_only, &["sleep", "1"], &[]),
        (&cmd_only, &["sleep", "2"], &["command"]),
        (&self::image(&["/entry"], &[], ""), &["sh"], &["entrypoint"]),
        (&self::image(&[], &[], ""), &["sh"], &[]),
    ] {
        assert_eq!(overrides(&run(args), Some(image), Known::default()), want, "{args:?}");
    }
    assert!(overrides(&run(&["sh"]), None, Known::default()).is_empty(), "the image is not known");
}

#[test]
fn users_are_compared_with_the_image() {
    for (user, uid, gid, other) in [
        ("", 0, 0, false),
        ("", 1000, 0, true),
        ("root", 0, 0, false),
        ("1000", 1000, 7, false),
        ("1000", 0, 0, true),
        ("1000:1000", 1000, 0, true),
        ("0:0", 0, 0, false),
        ("nginx", 101, 101, false),
        ("nginx", 0, 0, true),
        ("nginx:root", 101, 5, true),
        ("1000:staff", 1000, 50, false),
    ] {
        let run = RunSpec { uid, gid, ..run(&["x"]) };
        let found = overrides(&run, Some(&image(&["x"], &[], user)), Known::default());
        assert_eq!(found == ["user"], other, "{user} {uid}:{gid} {found:?}");
    }
}

#[test]
fn privileges_are_told() {
    let with = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    let mut run = run(&[]);
    run.capabilities = with(&["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"]);
    assert_eq!(overrides(&run, None, Known::default()), ["cap_add:NET_ADMIN", "cap_add:SYS_PTRACE"]);
    run.capabilities = with(&["CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO"]);
    assert_eq!(overrides(&run, None, Known::default()).len(), 3, "all of /proc is still masked");
    run.masked = false;
    assert_eq!(overrides(&run, None, Known::default()), ["privileged"]);
    let host = Known { host_network: Some(true), host_pid: Some(true), privileged: true };
    assert_eq!(overrides(&RunSpec::default(), None, host), ["privileged", "host_network", "host_pid"]);
    let unknown = Known { host_network: None, host_pid: Some(false), privileged: false };
    assert!(overrides(&RunSpec::default(), None, unknown).is_empty());
}

#[test]
fn writable_directories_of_the_host_are_told() {
    let id = "7d088e3500917bedf11954b2036a747600b880de62cefd1cc2227b8f6a9a49d7";
    let pod = "/var/lib/kubelet/pods/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    let own = [
        format!("{pod}/volumes/kubernetes.io~empty-dir/tmp"),
        format!("{pod}/volumes/kubernetes.io~csi/pvc/mount"),
        format!("{pod}/volume-subpaths/cfg/app/0"),
        format!("{pod}/etc-hosts"),
        format!("{pod}/containers/app/0a1b"),
        format!("/run/containerd/io.containerd.grpc.v1.cri/sandboxes/{id}/shm"),
        format!("/var/lib/docker/containers/{id}/resolv.conf"),
        format!("/var/lib/containers/storage/overlay-containers/{id}/userdata/shm"),
        "/var/lib/docker/volumes/data/_data".to_owned(),
    ];
    let bind = |source: &str, read_only| Bind { source: source.into(), destination: "/d".into(), read_only };
    let mut run = run(&[]);
    run.binds = own.iter().map(|s| bind(s, false)).collect();
    run.binds.extend([bind("/", false), bind("/etc", true), bind("/var/run/docker.sock", false)]);
    let want = ["hostpath_rw:/", "hostpath_rw:/var/run/docker.sock"];
    assert_eq!(overrides(&run, None, Known::default()), want);
    run.binds = (0..1000).map(|i| bind(&format!("/srv/{i}"), false)).collect();
    assert_eq!(overrides(&run, None, Known::default()).len(), MAX_OVERRIDES);
}
