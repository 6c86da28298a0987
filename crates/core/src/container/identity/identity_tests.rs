use super::*;
use crate::container::identity::workload;

fn entries(pairs: &[(&str, &str)]) -> Entries {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

#[test]
fn a_workload_is_guessed_from_name_and_labels() {
    let template = [("pod-template-hash", "7d4b9c6f5d")];
    let revision = [("controller-revision-hash", "6c5f7b8d9")];
    let set = [("controller-revision-hash", "db-6c5f7b8d9"), ("statefulset.kubernetes.io/pod-name", "db-0")];
    for (pod, labels, want) in [
        ("shop-7d4b9c6f5d-x2x4z", &template[..], "deployment/shop"),
        ("shop-api-7d4b9c6f5d-x2x4z", &template, "deployment/shop-api"),
        ("shop-7d4b9c6f5d-x2x4z", &[("rollouts-pod-template-hash", "7d4b9c6f5d")], "rollout/shop"),
        // Another pod's hash: the label is whatever somebody wrote.
        ("shop-7d4b9c6f5d-x2x4z", &[("pod-template-hash", "other")], "pod/shop-7d4b9c6f5d-x2x4z"),
        ("db-0", &set, "statefulset/db"),
        ("db-11", &revision, "statefulset/db"),
        ("agent-x2x4z", &revision, "daemonset/agent"),
        ("report-28000000-x2x4z", &[("batch.kubernetes.io/job-name", "report-28000000")], "cronjob/report"),
        ("report-x2x4z", &[("job-name", "report")], "job/report"),
        // The labels are not known yet.
        ("shop-7d4b9c6f5d-x2x4z", &[], "deployment/shop"),
        ("web", &[], "pod/web"),
        ("web-frontend-admin", &[], "pod/web-frontend-admin"),
        ("etcd-node1", &[("tier", "control-plane")], "pod/etcd-node1"),
        ("", &[], "pod/"),
        ("-", &template, "pod/-"),
    ] {
        assert_eq!(workload::of(pod, &entries(labels)), want, "{pod} {labels:?}");
    }
}

#[test]
fn what_whoever_deploys_chooses_is_bounded() {
    let long = "x".repeat(5000);
    assert_eq!(name(&long).unwrap().len(), MAX_NAME);
    assert_eq!(name(""), None);
    assert_eq!(name("a\nb\u{9b}").as_deref(), Some("a?b?"));
    // A letter of three bytes is not cut in two.
    assert_eq!(name(&"\u{20ac}".repeat(200)).unwrap().len(), 255);
    let keys: Vec<String> = (0..1000).map(|n| format!("k{n:04}")).collect();
    let many = bounded(keys.iter().map(|key| (key.as_str(), "v")));
    assert_eq!(many.len(), MAX_ENTRIES);
    assert!(many.contains_key("k0000"), "the first ones, whatever their order was");
    let large = bounded(keys.iter().map(|key| (key.as_str(), long.as_str())));
    assert!(large.values().all(|value| value.len() == MAX_VALUE));
    assert!(large.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() <= MAX_TOTAL);
    assert!(bounded([(long.as_str(), "v"), ("", "v")].into_iter()).is_empty());
    let added = [("io.kubernetes.pod.name", "web"), ("app", "web"), ("io.kubernetes.container.hash", "1")];
    assert_eq!(bounded(added.into_iter()), entries(&[("app", "web")]));
}

fn web() -> Identity {
    Identity {
        name: name("app"),
        kind: Some(Kind::App),
        pod: Some(Pod {
            name: "web".into(),
            namespace: "shop".into(),
            uid: name("0-1"),
            sandbox: name("s1"),
            labels: entries(&[("app", "web")]),
            annotations: entries(&[("owner", "team-a")]),
        }),
    }
}

#[test]
fn an_event_carries_all_of_it() {
    let payload = web().to_payload();
    assert_eq!(payload["pod_label"], json!({"app": "web"}));
    assert_eq!(payload["workload"], "pod/web");
    assert_eq!(Identity::from_payload(|key| payload.get(key)), web());
    assert!(Identity::default().to_payload().is_empty(), "what is not known is not there");
    let wrong = json!({"container_name": 7, "pod_name": "web", "pod_label": [1]});
    assert!(Identity::from_payload(|key| wrong.get(key)).is_empty());
}

#[test]
fn what_is_known_from_two_sides_is_put_together() {
    let bundle = Identity {
        name: name("app"),
        kind: None,
        pod: web().pod.map(|pod| Pod { labels: Entries::new(), annotations: Entries::new(), ..pod }),
    };
    assert_eq!(bundle.clone().or(&web()), web());
    assert_eq!(Identity::default().or(&web()), web());
    let other = Identity { pod: Some(Pod { name: "db".into(), ..web().pod.unwrap() }), ..web() };
    assert_eq!(bundle.or(&other).pod.unwrap().labels, Entries::new(), "another pod's labels are not its");
    assert!(web().shares_pod_with(&web()));
    assert!(
        !web().shares_pod_with(&Identity::default())
            && !Identity::default().shares_pod_with(&Identity::default())
    );
}

#[test]
fn a_container_is_shown_as_people_know_it() {
    let id = "0123456789abcdef";
    assert_eq!(web().shown(id), "shop/web/app");
    assert_eq!(Identity { name: None, ..web() }.shown(id), "shop/web/0123456789ab");
    assert_eq!(Identity { pod: None, ..web() }.shown(id), "app");
    assert_eq!(Identity::default().shown(id), "0123456789ab");
    assert_eq!(Identity::default().shown("c1"), "c1");
}
