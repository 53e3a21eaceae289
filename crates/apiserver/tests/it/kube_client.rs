//! The Rust client `kube`, unmodified: watches in both ways of listing, resumption, forgotten
//! history, server-side apply, Leases, programs, logs and ports.

use std::pin::pin;

use futures::TryStreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{
    Api, AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams,
    WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher;
use kube::{Client, Config, ResourceExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::Cluster;

async fn client(cluster: &Cluster) -> Client {
    // Another test may have chosen it already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(&cluster.kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Client::try_from(config).unwrap()
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"k": value}})).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_what_is_there_and_what_comes() {
    let cluster = Cluster::start("kube-watch").await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster).await);
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut events = pin!(watcher(maps.clone(), config));
        let mut seen = Vec::new();
        loop {
            match events.try_next().await.unwrap().unwrap() {
                watcher::Event::InitApply(map) => seen.push(map.name_any()),
                watcher::Event::InitDone => break,
                _ => {}
            }
        }
        assert_eq!(seen, ["kube-root-ca.crt"]);
        maps.create(&PostParams::default(), &config_map("new", "1")).await.unwrap();
        let event = events.try_next().await.unwrap().unwrap();
        assert!(matches!(event, watcher::Event::Apply(map) if map.name_any() == "new"));
        maps.delete("new", &DeleteParams::default()).await.unwrap();
        let event = events.try_next().await.unwrap().unwrap();
        assert!(matches!(event, watcher::Event::Delete(map) if map.name_any() == "new"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_resumes_and_forgotten_history_is_410() {
    let cluster = Cluster::start("kube-resume").await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster).await);
    let first = maps.create(&PostParams::default(), &config_map("a", "0")).await.unwrap();
    let from = first.resource_version().unwrap();
    maps.create(&PostParams::default(), &config_map("b", "0")).await.unwrap();
    let mut events = pin!(maps.watch(&WatchParams::default(), &from).await.unwrap());
    let event = events.try_next().await.unwrap().unwrap();
    assert!(matches!(event, WatchEvent::Added(map) if map.name_any() == "b"));
    let patch = |n: usize| Patch::Merge(json!({"data": {"k": n.to_string()}}));
    for n in 0..600 {
        maps.patch("a", &PatchParams::default(), &patch(n)).await.unwrap();
    }
    let mut events = pin!(maps.watch(&WatchParams::default(), &from).await.unwrap());
    let event = events.try_next().await.unwrap().unwrap();
    assert!(matches!(event, WatchEvent::Error(status) if status.code == 410));
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_conflicts_and_force() {
    let cluster = Cluster::start("kube-apply").await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster).await);
    let body = |value: &str| {
        Patch::Apply(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": value}}),
        )
    };
    maps.patch("a", &PatchParams::apply("one"), &body("1")).await.unwrap();
    let conflict = maps.patch("a", &PatchParams::apply("two"), &body("2")).await.unwrap_err();
    assert!(
        matches!(conflict, kube::Error::Api(status) if status.code == 409 && status.message.contains("one"))
    );
    let forced = maps.patch("a", &PatchParams::apply("two").force(), &body("2")).await.unwrap();
    assert_eq!(forced.data.unwrap()["k"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_has_one_holder() {
    let cluster = Cluster::start("kube-lease").await;
    let leases: Api<Lease> = Api::default_namespaced(client(&cluster).await);
    let lease: Lease = serde_json::from_value(json!({"metadata": {"name": "leader"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000001Z"}}))
    .unwrap();
    let first = leases.create(&PostParams::default(), &lease).await.unwrap();
    let mut taken = first.clone();
    taken.spec.as_mut().unwrap().holder_identity = Some("b".to_owned());
    leases.replace("leader", &PostParams::default(), &taken).await.unwrap();
    let late = leases.replace("leader", &PostParams::default(), &first).await.unwrap_err();
    assert!(matches!(late, kube::Error::Api(status) if status.code == 409));
    let listed = leases.list(&ListParams::default().limit(1)).await.unwrap();
    let spec = listed.items[0].spec.as_ref().unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_logs_and_ports_of_a_pod() {
    let cluster = Cluster::start("kube-pods").await;
    let pods: Api<Pod> = Api::default_namespaced(client(&cluster).await);
    let pod = serde_json::from_value(json!({"metadata": {"name": "p"},
        "spec": {"containers": [{"name": "main", "image": "i"}]}}))
    .unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    assert_eq!(pods.logs("p", &LogParams::default()).await.unwrap(), "default/p/main one\ntwo\n");
    let parameters = AttachParams::default().stdin(true).stderr(false);
    let mut program = pods.exec("p", ["tr", "a-z", "A-Z"], &parameters).await.unwrap();
    let mut stdin = program.stdin().unwrap();
    stdin.write_all(b"hello").await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    let mut said = String::new();
    let mut stdout = program.stdout().unwrap();
    let reading = stdout.read_to_string(&mut said);
    tokio::time::timeout(std::time::Duration::from_secs(10), reading).await.unwrap().unwrap();
    assert_eq!(said, "HELLO");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    let mut forwarder = pods.portforward("p", &[port]).await.unwrap();
    let mut stream = forwarder.take_stream(port).unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping");
}
