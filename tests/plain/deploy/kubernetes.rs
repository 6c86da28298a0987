//! `deploy/hardening/`: manifests that hold to pod security's profile `restricted`, and policies that refuse
//! what does not.

use super::{at, documents, list, text, texts};
use std::process::Command;
use testkit::workspace_dir;
use testkit::yaml::Node;

/// Asserts what `restricted` asks of a container, and the read-only root file system, which it does not.
pub fn restricted(container: &Node, what: &str) {
    let context = container.get("securityContext").unwrap_or_else(|| panic!("{what}"));
    assert_eq!(text(context, "allowPrivilegeEscalation"), "false", "{what}");
    assert_eq!(text(context, "readOnlyRootFilesystem"), "true", "{what}");
    assert_eq!(texts(at(context, "capabilities.drop")), ["ALL"], "{what}");
    assert!(at(context, "capabilities").get("add").is_none(), "{what}");
    assert!(context.get("privileged").is_none(), "{what}");
}

#[test]
fn the_workload_is_restricted_read_only_and_pinned() {
    let deployment = &documents("deploy/hardening/deployment.yaml")[0];
    let pod = at(deployment, "spec.template.spec");
    assert_eq!(text(pod, "securityContext.runAsNonRoot"), "true");
    assert_eq!(text(pod, "securityContext.seccompProfile.type"), "RuntimeDefault");
    assert_eq!(text(pod, "automountServiceAccountToken"), "false");
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(key).is_none(), "{key}");
    }
    for container in list(pod.get("containers").unwrap()) {
        let name = text(container, "name");
        restricted(container, name);
        let (_, digest) = text(container, "image").split_once("@sha256:").expect("pinned");
        assert!(digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
        // Every place that is mounted has a volume.
        for mount in list(container.get("volumeMounts").unwrap()) {
            let volumes = list(pod.get("volumes").unwrap());
            assert!(volumes.iter().any(|v| text(v, "name") == text(mount, "name")), "{mount:?}");
        }
    }
    for volume in list(pod.get("volumes").unwrap()) {
        assert!(volume.get("hostPath").is_none(), "{volume:?}");
        if let Some(folder) = volume.get("emptyDir") {
            assert!(folder.get("sizeLimit").is_some(), "bounded: {volume:?}");
        }
    }
    // The deployment finds its pods.
    assert_eq!(at(deployment, "spec.selector.matchLabels"), at(deployment, "spec.template.metadata.labels"));
}

#[test]
fn the_policies_are_bound_to_the_hardened_namespaces() {
    let namespace = &documents("deploy/hardening/namespace.yaml")[0];
    let labels = at(namespace, "metadata.labels");
    for mode in ["enforce", "warn", "audit"] {
        let of = |suffix: &str| {
            labels.get(&format!("pod-security.kubernetes.io/{mode}{suffix}")).and_then(Node::text)
        };
        assert_eq!((of(""), of("-version")), (Some("restricted"), Some("latest")), "{mode}");
    }
    for (file, words) in [
        ("deploy/hardening/image-pinning.yaml", "@sha256:[0-9a-f]{64}$"),
        ("deploy/hardening/read-only-rootfs.yaml", "c.securityContext.readOnlyRootFilesystem"),
    ] {
        let documents = documents(file);
        let [policy, binding] = documents.as_slice() else { panic!("{file}") };
        assert_eq!(text(policy, "kind"), "ValidatingAdmissionPolicy");
        assert_eq!(text(binding, "kind"), "ValidatingAdmissionPolicyBinding");
        assert_eq!(text(binding, "spec.policyName"), text(policy, "metadata.name"));
        assert_eq!(text(policy, "spec.failurePolicy"), "Fail", "{file}");
        assert_eq!(texts(at(binding, "spec.validationActions")), ["Deny", "Audit"]);
        for (key, value) in super::pairs(at(binding, "spec.matchResources.namespaceSelector.matchLabels")) {
            assert_eq!(labels.get(key), Some(value), "{file}: the namespace has the label");
        }
        let validations = list(at(policy, "spec.validations"));
        assert!(text(&validations[0], "expression").contains(words), "{file}");
        let variables: Vec<&str> =
            list(at(policy, "spec.variables")).iter().map(|v| text(v, "name")).collect();
        for validation in validations {
            let expression = text(validation, "expression");
            let used = expression.split("variables.").nth(1).unwrap().split('.').next().unwrap();
            assert!(variables.contains(&used), "{file}: {expression}");
            assert_eq!(expression.matches('(').count(), expression.matches(')').count(), "{expression}");
            assert!(validation.get("message").is_some() || validation.get("messageExpression").is_some());
        }
        // Init containers count.
        assert!(super::read(file).contains("object.spec.initContainers"), "{file}");
    }
}

/// With the schemas of Kubernetes, by PyPI's kubernetes-validate: `scripts/setup-test.sh` installs it.
#[test]
fn kubernetes_schemas_accept_the_manifests() {
    let mut files: Vec<_> = std::fs::read_dir(workspace_dir().join("deploy/hardening"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .collect();
    assert_eq!(files.len(), 4);
    files.push(workspace_dir().join("deploy/response/quarantine.yaml"));
    let own = testkit::target_dir().join("tools/kubernetes-validate/bin/kubernetes-validate");
    let program = if own.is_file() { own } else { "kubernetes-validate".into() };
    let Ok(output) = Command::new(program).args(["--strict", "--no-warn"]).args(&files).output() else {
        let why = "kubernetes-validate is not installed (scripts/setup-test.sh installs it)";
        return testkit::skip::skip_optional("deploy: schemas of Kubernetes", why);
    };
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}
