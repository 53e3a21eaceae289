//! The controllers against the real API: workloads come up, roll and go away, with a stand-in for the
//! node that starts and ends pods as it is told.

#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiserver::{Client, DeleteOptions, NoKubelet, Options, Ref, Server, ServerHandle};
use lateen::cluster::controller_loop;
use serde_json::{Value, json};

struct Cluster {
    client: Client,
    dir: PathBuf,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _server: ServerHandle,
}

impl Cluster {
    async fn start(name: &str) -> Cluster {
        let dir = std::env::temp_dir().join(format!("lateen-{name}-{}", std::process::id()));
        let listen = TcpListener::bind("127.0.0.1:0").unwrap();
        listen.set_nonblocking(true).unwrap();
        let options = Options {
            state_dir: dir.clone(),
            advertised_names: vec!["127.0.0.1".to_owned()],
            service_cidr: "10.96.0.0/16".to_owned(),
            external_url: format!("https://{}", listen.local_addr().unwrap()),
            webhook_resolver: Arc::new(|_, _, _| None),
            listen,
        };
        let (client, server) = Server::start(options, Arc::new(NoKubelet)).await.unwrap();
        let tasks = vec![
            tokio::spawn(controller_loop::run(client.clone())),
            tokio::spawn(node(client.clone())),
        ];
        Cluster { client, dir, tasks, _server: server }
    }

    fn pods(&self) -> Vec<Arc<Value>> {
        self.client.list("", "pods", Some("default"))
    }

    fn get(&self, group: &str, resource: &str, name: &str) -> Option<Arc<Value>> {
        self.client.get(&reference(group, resource, name))
    }

    async fn until(&self, what: &str, holds: impl Fn(&Cluster) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}: not in time; pods: {:#?}", self.pods());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|task| task.abort());
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn reference(group: &str, resource: &str, name: &str) -> Ref {
    let cluster_wide = resource == "namespaces";
    Ref {
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: (!cluster_wide).then(|| "default".to_owned()),
        name: name.to_owned(),
    }
}

/// Starts every assigned pod, and ends every pod that is being deleted.
async fn node(client: Client) {
    let mut number = 0;
    loop {
        for pod in client.list("", "pods", None) {
            let target = Ref {
                namespace: pod["metadata"]["namespace"].as_str().map(str::to_owned),
                ..reference("", "pods", pod["metadata"]["name"].as_str().unwrap())
            };
            if pod["metadata"]["deletionTimestamp"].is_string() {
                let now = DeleteOptions { grace_seconds: Some(0), ..Default::default() };
                let _ = client.delete(&target, now).await;
            } else if pod["spec"]["nodeName"] == "lateen" && pod["status"]["podIP"].is_null() {
                number += 1;
                let ip = format!("10.244.0.{number}");
                let status = json!({"status": {"phase": "Running", "podIP": ip,
                    "podIPs": [{"ip": ip}], "conditions": [
                        {"type": "PodScheduled", "status": "True"},
                        {"type": "Ready", "status": "True",
                            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
                let _ = client.merge_patch(&target, Some("status"), status).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn deployment(image: &str, replicas: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": image}]}}}})
}

fn rolled_out(cluster: &Cluster, replicas: u32) -> bool {
    let Some(deployment) = cluster.get("apps", "deployments", "web") else { return false };
    let status = &deployment["status"];
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && status["updatedReplicas"] == replicas
        && status["replicas"] == replicas
        && status["availableReplicas"] == replicas
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_and_its_service_live_and_go() {
    let cluster = Cluster::start("rollout").await;
    let client = &cluster.client;
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 9080}]}});
    client.create(service).await.unwrap();
    client.create(deployment("a", 3)).await.unwrap();
    cluster.until("the first version is up", |c| rolled_out(c, 3)).await;

    let patch = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "b"}]}}}});
    client.merge_patch(&reference("apps", "deployments", "web"), None, patch).await.unwrap();
    cluster
        .until("the second version is up", |c| {
            rolled_out(c, 3)
                && c.pods().len() == 3
                && c.pods().iter().all(|p| p["spec"]["containers"][0]["image"] == "b")
        })
        .await;
    cluster
        .until("the Service names the pods that are", |c| {
            let slices = c.client.list("discovery.k8s.io", "endpointslices", Some("default"));
            let slice = slices
                .iter()
                .find(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == "web");
            let mut named: Vec<&str> = slice
                .and_then(|slice| slice["endpoints"].as_array())
                .map(|list| list.iter().map(|e| e["addresses"][0].as_str().unwrap()).collect())
                .unwrap_or_default();
            let pods = c.pods();
            let mut there: Vec<&str> =
                pods.iter().map(|p| p["status"]["podIP"].as_str().unwrap()).collect();
            named.sort_unstable();
            there.sort_unstable();
            named == there
        })
        .await;
    cluster
        .until("Events tell the story", |c| {
            let events = c.client.list("", "events", Some("default"));
            ["ScalingReplicaSet", "SuccessfulCreate", "Scheduled"]
                .iter()
                .all(|reason| events.iter().any(|event| event["reason"] == *reason))
        })
        .await;

    let target = reference("apps", "deployments", "web");
    client.delete(&target, DeleteOptions::default()).await.unwrap();
    cluster.until("everything it owned is gone", |c| c.pods().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stateful_sets_daemon_sets_and_jobs_run() {
    let cluster = Cluster::start("kinds").await;
    let template = |app: &str, restart: &str| {
        json!({"metadata": {"labels": {"app": app}}, "spec": {"restartPolicy": restart,
            "containers": [{"name": "c", "image": "a"}]}})
    };
    let workload = |api: &str, kind: &str, name: &str, mut spec: Value| {
        if kind != "Job" {
            spec["selector"] = json!({"matchLabels": {"app": name}});
        }
        json!({"apiVersion": api, "kind": kind, "spec": spec,
            "metadata": {"name": name, "namespace": "default"}})
    };
    let always = |name: &str| template(name, "Always");
    for object in [
        workload(
            "apps/v1",
            "StatefulSet",
            "db",
            json!({"replicas": 2, "serviceName": "db",
            "template": always("db")}),
        ),
        workload("apps/v1", "DaemonSet", "agent", json!({"template": always("agent")})),
        workload("batch/v1", "Job", "once", json!({"template": template("once", "Never")})),
    ] {
        cluster.client.create(object).await.unwrap();
    }
    let ready = |c: &Cluster, resource: &str, name: &str, field: &str, count: u32| {
        c.get("apps", resource, name).is_some_and(|o| o["status"][field] == count)
    };
    cluster
        .until("all are up", |c| {
            ready(c, "statefulsets", "db", "readyReplicas", 2)
                && ready(c, "daemonsets", "agent", "numberReady", 1)
                && c.get("batch", "jobs", "once").is_some_and(|j| j["status"]["ready"] == 1)
        })
        .await;
    assert!(cluster.get("", "pods", "db-1").is_some());
    let pod = cluster.pods().into_iter().find(|p| p["metadata"]["labels"]["job-name"] == "once");
    let pod = reference("", "pods", pod.unwrap()["metadata"]["name"].as_str().unwrap());
    let done = json!({"status": {"phase": "Succeeded"}});
    cluster.client.merge_patch(&pod, Some("status"), done).await.unwrap();
    cluster
        .until("the Job is complete", |c| {
            let job = c.get("batch", "jobs", "once").unwrap();
            let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|c| c["type"] == "Complete" && c["status"] == "True")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_goes_with_everything_in_it() {
    let cluster = Cluster::start("namespace").await;
    let client = &cluster.client;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    client.create(namespace).await.unwrap();
    let mut inside = deployment("a", 2);
    inside["metadata"]["namespace"] = json!("shop");
    client.create(inside).await.unwrap();
    let pods = |c: &Cluster| c.client.list("", "pods", Some("shop")).len();
    cluster.until("pods are there", |c| pods(c) == 2).await;
    let target = reference("", "namespaces", "shop");
    client.delete(&target, DeleteOptions::default()).await.unwrap();
    cluster
        .until("the namespace is gone", |c| c.client.get(&target).is_none() && pods(c) == 0)
        .await;
    assert!(client.list("apps", "replicasets", Some("shop")).is_empty());
}
