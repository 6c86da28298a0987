use super::Runtime::*;
use super::*;
use proptest::prelude::*;

const A: &str = "3f1c9d2e4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
const B: &str = "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf";
const POD: &str = "0a1b2c3d-1111-2222-3333-444455556666";
const BUILD: &str = "q5yv1kz0p8x3m7n2c4b6d9f1g";

/// `{A}`, `{B}`, `{P}`, `{PU}`, `{K}` in a row stand for two ids, a pod's uid with `-` and with `_`, and a
/// BuildKit id.
fn fill(row: &str) -> String {
    row.replace("{A}", A)
        .replace("{B}", B)
        .replace("{PU}", &POD.replace('-', "_"))
        .replace("{P}", POD)
        .replace("{K}", BUILD)
}

fn find(rules: &IdRules, entries: &[&str]) -> Option<(String, Runtime, bool)> {
    let entries: Vec<String> = entries.iter().map(|e| fill(e)).collect();
    let found = rules.find(entries.iter().map(|e| e.as_bytes()))?;
    Some((found.id.to_string(), found.runtime, found.path_may_be_cut))
}

#[test]
fn one_path() {
    let rows: &[(&str, Option<(&str, Runtime)>)] = &[
        // Docker: cgroupfs driver, systemd driver, rootless, --cgroup-parent, ECS, systemd's form taken
        // literally.
        ("/docker/{A}", Some(("{A}", Docker))),
        ("/system.slice/docker-{A}.scope", Some(("{A}", Docker))),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope", Some(("{A}", Docker))),
        ("/my-parent/{A}", Some(("{A}", Unknown))),
        ("/my.slice/docker-{A}.scope", Some(("{A}", Docker))),
        ("/ecs/0123456789abcdef0123456789abcdef/{A}", Some(("{A}", Unknown))),
        ("/system.slice:docker:{A}", Some(("{A}", Docker))),
        ("/system.slice/docker.service", None),
        ("/system.slice/docker.socket", None),
        ("/docker", None),
        // Docker under Kubernetes.
        ("/kubepods/besteffort/pod{P}/{A}", Some(("{A}", Unknown))),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{PU}.slice/docker-{A}.scope", Some(("{A}", Docker))),
        // containerd through CRI.
        ("/kubepods/burstable/pod{P}/{A}", Some(("{A}", Unknown))),
        ("/kubepods/pod{P}/{A}", Some(("{A}", Unknown))),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{PU}.slice/cri-containerd-{A}.scope",
            Some(("{A}", Containerd)),
        ),
        ("/kubepods.slice/kubepods-pod{PU}.slice/cri-containerd-{A}.scope", Some(("{A}", Containerd))),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{PU}.slice/cri-containerd-{A}.scope",
            Some(("{A}", Containerd)),
        ),
        ("/kubepods-burstable-pod{PU}.slice:cri-containerd:{A}", Some(("{A}", Containerd))),
        ("/system.slice/containerd.service/kubepods-burstable-pod{PU}.slice:cri-containerd:{A}", Some(("{A}", Containerd))),
        ("/k8s.io/{A}", Some(("{A}", Containerd))),
        // k3s, also rootless.
        ("/kubepods/besteffort/pod{P}/{A}/init", Some(("{A}", Unknown))),
        (
            "/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service/kubepods/besteffort/pod{P}/{A}",
            Some(("{A}", Unknown)),
        ),
        // A pod's own group, without a container in it.
        ("/kubepods/burstable/pod{P}", None),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{PU}.slice", None),
        // Plain containerd: ctr, Bottlerocket's host containers, nerdctl.
        ("/default/web", Some(("web", Containerd))),
        ("/default/my_app-1.2", Some(("my_app-1.2", Containerd))),
        ("/default/{A}", Some(("{A}", Containerd))),
        ("/moby/{A}", Some(("{A}", Containerd))),
        ("/default/web/system.slice/cron.service", Some(("web", Containerd))),
        ("/default/-web", None),
        ("/default/we b", None),
        ("/default", None),
        ("/other-namespace/web", None),
        ("/foo/default/web", None),
        ("/system.slice/nerdctl-{A}.scope", Some(("{A}", Containerd))),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-{A}.scope", Some(("{A}", Containerd))),
        ("/system.slice/containerd.service", None),
        // CRI-O.
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{PU}.slice/crio-{A}.scope",
            Some(("{A}", Crio)),
        ),
        ("/kubepods.slice/kubepods-pod{PU}.slice/crio-{A}.scope/container", Some(("{A}", Crio))),
        ("/kubepods/burstable/pod{P}/crio-{A}", Some(("{A}", Crio))),
        ("/kubepods.slice/kubepods-pod{PU}.slice/crio-conmon-{A}.scope", None),
        ("/kubepods/burstable/pod{P}/crio-conmon-{A}", None),
        ("/system.slice/crio.service", None),
        // podman: systemd, cgroupfs, pods, split mode, rootless.
        ("/machine.slice/libpod-{A}.scope", Some(("{A}", Podman))),
        ("/machine.slice/libpod-{A}.scope/container", Some(("{A}", Podman))),
        ("/machine.slice/libpod-{A}.scope/container/init.scope", Some(("{A}", Podman))),
        ("/libpod_parent/libpod-{A}", Some(("{A}", Podman))),
        ("/libpod_parent/{B}/libpod-{A}", Some(("{A}", Podman))),
        ("/libpod_parent/{B}", None),
        ("/libpod_parent/conmon", None),
        ("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope/container", Some(("{A}", Podman))),
        ("/machine.slice/machine-libpod_pod_{B}.slice", None),
        ("/machine.slice/libpod-conmon-{A}.scope", None),
        ("/system.slice/web.service/libpod-payload-{A}", Some(("{A}", Podman))),
        ("/system.slice/web.service/libpod-payload-{A}/container", Some(("{A}", Podman))),
        ("/system.slice/web.service/supervisor", None),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container", Some(("{A}", Podman))),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-{A}.scope", None),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/podman-4321.scope/{A}", Some(("{A}", Podman))),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/podman-4321.scope", None),
        ("/machine.slice:libpod:{A}", Some(("{A}", Podman))),
        // LXC, LXD, Incus.
        ("/lxc.payload.web1", Some(("web1", Lxc))),
        ("/lxc.payload.web1/init.scope", Some(("web1", Lxc))),
        ("/lxc.payload/web1/system.slice", Some(("web1", Lxc))),
        ("/lxc/web1", Some(("web1", Lxc))),
        ("/lxc.monitor.web1", None),
        ("/lxc.monitor/web1", None),
        ("/lxc", None),
        // BuildKit.
        ("/buildkit/{K}", Some(("{K}", Buildkit))),
        ("/docker/buildkit/{K}", Some(("{K}", Buildkit))),
        ("/system.slice/buildkit-{K}.scope", Some(("{K}", Buildkit))),
        ("/system.slice:buildkit:{K}", Some(("{K}", Buildkit))),
        // What runs inside a container makes groups of its own: the outer one counts, whatever the inner is
        // called.
        ("/system.slice/docker-{A}.scope/init.scope", Some(("{A}", Docker))),
        ("/docker/{A}/system.slice/foo.service", Some(("{A}", Docker))),
        ("/docker/{A}/docker/{B}", Some(("{A}", Docker))),
        ("/docker/{A}/buildkit/{K}", Some(("{A}", Docker))),
        ("/system.slice/docker-{A}.scope/docker-{B}.scope", Some(("{A}", Docker))),
        ("/kubepods/burstable/pod{P}/{A}/docker/{B}", Some(("{A}", Unknown))),
        ("/default/web/default/db", Some(("web", Containerd))),
        ("/lxc.payload.web1/docker/{A}", Some(("web1", Lxc))),
        ("/docker/{A}/libpod-conmon-{B}.scope", Some(("{A}", Docker))),
        // Seen from inside a cgroup namespace.
        ("/../cri-containerd-{A}.scope", Some(("{A}", Containerd))),
        ("/../../pod{P}/{A}", Some(("{A}", Unknown))),
        ("/../../../system.slice/docker-{A}.scope", Some(("{A}", Docker))),
        ("/..", None),
        // Kata on the host: the shim and the hypervisor.
        ("/kata_overhead/{A}", None),
        // The host's own.
        ("/", None),
        ("", None),
        ("/init.scope", None),
        ("/system.slice/sshd.service", None),
        ("/user.slice/user-1000.slice/session-2.scope", None),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/{A}.scope", None),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-{A}.scope", None),
        ("/system.slice/run-{A}.service", None),
        ("/system.slice/docker-compose.scope", None),
        ("/system.slice/libpod-tmp", None),
        ("/machine.slice/systemd-nspawn@web.service/payload", None),
        // Not 64 lower-case hex digits: one short, one long, upper case, cut by the list's limit.
        ("/docker/b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf", None),
        ("/docker/{A}0", None),
        ("/docker/B0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECF", None),
        ("/system.slice/docker-b0b1b2b3b4b5", None),
        ("/system.slice/docker-{A}.scopes", None),
        // A removed group.
        ("/docker/{A} (deleted)", Some(("{A}", Docker))),
        // Slashes more than needed.
        ("//docker//{A}/", Some(("{A}", Docker))),
    ];
    for (row, want) in rows {
        let want = want.map(|(id, runtime)| (fill(id), runtime));
        let got = find(&IdRules::default(), &[row]).map(|(id, runtime, _)| (id, runtime));
        assert_eq!(got, want, "{row}");
    }
}

#[test]
fn an_entry_may_be_a_path_an_event_parameter_or_a_line_of_proc() {
    for entry in [
        "/docker/{A}",
        "cpuset=/docker/{A}",
        "name=systemd=/docker/{A}",
        "0::/docker/{A}",
        "0::/docker/{A}\n",
        "12:cpu,cpuacct:/docker/{A}",
        "1:name=systemd:/docker/{A}",
        "0::/docker/{A} (deleted)\n",
    ] {
        assert_eq!(find(&IdRules::default(), &[entry]), Some((A.to_owned(), Docker, false)), "{entry}");
    }
    for entry in ["docker/{A}", "cpuset=docker/{A}", "cpuset=", "0::", "0::docker/{A}", ":", "="] {
        assert_eq!(find(&IdRules::default(), &[entry]), None, "{entry}");
    }
    // A colon in the path is part of the path.
    assert_eq!(
        find(&IdRules::default(), &["5:pids:/system.slice:docker:{A}"]),
        Some((A.to_owned(), Docker, false))
    );
}

#[test]
fn several_hierarchies() {
    type Want = Option<(&'static str, Runtime)>;
    let rows: &[(&[&str], Want)] = &[
        // Version 1.
        (
            &[
                "cpuset=/docker/{A}",
                "cpu=/docker/{A}",
                "cpuacct=/docker/{A}",
                "io=/docker/{A}",
                "memory=/docker/{A}",
            ],
            Some(("{A}", Docker)),
        ),
        // Hybrid: the unified hierarchy is empty, some controllers are left at the root.
        (&["cpuset=/", "cpu=/", "memory=/system.slice/docker-{A}.scope", "0::/"], Some(("{A}", Docker))),
        // A runtime told to use systemd's form: plain in one hierarchy, telling in another.
        (
            &[
                "cpuset=/kubepods/pod{P}/{A}",
                "1:name=systemd:/system.slice/containerd.service/x.slice:cri-containerd:{A}",
            ],
            Some(("{A}", Containerd)),
        ),
        // Event, version 2: each controller gives the same path.
        (
            &["cpuset=/k8s.io/{A}", "cpu=/k8s.io/{A}", "io=/k8s.io/{A}", "memory=/k8s.io/{A}"],
            Some(("{A}", Containerd)),
        ),
        // The host, and nothing at all.
        (&["cpuset=/", "cpu=/user.slice", "memory=/user.slice/user-0.slice/session-1.scope"], None),
        (&[], None),
        (&["cpuset=/docker/b0b1b2"], None),
    ];
    for (entries, want) in rows {
        let want = want.map(|(id, runtime)| (fill(id), runtime));
        let got = find(&IdRules::default(), entries).map(|(id, runtime, _)| (id, runtime));
        assert_eq!(got, want, "{entries:?}");
    }
}

#[test]
fn a_path_that_may_be_cut_is_marked_and_goes_last() {
    let rules = IdRules::default();
    // Six components is what an event can hold: the real beginning may have been pushed off to the left.
    let forged = "memory=/docker-{B}.scope/a/b/c/d/e";
    assert_eq!(find(&rules, &[forged]), Some((B.to_owned(), Docker, true)));
    assert_eq!(find(&rules, &["memory=/docker-{B}.scope/a/b/c/d"]), Some((B.to_owned(), Docker, false)));
    assert_eq!(
        find(&rules, &[forged, "cpuset=/kubepods/burstable/pod{P}/{A}"]),
        Some((A.to_owned(), Unknown, false))
    );
    // A line of /proc is never cut.
    assert_eq!(
        find(&rules, &["0::/docker/{A}/docker-{B}.scope/a/b/c/d/e"]),
        Some((A.to_owned(), Docker, false))
    );
}

#[test]
fn nothing_found_in_a_path_that_may_be_cut_is_not_the_host() {
    // /docker/<id>/a/b/c/d/e/f as an event has it.
    let hidden = [&b"cpuset=/a/b/c/d/e/f"[..]];
    assert_eq!(IdRules::default().find(hidden), None);
    assert!(may_be_cut(hidden));
    assert!(may_be_cut([&b"cpuset=/"[..], b"memory=/a/b/c/d/e/f"]));
    assert!(!may_be_cut([&b"cpuset=/a/b/c/d/e"[..], b"memory=/"]));
    assert!(!may_be_cut([&b"0::/a/b/c/d/e/f/g"[..], b"", b"x"]));
    assert!(!may_be_cut([]));
}

#[test]
fn the_container_a_node_runs_in_is_looked_through() {
    let mut rules = IdRules::default();
    rules.add_node_id(B);
    let rows: &[(&str, Option<(&str, Runtime)>)] = &[
        (
            "0::/docker/{B}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{PU}.slice/cri-containerd-{A}.scope",
            Some(("{A}", Containerd)),
        ),
        ("0::/docker/{B}/kubelet/kubepods/burstable/pod{P}/{A}", Some(("{A}", Unknown))),
        ("0::/system.slice/docker-{B}.scope/default/web", Some(("web", Containerd))),
        ("0::/docker/{B}/k8s.io/{A}", Some(("{A}", Containerd))),
        ("0::/docker/{B}/init.scope", None),
        ("0::/docker/{A}/docker/{B}", Some(("{A}", Docker))),
    ];
    for (row, want) in rows {
        let want = want.map(|(id, runtime)| (fill(id), runtime));
        assert_eq!(find(&rules, &[row]).map(|(id, runtime, _)| (id, runtime)), want, "{row}");
    }
}

#[test]
fn namespaces_can_be_added() {
    let host = Host::new(std::path::Path::new("/"));
    assert_eq!(find(&IdRules::of(&host), &["/build-farm/web"]), None);
    host.add_namespace(b"build-farm");
    let rules = IdRules::of(&host);
    assert_eq!(find(&rules, &["/build-farm/web"]), Some(("web".to_owned(), Containerd, false)));
    // containerd's limit.
    let (fits, long) = ("a".repeat(76), "a".repeat(77));
    assert!(find(&rules, &[&format!("/build-farm/{fits}")]).is_some());
    assert!(find(&rules, &[&format!("/build-farm/{long}")]).is_none());
}

#[test]
fn a_short_id_is_12_characters_or_all() {
    let id = |id: &str| ContainerId { id: id.into(), runtime: Docker, path_may_be_cut: false };
    assert_eq!(id(A).short().to_string(), "3f1c9d2e4b5a");
    assert_eq!(id("web").short().as_str(), "web");
    assert_eq!(ShortId::of("123456789012").as_str(), "123456789012");
    // Not a place where a character begins: the whole name rather than a broken one.
    assert_eq!(ShortId::of("ééééééé").as_str(), "éééééé");
    assert_eq!(ShortId::of("1ééééééé").as_str(), "1ééééééé");
}

/// Path pieces that are likely to confuse.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("docker".to_owned()),
        Just("default".to_owned()),
        Just("..".to_owned()),
        Just("libpod_parent".to_owned()),
        Just("lxc".to_owned()),
        Just(fill("docker-{B}.scope")),
        Just(fill("crio-conmon-{B}.scope")),
        Just(fill("x.slice:cri-containerd:{B}")),
        Just(fill("{B}")),
        "[a-z:.-]{0,8}",
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_survived(entries in proptest::collection::vec(any::<Vec<u8>>(), 0..4)) {
        let _ = IdRules::default().find(entries.iter().map(Vec::as_slice));
    }

    /// Nothing that is made below a container's cgroup changes whose it is.
    #[test]
    fn no_child_group_takes_over(
        start in prop_oneof![
            Just("/docker/{A}"),
            Just("/system.slice/docker-{A}.scope"),
            Just("/kubepods/burstable/pod{P}/{A}"),
            Just("/machine.slice/libpod-{A}.scope"),
            Just("/k8s.io/{A}"),
        ],
        below in proptest::collection::vec(piece(), 0..8),
    ) {
        let path = format!("0::{}/{}", fill(start), below.join("/"));
        prop_assert_eq!(find(&IdRules::default(), &[&path]).map(|(id, ..)| id), Some(A.to_owned()));
    }

    /// An id is always something that can be put in a path or a log without harm.
    #[test]
    fn ids_are_plain(parts in proptest::collection::vec(piece(), 0..8)) {
        let path = format!("/{}", parts.join("/"));
        if let Some(found) = IdRules::default().find([path.as_bytes()]) {
            prop_assert!(!found.id.is_empty() && found.id.len() <= MAX_ID);
            prop_assert!(found.id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
            prop_assert!(!found.id.starts_with('.'));
        }
    }
}

#[test]
fn what_may_be_a_namespace_of_containerd() {
    for (entry, want) in [
        ("0::/build-farm/web", Some(("build-farm", "web"))),
        ("4:cpu:/build-farm/web.1/sub/group", Some(("build-farm", "web.1"))),
        ("cpu=/build-farm/web", Some(("build-farm", "web"))),
        ("0::/system.slice/ssh.service", None),
        ("0::/user.slice/user-0.slice/session-1.scope", None),
        ("0::/a/..b", None),
        ("0::/web", None),
        ("0::/", None),
        // It may have lost its beginning.
        ("cpu=/build-farm/web/a/b/c/d", None),
    ] {
        let got = IdRules::possible(entry.as_bytes());
        assert_eq!(got, want.map(|(n, c)| (n.as_bytes(), c.as_bytes())), "{entry}");
    }
}
