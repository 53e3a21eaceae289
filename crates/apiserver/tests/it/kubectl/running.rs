//! What needs somebody who runs pods, or watches things change.

use std::io::{BufRead, BufReader, Read, Write};

use serde_json::json;

use super::{Kubectl, finish};
use crate::support::{Cluster, eventually};

async fn pod(cluster: &Cluster, k: &Kubectl, name: &str) -> std::sync::Arc<serde_json::Value> {
    let client = &cluster.client;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": k.namespace()},
        "spec": {"nodeName": "node", "containers": [{"name": "main", "image": "i"}]}});
    let mut pod = (*client.create(pod).await.unwrap()).clone();
    pod["status"] = json!({"phase": "Running", "podIP": "10.244.0.9",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "main", "ready": true, "restartCount": 0, "image": "i", "imageID": "",
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]});
    client.update_status(pod).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_programs_and_ports() {
    let cluster = Cluster::start("kubectl-pods").await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut word = [0; 4];
                while stream.read_exact(&mut word).is_ok() {
                    stream.write_all(&word).unwrap();
                }
            });
        }
    });
    let all = Kubectl::each(&cluster);
    for k in &all {
        pod(&cluster, k, "p").await;
        let table = k.table(&["get", "pods"]);
        k.same(table.first(0..4), ["p", "1/1", "Running", "0"]);
        assert_eq!(k.run(&["logs", "p"]).out, format!("{}/p/main one\ntwo\n", k.namespace()));
        assert_eq!(k.run(&["logs", "p", "--tail=1"]).out, "two\n");
        assert!(
            k.attempt(&["logs", "p", "-c", "none"])
                .err
                .contains("container none is not valid for pod p")
        );
        if k.minor >= 30 {
            let said = k.run_with_input(&["exec", "-i", "p", "--", "tr", "a-z", "A-Z"], "hello");
            assert_eq!(said.out, "HELLO");
            let said = k.attempt(&["exec", "p", "--", "sh", "-c", "echo oops >&2; exit 7"]);
            assert!(
                said.err.starts_with("oops\n") && said.err.contains("exit code 7"),
                "{}",
                said.err
            );
        }
        if k.minor >= 30 {
            let said = k.run(&["attach", "p"]).out;
            k.contains(&said, &format!("{}/p/main speaks\n", k.namespace()));
        }
        let mut child = k.start(&["port-forward", "p", &format!(":{port}")]);
        let mut line = String::new();
        // Kept until the end: a kubectl whose output is closed ends itself.
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let local: u16 =
            line.split(" -> ").next().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        for _ in 0..3 {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", local)).unwrap();
            for word in [b"ping", b"pong"] {
                stream.write_all(word).unwrap();
                let mut echo = [0; 4];
                if let Err(error) = stream.read_exact(&mut echo) {
                    child.kill().unwrap();
                    let mut said = String::new();
                    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                    panic!("kubectl 1.{}: {error}: {said}", k.minor);
                }
                assert_eq!(&echo, word);
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        k.run(&["delete", "pod", "p", "--grace-period=0", "--force"]);
    }
    finish(all);
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_shows_events_and_rollout_waits() {
    let cluster = Cluster::start("kubectl-describe").await;
    let all = Kubectl::each(&cluster);
    for k in &all {
        let pod = pod(&cluster, k, "p").await;
        cluster.client.record_event(&pod, "Warning", "Unhealthy", "it coughs", "kubelet");
        eventually("the event", || {
            !cluster.client.list("", "events", Some(k.namespace())).is_empty()
        })
        .await;
        let text = k.run(&["describe", "pod", "p"]).out;
        assert!(text.contains("Unhealthy") && text.contains("it coughs"), "{text}");
        let table = k.table(&["get", "events"]);
        k.same(&table.head[..], ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
        k.same(table.first(1..5), ["Warning", "Unhealthy", "pod/p", "it coughs"]);
        k.run(&["create", "deployment", "d", "--image=i"]);
        assert!(!k.attempt(&["wait", "--for=condition=Available", "deploy/d", "--timeout=1s"]).ok);
        let waiting = k.start(&["rollout", "status", "deploy/d", "--timeout=30s"]);
        let list = cluster.client.list("apps", "deployments", Some(k.namespace()));
        let mut done = (*list[0]).clone();
        done["status"] = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
            "availableReplicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
        cluster.client.update_status(done).await.unwrap();
        let output = waiting.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("deployment \"d\" successfully rolled out"), "{said}");
        k.run(&["wait", "--for=condition=Available", "deploy/d", "--timeout=10s"]);
    }
    finish(all);
}

#[tokio::test(flavor = "multi_thread")]
async fn get_watch_prints_changes() {
    let cluster = Cluster::start("kubectl-watch").await;
    let all = Kubectl::each(&cluster);
    for k in &all {
        k.run(&["create", "configmap", "c", "--from-literal=a=b"]);
        let mut child = k.start(&["get", "cm", "c", "-w"]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("NAME"));
        assert!(lines.next().unwrap().unwrap().starts_with("c      1"));
        k.run(&["patch", "cm", "c", "-p", r#"{"data":{"x":"y"}}"#]);
        assert!(lines.next().unwrap().unwrap().starts_with("c      2"));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    finish(all);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_what_they_may() {
    let cluster = Cluster::start("kubectl-tokens").await;
    let all = Kubectl::each(&cluster);
    for k in &all {
        k.run(&["create", "serviceaccount", "robot"]);
        k.run(&["create", "role", "r", "--verb=get,list", "--resource=pods"]);
        let account = format!("{}:robot", k.namespace());
        k.run(&["create", "rolebinding", "rb", "--role=r", &format!("--serviceaccount={account}")]);
        let user = format!("--as=system:serviceaccount:{account}");
        assert_eq!(k.run(&["auth", "can-i", "list", "pods", &user]).out, "yes\n");
        assert!(k.attempt(&["auth", "can-i", "delete", "pods", &user]).out.starts_with("no"));
        assert!(k.attempt(&["get", "secrets", &user]).err.contains("Forbidden"));
        if k.minor >= 24 {
            let token = k.run(&["create", "token", "robot", "--duration=20m"]).out;
            assert_eq!(token.trim().split('.').count(), 3, "{token}");
        }
    }
    finish(all);
}
