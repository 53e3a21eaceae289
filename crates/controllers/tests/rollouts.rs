//! Deployments end to end through the controllers' public face: Deployment, ReplicaSet, scheduling
//! and endpoints together, with a simulated kubelet.

#![allow(clippy::unwrap_used)]

mod cluster;

use std::sync::Arc;

use cluster::{Cluster, is_ready};
use controllers::{Key, Resource};
use serde_json::{Value, json};

fn deployment(replicas: i64, image: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image}]}},
        },
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap()
}

fn current(cluster: &Cluster) -> Arc<Value> {
    cluster.get(&Resource::DEPLOYMENTS, "web").unwrap()
}

fn condition(object: &Value, kind: &str) -> (String, String) {
    let list = object["status"]["conditions"].as_array().unwrap();
    let found = list.iter().find(|c| c["type"] == kind).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"))
}

/// What `kubectl rollout status` waits for.
fn rolled_out(deployment: &Value) -> bool {
    let status = |field: &str| deployment["status"][field].as_i64().unwrap_or_default();
    let replicas = deployment["spec"]["replicas"].as_i64().unwrap();
    deployment["metadata"]["generation"] == deployment["status"]["observedGeneration"]
        && status("updatedReplicas") == replicas
        && status("replicas") == replicas
        && status("availableReplicas") == replicas
}

fn all_well(_: &Value) -> bool {
    true
}

fn roll(cluster: &mut Cluster, object: Value) {
    cluster.apply(&Resource::DEPLOYMENTS, object);
    cluster.settle(all_well);
}

#[test]
fn a_deployment_comes_up_and_says_so() {
    let mut cluster = Cluster::new(1);
    roll(&mut cluster, deployment(3, "a", &json!({})));
    let deployment = current(&cluster);
    assert!(rolled_out(&deployment), "{deployment:#}");
    assert_eq!(condition(&deployment, "Available").0, "True");
    let progressing = ("True".to_owned(), "NewReplicaSetAvailable".to_owned());
    assert_eq!(condition(&deployment, "Progressing"), progressing);
    assert_eq!(deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    let sets: Vec<_> = cluster.world.all(&Resource::REPLICA_SETS).collect();
    let hash = sets[0]["metadata"]["labels"]["pod-template-hash"].as_str().unwrap();
    assert_eq!(sets[0]["metadata"]["name"], format!("web-{hash}"));
    assert!(cluster.pods().iter().all(|p| p["metadata"]["labels"]["pod-template-hash"] == hash));
    assert!(
        cluster.events.iter().any(|e| e.starts_with("ScalingReplicaSet: Scaled up replica set")),
        "{:?}",
        cluster.events
    );
}

#[test]
fn undo_brings_back_the_old_replica_set_as_a_new_revision() {
    let mut cluster = Cluster::new(2);
    roll(&mut cluster, deployment(2, "a", &json!({})));
    roll(&mut cluster, deployment(2, "b", &json!({})));
    assert!(cluster.pods().iter().all(|pod| image(pod) == "b"));
    roll(&mut cluster, deployment(2, "a", &json!({})));
    assert!(cluster.pods().iter().all(|pod| image(pod) == "a"));
    let sets: Vec<_> = cluster.world.all(&Resource::REPLICA_SETS).cloned().collect();
    assert_eq!(sets.len(), 2);
    let back = sets.iter().find(|set| set["spec"]["replicas"] == 2).unwrap();
    let notes = &back["metadata"]["annotations"];
    assert_eq!(notes["deployment.kubernetes.io/revision"], "3");
    assert_eq!(notes["deployment.kubernetes.io/revision-history"], "1");
    assert_eq!(
        current(&cluster)["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
}

#[test]
fn history_is_cut_to_its_limit() {
    let mut cluster = Cluster::new(3);
    for version in ["a", "b", "c", "d"] {
        roll(&mut cluster, deployment(1, version, &json!({"revisionHistoryLimit": 1})));
    }
    assert_eq!(cluster.world.all(&Resource::REPLICA_SETS).count(), 2);
}

#[test]
fn recreate_never_runs_two_versions() {
    let mut cluster = Cluster::new(4);
    let spec = json!({"strategy": {"type": "Recreate"}});
    roll(&mut cluster, deployment(3, "a", &spec));
    cluster.apply(&Resource::DEPLOYMENTS, deployment(3, "b", &spec));
    while cluster.work() || cluster.kubelet(all_well) {
        let pods = cluster.pods();
        let both = pods.iter().any(|p| image(p) == "a") && pods.iter().any(|p| image(p) == "b");
        assert!(!both, "both versions at once");
    }
    assert!(rolled_out(&current(&cluster)));
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut cluster = Cluster::new(5);
    roll(&mut cluster, deployment(2, "a", &json!({})));
    roll(&mut cluster, deployment(4, "b", &json!({"paused": true})));
    assert_eq!(cluster.pods().iter().filter(|pod| image(pod) == "a").count(), 4);
    assert_eq!(condition(&current(&cluster), "Progressing").1, "DeploymentPaused");
    roll(&mut cluster, deployment(4, "b", &json!({})));
    assert_eq!(cluster.pods().iter().filter(|pod| image(pod) == "b").count(), 4);
    assert!(rolled_out(&current(&cluster)));
}

#[test]
fn a_version_that_never_gets_ready_leaves_the_old_one_serving_and_times_out() {
    let mut cluster = Cluster::new(6);
    roll(&mut cluster, deployment(4, "a", &json!({})));
    cluster.apply(&Resource::DEPLOYMENTS, deployment(4, "bad", &json!({})));
    let healthy = |pod: &Value| image(pod) != "bad";
    cluster.settle(healthy);
    let serving = cluster.pods().iter().filter(|pod| is_ready(pod)).count();
    assert_eq!(serving, 3, "at most 25% of 4 may be missing");
    cluster.pass(601);
    cluster.settle(healthy);
    let timed_out = ("False".to_owned(), "ProgressDeadlineExceeded".to_owned());
    assert_eq!(condition(&current(&cluster), "Progressing"), timed_out);
    roll(&mut cluster, deployment(4, "a", &json!({})));
    assert!(rolled_out(&current(&cluster)));
}

#[test]
fn minimum_ready_time_holds_the_roll_out() {
    let mut cluster = Cluster::new(7);
    let spec = json!({"minReadySeconds": 30});
    roll(&mut cluster, deployment(1, "a", &spec));
    assert!(!rolled_out(&current(&cluster)));
    cluster.pass(31);
    cluster.settle(all_well);
    assert!(rolled_out(&current(&cluster)));
}

/// Whatever users do and in whatever order things happen: within the limits on the way, and at the
/// wanted state in the end.
#[test]
fn random_histories_stay_within_limits_and_converge() {
    for seed in 0..60 {
        let mut cluster = Cluster::new(seed);
        cluster.busy_node = true;
        let surge = i64::try_from(seed % 3).unwrap();
        let unavailable = i64::from(surge == 0 || seed % 2 == 0);
        let spec = json!({"strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}});
        let replicas = 4;
        roll(&mut cluster, deployment(replicas, "v0", &spec));
        let least = usize::try_from(replicas - unavailable).unwrap();
        let most = usize::try_from(replicas + surge).unwrap();
        for change in 1..6 {
            let image = format!("v{}", (seed + change) % 4);
            cluster.apply(&Resource::DEPLOYMENTS, deployment(replicas, &image, &spec));
            for _ in 0..cluster.random(120) {
                let worked = if cluster.random(3) > 0 { cluster.work() } else { false };
                if !worked {
                    cluster.kubelet(all_well);
                }
                check(&cluster, least, most, seed);
            }
        }
        cluster.settle(all_well);
        assert!(rolled_out(&current(&cluster)), "seed {seed}: {:#}", current(&cluster));
        let pods = cluster.pods();
        assert_eq!(pods.len(), 4, "seed {seed}");
        assert!(pods.iter().all(|p| image(p) == format!("v{}", (seed + 5) % 4)), "seed {seed}");
    }
}

fn check(cluster: &Cluster, least: usize, most: usize, seed: u64) {
    let pods = cluster.pods();
    let alive: Vec<_> =
        pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect();
    let ready = alive.iter().filter(|pod| is_ready(pod)).count();
    assert!(ready >= least, "seed {seed}: {ready} ready, {least} needed");
    assert!(alive.len() <= most, "seed {seed}: {} pods, {most} allowed", alive.len());
}

#[test]
fn scaling_in_the_middle_of_a_roll_out_ends_well() {
    for seed in 100..140 {
        let mut cluster = Cluster::new(seed);
        roll(&mut cluster, deployment(6, "a", &json!({})));
        cluster.apply(&Resource::DEPLOYMENTS, deployment(6, "b", &json!({})));
        for _ in 0..cluster.random(60) {
            let _ = cluster.work() || cluster.kubelet(all_well);
        }
        let replicas = i64::try_from(1 + cluster.random(12)).unwrap();
        roll(&mut cluster, deployment(replicas, "b", &json!({})));
        assert!(rolled_out(&current(&cluster)), "seed {seed}: {:#}", current(&cluster));
        assert_eq!(i64::try_from(cluster.pods().len()).unwrap(), replicas, "seed {seed}");
    }
}

#[test]
fn a_lost_pod_is_replaced_and_a_relabelled_one_is_let_go() {
    let mut cluster = Cluster::new(8);
    roll(&mut cluster, deployment(2, "a", &json!({})));
    let key = Key::of(&Resource::PODS, &cluster.pods()[0]);
    cluster.remove(&key);
    cluster.settle(all_well);
    assert_eq!(cluster.pods().len(), 2);
    let key = Key::of(&Resource::PODS, &cluster.pods()[0]);
    cluster.patch(&key, &json!({"metadata": {"labels": {"app": "debug"}}}));
    cluster.settle(all_well);
    assert_eq!(cluster.pods().len(), 3);
    let quarantined = cluster.world.get(&key).unwrap();
    assert_eq!(quarantined["metadata"]["ownerReferences"], json!([]));
}

#[test]
fn a_services_slices_follow_the_roll_out() {
    let mut cluster = Cluster::new(9);
    cluster.apply(
        &Resource::SERVICES,
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.5",
                "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}),
    );
    roll(&mut cluster, deployment(3, "a", &json!({})));
    roll(&mut cluster, deployment(3, "b", &json!({})));
    let slices: Vec<_> = cluster.world.all(&Resource::ENDPOINT_SLICES).collect();
    let [slice] = slices[..] else { panic!("{slices:?}") };
    let mut addresses: Vec<String> = slice["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["addresses"][0].to_string())
        .collect();
    let mut expected: Vec<String> =
        cluster.pods().iter().map(|p| p["status"]["podIP"].to_string()).collect();
    addresses.sort();
    expected.sort();
    assert_eq!(addresses, expected);
}
