//! The controller of a pod, by the pod's name and the labels that controllers give: a best guess. The owner
//! itself is known to the API server only.

use super::Entries;

/// `deployment/shop`, `statefulset/db`, `daemonset/agent`, `job/report`, `cronjob/report`, or the pod itself.
pub(super) fn of(pod: &str, labels: &Entries) -> String {
    let label = |key: &str| labels.get(key).map(|value| &**value).filter(|value| !value.is_empty());
    if let Some(job) = label("batch.kubernetes.io/job-name").or_else(|| label("job-name")) {
        return of_job(job);
    }
    for (key, kind) in [("pod-template-hash", "deployment"), ("rollouts-pod-template-hash", "rollout")] {
        let set = label(key).and_then(|hash| without_suffix(pod)?.strip_suffix(hash)?.strip_suffix('-'));
        if let Some(name) = set.filter(|name| !name.is_empty()) {
            return format!("{kind}/{name}");
        }
    }
    if label("controller-revision-hash").is_some() {
        let ordinal = pod.rsplit_once('-').filter(|(_, n)| is_number(n));
        let of_set = label("statefulset.kubernetes.io/pod-name").is_some();
        match (ordinal, without_suffix(pod)) {
            (Some((name, _)), generated) if of_set || generated.is_none() => {
                return format!("statefulset/{name}");
            }
            (_, Some(name)) if !of_set => return format!("daemonset/{name}"),
            _ => {}
        }
    }
    // Without labels: the name of a pod of a deployment has a hash and a suffix, both in the alphabet below.
    let of_set = without_suffix(pod).and_then(|set| set.rsplit_once('-'));
    match of_set.filter(|(name, hash)| (8..=10).contains(&hash.len()) && is_safe(hash) && !name.is_empty()) {
        Some((name, _)) if labels.is_empty() => format!("deployment/{name}"),
        _ => format!("pod/{pod}"),
    }
}

/// A cron job's job is called after the minute that it was due in (`pkg/controller/cronjob/utils.go`).
fn of_job(job: &str) -> String {
    match job.rsplit_once('-') {
        Some((name, minute)) if is_number(minute) && minute.len() >= 8 && !name.is_empty() => {
            format!("cronjob/{name}")
        }
        _ => format!("job/{job}"),
    }
}

/// A generated name without its suffix (`apiserver/pkg/storage/names/generate.go`).
fn without_suffix(pod: &str) -> Option<&str> {
    let (set, suffix) = pod.rsplit_once('-')?;
    (suffix.len() == 5 && is_safe(suffix)).then_some(set)
}

/// The alphabet of generated names: no vowels, and nothing that looks like one
/// (`apimachinery/pkg/util/rand/rand.go`).
fn is_safe(text: &str) -> bool {
    text.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
