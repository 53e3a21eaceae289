use super::*;

const T0: &str = "2026-01-01T00:00:00Z";

fn at(seconds: i64) -> Timestamp {
    T0.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn job(spec: Value) -> Value {
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": spec,
        "metadata": {"namespace": "default", "name": "j", "uid": "j", "creationTimestamp": T0}});
    job["spec"]["template"] = json!({"metadata": {"labels": {"app": "j"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}});
    job
}

fn pod(name: &str, phase: &str) -> Value {
    json!({"metadata": {"namespace": "default", "name": name, "uid": name, "creationTimestamp": T0,
        "ownerReferences": [{"uid": "j", "controller": true}]}, "status": {"phase": phase}})
}

fn run(job: Value, pods: Vec<Value>, now: Timestamp) -> (Value, Outcome) {
    let mut world = World::default();
    world.observe(&Resource::JOBS, Arc::new(job.clone()));
    for pod in pods {
        world.observe(&Resource::PODS, Arc::new(pod));
    }
    let key = Key::new(Resource::JOBS, "default", "j");
    let mut outcome = reconcile(&world, &key, now);
    let mut status = job["status"].clone();
    outcome.actions.retain(|action| match action {
        Action::UpdateStatus(job) => {
            status = job["status"].clone();
            false
        }
        _ => true,
    });
    (status, outcome)
}

fn creations(outcome: &Outcome) -> usize {
    outcome.actions.iter().filter(|a| matches!(a, Action::Create { .. })).count()
}

#[test]
fn runs_as_many_as_are_still_needed() {
    let spec = || json!({"completions": 5, "parallelism": 3});
    let (status, outcome) = run(job(spec()), vec![], at(0));
    assert_eq!(creations(&outcome), 3);
    assert_eq!(status["startTime"], T0);
    let done = |n: usize| (0..n).map(|i| pod(&format!("p{i}"), "Succeeded"));
    let (status, outcome) = run(job(spec()), done(4).collect(), at(0));
    assert_eq!((creations(&outcome), &status["succeeded"]), (1, &json!(4)));
    let (status, outcome) = run(job(spec()), done(5).collect(), at(9));
    assert_eq!(creations(&outcome), 0);
    assert_eq!(status["conditions"][0]["type"], "Complete");
    assert_eq!(status["completionTime"], "2026-01-01T00:00:09Z");
}

#[test]
fn failures_are_retried_later_and_not_for_ever() {
    let spec = || json!({"completions": 1, "backoffLimit": 1});
    let failed = |n: usize| (0..n).map(|i| pod(&format!("p{i}"), "Failed")).collect();
    let (_, outcome) = run(job(spec()), failed(1), at(1));
    assert_eq!((creations(&outcome), outcome.again_at), (0, Some(at(10))));
    let (_, outcome) = run(job(spec()), failed(1), at(10));
    assert_eq!(creations(&outcome), 1);
    let (status, outcome) = run(job(spec()), failed(2), at(60));
    assert_eq!(creations(&outcome), 0);
    assert_eq!(status["conditions"][0]["reason"], "BackoffLimitExceeded");
}

#[test]
fn deadline_suspension_and_time_to_live() {
    let (_, outcome) = run(job(json!({"completions": 1, "suspend": true})), vec![], at(0));
    assert_eq!(creations(&outcome), 0);

    let mut late = job(json!({"completions": 1, "activeDeadlineSeconds": 30}));
    late["status"] = json!({"startTime": T0});
    let (status, outcome) = run(late, vec![pod("a", "Running")], at(30));
    assert_eq!(status["conditions"][0]["reason"], "DeadlineExceeded");
    assert!(outcome.actions.iter().any(|a| matches!(a, Action::Delete { .. })), "{outcome:?}");

    let mut done = job(json!({"completions": 1, "ttlSecondsAfterFinished": 60}));
    done["status"] = json!({"conditions":
        [{"type": "Complete", "status": "True", "lastTransitionTime": T0}]});
    assert_eq!(run(done.clone(), vec![], at(59)).1.again_at, Some(at(60)));
    let (_, outcome) = run(done, vec![], at(60));
    assert!(matches!(outcome.actions[..], [Action::Delete { .. }]), "{outcome:?}");
}

#[test]
fn indexed_pods_fill_the_gaps() {
    let mut first = pod("a", "Succeeded");
    first["metadata"]["annotations"] = json!({"batch.kubernetes.io/job-completion-index": "0"});
    let spec = json!({"completions": 3, "parallelism": 2, "completionMode": "Indexed"});
    let (_, outcome) = run(job(spec), vec![first], at(0));
    let env: Vec<&str> = outcome
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Create { object, .. } => {
                Some(read::text(object, "/spec/containers/0/env/0/value"))
            }
            _ => None,
        })
        .collect();
    assert_eq!(env, ["1", "2"]);
}
