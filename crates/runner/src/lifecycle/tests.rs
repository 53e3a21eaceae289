//! The order of things in a pod's life, as tables.

use super::*;
use serde_json::{Value, json};
use std::sync::Arc;

fn pod(spec: Value) -> Pod {
    Pod::read(&Arc::new(
        json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec}),
    ))
    .unwrap()
}

fn deleted(spec: Value) -> Pod {
    let meta = json!({"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    Pod::read(&Arc::new(json!({"metadata": meta, "spec": spec}))).unwrap()
}

fn running(number: u32, started: bool) -> Seen {
    let attempt = Some(Attempt { number, started: 0, ended: None });
    Seen { attempt, started, ..Default::default() }
}

fn ended(number: u32, code: i32, at: Millis) -> Seen {
    let attempt = Some(Attempt { number, started: 0, ended: Some((code, at)) });
    Seen { attempt, ..Default::default() }
}

fn decided(pod: &Pod, seen: &[(&str, Seen)], now: Millis) -> Decision {
    decide(pod, &seen.iter().map(|(n, s)| ((*n).to_owned(), s.clone())).collect(), now)
}

fn steps(pod: &Pod, seen: &[(&str, Seen)], now: Millis) -> Vec<String> {
    let show = |s: &Step| match s {
        Step::Start { container, attempt } => format!("start {container} {attempt}"),
        Step::Stop { container, .. } => format!("stop {container}"),
    };
    decided(pod, seen, now).steps.iter().map(show).collect()
}

fn full() -> Value {
    json!({
        "initContainers": [{"name": "init"}, {"name": "side", "restartPolicy": "Always"}, {"name": "last"}],
        "containers": [{"name": "one"}, {"name": "two"}]
    })
}

#[test]
fn containers_start_in_order() {
    let p = pod(full());
    type Case<'a> = (&'a [(&'a str, Seen)], &'a [&'a str]);
    let table: &[Case<'_>] = &[
        (&[], &["start init 0"]),
        (&[("init", running(0, true))], &[]),
        (&[("init", ended(0, 0, 1))], &["start side 0"]),
        (&[("init", ended(0, 0, 1)), ("side", running(0, false))], &[]),
        (&[("init", ended(0, 0, 1)), ("side", running(0, true))], &["start last 0"]),
        (
            &[("init", ended(0, 0, 1)), ("side", running(0, true)), ("last", ended(0, 0, 2))],
            &["start one 0", "start two 0"],
        ),
    ];
    for (seen, expected) in table {
        assert_eq!(steps(&p, seen, 3), *expected, "{seen:?}");
    }
}

#[test]
fn a_restarted_runner_does_not_initialise_again() {
    let p = pod(full());
    let seen = [("one", running(0, true)), ("two", running(2, true)), ("side", running(0, true))];
    assert_eq!(steps(&p, &seen, 5), Vec::<String>::new());
    assert!(decided(&p, &seen, 5).initialized);
}

#[test]
fn a_hook_holds_the_next_container_at_first() {
    let hook = json!({"postStart": {"exec": {"command": ["wait"]}}});
    let p = pod(json!({"containers": [{"name": "proxy", "lifecycle": hook}, {"name": "app"}]}));
    assert_eq!(steps(&p, &[], 0), ["start proxy 0"]);
    assert_eq!(steps(&p, &[("proxy", running(0, false))], 0), Vec::<String>::new());
    assert_eq!(steps(&p, &[("proxy", running(0, true))], 0), ["start app 0"]);
    let later = [("proxy", running(1, false)), ("app", ended(0, 1, 0))];
    assert_eq!(steps(&p, &later, 0), ["start app 1"], "a restarted one holds nobody");
}

#[test]
fn crashes_are_retried_with_growing_delay() {
    let p = pod(json!({"containers": [{"name": "c"}]}));
    assert_eq!(steps(&p, &[("c", ended(0, 1, 100))], 100), ["start c 1"]);
    let second = decided(&p, &[("c", ended(1, 1, 100))], 5000);
    assert_eq!((second.steps.len(), second.wake), (0, Some(10_100)));
    assert_eq!(second.waiting["c"].0, "CrashLoopBackOff");
    assert_eq!(steps(&p, &[("c", ended(1, 1, 100))], 10_100), ["start c 2"]);
    assert_eq!(decided(&p, &[("c", ended(9, 1, 0))], 1).wake, Some(300_000));
    let long = Seen {
        attempt: Some(Attempt { number: 9, started: 0, ended: Some((1, 700_000)) }),
        ..Default::default()
    };
    assert_eq!(steps(&p, &[("c", long)], 700_000), ["start c 10"]);
}

#[test]
fn a_start_that_fails_waits_with_its_reason() {
    let p = pod(json!({"containers": [{"name": "c"}]}));
    let failed = FailedStart {
        at: 0,
        reason: "ErrImageNeverPull".into(),
        message: "map it".into(),
        times: 1,
    };
    let seen = Seen { failed: Some(failed), ..Default::default() };
    let d = decided(&p, &[("c", seen)], 1);
    assert_eq!(d.waiting["c"], ("ErrImageNeverPull".into(), "map it".into()));
    assert_eq!((d.wake, d.phase), (Some(10_000), Phase::Pending));
}

#[test]
fn phases_follow_the_restart_policy() {
    let of = |policy: &str, codes: [i32; 2]| {
        let p = pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]}));
        decided(&p, &[("a", ended(0, codes[0], 1)), ("b", ended(0, codes[1], 1))], 2).phase
    };
    assert_eq!(of("Never", [0, 0]), Phase::Succeeded);
    assert_eq!(of("Never", [0, 1]), Phase::Failed);
    assert_eq!(of("OnFailure", [0, 0]), Phase::Succeeded);
    assert_eq!(of("OnFailure", [0, 1]), Phase::Running);
    assert_eq!(of("Always", [0, 0]), Phase::Running);
}

#[test]
fn a_job_ends_its_sidecars_and_an_overdue_pod_fails() {
    let side = json!([{"name": "side", "restartPolicy": "Always"}]);
    let p = pod(
        json!({"restartPolicy": "Never", "initContainers": side, "containers": [{"name": "c"}]}),
    );
    let seen = [("side", running(0, true)), ("c", ended(0, 0, 1))];
    assert_eq!(steps(&p, &seen, 2), ["stop side"]);
    let p = pod(json!({"activeDeadlineSeconds": 5, "containers": [{"name": "c"}]}));
    assert_eq!(decided(&p, &[("c", running(0, true))], 1).wake, Some(5000));
    let late = decided(&p, &[("c", running(0, true))], 5000);
    assert_eq!((late.phase, late.steps.len()), (Phase::Failed, 1));
}

#[test]
fn deletion_ends_sidecars_last_and_then_the_pod() {
    let p = deleted(full());
    let all = |one: Seen, two: Seen, side: Seen| [("one", one), ("two", two), ("side", side)];
    let up = || running(0, true);
    assert_eq!(steps(&p, &all(up(), up(), up()), 0), ["stop one", "stop two"]);
    let stopping = Seen { stopping: true, ..up() };
    assert_eq!(steps(&p, &all(stopping, ended(0, 0, 1), up()), 0), Vec::<String>::new());
    let down = || ended(0, 0, 1);
    assert_eq!(steps(&p, &all(down(), down(), up()), 0), ["stop side"]);
    assert!(!decided(&p, &all(down(), down(), up()), 0).finished);
    assert!(decided(&p, &all(down(), down(), down()), 0).finished);
    assert!(decided(&p, &[], 0).finished, "nothing ever ran");
}

#[test]
fn a_condemned_container_is_stopped_once() {
    let p = pod(json!({"containers": [{"name": "c"}]}));
    let condemned = Seen { condemned: true, ..running(0, true) };
    assert_eq!(steps(&p, &[("c", condemned.clone())], 0), ["stop c"]);
    assert!(steps(&p, &[("c", Seen { stopping: true, ..condemned })], 0).is_empty());
}
