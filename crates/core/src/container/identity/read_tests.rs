use super::*;
use crate::container::identity::Entries;

fn of(pairs: &[(&str, &str)]) -> Identity {
    of_annotations(|key| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
}

fn labels(pairs: &[(&str, &str)]) -> Entries {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

#[test]
fn a_bundle_says_who_the_container_is() {
    let web = Identity {
        name: name("app"),
        kind: None,
        pod: Some(Pod {
            name: "web".into(),
            namespace: "shop".into(),
            uid: name("0-1"),
            sandbox: name("5a"),
            ..Pod::default()
        }),
    };
    let of_containerd = [
        ("io.kubernetes.cri.container-type", "container"),
        ("io.kubernetes.cri.container-name", "app"),
        ("io.kubernetes.cri.sandbox-id", "5a"),
        ("io.kubernetes.cri.sandbox-name", "web"),
        ("io.kubernetes.cri.sandbox-namespace", "shop"),
        ("io.kubernetes.cri.sandbox-uid", "0-1"),
    ];
    assert_eq!(of(&of_containerd), web);
    let of_crio = [
        ("io.kubernetes.cri-o.ContainerType", "container"),
        ("io.kubernetes.cri-o.SandboxID", "5a"),
        ("io.kubernetes.container.name", "app"),
        ("io.kubernetes.pod.name", "web"),
        ("io.kubernetes.pod.namespace", "shop"),
        ("io.kubernetes.pod.uid", "0-1"),
    ];
    assert_eq!(of(&of_crio), web);
    let sandbox = [&of_containerd[2..], &[("io.kubernetes.cri.container-type", "sandbox")]].concat();
    assert_eq!(of(&sandbox), Identity { name: None, kind: Some(Kind::Pause), ..web });
    // Half of it is nothing.
    assert_eq!(of(&of_containerd[..3]).pod, None);
    assert!(of(&[]).is_empty());
    assert!(Bundle::parse(b"{").is_none());
    assert!(Bundle::parse(b"{\"process\": {}}").unwrap().identity().is_empty());
}

#[test]
fn a_sandboxs_record_has_the_pods_labels() {
    let record = br#"{"Version":"v1","Metadata":{"ID":"5a","Name":"web_shop_0-1_0","Config":{
        "metadata":{"name":"web","uid":"0-1","namespace":"shop"},
        "labels":{"app":"web","io.kubernetes.pod.name":"web","io.kubernetes.pod.uid":"0-1"},
        "annotations":{"example.com/owner":"team-a","kubernetes.io/config.seen":"x"}},"NetNSPath":"/n"}}"#;
    let listed = ["example.com/owner".to_owned()];
    let pod = of_sandbox_record(record, &listed).unwrap();
    assert_eq!((&*pod.name, &*pod.namespace, pod.sandbox.as_deref()), ("web", "shop", Some("5a")));
    assert_eq!(pod.labels, labels(&[("app", "web")]));
    assert_eq!(pod.annotations, labels(&[("example.com/owner", "team-a")]));
    assert_eq!(of_sandbox_record(record, &[]).unwrap().annotations, Entries::new(), "none is shown unasked");
    for bad in [&b""[..], b"{}", br#"{"Version":"v2","Metadata":{"ID":"5a","Config":{}}}"#] {
        assert_eq!(of_sandbox_record(bad, &[]), None);
    }
}

#[test]
fn what_kubectl_applied_says_which_container_is_which() {
    let applied = r#"{"kind":"Pod","spec":{"containers":[{"name":"app"}],
        "initContainers":[{"name":"fill"},{"name":"proxy","restartPolicy":"Always"}]}}"#;
    let annotations = serde_json::json!({"kubectl.kubernetes.io/last-applied-configuration": applied});
    let record = serde_json::json!({"Metadata": {"Config": {"annotations": annotations}}}).to_string();
    for (name, kind) in [
        ("app", Some(Kind::App)),
        ("fill", Some(Kind::Init)),
        ("proxy", Some(Kind::Sidecar)),
        ("debugger-x", None),
    ] {
        assert_eq!(applied_kind(record.as_bytes(), name), kind, "{name}");
    }
    assert_eq!(applied_kind(b"{}", "app"), None);
}

#[test]
fn crios_sandbox_has_the_pods_labels() {
    let bundle = br#"{"annotations":{"io.kubernetes.cri-o.Labels":"{\"app\":\"web\"}",
        "io.kubernetes.cri-o.Annotations":"{\"owner\":\"team-a\",\"other\":\"x\"}"}}"#;
    let mut pod = Pod::default();
    Bundle::parse(bundle).unwrap().add_pod(&mut pod, &["owner".to_owned()]);
    assert_eq!(pod.labels, labels(&[("app", "web")]));
    assert_eq!(pod.annotations, labels(&[("owner", "team-a")]));
    let path = Path::new("/run/containers/storage/overlay-containers/c1/userdata");
    assert_eq!(
        beside(path, "c1", "5a"),
        Some("/run/containers/storage/overlay-containers/5a/userdata".into())
    );
    assert_eq!(beside(path, "c1", ".."), None);
    assert_eq!(beside(path, "c1", "a/b"), None);
}

#[test]
fn files_of_the_kubelet_tell_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path());
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("var/log/containers/web-7_shop_app-0a1b.log", "");
    put("var/log/containers/odd-2c.log", "");
    let identity = of_log(&host, "0a1b").unwrap();
    assert_eq!(identity.name.as_deref(), Some("app"));
    let pod = identity.pod.clone().unwrap();
    assert_eq!((&*pod.name, &*pod.namespace), ("web-7", "shop"));
    assert_eq!((of_log(&host, "2c"), of_log(&host, "a1b")), (None, None));

    let called = |name: &str| Identity {
        name: super::name(name),
        kind: None,
        pod: Some(Pod { uid: super::name("0-1"), ..pod.clone() }),
    };
    assert_eq!(kind(&host, &called("app")), None, "no such file");
    let data = r#"{"entries":{"0-1":{"ContainerResources":{"app":{},"proxy":{}}},"0-2":{}}}"#;
    let state = serde_json::json!({"data": data, "checksum": 1}).to_string();
    put("var/lib/kubelet/allocated_pods_state", &state);
    for name in ["proxy", "app"] {
        assert_eq!(kind(&host, &called("fill")), Some(Kind::Init), "{name} has not started");
        assert_eq!(kind(&host, &called("proxy")), None, "the other one has not started");
        std::fs::create_dir_all(dir.path().join(format!("var/log/pods/shop_web-7_0-1/{name}"))).unwrap();
    }
    assert_eq!(kind(&host, &called("debugger-x")), Some(Kind::Ephemeral));
    assert_eq!(kind(&host, &called("app")), Some(Kind::App));
    let unlisted = Identity { pod: Some(Pod { uid: super::name("0-2"), ..pod.clone() }), ..called("app") };
    assert_eq!(kind(&host, &unlisted), None);
    put("var/lib/kubelet/allocated_pods_state", "{");
    assert_eq!(kind(&host, &called("app")), None);
}
