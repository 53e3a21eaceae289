//! Statuses that `kubectl` and the controllers understand.

use super::*;
use crate::lifecycle::{self, Attempt as Ran};
use crate::shim::protocol::End;
use std::sync::Arc;

fn attempt(name: &str, number: u32, ended: Option<(i32, i64)>) -> Attempt {
    let ended = ended.map(|(code, at)| End { code, signal: None, at });
    Attempt { name: name.into(), attempt: number, started: 1000, ended }
}

fn status(spec: Value, old: Value, attempts: &[Attempt], ready: &[&str]) -> Value {
    let object = json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec, "status": old});
    let pod = Pod::read(&Arc::new(object)).unwrap();
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    for a in attempts {
        let ended = a.ended.map(|e| (e.code, e.at));
        let ran = Ran { number: a.attempt, started: a.started, ended };
        seen.insert(
            a.name.clone(),
            Seen { attempt: Some(ran), started: true, ..Default::default() },
        );
    }
    let decision = lifecycle::decide(&pod, &seen, 5000);
    let ready = ready.iter().map(|n| ((*n).to_owned(), true)).collect();
    build(&View {
        pod: &pod,
        decision: &decision,
        seen: &seen,
        attempts,
        ready: &ready,
        pod_ips: &["10.244.0.7".parse().unwrap()],
        node_ip: "10.244.0.1".parse().unwrap(),
        now: "2026-01-01T00:00:00Z".into(),
    })
}

fn condition_of<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == kind).unwrap()
}

#[test]
fn a_running_pod_is_ready_when_all_its_containers_are() {
    let spec = json!({"containers": [{"name": "a", "image": "x/y:1"}, {"name": "b"}]});
    let attempts = [attempt("a", 0, None), attempt("b", 2, None)];
    let half = status(spec.clone(), Value::Null, &attempts, &["a"]);
    assert_eq!(half["phase"], "Running");
    assert_eq!(condition_of(&half, "Ready")["status"], "False");
    assert_eq!(condition_of(&half, "Ready")["message"], "containers with unready status: [b]");
    let whole = status(spec, half, &attempts, &["a", "b"]);
    assert_eq!(condition_of(&whole, "Ready")["status"], "True");
    assert_eq!(whole["podIP"], "10.244.0.7");
    assert_eq!(whole["containerStatuses"][1]["restartCount"], 2);
    assert_eq!(
        whole["containerStatuses"][0]["state"]["running"]["startedAt"],
        "1970-01-01T00:00:01Z"
    );
}

#[test]
fn a_crashing_container_shows_its_last_end() {
    let spec = json!({"containers": [{"name": "a"}]});
    let s = status(spec, Value::Null, &[attempt("a", 1, Some((3, 4000)))], &[]);
    let c = &s["containerStatuses"][0];
    assert_eq!(c["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(c["lastState"]["terminated"]["exitCode"], 3);
}

#[test]
fn a_finished_pod_tells_how_it_ended() {
    let spec = json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let attempts = [attempt("i", 0, Some((0, 1500))), attempt("a", 0, Some((0, 4000)))];
    let s = status(spec, Value::Null, &attempts, &[]);
    assert_eq!(s["phase"], "Succeeded");
    assert_eq!(s["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(s["initContainerStatuses"][0]["ready"], true);
    assert_eq!(condition_of(&s, "Ready")["reason"], "PodCompleted");
}

#[test]
fn conditions_keep_their_time_until_they_change() {
    let spec = json!({"containers": [{"name": "a"}]});
    let old = json!({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]});
    let s = status(spec.clone(), old.clone(), &[attempt("a", 0, None)], &["a"]);
    assert_eq!(condition_of(&s, "Ready")["lastTransitionTime"], "2020-01-01T00:00:00Z");
    let s = status(spec, old, &[attempt("a", 0, None)], &[]);
    assert_eq!(condition_of(&s, "Ready")["lastTransitionTime"], "2026-01-01T00:00:00Z");
}
