//! Pods as controllers see them: active, ready, available; which to delete first; and how a
//! template becomes a pod.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::action::{Action, Propagation};
use crate::key::{Key, Resource};
use crate::{conditions, read};

/// Neither finished nor on its way out.
pub fn active(pod: &Value) -> bool {
    !finished(pod) && !read::deleting(pod)
}

pub fn finished(pod: &Value) -> bool {
    matches!(read::text(pod, "/status/phase"), "Succeeded" | "Failed")
}

pub fn ready(pod: &Value) -> bool {
    conditions::is_true(pod, "Ready")
}

fn ready_since(pod: &Value) -> Option<Timestamp> {
    let condition = conditions::find(read::list(pod, "/status/conditions"), "Ready")?;
    read::time(condition, "/lastTransitionTime")
}

/// Whether a pod counts as available, and if not yet: when its ready time will be long enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Availability {
    Available,
    At(Timestamp),
    No,
}

pub fn availability(pod: &Value, min_ready_seconds: i64, now: Timestamp) -> Availability {
    if !ready(pod) {
        return Availability::No;
    }
    if min_ready_seconds <= 0 {
        return Availability::Available;
    }
    let since = ready_since(pod).unwrap_or(now);
    match since.checked_add(SignedDuration::from_secs(min_ready_seconds)) {
        Ok(at) if at > now => Availability::At(at),
        _ => Availability::Available,
    }
}

/// Orders pods by what is least missed: Kubernetes' order for scaling down, the first to go first.
pub fn by_deletion_preference(a: &Value, b: &Value) -> Ordering {
    let assigned = |p: &Value| !read::text(p, "/spec/nodeName").is_empty();
    let phase = |p: &Value| match read::text(p, "/status/phase") {
        "Running" => 2,
        "Pending" | "" => 0,
        _ => 1,
    };
    let cost = |p: &Value| -> i64 {
        let text = read::annotation(p, "controller.kubernetes.io/pod-deletion-cost");
        text.and_then(|t| t.parse().ok()).unwrap_or_default()
    };
    let since = |p: &Value| if ready(p) { ready_since(p) } else { None };
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| ready(a).cmp(&ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| since(b).cmp(&since(a)))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| read::created(b).cmp(&read::created(a)))
        .then_with(|| read::name(b).cmp(read::name(a)))
}

fn restarts(pod: &Value) -> i64 {
    let statuses = read::list(pod, "/status/containerStatuses").iter();
    statuses.filter_map(|s| read::int(s, "/restartCount")).max().unwrap_or_default()
}

/// A pod out of `owner`'s template. The caller names it (`name` or `generateName`).
pub fn from_template(owner: &Value, template: &Value) -> Value {
    let mut metadata = Map::new();
    for part in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template.pointer("/metadata").and_then(|m| m.get(part)) {
            metadata.insert(part.to_owned(), value.clone());
        }
    }
    metadata.insert("namespace".to_owned(), json!(read::namespace(owner)));
    metadata.insert("ownerReferences".to_owned(), json!([read::controller_reference(owner)]));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template.get("spec").cloned().unwrap_or_else(|| json!({})),
    })
}

pub fn create(owner: &Arc<Value>, pod: Value) -> Action {
    Action::Create { object: pod, reported_on: Some(owner.clone()) }
}

pub fn delete(pod: &Value) -> Action {
    Action::Delete {
        key: Key::of(&Resource::PODS, pod),
        uid: read::uid(pod).to_owned(),
        grace_seconds: None,
        propagation: Propagation::Background,
    }
}

/// `name-` as a prefix for generated names, cut so that the result stays a valid name.
pub fn name_prefix(owner: &Value) -> String {
    let mut name: String = read::name(owner).chars().take(57).collect();
    name.push('-');
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, phase: &str, ready_at: Option<&str>, created: &str) -> Value {
        let mut pod = json!({
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"nodeName": "lateen"},
            "status": {"phase": phase},
        });
        if let Some(at) = ready_at {
            pod["status"]["conditions"] =
                json!([{"type": "Ready", "status": "True", "lastTransitionTime": at}]);
        }
        pod
    }

    #[test]
    fn the_least_missed_pod_goes_first() {
        let (t1, t2) = ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z");
        let mut unassigned = pod("unassigned", "Running", Some(t1), t1);
        unassigned["spec"] = json!({});
        let mut cheap = pod("cheap", "Running", Some(t1), t1);
        cheap["metadata"]["annotations"] =
            json!({"controller.kubernetes.io/pod-deletion-cost": "-5"});
        let mut flaky = pod("flaky", "Running", Some(t1), t1);
        flaky["status"]["containerStatuses"] = json!([{"restartCount": 4}]);
        let mut pods = [
            pod("oldest", "Running", Some(t1), t1),
            pod("younger", "Running", Some(t1), t2),
            flaky,
            pod("ready-later", "Running", Some(t2), t1),
            cheap,
            pod("not-ready", "Running", None, t1),
            pod("pending", "Pending", None, t1),
            unassigned,
        ];
        pods.sort_by(by_deletion_preference);
        let order: Vec<&str> = pods.iter().map(read::name).collect();
        assert_eq!(
            order,
            [
                "unassigned",
                "pending",
                "not-ready",
                "cheap",
                "ready-later",
                "flaky",
                "younger",
                "oldest"
            ]
        );
    }

    #[test]
    fn a_pod_is_available_after_its_minimum_ready_time() {
        let pod = pod("a", "Running", Some("2026-01-01T00:00:00Z"), "2026-01-01T00:00:00Z");
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(availability(&pod, 0, at("2026-01-01T00:00:00Z")), Availability::Available);
        assert_eq!(
            availability(&pod, 10, at("2026-01-01T00:00:09Z")),
            Availability::At(at("2026-01-01T00:00:10Z"))
        );
        assert_eq!(availability(&pod, 10, at("2026-01-01T00:00:10Z")), Availability::Available);
    }
}
