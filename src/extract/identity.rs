//! Fields that say who a container is, to the people who run it; for system calls and for the source `drift`
//! alike.

use super::definition::{field, Argument, FieldDef, FieldType, Question, Source};
use super::value::Value;
use drift_core::container::declared::reference::Reference;
use drift_core::container::identity::{short_id as first_digits, Identity, Pod};
use std::sync::Arc;

/// Name of the field that is made of another one's value.
pub(super) const SHORT_ID: &str = "drift.container_short_id";
/// Name of the field that is the same on every event.
pub(super) const HOST_NAME: &str = "drift.host_name";
/// Name of another one.
pub(super) const WHERE: &str = "drift.where";

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    of_both(
        WHERE,
        "Where, for people: `namespace/pod/container`, as `shop/web-7d4b9c6f5d-x2x4z/app`; without a pod the container's \
         name; else its short id. Absent on the host.",
        place,
    ),
    of_both(
        SHORT_ID,
        "The first 12 digits of the container's id, as engines list it. Absent on the host.",
        short_id,
    ),
    of_both(
        "drift.container_name",
        "Name of the container: in a pod that of its specification, else the one that the engine knows it by.",
        container_name,
    ),
    of_both(
        "drift.container_kind",
        "What the container is to its pod: `app`, `init`, `sidecar`, `ephemeral` (`kubectl debug`) or `pause` (it holds the \
         pod's namespaces). By what `kubectl apply` left with the pod, else by the kubelet's records (Kubernetes 1.33 and \
         later) and the order of the start. Absent where they do not tell: of several containers that start one after the \
         other only the last is known to be `app`.",
        container_kind,
    ),
    of_both("drift.pod_name", "Name of the container's pod. Absent where it is in none.", pod_name),
    of_both("drift.pod_namespace", "Namespace of the container's pod.", pod_namespace),
    of_both("drift.pod_uid", "UID of the container's pod.", pod_uid),
    FieldDef {
        argument: Argument::Key,
        ..of_both(
            "drift.pod_label",
            "A label of the container's pod, by its key. The first 32 labels are kept, in the order of their keys, with 512 \
             bytes of each value.",
            pod_label,
        )
    },
    FieldDef {
        argument: Argument::Key,
        ..of_both(
            "drift.pod_annotation",
            "An annotation of the container's pod, by its key; of those that `pod_annotations` lists, with 512 bytes of each \
             value.",
            pod_annotation,
        )
    },
    of_both(
        "drift.workload",
        "What runs the container's pod, as `deployment/shop`: a guess by the pod's name and by the labels that controllers \
         give (`pod-template-hash`, `controller-revision-hash`, `batch.kubernetes.io/job-name`); the pod itself, as \
         `pod/web`, where they say nothing.",
        workload,
    ),
    of_both(
        "drift.image_repository",
        "The image without tag and digest, in full: `docker.io/library/nginx` for `nginx`. Absent where it is not known.",
        image_repository,
    ),
    of_both("drift.image_tag", "The tag that the image was deployed by. Absent where there is none.", image_tag),
    of_both(
        HOST_NAME,
        "Name of the node: of the environment variables `FALCO_HOSTNAME` and `FALCO_K8S_NODE_NAME`, else of its \
         `/etc/hostname`. In a replay the machine that replays.",
        host_name,
    ),
    field(
        "drift.process_name",
        FieldType::String,
        "Name of the process; on drift's own events as it was at the call, also of one that has ended.",
        process_name,
    ),
    field("drift.process_parent", FieldType::String, "Name of that process's parent.", process_parent),
    field(
        "drift.process_uid",
        FieldType::Uint64,
        "Effective user id of that process, as the host counts. Absent where it had ended, and in a replay.",
        process_uid,
    ),
    field(
        "drift.process_user",
        FieldType::String,
        "Name of that user, by the container's /etc/passwd as it was when the container was first looked at.",
        process_user,
    ),
];

/// A text, for both sources.
const fn of_both(
    name: &'static str,
    description: &'static str,
    answer: for<'a> fn(&mut Question<'_, 'a>) -> Value<'a>,
) -> FieldDef {
    FieldDef { source: Source::Both, ..field(name, FieldType::String, description, answer) }
}

fn place<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let identity = identity(q).unwrap_or_default();
    let container = q.engine.container();
    Value::or_absent(container.map(|c| Value::text(q.arena, &identity.shown(&c.id))))
}

fn short_id<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let container = q.engine.container();
    Value::or_absent(container.map(|c| Value::text(q.arena, first_digits(&c.id))))
}

fn identity(q: &mut Question<'_, '_>) -> Option<Arc<Identity>> {
    q.engine.declared_container()?.declaration.identity()
}

/// A text of the identity.
fn text<'a>(q: &mut Question<'_, 'a>, of: impl Fn(&Identity) -> Option<&str>) -> Value<'a> {
    let identity = identity(q);
    Value::or_absent(identity.as_deref().and_then(of).map(|text| Value::text(q.arena, text)))
}

/// A text of the pod.
fn of_pod<'a>(q: &mut Question<'_, 'a>, of: impl Fn(&Pod) -> Option<&str>) -> Value<'a> {
    text(q, |identity| identity.pod.as_ref().and_then(&of))
}

fn container_name<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    text(q, |identity| identity.name.as_deref())
}

fn container_kind<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    text(q, |identity| identity.kind.map(|kind| kind.as_str()))
}

fn pod_name<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    of_pod(q, |pod| Some(&pod.name))
}

fn pod_namespace<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    of_pod(q, |pod| Some(&pod.namespace))
}

fn pod_uid<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    of_pod(q, |pod| pod.uid.as_deref())
}

fn pod_label<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let key = q.argument.and_then(|key| std::str::from_utf8(key).ok());
    of_pod(q, |pod| pod.labels.get(key?).map(|value| &**value))
}

fn pod_annotation<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let key = q.argument.and_then(|key| std::str::from_utf8(key).ok());
    of_pod(q, |pod| pod.annotations.get(key?).map(|value| &**value))
}

fn workload<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let workload = identity(q).and_then(|identity| identity.workload());
    Value::or_absent(workload.map(|workload| Value::text(q.arena, &workload)))
}

fn image(q: &mut Question<'_, '_>) -> Option<Reference> {
    q.engine.declared_container()?.declaration.image.load().as_ref()?.identity.parsed()
}

fn image_repository<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(image(q).map(|image| Value::text(q.arena, &image.repository)))
}

fn image_tag<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(image(q).and_then(|image| image.tag).map(|tag| Value::text(q.arena, &tag)))
}

fn host_name<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.host_name().map(|name| Value::text(q.arena, name)))
}

fn process_name<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let process = q.engine.process().unwrap_or_default();
    Value::or_absent(process.name.as_deref().map(|name| Value::text(q.arena, name)))
}

fn process_parent<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let process = q.engine.process().unwrap_or_default();
    Value::or_absent(process.parent.as_deref().map(|name| Value::text(q.arena, name)))
}

fn process_uid<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    Value::or_absent(q.engine.process().and_then(|process| process.uid).map(|uid| Value::U64(uid.into())))
}

fn process_user<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let process = q.engine.process().unwrap_or_default();
    Value::or_absent(process.user.as_deref().map(|name| Value::text(q.arena, name)))
}
