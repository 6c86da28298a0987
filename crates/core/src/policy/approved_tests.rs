use super::*;
use proptest::prelude::*;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn list(files: &[(&str, &str)]) -> Result<Approved, ListError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    load(&[dir.path().to_owned()])
}

fn image(reference: &str, digests: &[&str]) -> ImageIdentity {
    ImageIdentity {
        reference: Some(reference.to_owned()),
        id: None,
        digests: digests.iter().map(|d| Digest::parse(d).unwrap()).collect(),
    }
}

#[test]
fn images_are_judged_by_digest_then_tag() {
    let text = format!("# shipped\nregistry.example/app:1@{A}  # first\n\nnginx:1.25\nredis\n");
    let approved = list(&[("images.txt", &text)]).unwrap();
    assert_eq!(approved.len(), 3);
    for (reference, digests, want) in [
        ("registry.example/app:1", &[A][..], Approval::Approved),
        ("registry.example/app:2", &[A], Approval::Approved),
        (&format!("registry.example/app@{A}"), &[], Approval::Approved),
        ("registry.example/app:1", &[B], Approval::Unapproved),
        (&format!("registry.example/app@{B}"), &[], Approval::Unapproved),
        ("registry.example/app:1", &[], Approval::Unknown),
        ("docker.io/library/nginx:1.25", &[B], Approval::Approved),
        ("nginx:1.26", &[B], Approval::Unapproved),
        ("nginx:1.26", &[], Approval::Unapproved),
        ("redis:latest", &[], Approval::Approved),
        ("redis", &[], Approval::Approved),
        ("other/app:1", &[A], Approval::Unlisted),
        (B, &[A], Approval::Approved),
        (B, &[B], Approval::Unknown),
    ] {
        assert_eq!(approved.judge(&image(reference, digests)), want, "{reference} {digests:?}");
    }
    assert_eq!(approved.judge(&ImageIdentity::default()), Approval::Unknown);
}

#[test]
fn every_kind_with_a_pod_template_is_read() {
    let yaml = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  annotations:\n    image: not/this:0\nspec:\n  template:\n    spec:\n      \
         initContainers:\n      - name: init\n        image: registry.example/init@{A}\n      containers:\n      \
         - image: \"registry.example/web:2@{B}\"\n        env: [{{name: X, value: y}}]\n---\nkind: CronJob\nspec: \
         {{jobTemplate: {{spec: {{template: {{spec: {{containers: [{{image: registry.example/cron:1}}]}}}}}}}}}}\n"
    );
    let json = format!(
        r#"{{"kind":"List","items":[{{"kind":"Pod","spec":{{"containers":[{{"image":"j.example/a@{A}"}}]}}}}]}}"#
    );
    let plain = format!("- l.example/a@{A}\n- l.example/b\n");
    let keyed = "images:\n  - k.example/a:1\nother: [x y]\n";
    let files =
        [("k8s.yaml", yaml.as_str()), ("pod.json", &json), ("list.yml", &plain), ("keyed.yaml", keyed)];
    let approved = list(&files).unwrap();
    for (reference, digest) in [
        ("registry.example/init", A),
        ("registry.example/web:3", B),
        ("registry.example/cron:1", A),
        ("j.example/a", A),
        ("l.example/a", A),
        ("l.example/b", B),
        ("k.example/a:1", B),
    ] {
        assert_eq!(approved.judge(&image(reference, &[digest])), Approval::Approved, "{reference}");
    }
}

#[test]
fn damaged_lists_fail_with_file_and_place() {
    for (name, text, part) in [
        ("a.txt", "fine:1\nnot fine\n", "line 2"),
        ("a.yaml", "- fine:1\n- not fine\n", "not fine"),
        ("a.yaml", "image: [", "a.yaml"),
        ("a.yaml", "a: &x reg/a:1\nimage: *x\n", "alias"),
        ("a.yaml", "just text", "single text"),
        ("a.yaml", &"[".repeat(1000), "a.yaml"),
    ] {
        let why = list(&[(name, text)]).unwrap_err().to_string();
        assert!(why.contains(part) && why.contains(name), "{why}");
    }
    assert!(load(&["/nonexistent".into()]).unwrap_err().to_string().contains("/nonexistent"));
    assert!(list(&[]).unwrap().is_empty());
    assert!(list(&[(".hidden", "not fine"), ("empty.yaml", "")]).unwrap().is_empty());
}

#[test]
fn thousands_of_entries_are_kept_and_a_change_shows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("images.txt");
    let lines: String = (0..20_000).map(|i| format!("registry.example/app{i}:1@{A}\n")).collect();
    std::fs::write(&path, lines).unwrap();
    let paths = [dir.path().to_owned()];
    assert_eq!(load(&paths).unwrap().len(), 20_000);
    let before = lists::state(&paths);
    assert_eq!(lists::state(&paths), before);
    std::fs::write(&path, "one:1\n").unwrap();
    assert_ne!(lists::state(&paths), before);
}

proptest! {
    #[test]
    fn never_panics(text in "[ \\-a:{}\\[\\]&*|>\n\"']{0,60}") {
        let _ = from_yaml(&text, &mut |_| true);
        let _ = from_lines(&text, &mut |_| true);
    }
}
