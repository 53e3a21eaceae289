use super::*;

fn set(kind: &str, replicas: i64) -> Value {
    let selector = if kind == "ReplicaSet" {
        json!({"matchLabels": {"app": "a"}})
    } else {
        json!({"app": "a"})
    };
    json!({"apiVersion": "apps/v1", "kind": kind,
        "metadata": {"namespace": "default", "name": "rs", "uid": "rs", "generation": 2},
        "spec": {"replicas": replicas, "selector": selector, "minReadySeconds": 10, "template":
            {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}}})
}

fn pod(name: &str, phase: &str, ready_at: Option<&str>) -> Value {
    let mut pod = json!({
        "metadata": {"namespace": "default", "name": name, "uid": name, "labels": {"app": "a"},
            "ownerReferences": [{"uid": "rs", "controller": true}]},
        "spec": {"nodeName": "lateen"},
        "status": {"phase": phase},
    });
    if let Some(at) = ready_at {
        pod["status"]["conditions"] =
            json!([{"type": "Ready", "status": "True", "lastTransitionTime": at}]);
    }
    pod
}

fn run(resource: &Resource, set: Value, pods: Vec<Value>) -> Outcome {
    let mut world = World::default();
    world.observe(resource, Arc::new(set));
    for pod in pods {
        world.observe(&Resource::PODS, Arc::new(pod));
    }
    let key = Key::new(resource.clone(), "default", "rs");
    reconcile(&world, &key, "2026-01-01T00:00:12Z".parse().unwrap())
}

#[test]
fn creates_what_is_missing_and_ignores_the_finished() {
    for (resource, kind) in [
        (Resource::REPLICA_SETS, "ReplicaSet"),
        (Resource::REPLICATION_CONTROLLERS, "ReplicationController"),
    ] {
        let pods = vec![pod("a", "Running", None), pod("b", "Failed", None)];
        let outcome = run(&resource, set(kind, 3), pods);
        let names: Vec<&str> = outcome
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Create { object, reported_on: Some(_) } => {
                    Some(read::text(object, "/metadata/generateName"))
                }
                _ => None,
            })
            .collect();
        assert_eq!(names, ["rs-", "rs-"], "{kind}");
    }
}

#[test]
fn deletes_the_excess_and_reports_availability() {
    let pods = vec![
        pod("old", "Running", Some("2026-01-01T00:00:00Z")),
        pod("fresh", "Running", Some("2026-01-01T00:00:05Z")),
        pod("unready", "Running", None),
    ];
    let outcome = run(&Resource::REPLICA_SETS, set("ReplicaSet", 2), pods);
    let deleted: Vec<&str> = outcome
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Delete { key, .. } => Some(key.name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(deleted, ["unready"]);
    assert_eq!(outcome.again_at, Some("2026-01-01T00:00:15Z".parse().unwrap()));
    let Some(Action::UpdateStatus(updated)) = outcome.actions.first() else { panic!() };
    assert_eq!(
        updated["status"],
        json!({"replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 2,
            "availableReplicas": 1, "observedGeneration": 2})
    );
}
