//! A pod's status as the API shows it, from what the runner knows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::images::short_name;
use crate::lifecycle::{Decision, Phase, Seen};
use crate::pod::{Container, Pod};
use crate::shim::protocol::Container as Attempt;

/// Everything that a status tells.
pub struct View<'a> {
    pub pod: &'a Pod,
    pub decision: &'a Decision,
    pub seen: &'a BTreeMap<String, Seen>,
    /// All attempts that the shim remembers, oldest first.
    pub attempts: &'a [Attempt],
    pub ready: &'a BTreeMap<String, bool>,
    pub pod_ips: &'a [IpAddr],
    pub node_ip: IpAddr,
    pub now: String,
}

/// The status that follows from the view; times of conditions that did not change are kept.
pub fn build(view: &View<'_>) -> Value {
    let old = view.pod.object.get("status").cloned().unwrap_or(Value::Null);
    let main = statuses(view, &view.pod.spec.containers);
    let ready = main.iter().all(|s| s["ready"] == json!(true)) && !main.is_empty();
    let sidecars = view.pod.spec.init_containers.iter().filter(|c| c.is_sidecar());
    let ready = ready && sidecars.clone().all(|c| view.is_ready(c));
    let over = matches!(view.decision.phase, Phase::Succeeded | Phase::Failed);
    let mut status = json!({
        "phase": phase(view.decision.phase),
        "conditions": conditions(view, &old, ready && !over, over),
        "hostIP": view.node_ip.to_string(),
        "hostIPs": [{"ip": view.node_ip.to_string()}],
        "startTime": old.get("startTime").cloned().unwrap_or_else(|| json!(view.now)),
        "qosClass": old.get("qosClass").cloned().unwrap_or_else(|| json!("BestEffort")),
        "containerStatuses": main,
    });
    let Some(map) = status.as_object_mut() else { return status };
    if !view.pod.spec.init_containers.is_empty() {
        let init = statuses(view, &view.pod.spec.init_containers);
        map.insert("initContainerStatuses".to_owned(), init.into());
    }
    if let Some(first) = view.pod_ips.first() {
        let all: Vec<Value> = view.pod_ips.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
        map.insert("podIP".to_owned(), json!(first.to_string()));
        map.insert("podIPs".to_owned(), all.into());
    }
    status
}

impl View<'_> {
    fn is_ready(&self, c: &Container) -> bool {
        self.ready.get(&c.name).copied().unwrap_or(false)
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    }
}

fn statuses(view: &View<'_>, containers: &[Container]) -> Vec<Value> {
    containers.iter().map(|c| container(view, c)).collect()
}

fn container(view: &View<'_>, c: &Container) -> Value {
    let seen = view.seen.get(&c.name).cloned().unwrap_or_default();
    let mine: Vec<&Attempt> = view.attempts.iter().filter(|a| a.name == c.name).collect();
    let current = mine.last();
    let waiting = view.decision.waiting.get(&c.name);
    let finished_init = waiting.is_none() && current.is_some_and(|a| a.ended.is_some());
    let (state, last) = match (current, waiting) {
        (Some(a), _) if a.ended.is_none() => (running(a), mine.iter().rev().nth(1)),
        (Some(a), None) => (terminated(view, a), mine.iter().rev().nth(1)),
        (Some(_), Some((reason, message))) => (waits(reason, message), mine.last()),
        (None, Some((reason, message))) => (waits(reason, message), None),
        (None, None) => (waits("ContainerCreating", ""), None),
    };
    let init = view.pod.spec.init_containers.iter().any(|i| i.name == c.name) && !c.is_sidecar();
    let succeeded = finished_init && current.and_then(|a| a.ended).is_some_and(|e| e.code == 0);
    let mut status = json!({
        "name": c.name,
        "image": c.image,
        "imageID": format!("lateen.dev/{}", short_name(&c.image)),
        "ready": if init { succeeded } else { view.is_ready(c) },
        "started": seen.started && seen.attempt.is_some_and(|a| a.ended.is_none()),
        "restartCount": seen.attempt.map_or(0, |a| a.number),
        "state": state,
        "lastState": last.map_or_else(|| json!({}), |a| terminated(view, a)),
    });
    if let (Some(a), Some(map)) = (current, status.as_object_mut()) {
        map.insert("containerID".to_owned(), json!(id(view, a)));
    }
    status
}

fn id(view: &View<'_>, a: &Attempt) -> String {
    format!("lateen://{}/{}/{}", view.pod.uid, a.name, a.attempt)
}

fn running(a: &Attempt) -> Value {
    json!({"running": {"startedAt": time(a.started)}})
}

fn waits(reason: &str, message: &str) -> Value {
    let mut waiting = Map::from_iter([("reason".to_owned(), json!(reason))]);
    if !message.is_empty() {
        waiting.insert("message".to_owned(), json!(message));
    }
    json!({ "waiting": waiting })
}

fn terminated(view: &View<'_>, a: &Attempt) -> Value {
    let Some(end) = a.ended else { return json!({}) };
    let mut state = json!({
        "exitCode": end.code,
        "reason": if end.code == 0 { "Completed" } else { "Error" },
        "startedAt": time(a.started),
        "finishedAt": time(end.at),
        "containerID": id(view, a),
    });
    if let (Some(signal), Some(map)) = (end.signal, state.as_object_mut()) {
        map.insert("signal".to_owned(), json!(signal));
    }
    json!({ "terminated": state })
}

fn conditions(view: &View<'_>, old: &Value, ready: bool, over: bool) -> Vec<Value> {
    let unready: Vec<&str> = view
        .pod
        .spec
        .containers
        .iter()
        .filter(|c| !view.is_ready(c))
        .map(|c| c.name.as_str())
        .collect();
    let not_ready = format!("containers with unready status: [{}]", unready.join(" "));
    let completed = ("PodCompleted", String::new());
    let why_not = if over && view.decision.phase == Phase::Succeeded {
        completed
    } else {
        ("ContainersNotReady", not_ready)
    };
    let incomplete = ("ContainersNotInitialized", String::new());
    let none = || ("", String::new());
    let started = !view.pod_ips.is_empty();
    let table = [
        ("PodReadyToStartContainers", started, none()),
        ("Initialized", view.decision.initialized, incomplete),
        ("Ready", ready, why_not.clone()),
        ("ContainersReady", ready, why_not),
        ("PodScheduled", true, none()),
    ];
    table.into_iter().map(|(kind, holds, why)| condition(view, old, kind, holds, why)).collect()
}

fn condition(
    view: &View<'_>,
    old: &Value,
    kind: &str,
    holds: bool,
    why_not: (&str, String),
) -> Value {
    let status = if holds { "True" } else { "False" };
    let before = old.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let same = before.filter(|c| c["type"] == kind && c["status"] == status);
    let since = same.filter_map(|c| c.get("lastTransitionTime")).next().cloned();
    let mut condition = json!({
        "type": kind,
        "status": status,
        "lastProbeTime": null,
        "lastTransitionTime": since.unwrap_or_else(|| json!(view.now)),
    });
    let (reason, message) = why_not;
    if let Some(map) = condition.as_object_mut().filter(|_| !holds && !reason.is_empty()) {
        map.insert("reason".to_owned(), json!(reason));
        if !message.is_empty() {
            map.insert("message".to_owned(), json!(message));
        }
    }
    condition
}

/// As the API writes times: whole seconds, UTC.
pub fn time(millis: i64) -> String {
    let stamp = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    format!("{}", stamp.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

#[cfg(test)]
mod tests;
